use std::{io, path::PathBuf};

/// Why the daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(
        "another cordond ({holder}) uses the state directory {path:?}. Stop it, or choose another --state-dir"
    )]
    Locked { path: PathBuf, holder: String },
    #[error("the directory {path:?} cannot be trusted: {why}. {fix}")]
    Untrusted { path: PathBuf, why: String, fix: String },
    #[error("cannot {step} {path:?}: {source}")]
    Io { step: &'static str, path: PathBuf, source: io::Error },
    #[error("{0}")]
    Invalid(String),
    #[error("cannot serve: {0}")]
    Serve(#[from] tonic::transport::Error),
}

impl StartError {
    pub(crate) fn io<E: Into<io::Error>>(
        step: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> Self {
        let path = path.into();
        move |source| Self::Io { step, path, source: source.into() }
    }
}
