//! Owner, mode, times and attributes, from one descriptor to another.

use crate::hold::times;
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{self, Gid, Mode, Stat, Uid, XattrFlags},
    io::Errno,
};
use std::ffi::CStr;

/// Attributes of one file; a kernel holds no more of them in one list.
const LONGEST_LIST: usize = 64 << 10;
const LONGEST_VALUE: usize = 64 << 10;

/// Makes a directory look like another one. Last of all: a name that is made in it changes it.
pub(crate) fn directory(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    let stat = fs::fstat(from)?;
    owner(to, &stat)?;
    attributes(from.as_fd(), to.as_fd())?;
    fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    fs::futimens(to, &times(&stat))
}

/// The same for a file. Nothing that it could make of its caller is copied.
pub(super) fn file(from: &OwnedFd, to: &OwnedFd, stat: &Stat) -> Result<(), Errno> {
    owner(to, stat)?;
    attributes(from.as_fd(), to.as_fd())?;
    fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o777))?;
    fs::futimens(to, &times(stat))
}

/// Gives it to whom the original belongs. An ordinary user keeps it: nobody else could have made it.
fn owner(to: &OwnedFd, stat: &Stat) -> Result<(), Errno> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    fs::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
}

/// The user's own attributes and the access lists. Not the kernel's and not capabilities: those
/// are rights, and `trusted.` ones would mean something to an overlay.
fn attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    // Most files have none, and to ask for the length costs no memory.
    match fs::flistxattr_query(from) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(()),
        other => other?,
    };
    let mut list = vec![0u8; LONGEST_LIST];
    let length = fs::flistxattr(from, &mut list[..])?;
    for name in list.get(..length).unwrap_or_default().split_inclusive(|b| *b == 0) {
        let kept = name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_");
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        if !kept {
            continue;
        }
        let mut value = vec![0u8; LONGEST_VALUE];
        let length = match fs::fgetxattr(from, name, &mut value[..]) {
            // Gone since the list was read.
            Err(Errno::NODATA) => continue,
            other => other?,
        };
        match fs::fsetxattr(to, name, value.get(..length).unwrap_or_default(), XattrFlags::empty()) {
            // The place of the fork has no such attributes, or too little room for them.
            Ok(()) | Err(Errno::NOTSUP | Errno::NOSPC | Errno::TOOBIG | Errno::PERM) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Whether a stat of before and one of after are of a file that nobody wrote in between.
pub(super) fn is_unchanged(before: &Stat, after: &impl AsFd) -> Result<bool, Errno> {
    let after = fs::fstat(after)?;
    let of = |s: &Stat| (s.st_size, s.st_mtime, s.st_mtime_nsec, s.st_ctime, s.st_ctime_nsec);
    Ok(of(before) == of(&after))
}
