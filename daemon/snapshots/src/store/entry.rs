//! One name of a directory, recorded.

use super::{
    error::StoreError,
    file::{Fault, Intake},
    limits::{SnapshotRequest, Unsettled},
    object::{Kind, Piece, SMALL, decode_list},
    record::SkipReason,
    session::Session,
    stats::{Stamp, Stats},
};
use crate::tree::{Content, ContentId, NodeKind, TreeEntry};
use rustix::{
    fd::{AsFd, BorrowedFd},
    fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat},
    io::Errno,
};
use std::fs::File;

/// How often a name that changes under the reader is looked at again.
const TRIES: usize = 5;

/// What stands at a name.
pub(super) enum Found {
    /// A directory, to be entered.
    Directory,
    /// A file or link.
    Entry(TreeEntry, Option<Seen>),
    /// Something that is not recorded.
    Skip(SkipReason),
    /// Nothing any more.
    Gone,
}

/// How a file looked.
pub(super) struct Seen {
    pub(super) stamp: Stamp,
    /// Whether the stamp tells any later write.
    pub(super) settled: bool,
    /// Whether its bytes were read.
    pub(super) read: bool,
    /// Whether it has other names.
    pub(super) linked: bool,
}

pub(super) struct Recorder<'a> {
    pub(super) session: &'a Session<'a>,
    pub(super) known: &'a Stats,
    pub(super) request: &'a SnapshotRequest,
    pub(super) intake: Intake<'a>,
    pub(super) device: u64,
}

impl Recorder<'_> {
    /// Records `name` in the directory `at`; `path` is what to call it.
    pub(super) fn record(
        &self,
        at: BorrowedFd<'_>,
        name: &[u8],
        path: &dyn Fn() -> String,
    ) -> Result<Found, StoreError> {
        for _ in 0..TRIES {
            match self.once(at, name) {
                Ok(found) => return Ok(found),
                Err(Fault::Changed) => {}
                Err(Fault::Store(e)) => return Err(e),
                Err(Fault::Io(source)) => return Err(StoreError::Unreadable { path: path(), source }),
                Err(Fault::TooMuch) => {
                    let limit = self.request.limits.bytes;
                    return Err(StoreError::Limit { what: "bytes", limit, path: path() });
                }
            }
        }
        match self.request.unsettled {
            Unsettled::Fail => Err(StoreError::Changing { path: path() }),
            Unsettled::LeaveOut => Ok(Found::Skip(SkipReason::Changing)),
        }
    }

    /// Whether the one it is taken for may read it.
    fn may(&self, stat: &Stat) -> bool {
        self.request.reader.is_none_or(|reader| reader.may(stat))
    }

    fn once(&self, at: BorrowedFd<'_>, name: &[u8]) -> Result<Found, Fault> {
        let stat = match statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(Found::Gone),
            Err(Errno::ACCESS) if self.request.reader.is_some() => {
                return Ok(Found::Skip(SkipReason::Unreadable));
            }
            stat => stat?,
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Ok(Found::Directory),
            FileType::RegularFile => self.file(at, name, &stat),
            FileType::Symlink => match readlinkat(at, name, Vec::new()) {
                Err(Errno::NOENT | Errno::INVAL) => Err(Fault::Changed),
                target => {
                    let target = target?.into_bytes();
                    let size = target.len() as u64;
                    let entry = entry(name, NodeKind::Symlink, &stat, size, Content::Target(target));
                    Ok(Found::Entry(entry, None))
                }
            },
            FileType::Fifo => Ok(Found::Skip(SkipReason::Fifo)),
            FileType::Socket => Ok(Found::Skip(SkipReason::Socket)),
            _ => Ok(Found::Skip(SkipReason::Device)),
        }
    }

    fn file(&self, at: BorrowedFd<'_>, name: &[u8], stat: &Stat) -> Result<Found, Fault> {
        // A file can be mounted over as well as a directory.
        if stat.st_dev != self.device {
            return Ok(Found::Skip(SkipReason::OtherFilesystem));
        }
        // Before what is known: who may read it is for now, not for when it was read.
        if !self.may(stat) {
            return Ok(Found::Skip(SkipReason::Unreadable));
        }
        if let Some(id) = self.known.find(stat)
            && self.holds(&id, u64::try_from(stat.st_size).unwrap_or(0))
        {
            return Ok(described(name, stat, id, true, false));
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match openat(at, name, flags, Mode::empty()) {
            // Gone, or exchanged for a link.
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Err(Fault::Changed),
            Err(Errno::ACCESS) if self.request.reader.is_some() => {
                return Ok(Found::Skip(SkipReason::Unreadable));
            }
            file => File::from(file?),
        };
        let opened = fstat(file.as_fd())?;
        // What was opened counts: not what stood there when it was listed.
        if FileType::from_raw_mode(opened.st_mode) != FileType::RegularFile || opened.st_dev != self.device {
            return Err(Fault::Changed);
        }
        if !self.may(&opened) {
            return Ok(Found::Skip(SkipReason::Unreadable));
        }
        let got = self.intake.read(&file)?;
        Ok(described(name, &got.stat, got.id, got.settled, true))
    }

    /// Whether the store has all of a file that the stat index knows.
    fn holds(&self, id: &ContentId, size: u64) -> bool {
        if size <= SMALL && self.session.has(Kind::Blob, id) {
            return true;
        }
        // A list may outlive its chunks when nothing refers to either.
        self.session.load(Kind::List, id).is_some_and(|bytes| {
            decode_list(&bytes).is_ok_and(|(pieces, total)| {
                total == size
                    && pieces.iter().all(|piece| match piece {
                        Piece::Hole(_) => true,
                        Piece::Chunk(id, _) => self.session.has(Kind::Blob, id),
                    })
            })
        })
    }
}

fn described(name: &[u8], stat: &Stat, id: ContentId, settled: bool, read: bool) -> Found {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let seen = Seen { stamp: Stamp::of(stat), settled, read, linked: stat.st_nlink > 1 };
    Found::Entry(entry(name, NodeKind::File, stat, size, Content::Address(id)), Some(seen))
}

pub(super) fn entry(name: &[u8], kind: NodeKind, stat: &Stat, size: u64, content: Content) -> TreeEntry {
    // A link has no mode of its own, and setuid, setgid and sticky stay behind.
    let mode = if kind == NodeKind::Symlink { 0o777 } else { stat.st_mode & 0o777 };
    TreeEntry { name: name.to_vec(), kind, mode, mtime: mtime(stat), size, content, link_group: None }
}

pub(super) fn mtime(stat: &Stat) -> (i64, u32) {
    (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0))
}
