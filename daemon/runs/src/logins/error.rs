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
