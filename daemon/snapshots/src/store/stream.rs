//! Snapshots made from, and turned into, something else than a directory: what an archive
//! or a bucket brings goes into the store as it comes, and nowhere else.

use super::{
    Store,
    error::StoreError,
    limits::SnapshotRequest,
    object::{CHUNK, Kind, Piece, SMALL, encode_list, encode_tree},
    record::{Skipped, Snapshot, SnapshotId, Statistics},
    session::{Announced, Session},
    take::Taken,
};
use crate::tree::{ContentId, TreeEntry};
use fastcdc::v2020::FastCDC;
use rustix::time::{ClockId, clock_gettime};
use std::{
    collections::HashSet,
    io::{self, Read},
};

/// Why a stream did not get into the store.
pub(crate) enum Fault {
    /// It could not be read, or ended early.
    Read(io::Error),
    /// The store would not take it.
    Store(StoreError),
}

impl From<StoreError> for Fault {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

/// A stretch of a stored file.
pub(crate) enum Stretch {
    /// As many zeros that take no room.
    Hole(u64),
    /// The bytes at an address.
    Bytes(ContentId, u32),
}

/// A root, and what is known of the tree.
pub(crate) struct Built {
    pub(crate) root: ContentId,
    pub(crate) root_mode: u32,
    pub(crate) root_mtime: (i64, u32),
    pub(crate) statistics: Statistics,
    pub(crate) skipped: Vec<Skipped>,
}

/// A snapshot on its way into the store. Nothing of it is announced before it is finished.
pub(crate) struct Builder<'a> {
    store: &'a Store,
    session: Session<'a>,
    groups: HashSet<u32>,
}

impl Store {
    pub(crate) fn build(&self) -> Result<Builder<'_>, StoreError> {
        Ok(Builder { store: self, session: Session::new(self)?, groups: HashSet::new() })
    }

    /// The entries of a stored directory.
    pub(crate) fn listing(&self, id: &ContentId) -> Result<Vec<TreeEntry>, StoreError> {
        self.entries(id)
    }

    /// What a stored file is made of.
    pub(crate) fn stretches(&self, id: &ContentId, size: u64) -> Result<Vec<Stretch>, StoreError> {
        let stretch = |piece| match piece {
            Piece::Hole(length) => Stretch::Hole(length),
            Piece::Chunk(id, length) => Stretch::Bytes(id, length),
        };
        Ok(self.pieces(id, size)?.into_iter().map(stretch).collect())
    }

    /// The bytes of a stretch.
    pub(crate) fn bytes_of(&self, id: &ContentId, length: u32) -> Result<Vec<u8>, StoreError> {
        self.chunk(id, length)
    }
}

impl<'a> Builder<'a> {
    pub(super) fn session(&self) -> &Session<'a> {
        &self.session
    }

    /// Stores a file of `size` bytes whose data lies at `runs`, in order and apart from each
    /// other; `data` gives that data and nothing else. The same file taken from a directory
    /// has the same address.
    pub(crate) fn file(
        &self,
        size: u64,
        runs: &[(u64, u64)],
        data: &mut dyn Read,
    ) -> Result<ContentId, Fault> {
        let dense = size == 0 || runs == [(0, size)];
        if dense && size <= SMALL {
            let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
            data.read_exact(&mut bytes).map_err(Fault::Read)?;
            return Ok(self.session.put(Kind::Blob, &bytes)?);
        }
        let (mut pieces, mut at) = (Vec::new(), 0);
        for (start, length) in runs {
            if *start > at {
                pieces.push(Piece::Hole(start - at));
            }
            self.chunks(*length, data, &mut pieces)?;
            at = start + length;
        }
        if at < size {
            pieces.push(Piece::Hole(size - at));
        }
        Ok(self.session.put(Kind::List, &encode_list(&pieces))?)
    }

    fn chunks(&self, mut left: u64, data: &mut dyn Read, pieces: &mut Vec<Piece>) -> Result<(), Fault> {
        let (least, about, most) = CHUNK;
        let mut window = Vec::new();
        while left > 0 || !window.is_empty() {
            if window.len() < most && left > 0 {
                let more = usize::try_from(left).unwrap_or(usize::MAX).min(2 * most - window.len());
                let had = window.len();
                // What is not there takes no memory.
                data.take(more as u64).read_to_end(&mut window).map_err(Fault::Read)?;
                if window.len() != had + more {
                    return Err(Fault::Read(io::ErrorKind::UnexpectedEof.into()));
                }
                left -= more as u64;
            }
            let mut used = 0;
            for chunk in FastCDC::new(&window, least, about, most) {
                // A cut near the window's end may lie elsewhere once more is seen.
                if left > 0 && window.len() - chunk.offset < most {
                    break;
                }
                let id = self.session.put(Kind::Blob, &window[chunk.offset..chunk.offset + chunk.length])?;
                pieces.push(Piece::Chunk(id, u32::try_from(chunk.length).unwrap_or(u32::MAX)));
                used = chunk.offset + chunk.length;
            }
            window.drain(..used);
        }
        Ok(())
    }

    /// Stores a directory, whose entries are in order.
    pub(crate) fn tree(&self, entries: &[TreeEntry]) -> Result<ContentId, StoreError> {
        let bytes = encode_tree(entries);
        let limit = Kind::Tree.most() as usize;
        if bytes.len() > limit {
            return Err(StoreError::TooLong { what: "a directory's list of names", limit });
        }
        self.session.put(Kind::Tree, &bytes)
    }

    /// The number for the names of a file whose first name this is; as for a tree on disk.
    pub(crate) fn group(&mut self, directory: &[u8], name: &[u8]) -> u32 {
        let hash = blake3::hash(&[directory, b"/", name].concat());
        let mut number = hash.as_bytes().first_chunk().map_or(0, |c| u32::from_le_bytes(*c));
        while !self.groups.insert(number) {
            number = number.wrapping_add(1);
        }
        number
    }

    /// Makes the snapshot durable.
    pub(crate) fn finish(self, built: Built, request: &SnapshotRequest) -> Result<Taken, StoreError> {
        let now = clock_gettime(ClockId::Realtime);
        let mut statistics = built.statistics;
        (statistics.added_objects, statistics.added_bytes) = self.session.added();
        let snapshot = Snapshot {
            root: built.root,
            root_mode: built.root_mode,
            root_mtime: built.root_mtime,
            time: (now.tv_sec, u32::try_from(now.tv_nsec).unwrap_or(0)),
            parents: request.parents.clone(),
            owner: self.store.owner.clone(),
            run: request.run.clone(),
            agent: request.agent.clone(),
            turn: request.turn,
            kind: request.kind.clone(),
            origin: request.origin.clone(),
            label: request.label.clone(),
            statistics,
            skipped: built.skipped,
        };
        let record = snapshot.encode()?;
        let id = SnapshotId::of(&record);
        match self.session.announce(Some((&id, &record)))? {
            Announced::Done(_) => Ok(Taken { id, snapshot }),
            // The stream cannot be had a second time.
            Announced::Lost => Err(StoreError::Contended),
        }
    }
}
