//! Forks that begin with what an earlier run left in its own.

use super::{RESTORE, TreeRecord};
use crate::{entry::Entry, error::RunError, plan::Staged, shared::Shared, store::RunDirectory};
use cordon_sandbox::Identity;
use cordon_snapshots::{
    Reader, SnapshotRequest, StoredTree, TreeSource as _,
    apply::{ReplaceOptions, replace_with},
    live::LiveTree,
    rights::Owner,
};
use std::path::{Path, PathBuf};

/// What the trees of an agent begin with.
pub(crate) struct Begins {
    run: String,
    owner: u32,
    storage: Option<PathBuf>,
    trees: Vec<TreeRecord>,
    directory: RunDirectory,
}

impl Begins {
    pub(crate) fn of(entry: &Entry, agent: usize) -> Self {
        let directory = entry.directory.clone();
        entry.with(|r| Self {
            directory,
            run: r.id.clone(),
            owner: r.owner.uid(),
            storage: r.storage.clone(),
            trees: r.agents.get(agent).map(|a| a.trees.clone()).unwrap_or_default(),
        })
    }

    /// Whether the fork of this tree begins with something.
    pub(crate) fn has(&self, path: &Path) -> bool {
        self.trees.iter().any(|t| t.staged && t.path == path && t.begins.is_some())
    }

    /// Makes a fresh fork what the earlier run left. What no snapshot has of it stays as it is in
    /// the user's tree. Blocks.
    pub(crate) fn put(&self, shared: &Shared, staged: &Staged, identity: Identity) -> Result<(), RunError> {
        let Some(tree) = self.trees.iter().find(|t| t.staged && t.path == staged.path) else { return Ok(()) };
        let Some(begins) = &tree.begins else { return Ok(()) };
        let id = begins.parse().map_err(|_| RunError::SnapshotNotFound { id: begins.clone() })?;
        let store = shared.stores.of(self.owner, self.storage.as_deref())?;
        let then = store.tree(&id)?;
        let root = tree.turn_root();
        let owner = rustix::process::geteuid().is_root().then(|| Owner::known(identity.uid, identity.gid));
        let unknown = then.snapshot().skipped.iter().map(|skipped| skipped.path.clone());
        let mut leave: Vec<Vec<u8>> =
            tree.leave_out.iter().map(|name| name.0.clone()).chain(unknown).collect();
        if !tree.is_directory {
            // Around a single file there is nothing else.
            let own = staged.path.file_name().map(|name| name.as_encoded_bytes().to_vec());
            let others = LiveTree::open(&root)?.children(b"")?.into_iter().map(|e| e.name);
            leave.extend(others.filter(|name| Some(name) != own.as_ref()));
        }
        let request = SnapshotRequest {
            run: self.run.clone(),
            kind: RESTORE.to_owned(),
            origin: tree.origin(),
            reader: Some(Reader { uid: identity.uid, gid: identity.gid }),
            leave_out: leave.clone(),
            ..SnapshotRequest::default()
        };
        // What is replaced is compared with what it was: for that it has to be known.
        let before = store.snapshot(&root, &request)?.id;
        let put = self.replace(&store.tree(&before)?, &then, &root, owner.as_ref(), leave);
        store.remove(&before)?;
        put
    }

    fn replace(
        &self,
        now: &StoredTree<'_>,
        then: &StoredTree<'_>,
        root: &Path,
        owner: Option<&Owner>,
        leave: Vec<Vec<u8>>,
    ) -> Result<(), RunError> {
        // Should it end half-way, the fork is given up whole: nobody goes on from this journal.
        let journals = self.directory.journals()?;
        let options = ReplaceOptions { leave, private: true, ..ReplaceOptions::default() };
        replace_with(now, then, root, &journals, owner, &options)?;
        Ok(())
    }
}
