use std::{io, path::PathBuf};

/// Why a fork could not be made, found again or removed.
#[derive(Debug, thiserror::Error)]
pub enum ForkError {
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
    /// Something is there already.
    #[error("{0:?} is there already. Remove it first: a fork is made once")]
    Exists(PathBuf),
    /// The fork was never finished.
    #[error("the fork {0:?} was never finished. Remove it and start the run again")]
    HalfMade(PathBuf),
    /// The tree at the user's path is another one by now.
    #[error("{tree:?} is no longer the tree that {at:?} was made of. Start the run again")]
    Replaced {
        /// The user's path.
        tree: PathBuf,
        /// The fork.
        at: PathBuf,
    },
    /// Neither a file nor a directory, or not the one that was asked for.
    #[error("{path:?} is {found}. Name a file or directory")]
    Kind {
        /// Which.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// Deeper than anything that is copied.
    #[error("{path:?} lies below more than {most} directories. Name a smaller path")]
    TooDeep {
        /// Which.
        path: PathBuf,
        /// The bound.
        most: usize,
    },
    /// A file that was written while it was read, again and again.
    #[error("{0:?} changes while it is copied. Stop what writes it, and start the run again")]
    Changing(PathBuf),
    /// Something is mounted where nothing of ours is: nothing below it is removed.
    #[error("something is mounted at {0:?}, and nothing is removed through a mount. Unmount it")]
    Mounted(PathBuf),
    /// Whoever asked does not want it any more.
    #[error("the fork was cancelled")]
    Cancelled,
}

impl ForkError {
    pub(crate) fn io<E: Into<io::Error>>(
        step: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> Self {
        let path = path.into();
        move |source| Self::Io { step, path, source: source.into() }
    }
}
