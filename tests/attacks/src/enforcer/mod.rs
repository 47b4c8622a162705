//! Who keeps a place closed: our own walls, the tools inside them, and what others use.

mod alone;
mod control;
mod mcp;
pub mod wall;

use crate::{Attack, Call, Run, World};
use cordon_policy::Denial;
use std::{fmt, future::Future, sync::OnceLock};

/// Who keeps a place closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Enforcer {
    /// The file tools that the guest serves, as a library in a process of the host's administrator: nothing but the table
    /// of rules stands between them and the canary.
    ToolsAlone,
    /// The file and command tools that the guest serves, behind the local wall.
    Tools,
    /// The local wall.
    Local,
    /// The Docker wall.
    Docker,
    /// A control: `docker run` with its defaults and the same binds.
    BareDocker,
    /// A control: `bwrap --unshare-all --ro-bind / /`, an ordinary user's, with the same binds.
    Bwrap,
    /// A control: the reference filesystem server for the Model Context Protocol, an ordinary user's.
    NpmServer,
}

impl Enforcer {
    /// Every one, in the order of the table.
    pub const ALL: [Self; 7] = [
        Self::ToolsAlone,
        Self::Tools,
        Self::Local,
        Self::Docker,
        Self::BareDocker,
        Self::Bwrap,
        Self::NpmServer,
    ];

    /// Whether it is one of ours: an attack on it must fail.
    #[must_use]
    pub fn is_ours(self) -> bool {
        matches!(self, Self::ToolsAlone | Self::Tools | Self::Local | Self::Docker)
    }

    /// The group of `CORDON_TEST_SKIP` that leaves it out.
    #[must_use]
    pub fn group(self) -> &'static str {
        match self {
            Self::ToolsAlone | Self::Tools => "tools",
            Self::Local => "local",
            Self::Docker | Self::BareDocker => "docker",
            Self::Bwrap => "bwrap",
            Self::NpmServer => "mcp",
        }
    }
}

impl fmt::Display for Enforcer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ToolsAlone => "tools alone",
            Self::Tools => "tools",
            Self::Local => "local",
            Self::Docker => "docker",
            Self::BareDocker => "bare docker",
            Self::Bwrap => "bwrap",
            Self::NpmServer => "npm server",
        })
    }
}

/// What came out of a place.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Output of both streams, or the text of a tool's result.
    pub bytes: Vec<u8>,
    /// Exit code; none after a signal.
    pub code: Option<u32>,
    /// Whether anything ran at all.
    pub started: bool,
    /// Whether a typed denial came with it, for programs to read.
    pub denied: bool,
}

impl Said {
    /// As text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// A place that is kept closed, until it is dropped.
pub trait Place {
    /// Runs a program inside; none when this enforcer runs none.
    fn run(&mut self, world: &World, run: &Run) -> Option<Said>;

    /// Calls a tool; none when this enforcer has none.
    fn call(&mut self, call: &Call) -> Option<Said>;

    /// The next denial that the daemon was told of, if one comes soon.
    fn denial(&mut self) -> Option<Denial> {
        None
    }
}

/// A place or the reason why it was not made.
pub type Opened = Result<Box<dyn Place>, String>;

/// Makes a place for an attack on a world.
///
/// # Errors
/// When the enforcer refuses.
pub fn open(enforcer: Enforcer, world: &World, attack: &Attack) -> Opened {
    Ok(match enforcer {
        Enforcer::Local => Box::new(wall::Cell::local(world, attack)?),
        Enforcer::Docker => Box::new(wall::Cell::docker(world, attack)?),
        Enforcer::ToolsAlone => Box::new(alone::Alone::new(world, attack)),
        Enforcer::Tools => Box::new(mcp::Server::ours(world, attack)?),
        Enforcer::BareDocker => Box::new(control::Control::docker(world)),
        Enforcer::Bwrap => Box::new(control::Control::bwrap(world)),
        Enforcer::NpmServer => Box::new(mcp::Server::npm(world)?),
    })
}

/// Runs a future to its end; whatever it leaves running goes on afterwards.
///
/// # Panics
/// When there can be no runtime.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    let make = || {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
    };
    RUNTIME.get_or_init(make).block_on(future)
}
