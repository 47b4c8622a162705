use cordon_backends::LoginKind;

/// Why an agent has no login that holds.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoginTrouble {
    /// The server does not know it any more: it was used elsewhere, or withdrawn.
    #[error("the {backend} login cannot be renewed, its server refuses it: {why}. {fix}")]
    Refused {
        /// The backend's `type`.
        backend: &'static str,
        /// What the program said.
        why: String,
        /// What to do.
        fix: &'static str,
    },
    /// It ends, and was not renewed.
    #[error("the {backend} login ends and was not renewed: {why}. {fix}")]
    Ended {
        /// The backend's `type`.
        backend: &'static str,
        /// Why not.
        why: String,
        /// What to do.
        fix: &'static str,
    },
    /// The files of the login are not what they should be.
    #[error("the {backend} login cannot be used: {why}. {fix}")]
    Broken {
        /// The backend's `type`.
        backend: &'static str,
        /// What is wrong.
        why: String,
        /// What to do.
        fix: &'static str,
    },
}

impl LoginTrouble {
    pub(crate) fn broken(kind: &'static LoginKind, why: String) -> Self {
        Self::Broken { backend: kind.backend.name(), why, fix: kind.fix }
    }

    pub(crate) fn ended(kind: &'static LoginKind, why: String) -> Self {
        Self::Ended { backend: kind.backend.name(), why, fix: kind.fix }
    }

    /// The same, where an earlier renewal of the same login was cut off: its server may have
    /// answered it, and then nobody has the answer.
    pub(crate) fn after_a_cut(self) -> Self {
        match self {
            Self::Refused { backend, why, fix } => {
                let why = format!(
                    "{why}; an earlier daemon ended while it was being renewed, and the new login was lost with \
                     its server's answer"
                );
                Self::Refused { backend, why, fix }
            }
            other => other,
        }
    }

    /// Whether trying again is of no use.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// Stable, for programs.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "login-refused",
            Self::Ended { .. } => "login-not-renewed",
            Self::Broken { .. } => "login-unusable",
        }
    }

    /// What the person can do.
    #[must_use]
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Refused { fix, .. } | Self::Ended { fix, .. } | Self::Broken { fix, .. } => fix,
        }
    }
}

/// Why a person did not log in. Nothing is kept then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// Cordon keeps no login of this backend.
    #[error("`cordon login` cannot log in with {backend:?}: {why}")]
    NotHere {
        /// As asked for.
        backend: String,
        /// Why not.
        why: &'static str,
        /// What to do instead.
        fix: &'static str,
    },
    /// The owner logs in there at this moment.
    #[error("somebody is logging in with {backend} at this moment")]
    Busy {
        /// The backend's `type`.
        backend: &'static str,
    },
    /// The program is not on this machine, or its sandbox cannot be made.
    #[error("the login of {backend} cannot begin: {why}")]
    NotBegun {
        /// The backend's `type`.
        backend: &'static str,
        /// Why not.
        why: String,
    },
    /// The program ended, and there is no login.
    #[error("{backend} did not log in, and nothing is kept: {why}")]
    NotMade {
        /// The backend's `type`.
        backend: &'static str,
        /// Why not; never what is in a file.
        why: String,
    },
    /// The client went, or the daemon ends.
    #[error("the login of {backend} was given up, and nothing is kept")]
    GivenUp {
        /// The backend's `type`.
        backend: &'static str,
    },
    /// What was given is no key.
    #[error("no key of {backend} is kept: what was given {why}")]
    NoKey {
        /// The backend's `type`.
        backend: &'static str,
        /// Why not; never a word of it.
        why: String,
    },
    /// The login was not kept or forgotten.
    #[error("the {backend} login cannot be written: {why}")]
    Unwritten {
        /// The backend's `type`.
        backend: &'static str,
        /// Why not.
        why: String,
    },
}

impl SignInError {
    /// Stable, for programs.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotHere { .. } => "no-such-login",
            Self::Busy { .. } => "login-under-way",
            Self::NotBegun { .. } => "login-not-begun",
            Self::NotMade { .. } => "login-not-made",
            Self::GivenUp { .. } => "login-given-up",
            Self::NoKey { .. } => "no-key",
            Self::Unwritten { .. } => "login-not-written",
        }
    }

    /// What the person can do; empty when the message says it.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            Self::NotHere { fix, .. } => fix,
            Self::Busy { .. } => "finish that one, or leave it with Ctrl-]",
            Self::NotBegun { .. } => "`--wall docker` uses the program in Cordon's image",
            Self::NotMade { .. } | Self::GivenUp { .. } => "try again: `cordon login BACKEND`",
            Self::NoKey { .. } => "give the key alone, as its service shows it, in one line",
            Self::Unwritten { .. } => "see that the state directory can be written, and has room",
        }
    }
}
