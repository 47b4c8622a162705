//! Names opened without following anything.

use crate::ForkError;
use rustix::{
    fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    fs::{self, CWD, Mode, OFlags, ResolveFlags},
    io::Errno,
};
use std::{
    ffi::OsStr,
    path::{Component, Path},
};

/// A place, to be gone on from or to be mounted: no permission on the object itself is needed.
pub(crate) const PLACE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);
/// A directory, to be listed.
pub(crate) const LIST: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

const NO_LINKS: ResolveFlags = ResolveFlags::NO_SYMLINKS.union(ResolveFlags::NO_MAGICLINKS);

/// Opens an absolute path; a link anywhere in it is an error, and at its end is opened itself
/// where the flags say so.
pub(crate) fn path(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    fs::openat2(CWD, path, flags, Mode::empty(), NO_LINKS)
}

/// Opens one name, or several, below a directory and on its mount.
pub(crate) fn below(at: impl AsFd, name: impl AsRef<OsStr>, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = NO_LINKS | ResolveFlags::BENEATH | ResolveFlags::NO_XDEV;
    // The kernel asks to try again when a name was moved meanwhile.
    for _ in 0..16 {
        match fs::openat2(&at, name.as_ref(), flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            done => return done,
        }
    }
    Err(Errno::AGAIN)
}

/// The same for a path of any length, name by name.
pub(crate) fn far_below(at: impl AsFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut names = path.components().peekable();
    let mut reached: Option<OwnedFd> = None;
    while let Some(name) = names.next() {
        let Component::Normal(name) = name else { return Err(Errno::INVAL) };
        let flags = if names.peek().is_some() { PLACE | OFlags::DIRECTORY } else { flags };
        let from = reached.as_ref().map_or(at.as_fd(), AsFd::as_fd);
        reached = Some(below(from, name, flags)?);
    }
    match reached {
        Some(found) => Ok(found),
        None => below(at, ".", flags),
    }
}

/// A descriptor's own name: for calls that take nothing but paths. It is looked up through
/// nothing that anybody else can change.
pub(crate) fn name(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// The directory of a path, made with what is missing above it, for this user alone.
pub(crate) fn parent_made(at: &Path) -> Result<OwnedFd, ForkError> {
    let parent = at.parent().unwrap_or(Path::new("/"));
    let fail = |errno: Errno| ForkError::io("make the directory", parent)(errno);
    let mut reached = path(Path::new("/"), PLACE | OFlags::DIRECTORY).map_err(fail)?;
    for component in parent.components() {
        let name = match component {
            Component::RootDir => continue,
            Component::Normal(name) => name,
            _ => return Err(fail(Errno::INVAL)),
        };
        let open = |at: &OwnedFd| fs::openat2(at, name, PLACE | OFlags::DIRECTORY, Mode::empty(), NO_LINKS);
        reached = match open(&reached) {
            Err(Errno::NOENT) => {
                match fs::mkdirat(&reached, name, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(fail(errno)),
                }
                open(&reached).map_err(fail)?
            }
            other => other.map_err(fail)?,
        };
    }
    Ok(reached)
}
