//! Which snapshots to keep.

use super::{Store, error::StoreError, object::Kind, record::SnapshotId};
use std::{collections::HashSet, time::Duration};

/// How many snapshots an owner keeps. Each bound that is set counts; the newest snapshot and the
/// pinned ones stay whatever the bounds say.
#[derive(Clone, Debug, Default)]
pub struct Retention {
    /// At most as many.
    pub count: Option<usize>,
    /// None older than this.
    pub age: Option<Duration>,
    /// The newest whose objects together take at most as many bytes.
    pub bytes: Option<u64>,
    /// Kept whatever the bounds say, and counted.
    pub pinned: HashSet<SnapshotId>,
}

impl Store {
    /// Removes the oldest snapshots beyond the bounds and tells which. Their room is freed by gc.
    ///
    /// # Errors
    /// When the store cannot be read or written, or what a snapshot holds is damaged.
    pub fn retain(&self, keep: &Retention) -> Result<Vec<SnapshotId>, StoreError> {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
        let mut listed = self.list()?;
        listed.reverse();
        let (mut kept, mut bytes, mut live) = (0usize, 0u64, HashSet::new());
        let mut over = HashSet::new();
        let index = self.fresh_index()?;
        let mut full = false;
        for (at, (id, snapshot)) in listed.iter().enumerate() {
            let stays = at == 0 || keep.pinned.contains(id);
            let old = keep.age.is_some_and(|age| now.saturating_sub(snapshot.time.0) > age_of(age));
            let many = keep.count.is_some_and(|count| kept >= count);
            if !stays && (old || many || full) {
                over.insert(*id);
                continue;
            }
            if let Some(limit) = keep.bytes {
                let mut more = 0;
                self.mark(snapshot.root, &mut live, &mut |id| {
                    let row =
                        [Kind::Blob, Kind::List, Kind::Tree].iter().find_map(|kind| index.get(*kind, id));
                    more += row.map_or(0, |(_, row)| u64::from(row.stored));
                })?;
                if !stays && bytes + more > limit {
                    // What is older than what does not fit does not fit either.
                    full = true;
                    over.insert(*id);
                    continue;
                }
                bytes += more;
            }
            kept += 1;
        }
        let mut removed = Vec::new();
        for (id, _) in listed.iter().rev().filter(|(id, _)| over.contains(id)) {
            match self.remove(id) {
                Ok(()) => removed.push(*id),
                // Somebody else removed it.
                Err(StoreError::NotFound(_)) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(removed)
    }
}

fn age_of(age: Duration) -> i64 {
    i64::try_from(age.as_secs()).unwrap_or(i64::MAX)
}
