//! Starts a guest and waits until it is confined, or has said why it is not.

use super::process;
use crate::SandboxError;
use cordon_proto::guest as pb;
use prost::Message as _;
use std::{io, path::Path, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStderr, Command},
};

/// Making the view takes milliseconds; a machine that swaps, a second.
const CONFINED_WITHIN: Duration = Duration::from_secs(20);
/// What is read of a guest's complaint.
const COMPLAINT: u64 = 4096;

/// A guest that was started and whose process is known.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) pid: i32,
    pub(super) start_time: u64,
    errors: ChildStderr,
    launcher: Child,
}

/// Starts the guest. Its first process exits by itself once it has named its child.
pub(super) async fn launch(guest: &Path, boot: &pb::Boot) -> Result<Launched, SandboxError> {
    let failed = || SandboxError::io("start the guest", guest);
    let mut launcher = Command::new(guest)
        .arg0(process::name(&boot.sandbox_id))
        .arg("launch")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed())?;
    let missing = || failed()(io::Error::from(io::ErrorKind::BrokenPipe));
    let mut input = launcher.stdin.take().ok_or_else(missing)?;
    let output = launcher.stdout.take().ok_or_else(missing)?;
    let mut errors = launcher.stderr.take().ok_or_else(missing)?;
    // A guest that refused to start closes its input early: what it says counts more.
    let sent = input.write_all(&boot.encode_to_vec()).await;
    drop(input);
    let mut line = String::new();
    let mut output = BufReader::new(output.take(64));
    let named = tokio::time::timeout(CONFINED_WITHIN, output.read_line(&mut line)).await;
    let pid = line.strip_prefix("pid ").and_then(|rest| rest.trim().parse::<i32>().ok()).filter(|p| *p > 1);
    let start_time = match pid {
        Some(pid) => process::start_time(pid).map_err(failed())?,
        None => None,
    };
    match (pid, start_time) {
        (Some(pid), Some(start_time)) => Ok(Launched { pid, start_time, errors, launcher }),
        _ => {
            // Without the number of its child there is nothing to wait for.
            let _ = launcher.start_kill();
            let said = complaint(&mut errors).await;
            let why = match (said, sent, named) {
                (Some(said), ..) => said,
                (None, Err(e), _) => format!("it did not take its boot message: {e}"),
                (None, Ok(()), Err(_)) => "it did not start in time".to_owned(),
                (None, Ok(()), Ok(_)) => "it ended without a word".to_owned(),
            };
            let _ = launcher.wait().await;
            Err(SandboxError::Guest { sandbox: boot.sandbox_id.clone(), why })
        }
    }
}

impl Launched {
    /// Waits until the guest let go of its standard error: it is confined then, or dead.
    pub(super) async fn confined(mut self, sandbox: &str) -> Result<(), SandboxError> {
        let said = tokio::time::timeout(CONFINED_WITHIN, complaint(&mut self.errors)).await;
        let status = self.launcher.wait().await;
        let why = match said {
            Ok(None) => match status {
                Ok(status) if status.success() => return Ok(()),
                Ok(status) => format!("it could not name its first process ({status})"),
                Err(e) => format!("it cannot be waited for: {e}"),
            },
            Ok(Some(said)) => said,
            Err(_) => "it was not confined in time".to_owned(),
        };
        Err(SandboxError::Guest { sandbox: sandbox.to_owned(), why })
    }
}

async fn complaint(errors: &mut ChildStderr) -> Option<String> {
    let mut said = Vec::new();
    let _ = errors.take(COMPLAINT).read_to_end(&mut said).await;
    let said = String::from_utf8_lossy(&said);
    let said = said.trim();
    (!said.is_empty()).then(|| said.chars().flat_map(char::escape_debug).collect())
}
