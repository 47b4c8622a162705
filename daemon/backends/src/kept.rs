//! What is known of each program's login file: where it lies, when it ends, and how the
//! program itself renews it. Who may write one, and when, is decided elsewhere.

use crate::cli::{claude_login, codex_login, copilot_login, gemini_login};
use crate::{BackendError, login};
use cordon_config::BackendKind;
use cordon_policy::HostRule;
use cordon_sandbox::{Forward, SeedFile, WallKind};
use serde_json::Value;
use std::{
    fmt,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// A login file larger than this is none.
pub const LARGEST_LOGIN: usize = 1 << 20;

/// Where the directories with login files stand inside.
pub const LOGINS_INSIDE: &str = "/run/cordon-logins";

/// When a login stops to be good by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// It is a key.
    Never,
    /// Its access token ends then, by its own word.
    At(SystemTime),
    /// It does not say.
    Unknown,
}

/// What a login file says of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Facts {
    /// When it ends.
    pub ends: Ends,
    /// Whether it holds what it takes to renew it.
    pub renewable: bool,
    /// Values that must never be shown.
    pub secrets: Vec<String>,
}

impl fmt::Debug for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Facts({:?}, renewable: {}, {} secrets)", self.ends, self.renewable, self.secrets.len())
    }
}

/// Whose file a login is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LoginSource {
    /// Cordon's own, made by `cordon login`.
    Own,
    /// The person's, in the home directory; agents get what Cordon keeps of it.
    Person,
}

impl LoginSource {
    /// Both, in the order in which they are looked for.
    pub const ALL: [Self; 2] = [Self::Own, Self::Person];

    /// The directory of its file, below that of owner and backend.
    #[must_use]
    pub fn directory(self) -> &'static str {
        match self {
            Self::Own => "login",
            Self::Person => "person",
        }
    }
}

/// A login that is kept fresh while a sandbox uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Of which program.
    pub kind: &'static LoginKind,
    /// Whose.
    pub source: LoginSource,
}

impl Kept {
    /// The directory with the file in it, as seen from inside.
    #[must_use]
    pub fn inside(&self) -> PathBuf {
        Path::new(LOGINS_INSIDE).join(self.kind.backend.name())
    }
}

/// How one of these is planned for a place.
type Planning<T> = fn(&Surroundings<'_>) -> Result<T, BackendError>;

/// The login file of one program.
pub struct LoginKind {
    /// Whose.
    pub backend: BackendKind,
    /// Its name.
    pub file: &'static str,
    /// Where the program looks for it, below a home directory.
    pub personal: &'static str,
    /// Whether lines of comment may be in it.
    pub(crate) commented: bool,
    /// None: the program keeps other things there as well, and no login is among them.
    pub(crate) facts: fn(&Value) -> Result<Option<Facts>, String>,
    pub(crate) renewal: Option<Planning<Renewal>>,
    pub(crate) signing_in: Planning<SigningIn>,
    /// What a person can do who has no usable login.
    pub fix: &'static str,
}

impl PartialEq for LoginKind {
    fn eq(&self, other: &Self) -> bool {
        self.backend == other.backend
    }
}

impl Eq for LoginKind {}

impl fmt::Debug for LoginKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoginKind({})", self.backend.name())
    }
}

/// Where a program that deals with a login runs.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The wall.
    pub wall: WallKind,
    /// Directories in which programs of the local wall are looked for.
    pub program_path: &'a [PathBuf],
    /// The directory with its private copy of the login, as seen from inside.
    pub directory: &'a Path,
    /// The home directory of whom it is for.
    pub owner_home: &'a Path,
    /// Servers in place of the vendors'.
    pub servers: &'a LoginServers,
}

/// Servers in place of the vendors' own.
#[derive(Clone, Debug, Default)]
pub struct LoginServers {
    /// Where Codex gets new tokens, a URL.
    pub codex: Option<String>,
    /// The GitHub of Copilot, a host or a URL.
    pub copilot: Option<String>,
}

/// What a sandbox needs in which a program deals with its login.
#[derive(Clone, Debug, Default)]
pub struct Room {
    /// Environment; nothing secret.
    pub env: Vec<(String, String)>,
    /// Where its program is, for the local wall.
    pub programs: Vec<PathBuf>,
    /// Hosts that it has to reach.
    pub hosts: Vec<HostRule>,
    /// A destination on this machine or a private network.
    pub grant: Option<(String, u16)>,
    /// The loopback port that leads to it.
    pub forward: Option<Forward>,
    /// Files for its home.
    pub seeds: Vec<SeedFile>,
    /// Image of a Docker sandbox.
    pub image: &'static str,
}

/// How a program is made to renew its login.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// Where.
    pub room: Room,
    /// One after the other, until the file is a new one.
    pub attempts: Vec<Attempt>,
    /// Whether what the program printed means that the login is gone for good.
    pub refused: fn(&str) -> bool,
}

/// One process that may renew a login.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Program and arguments.
    pub argv: Vec<Vec<u8>>,
    /// Standard input.
    pub stdin: Vec<u8>,
    /// The number of the answer, a JSON object in a line of standard output, after which
    /// standard input ends; none: at once.
    pub until: Option<u64>,
}

/// How a person logs in with a program.
#[derive(Clone, Debug)]
pub struct SigningIn {
    /// Where.
    pub room: Room,
    /// Program and arguments.
    pub argv: Vec<Vec<u8>>,
    /// Whether it ends when the person has logged in; where it does not, it is ended as soon as
    /// there is a login.
    pub ends_itself: bool,
    /// What the person should know before.
    pub note: &'static str,
}

/// Every login file that is known.
pub const LOGIN_KINDS: [&LoginKind; 4] =
    [&codex_login::KIND, &claude_login::KIND, &gemini_login::KIND, &copilot_login::KIND];

/// The login file of a backend; none where it has no such thing.
#[must_use]
pub fn login_kind(backend: BackendKind) -> Option<&'static LoginKind> {
    LOGIN_KINDS.into_iter().find(|kind| kind.backend == backend)
}

impl LoginKind {
    /// Reads a login file. None: the program keeps other things there, and no login.
    ///
    /// # Errors
    /// Why it is none, without a word of what is in it.
    pub fn look(&self, content: &[u8]) -> Result<Option<Facts>, String> {
        if content.len() > LARGEST_LOGIN {
            return Err(format!("it is larger than {LARGEST_LOGIN} bytes"));
        }
        (self.facts)(&login::parse(content, self.commented)?)
    }

    /// How it is renewed; none where the program sees to that itself.
    ///
    /// # Errors
    /// When the program is not on this machine.
    pub fn renewal(&self, surroundings: &Surroundings<'_>) -> Result<Option<Renewal>, BackendError> {
        self.renewal.map(|renewal| renewal(surroundings)).transpose()
    }

    /// How a person logs in.
    ///
    /// # Errors
    /// When the program is not on this machine.
    pub fn signing_in(&self, surroundings: &Surroundings<'_>) -> Result<SigningIn, BackendError> {
        (self.signing_in)(surroundings)
    }
}
