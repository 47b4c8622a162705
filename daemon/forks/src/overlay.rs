//! The O(1) fork. Every layer is named by a descriptor, so that no byte of a path is ever an
//! option's separator.

use crate::{ForkError, copy::meta, mounts, open};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{self, AtFlags, FileType, Mode, OFlags, XattrFlags},
    io::Errno,
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags},
};
use std::path::{Component, Path, PathBuf};

const OPAQUE: &str = "trusted.overlay.opaque";

/// What an agent could leave in its layer must mean nothing: no redirect is followed, nothing is
/// half a copy, and nothing but the kernel's own `trusted.` attributes is looked at. Layers on two
/// filesystems are to look like one: by its device number a snapshot tells what is mounted in a tree.
const OPTIONS: [(&str, &str); 5] = [
    ("redirect_dir", "nofollow"),
    ("metacopy", "off"),
    ("index", "off"),
    ("nfs_export", "off"),
    ("xino", "on"),
];

/// Makes the mount, attached nowhere yet.
pub(crate) fn mount(
    lower: BorrowedFd<'_>,
    upper: BorrowedFd<'_>,
    work: BorrowedFd<'_>,
) -> Result<OwnedFd, Errno> {
    let filesystem = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let set = |key: &str, value: &str| rustix::mount::fsconfig_set_string(&filesystem, key, value);
    set("source", "cordon-fork")?;
    set("lowerdir", &open::name(lower))?;
    set("upperdir", &open::name(upper))?;
    set("workdir", &open::name(work))?;
    for (key, value) in OPTIONS {
        set(key, value)?;
    }
    rustix::mount::fsconfig_create(&filesystem)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    rustix::mount::fsmount(&filesystem, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Whether an overlay of `tree` with its changes below `forks` can be mounted and can do all
/// that overlays do: it is tried, and nothing of it stays.
pub(crate) fn works(forks: &Path, tree: &Path) -> Result<(), ForkError> {
    if !rustix::process::geteuid().is_root() {
        return Err(ForkError::io("mount as an ordinary user on", forks)(Errno::PERM));
    }
    let fail = |errno: Errno| ForkError::io("try an overlay of", tree)(errno);
    let lower = open::path(tree, open::PLACE | OFlags::DIRECTORY).map_err(fail)?;
    let trial = crate::detect::Trial::new(forks)?;
    let layers = make_layers(&trial.directory).map_err(fail)?;
    // An upper layer needs both to tell what is gone, and falls back to something weaker in silence.
    fs::fsetxattr(&layers.upper, OPAQUE, b"y", XattrFlags::empty()).map_err(fail)?;
    fs::fremovexattr(&layers.upper, OPAQUE).map_err(fail)?;
    fs::mknodat(&layers.upper, "w", FileType::CharacterDevice, Mode::empty(), 0).map_err(fail)?;
    fs::unlinkat(&layers.upper, "w", AtFlags::empty()).map_err(fail)?;
    let mount = mount(lower.as_fd(), layers.upper.as_fd(), layers.work.as_fd()).map_err(fail)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = fs::openat(&mount, &trial.name, flags, Mode::RUSR).map_err(fail)?;
    fs::unlinkat(&mount, &trial.name, AtFlags::empty()).map_err(fail)?;
    if fs::fstat(&file).map_err(fail)?.st_dev != fs::fstat(&mount).map_err(fail)?.st_dev {
        return Err(fail(Errno::XDEV));
    }
    // Some layers show only when they are used that they cannot be written.
    fs::mkdirat(&mount, &trial.name, Mode::RWXU).map_err(fail)?;
    fs::unlinkat(&mount, &trial.name, AtFlags::REMOVEDIR).map_err(fail)
}

pub(crate) struct Layers {
    upper: OwnedFd,
    work: OwnedFd,
}

/// Makes the two directories of an overlay's own.
pub(crate) fn make_layers(at: &OwnedFd) -> Result<Layers, Errno> {
    let make = |name: &str| {
        fs::mkdirat(at, name, Mode::RWXU)?;
        open::below(at, name, open::LIST)
    };
    Ok(Layers { upper: make("upper")?, work: make("work")? })
}

fn open_layers(at: &OwnedFd) -> Result<Layers, Errno> {
    let open = |name| open::below(at, name, open::LIST);
    Ok(Layers { upper: open("upper")?, work: open("work")? })
}

/// The layers of a new fork, prepared: the root as the user's is, and what is left out covered.
pub(crate) fn prepare(
    at: &OwnedFd,
    tree: &Path,
    lower: &OwnedFd,
    leave_out: &[PathBuf],
) -> Result<(), ForkError> {
    let layers = make_layers(at).map_err(ForkError::io("make the layers for", tree))?;
    meta::directory(lower, &layers.upper).map_err(ForkError::io("make a root like", tree))?;
    for relative in leave_out {
        cover(lower, &layers.upper, relative).map_err(ForkError::io("leave out", tree.join(relative)))?;
    }
    Ok(())
}

/// Puts something empty in front of a path of the lower layer; what is above it stays as it is.
fn cover(lower: &OwnedFd, upper: &OwnedFd, relative: &Path) -> Result<(), Errno> {
    let mut below: Option<(OwnedFd, OwnedFd)> = None;
    let mut names = relative.components().peekable();
    while let Some(name) = names.next() {
        let Component::Normal(name) = name else { return Err(Errno::INVAL) };
        let (low, up) = match &below {
            Some((low, up)) => (low, up),
            None => (lower, upper),
        };
        let stat = match fs::statat(low, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if names.peek().is_none() {
            crate::hold::nothing(up, name, is_directory, |made| {
                // What is below it would show through.
                fs::fsetxattr(made, OPAQUE, b"y", XattrFlags::empty())
            })?;
            return same_times(low, up);
        }
        if !is_directory {
            return Ok(());
        }
        let low_below = open::below(low, name, open::LIST)?;
        match fs::mkdirat(up, name, Mode::RWXU) {
            Ok(()) => {
                let made = open::below(up, name, open::LIST)?;
                meta::directory(&low_below, &made)?;
                same_times(low, up)?;
                below = Some((low_below, made));
            }
            // Another one that is left out lies here too; or it covers this one already.
            Err(Errno::EXIST) => match open::below(up, name, open::LIST) {
                Ok(there) if fs::fgetxattr(&there, OPAQUE, &mut [0u8; 1]).is_err() => {
                    below = Some((low_below, there));
                }
                Ok(_) | Err(Errno::NOTDIR) => return Ok(()),
                Err(errno) => return Err(errno),
            },
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// A name that is made in a directory changes its times.
fn same_times(low: &OwnedFd, up: &OwnedFd) -> Result<(), Errno> {
    fs::futimens(up, &crate::hold::times(&fs::fstat(low)?))
}

/// Mounts the prepared layers of a fork on its `tree`.
pub(crate) fn attach(at: &OwnedFd, lower: &OwnedFd, point: &Path) -> Result<(), ForkError> {
    let fail = || ForkError::io("mount the fork at", point);
    let layers = open_layers(at).map_err(|e| fail()(e))?;
    let mount = mount(lower.as_fd(), layers.upper.as_fd(), layers.work.as_fd()).map_err(|e| fail()(e))?;
    let target = open::path(point, open::PLACE | OFlags::DIRECTORY).map_err(|e| fail()(e))?;
    mounts::attach(&mount, target).map_err(|e| fail()(e))
}
