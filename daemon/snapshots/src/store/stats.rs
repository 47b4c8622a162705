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
    wire::Put as _,
};
use crate::tree::ContentId;
use rustix::fs::Stat;
use std::{
    io::Read as _,
    sync::atomic::{AtomicU64, Ordering},
};

const HEAD: &[u8; 8] = b"CDNSTAT1";
const STAMP: usize = 8 + 8 + 12 + 12;
const ROW: usize = STAMP + 32;
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

    /// As it lies on disk.
    fn row(&self) -> [u8; STAMP] {
        let mut row = [0; STAMP];
        let (left, mut put) = (row.as_mut_slice(), 0);
        let mut next = |bytes: &[u8]| {
            left[put..put + bytes.len()].copy_from_slice(bytes);
            put += bytes.len();
        };
        next(&self.inode.to_le_bytes());
        next(&self.size.to_le_bytes());
        for time in [self.mtime, self.ctime] {
            next(&time.0.to_le_bytes());
            next(&time.1.to_le_bytes());
        }
        row
    }
}

/// What is known of a tree: the rows as they lie on disk, and which of them were found again.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    bytes: Vec<u8>,
    found: Vec<AtomicU64>,
}

fn key(root: &Stat) -> String {
    let mut bytes = root.st_dev.to_le_bytes().to_vec();
    bytes.put(&root.st_ino.to_le_bytes());
    ContentId(blake3::derive_key("cordon snapshots 2026-11 stat index", &bytes)).to_string()
}

fn inode(row: &[u8; ROW]) -> u64 {
    row.first_chunk().map_or(0, |c| u64::from_le_bytes(*c))
}

impl Stats {
    /// What is known of the tree with this root. A damaged file is nothing known.
    pub(crate) fn load(store: &Store, root: &Stat) -> Self {
        let mut bytes = Vec::new();
        let read = open_file(&store.dirs.stats, &key(root))
            .map_err(std::io::Error::from)
            .and_then(|file| file.take(MOST).read_to_end(&mut bytes));
        if read.is_err() || Self::usable(&bytes, root.st_dev).is_none() {
            return Self::default();
        }
        let mut known = Self { bytes, found: Vec::new() };
        known.found.resize_with(known.rows().len().div_ceil(64), AtomicU64::default);
        known
    }

    fn usable(bytes: &[u8], device: u64) -> Option<()> {
        let rows = checked(bytes)?.strip_prefix(&device.to_le_bytes())?;
        let (rows, rest) = rows.as_chunks::<ROW>();
        (rest.is_empty() && rows.is_sorted_by_key(inode)).then_some(())
    }

    fn rows(&self) -> &[[u8; ROW]] {
        let rows = self.bytes.get(HEAD.len() + 8..self.bytes.len().saturating_sub(32));
        rows.unwrap_or_default().as_chunks().0
    }

    /// The address of a file that looks as it did. Near `hint` is looked first: files that were
    /// made together have inodes side by side.
    pub(crate) fn find(&self, stat: &Stat, hint: &mut usize) -> Option<ContentId> {
        let rows = self.rows();
        let is = |at: usize| rows.get(at).is_some_and(|row| inode(row) == stat.st_ino);
        let at = if is(*hint) { *hint } else { rows.binary_search_by_key(&stat.st_ino, inode).ok()? };
        *hint = at + 1;
        let (stamp, id) = rows.get(at)?.split_first_chunk::<STAMP>()?;
        if *stamp != Stamp::of(stat).row() {
            return None;
        }
        if let Some(found) = self.found.get(at / 64) {
            found.fetch_or(1 << (at % 64), Ordering::Relaxed);
        }
        id.first_chunk().map(|id| ContentId(*id))
    }

    /// Whether all that is known was found again.
    pub(super) fn all_found(&self) -> bool {
        let found: u32 = self.found.iter().map(|f| f.load(Ordering::Relaxed).count_ones()).sum();
        found as usize == self.rows().len()
    }

    /// Keeps what was found again and what is `fresh` for the next time. Not synced: a torn file
    /// is no file.
    pub(super) fn save(
        &self,
        store: &Store,
        root: &Stat,
        mut fresh: Vec<(Stamp, ContentId)>,
    ) -> Result<(), StoreError> {
        fresh.sort_unstable_by_key(|(stamp, _)| stamp.inode);
        fresh.dedup_by_key(|(stamp, _)| stamp.inode);
        let was_found = |at: &usize| {
            self.found.get(at / 64).is_some_and(|f| f.load(Ordering::Relaxed) >> (at % 64) & 1 == 1)
        };
        let mut old =
            (0..self.rows().len()).filter(was_found).filter_map(|at| self.rows().get(at)).peekable();
        let mut out = Vec::with_capacity(self.bytes.len() + fresh.len() * ROW + 48);
        out.put(HEAD);
        out.put(&root.st_dev.to_le_bytes());
        for (stamp, id) in fresh {
            while let Some(row) = old.next_if(|row| inode(row) <= stamp.inode) {
                // A file that changed between the looks at its names counts as it was last.
                if inode(row) < stamp.inode {
                    out.put(row);
                }
            }
            out.put(&stamp.row());
            out.put(&id.0);
        }
        old.for_each(|row| out.put(row));
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
