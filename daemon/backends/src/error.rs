/// Why a backend cannot run.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// No login and no key; every place that was looked at is named.
    #[error("{backend} has no login: looked at {}. {fix}", .looked_at.join(", "))]
    NoLogin {
        /// The backend's `type`.
        backend: &'static str,
        /// Variables and files, in the order they were looked at.
        looked_at: Vec<String>,
        /// What to do.
        fix: String,
    },
    /// The login is there but must not be used as it is.
    #[error("the {backend} login in {place} cannot be used: {why}. {fix}")]
    UnusableLogin {
        /// The backend's `type`.
        backend: &'static str,
        /// Where it was found.
        place: String,
        /// Why not.
        why: String,
        /// What to do.
        fix: String,
    },
    /// The backend's program is not on this machine.
    #[error("the program {program} was not found: looked at {}. {fix}", .looked_at.join(", "))]
    NoProgram {
        /// Its name.
        program: String,
        /// Where it was looked for.
        looked_at: Vec<String>,
        /// What to do.
        fix: String,
    },
    /// Something in the agent file does not fit the backend.
    #[error("{0}")]
    Invalid(String),
}
