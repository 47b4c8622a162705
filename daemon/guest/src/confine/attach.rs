#![allow(unsafe_code)]

//! Mounts by descriptor: no path is looked up twice, and none is looked up through a link.

use super::{
    error::{Error, at},
    namespaces::last_errno,
};
use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags},
    io::Errno,
    mount::{MountFlags, MoveMountFlags, OpenTreeFlags},
};
use std::{
    ffi::CStr,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

/// What a mount may not be used for, on top of nosuid.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes {
    pub(super) writable: bool,
    pub(super) executable: bool,
    pub(super) devices: bool,
}

impl Attributes {
    /// Neither writable nor executable nor for devices.
    pub(super) const INERT: Self = Self { writable: false, executable: false, devices: false };

    fn bits(self) -> u64 {
        let mut bits = libc::MOUNT_ATTR_NOSUID;
        if !self.writable {
            bits |= libc::MOUNT_ATTR_RDONLY;
        }
        if !self.executable {
            bits |= libc::MOUNT_ATTR_NOEXEC;
        }
        if !self.devices {
            bits |= libc::MOUNT_ATTR_NODEV;
        }
        bits
    }

    pub(super) fn flags(self) -> MountFlags {
        let mut flags = MountFlags::NOSUID;
        flags.set(MountFlags::RDONLY, !self.writable);
        flags.set(MountFlags::NOEXEC, !self.executable);
        flags.set(MountFlags::NODEV, !self.devices);
        flags
    }
}

/// Opens a path of the host; a link anywhere in it, at the end too, is an error. (With
/// `O_NOFOLLOW` as well the link itself would be opened.)
pub(super) fn open_source(path: &Path) -> Result<OwnedFd, Error> {
    rustix::fs::openat2(
        CWD,
        path,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )
    .map_err(at("open the source of the mount", path))
}

/// Opens a path below the new root without following any link.
pub(super) fn open_inside(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::openat2(
        root,
        path,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )
}

/// Attaches a copy of what `source` shows, with all that is mounted below it, at `target`.
pub(super) fn bind(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    attributes: Attributes,
    path: &Path,
) -> Result<(), Error> {
    let tree = rustix::mount::open_tree(
        source,
        c"",
        OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH
            | OpenTreeFlags::AT_RECURSIVE,
    )
    .map_err(at("copy the tree mounted at", path))?;
    // Before it is attached: there is no moment in which the tree can be written.
    set_attributes(tree.as_fd(), attributes, true).map_err(at("restrict the mount at", path))?;
    rustix::mount::move_mount(
        &tree,
        c"",
        target,
        c"",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )
    .map_err(at("attach the mount at", path))
}

/// Mounts a new filesystem on an open directory.
pub(super) fn new_filesystem(
    kind: &CStr,
    target: BorrowedFd<'_>,
    attributes: Attributes,
    options: &CStr,
    path: &Path,
) -> Result<(), Error> {
    // The descriptor's own name in /proc: the host's /proc is still the one in use.
    let name = format!("/proc/self/fd/{}", target.as_raw_fd());
    rustix::mount::mount(kind, &name, kind, attributes.flags(), options)
        .map_err(at("mount a new filesystem at", path))
}

/// Adds restrictions to a mount, or to all mounts of a tree, and cuts it off from
/// what is mounted on the host later.
pub(super) fn set_attributes(
    mount: BorrowedFd<'_>,
    attributes: Attributes,
    recursive: bool,
) -> Result<(), Errno> {
    let request = libc::mount_attr {
        attr_set: attributes.bits(),
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the descriptor is open, the path is a constant empty string, and the
    // request is a valid mount_attr of the size that is passed with it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const request,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}
