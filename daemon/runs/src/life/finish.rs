use super::{
    Life,
    agent::{Agent, destroy, index_name, warning},
    log::Tally,
};
use crate::{
    entry::Entry,
    home,
    keep::{changed, peers},
    plan::remove_placeholders,
    record::now_ms,
    shared::Shared,
    store::RunDirectory,
};
use cordon_proto::v1::{AgentSummary, FileChangeEvent, Outcome, RunSummary, event::Kind};
use cordon_snapshots::{ChangeKind, Index, changes, diff::Limits};
use std::{
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
};

/// Changed files that a summary names.
const FILES_TOLD: usize = 1000;
/// Bytes of their names.
const BYTES_TOLD: usize = 1 << 20;
/// More changed files than these are not listed at all.
const FILES_COMPARED: usize = 200_000;
/// Bytes read to find renames and files whose addresses alone do not tell.
const BYTES_COMPARED: u64 = 256 << 20;

/// What an agent leaves behind.
#[derive(Default)]
pub(super) struct Left {
    pub(super) told: Vec<Kind>,
    pub(super) files: Vec<FileChangeEvent>,
    pub(super) omitted: u64,
}

/// Ends the agent's sandbox; what is to be said when that fails.
pub(super) async fn end_sandbox(agent: &Agent, shared: &Shared, entry: &Entry) -> Option<Kind> {
    let record = entry.with(|r| r.agents.get(agent.index).and_then(|a| a.sandbox.clone()));
    if let Some(live) = &mut *entry.live() {
        live.guests.remove(&agent.planned.sandbox.labels.agent);
    }
    let record = record?;
    let ended = match shared.walls.wall(record.kind()).await {
        Ok(wall) => destroy(&*wall, &record).await,
        Err(error) => Err(error),
    };
    match ended {
        Ok(()) => {
            if let Err(error) = entry.update_agent(agent.index, |a| a.sandbox = None) {
                tracing::warn!(run = entry.id, %error, "the run's record was not kept");
            }
            None
        }
        Err(error) => {
            tracing::error!(run = entry.id, sandbox = record.id, %error, "a sandbox was left");
            let why = format!("{error}; the daemon removes it when it starts again");
            Some(warning("sandbox-left", &why))
        }
    }
}

/// Takes what Cordon wrote into an agent's kept home off the disk; what is to be said when that
/// fails. Only after the end of its sandbox.
pub(super) async fn leave_home(agent: &Agent, life: &Life) -> Option<Kind> {
    let (state, entry, index) = (life.shared.host.state.clone(), life.entry.clone(), agent.index);
    let left = tokio::task::spawn_blocking(move || home::left(&state, &entry, index)).await;
    let why = match left {
        Ok(Ok(())) => return None,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it could not be looked at".to_owned(),
    };
    tracing::error!(run = life.entry.id, agent = agent.planned.context.agent.id, why, "a home was left");
    let why = format!(
        "what was written into the agent's kept home is still there: {why}; the daemon tries again when it starts"
    );
    Some(warning("home-left", &why))
}

/// Takes the placeholders out of the user's trees. A name that another run still
/// relies on is that run's from now on: removing it would let its agent create it.
pub(super) async fn clear_placeholders(shared: &Arc<Shared>, entry: &Arc<Entry>) {
    let _nobody_plans = shared.planning.write().await;
    let (shared, entry) = (shared.clone(), entry.clone());
    let cleared = tokio::task::spawn_blocking(move || {
        let placeholders: Vec<PathBuf> =
            entry.with(|r| r.agents.iter().flat_map(|a| a.placeholders.clone()).collect());
        let (kept, free): (Vec<_>, Vec<_>) =
            placeholders.into_iter().partition(|path| shared.hand_over(&entry.id, path));
        tracing::debug!(run = entry.id, kept = kept.len(), removed = free.len(), "placeholders");
        remove_placeholders(&free);
    });
    if cleared.await.is_err() {
        tracing::error!("the placeholders of a run were left");
    }
}

/// Takes away what the agents saw of each other.
pub(super) async fn clear_views(shared: &Arc<Shared>, entry: &Arc<Entry>) {
    let (shared, run) = (shared.clone(), entry.id.clone());
    let cleared = tokio::task::spawn_blocking(move || {
        shared.shown.release(&run);
        peers::remove(&peers::views(&shared.host.state, &run))
    })
    .await;
    if let Ok(Err(error)) = cleared {
        tracing::warn!(run = entry.id, %error, "what the agents saw of each other was left");
    }
}

