//! What the agents of an ended run changed, and bringing it into the user's trees.

mod apply;
mod plan;

pub(crate) use apply::Held;
pub use plan::ApplyOptions;
pub(crate) use plan::settled;

use crate::{
    entry::Entry,
    error::RunError,
    keep::TreeRecord,
    runs::Runs,
    versions::{Compared, DiffFormat, Filter, select, write},
};
use cordon_snapshots::{
    SnapshotId, Store, StoredTree,
    diff::{Limits, Report, report, shown},
};
use serde::Serialize;
use std::{io::Write, os::unix::ffi::OsStrExt as _, path::PathBuf, sync::Arc};

/// The trees of an agent, before and after its turn.
pub(crate) struct Changed {
    pub(crate) agent: String,
    pub(crate) tree: TreeRecord,
    base: SnapshotId,
    turn: SnapshotId,
}

/// What several trees differ in, for programs.
#[derive(Serialize)]
struct Reports {
    version: u32,
    run: String,
    trees: Vec<TreeReport>,
}

#[derive(Serialize)]
struct TreeReport {
    agent: String,
    tree: String,
    staged: bool,
    #[serde(flatten)]
    report: Report,
}

impl Runs {
    /// Tells what the agents of an ended run changed. Blocks.
    ///
    /// # Errors
    /// When there is no such run or agent, it has not ended, or it cannot be told.
    pub fn diff_run(
        &self,
        owner: u32,
        run: &str,
        agent: &str,
        how: &Compared,
        out: &mut dyn Write,
    ) -> Result<(), RunError> {
        let entry = self.ended(owner, run)?;
        let (store, changed) = self.changed(&entry, agent)?;
        let roots: Vec<PathBuf> = changed.iter().map(|c| c.tree.live()).collect();
        let filter = Filter::new(&how.paths, &roots);
        let mut reports = Reports { version: 1, run: entry.id.clone(), trees: Vec::new() };
        let several = changed.len() > 1;
        for (number, one) in changed.iter().enumerate() {
            let (base, turn) = one.trees(&store)?;
            if base.snapshot().root == turn.snapshot().root && how.format != DiffFormat::Json {
                continue;
            }
            let deltas = select(&base, &turn, &filter, number)?;
            if how.format == DiffFormat::Json {
                let report = report(&deltas, &base, &turn, &Limits::default())?;
                let tree = one.tree.path.to_string_lossy().into_owned();
                let (agent, staged) = (one.agent.clone(), one.tree.staged);
                reports.trees.push(TreeReport { agent, tree, staged, report });
                continue;
            }
            if deltas.is_empty() {
                continue;
            }
            if several {
                let path = shown(one.tree.path.as_os_str().as_bytes());
                let line = format!("# {}: {path}", one.agent);
                let line = if how.colour { format!("\x1b[1m{line}\x1b[0m") } else { line };
                writeln!(out, "{line}").map_err(RunError::Told)?;
            }
            write(&deltas, &base, &turn, how, out)?;
        }
        if how.format == DiffFormat::Json {
            serde_json::to_writer(&mut *out, &reports).map_err(|e| RunError::Told(e.into()))?;
            out.write_all(b"\n").map_err(RunError::Told)?;
        }
        Ok(())
    }

    /// A run of the owner that has ended.
    pub(crate) fn ended(&self, owner: u32, run: &str) -> Result<Arc<Entry>, RunError> {
        let entry = self.known(owner, run)?;
        if !entry.is_ended() {
            return Err(RunError::StillRunning { run: entry.id.clone() });
        }
        Ok(entry)
    }

    /// The kept trees of one agent, or of every agent for an empty name, that have both their
    /// snapshots. An agent that never began changed nothing.
    pub(crate) fn changed(&self, entry: &Entry, agent: &str) -> Result<(Arc<Store>, Vec<Changed>), RunError> {
        let record = entry.record();
        let store = self.0.shared.stores.of(record.owner.uid(), record.storage.as_deref())?;
        if !agent.is_empty() && !record.agents.iter().any(|a| a.id == agent) {
            let agents = record.agents.iter().map(|a| a.id.clone()).collect();
            return Err(RunError::Agent { what: format!("no agent is named {agent:?}"), agents });
        }
        let mut changed = Vec::new();
        for one in record.agents.iter().filter(|a| agent.is_empty() || a.id == agent) {
            for tree in &one.trees {
                let parse = |id: &Option<String>| id.as_ref().and_then(|id| id.parse().ok());
                let (base, turn) = match (parse(&tree.base), parse(&tree.turn)) {
                    (Some(base), Some(turn)) => (base, turn),
                    _ if !one.begun => continue,
                    _ => {
                        let (run, agent) = (record.id.clone(), one.id.clone());
                        return Err(RunError::NotKept { run, agent });
                    }
                };
                changed.push(Changed { agent: one.id.clone(), tree: tree.clone(), base, turn });
            }
        }
        Ok((store, changed))
    }
}

impl Changed {
    /// Before and after.
    pub(crate) fn trees<'a>(&self, store: &'a Store) -> Result<(StoredTree<'a>, StoredTree<'a>), RunError> {
        Ok((store.tree(&self.base)?, store.tree(&self.turn)?))
    }
}
