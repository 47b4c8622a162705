//! What an agent file says to a CLI program and about its container, beyond model and paths.

use crate::Secret;
use cordon_policy::Place;
use serde_json::{Map, Value};
use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

/// What a CLI program is told in its own words. A program that cannot honour one of these
/// refuses it by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramOptions {
    /// `enable_web_search`; none: as the program does without.
    pub web_search: Option<bool>,
    /// `timeout`: what one turn may take.
    pub timeout: Option<Duration>,
    /// `disallowed_tools`, in the program's own notation.
    pub disallowed: Vec<String>,
    /// `permission_mode`.
    pub permission_mode: Option<PermissionMode>,
    /// `cli_path`: the program itself, for the local wall; absolute.
    pub path: Option<PathBuf>,
    /// `agent_config` or `group_config` of `type: ag2`.
    pub ag2: Option<Ag2>,
    /// Set where the model is reached through Azure.
    pub azure: Option<Azure>,
    /// `trust_repository`: settings, hooks and servers that the workspace brings for the program
    /// take effect.
    pub trust_repository: bool,
}

/// Agents of the Python package `ag2`.
#[derive(Clone, PartialEq, Eq)]
pub struct Ag2 {
    /// One agent, or a group with `agents`; checked, every `llm_config` a list of maps.
    pub agents: Map<String, Value>,
    /// What of the above must never be shown.
    pub secrets: Vec<Secret>,
}

impl fmt::Debug for Ag2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keys stand among it.
        f.debug_struct("Ag2").field("agents", &self.agents.keys()).finish_non_exhaustive()
    }
}

/// `permission_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PermissionMode {
    /// `default`: nobody is there to ask, so what needs an answer is refused.
    Default,
    /// `acceptEdits`.
    AcceptEdits,
    /// `bypassPermissions`.
    BypassPermissions,
    /// `plan`: the program plans and changes nothing.
    Plan,
}

impl PermissionMode {
    /// The word of the agent file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::AcceptEdits => "acceptEdits",
            Self::BypassPermissions => "bypassPermissions",
            Self::Plan => "plan",
        }
    }
}

/// A deployment of Azure OpenAI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Azure {
    /// `azure_endpoint`: an http or https URL.
    pub endpoint: String,
    /// `azure_deployment` or `deployment_name`; none: the model's name.
    pub deployment: Option<String>,
    /// `api_version`.
    pub api_version: Option<String>,
}

/// `command_line_docker_credentials`: what of the person's own an agent gets, in both walls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// `mount`: logins and settings of well-known programs, read-only.
    pub mounts: Vec<CredentialMount>,
    /// `additional_mounts`.
    pub additional: Vec<AdditionalMount>,
    /// Variables that were asked for by name or from a file, and were there.
    pub variables: BTreeMap<String, Secret>,
    /// `pass_all_env`: they are the client's whole environment.
    pub whole_environment: bool,
    /// What of the above must never be shown.
    pub secrets: Vec<Secret>,
}

/// One word of `command_line_docker_credentials.mount`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CredentialMount {
    /// `ssh_keys`: `~/.ssh`.
    SshKeys,
    /// `git_config`: `~/.gitconfig`.
    GitConfig,
    /// `gh_config`: `~/.config/gh`.
    GhConfig,
    /// `npm_config`: `~/.npmrc`.
    NpmConfig,
    /// `pypi_config`: `~/.pypirc`.
    PypiConfig,
    /// `claude_config`: the login of Claude Code.
    ClaudeConfig,
    /// `codex_config`: the login of Codex.
    CodexConfig,
    /// `gemini_config`: the login of Gemini CLI.
    GeminiConfig,
}

impl CredentialMount {
    /// Every one, with its word.
    pub const ALL: [(&'static str, Self); 8] = [
        ("ssh_keys", Self::SshKeys),
        ("git_config", Self::GitConfig),
        ("gh_config", Self::GhConfig),
        ("npm_config", Self::NpmConfig),
        ("pypi_config", Self::PypiConfig),
        ("claude_config", Self::ClaudeConfig),
        ("codex_config", Self::CodexConfig),
        ("gemini_config", Self::GeminiConfig),
    ];

    /// The word of the agent file.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, mount)| *mount == self).map_or("", |(name, _)| name)
    }
}

/// One entry of `command_line_docker_credentials.additional_mounts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdditionalMount {
    /// On the host; absolute.
    pub host: PathBuf,
    /// `bind`: absolute, inside.
    pub inside: PathBuf,
    /// `mode: rw`.
    pub write: bool,
    /// Where the user wrote it.
    pub place: Place,
}

/// `command_line_docker_runtime`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// The engine's own.
    #[default]
    Default,
    /// gVisor.
    Runsc,
}

/// `command_line_docker_packages.preinstall`: names as their package managers take them, checked
/// to be such names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Packages {
    /// Debian packages.
    pub system: Vec<String>,
    /// Python packages, with their version where one is given.
    pub python: Vec<String>,
    /// npm packages.
    pub npm: Vec<String>,
}

impl Packages {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.system.is_empty() && self.python.is_empty() && self.npm.is_empty()
    }
}
