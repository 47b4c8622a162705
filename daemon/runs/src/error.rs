use crate::{home::HomeError, journal::JournalError, plan::PlanError, store::StoreError};
use cordon_config::Problem;
use cordon_forks::ForkError;
use cordon_objects::RemoteError;
use cordon_sandbox::SandboxError;
use cordon_snapshots::{
    StoreError as SnapshotError, TreeError,
    apply::{ApplyError, JournalError as ApplyJournalError, PlanError as ApplyPlanError},
    archive::ArchiveError,
    diff::{DiffError, RenderError},
};
use std::path::PathBuf;

/// Why a request about runs cannot be met.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No run begins with this id.
    #[error("there is no run {id:?}")]
    NotFound {
        /// As asked for.
        id: String,
    },
    /// Several runs begin with this id.
    #[error("{count} runs begin with {id:?}")]
    Ambiguous {
        /// As asked for.
        id: String,
        /// How many.
        count: usize,
    },
    /// The agent file has errors.
    #[error("{name} cannot be used: {}", first_error(.problems))]
    InvalidFile {
        /// The file.
        name: String,
        /// All of them, warnings too.
        problems: Vec<Problem>,
    },
    /// The file has no such agent, or the choice is not clear.
    #[error("{what}; there are: {}", .agents.join(", "))]
    Agent {
        /// What is wrong.
        what: String,
        /// What there is.
        agents: Vec<String>,
    },
    /// No sandbox can be planned.
    #[error("agent {agent}: {source}")]
    Plan {
        /// The agent.
        agent: String,
        /// Why.
        source: PlanError,
    },
    /// An agent's login does not hold.
    #[error(transparent)]
    Login(#[from] crate::logins::LoginTrouble),
    /// A person did not log in.
    #[error(transparent)]
    SignIn(#[from] crate::logins::SignInError),
    /// The request itself cannot be met.
    #[error("{0}")]
    Invalid(String),
    /// The idempotency key was used for something else.
    #[error("the idempotency key {key:?} was used for another request")]
    KeyReused {
        /// The key.
        key: String,
    },
    /// The daemon ends.
    #[error("the daemon is shutting down")]
    ShuttingDown,
    /// The run has ended, or the agent's sandbox is not there yet.
    #[error("agent {agent:?} of run {run} is not running")]
    NotRunning {
        /// The run.
        run: String,
        /// The agent.
        agent: String,
    },
    /// There is no terminal to look at.
    #[error("run {run} has no terminal, or its program has ended")]
    NoTerminal {
        /// The run.
        run: String,
    },
    /// Another viewer writes.
    #[error("somebody else writes in the terminal of run {run}")]
    TerminalTaken {
        /// The run.
        run: String,
    },
    /// The run has not ended.
    #[error("run {run} has not ended")]
    StillRunning {
        /// The run.
        run: String,
    },
    /// More of a tree was left out of its snapshot than the snapshot names.
    #[error("{skipped} paths of {tree:?} are in no snapshot, more than can be told one by one")]
    Unrecorded {
        /// The tree.
        tree: PathBuf,
        /// How many.
        skipped: u64,
    },
    /// The agent's turn has not been kept, so there is nothing to look at or apply.
    #[error("there is no snapshot of agent {agent:?} of run {run} after its turn")]
    NotKept {
        /// The run.
        run: String,
        /// The agent.
        agent: String,
    },
    /// No snapshot of the caller's begins with this id.
    #[error("there is no snapshot {id:?}")]
    SnapshotNotFound {
        /// As asked for.
        id: String,
    },
    /// Several snapshots begin with this id.
    #[error("{count} snapshots begin with {id:?}")]
    SnapshotAmbiguous {
        /// As asked for.
        id: String,
        /// How many.
        count: usize,
    },
    /// The snapshot is of no tree on this machine.
    #[error("snapshot {id} is of no tree that is here: {why}")]
    NoTree {
        /// Which.
        id: String,
        /// Why.
        why: String,
    },
    /// A run uses the tree.
    #[error("run {run} uses {tree:?}")]
    InUse {
        /// The tree.
        tree: PathBuf,
        /// The run.
        run: String,
    },
    /// Something else is being written there.
    #[error("something else is being written into {tree:?} at this moment")]
    Busy {
        /// The tree.
        tree: PathBuf,
    },
    /// The place of the snapshots cannot be used.
    #[error("snapshots cannot be kept in {place:?} (orchestrator.snapshot_storage): {why}")]
    Storage {
        /// Where.
        place: PathBuf,
        /// Why not.
        why: String,
    },
    /// The disk is nearly full.
    #[error("{} MiB are free where {place:?} is, and snapshots leave {} MiB free", .free >> 20, .least >> 20)]
    NoRoom {
        /// Where.
        place: PathBuf,
        /// Bytes.
        free: u64,
        /// Bytes.
        least: u64,
    },
    /// What would be applied is not what was shown.
    #[error("the trees have changed since it was planned: look at the new plan")]
    PlanChanged,
    /// The plan refuses.
    #[error("{count} changes are refused, so nothing is applied; the first: {first}")]
    PlanRefused {
        /// How many.
        count: usize,
        /// One of them, and why.
        first: String,
    },
    /// Some trees have the changes, and others do not.
    #[error("applied to {}; not applied to {tree:?}: {source}", shown(.done))]
    HalfApplied {
        /// Trees that have them.
        done: Vec<PathBuf>,
        /// The one where it failed.
        tree: PathBuf,
        /// Why.
        source: Box<RunError>,
    },
    /// What an agent is to see of the others cannot be shown.
    #[error("cannot show the agent what the others left, at {path:?}: {source}")]
    View {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// There is no such workspace.
    #[error("there is no workspace {name:?}")]
    WorkspaceNotFound {
        /// As asked for.
        name: String,
    },
    /// Cordon did not make it.
    #[error("{path:?} was not made by Cordon, which removes only its own workspaces")]
    NotMade {
        /// Which.
        path: PathBuf,
    },
    /// The snapshot store.
    #[error(transparent)]
    Snapshots(#[from] SnapshotError),
    /// A tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Two trees could not be compared.
    #[error(transparent)]
    Diff(DiffError),
    /// A difference could not be told.
    #[error("cannot tell the difference: {0}")]
    Told(std::io::Error),
    /// A private copy of a user's tree.
    #[error(transparent)]
    Fork(#[from] ForkError),
    /// The daemon was given no bucket.
    #[error("this daemon has no bucket for snapshots")]
    NoBucket,
    /// The bucket.
    #[error(transparent)]
    Bucket(RemoteError),
    /// An archive.
    #[error(transparent)]
    Archive(ArchiveError),
    /// An apply or a restore.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The run cannot be gone on with.
    #[error("run {run} cannot be gone on with: {why}")]
    NotResumable {
        /// The run.
        run: String,
        /// Why not.
        why: String,
        /// What to do.
        fix: &'static str,
    },
    /// The home of an agent that goes on.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A file of the run.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal of the run.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Something in the daemon itself.
    #[error("the daemon could not {0}")]
    Internal(&'static str),
}

fn shown(trees: &[PathBuf]) -> String {
    trees.iter().map(|t| format!("{t:?}")).collect::<Vec<_>>().join(", ")
}

impl From<DiffError> for RunError {
    fn from(error: DiffError) -> Self {
        match error {
            DiffError::Tree(e) => Self::Tree(e),
            other => Self::Diff(other),
        }
    }
}

impl From<RenderError> for RunError {
    fn from(error: RenderError) -> Self {
        match error {
            RenderError::Tree(e) => Self::Tree(e),
            RenderError::Output(e) => Self::Told(e),
        }
    }
}

impl From<ArchiveError> for RunError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Store(e) => Self::Snapshots(e),
            ArchiveError::Write(e) => Self::Told(e),
            other => Self::Archive(other),
        }
    }
}

impl From<ApplyPlanError> for RunError {
    fn from(error: ApplyPlanError) -> Self {
        match error {
            ApplyPlanError::Diff(e) => e.into(),
            ApplyPlanError::Tree(e) => Self::Tree(e),
        }
    }
}

impl From<ApplyJournalError> for RunError {
    fn from(error: ApplyJournalError) -> Self {
        Self::Apply(error.into())
    }
}

fn first_error(problems: &[Problem]) -> String {
    let error = problems.iter().find(|p| p.severity == cordon_config::Severity::Error);
    error.map_or_else(|| "it has errors".to_owned(), ToString::to_string)
}

impl RunError {
    /// Stable, for programs.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "run-not-found",
            Self::Ambiguous { .. } => "run-id-ambiguous",
            Self::InvalidFile { .. } => "invalid-agent-file",
            Self::Agent { .. } => "no-such-agent",
            Self::Plan { source: PlanError::Backend(_), .. } => "backend-not-ready",
            Self::Plan { .. } => "cannot-plan",
            Self::Login(e) => e.reason(),
            Self::SignIn(e) => e.reason(),
            Self::Invalid(_) => "invalid-request",
            Self::KeyReused { .. } => "idempotency-key-reused",
            Self::ShuttingDown => "shutting-down",
            Self::NotRunning { .. } => "not-running",
            Self::NoTerminal { .. } => "no-terminal",
            Self::TerminalTaken { .. } => "terminal-taken",
            Self::StillRunning { .. } => "still-running",
            Self::NotKept { .. } => "not-kept",
            Self::Unrecorded { .. } => "unrecorded",
            Self::SnapshotNotFound { .. } | Self::Snapshots(SnapshotError::NotFound(_)) => {
                "snapshot-not-found"
            }
            Self::SnapshotAmbiguous { .. } => "snapshot-id-ambiguous",
            Self::NoTree { .. } => "no-tree",
            Self::InUse { .. } => "workspace-in-use",
            Self::Busy { .. } | Self::Apply(ApplyError::Busy(_)) => "tree-busy",
            Self::Storage { .. } => "snapshot-storage",
            Self::NoRoom { .. } => "disk-full",
            Self::PlanChanged => "plan-changed",
            Self::PlanRefused { .. } => "apply-refused",
            Self::HalfApplied { .. } => "half-applied",
            Self::View { .. } => "peers-view",
            Self::Fork(_) => "fork",
            Self::WorkspaceNotFound { .. } => "workspace-not-found",
            Self::NotMade { .. } => "not-made-by-cordon",
            Self::Snapshots(e) => snapshot_reason(e),
            Self::Tree(e) if e.absent => "no-such-path",
            Self::Tree(_) => "tree-unreadable",
            Self::Diff(_) => "too-different",
            Self::Told(_) => "not-told",
            Self::Archive(ArchiveError::Limit { .. }) => "archive-too-large",
            Self::Archive(_) => "bad-archive",
            Self::NoBucket => "no-bucket",
            Self::Bucket(e) => crate::versions::bucket_reason(e),
            Self::Apply(ApplyError::Drift { .. } | ApplyError::Changed { .. }) => "plan-changed",
            Self::Apply(_) => "apply-failed",
            Self::NotResumable { .. } => "not-resumable",
            Self::Home(_) => "kept-home",
            Self::Sandbox(e) => sandbox_reason(e),
            Self::Store(e) if e.is_full() => "disk-full",
            Self::Store(_) => "state-unusable",
            Self::Journal(e) => journal_reason(e),
            Self::Internal(_) => "internal",
        }
    }

    /// What the person can do; empty when the message says it.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "`cordon ps` lists the runs",
            Self::SignIn(e) => e.help(),
            Self::Ambiguous { .. } => "give more of the id",
            Self::InvalidFile { .. } => "`cordon validate` shows every problem with its place",
            Self::KeyReused { .. } => "use a new key for a new request",
            Self::ShuttingDown => "try again when a daemon is running",
            Self::NotRunning { .. } => "`cordon ps` shows what runs",
            Self::NoTerminal { .. } => {
                "`cordon attach FILE` opens one; `cordon logs` shows what a run without one does"
            }
            Self::TerminalTaken { .. } => "`--watch` looks only, `--take` takes over",
            Self::StillRunning { .. } => "stop it first: `cordon stop`",
            Self::SnapshotNotFound { .. } => "`cordon snapshots ls` lists the snapshots",
            Self::SnapshotAmbiguous { .. } => "give more of the id",
            Self::InUse { .. } => "wait for it to end, or stop it: `cordon stop`",
            Self::Busy { .. } => "try again when it is done",
            Self::NoRoom { .. } | Self::Snapshots(SnapshotError::Quota { .. }) => {
                "`cordon snapshots gc` frees what is not to be kept"
            }
            Self::PlanChanged => "plan again",
            Self::NoBucket => {
                "`cordond --snapshot-bucket s3://BUCKET/PREFIX?region=REGION&endpoint=URL` gives it one"
            }
            Self::Bucket(RemoteError::NotFound(_)) => "`cordon snapshots ls --bucket` lists what it has",
            Self::PlanRefused { .. } => "`cordon apply` shows each with its reason before it asks",
            Self::WorkspaceNotFound { .. } => "`cordon workspaces ls` lists the workspaces",
            Self::NotResumable { fix, .. } => fix,
            Self::Home(_) => "begin anew with the agent file, without --resume",
            _ => "",
        }
    }
}

