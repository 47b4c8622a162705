//! Which way to fork is to be had here: each is tried for real.

use crate::{ForkError, Method, open, overlay, remove};
use rustix::{
    fd::OwnedFd,
    fs::{self, Dir, FileType, Mode, OFlags},
    io::Errno,
};
use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

/// Names of a directory that are looked at for a file to try with.
const MOST_TRIED: usize = 1_000;

/// What was found out about a place.
#[derive(Debug)]
pub struct Found {
    /// What forks are made with.
    pub method: Method,
    /// Why not with something faster; empty for an overlay.
    pub why: String,
}

/// How a fork of `tree` is made below `forks`, where everybody who has to see it shares this
/// process's mounts.
#[must_use]
pub fn detect(forks: &Path, tree: &Path) -> Method {
    look(forks, tree).method
}

/// The same where somebody who has to see it has mounts of their own: no overlay.
#[must_use]
pub fn detect_unmounted(forks: &Path, tree: &Path) -> Method {
    if reflinks(forks, tree).is_ok() { Method::Reflink } else { Method::Copy }
}

/// What [`detect`] says, with the reasons.
#[must_use]
pub fn look(forks: &Path, tree: &Path) -> Found {
    let no_overlay = match overlay::works(forks, tree) {
        Ok(()) => return Found { method: Method::Overlay, why: String::new() },
        Err(error) => error.to_string(),
    };
    match reflinks(forks, tree) {
        Ok(()) => Found { method: Method::Reflink, why: no_overlay },
        Err(error) => Found { method: Method::Copy, why: format!("{no_overlay}; {error}") },
    }
}

/// What a tree beside `forks` would be forked with: the best that can be had in this place.
///
/// # Errors
/// When nothing can be made there.
pub fn look_around(forks: &Path) -> Result<Found, ForkError> {
    let trial = Trial::new(forks)?;
    let tree = trial.at.join("tree");
    fs::mkdirat(&trial.directory, "tree", Mode::RWXU).map_err(ForkError::io("make", &tree))?;
    Ok(look(forks, &tree))
}

/// A directory to try something in, which goes away again.
pub(crate) struct Trial {
    at: PathBuf,
    /// A name that nobody else has.
    pub(crate) name: String,
    pub(crate) directory: OwnedFd,
}

impl Trial {
    pub(crate) fn new(forks: &Path) -> Result<Self, ForkError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!(".try-{}-{count}", std::process::id());
        let at = forks.join(&name);
        let fail = || ForkError::io("make the directory", at.clone());
        let parent = open::parent_made(&at)?;
        // A process of the same number may have died in the middle of a trial.
        remove::tree(&at)?;
        fs::mkdirat(&parent, &name, Mode::RWXU).map_err(|e| fail()(e))?;
        let directory = open::below(&parent, &name, open::LIST).map_err(|e| fail()(e))?;
        Ok(Self { at, name, directory })
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // Its name tells what it is; the next trial of this name takes it away.
        let _ = remove::tree(&self.at);
    }
}

/// Whether files of `tree` can share their blocks with ones below `forks`.
fn reflinks(forks: &Path, tree: &Path) -> Result<(), ForkError> {
    let fail = |errno: Errno| ForkError::io("share blocks with", tree)(errno);
    let trial = Trial::new(forks)?;
    let make = |name: &str| {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        fs::openat(&trial.directory, name, flags, Mode::RUSR | Mode::WUSR)
    };
    let one = make("one").map_err(fail)?;
    rustix::io::write(&one, &[1; 4096]).map_err(fail)?;
    let two = make("two").map_err(fail)?;
    fs::ioctl_ficlone(&two, &one).map_err(fail)?;
    match some_file(tree).map_err(fail)? {
        Some(theirs) => fs::ioctl_ficlone(&two, &theirs).map_err(fail),
        // Nothing to try with: on one filesystem it is as it is between two files of ours.
        None => {
            let theirs = fs::stat(tree).map_err(fail)?;
            let ours = fs::fstat(&trial.directory).map_err(fail)?;
            if theirs.st_dev == ours.st_dev { Ok(()) } else { Err(fail(Errno::XDEV)) }
        }
    }
}

/// The tree, when it is a file, or a file right in it.
fn some_file(tree: &Path) -> Result<Option<OwnedFd>, Errno> {
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let place = open::path(tree, open::PLACE)?;
    match FileType::from_raw_mode(fs::fstat(&place)?.st_mode) {
        FileType::RegularFile => return open::path(tree, read).map(Some),
        FileType::Directory => {}
        _ => return Err(Errno::INVAL),
    }
    let directory = open::path(tree, open::LIST)?;
    for entry in Dir::read_from(&directory)?.take(MOST_TRIED) {
        let entry = entry?;
        if entry.file_type() == FileType::RegularFile
            && let Ok(file) = fs::openat(&directory, entry.file_name(), read, Mode::empty())
            && FileType::from_raw_mode(fs::fstat(&file)?.st_mode) == FileType::RegularFile
        {
            return Ok(Some(file));
        }
    }
    Ok(None)
}
