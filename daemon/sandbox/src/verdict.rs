//! Compares what the probe found inside a sandbox with what its policy says. The guest's
//! answers are hostile input: what is missing from them counts against the sandbox, and what
//! they say is escaped and cut before a person sees it.

mod compare;
mod expect;
mod rules;

use crate::{Finding, SandboxError, SandboxSpec, WallKind, guest::Guest};
use cordon_proto::guest as pb;

/// More than this many differences tell a person nothing new.
const MOST_DIFFERENCES: usize = 24;

/// Runs the probe and compares it with the policy.
///
/// # Errors
/// When the guest cannot be asked, or when anything differs.
pub(crate) async fn verify(
    guest: &Guest,
    spec: &SandboxSpec,
    kind: WallKind,
) -> Result<(Vec<Finding>, pb::ProbeResponse), SandboxError> {
    let asked = rules::asked(spec);
    let request = pb::ProbeRequest { trials: rules::trials(&asked), ..expect::request(spec) };
    let response = guest.probe(request.clone()).await?;
    let here = compare::Here::look();
    let mut findings = compare::compare(spec, kind, &here, &request, &response);
    findings.extend(rules::compare(&asked, &response.trials));
    let mut differences: Vec<String> = findings
        .iter()
        .filter(|f| !f.ok)
        .map(|f| format!("{}: expected {}, found {}", f.check, f.expected, f.found))
        .collect();
    if differences.is_empty() {
        return Ok((findings, response));
    }
    let more = differences.len().saturating_sub(MOST_DIFFERENCES);
    differences.truncate(MOST_DIFFERENCES);
    if more > 0 {
        differences.push(format!("and {more} more"));
    }
    Err(SandboxError::ProbeDisagrees { sandbox: spec.id.clone(), differences })
}
