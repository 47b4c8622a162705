use super::plan::{Plan, Planned, Verdict, Why};
use crate::{
    classify::Finding,
    diff::{Spelled, shown},
};
use serde::Serialize;
use std::io::{self, Write};

/// A plan for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlanReport {
    /// Of this form; it grows by addition.
    pub version: u32,
    /// Whether nothing can be done for what is refused.
    pub refused: bool,
    /// In the order of their paths.
    pub changes: Vec<PlannedReport>,
}

/// One planned change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedReport {
    /// Relative to the root.
    pub path: Spelled,
    /// `apply`, `merge`, `already`, `left-out` or `refused`.
    pub verdict: &'static str,
    /// Why it is left out or refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What it can do beyond being data.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// The word for it, for programs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Merge => "merge",
            Self::Already => "already",
            Self::LeftOut(_) => "left-out",
            Self::Refused(_) => "refused",
        }
    }

    /// Why a change is left out or refused.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        match self {
            Self::LeftOut(why) | Self::Refused(why) => Some(why.text()),
            _ => None,
        }
    }
}

impl Why {
    fn text(&self) -> String {
        match self {
            Self::Git => "nothing is written to a repository's own directory".to_owned(),
            Self::Class => "its class was not allowed".to_owned(),
            Self::Link => "the link leaves the tree".to_owned(),
            Self::Drift(what) => (*what).to_owned(),
            Self::Large => "it is too large to be compared".to_owned(),
            Self::Blocked(path) => format!("{} is not brought in", shown(path)),
            Self::Conflict(conflicts) => {
                // As people count: from 1, the last line included.
                let lines = |r: &std::ops::Range<usize>| match r.len() {
                    0 => format!("after {}", r.start),
                    1 => format!("{}", r.end),
                    _ => format!("{}-{}", r.start + 1, r.end),
                };
                let first = conflicts.iter().take(10).map(|c| lines(&c.ours)).collect::<Vec<_>>();
                let more = if conflicts.len() > first.len() { ", ..." } else { "" };
                format!("both changed lines {}{more}", first.join(", "))
            }
        }
    }
}

impl Plan {
    /// The plan for programs.
    #[must_use]
    pub fn report(&self) -> PlanReport {
        let change = |c: &Planned| PlannedReport {
            path: c.path.as_slice().into(),
            verdict: c.verdict.name(),
            why: c.verdict.why(),
            findings: c.findings.clone(),
        };
        let changes = self.changes.iter().map(change).collect();
        PlanReport { version: 1, refused: self.refused().next().is_some(), changes }
    }
}

/// Writes a plan for people, a line for each change and its reasons below.
///
/// # Errors
/// When the output cannot be written.
pub fn write_plan(out: &mut dyn Write, plan: &Plan) -> io::Result<()> {
    for change in plan.changes() {
        let why = change.verdict.why().map(|w| format!(": {w}")).unwrap_or_default();
        writeln!(out, "{} {}{why}", change.verdict.name(), shown(&change.path))?;
        for Finding { class, reason, alike } in &change.findings {
            let alike = if *alike { ", and its name only looks like the known one" } else { "" };
            writeln!(out, "  {}: {reason}{alike}", class.name())?;
        }
    }
    Ok(())
}
