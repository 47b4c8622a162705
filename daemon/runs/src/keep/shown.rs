//! Trees of snapshots that agents look at: sealed once, and linked into every view that shows them.

use super::Found;
use crate::{error::RunError, store::make_private};
use cordon_forks::{ForkError, Sealed, SealedTree};
use cordon_snapshots::{RestoreOptions, Snapshot};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// What is smaller than this, in names and in bytes, is put back sooner than it is linked.
const SMALL: (u64, u64) = (32, 1 << 20);

/// Where sealed trees are.
pub(crate) fn place(state: &Path) -> PathBuf {
    state.join("sealed")
}

/// What is shown at this moment, and to whom.
#[derive(Debug)]
pub(crate) struct Shown {
    sealed: Sealed,
    /// By run and agent. A tree goes with the last one.
    held: Mutex<BTreeMap<String, Held>>,
}

type Held = BTreeMap<usize, Vec<Arc<SealedTree>>>;

impl Shown {
    pub(crate) fn new(state: &Path) -> Self {
        Self { sealed: Sealed::new(place(state)), held: Mutex::default() }
    }

    /// Fills the empty directory `target` with a person's snapshot, for whoever is `owner`. What
    /// comes back has to be held as long as somebody else may want the same. Blocks.
    pub(crate) fn fill(
        &self,
        target: &Path,
        found: &Found,
        person: u32,
        owner: Option<(u32, u32)>,
    ) -> Result<Option<Arc<SealedTree>>, RunError> {
        let restore = |at: &Path| -> Result<(), RunError> {
            found.store.restore_with(&found.id, at, &RestoreOptions { owner })?;
            // Before anything is linked: a file's mode is that of every name it has.
            super::peers::conceal(&found.store.tree(&found.id)?, at)
        };
        if is_small(&found.snapshot) {
            restore(target)?;
            return Ok(None);
        }
        let tree = self.sealed.hold(&key(&found.snapshot, person, owner), restore)?;
        if tree.link_into(target)? {
            return Ok(Some(tree));
        }
        tracing::debug!(snapshot = %found.id, "cannot be linked, and is copied");
        super::peers::remove(target)?;
        make_private(target)?;
        restore(target)?;
        Ok(None)
    }

    /// Holds what an agent is shown, in place of what it was shown before. Blocks.
    pub(crate) fn keep(&self, run: &str, agent: usize, trees: Vec<Arc<SealedTree>>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let before = held.entry(run.to_owned()).or_default().insert(agent, trees);
        // Removing takes its time.
        drop(held);
        drop(before);
    }

    /// A run shows nothing any more. Blocks.
    pub(crate) fn release(&self, run: &str) {
        let before = self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(run);
        drop(before);
    }

    /// Removes what an earlier daemon left. Blocks.
    pub(crate) fn remove_left(&self, name: &str) -> Result<(), ForkError> {
        self.sealed.remove_left(name)
    }
}

fn is_small(snapshot: &Snapshot) -> bool {
    let counted = &snapshot.statistics;
    let names = counted.files.saturating_add(counted.directories).saturating_add(counted.symlinks);
    names <= SMALL.0 && counted.bytes <= SMALL.1
}

/// The name of a tree: its content, and whose it is. Two people share none, even where their
/// agents run as the same user.
fn key(snapshot: &Snapshot, person: u32, owner: Option<(u32, u32)>) -> String {
    let (seconds, nanoseconds) = snapshot.root_mtime;
    let mut hasher = blake3::Hasher::new_derive_key("cordon runs 2026-11 sealed tree");
    hasher.update(&snapshot.root.0);
    hasher.update(&snapshot.root_mode.to_le_bytes());
    hasher.update(&seconds.to_le_bytes()).update(&nanoseconds.to_le_bytes());
    hasher.update(&person.to_le_bytes());
    if let Some((uid, gid)) = owner {
        hasher.update(&uid.to_le_bytes()).update(&gid.to_le_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_snapshots::{SnapshotRequest, Store, StoreOptions};
    use std::{fs, os::unix::fs::MetadataExt as _};

    struct Place {
        dir: tempfile::TempDir,
        store: Arc<Store>,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::open(&dir.path().join("store"), "1", StoreOptions::default()).unwrap();
            Self { dir, store: Arc::new(store) }
        }

        fn state(&self) -> PathBuf {
            self.dir.path().canonicalize().unwrap()
        }

        fn take(&self, files: usize) -> Found {
            let tree = self.state().join(format!("tree-{files}"));
            fs::create_dir(&tree).unwrap();
            (0..files).for_each(|n| fs::write(tree.join(n.to_string()), n.to_string()).unwrap());
            let id = self.store.snapshot(&tree, &SnapshotRequest::default()).unwrap().id;
            let snapshot = self.store.get(&id).unwrap();
            Found { place: None, store: self.store.clone(), id, snapshot }
        }

        fn empty(&self, name: &str) -> PathBuf {
            fs::create_dir(self.state().join(name)).unwrap();
            self.state().join(name)
        }

        fn sealed(&self) -> usize {
            fs::read_dir(place(&self.state())).map_or(0, Iterator::count)
        }
    }

    #[test]
    fn a_tree_is_sealed_once_and_goes_with_the_last_run_that_shows_it() {
        let place = Place::new();
        let (shown, found) = (Shown::new(&place.state()), place.take(40));
        let show = |run: &str, person: u32| {
            let at = place.empty(run);
            let held = shown.fill(&at, &found, person, None).unwrap();
            shown.keep(run, 0, held.into_iter().collect());
            fs::metadata(at.join("7")).unwrap()
        };
        let (one, two, other) = (show("one", 1), show("two", 1), show("three", 2));
        assert_eq!((one.ino(), two.nlink()), (two.ino(), 3));
        assert_ne!(one.ino(), other.ino(), "two people share an inode");
        assert_eq!(place.sealed(), 2);
        shown.release("one");
        shown.release("three");
        assert_eq!(place.sealed(), 1);
        shown.keep("two", 0, Vec::new());
        assert_eq!(place.sealed(), 0);
        assert_eq!(fs::read_to_string(place.state().join("two/7")).unwrap(), "7");
    }

    #[test]
    fn a_small_tree_and_one_that_cannot_be_linked_are_put_back() {
        let place = Place::new();
        let shown = Shown::new(&place.state());
        let at = place.empty("small");
        assert!(shown.fill(&at, &place.take(3), 1, None).unwrap().is_none());
        assert_eq!((fs::read(at.join("2")).unwrap(), place.sealed()), (b"2".to_vec(), 0));
        // Another filesystem.
        let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
        let at = elsewhere.path().canonicalize().unwrap().join("view");
        fs::create_dir(&at).unwrap();
        assert!(shown.fill(&at, &place.take(40), 1, None).unwrap().is_none());
        assert_eq!(fs::metadata(at.join("39")).unwrap().nlink(), 1);
        assert_eq!(place.sealed(), 0);
    }
}