/// What changed in the agent's trees. Only after the end of every sandbox: nobody can
/// change more.
pub(super) async fn changed_files(agent: &Agent, life: &Life) -> Left {
    let mut left = Left::default();
    let before = std::mem::take(&mut *agent.before.lock().unwrap_or_else(PoisonError::into_inner));
    let trees = agent.unkept(&life.entry);
    let (shared, entry, index) = (life.shared.clone(), life.entry.clone(), agent.index);
    let looked = tokio::task::spawn_blocking(move || {
        let (mut told, mut files) = between_snapshots(&shared, &entry, index);
        let (more, others) = look(&entry.directory, index, &trees, before);
        told.extend(more);
        files.extend(others);
        (told, files)
    });
    match looked.await {
        Ok((told, mut files)) => {
            left.told = told;
            left.omitted = files.len().saturating_sub(FILES_TOLD) as u64;
            files.truncate(FILES_TOLD);
            left.files = files;
        }
        Err(_) => left.told.push(warning("index", "the changed files could not be listed")),
    }
    left
}

fn between_snapshots(shared: &Shared, entry: &Entry, agent: usize) -> (Vec<Kind>, Vec<FileChangeEvent>) {
    let (mut told, mut files) = (Vec::new(), Vec::new());
    let (owner, storage, trees) = entry.with(|r| {
        let trees = r.agents.get(agent).map(|a| a.trees.clone()).unwrap_or_default();
        (r.owner.uid(), r.storage.clone(), trees)
    });
    let limits = Limits { changes: FILES_COMPARED, compared: BYTES_COMPARED, ..Limits::default() };
    for tree in trees {
        let found =
            shared.stores.of(owner, storage.as_deref()).and_then(|store| changed(&store, &tree, &limits));
        match found {
            Ok(found) => files.extend(found),
            Err(error) => told.push(warning("index", &format!("changed files are not listed: {error}"))),
        }
    }
    (told, files)
}

fn look(
    directory: &RunDirectory,
    agent: usize,
    trees: &[PathBuf],
    mut before: Vec<Option<Index>>,
) -> (Vec<Kind>, Vec<FileChangeEvent>) {
    let (mut told, mut files) = (Vec::new(), Vec::new());
    before.resize_with(trees.len(), || None);
    for (n, (tree, before)) in trees.iter().zip(before).enumerate() {
        let kept = || Index::decode(&directory.read(&index_name(agent, n)).ok()?).ok();
        // Without one from before, the agent never began, or that was said then.
        let Some(before) = before.or_else(kept) else { continue };
        match cordon_snapshots::index(tree) {
            Ok(after) => {
                let incomplete = before.incomplete.iter().chain(&after.incomplete).next();
                if let Some(why) = incomplete {
                    told.push(warning("index", &format!("the list of changed files is not complete: {why}")));
                }
                files.extend(changes(&before, &after).iter().map(|c| event(tree, c)));
            }
            Err(error) => told.push(warning("index", &format!("changed files are not listed: {error}"))),
        }
    }
    (told, files)
}

fn event(tree: &Path, change: &cordon_snapshots::Change) -> FileChangeEvent {
    let mut path = tree.as_os_str().as_bytes().to_vec();
    path.push(b'/');
    path.extend_from_slice(&change.path);
    let change = match change.kind {
        ChangeKind::Added => "added",
        ChangeKind::Modified => "modified",
        ChangeKind::Removed => "removed",
    };
    FileChangeEvent { path: path.into(), change: change.to_owned() }
}

/// What the summary says of one agent.
pub(super) fn row(agent: &Agent, life: &Life, files_changed: u64) -> AgentSummary {
    let told =
        life.entry.with(|r| r.agents.get(agent.index).map(|a| (a.id.clone(), a.backend.clone(), a.end)));
    let (id, backend, end) = told.unwrap_or_default();
    let row = life.log.tally().row(&id);
    let outcome = end.map_or(Outcome::Unspecified, Outcome::from).into();
    AgentSummary { id, backend, outcome, files_changed, ..row }
}

pub(super) fn summary(
    mut files: Vec<FileChangeEvent>,
    mut omitted: u64,
    tally: &Tally,
    started_ms: i64,
) -> RunSummary {
    // An agent makes names as long as it likes, and a client takes only so much at once.
    let mut left = BYTES_TOLD;
    let fits = |file: &&FileChangeEvent| match left.checked_sub(file.path.len()) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    let told = files.iter().take(FILES_TOLD).take_while(fits).count();
    omitted += files.len().saturating_sub(told) as u64;
    files.truncate(told);
    RunSummary {
        files,
        files_omitted: omitted,
        denials: tally.denials(),
        usage: tally.usage(),
        wall_ms: u64::try_from(now_ms() - started_ms).unwrap_or(0),
        agents: Vec::new(),
    }
}
