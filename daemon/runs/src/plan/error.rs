use cordon_backends::BackendError;
use cordon_policy::PolicyError;
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

    pub(super) fn io<E: Into<io::Error>>(
        step: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> Self {
        let path = path.into();
        move |source| Self::Io { step, path, source: source.into() }
    }
}
