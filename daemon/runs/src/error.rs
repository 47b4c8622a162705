use crate::{journal::JournalError, plan::PlanError, store::StoreError};
use cordon_config::Problem;
use cordon_sandbox::SandboxError;

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
    /// The run has not ended.
    #[error("run {run} has not ended")]
    StillRunning {
        /// The run.
        run: String,
    },
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
            Self::Invalid(_) => "invalid-request",
            Self::KeyReused { .. } => "idempotency-key-reused",
            Self::ShuttingDown => "shutting-down",
            Self::NotRunning { .. } => "not-running",
            Self::StillRunning { .. } => "still-running",
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
            Self::Ambiguous { .. } => "give more of the id",
            Self::InvalidFile { .. } => "`cordon validate` shows every problem with its place",
            Self::KeyReused { .. } => "use a new key for a new request",
            Self::ShuttingDown => "try again when a daemon is running",
            Self::NotRunning { .. } => "`cordon ps` shows what runs",
            Self::StillRunning { .. } => "stop it first: `cordon stop`",
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
        SandboxError::Guest { .. } => "guest-lost",
        SandboxError::Io { .. } => "sandbox-io",
        SandboxError::Engine { .. } => "engine",
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
