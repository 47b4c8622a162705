//! What is mounted at and below a place of ours, and how it goes away.

use crate::{ForkError, open};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{AtFlags, StatxAttributes, StatxFlags, statx},
    io::Errno,
    mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags},
};
use std::{
    ffi::OsString,
    io,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

/// Mounts stacked on each other: more than a crash at every step could leave.
const MOST_ROUNDS: usize = 64;
const MOUNTS: &str = "/proc/self/mountinfo";

/// One line of the kernel's list.
struct Mounted {
    id: u64,
    point: PathBuf,
    shared: bool,
}

/// Whether the process of this number sees the mounts that this one makes.
///
/// # Errors
/// When the system does not tell.
pub fn same_mounts(pid: u32) -> io::Result<bool> {
    let theirs = std::fs::read_link(format!("/proc/{pid}/ns/mnt"))?;
    Ok(theirs == std::fs::read_link("/proc/self/ns/mnt")?)
}

/// Whether whoever listens on a unix socket sees the mounts that this process makes. The kernel
/// tells who made it listen, and no other process is looked at: where a service manager did that for
/// a service, the answer is the manager's, and a service with mounts of its own may not see them.
///
/// # Errors
/// When nobody listens, or the system does not tell.
pub fn listener_shares_mounts(socket: &Path) -> io::Result<bool> {
    let stream = std::os::unix::net::UnixStream::connect(socket)?;
    let listener = rustix::net::sockopt::socket_peercred(&stream)?;
    same_mounts(listener.pid.as_raw_pid().unsigned_abs())
}

/// Whether something is mounted on exactly this place.
pub(crate) fn is_mount(place: impl AsFd) -> Result<bool, Errno> {
    let found = statx(place, "", AtFlags::EMPTY_PATH, StatxFlags::empty())?;
    if !found.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) {
        return Err(Errno::OPNOTSUPP);
    }
    Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Whether what is mounted here would appear in other mount namespaces too.
pub(crate) fn is_shared(place: impl AsFd) -> io::Result<bool> {
    let found = statx(place, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    Ok(list()?.iter().any(|mounted| mounted.id == found.stx_mnt_id && mounted.shared))
}

/// Mounts a directory on itself, so that what is mounted below it stays in this namespace.
pub(crate) fn shield(directory: &OwnedFd) -> Result<(), Errno> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = rustix::mount::open_tree(directory, c"", flags)?;
    attach(&tree, directory)?;
    // The clone's descriptor is the attached mount by now.
    rustix::mount::mount_change(open::name(tree.as_fd()), MountPropagationFlags::PRIVATE)
}

pub(crate) fn attach(mount: &OwnedFd, target: impl AsFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, c"", target, c"", flags)
}

/// Unmounts everything at and below a directory of ours, by descriptor.
pub(crate) fn unmount_all(at: &Path) -> Result<(), ForkError> {
    for _ in 0..MOST_ROUNDS {
        let mut mounted: Vec<Mounted> = list()
            .map_err(ForkError::io("read", MOUNTS))?
            .into_iter()
            .filter(|mounted| mounted.point.starts_with(at))
            .collect();
        if mounted.is_empty() {
            return Ok(());
        }
        // What was mounted last lies on top of the rest.
        mounted.reverse();
        for mounted in mounted {
            let fail = |errno: Errno| ForkError::io("unmount", &mounted.point)(errno);
            let place = match open::path(&mounted.point, open::PLACE) {
                Ok(place) => place,
                // Covered by one that is not gone yet, or gone with it.
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                Err(errno) => return Err(fail(errno)),
            };
            if is_mount(&place).map_err(fail)? {
                // Without NOFOLLOW: the name is the descriptor's own, and what it holds was opened
                // without following anything.
                match rustix::mount::unmount(open::name(place.as_fd()), UnmountFlags::DETACH) {
                    Ok(()) | Err(Errno::INVAL) => {}
                    Err(errno) => return Err(fail(errno)),
                }
            }
        }
    }
    Err(ForkError::Mounted(at.to_path_buf()))
}

fn list() -> io::Result<Vec<Mounted>> {
    Ok(parse(&std::fs::read(MOUNTS)?))
}

/// `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG]... - TYPE SOURCE OPTIONS`.
fn parse(text: &[u8]) -> Vec<Mounted> {
    let line = |line: &[u8]| {
        let mut words = line.split(|b| *b == b' ');
        let id = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
        let point = unescaped(words.nth(3)?);
        let shared = words.skip(1).take_while(|w| *w != b"-").any(|w| w.starts_with(b"shared:"));
        Some(Mounted { id, point, shared })
    };
    text.split(|b| *b == b'\n').filter_map(line).collect()
}

/// Undoes the kernel's `\040`.
fn unescaped(word: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, after)) = rest.split_first() {
        let octal = |b: &[u8]| {
            b.iter().try_fold(0u32, |n, b| b.is_ascii_digit().then(|| n * 8 + u32::from(b - b'0')))
        };
        match after.get(..3).and_then(octal).and_then(|n| u8::try_from(n).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

    #[test]
    fn the_kernels_list_is_read_whatever_a_name_has_in_it() {
        let text = b"36 35 98:0 / /a\\040b\\134\\012\xff rw,noatime shared:5 master:1 - ext4 /dev/x rw\n\
            37 36 0:9 /sub /c rw - overlay shared:7 rw\nnonsense\n";
        let found = parse(text);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].point.as_os_str(), OsStr::from_bytes(b"/a b\\\n\xff"));
        assert!(found[0].shared && found[0].id == 36);
        assert!(!found[1].shared && found[1].point == Path::new("/c"));
    }

    #[test]
    fn this_process_sees_its_own_mounts() {
        assert!(same_mounts(std::process::id()).unwrap());
        assert!(same_mounts(u32::MAX).is_err());
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        assert!(listener_shares_mounts(&socket).is_err());
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(listener_shares_mounts(&socket).unwrap());
        let proc = open::path(Path::new("/proc"), open::PLACE).unwrap();
        assert!(is_mount(proc).unwrap());
        let tree = tempfile::tempdir().unwrap();
        assert!(!is_mount(open::path(&tree.path().canonicalize().unwrap(), open::PLACE).unwrap()).unwrap());
    }
}
