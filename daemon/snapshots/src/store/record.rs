//! What is known of a snapshot.

use super::{
    error::StoreError,
    wire::{Bad, Put as _, Reader},
};
use crate::tree::ContentId;
use std::{fmt, str::FromStr};

const HEAD: &[u8; 8] = b"CDNSNAP1";
pub(super) const TEXT_MOST: usize = 4096;
const PARENTS_MOST: usize = 64;
/// How many left-out paths are named in a record; the rest is counted.
pub(super) const NAMED_MOST: usize = 1000;

/// The name of a snapshot: the address of its record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(pub(super) [u8; 32]);

impl SnapshotId {
    pub(super) fn of(record: &[u8]) -> Self {
        Self(blake3::derive_key("cordon snapshots 2026-11 record", record))
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&ContentId(self.0), f)
    }
}

impl fmt::Debug for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Not the 64 hexadecimal digits of a snapshot.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a snapshot is named by 64 lower-case hexadecimal digits")]
pub struct IdError;

impl FromStr for SnapshotId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut id = [0; 32];
        if text.len() != 64 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(IdError);
        }
        for (byte, pair) in id.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| IdError)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| IdError)?;
        }
        Ok(Self(id))
    }
}

/// Why a path of the tree is not in its snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// A FIFO.
    Fifo,
    /// A socket.
    Socket,
    /// A character or block device.
    Device,
    /// Another filesystem is mounted there.
    OtherFilesystem,
    /// It changed each time it was read, and the request allows to leave such files out.
    Changing,
    /// The request's reader may not read it.
    Unreadable,
    /// The request says that it stays out.
    Hidden,
}

impl SkipReason {
    #[rustfmt::skip]
    const ALL: [Self; 7] = [
        Self::Fifo, Self::Socket, Self::Device, Self::OtherFilesystem, Self::Changing, Self::Unreadable,
        Self::Hidden,
    ];
}

/// A path of the tree that its snapshot does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Relative to the root, as bytes.
    pub path: Vec<u8>,
    /// Why.
    pub reason: SkipReason,
}

/// What a snapshot counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Regular files.
    pub files: u64,
    /// Directories below the root.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Bytes of all files, holes included, each name counted.
    pub bytes: u64,
    /// Files whose bytes were read; the others were known by the stat index.
    pub read: u64,
    /// Objects that this snapshot added to the store.
    pub added_objects: u64,
    /// Bytes that they take there.
    pub added_bytes: u64,
    /// Paths left out, the unnamed ones included.
    pub skipped: u64,
    /// Directories that changed while they were recorded: their entries are from more than
    /// one moment.
    pub unsettled: u64,
}

/// A snapshot, as its record tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The address of the root directory.
    pub root: ContentId,
    /// The root's own permission bits.
    pub root_mode: u32,
    /// The root's own modification time.
    pub root_mtime: (i64, u32),
    /// When it was taken: seconds since 1970 and nanoseconds.
    pub time: (i64, u32),
    /// What it continues; they may be gone.
    pub parents: Vec<SnapshotId>,
    /// Whose it is.
    pub owner: String,
    /// The run it belongs to; empty for none.
    pub run: String,
    /// The agent whose tree it is; empty for none.
    pub agent: String,
    /// The turn it follows.
    pub turn: Option<u64>,
    /// What it is for, as who took it calls it: `base`, `turn`, and so on.
    pub kind: String,
    /// Where its tree stood, as who took it calls that.
    pub origin: Vec<u8>,
    /// A name given to it when it was taken, or since.
    pub label: String,
    /// What it counted.
    pub statistics: Statistics,
    /// The first paths that were left out, in path order.
    pub skipped: Vec<Skipped>,
}

impl Snapshot {
    pub(super) fn encode(&self) -> Result<Vec<u8>, StoreError> {
        let texts = [&self.owner, &self.run, &self.agent, &self.kind, &self.label];
        if texts.iter().any(|text| text.len() > TEXT_MOST) || self.origin.len() > TEXT_MOST {
            return Err(StoreError::TooLong { what: "a text of a snapshot", limit: TEXT_MOST });
        }
        if self.parents.len() > PARENTS_MOST {
            return Err(StoreError::TooLong { what: "the list of parents", limit: PARENTS_MOST });
        }
        let mut out = HEAD.to_vec();
        out.put(&self.root.0);
        out.put(&(self.root_mode & 0o777).to_le_bytes());
        out.time(self.root_mtime);
        out.time(self.time);
        out.push(u8::try_from(self.parents.len()).unwrap_or(0));
        self.parents.iter().for_each(|p| out.put(&p.0));
        texts.iter().for_each(|text| out.short(text.as_bytes()));
        out.short(&self.origin);
        out.push(u8::from(self.turn.is_some()));
        out.put(&self.turn.unwrap_or(0).to_le_bytes());
        self.statistics.rows().iter().for_each(|n| out.put(&n.to_le_bytes()));
        let named = self.skipped.iter().take(NAMED_MOST).filter(|s| s.path.len() <= usize::from(u16::MAX));
        for skipped in named {
            out.push(skipped.reason as u8);
            out.short(&skipped.path);
        }
        Ok(out)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Bad> {
        let mut reader = Reader(bytes.strip_prefix(HEAD).ok_or(Bad("it does not begin as one"))?);
        let root = ContentId(reader.array()?);
        let root_mode = reader.u32()? & 0o777;
        let (root_mtime, time) = (reader.time()?, reader.time()?);
        let count = reader.u8()?;
        let parents = (0..count).map(|_| reader.array().map(SnapshotId)).collect::<Result<_, _>>()?;
        let [owner, run, agent] = [reader.text()?, reader.text()?, reader.text()?];
        let [kind, label] = [reader.text()?, reader.text()?];
        let origin = reader.short()?.to_vec();
        let turn = match (reader.u8()?, reader.u64()?) {
            (0, 0) => None,
            (1, turn) => Some(turn),
            _ => return Err(Bad("a turn that cannot be")),
        };
        let mut numbers = [0; 9];
        for number in &mut numbers {
            *number = reader.u64()?;
        }
        let mut skipped = Vec::new();
        while !reader.0.is_empty() {
            let reason = SkipReason::ALL.get(usize::from(reader.u8()?)).ok_or(Bad("an unknown reason"))?;
            skipped.push(Skipped { path: reader.short()?.to_vec(), reason: *reason });
        }
        let statistics = Statistics::from_rows(numbers);
        #[rustfmt::skip]
        let snapshot = Self { root, root_mode, root_mtime, time, parents, owner, run, agent, turn, kind, origin, label, statistics, skipped };
        Ok(snapshot)
    }
}

impl Statistics {
    pub(super) fn add(&mut self, other: &Self) {
        let (mut rows, other) = (self.rows(), other.rows());
        rows.iter_mut().zip(other).for_each(|(row, more)| *row += more);
        *self = Self::from_rows(rows);
    }

    fn rows(&self) -> [u64; 9] {
        let Self {
            files,
            directories,
            symlinks,
            bytes,
            read,
            added_objects,
            added_bytes,
            skipped,
            unsettled,
        } = *self;
        [files, directories, symlinks, bytes, read, added_objects, added_bytes, skipped, unsettled]
    }

    fn from_rows(rows: [u64; 9]) -> Self {
        let [files, directories, symlinks, bytes, read, added_objects, added_bytes, skipped, unsettled] =
            rows;
        Self { files, directories, symlinks, bytes, read, added_objects, added_bytes, skipped, unsettled }
    }
}
