use cordon_backends::BackendError;
use cordon_policy::{Place, PolicyError, Unenforceable};
use std::{io, path::PathBuf};

/// Why no sandbox can be planned for an agent.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The backend is missing something.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A path of the agent file must not be used like this.
    #[error("{what} {path:?} cannot be used: {why}. {fix}")]
    Path {
        /// "workspace", "context path", …
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        why: String,
        /// What to do.
        fix: String,
    },
    /// A setting does not fit the wall.
    #[error("{setting} does not fit: {why}. {fix}")]
    Setting {
        /// The key of the agent file.
        setting: &'static str,
        /// Why not.
        why: String,
        /// What to do.
        fix: String,
    },
    /// Two places of the agent file say different things of one path.
    #[error("{path:?} is {first} ({first_at}) and {second} ({second_at}): one contradicts the other. {fix}")]
    Contradiction {
        /// Of what, canonical.
        path: PathBuf,
        /// What the one says.
        first: &'static str,
        /// Where it says so.
        first_at: Box<Place>,
        /// What the other says.
        second: &'static str,
        /// Where it says so.
        second_at: Box<Place>,
        /// What to do.
        fix: &'static str,
    },
    /// Rules that no wall can enforce.
    #[error("{}", first_of(.0))]
    Unenforceable(Vec<Unenforceable>),
    /// A rule that no policy can hold.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// An operating system call failed.
    #[error("cannot {step} {path:?}: {source}")]
    Io {
        /// What was being done.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl PlanError {
    pub(super) fn path(
        what: &'static str,
        path: impl Into<PathBuf>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::Path { what, path: path.into(), why: why.into(), fix: fix.into() }
    }

    /// The same, with the place in the agent file that names the path.
    pub(super) fn at(self, place: &Place) -> Self {
        match self {
            Self::Path { what, path, why, fix } => {
                Self::Path { what, path, why: format!("{why} ({place})"), fix }
            }
            other => other,
        }
    }

    pub(super) fn io<E: Into<io::Error>>(
        step: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> Self {
        let path = path.into();
        move |source| Self::Io { step, path, source: source.into() }
    }
}

fn first_of(refused: &[Unenforceable]) -> String {
    match refused {
        [] => "a rule cannot be enforced".to_owned(),
        [one] => one.to_string(),
        [one, more @ ..] => format!("{one} ({} more rules cannot be enforced either)", more.len()),
    }
}
