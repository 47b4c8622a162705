//! How the guest confines itself and everything it will ever start. `enter`
//! builds the view of the local wall; `restrict` gives up what is left, in both
//! walls. Both are called by one thread, before any other thread or process exists,
//! and every failure is final: a guest that is not confined does not run.

mod attach;
mod devices;
mod error;
mod landlock;
mod namespaces;
mod privileges;
mod seccomp;
mod view;

pub(crate) use error::Error;
pub(crate) use seccomp::name_of;

use cordon_proto::guest::Boot;
use std::os::fd::OwnedFd;

/// Proof that this process is PID 1 of its own view.
#[derive(Debug)]
pub(crate) struct Entered(());

/// What is in force once `restrict` returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Confinement {
    /// Landlock ABI of this kernel, 0 without Landlock.
    pub(crate) landlock_abi: u32,
    /// Whether the ruleset is enforced.
    pub(crate) landlock_enforced: bool,
}

/// Builds the view of the local wall. The calling process prints `pid N` and exits;
/// only its child returns, as PID 1 inside the finished view. From here on files are
/// made with the agent's identity, while the privileges to confine remain.
pub(crate) fn enter(boot: &Boot) -> Result<Entered, Error> {
    let local = boot.local.as_ref().ok_or(Error::NoView)?;
    namespaces::close_inherited()?;
    namespaces::join_cgroups(&local.cgroup_procs)?;
    namespaces::separate(boot, local)?;
    namespaces::become_init()?;
    namespaces::set_up(local)?;
    view::build(local, boot.uid, boot.gid)?;
    privileges::act_as(boot.uid, boot.gid);
    Ok(Entered(()))
}

/// Gives up every privilege, for this process and all it starts. With nothing to
/// enforce in a container (no seccomp, no Landlock rule), the container is the sudo
/// image's and stays as the engine made it. The descriptor is where the kernel asks about
/// refused system calls: until someone answers there, whoever makes one waits.
pub(crate) fn restrict(boot: &Boot) -> Result<(Confinement, Option<OwnedFd>), Error> {
    let weaker = boot.local.is_none() && !boot.seccomp && boot.landlock.is_empty();
    if let Some(limits) = &boot.rlimits {
        privileges::limit(limits)?;
    }
    let quiet = boot.local.is_some().then(namespaces::null_device).transpose()?;
    if !weaker {
        privileges::drop_all(boot.uid, boot.gid)?;
    }
    privileges::hide_memory()?;
    privileges::ignore_forged_faults()?;
    // In gVisor there is none to ask: its kernel is the boundary.
    let unasked = boot.landlock.is_empty() && boot.landlock_min_abi == 0;
    let confinement = if weaker || unasked {
        Confinement { landlock_abi: 0, landlock_enforced: false }
    } else {
        landlock::restrict(&boot.landlock, boot.landlock_min_abi)?
    };
    let listener = if boot.seccomp { seccomp::restrict()? } else { None };
    if let Some(null) = quiet {
        namespaces::silence(&null)?;
    }
    Ok((confinement, listener))
}
