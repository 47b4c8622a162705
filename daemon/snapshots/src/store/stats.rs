//! What files looked like when they were read last, so that an unchanged tree costs one walk.
//!
//! `CDNSTAT1`, the device, rows of inode, size, modification time, change time and address,
//! sorted by inode, and a checksum over all. The change time is the kernel's own: who
//! writes a file and sets its times back moves it. A file whose change time had not
//! passed when it was read is never listed here, so a write in the same tick cannot hide.

use super::{
    Store,
    disk::open_file,
    error::{StoreError, io},
    wire::{Put as _, Reader},
};
use crate::tree::ContentId;
use rustix::fs::Stat;
use std::io::Read as _;

const HEAD: &[u8; 8] = b"CDNSTAT1";
const ROW: usize = 8 + 8 + 12 + 12 + 32;
const MOST: u64 = 1 << 30;

/// What moves when a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) inode: u64,
    size: u64,
    mtime: (i64, u32),
    ctime: (i64, u32),
}

impl Stamp {
    pub(super) fn of(stat: &Stat) -> Self {
        let nanos = |n| u32::try_from(n).unwrap_or(0);
        Self {
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime: (stat.st_mtime, nanos(stat.st_mtime_nsec)),
            ctime: (stat.st_ctime, nanos(stat.st_ctime_nsec)),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Stats {
    rows: Vec<(Stamp, ContentId)>,
}

fn key(root: &Stat) -> String {
    let mut bytes = root.st_dev.to_le_bytes().to_vec();
    bytes.put(&root.st_ino.to_le_bytes());
    ContentId(blake3::derive_key("cordon snapshots 2026-11 stat index", &bytes)).to_string()
}

impl Stats {
    /// What is known of the tree with this root. A damaged file is nothing known.
    pub(super) fn load(store: &Store, root: &Stat) -> Self {
        let mut bytes = Vec::new();
        let read = open_file(&store.dirs.stats, &key(root))
            .map_err(std::io::Error::from)
            .and_then(|file| file.take(MOST).read_to_end(&mut bytes));
        match read {
            Ok(_) => Self::decode(&bytes, root.st_dev).unwrap_or_default(),
            Err(_) => Self::default(),
        }
    }

    fn decode(bytes: &[u8], device: u64) -> Option<Self> {
        let mut reader = Reader(checked(bytes)?);
        if reader.u64().ok()? != device {
            return None;
        }
        let mut rows = Vec::with_capacity(reader.0.len() / ROW);
        while !reader.0.is_empty() {
            let (inode, size) = (reader.u64().ok()?, reader.u64().ok()?);
            let (mtime, ctime) = (reader.time().ok()?, reader.time().ok()?);
            rows.push((Stamp { inode, size, mtime, ctime }, ContentId(reader.array().ok()?)));
        }
        rows.is_sorted_by_key(|(stamp, _)| stamp.inode).then_some(Self { rows })
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn find(&self, stat: &Stat) -> Option<ContentId> {
        let at = self.rows.binary_search_by_key(&stat.st_ino, |(stamp, _)| stamp.inode).ok()?;
        self.rows.get(at).filter(|(stamp, _)| *stamp == Stamp::of(stat)).map(|(_, id)| *id)
    }

    /// Keeps what was seen for the next time. Not synced: a torn file is no file.
    pub(super) fn save(
        store: &Store,
        root: &Stat,
        mut rows: Vec<(Stamp, ContentId)>,
    ) -> Result<(), StoreError> {
        rows.sort_unstable_by_key(|(stamp, _)| stamp.inode);
        rows.dedup_by_key(|(stamp, _)| stamp.inode);
        let mut out = Vec::with_capacity(rows.len() * ROW + 48);
        out.put(HEAD);
        out.put(&root.st_dev.to_le_bytes());
        for (stamp, id) in rows {
            out.put(&stamp.inode.to_le_bytes());
            out.put(&stamp.size.to_le_bytes());
            out.time(stamp.mtime);
            out.time(stamp.ctime);
            out.put(&id.0);
        }
        let sum = blake3::hash(&out);
        out.put(sum.as_bytes());
        let (disk, dir, mine) = (&store.disk, &store.dirs.stats, format!("new-{}", super::unique()));
        let what = || "a stat index".to_owned();
        let file = disk.create(dir, &mine).map_err(io("create", what()))?;
        let written = disk.write(&file, &out).and_then(|()| disk.rename(dir, &mine, dir, &key(root)));
        if written.is_err() {
            let _ = disk.unlink(dir, &mine);
        }
        written.map_err(io("write", what()))
    }
}

/// What lies between the magic and the checksum, when both are right.
pub(super) fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (body, sum) = bytes.split_last_chunk::<32>()?;
    (blake3::hash(body).as_bytes() == sum).then(|| body.strip_prefix(HEAD))?
}
