//! Every change to the store's files goes through here, so that tests can stop the world
//! before any of them.

use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{self, AtFlags, Mode, OFlags},
    io::Errno,
};
use std::{
    fs::File,
    io::{self, Write as _},
    sync::Arc,
};

/// What is about to happen.
#[cfg_attr(not(test), allow(dead_code, reason = "only tests look"))]
pub(super) enum Op<'a> {
    Create { dir: BorrowedFd<'a>, name: &'a str },
    Write { file: &'a File, bytes: &'a [u8] },
    Sync { file: &'a File },
    Rename { from: BorrowedFd<'a>, old: &'a str, to: BorrowedFd<'a>, new: &'a str },
    SyncDir { dir: BorrowedFd<'a> },
    Unlink { dir: BorrowedFd<'a>, name: &'a str },
}

pub(super) trait Hook: Send + Sync {
    /// An error means that the operation does not happen.
    fn before(&self, op: &Op<'_>) -> io::Result<()>;
}

/// The store's way to its files.
#[derive(Clone, Default)]
pub(super) struct Disk {
    hook: Option<Arc<dyn Hook>>,
}

impl Disk {
    #[cfg(test)]
    pub(super) fn with(hook: Arc<dyn Hook>) -> Self {
        Self { hook: Some(hook) }
    }

    fn before(&self, op: &Op<'_>) -> io::Result<()> {
        self.hook.as_ref().map_or(Ok(()), |h| h.before(op))
    }

    pub(super) fn create(&self, dir: impl AsFd, name: &str) -> io::Result<File> {
        let dir = dir.as_fd();
        self.before(&Op::Create { dir, name })?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR)?))
    }

    pub(super) fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        self.before(&Op::Write { file, bytes })?;
        file.write_all(bytes)
    }

    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        self.before(&Op::Sync { file })?;
        file.sync_data()
    }

    pub(super) fn rename(&self, from: impl AsFd, old: &str, to: impl AsFd, new: &str) -> io::Result<()> {
        let (from, to) = (from.as_fd(), to.as_fd());
        self.before(&Op::Rename { from, old, to, new })?;
        Ok(fs::renameat(from, old, to, new)?)
    }

    pub(super) fn sync_dir(&self, dir: impl AsFd) -> io::Result<()> {
        let dir = dir.as_fd();
        self.before(&Op::SyncDir { dir })?;
        Ok(fs::fsync(dir)?)
    }

    /// Gone already counts as done.
    pub(super) fn unlink(&self, dir: impl AsFd, name: &str) -> io::Result<()> {
        let dir = dir.as_fd();
        self.before(&Op::Unlink { dir, name })?;
        match fs::unlinkat(dir, name, AtFlags::empty()) {
            Err(Errno::NOENT) | Ok(()) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}

/// Opens a directory without following a link to it.
pub(super) fn open_dir<P: rustix::path::Arg>(at: impl AsFd, name: P) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    fs::openat(at, name, flags, Mode::empty())
}

/// Makes a directory if there is none, and opens it.
pub(super) fn make_dir(at: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    match fs::mkdirat(&at, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => open_dir(at, name),
        Err(e) => Err(e),
    }
}

/// The names in a directory of the store's own, without `.` and `..`.
pub(super) fn names(dir: impl AsFd) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::Dir::read_from(dir)? {
        let entry = entry?;
        // The store gives ASCII names alone: others are nobody's.
        if let Ok(name) = entry.file_name().to_str()
            && !matches!(name, "." | "..")
        {
            found.push(name.to_owned());
        }
    }
    found.sort();
    Ok(found)
}

pub(super) fn open_file(dir: impl AsFd, name: &str) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    fs::openat(dir, name, flags, Mode::empty()).map(File::from)
}
