//! What is kept of an agent's trees: before its first turn, and after its last.

use super::{
    Life,
    agent::{Agent, Trouble},
};
use crate::{
    entry::Entry,
    error::RunError,
    journal::Durability,
    keep::{self, Kept},
    record::RunRecord,
};
use cordon_proto::v1::{ErrorEvent, event::Kind};
use cordon_snapshots::RestoreOptions;
use std::path::{Path, PathBuf};

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
        let (shared, target) = (life.shared.clone(), self.planned.workspace.path.clone());
        let identity = self.planned.workspace.identity;
        blocking("fill the workspace", move || {
            shared.stores.room(None)?;
            let found = shared.stores.find(owner, &from)?;
            let root = rustix::process::geteuid().is_root();
            let options = RestoreOptions { owner: root.then_some((identity.uid, identity.gid)) };
            Ok(found.store.restore_with(&found.id, &target, &options)?)
        })
        .await
        .map_err(Trouble::from)
    }

    /// Snapshots of what the agent begins with. They are on the disk when this returns.
    pub(super) async fn keep_base(&self, life: &Life) -> Result<(), Trouble> {
        let (shared, entry, index) = (life.shared.clone(), life.entry.clone(), self.index);
        let kept = blocking("keep the trees", move || {
            let kept = keep::base(&shared, &entry, index)?;
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

    /// Snapshots of what the agent leaves, one tree after the other; what fails is told.
    pub(super) async fn keep_turn(&self, life: &Life) -> Result<(), ()> {
        let (begun, trees) = life.entry.with(|r| {
            let agent = r.agents.get(self.index);
            (agent.is_some_and(|a| a.begun), agent.map(|a| a.trees.clone()).unwrap_or_default())
        });
        if !begun {
            return Ok(());
        }
        let mut whole = Ok(());
        for (number, tree) in trees.iter().enumerate().filter(|(_, tree)| tree.turn.is_none()) {
            let (shared, entry, index) = (life.shared.clone(), life.entry.clone(), self.index);
            let again = self.resume.is_some();
            let kept = blocking("keep the trees", move || keep::turn(&shared, &entry, index, number, again));
            match kept.await {
                Ok(Some(kept)) => self.note_turn(life, kept).await,
                Ok(None) => {}
                Err(error) => {
                    let error = ErrorEvent {
                        reason: error.reason().to_owned(),
                        message: format!(
                            "what the agent left in {} was not kept: {error}",
                            shown(&tree.path)
                        ),
                        fix: error.help().to_owned(),
                    };
                    life.note(&self.log, vec![Kind::Error(error)]).await;
                    whole = Err(());
                }
            }
        }
        whole
    }

    /// Told before it is written down: after a restart the journal says what was told already.
    async fn note_turn(&self, life: &Life, kept: Kept) {
        if !self.told.contains(&kept.id.to_string()) {
            life.note(&self.log, vec![kept.told.clone()]).await;
        }
        let (entry, index) = (life.entry.clone(), self.index);
        let noted = blocking("keep the record", move || {
            Ok(entry.update(false, |r| note(r, index, &[kept], |tree, id| tree.turn = Some(id)))?)
        });
        if let Err(error) = noted.await {
            tracing::warn!(run = life.entry.id, %error, "the run's record was not kept");
        }
    }
}

fn note(record: &mut RunRecord, agent: usize, kept: &[Kept], set: impl Fn(&mut keep::TreeRecord, String)) {
    let Some(agent) = record.agents.get_mut(agent) else { return };
    for one in kept {
        if let Some(tree) = agent.trees.get_mut(one.tree) {
            set(tree, one.id.to_string());
        }
    }
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}

/// Runs what blocks where that is allowed.
pub(super) async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, RunError> + Send + 'static,
) -> Result<T, RunError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| RunError::Internal(what))?
}
