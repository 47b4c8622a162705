//! What is kept of an agent's trees: before its first turn, and after its last.

use super::{
    Life,
    agent::{Agent, Trouble, warning},
    log::Log,
};
use crate::{
    entry::Entry,
    error::RunError,
    journal::Durability,
    keep::{self, Kept, TreeRecord, peers},
    plan::Staged,
    record::RunRecord,
    shared::Shared,
};
use cordon_forks::Skipped;
use cordon_proto::v1::{ErrorEvent, ProgressEvent, event::Kind};
use cordon_sandbox::Identity;
use cordon_snapshots::RestoreOptions;
use std::{
    collections::BTreeSet,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Between two words on how far something is.
const PROGRESS: Duration = Duration::from_secs(1);

impl Agent {
    /// Watched trees that no snapshots are taken of.
    pub(super) fn unkept(&self, entry: &Entry) -> Vec<PathBuf> {
        let kept: Vec<PathBuf> = entry.with(|r| {
            let trees = r.agents.get(self.index).map(|a| a.trees.as_slice()).unwrap_or_default();
            trees.iter().map(|t| t.path.clone()).collect()
        });
        self.planned.watched.iter().filter(|tree| !kept.contains(tree)).cloned().collect()
    }

    /// Puts the snapshot that the person chose into the fresh workspace.
    pub(super) async fn fill_workspace(&self, life: &Life) -> Result<(), Trouble> {
        let (owner, from) = life.entry.with(|r| {
            let from = r.agents.get(self.index).and_then(|a| a.from_snapshot.clone());
            (r.owner.uid(), from)
        });
        let Some(from) = from else { return Ok(()) };
        let goes_on = life.entry.with(|r| r.resumes.is_some());
        let (shared, target) = (life.shared.clone(), self.planned.workspace.path.clone());
        let identity = self.planned.workspace.identity;
        blocking("fill the workspace", move || {
            if goes_on && std::fs::read_dir(&target).is_ok_and(|mut names| names.next().is_some()) {
                // Filled by an earlier run of its line.
                return Ok(());
            }
            shared.stores.room(None)?;
            let found = shared.stores.find(owner, &from)?;
            let root = rustix::process::geteuid().is_root();
            let options = RestoreOptions { owner: root.then_some((identity.uid, identity.gid)) };
            Ok(found.store.restore_with(&found.id, &target, &options)?)
        })
        .await
        .map_err(Trouble::from)
    }

    /// Private copies of what is staged, and the directory in which the agent sees the others.
    pub(super) async fn fork_trees(&self, life: &Life) -> Result<(), Trouble> {
        let forking = Forking {
            staged: self.planned.staged.clone(),
            identity: self.planned.workspace.identity,
            forks: life.shared.host.state.join("forks"),
            mounts: life.shared.walls.shares_mounts(self.planned.context.wall).await,
            log: self.log.clone(),
            making: life.shared.forking(&life.entry.id, self.index),
            begins: keep::Begins::of(&life.entry, self.index),
            shared: life.shared.clone(),
        };
        let view = self.planned.peers.outside.clone();
        let cancel = CancelOnDrop(Arc::default());
        let cancelled = cancel.0.clone();
        let told = blocking("fork the trees", move || {
            peers::prepare(&view)?;
            forking.make(&cancelled)
        })
        .await?;
        self.log.tell(told, Durability::Soon).await?;
        Ok(())
    }

    /// Shows the agent what the others left last.
    pub(super) async fn show_peers(&self, life: &Life) -> Result<(), RunError> {
        let (shared, entry, index) = (life.shared.clone(), life.entry.clone(), self.index);
        let view = self.planned.peers.outside.clone();
        blocking("show the peers", move || peers::show(&shared, &entry, index, &view)).await
    }

    /// Snapshots of what the agent begins with. They are on the disk when this returns.
    pub(super) async fn keep_base(&self, life: &Life, staged: bool) -> Result<(), Trouble> {
        let (shared, entry, index) = (life.shared.clone(), life.entry.clone(), self.index);
        let kept = blocking("keep the trees", move || {
            let kept = keep::base(&shared, &entry, index, staged)?;
            entry.update(false, |r| note(r, index, &kept, |tree, id| tree.base = Some(id)))?;
            Ok(kept)
        })
        .await?;
        self.log.tell(kept.into_iter().map(|k| k.told).collect(), Durability::Soon).await?;
        Ok(())
    }

    /// From now on the agent may have changed something.
    pub(super) async fn begin(&self, life: &Life) -> Result<(), RunError> {
        let (entry, index) = (life.entry.clone(), self.index);
        blocking("begin the turn", move || Ok(entry.update_agent(index, |a| a.begun = true)?)).await
    }

    /// Snapshots of what the agent leaves. False: not all of it could be kept, which is told.
    pub(super) async fn keep_turn(&self, life: &Life, gone: bool) -> bool {
        let left = Leaving {
            shared: life.shared.clone(),
            entry: life.entry.clone(),
            index: self.index,
            log: self.log.clone(),
            told: self.told.clone(),
            again: self.resume.is_some(),
        };
        let kept = tokio::task::spawn_blocking(move || {
            let kept = left.keep();
            if gone {
                left.remove_forks();
            }
            kept
        });
        kept.await.unwrap_or(false)
    }
}

/// Private copies on their way.
struct Forking {
    staged: Vec<Staged>,
    identity: Identity,
    forks: PathBuf,
    /// The wall sees what this process mounts.
    mounts: bool,
    log: Log,
    /// Held while they are made: who removes them waits.
    making: Arc<Mutex<()>>,
    /// What an earlier run left in them.
    begins: keep::Begins,
    shared: Arc<Shared>,
}

impl Forking {
    /// Blocks.
    fn make(&self, cancel: &AtomicBool) -> Result<Vec<Kind>, RunError> {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let mut told = Vec::new();
        for staged in &self.staged {
            // In a mounted one files turn into others when they are first changed.
            let method = if self.mounts && !self.begins.has(&staged.path) {
                cordon_forks::detect(&self.forks, &staged.path)
            } else {
                cordon_forks::detect_unmounted(&self.forks, &staged.path)
            };
            let mut last = Instant::now();
            let mut progress = |done_bytes, total_bytes| {
                if last.elapsed() < PROGRESS {
                    return;
                }
                last = Instant::now();
                let tree = staged.path.as_os_str().as_bytes().to_vec().into();
                let what = "copying".to_owned();
                let event = Kind::Progress(ProgressEvent { what, tree, done_bytes, total_bytes });
                // The next event finds out for itself that the journal takes no more.
                let _ = self.log.write(vec![event], Durability::Soon);
            };
            let fork = staged.make(method, self.identity, Some(cancel), &mut progress)?;
            tracing::debug!(tree = %staged.path.display(), %method, "forked");
            self.begins.put(&self.shared, staged, self.identity)?;
            told.extend(skipped(staged, fork.skipped()));
        }
        Ok(told)
    }
}

/// What of a tree could not be copied, in one line.
fn skipped(staged: &Staged, skipped: &[Skipped]) -> Option<Kind> {
    let first = skipped.first()?;
    let shown = |path: &Path| path.to_string_lossy().escape_debug().to_string();
    let (tree, path) = (shown(&staged.path), shown(&first.path));
    let more = match skipped.len() {
        1 => String::new(),
        many => format!(" and {} more", many - 1),
    };
    Some(warning("not-staged", &format!("the agent does not see {path} ({}){more} of {tree}", first.why)))
}

/// Ends what goes on elsewhere when nobody waits for it any more.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What an agent left, after its sandbox has ended.
pub(crate) struct Leaving {
    pub(crate) shared: Arc<Shared>,
    pub(crate) entry: Arc<Entry>,
    pub(crate) index: usize,
    pub(crate) log: Log,
    /// Snapshots that an earlier daemon told of.
    pub(crate) told: BTreeSet<String>,
    /// An earlier daemon may have begun this.
    pub(crate) again: bool,
}

impl Leaving {
    /// Keeps one tree after the other, and tells what fails. False: something was not kept; its
    /// fork stays. Blocks.
    pub(crate) fn keep(&self) -> bool {
        let (begun, trees) = self.entry.with(|r| {
            let agent = r.agents.get(self.index);
            (agent.is_some_and(|a| a.begun), agent.map(|a| a.trees.clone()).unwrap_or_default())
        });
        let mut whole = true;
        for (number, tree) in trees.iter().enumerate() {
            if begun && tree.turn.is_none() {
                whole &= self.keep_one(number, tree);
            }
        }
        whole
    }

    fn keep_one(&self, number: usize, tree: &TreeRecord) -> bool {
        match keep::turn(&self.shared, &self.entry, self.index, number, self.again) {
            Ok(Some(kept)) => {
                // Told before it is written down: after a restart the journal says what was told.
                if !self.told.contains(&kept.id.to_string()) {
                    self.tell(kept.told.clone());
                }
                let noted = self
                    .entry
                    .update(false, |r| note(r, self.index, &[kept], |tree, id| tree.turn = Some(id)));
                if let Err(error) = noted {
                    tracing::warn!(run = self.entry.id, %error, "the run's record was not kept");
                }
                true
            }
            Ok(None) => true,
            Err(error) => {
                let path = tree.path.to_string_lossy().escape_debug().to_string();
                self.tell(Kind::Error(ErrorEvent {
                    reason: error.reason().to_owned(),
                    message: format!("what the agent left in {path} was not kept: {error}"),
                    fix: error.help().to_owned(),
                }));
                false
            }
        }
    }

    /// Removes forks of which all is kept. The sandbox is gone. Blocks.
    pub(crate) fn remove_forks(&self) {
        let making = self.shared.forking(&self.entry.id, self.index);
        let _made = making.lock().unwrap_or_else(PoisonError::into_inner);
        remove_forks(&self.entry, self.index);
    }

    fn tell(&self, kind: Kind) {
        if let Err(error) = self.log.write(vec![kind], Durability::Closing) {
            tracing::error!(run = self.entry.id, %error, "the end of the run is not in its journal");
        }
    }
}

/// Removes an agent's forks of which all is kept, or in which nothing was done. Blocks.
pub(crate) fn remove_forks(entry: &Entry, index: usize) {
    let (begun, trees) = entry.with(|r| {
        let agent = r.agents.get(index);
        (agent.is_some_and(|a| a.begun), agent.map(|a| a.trees.clone()).unwrap_or_default())
    });
    for (number, tree) in trees.iter().enumerate() {
        let Some(fork) = tree.fork.as_ref().filter(|_| !begun || tree.turn.is_some()) else { continue };
        match cordon_forks::Fork::remove(fork) {
            Ok(()) => {
                // The agent's directory, and the run's: only when nothing is left in them.
                let above = fork.ancestors().skip(1).take(2);
                above.for_each(|directory| drop(std::fs::remove_dir(directory)));
                let noted = entry.update_agent(index, |agent| {
                    if let Some(tree) = agent.trees.get_mut(number) {
                        tree.fork = None;
                    }
                });
                if let Err(error) = noted {
                    tracing::warn!(run = entry.id, %error, "the run's record was not kept");
                }
            }
            Err(error) => tracing::error!(run = entry.id, fork = %fork.display(), %error, "a fork was left"),
        }
    }
}

fn note(record: &mut RunRecord, agent: usize, kept: &[Kept], set: impl Fn(&mut TreeRecord, String)) {
    let Some(agent) = record.agents.get_mut(agent) else { return };
    for one in kept {
        if let Some(tree) = agent.trees.get_mut(one.tree) {
            set(tree, one.id.to_string());
        }
    }
}

/// Runs what blocks where that is allowed.
pub(super) async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, RunError> + Send + 'static,
) -> Result<T, RunError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| RunError::Internal(what))?
}
