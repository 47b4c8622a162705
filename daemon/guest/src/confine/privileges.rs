#![allow(unsafe_code)]

use super::error::{Error, call, nix};
use cordon_proto::guest::Rlimits;
use nix::{
    sys::signal::{SigHandler, Signal, signal},
    unistd::{Gid, Uid},
};
use rustix::{
    process::{Resource, Rlimit},
    thread::{CapabilitySet, CapabilitySets},
};

/// What the kernel knows today is 41 capabilities; it refuses the first number
/// beyond its last, which ends the loop.
const MOST_CAPABILITIES: u32 = 64;

/// From here on files are made by, and permissions are checked for, the agent's
/// identity. The other ids and the privileges go later, in `drop_all`.
pub(super) fn act_as(uid: u32, gid: u32) {
    // These calls report the previous id and no error; `drop_all` checks the result
    // of the real change.
    nix::unistd::setfsgid(Gid::from_raw(gid));
    nix::unistd::setfsuid(Uid::from_raw(uid));
}

/// Sets the limits, never above what this process was given.
pub(super) fn limit(limits: &Rlimits) -> Result<(), Error> {
    let set = |resource, value: u64, step| {
        let most = rustix::process::getrlimit(resource).maximum.map_or(value, |most| most.min(value));
        rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
            .map_err(call(step))
    };
    if limits.open_files > 0 {
        set(Resource::Nofile, limits.open_files, "limit open files")?;
    }
    if limits.processes > 0 {
        set(Resource::Nproc, limits.processes, "limit processes")?;
    }
    if limits.file_size_bytes > 0 {
        set(Resource::Fsize, limits.file_size_bytes, "limit the size of files")?;
    }
    if limits.no_core {
        set(Resource::Core, 0, "forbid core files")?;
    }
    Ok(())
}

/// Empties every capability set, takes the agent's ids and makes it impossible to
/// gain anything by an exec. In this order: each step needs what the next one takes.
pub(super) fn drop_all(uid: u32, gid: u32) -> Result<(), Error> {
    empty_bounding_set()?;
    match rustix::thread::clear_ambient_capability_set() {
        // gVisor has no such set, and so nothing in it.
        Ok(()) | Err(rustix::io::Errno::INVAL) => {}
        Err(e) => return Err(call("clear the ambient capabilities")(e)),
    }
    if rustix::process::geteuid().is_root() && uid != 0 {
        rustix::thread::set_thread_groups(&[]).map_err(call("drop the supplementary groups"))?;
        nix::unistd::setresgid(Gid::from_raw(gid), Gid::from_raw(gid), Gid::from_raw(gid))
            .map_err(nix("take the sandbox's group"))?;
        nix::unistd::setresuid(Uid::from_raw(uid), Uid::from_raw(uid), Uid::from_raw(uid))
            .map_err(nix("take the sandbox's user"))?;
    }
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: none, permitted: none, inheritable: none },
    )
    .map_err(call("drop the capabilities"))?;
    rustix::thread::set_no_new_privs(true).map_err(call("set no_new_privs"))?;
    verify_identity(uid, gid)
}

fn empty_bounding_set() -> Result<(), Error> {
    for number in 0..MOST_CAPABILITIES {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::capability_is_in_bounding_set(capability) {
            Ok(true) => rustix::thread::remove_capability_from_bounding_set(capability)
                .map_err(call("empty the capability bounding set"))?,
            Ok(false) => {}
            Err(rustix::io::Errno::INVAL) => break,
            Err(e) => return Err(call("read the capability bounding set")(e)),
        }
    }
    Ok(())
}

fn verify_identity(uid: u32, gid: u32) -> Result<(), Error> {
    let users = nix::unistd::getresuid().map_err(nix("read the user ids"))?;
    let groups = nix::unistd::getresgid().map_err(nix("read the group ids"))?;
    let all_users = [users.real, users.effective, users.saved].map(Uid::as_raw);
    let all_groups = [groups.real, groups.effective, groups.saved].map(Gid::as_raw);
    if uid == 0 || gid == 0 || all_users != [uid; 3] || all_groups != [gid; 3] {
        return Err(Error::Identity {
            found: format!("{}:{}", users.effective, groups.effective),
            expected: format!("{uid}:{gid}"),
        });
    }
    Ok(())
}

/// Lets a fault do what the kernel does with it. The runtime's own handler tells a stack overflow apart, and can be
/// called by anyone who sends the signal: one sent during another ends the process. Without a handler the first
/// process of a PID namespace gets neither from inside, and a fault of its own still ends it.
pub(super) fn ignore_forged_faults() -> Result<(), Error> {
    for fault in [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE, Signal::SIGTRAP] {
        // SAFETY: the default action is no code of this program.
        unsafe { signal(fault, SigHandler::SigDfl) }.map_err(nix("reset the action of a fault"))?;
    }
    Ok(())
}

/// The guest's memory, environment and descriptors are none of the agent's business,
/// though both have the same user id.
pub(super) fn hide_memory() -> Result<(), Error> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(call("hide the guest's memory"))
}
