//! One name of a directory, recorded.

use super::{
    error::StoreError,
    file::{Fault, Intake},
    limits::{SnapshotRequest, Unsettled},
    object::{Kind, Piece, SMALL, decode_list},
    record::SkipReason,
    session::Session,
    stats::Stats,
};
use crate::tree::ContentId;
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat},
    io::Errno,
};
use std::{ffi::CStr, fs::File};

/// How often a name that changes under the reader is looked at again.
const TRIES: usize = 5;

/// A longer file is read as a piece of work of its own.
const LONG: u64 = 4 << 20;

/// What stands at a name.
pub(super) enum Found {
    /// A directory, to be entered.
    Directory,
    /// A file.
    File(Recorded),
    /// A file that is not known, and too long to be read in passing.
    Long(Stat),
    /// A link and its target.
    Symlink(Stat, Vec<u8>),
    /// Something that is not recorded.
    Skip(SkipReason),
    /// Nothing any more.
    Gone,
}

/// A file whose content is in the store.
pub(super) struct Recorded {
    pub(super) stat: Stat,
    pub(super) id: ContentId,
    /// Whether its looks tell any later write.
    pub(super) settled: bool,
    /// Whether its bytes were read.
    pub(super) read: bool,
}

pub(super) struct Recorder<'a> {
    pub(super) session: &'a Session<'a>,
    pub(super) known: &'a Stats,
    pub(super) request: &'a SnapshotRequest,
    pub(super) intake: Intake<'a>,
    pub(super) device: u64,
    /// Where in what is known the next file may be.
    pub(super) hint: usize,
    /// Whether files can be read without a trace in their access time.
    pub(super) traceless: bool,
}

impl Recorder<'_> {
    /// Records `name` in the directory `at`; `path` is what to call it. A long file that is not
    /// known is only read if `all`.
    pub(super) fn record(
        &mut self,
        at: BorrowedFd<'_>,
        name: &CStr,
        all: bool,
        path: &dyn Fn() -> String,
    ) -> Result<Found, StoreError> {
        for _ in 0..TRIES {
            match self.once(at, name, all) {
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

    fn once(&mut self, at: BorrowedFd<'_>, name: &CStr, all: bool) -> Result<Found, Fault> {
        let stat = match statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(Found::Gone),
            Err(Errno::ACCESS) if self.request.reader.is_some() => {
                return Ok(Found::Skip(SkipReason::Unreadable));
            }
            stat => stat?,
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Ok(Found::Directory),
            FileType::RegularFile => self.file(at, name, stat, all),
            FileType::Symlink => match readlinkat(at, name, Vec::new()) {
                Err(Errno::NOENT | Errno::INVAL) => Err(Fault::Changed),
                target => Ok(Found::Symlink(stat, target?.into_bytes())),
            },
            FileType::Fifo => Ok(Found::Skip(SkipReason::Fifo)),
            FileType::Socket => Ok(Found::Skip(SkipReason::Socket)),
            _ => Ok(Found::Skip(SkipReason::Device)),
        }
    }

    fn file(&mut self, at: BorrowedFd<'_>, name: &CStr, stat: Stat, all: bool) -> Result<Found, Fault> {
        // A file can be mounted over as well as a directory.
        if stat.st_dev != self.device {
            return Ok(Found::Skip(SkipReason::OtherFilesystem));
        }
        // Before what is known: who may read it is for now, not for when it was read.
        if !self.may(&stat) {
            return Ok(Found::Skip(SkipReason::Unreadable));
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if let Some(id) = self.known.find(&stat, &mut self.hint)
            && self.holds(&id, size)
        {
            return Ok(Found::File(Recorded { stat, id, settled: true, read: false }));
        }
        if size > LONG && !all {
            return Ok(Found::Long(stat));
        }
        let file = match self.open(at, name) {
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
        Ok(Found::File(Recorded { stat: got.stat, id: got.id, settled: got.settled, read: true }))
    }

    fn open(&mut self, at: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        if self.traceless {
            match openat(at, name, flags | OFlags::NOATIME, Mode::empty()) {
                // Only the owner may.
                Err(Errno::PERM) => self.traceless = false,
                opened => return opened,
            }
        }
        openat(at, name, flags, Mode::empty())
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

pub(super) fn mtime(stat: &Stat) -> (i64, u32) {
    (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0))
}
