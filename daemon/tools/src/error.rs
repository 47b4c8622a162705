use cordon_policy::{Denial, Operation};
pub(crate) use cordon_wire::shown;
use rustix::io::Errno;

/// Why a tool did not do what it was asked. All of these are results for the model, never
/// errors of the protocol: it can read them and do something else.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The policy refuses it.
    #[error("{0}")]
    Denied(Box<Denial>),
    /// The arguments make no sense.
    #[error("{0}")]
    Arguments(String),
    /// Nothing is there.
    #[error("{0} does not exist")]
    NotFound(String),
    /// Something is there that is not what the tool works on, or that is in its way.
    #[error("{0}: {1}")]
    Unsuitable(String, String),
    /// The kernel refused or failed.
    #[error("{operation} {path}: {errno}")]
    Kernel {
        /// What was tried.
        operation: Operation,
        /// On what, escaped and cut.
        path: String,
        /// Why.
        errno: Errno,
    },
    /// Anything else that failed.
    #[error("{0}")]
    Failed(String),
}

impl ToolError {
    /// A path as it is shown: escaped, and cut where it is long.
    #[must_use]
    pub fn shown(path: &std::path::Path) -> String {
        shown(&path.to_string_lossy())
    }
}
