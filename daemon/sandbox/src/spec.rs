use cordon_egress::EgressPolicy;
use cordon_policy::{Access, Limits, Policy};
use serde::{Deserialize, Serialize};
use std::{fmt, net::SocketAddr, path::PathBuf};

/// The kind of a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WallKind {
    /// A container behind a Docker Engine.
    Docker,
    /// Namespaces, Landlock and seccomp on this machine.
    Local,
}

impl fmt::Display for WallKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "docker",
            Self::Local => "local",
        })
    }
}

/// The user and group that an agent's processes have. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// Who a sandbox belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labels {
    /// Run id.
    pub run: String,
    /// Agent id, as in the agent file.
    pub agent: String,
    /// Owner's user id.
    pub owner: u32,
    /// Identity of the daemon's state directory: another daemon's sandboxes are
    /// never touched.
    pub daemon: String,
}

/// What stands at a path inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathSource {
    /// A host file or directory; canonical, without links in it.
    Host(PathBuf),
    /// A private tmpfs of at most so many bytes.
    Tmpfs {
        /// Size limit, bytes.
        bytes: u64,
    },
    /// Nothing: an empty read-only directory or an unreadable empty file that
    /// hides what is there, or holds a name that must not be created.
    Empty,
}

/// File or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
}

/// One path of the sandbox's view, resolved: the roots were canonicalised and
/// their kind looked at once, when the run started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathEntry {
    /// Path inside; the same as outside wherever possible.
    pub path: PathBuf,
    /// What stands there.
    pub source: PathSource,
    /// File or directory.
    pub kind: PathKind,
    /// `Read` or `Write`; `None` only with `PathSource::Empty`.
    pub access: Access,
    /// Whether programs below it may be executed.
    pub execute: bool,
}

/// The network of a sandbox, beside what egress carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// Loopback only.
    Isolated,
    /// A bridge of its own. No host service is reachable but these.
    Bridge {
        /// Exact host addresses that are granted.
        granted: Vec<SocketAddr>,
    },
    /// The host's network.
    Host,
}

/// A loopback port inside that reaches exactly one destination through egress;
/// the destination must be among the egress grants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// Port on 127.0.0.1 inside.
    pub port: u16,
    /// Host outside.
    pub host: String,
    /// Port outside.
    pub target_port: u16,
}

/// A file that is written into the private home before anything runs. Never a secret
/// that must survive: the home is disposable and belongs to the agent.
#[derive(Clone, PartialEq, Eq)]
pub struct SeedFile {
    /// Relative to the home.
    pub path: PathBuf,
    /// Content.
    pub content: Vec<u8>,
    /// Permission bits; with [`SeedFile::LINK`], it is a symbolic link to what `content` says.
    pub mode: u32,
}

impl SeedFile {
    /// What the mode of a link has in it.
    pub const LINK: u32 = 0o120_000;

    /// A symbolic link.
    #[must_use]
    pub fn link(path: PathBuf, target: &std::path::Path) -> Self {
        let content = std::os::unix::ffi::OsStrExt::as_bytes(target.as_os_str()).to_vec();
        Self { path, content, mode: Self::LINK | 0o777 }
    }
}

impl fmt::Debug for SeedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeedFile({:?}, {} bytes, {:o})", self.path, self.content.len(), self.mode)
    }
}

/// How the tools that a sandbox serves behave, beyond its path rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolSettings {
    /// Where relative paths of tool calls begin.
    pub workspace: PathBuf,
    /// Whether a tool removes only what a tool has read or made before.
    pub read_before_delete: bool,
    /// Regular expressions of which a command must match one, from its beginning; empty: any
    /// command. Advice to a model that errs, and no boundary.
    pub allowed_commands: Vec<String>,
    /// Regular expressions of which a command may match none.
    pub blocked_commands: Vec<String>,
    /// Of the file tools only those that write.
    pub only_writing_file_tools: bool,
    /// The most bytes of one result; 0: the tools' own bound.
    pub result_bytes: u64,
}

/// What runs a container's processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// The engine's own, on this machine's kernel.
    #[default]
    Engine,
    /// gVisor: a kernel of its own in between.
    Gvisor,
}

/// What a container has installed beside what its image has. Names as the package managers
/// take them, with versions where they are given; looked at again before they are used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Packages {
    /// Debian packages.
    pub system: Vec<String>,
    /// Python packages.
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

/// Everything a wall needs to know to make one sandbox.
#[derive(Clone, Debug)]
pub struct SandboxSpec {
    /// Chosen by the caller; `[a-z0-9]`, at most 32 characters.
    pub id: String,
    /// Who it belongs to.
    pub labels: Labels,
    /// Who runs inside.
    pub identity: Identity,
    /// The rules; the probe is compared with them.
    pub policy: Policy,
    /// The view that was resolved from the rules: parents before children. System
    /// paths, /tmp and the home are the wall's own business and not in here.
    pub paths: Vec<PathEntry>,
    /// The private home inside, for instance /home/agent.
    pub home: PathBuf,
    /// Written into the home at start.
    pub seeds: Vec<SeedFile>,
    /// Environment of every process; nothing secret.
    pub env: Vec<(String, String)>,
    /// The network.
    pub network: Network,
    /// With it, an egress proxy answers on `proxy_port` inside.
    pub egress: Option<EgressPolicy>,
    /// Loopback ports inside that lead to one granted destination each.
    pub forwards: Vec<Forward>,
    /// What may be used up.
    pub limits: Limits,
    /// Image of a Docker sandbox.
    pub image: Option<String>,
    /// Whether the sudo image's weaker wall was asked for.
    pub sudo: bool,
    /// What runs the processes of a Docker sandbox.
    pub runtime: Runtime,
    /// What a Docker sandbox has installed beside what its image has.
    pub packages: Packages,
    /// How the tools inside behave.
    pub tools: ToolSettings,
    /// Files and directories outside the policy that the probe must not reach.
    pub canaries: Vec<PathBuf>,
}

impl SandboxSpec {
    /// Where the egress proxy listens inside.
    pub const PROXY_PORT: u16 = 3128;
    /// The directory of the sandbox's sockets, as seen from inside.
    pub const DIRECTORY_INSIDE: &'static str = "/run/cordon";
    /// The guest's own file, as seen from inside.
    pub const GUEST_INSIDE: &'static str = "/run/cordon-guest";
    /// What the tools decide by, as seen from inside: read-only for everybody.
    pub const TABLE_INSIDE: &'static str = "/run/cordon-policy";
}
