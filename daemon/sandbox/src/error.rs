use std::{io, path::PathBuf};

/// Why a sandbox could not be made, reached or ended.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The wall cannot enforce something that the policy asks for.
    #[error("{rule} cannot be enforced by the {wall} wall: {why}. {fix}")]
    Unenforceable {
        /// What was asked for.
        rule: String,
        /// The wall.
        wall: &'static str,
        /// Why not.
        why: String,
        /// What to do about it.
        fix: String,
    },
    /// What the wall needs of this host is not there.
    #[error("{what} is not available: {why}. {fix}")]
    Unavailable {
        /// For instance "Docker Engine".
        what: String,
        /// Why not.
        why: String,
        /// What to do about it.
        fix: String,
    },
    /// The image of a Docker sandbox is missing.
    #[error("image {image} is not there: {fix}")]
    ImageMissing {
        /// Its name.
        image: String,
        /// How to build or pull it.
        fix: String,
    },
    /// The probe inside disagrees with the policy.
    #[error("the probe of sandbox {sandbox} disagrees with its policy: {}", .differences.join("; "))]
    ProbeDisagrees {
        /// Sandbox id.
        sandbox: String,
        /// One line each.
        differences: Vec<String>,
    },
    /// What is mounted is not what was looked at.
    #[error(
        "{source_path:?}, the source of {path:?}, was exchanged while sandbox {sandbox} was made: {found}. \
         Nothing was started in it. Look at who can change the directories above it, and start the run again"
    )]
    Exchanged {
        /// Sandbox id.
        sandbox: String,
        /// What was to be mounted.
        source_path: PathBuf,
        /// Where inside.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// The guest died, answered nonsense or cannot be reached.
    #[error("the guest of sandbox {sandbox}: {why}")]
    Guest {
        /// Sandbox id.
        sandbox: String,
        /// What happened.
        why: String,
    },
    /// An operating system call failed.
    #[error("{step} {path:?}: {source}")]
    Io {
        /// What was being done.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The container engine refused.
    #[error("the container engine could not {step}: {why}")]
    Engine {
        /// What was asked of it.
        step: String,
        /// What it said.
        why: String,
    },
}

impl SandboxError {
    /// Whether a policy or a missing primitive is the reason, as opposed to trouble.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Unenforceable { .. }
                | Self::Unavailable { .. }
                | Self::ImageMissing { .. }
                | Self::ProbeDisagrees { .. }
                | Self::Exchanged { .. }
        )
    }

    pub(crate) fn io(step: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { step, path, source }
    }
}
