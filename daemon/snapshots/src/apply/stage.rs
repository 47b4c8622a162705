//! What is to be put somewhere, made beside its place under a name that nobody can guess.

use super::{
    execute::{ApplyError, Seam},
    fsops::Tree,
    parts::{Bytes, Part, Thing, Time},
    trail::Trail,
};
use crate::{
    TreeSource,
    live::{join, split},
};
use rustix::{
    fd::{AsFd, BorrowedFd},
    fs::{self, AtFlags, Mode, OFlags, Timespec, Timestamps},
    io::Errno,
};
use std::{
    cell::RefCell,
    collections::HashMap,
    fs::File,
    io::{Read, Seek as _, SeekFrom, Write as _},
};

const BLOCK: usize = 64 << 10;

pub(super) struct Stager<'a> {
    pub(super) tree: &'a Tree,
    pub(super) agent: &'a dyn TreeSource,
    pub(super) seam: &'a dyn Seam,
    /// The whole filesystem is synced later, instead of each file now.
    pub(super) many: bool,
    /// Where the first name of each group of hard links was made.
    pub(super) groups: RefCell<HashMap<u32, Vec<u8>>>,
}

/// A directory that is still being filled.
struct Open {
    mode: u32,
    time: Option<Time>,
}

/// The times to set; what is not known stays as it is.
pub(super) fn times(modified: Time) -> Timestamps {
    let (tv_sec, nanoseconds) = modified;
    let omit = Timespec { tv_sec: 0, tv_nsec: fs::UTIME_OMIT };
    Timestamps { last_access: omit, last_modification: Timespec { tv_sec, tv_nsec: nanoseconds.into() } }
}

impl Stager<'_> {
    /// Makes all parts of what goes to `path`, beside it under `name`.
    pub(super) fn make(
        &self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        parts: &[Part],
        path: &[u8],
    ) -> Result<(), ApplyError> {
        let mut trail = Trail::new(dir);
        let mut open: Vec<Open> = Vec::new();
        // For messages, and where it stands until it is in its place.
        let (mut place, mut beside) = (path.to_vec(), join(split(path).0, name));
        for part in parts {
            while trail.depth() > part.depth {
                self.leave(&mut trail, &mut open, &mut place)?;
                beside.truncate(split(&beside).0.len());
            }
            let (named, here) = if part.depth == 0 {
                (name, beside.clone())
            } else {
                (part.name.as_slice(), join(&beside, &part.name))
            };
            let at = if part.depth == 0 { place.clone() } else { join(&place, &part.name) };
            self.one(trail.here(), named, &part.thing, &at, &here)?;
            if let Thing::Directory { mode, time } = part.thing {
                trail.down(named).map_err(|e| ApplyError::io(&at, e))?;
                open.push(Open { mode, time });
                (place, beside) = (at, here);
            }
        }
        while trail.depth() > 0 {
            self.leave(&mut trail, &mut open, &mut place)?;
        }
        Ok(())
    }

    fn leave(
        &self,
        trail: &mut Trail<'_>,
        open: &mut Vec<Open>,
        place: &mut Vec<u8>,
    ) -> Result<(), ApplyError> {
        if let Some(Open { mode, time }) = open.pop() {
            self.settle(trail.here(), mode, time, place)?;
        }
        trail.up().map_err(|e| ApplyError::io(place, e))?;
        place.truncate(split(place).0.len());
        Ok(())
    }

    fn one(
        &self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        thing: &Thing,
        path: &[u8],
        beside: &[u8],
    ) -> Result<(), ApplyError> {
        let fail = |e: Errno| ApplyError::io(path, e);
        self.seam.at("make")?;
        match thing {
            Thing::Link { target, time } => {
                fs::symlinkat(target.as_slice(), dir, name).map_err(fail)?;
                if let Some(time) = time {
                    fs::utimensat(dir, name, &times(*time), AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
                }
            }
            Thing::Directory { .. } => fs::mkdirat(dir, name, Mode::RWXU).map_err(fail)?,
            Thing::File { mode, time, bytes, group } => {
                let first = group.and_then(|group| self.groups.borrow().get(&group).cloned());
                if let Some(first) = first {
                    let (parent, first) = split(&first);
                    let from = self.tree.directory(parent).map_err(fail)?;
                    return fs::linkat(from, first, dir, name, AtFlags::empty()).map_err(fail);
                }
                let flags =
                    OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR).map_err(fail)?;
                let mut file = File::from(fd);
                self.fill(&mut file, bytes, path)?;
                self.settle(file.as_fd(), *mode, *time, path)?;
                if let Some(group) = group {
                    self.groups.borrow_mut().insert(*group, beside.to_vec());
                }
            }
        }
        Ok(())
    }

    fn settle(
        &self,
        fd: BorrowedFd<'_>,
        mode: u32,
        time: Option<Time>,
        path: &[u8],
    ) -> Result<(), ApplyError> {
        let fail = |e: Errno| ApplyError::io(path, e);
        if let Some(time) = time {
            fs::futimens(fd, &times(time)).map_err(fail)?;
        }
        fs::fchmod(fd, Mode::from_raw_mode(mode & 0o777)).map_err(fail)?;
        if self.many { Ok(()) } else { fs::fsync(fd).map_err(fail) }
    }

    fn fill(&self, file: &mut File, bytes: &Bytes, path: &[u8]) -> Result<(), ApplyError> {
        let fail = |e: std::io::Error| ApplyError::Io { path: path.to_vec(), source: e };
        let (from, size, expected) = match bytes {
            Bytes::Merged(text) => return file.write_all(text).map_err(fail),
            Bytes::From { path, size, digest } => (path, *size, *digest),
        };
        // One byte more than there may be, so that more are noticed.
        let mut reader = self.agent.read(from)?.take(size.saturating_add(1));
        let (mut hasher, mut block) = (blake3::Hasher::new(), vec![0; BLOCK]);
        loop {
            let count = match reader.read(&mut block) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(fail(e)),
            };
            hasher.update(&block[..count]);
            if block[..count].iter().all(|b| *b == 0) {
                file.seek(SeekFrom::Current(count as i64)).map_err(fail)?;
            } else {
                file.write_all(&block[..count]).map_err(fail)?;
            }
        }
        let end = file.stream_position().map_err(fail)?;
        // A hole at the end has no byte to end it.
        file.set_len(end).map_err(fail)?;
        if end != size || hasher.finalize() != expected {
            return Err(ApplyError::Changed { path: path.to_vec() });
        }
        Ok(())
    }
}
