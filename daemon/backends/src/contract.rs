use crate::{BackendError, Kept};
use cordon_config::Agent;
use cordon_policy::{HostRule, Policy};
use cordon_proto::v1::event::Kind;
use cordon_proto::v1::{Outcome, OutputStream, UsageEvent};
use cordon_sandbox::{Forward, SeedFile, WallKind};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

/// Environment variables that a run was given, by name.
pub type Variables = BTreeMap<String, String>;

/// What a backend may look at when it says what it needs.
#[derive(Clone, Debug)]
pub struct Context {
    /// The checked agent.
    pub agent: Agent,
    /// Which wall the agent will run behind.
    pub wall: WallKind,
    /// Canonical workspace.
    pub workspace: PathBuf,
    /// Private home inside.
    pub home: PathBuf,
    /// Home directory of the owner on the host, where logins live.
    pub owner_home: PathBuf,
    /// Cordon's own directory with the owner's logins; there may be none.
    pub logins: PathBuf,
    /// Values the client sent (environment and `.env`).
    pub variables: Variables,
    /// Directories in which programs of the local wall are looked for.
    pub program_path: Vec<PathBuf>,
}

/// A login file, mounted read-only into the private home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Canonical file on the host.
    pub host: PathBuf,
    /// Absolute path inside.
    pub inside: PathBuf,
}

/// What a backend needs of its sandbox.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Files for the private home: configuration, never a login.
    pub seeds: Vec<SeedFile>,
    /// Login files.
    pub logins: Vec<Login>,
    /// A login that is kept fresh while the sandbox stands: a link at the program's place leads
    /// to it.
    pub kept: Option<Kept>,
    /// Host files or directories with the backend's program; the local wall
    /// mounts them read-only at the same path.
    pub programs: Vec<PathBuf>,
    /// Environment of every process in the sandbox; nothing secret.
    pub env: Vec<(String, String)>,
    /// Hosts that the backend itself has to reach.
    pub hosts: Vec<HostRule>,
    /// A `base_url` on this machine or a private network: host and port, exactly.
    pub grant: Option<(String, u16)>,
    /// The loopback port that leads to `grant`, where `base_url` names loopback.
    pub forward: Option<Forward>,
    /// Further hosts on this machine or a private network: of MCP servers that the file says so of.
    pub grants: Vec<(String, u16)>,
    /// The loopback ports that lead to them.
    pub forwards: Vec<Forward>,
    /// Image of a Docker sandbox where the agent file names none.
    pub image: Option<String>,
    /// Values that must never be shown: redacted from all output.
    pub secrets: Vec<String>,
    /// What the person should know before the run.
    pub warnings: Vec<String>,
}

/// One prompt to the backend.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Counts from 1.
    pub number: u32,
    /// What to do.
    pub prompt: String,
    /// The program's own session that this turn goes on with, as it named it in an earlier one.
    pub session: Option<String>,
    /// A UUID for a session that begins with this turn, where the program lets its name be chosen.
    pub new_session: String,
    /// What was told of that session's use in earlier turns: some programs count a session as a
    /// whole.
    pub counted: UsageEvent,
    /// The rules, to explain denials with.
    pub policy: Arc<Policy>,
}

/// A process that the driver wants to run next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecPlan {
    /// Program and arguments; never a secret or a prompt.
    pub argv: Vec<Vec<u8>>,
    /// On top of the sandbox's environment; may hold secrets.
    pub env: Vec<(String, Vec<u8>)>,
    /// Working directory inside.
    pub cwd: PathBuf,
    /// Standard input, then end of file; none: /dev/null.
    pub stdin: Option<Vec<u8>>,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Exit code, when it exited by itself.
    pub code: Option<i32>,
    /// Signal, when one ended it.
    pub signal: Option<i32>,
    /// Its deadline or idle limit passed.
    pub timed_out: bool,
    /// Cordon stopped it on request.
    pub cancelled: bool,
    /// It could not be started: errno and what it was (`exec`, `chdir`).
    pub failed_to_start: Option<(i32, String)>,
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnOutcome {
    /// Success only after the backend's own success event.
    pub outcome: Outcome,
    /// Why, for a person.
    pub message: String,
}

/// What a driver wants next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Run this process; its output comes back through [`Driver::output`].
    Exec(ExecPlan),
    /// The turn is over.
    Done(TurnOutcome),
}

/// Drives one turn. Deterministic: told the same things in the same order, it
/// answers the same. Every answer is bounded in size whatever it was told.
pub trait Driver: Send {
    /// What to do next: called at the start and after every exit. The events come first.
    fn next(&mut self) -> (Vec<Kind>, Step);
    /// A piece of what the running process printed, in order, cut anywhere.
    fn output(&mut self, stream: OutputStream, data: &[u8]) -> Vec<Kind>;
    /// The running process ended; all of its output was told before.
    fn exited(&mut self, exit: &Exit) -> Vec<Kind>;
}

/// One kind of backend.
pub trait Backend: Send + Sync {
    /// What it needs of the sandbox. Called before the sandbox is made.
    ///
    /// # Errors
    /// When a login, a program or a setting is missing or unusable.
    fn needs(&self, context: &Context) -> Result<Needs, BackendError>;

    /// Starts a turn.
    ///
    /// # Errors
    /// When the login has gone away or a setting does not fit.
    fn turn(&self, context: &Context, turn: Turn) -> Result<Box<dyn Driver>, BackendError>;

    /// The driver of a turn that an earlier daemon began, to be told its journal again:
    /// that of [`Backend::turn`]. Where that one fails now, because a login has expired or
    /// a key is no longer at hand, a driver comes all the same, so that a turn whose
    /// process runs already goes on; a process started from its plan has no login.
    fn recover(&self, context: &Context, turn: Turn) -> Box<dyn Driver>;

    /// The program's own terminal interface, for a person, in place of that turn, whose prompt
    /// nobody gives.
    ///
    /// # Errors
    /// When the backend has none, or as [`Backend::turn`].
    fn attach(&self, context: &Context, turn: Turn) -> Result<ExecPlan, BackendError> {
        let _ = turn;
        Err(BackendError::Invalid(format!(
            "{} has no terminal interface; give it a task with `cordon run`",
            context.agent.backend.name()
        )))
    }

    /// Names of the environment variables it looks at.
    fn variables(&self) -> &'static [&'static str];
}
