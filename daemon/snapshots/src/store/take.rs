//! Taking a snapshot.

use super::{
    Store,
    error::{StoreError, io},
    limits::SnapshotRequest,
    record::{Snapshot, SnapshotId},
    scan::{Hidden, Scan},
    session::{Announced, Session},
    stats::Stats,
};
use rustix::{
    fd::{AsFd, BorrowedFd},
    time::{ClockId, clock_gettime},
};
use std::path::Path;

/// How often a snapshot is begun again because gc freed what it stood on.
const TRIES: usize = 5;

/// A snapshot that is durable.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Its name.
    pub id: SnapshotId,
    /// What is known of it.
    pub snapshot: Snapshot,
}

impl Store {
    /// Takes a snapshot of the tree at `root`, which must not be a link nor lie behind one. When this returns, the
    /// snapshot survives a power cut.
    ///
    /// # Errors
    /// When any of the tree cannot be read, does not hold still or is beyond a limit; when the
    /// store cannot be written or its quota is used up. Nothing is announced then.
    pub fn snapshot(&self, root: &Path, request: &SnapshotRequest) -> Result<Taken, StoreError> {
        let root = crate::live::open_root(root).map_err(io("open", root.display()))?;
        self.snapshot_at(root.as_fd(), request)
    }

    /// Takes a snapshot of the tree whose root is open.
    ///
    /// # Errors
    /// As [`Store::snapshot`].
    pub fn snapshot_at(&self, root: BorrowedFd<'_>, request: &SnapshotRequest) -> Result<Taken, StoreError> {
        for _ in 0..TRIES {
            if let Some(taken) = self.attempt(root, request)? {
                return Ok(taken);
            }
        }
        Err(StoreError::Contended)
    }

    fn attempt(&self, root: BorrowedFd<'_>, request: &SnapshotRequest) -> Result<Option<Taken>, StoreError> {
        let hidden = Hidden::of(&request.leave_out)?;
        let session = Session::new(self)?;
        let stat = rustix::fs::fstat(root).map_err(io("look at", "the tree's root"))?;
        let known = Stats::load(self, &stat);
        let scanned = Scan::new(&session, &known, request, &hidden, &stat).run(root)?;
        let now = clock_gettime(ClockId::Realtime);
        let mut statistics = scanned.statistics;
        (statistics.added_objects, statistics.added_bytes) = session.added();
        let snapshot = Snapshot {
            root: scanned.root,
            root_mode: scanned.root_mode,
            root_mtime: scanned.root_mtime,
            time: (now.tv_sec, u32::try_from(now.tv_nsec).unwrap_or(0)),
            parents: request.parents.clone(),
            owner: self.owner.clone(),
            run: request.run.clone(),
            agent: request.agent.clone(),
            turn: request.turn,
            kind: request.kind.clone(),
            origin: request.origin.clone(),
            label: request.label.clone(),
            statistics,
            skipped: scanned.skipped,
        };
        let record = snapshot.encode()?;
        let id = SnapshotId::of(&record);
        match session.announce(Some((&id, &record)))? {
            Announced::Lost => return Ok(None),
            Announced::Done(_) => {}
        }
        if scanned.anew {
            // A cache that cannot be written makes the next snapshot slower, and this one no less true.
            let _ = known.save(self, &stat, scanned.fresh);
        }
        Ok(Some(Taken { id, snapshot }))
    }
}
