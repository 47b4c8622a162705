use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// Why the guest could not confine itself. It never goes on after one of these.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A system call failed.
    #[error("cannot {step}: {source}")]
    Call {
        /// What was being done.
        step: &'static str,
        /// What the kernel said.
        source: Errno,
    },
    /// A system call on a path failed.
    #[error("cannot {step} {path:?}: {source}")]
    Path {
        /// What was being done.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: Errno,
    },
    /// The boot message asks for something that cannot be built.
    #[error("the sandbox's view is wrong at {path:?}: {why}")]
    View {
        /// Where.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// The boot message has no local view.
    #[error("the boot message has no local view: only the local wall starts a guest this way")]
    NoView,
    /// The process is somebody else than the policy says.
    #[error("the guest runs as {found} but the sandbox belongs to {expected}")]
    Identity {
        /// uid:gid of this process.
        found: String,
        /// uid:gid of the boot message.
        expected: String,
    },
    /// The kernel's Landlock is missing, too old, or did not enforce what was required.
    #[error("Landlock ABI {required} is required and {found} is in force: {why}")]
    Landlock {
        /// Required ABI.
        required: u32,
        /// ABI of this kernel.
        found: u32,
        /// What happened.
        why: String,
    },
    /// The system call filter could not be built or installed.
    #[error("cannot install the system call filter: {0}")]
    Seccomp(String),
}

pub(super) fn call(step: &'static str) -> impl FnOnce(Errno) -> Error {
    move |source| Error::Call { step, source }
}

pub(super) fn at(step: &'static str, path: &Path) -> impl FnOnce(Errno) -> Error {
    move |source| Error::Path { step, path: path.to_path_buf(), source }
}

/// nix's error in the one form that is used here.
pub(super) fn nix(step: &'static str) -> impl FnOnce(nix::errno::Errno) -> Error {
    move |e| Error::Call { step, source: Errno::from_raw_os_error(e as i32) }
}
