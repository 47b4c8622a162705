use crate::Access;
use std::{fmt, path::PathBuf, str::FromStr};

/// Why a rule exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The agent's own tree.
    Workspace,
    /// Read-only trees of other agents.
    PeersView,
    /// A user's tree, named in the agent file.
    ContextPath,
    /// Named under `protected_paths` of a context path.
    ProtectedPath,
    /// Runs later on the host (hooks, start-up files, editor tasks).
    RunsLater,
    /// Steers agents (instructions, settings, MCP servers).
    SteersAgents,
    /// Looks like a secret (`.env`, key files).
    Secret,
    /// A socket, behind which a program outside listens: connecting to it is no writing, so
    /// that no read-only mount refuses it.
    Socket,
    /// A file in a writable tree that has another name elsewhere: to write it here would be
    /// to write it there.
    HardLink,
    /// The programs and libraries of the machine or image.
    System,
    /// The private, disposable home.
    Home,
    /// Private temporary files.
    Temporary,
    /// The backend's own program.
    Program,
    /// A login file, mounted for the backend.
    Credential,
    /// A Python file of the user's, with a function that the agent may call.
    CustomTool,
    /// No rule speaks of the path.
    Nothing,
}

/// Not one of the sources.
#[derive(Debug, thiserror::Error)]
#[error("unknown source of a rule: {0:?}")]
pub struct UnknownSource(pub String);

impl Source {
    /// Every source.
    pub const ALL: [Self; 16] = [
        Self::Workspace,
        Self::PeersView,
        Self::ContextPath,
        Self::ProtectedPath,
        Self::RunsLater,
        Self::SteersAgents,
        Self::Secret,
        Self::Socket,
        Self::HardLink,
        Self::System,
        Self::Home,
        Self::Temporary,
        Self::Program,
        Self::Credential,
        Self::CustomTool,
        Self::Nothing,
    ];

    /// A stable word for programs and protocols; [`FromStr`] reads it back.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            Self::PeersView => "peers-view",
            Self::ContextPath => "context-path",
            Self::ProtectedPath => "protected-path",
            Self::RunsLater => "runs-later",
            Self::SteersAgents => "steers-agents",
            Self::Secret => "secret",
            Self::Socket => "socket",
            Self::HardLink => "hard-link",
            Self::System => "system",
            Self::Home => "home",
            Self::Temporary => "temporary",
            Self::Program => "program",
            Self::Credential => "credential",
            Self::CustomTool => "custom-tool",
            Self::Nothing => "nothing",
        }
    }

    /// Whether such a rule narrows a part of a tree that another rule grants.
    #[must_use]
    pub fn is_guard(self) -> bool {
        matches!(
            self,
            Self::ProtectedPath
                | Self::RunsLater
                | Self::SteersAgents
                | Self::Secret
                | Self::Socket
                | Self::HardLink
        )
    }

    /// Whether such a rule is the root of a tree of its own, wherever it lies: it may come from
    /// elsewhere than what is around it, so it is always mounted, and stays where it is.
    #[must_use]
    pub fn is_tree(self) -> bool {
        matches!(self, Self::Workspace | Self::ContextPath | Self::PeersView)
    }

    /// Whether every wall makes such a tree by itself: the machine's programs, and the private
    /// places of a sandbox. Nothing of the host's is mounted for it.
    #[must_use]
    pub fn is_of_wall(self) -> bool {
        matches!(self, Self::System | Self::Home | Self::Temporary | Self::Nothing)
    }
}

impl FromStr for Source {
    type Err = UnknownSource;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|s| s.key() == text).ok_or_else(|| UnknownSource(text.to_owned()))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Workspace => "workspace",
            Self::PeersView => "peers view",
            Self::ContextPath => "context path",
            Self::ProtectedPath => "protected path",
            Self::RunsLater => "runs later on the host",
            Self::SteersAgents => "steers agents",
            Self::Secret => "looks like a secret",
            Self::Socket => "socket of a program outside",
            Self::HardLink => "has another name outside the tree",
            Self::System => "system path",
            Self::Home => "private home",
            Self::Temporary => "private temporary files",
            Self::Program => "the backend's program",
            Self::Credential => "credentials",
            Self::CustomTool => "custom tool",
            Self::Nothing => "no rule allows it",
        })
    }
}

/// A place in a file that a user wrote; lines and columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Name of the file as the user knows it.
    pub file: String,
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Where a rule comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// Why the rule exists.
    pub source: Source,
    /// Where the user wrote it; none for built-in rules.
    pub place: Option<Place>,
}

impl Origin {
    /// An origin that no user wrote.
    #[must_use]
    pub fn built_in(source: Source) -> Self {
        Self { source, place: None }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => place.fmt(f),
            None => f.write_str("built in"),
        }
    }
}

/// One path, what it grants, and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Absolute, without `.`, `..` or doubled slashes; covers everything below it.
    pub path: PathBuf,
    /// What is granted there.
    pub access: Access,
    /// Why.
    pub origin: Origin,
}
