#![allow(unsafe_code)]

use super::error::{Error, at, call, nix};
use cordon_proto::guest::{Boot, LocalView};
use nix::sched::CloneFlags;
use rustix::fs::{Mode, OFlags};
use std::{
    ffi::OsStr,
    io::Write as _,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

/// Closes whatever was inherited beside the standard descriptors: a directory
/// descriptor that survived would be a door out of the view.
pub(super) fn close_inherited() -> Result<(), Error> {
    // SAFETY: no descriptor above 2 is owned by anything in this process yet: the
    // caller is at the start of its life and holds only the boot message.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    if result == 0 { Ok(()) } else { Err(call("close inherited descriptors")(last_errno())) }
}

pub(super) fn last_errno() -> rustix::io::Errno {
    rustix::io::Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(rustix::io::Errno::IO)
}

/// Joins the control groups first, so that nothing this process starts is outside them.
pub(super) fn join_cgroups(files: &[bytes::Bytes]) -> Result<(), Error> {
    files.iter().try_for_each(|file| {
        let path = Path::new(OsStr::from_bytes(file));
        write_file(path, b"0").map_err(at("join the control group", path))
    })
}

fn write_file(path: &Path, content: &[u8]) -> Result<(), rustix::io::Errno> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?;
    let written = rustix::io::write(&file, content)?;
    if written == content.len() { Ok(()) } else { Err(rustix::io::Errno::IO) }
}

/// Leaves the host's namespaces. The PID namespace takes effect at the next fork.
pub(super) fn separate(boot: &Boot, local: &LocalView) -> Result<(), Error> {
    let mut flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    flags.set(CloneFlags::CLONE_NEWNET, local.own_network);
    flags.set(CloneFlags::CLONE_NEWUSER, local.user_namespace);
    nix::sched::unshare(flags).map_err(nix("make the sandbox's namespaces"))?;
    if local.user_namespace {
        let map = |name: &str, line: String| {
            let path = Path::new("/proc/self").join(name);
            write_file(&path, line.as_bytes()).map_err(at("write", &path))
        };
        // Without this the group map is refused, and rightly: it could drop a group
        // that a file denies by name.
        map("setgroups", "deny".to_owned())?;
        map("uid_map", format!("{0} {0} 1", boot.uid))?;
        map("gid_map", format!("{0} {0} 1", boot.gid))?;
    }
    Ok(())
}

/// Forks: the parent announces the child as the daemon sees it and exits, so that
/// the child belongs to nobody and outlives the daemon; the child is PID 1.
pub(super) fn become_init() -> Result<(), Error> {
    // SAFETY: this process has one thread, so the child may use everything.
    match unsafe { nix::unistd::fork() }.map_err(nix("start the sandbox's first process"))? {
        nix::unistd::ForkResult::Parent { child } => {
            let said = writeln!(std::io::stdout(), "pid {child}").and_then(|()| std::io::stdout().flush());
            // When nobody is there to hear it, nobody could ever end the child either.
            if said.is_err() {
                let _ = nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL);
            }
            std::process::exit(i32::from(said.is_err()));
        }
        nix::unistd::ForkResult::Child => {
            rustix::process::setsid().map(drop).map_err(call("start a session"))
        }
    }
}

/// Host name and loopback of the new namespaces.
pub(super) fn set_up(local: &LocalView) -> Result<(), Error> {
    if !local.hostname.is_empty() {
        nix::unistd::sethostname(&local.hostname).map_err(nix("set the host name"))?;
    }
    if local.own_network {
        loopback_up()?;
    }
    Ok(())
}

fn loopback_up() -> Result<(), Error> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .map_err(call("open a socket for the loopback interface"))?;
    // SAFETY: an all-zero ifreq is valid: it holds an array and a union of plain data.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request lives through the call, and SIOCSIFFLAGS reads an ifreq.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request) };
    if result == 0 { Ok(()) } else { Err(call("bring up the loopback interface")(last_errno())) }
}

/// Opened before the filters are in force, used after.
pub(super) fn null_device() -> Result<OwnedFd, Error> {
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(at("open", Path::new("/dev/null")))
}

/// Lets go of the daemon's pipes. To the daemon the end of standard error means that
/// the guest is confined, or dead.
pub(super) fn silence(null: &OwnedFd) -> Result<(), Error> {
    nix::unistd::dup2_stdin(null).map_err(nix("let go of standard input"))?;
    nix::unistd::dup2_stdout(null).map_err(nix("let go of standard output"))?;
    nix::unistd::dup2_stderr(null).map_err(nix("let go of standard error"))
}