/// Stable, for programs.
pub(crate) fn sandbox_reason(error: &SandboxError) -> &'static str {
    match error {
        SandboxError::Unenforceable { .. } => "unenforceable",
        SandboxError::Unavailable { .. } => "wall-unavailable",
        SandboxError::ImageMissing { .. } => "image-missing",
        SandboxError::ProbeDisagrees { .. } => "probe-disagrees",
        SandboxError::Exchanged { .. } => "source-exchanged",
        SandboxError::Guest { .. } => "guest-lost",
        SandboxError::Io { .. } => "sandbox-io",
        SandboxError::Engine { .. } => "engine",
    }
}

fn snapshot_reason(error: &SnapshotError) -> &'static str {
    match error {
        SnapshotError::Quota { .. } => "snapshot-quota",
        SnapshotError::Damaged { .. } => "snapshot-damaged",
        SnapshotError::Format { .. } => "snapshot-store-format",
        SnapshotError::Unreadable { .. } | SnapshotError::Changing { .. } | SnapshotError::Limit { .. } => {
            "tree-not-kept"
        }
        SnapshotError::NotFound(_) => "snapshot-not-found",
        _ => "snapshot-store",
    }
}

/// Stable, for programs.
pub(crate) fn journal_reason(error: &JournalError) -> &'static str {
    match error {
        JournalError::Full { .. } => "disk-full",
        JournalError::Limit { .. } => "output-limit",
        JournalError::TooLarge { .. } => "batch-too-large",
        JournalError::Damaged { .. } | JournalError::Foreign { .. } => "journal-damaged",
        JournalError::Io { .. } => "journal-io",
    }
}
