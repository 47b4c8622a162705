//! Empty things that keep a name: what something is mounted on.

use crate::{Fork, ForkError, Owner, open};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{self, AtFlags, Mode, OFlags, Timespec, Timestamps},
    io::Errno,
};
use std::{ffi::OsStr, path::Path};

impl Fork {
    /// Makes an empty file or directory in the fork, unless something has the name; the directory
    /// around it looks as before. Whether it was made.
    ///
    /// # Errors
    /// When the directory that holds the name is not there, or lies behind a link or a mount.
    pub fn hold(&self, relative: &Path, is_directory: bool, owner: Owner) -> Result<bool, ForkError> {
        let path = self.root().join(relative);
        let fail = |errno: Errno| ForkError::io("hold the absent name", &path)(errno);
        let name = relative.file_name().ok_or(Errno::INVAL).map_err(fail)?;
        let above = relative.parent().unwrap_or(Path::new(""));
        let root = open::path(self.root(), open::LIST).map_err(fail)?;
        let parent = open::far_below(&root, above, open::LIST).map_err(fail)?;
        let before = fs::fstat(&parent).map_err(fail)?;
        let made = if is_directory {
            fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))
        } else {
            file(&parent, name, Mode::from_raw_mode(0o644)).map(drop)
        };
        match made {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(false),
            Err(errno) => return Err(fail(errno)),
        }
        if rustix::process::geteuid().is_root() {
            let (user, group) = owner.ids();
            fs::chownat(&parent, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
        }
        fs::futimens(&parent, &times(&before)).map_err(fail)?;
        Ok(true)
    }
}

pub(crate) fn times(stat: &fs::Stat) -> Timestamps {
    let time = |seconds: i64, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// Something empty that nobody may open, in the place of what is left out. An empty directory is
/// given to `done` as well.
pub(crate) fn nothing(
    parent: &OwnedFd,
    name: &OsStr,
    is_directory: bool,
    done: impl FnOnce(&OwnedFd) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let made = if is_directory {
        fs::mkdirat(parent, name, Mode::RWXU).and_then(|()| {
            let made = open::below(parent, name, open::LIST)?;
            done(&made)?;
            fs::fchmod(&made, Mode::empty())
        })
    } else {
        file(parent, name, Mode::empty()).map(drop)
    };
    match made {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

fn file(parent: impl AsFd, name: &OsStr, mode: Mode) -> Result<OwnedFd, Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(parent, name, flags, mode)
}
