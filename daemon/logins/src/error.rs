use std::{io, path::PathBuf};

/// Why a login cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// There is none.
    #[error("there is no login at {0:?}")]
    None(PathBuf),
    /// What is there is no login.
    #[error("the login in {path:?} cannot be used: {why}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why not; never what is in it.
        why: String,
    },
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

impl LoginError {
    pub(crate) fn io<E: Into<io::Error>>(
        step: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> Self {
        let path = path.into();
        move |source| Self::Io { step, path, source: source.into() }
    }

    pub(crate) fn unusable(path: impl Into<PathBuf>, why: impl Into<String>) -> Self {
        Self::Unusable { path: path.into(), why: why.into() }
    }
}
