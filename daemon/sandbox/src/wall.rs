use crate::{Identity, Labels, SandboxError, SandboxSpec, WallKind};
use cordon_policy::Denial;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use tokio::sync::mpsc;

/// What is kept of a sandbox so that a restarted daemon finds it again. It holds
/// no secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SandboxRecord {
    /// Sandbox id.
    pub id: String,
    /// Who it belongs to.
    pub labels: Labels,
    /// Who runs inside.
    pub identity: Identity,
    /// Host directory with the guest's sockets.
    pub directory: PathBuf,
    /// What the wall itself must remember.
    pub wall: WallRecord,
    /// Hosts that egress allows, as written; none: no proxy.
    pub egress: Option<EgressRecord>,
}

/// An egress policy in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressRecord {
    /// Host rules.
    pub allow: Vec<String>,
    /// Granted destinations: host and port.
    pub grants: Vec<(String, u16)>,
}

/// What a wall remembers of its sandbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum WallRecord {
    /// A container.
    Docker {
        /// Container id.
        container: String,
        /// The network made for it.
        network: Option<String>,
        /// Names of the firewall chains made for it.
        chains: Vec<String>,
        /// Where the guest calls: the hash of the key that its calls bring.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A process tree on this machine.
    Local {
        /// Process id of the guest as this daemon sees it.
        pid: i32,
        /// Start time from /proc/PID/stat, so that a reused number is noticed.
        start_time: u64,
        /// Control groups made for it.
        cgroups: Vec<PathBuf>,
    },
}

impl SandboxRecord {
    /// The kind of wall.
    #[must_use]
    pub fn kind(&self) -> WallKind {
        match self.wall {
            WallRecord::Docker { .. } => WallKind::Docker,
            WallRecord::Local { .. } => WallKind::Local,
        }
    }
}

/// One line of a probe verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// What the policy says.
    pub expected: String,
    /// What was seen.
    pub found: String,
    /// Whether they agree.
    pub ok: bool,
}

/// One thing that a wall needs of this host, as `cordon doctor` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostCheck {
    /// What was looked at.
    pub name: String,
    /// "ok", "limited" or "missing".
    pub state: &'static str,
    /// What was found.
    pub found: String,
    /// What to do about it; empty when ok.
    pub fix: String,
}

/// A running sandbox whose probe agreed with the policy.
#[derive(Debug)]
pub struct Sandbox {
    /// What is remembered of it.
    pub record: SandboxRecord,
    /// The connection to the guest.
    pub guest: crate::guest::Guest,
    /// What the probe found; empty after a reattach.
    pub findings: Vec<Finding>,
    /// The probe itself.
    pub probe: Option<cordon_proto::guest::ProbeResponse>,
    /// What could not be limited or is weaker than usual, to be said at the start.
    pub warnings: Vec<String>,
    /// Ends the egress proxy when dropped.
    pub(crate) egress: Option<tokio::task::AbortHandle>,
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Some(task) = &self.egress {
            task.abort();
        }
    }
}

/// A kind of sandbox. Dropping a [`Sandbox`] leaves it running: only `destroy` ends it.
#[async_trait::async_trait]
pub trait Wall: Send + Sync {
    /// Which kind.
    fn kind(&self) -> WallKind;

    /// Makes what a sandbox stands on and many may share, where that is not there yet: it may
    /// take minutes, and `said` hears how it goes. [`Wall::create`] does the same in silence.
    async fn prepare(&self, _spec: &SandboxSpec, _said: mpsc::Sender<String>) -> Result<(), SandboxError> {
        Ok(())
    }

    /// Makes a sandbox, starts its guest, runs the probe and compares it with the
    /// policy. `remember` is called with the record before anything that would
    /// outlive the daemon is started, and again when it changed; when it fails,
    /// nothing is left behind. Refusals of egress and of system calls go to `denials`.
    async fn create(
        &self,
        spec: &SandboxSpec,
        remember: &(dyn for<'r> Fn(&'r SandboxRecord) -> std::io::Result<()> + Send + Sync),
        denials: mpsc::Sender<Denial>,
    ) -> Result<Sandbox, SandboxError>;

    /// Finds a sandbox again that an earlier daemon made.
    async fn reattach(
        &self,
        record: &SandboxRecord,
        denials: mpsc::Sender<Denial>,
    ) -> Result<Sandbox, SandboxError>;

    /// Ends a sandbox and everything that was made for it. Succeeds when it is
    /// already gone; afterwards no process, container, network or control group
    /// of it is left.
    async fn destroy(&self, record: &SandboxRecord) -> Result<(), SandboxError>;

    /// Removes what carries this daemon's label and is not among `known` sandbox
    /// ids; says what was removed.
    async fn reap(&self, daemon: &str, known: &[String]) -> Result<Vec<String>, SandboxError>;

    /// What this wall needs of the host.
    async fn doctor(&self) -> Vec<HostCheck>;
}
