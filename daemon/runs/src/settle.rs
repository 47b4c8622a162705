//! What earlier daemons left in the state directory and in users' trees.

use crate::{
    home,
    keep::{self, peers, shown},
    life::remove_forks,
    record::RunRecord,
    shared::Shared,
};
use cordon_snapshots::apply::Recovered;
use std::{collections::BTreeSet, path::Path, sync::Arc};

/// What stood in the state directory at the start, by run.
pub(crate) struct Earlier {
    forks: Vec<String>,
    views: Vec<String>,
    sealed: Vec<String>,
    homes: Vec<String>,
}

impl Earlier {
    pub(crate) fn look(state: &Path) -> Self {
        Self {
            forks: names(&state.join("forks")),
            views: names(&state.join("views")),
            sealed: names(&shown::place(state)),
            homes: names(&home::all(state)),
        }
    }
}

/// Keeps what is in forks of ended runs and was not kept, and removes forks and views that no
/// run needs. Blocks.
pub(crate) fn settle(shared: &Arc<Shared>, earlier: Earlier) {
    for entry in shared.all().into_iter().filter(|e| e.is_ended()) {
        let agents = entry.with(|r| r.agents.iter().map(|a| a.trees.clone()).collect::<Vec<_>>());
        for (index, trees) in agents.iter().enumerate() {
            for (number, tree) in trees.iter().enumerate().filter(|(_, t)| t.fork.is_some()) {
                let begun = entry.with(|r| r.agents.get(index).is_some_and(|a| a.begun));
                if !begun || tree.turn.is_some() {
                    continue;
                }
                let kept = keep::turn(shared, &entry, index, number, true);
                let noted = kept.and_then(|kept| {
                    let Some(kept) = kept else { return Ok(()) };
                    tracing::info!(run = entry.id, snapshot = %kept.id, "kept what an earlier daemon could not");
                    Ok(entry.update_agent(index, |agent| {
                        if let Some(tree) = agent.trees.get_mut(number) {
                            tree.turn = Some(kept.id.to_string());
                        }
                    })?)
                });
                if let Err(error) = noted {
                    tracing::warn!(run = entry.id, %error, "what is in a fork is still not kept");
                }
            }
            remove_forks(&entry, index);
        }
    }
    let needed = |id: &str| {
        let entry = shared.entries().get(id).cloned();
        entry.is_some_and(|e| {
            e.with(|r| r.end.is_none() || r.agents.iter().flat_map(|a| &a.trees).any(|t| t.fork.is_some()))
        })
    };
    for run in earlier.forks.into_iter().filter(|id| !needed(id)) {
        let directory = shared.host.state.join("forks").join(&run);
        for agent in names(&directory) {
            for fork in names(&directory.join(&agent)) {
                let fork = directory.join(&agent).join(fork);
                if let Err(error) = cordon_forks::Fork::remove(&fork) {
                    tracing::error!(fork = %fork.display(), %error, "a fork without a run was left");
                }
            }
            // Only when nothing is left in them.
            let _ = std::fs::remove_dir(directory.join(&agent));
        }
        let _ = std::fs::remove_dir(&directory);
    }
    let living = |id: &str| shared.entries().get(id).is_some_and(|e| !e.is_ended());
    for run in earlier.views.into_iter().filter(|id| !living(id)) {
        if let Err(error) = peers::remove(&peers::views(&shared.host.state, &run)) {
            tracing::warn!(run, %error, "what agents saw of each other was left");
        }
    }
    let lines: BTreeSet<String> = shared.all().iter().map(|e| e.with(|r| r.line().to_owned())).collect();
    for line in earlier.homes.into_iter().filter(|line| !lines.contains(line)) {
        if let Err(error) = home::remove(&shared.host.state, &line) {
            tracing::warn!(line, %error, "homes without a run were left");
        }
    }
    leave_homes(shared);
    // Views of living runs keep the files that they link to.
    for name in earlier.sealed {
        if let Err(error) = shared.shown.remove_left(&name) {
            tracing::warn!(name, %error, "a sealed tree was left");
        }
    }
}

/// Takes what runs that were given up, or whose sandboxes were left, had in the homes of their
/// agents. A home that another run has gone on with is that run's.
fn leave_homes(shared: &Shared) {
    // Nobody goes on with one meanwhile.
    let _nobody_plans = shared.planning.blocking_write();
    let all = shared.all();
    for entry in all.iter().filter(|e| e.is_ended()) {
        let gone_on = |r: &RunRecord| r.resumes.as_deref() == Some(&entry.id);
        if entry.with(|r| r.resumed_by.is_some()) || all.iter().any(|e| e.with(gone_on)) {
            continue;
        }
        for index in 0..entry.with(|r| r.agents.len()) {
            if let Err(error) = home::left(&shared.host.state, entry, index) {
                tracing::error!(run = entry.id, %error, "what was written into an agent's home was left");
            }
        }
    }
}

/// Names in a directory of the daemon's own.
fn names(directory: &Path) -> Vec<String> {
    let listing = std::fs::read_dir(directory).into_iter().flatten().flatten();
    listing.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Brings applies and restores of an earlier daemon to an end. Blocks.
pub(crate) fn finish_applies(shared: &Shared) {
    let recovered = match shared.journals() {
        Ok(journals) => cordon_snapshots::apply::recover(&journals),
        Err(error) => {
            tracing::error!(%error, "interrupted applies cannot be looked at");
            return;
        }
    };
    let shown = |left: &[Vec<u8>]| left.iter().map(|p| p.escape_ascii().to_string()).collect::<Vec<_>>();
    match recovered {
        Ok(all) => {
            for one in all {
                match one {
                    Recovered::Nothing => {}
                    Recovered::Undone { root, left } => {
                        tracing::warn!(root = %root.display(), left = ?shown(&left), "an apply was undone");
                    }
                    Recovered::Finished { root, outcome } => {
                        let left = shown(&outcome.left);
                        tracing::warn!(root = %root.display(), ?left, "an apply was finished");
                    }
                    Recovered::Failed { journal, error } => {
                        tracing::error!(journal = %journal.display(), %error, "an apply cannot be ended");
                    }
                }
            }
        }
        Err(error) => tracing::error!(%error, "interrupted applies cannot be looked at"),
    }
}
