//! What is really reachable from inside. The guest starts a fresh process, as it would
//! start the agent's, and that one looks: at its own ids, capabilities and
//! descriptors, at the paths and addresses it is asked about, and at the system calls that
//! must fail. It decides nothing; the daemon compares.

mod calls;
mod identity;
mod network;
mod paths;
mod places;
mod trials;

use crate::{confine::Confinement, refusals::Refusals};
use cordon_proto::guest::{ProbeRequest, ProbeResponse};
use prost::Message as _;
use std::{
    io::{self, Read as _, Write as _},
    process::{Command, Stdio},
};

/// What the daemon may ask, in bytes: ten thousand rules with long paths are less.
pub(crate) const MOST_ASKED: usize = 64 << 20;
/// What the child may answer, in bytes.
const MOST: u64 = 4 << 20;

/// Why there is no probe.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The process that looks around could not be run.
    #[error("the probe could not {step}: {source}")]
    Child {
        /// What was being done.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It did not answer.
    #[error("the probe ended without an answer: {0}")]
    NoAnswer(String),
}

/// Looks around in a fresh process. Blocks for as long as the slowest address takes.
pub(crate) fn run(
    request: &ProbeRequest,
    confinement: &Confinement,
    refusals: &Refusals,
) -> Result<ProbeResponse, Error> {
    let failed = |step| move |source| Error::Child { step, source };
    let mut child = Command::new("/proc/self/exe")
        .arg0("cordon-guest")
        .arg("probe-child")
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed("start"))?;
    // It waits for its question first, and tries nothing before.
    refusals.keep_quiet_about(child.id());
    // The child reads everything before it writes anything, so neither waits for the other.
    if let Some(mut input) = child.stdin.take() {
        input.write_all(&request.encode_to_vec()).map_err(failed("be asked"))?;
    }
    let mut answer = Vec::new();
    if let Some(output) = child.stdout.take() {
        output.take(MOST).read_to_end(&mut answer).map_err(failed("be heard"))?;
    }
    // Guests that reap every child may have taken this one's status already; the answer
    // is what counts.
    let status = child.wait().map_or_else(|e| e.to_string(), |s| s.to_string());
    refusals.keep_quiet_about(0);
    if answer.is_empty() {
        return Err(Error::NoAnswer(status));
    }
    let mut response =
        ProbeResponse::decode(answer.as_slice()).map_err(|e| Error::NoAnswer(e.to_string()))?;
    response.landlock_abi = confinement.landlock_abi;
    response.landlock_enforced = confinement.landlock_enforced;
    Ok(response)
}

use std::os::unix::process::CommandExt as _;

/// The fresh process: a request on standard input, the answer on standard output.
pub(crate) fn child_main() -> i32 {
    let mut question = Vec::new();
    if io::stdin().take(MOST_ASKED as u64).read_to_end(&mut question).is_err() {
        return 2;
    }
    let Ok(request) = ProbeRequest::decode(question.as_slice()) else { return 2 };
    let mut response = ProbeResponse::default();
    identity::look(&mut response);
    network::look(&request, &mut response);
    places::look(&request, &mut response);
    paths::look(&request, &mut response);
    trials::look(&request, &mut response);
    // Last: should one of these be allowed, this process is no longer a fair witness.
    calls::look(&mut response);
    i32::from(io::stdout().write_all(&response.encode_to_vec()).is_err())
}
