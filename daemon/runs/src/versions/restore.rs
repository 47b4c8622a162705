use super::{origin, show::to_proto};
use crate::{
    changes::Held,
    error::RunError,
    keep::{Found, RESTORE},
    runs::{Runs, check_key},
    trees::{live, rights},
};
use cordon_proto::v1;
use cordon_snapshots::{
    Reader, SnapshotRequest, Taken, TreeSource as _,
    apply::{ReplaceOptions, replace_with},
};
use std::{os::unix::ffi::OsStrExt as _, path::Path};

impl Runs {
    /// Makes the tree that a snapshot was taken of what it was then. What it is now is kept as
    /// a snapshot first.
    ///
    /// # Errors
    /// When there is no such snapshot or tree, a run uses it, or it cannot be done; then the
    /// tree is as it was.
    pub async fn restore(&self, owner: u32, id: &str, key: &str) -> Result<v1::RestoreResponse, RunError> {
        check_key(key)?;
        let (id, key) = (id.to_owned(), key.to_owned());
        // No run that would use the tree is accepted meanwhile.
        let shared = self.0.shared.clone();
        let _planning = shared.planning.write().await;
        self.blocking("restore the snapshot", move |runs| {
            if let Some(answer) = runs.0.restored.get(owner, &key) {
                return Ok(answer);
            }
            let answer = runs.restore_now(owner, &id)?;
            runs.0.restored.keep(owner, &key, &answer);
            Ok(answer)
        })
        .await
    }

    fn restore_now(&self, owner: u32, id: &str) -> Result<v1::RestoreResponse, RunError> {
        let shared = &self.0.shared;
        let found = shared.stores.find(owner, id)?;
        let (root, file) = self.live_root(&found)?;
        let tree = origin(&found);
        self.unused(&tree)?;
        let _held = Held::hold(shared, vec![root.clone()])?;
        let leave = self.leave(owner, &found, &root, file.as_deref())?;
        shared.stores.room(found.place.as_deref())?;
        let before = before(owner, &found, &root, &leave)?;
        let now = found.store.tree(&before.id)?;
        let then = found.store.tree(&found.id)?;
        let journals = shared.journals()?;
        let rights = rights(owner, &root)?;
        let options = ReplaceOptions { leave, ..ReplaceOptions::default() };
        let outcome = replace_with(&now, &then, &root, &journals, rights.as_ref(), &options)?;
        Ok(v1::RestoreResponse {
            before: Some(to_proto(&before.id, &before.snapshot, found.place.as_deref())),
            tree: tree.as_os_str().as_bytes().to_vec().into(),
            changed: outcome.steps as u64,
        })
    }

    /// What stays as it is: what the snapshot does not hold because it was left out.
    fn leave(
        &self,
        owner: u32,
        found: &Found,
        root: &Path,
        file: Option<&Path>,
    ) -> Result<Vec<Vec<u8>>, RunError> {
        if let Some(file) = file {
            let others = live(owner, root)?.children(b"")?.into_iter().map(|e| e.name);
            return Ok(others.filter(|name| name != file.as_os_str().as_bytes()).collect());
        }
        let snapshot = &found.snapshot;
        let mut leave: Vec<Vec<u8>> = snapshot.skipped.iter().map(|s| s.path.clone()).collect();
        let known = self.0.shared.entries().get(&snapshot.run).cloned();
        let kept = known.and_then(|entry| {
            entry.with(|r| {
                let trees = r.agents.iter().filter(|a| a.id == snapshot.agent).flat_map(|a| &a.trees);
                let mut same = trees.filter(|t| t.origin() == snapshot.origin);
                same.next().map(|t| t.leave_out.iter().map(|name| name.0.clone()).collect::<Vec<_>>())
            })
        });
        if kept.is_none() && snapshot.statistics.skipped > leave.len() as u64 {
            let why = "it left out more paths than it names, and they must stay".to_owned();
            return Err(RunError::NoTree { id: found.id.to_string(), why });
        }
        leave.extend(kept.into_iter().flatten());
        leave.sort();
        leave.dedup();
        Ok(leave)
    }
}

/// Keeps what stands there now.
fn before(owner: u32, found: &Found, root: &Path, leave: &[Vec<u8>]) -> Result<Taken, RunError> {
    let reader = rights(owner, root)?.map(|r| Reader { uid: r.user, gid: r.group });
    let request = SnapshotRequest {
        parents: vec![found.id],
        run: found.snapshot.run.clone(),
        agent: found.snapshot.agent.clone(),
        kind: RESTORE.to_owned(),
        origin: found.snapshot.origin.clone(),
        reader,
        leave_out: leave.to_vec(),
        ..SnapshotRequest::default()
    };
    Ok(found.store.snapshot(root, &request)?)
}
