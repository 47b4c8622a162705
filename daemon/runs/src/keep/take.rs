//! Snapshots of one agent's trees. Everything here blocks.

use super::{BASE, TURN, TreeRecord};
use crate::{entry::Entry, error::RunError, shared::Shared};
use cordon_proto::v1::{SnapshotTaken, event::Kind};
use cordon_sandbox::Identity;
use cordon_snapshots::{
    Reader, SkipReason, Skipped, Snapshot, SnapshotId, SnapshotRequest, Store, Unsettled,
};
use std::time::Instant;

/// A snapshot of one tree.
pub(crate) struct Kept {
    /// The tree's place among the agent's.
    pub(crate) tree: usize,
    pub(crate) id: SnapshotId,
    pub(crate) told: Kind,
}

/// What the staged trees of an agent, or the others, look like before its first turn.
pub(crate) fn base(
    shared: &Shared,
    entry: &Entry,
    agent: usize,
    staged: bool,
) -> Result<Vec<Kept>, RunError> {
    let what = What::of(entry, agent);
    shared.stores.room(what.storage.as_deref())?;
    let store = shared.stores.of(what.owner, what.storage.as_deref())?;
    let one = |(n, tree): (usize, &TreeRecord)| what.take(&store, n, tree, BASE, what.turn - 1, Vec::new());
    let wanted = |tree: &TreeRecord| tree.staged == staged && tree.begins.is_none();
    what.trees.iter().enumerate().filter(|(_, tree)| wanted(tree)).map(one).collect()
}

/// What a tree looks like after a turn. Nobody can change it any more.
pub(crate) fn turn(
    shared: &Shared,
    entry: &Entry,
    agent: usize,
    number: usize,
    again: bool,
) -> Result<Option<Kept>, RunError> {
    let what = What::of(entry, agent);
    let Some(tree) = what.trees.get(number) else { return Ok(None) };
    let Some(base) = &tree.base else { return Ok(None) };
    let parents = tree.begins.as_ref().unwrap_or(base).parse().into_iter().collect();
    let store = shared.stores.of(what.owner, what.storage.as_deref())?;
    if again && let Some((id, snapshot)) = what.earlier(&store, tree, TURN)? {
        return Ok(Some(Kept { tree: number, id, told: told(&id, &snapshot, tree, 0) }));
    }
    if let Some(fork) = &tree.fork {
        // After a reboot it is not mounted.
        cordon_forks::Fork::open(fork)?;
    }
    what.take(&store, number, tree, TURN, what.turn, parents).map(Some)
}

struct What {
    run: String,
    agent: String,
    owner: u32,
    storage: Option<std::path::PathBuf>,
    identity: Option<Identity>,
    trees: Vec<TreeRecord>,
    /// Counts from 1.
    turn: u64,
}

impl What {
    fn of(entry: &Entry, agent: usize) -> Self {
        entry.with(|r| {
            let one = r.agents.get(agent);
            Self {
                run: r.id.clone(),
                agent: one.map(|a| a.id.clone()).unwrap_or_default(),
                owner: r.owner.uid(),
                storage: r.storage.clone(),
                identity: one.and_then(|a| a.identity),
                trees: one.map(|a| a.trees.clone()).unwrap_or_default(),
                turn: one.map_or(1, |a| a.turn.number.max(1)).into(),
            }
        })
    }

    /// One that an earlier daemon took and could not write down.
    fn earlier(
        &self,
        store: &Store,
        tree: &TreeRecord,
        kind: &str,
    ) -> Result<Option<(SnapshotId, Snapshot)>, RunError> {
        let origin = tree.origin();
        let same =
            |s: &Snapshot| s.run == self.run && s.agent == self.agent && s.kind == kind && s.origin == origin;
        Ok(store.list()?.into_iter().rev().find(|(_, snapshot)| same(snapshot)))
    }

    fn take(
        &self,
        store: &Store,
        number: usize,
        tree: &TreeRecord,
        kind: &str,
        turn: u64,
        parents: Vec<SnapshotId>,
    ) -> Result<Kept, RunError> {
        let request = SnapshotRequest {
            parents,
            run: self.run.clone(),
            agent: self.agent.clone(),
            turn: Some(turn),
            kind: kind.to_owned(),
            origin: tree.origin(),
            reader: self.identity.map(|i| Reader { uid: i.uid, gid: i.gid }),
            leave_out: tree.leave_out.iter().map(|name| name.0.clone()).collect(),
            // A fork is the agent's alone. In a directory of the user's anything may be at work;
            // what does not hold still there is named.
            unsettled: if tree.staged { Unsettled::Fail } else { Unsettled::LeaveOut },
            ..SnapshotRequest::default()
        };
        let begun = Instant::now();
        let root = if kind == BASE { tree.base_root() } else { tree.turn_root() };
        let taken = store.snapshot(&root, &request)?;
        // A fork is one filesystem. What seems to lie on another was not read, and would be taken for
        // something that the agent has removed.
        let foreign = |s: &Skipped| s.reason == SkipReason::OtherFilesystem;
        if tree.staged && kind == TURN && taken.snapshot.skipped.iter().any(foreign) {
            store.remove(&taken.id)?;
            return Err(RunError::Internal("read what lies on another filesystem in a fork"));
        }
        let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let told = told(&taken.id, &taken.snapshot, tree, ms);
        Ok(Kept { tree: number, id: taken.id, told })
    }
}

fn told(id: &SnapshotId, snapshot: &Snapshot, tree: &TreeRecord, taken_ms: u64) -> Kind {
    let counted = &snapshot.statistics;
    Kind::SnapshotTaken(SnapshotTaken {
        snapshot_id: id.to_string(),
        tree: tree.origin().into(),
        kind: snapshot.kind.clone(),
        turn: snapshot.turn.and_then(|t| u32::try_from(t).ok()).unwrap_or(0),
        files: counted.files,
        bytes: counted.bytes,
        added_bytes: counted.added_bytes,
        skipped: counted.skipped,
        taken_ms,
    })
}
