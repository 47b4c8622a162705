//! A tree made of another one's files: from descriptor to descriptor, nothing followed.

use crate::{ForkError, copy::meta, hold::times, open};
use rustix::{
    fd::OwnedFd,
    fs::{self, AtFlags, Dir, FileType, Gid, Mode, Stat, Uid},
    io::Errno,
};
use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// Directories below each other; each holds three descriptors.
const MOST_DEEP: usize = 64;

enum Stop {
    /// It has to be done in another way.
    Cannot,
    Failed(ForkError),
}

impl From<ForkError> for Stop {
    fn from(error: ForkError) -> Self {
        Self::Failed(error)
    }
}

/// Fills `target`; whether that is to be had.
pub(crate) fn link(sealed: &Path, target: &Path) -> Result<bool, ForkError> {
    let from = open::path(sealed, open::LIST).map_err(ForkError::io("open", sealed));
    let to = open::path(target, open::LIST).map_err(ForkError::io("open", target))?;
    let linked = match from {
        Ok(from) => directory(&from, &to, target, 0),
        // Closed to its own user, who is the daemon's.
        Err(ForkError::Io { ref source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(Stop::Cannot)
        }
        Err(error) => Err(Stop::Failed(error)),
    };
    match linked {
        Ok(()) => Ok(true),
        Err(Stop::Cannot) => Ok(false),
        Err(Stop::Failed(error)) => Err(error),
    }
}

fn directory(from: &OwnedFd, to: &OwnedFd, at: &Path, depth: usize) -> Result<(), Stop> {
    if depth > MOST_DEEP {
        return Err(Stop::Cannot);
    }
    let entries = Dir::read_from(from).map_err(ForkError::io("list", at))?;
    for entry in entries {
        let entry = entry.map_err(ForkError::io("list", at))?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let path = || at.join(name);
        let stat = fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW).map_err(stop(path))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                fs::linkat(from, name, to, name, AtFlags::empty()).map_err(stop(path))?;
            }
            FileType::Symlink => symlink(from, to, name, &stat).map_err(stop(path))?,
            FileType::Directory => {
                let below = open::below(from, name, open::LIST).map_err(stop(path))?;
                fs::mkdirat(to, name, Mode::RWXU).map_err(stop(path))?;
                let made = open::below(to, name, open::LIST).map_err(stop(path))?;
                directory(&below, &made, &path(), depth + 1)?;
            }
            _ => return Err(Stop::Cannot),
        }
    }
    // Last: a name that is made in it changes its time, and its mode may forbid that.
    Ok(meta::directory(from, to).map_err(ForkError::io("finish", at))?)
}

fn symlink(from: &OwnedFd, to: &OwnedFd, name: &OsStr, stat: &Stat) -> Result<(), Errno> {
    let target = fs::readlinkat(from, name, Vec::new())?;
    fs::symlinkat(target, to, name)?;
    if rustix::process::geteuid().is_root() {
        let (user, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        fs::chownat(to, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    fs::utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
}

/// What the filesystem, its bounds or a mode do not allow can be done by a copy.
fn stop(path: impl FnOnce() -> PathBuf) -> impl FnOnce(Errno) -> Stop {
    move |errno| match errno {
        Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::ACCESS | Errno::NOTSUP => Stop::Cannot,
        errno => Stop::Failed(ForkError::io("link", path())(errno)),
    }
}
