//! Cordon's own tools, where the agent's program starts them by itself: whether they can work in its
//! sandbox is looked at before the program begins.

use super::{
    agent::{Agent, Ready, Trouble},
    inside::Inside,
};
use cordon_proto::guest as pb;
use cordon_sandbox::{Runtime, SandboxError, guest::ProcessEvent};
use std::time::Duration;

/// A server that finds its input ended has nothing to do.
const LIMIT: Duration = Duration::from_secs(20);
/// Of what it says, as much is told.
const WORDS: usize = 1 << 10;

impl Agent {
    /// Refuses a sandbox in which they do not start. Linux has what they need; gVisor's kernel may not.
    pub(super) async fn offers_what_works(&self, ready: &Ready) -> Result<(), Trouble> {
        let is_gvisor = self.planned.sandbox.runtime == Runtime::Gvisor;
        if !is_gvisor || !self.planned.context.agent.tools.offer_own {
            return Ok(());
        }
        let Some(why) = refusal(&ready.sandbox.guest).await? else { return Ok(()) };
        Err(Trouble::Sandbox(SandboxError::Unavailable {
            what: "enable_mcp_command_line with the runtime runsc".to_owned(),
            why,
            fix: "Install a newer gVisor, or take one of the two keys out".to_owned(),
        }))
    }
}

/// Starts the server with nothing to serve; what it said where it did not end well.
async fn refusal(inside: &dyn Inside) -> Result<Option<String>, SandboxError> {
    let start = pb::Start {
        process_id: "tools-look".to_owned(),
        argv: [&b"/run/cordon-guest"[..], b"mcp"].map(|a| a.to_vec().into()).into(),
        cwd: b"/".to_vec().into(),
        timeout_ms: u64::try_from(LIMIT.as_millis()).unwrap_or(u64::MAX),
        kill_on_detach: true,
        ..pb::Start::default()
    };
    let mut process = inside.exec(start).await?;
    let mut said = Vec::new();
    let ended = async {
        while let Some(event) = process.events.recv().await {
            match event {
                ProcessEvent::Output { stream: pb::Stream::Stderr, data, .. } => {
                    said.extend_from_slice(&data[..data.len().min(WORDS.saturating_sub(said.len()))]);
                }
                ProcessEvent::Exited(exited) => return Some(exited.code == Some(0)),
                ProcessEvent::Failed { .. } | ProcessEvent::Lost(_) => return Some(false),
                _ => {}
            }
        }
        None
    };
    let well = tokio::time::timeout(2 * LIMIT, ended).await.ok().flatten();
    if well == Some(true) {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    Ok(Some(if said.is_empty() { "the tools do not start there".to_owned() } else { said }))
}
