use crate::{ApiOptions, Credentials, Packages, ProgramOptions, Runtime, Secret, ToolOptions};
use cordon_policy::{HostRule, NetworkMode, Place};
use cordon_providers::Provider;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// A checked agent file.
#[derive(Clone, Debug)]
pub struct AgentFile {
    /// Name as the user knows it.
    pub name: String,
    /// At least one.
    pub agents: Vec<Agent>,
    /// `orchestrator.snapshot_storage`, as written.
    pub snapshot_storage: Option<PathBuf>,
    /// `orchestrator.agent_temporary_workspace`, as written.
    pub agent_temporary_workspace: Option<PathBuf>,
    /// `orchestrator.coordination.drift_conflict_policy`; none: what applying does without.
    pub drift: Option<DriftPolicy>,
    /// `timeout_settings`.
    pub timeouts: Timeouts,
}

/// `timeout_settings`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// `orchestrator_timeout_seconds`: the whole run.
    pub run: Duration,
    /// Whether the file says nothing about it.
    pub run_by_default: bool,
    /// `initial_round_timeout_seconds`: one turn.
    pub turn: Option<Duration>,
    /// `round_timeout_grace_seconds`: between asking a turn to end and killing it.
    pub grace: Duration,
    /// A turn without any output for so long has failed.
    pub idle: Duration,
}

/// What drives an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BackendKind {
    /// Codex.
    Codex,
    /// Claude Code.
    ClaudeCode,
    /// Gemini CLI.
    GeminiCli,
    /// GitHub Copilot CLI.
    Copilot,
    /// Any program.
    Command,
    /// A recorded list of tool calls, done again for real.
    Replay,
    /// A model API, whose turns the daemon takes with Cordon's own tools.
    Api(&'static Provider),
    /// The real AG2, inside the sandbox.
    Ag2,
}

impl BackendKind {
    /// The `type:` of the agent file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Codex => "codex",
            Self::ClaudeCode => "claude_code",
            Self::GeminiCli => "gemini_cli",
            Self::Copilot => "copilot",
            Self::Command => "command",
            Self::Replay => "replay",
            Self::Api(provider) => provider.name,
            Self::Ag2 => "ag2",
        }
    }
}

/// `command_line_execution_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExecutionMode {
    /// The Docker wall.
    Docker,
    /// The local wall.
    Local,
}

/// Reasoning effort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effort {
    /// `low`.
    Low,
    /// `medium`.
    Medium,
    /// `high`.
    High,
    /// `xhigh`.
    XHigh,
}

impl Effort {
    /// The word of the agent file, which the backends share.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::XHigh => "xhigh",
        }
    }
}

/// `command_line_docker_*`.
#[derive(Clone, Debug, PartialEq)]
pub struct DockerOptions {
    /// Image; none: the backend's own.
    pub image: Option<String>,
    /// Network mode.
    pub network: NetworkMode,
    /// Memory limit in bytes.
    pub memory_bytes: Option<u64>,
    /// Processor cores.
    pub cpus: Option<f64>,
    /// Whether the sudo image was asked for.
    pub sudo: bool,
    /// What runs the container.
    pub runtime: Runtime,
    /// What is installed into an image of its own.
    pub packages: Packages,
}

/// What a writable context path is to its agent: `write_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WriteMode {
    /// A private fork at the user's own path; the tree changes when the fork is applied.
    #[default]
    Staged,
    /// The tree itself, mounted.
    Legacy,
}

/// What happens to a change whose place the user has changed too: `drift_conflict_policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DriftPolicy {
    /// It is left out.
    Skip,
    /// Texts are merged, and where both changed the same lines the user's stay.
    Ours,
    /// Texts are merged, and where both changed the same lines nothing is applied.
    Merge,
    /// Nothing is applied.
    Fail,
}

impl DriftPolicy {
    /// The word that `cordon apply --on-drift` takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Ours => "ours",
            Self::Merge => "merge",
            Self::Fail => "fail",
        }
    }
}

/// One entry of `context_paths`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextPath {
    /// Absolute: joined with the agent file's directory, not canonical yet.
    pub path: PathBuf,
    /// `permission: write`.
    pub write: bool,
    /// How it is written, when it is: its own `write_mode`, else the orchestrator's.
    pub write_mode: WriteMode,
    /// `protected_paths`.
    pub protected: Vec<Protected>,
    /// Steering or secret names (relative) that this context path allows on purpose.
    pub allow: Vec<PathBuf>,
    /// Where the user wrote it.
    pub place: Place,
}

/// One entry of `protected_paths`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protected {
    /// Relative to the context path, or absolute inside it.
    pub path: PathBuf,
    /// Where the user wrote it.
    pub place: Place,
}

/// One recorded tool call of a `replay` agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayStep {
    /// Run a program.
    Exec {
        /// Program and arguments.
        argv: Vec<String>,
    },
    /// Read a file.
    Read {
        /// Absolute, or relative to the workspace.
        path: PathBuf,
    },
    /// Write a file.
    Write {
        /// Absolute, or relative to the workspace.
        path: PathBuf,
        /// New content.
        content: String,
    },
    /// Say something.
    Say {
        /// The message.
        text: String,
    },
}

/// One agent, checked.
#[derive(Clone, Debug)]
pub struct Agent {
    /// `[A-Za-z0-9][A-Za-z0-9_.-]*`, unique in the file.
    pub id: String,
    /// `system_message`.
    pub system_message: Option<String>,
    /// `backend.type`.
    pub backend: BackendKind,
    /// `backend.model`.
    pub model: Option<String>,
    /// `backend.base_url`.
    pub base_url: Option<String>,
    /// `backend.api_key`.
    pub api_key: Option<Secret>,
    /// `backend.cwd` as written: relative ones live in the daemon's state directory.
    pub cwd: Option<PathBuf>,
    /// Where the workspace is named: at `backend.cwd`, else where the agent begins.
    pub cwd_place: Place,
    /// `context_paths` of the agent and of the orchestrator; the latter wins.
    pub context_paths: Vec<ContextPath>,
    /// Which wall.
    pub mode: ExecutionMode,
    /// Docker options; the network is checked for the backend.
    pub docker: DockerOptions,
    /// `model_reasoning_effort`, else `reasoning.effort`.
    pub effort: Option<Effort>,
    /// `egress.allow`; none: no `egress` in the file. An empty list allows nothing.
    pub egress: Option<Vec<HostRule>>,
    /// `backend.command`: program and arguments of a `command` agent. `{prompt_file}` is not
    /// substituted: the prompt arrives on standard input.
    pub command: Vec<String>,
    /// `backend.steps` of a `replay` agent.
    pub steps: Vec<ReplayStep>,
    /// `backend.env`: variables for the backend's process, not secret.
    pub env: BTreeMap<String, String>,
    /// What the backend's program is told in its own words.
    pub program: ProgramOptions,
    /// What of the person's own the agent gets.
    pub credentials: Credentials,
    /// What a model API is told, and how far its turns may go.
    pub api: ApiOptions,
    /// What Cordon's own tools and further MCP servers do.
    pub tools: ToolOptions,
    /// Where the agent begins in the file.
    pub place: Place,
}
