use crate::{error::RunError, plan::Planned};
use cordon_sandbox::PathSource;
use cordon_snapshots::{Snapshot, SnapshotId, Store, StoreError as SnapshotError, StoreOptions};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::DirBuilder,
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Where it is written down which other places an owner's snapshots are in.
const KNOWN: &str = "places.json";
/// A store is not filled further when less is free, or less than a hundredth.
const LEAST_FREE: u64 = 512 << 20;

type Known = BTreeSet<(u32, PathBuf)>;

/// Every snapshot store of this daemon, opened when it is needed.
#[derive(Debug)]
pub(crate) struct Stores {
    state: PathBuf,
    quota: Option<u64>,
    open: Mutex<BTreeMap<(u32, PathBuf), Arc<Store>>>,
    known: Mutex<Option<Known>>,
}

impl Stores {
    pub(crate) fn new(state: &Path, quota: Option<u64>) -> Self {
        Self { state: state.to_path_buf(), quota, open: Mutex::default(), known: Mutex::default() }
    }

    /// An owner's store in a place; in the daemon's own for none. Blocks.
    pub(crate) fn of(&self, owner: u32, place: Option<&Path>) -> Result<Arc<Store>, RunError> {
        let place = place.map_or_else(|| self.state.join("snapshots"), Path::to_path_buf);
        // Opening is short, and twice the same would only cost memory.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = open.get(&(owner, place.clone())) {
            return Ok(store.clone());
        }
        let options = StoreOptions { quota: self.quota };
        let store = Arc::new(Store::open(&place, &owner.to_string(), options)?);
        open.insert((owner, place), store.clone());
        Ok(store)
    }

    /// Every place that has snapshots of an owner, the daemon's own first.
    pub(crate) fn places(&self, owner: u32) -> Vec<Option<PathBuf>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_or_insert_with(|| self.load());
        let others = known.iter().filter(|(o, _)| *o == owner).map(|(_, place)| Some(place.clone()));
        std::iter::once(None).chain(others).collect()
    }

    /// The stores of an owner that can be opened, with the place of those that are elsewhere.
    pub(crate) fn all(&self, owner: u32) -> Vec<(Option<PathBuf>, Arc<Store>)> {
        let opened = |place: Option<PathBuf>| match self.of(owner, place.as_deref()) {
            Ok(store) => Some((place, store)),
            Err(error) => {
                tracing::warn!(?place, %error, "a snapshot store cannot be opened");
                None
            }
        };
        self.places(owner).into_iter().filter_map(opened).collect()
    }

    /// Remembers that an owner's snapshots are in this place.
    pub(crate) fn remember(&self, owner: u32, place: &Path) -> Result<(), RunError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_or_insert_with(|| self.load());
        if known.insert((owner, place.to_path_buf())) {
            let directory = self.directory()?;
            let json = serde_json::to_vec(known).map_err(|_| RunError::Internal("write the places"))?;
            crate::store::replace(&directory, KNOWN, &json, true)?;
        }
        Ok(())
    }

    fn directory(&self) -> Result<PathBuf, RunError> {
        let directory = self.state.join("stores");
        make(&directory).map_err(|e| storage(&directory, &e.to_string()))?;
        Ok(directory)
    }

    fn load(&self) -> Known {
        let path = self.state.join("stores").join(KNOWN);
        match std::fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json).unwrap_or_else(|error| {
                tracing::error!(?path, %error, "the places of snapshots are not known");
                Known::default()
            }),
            Err(_) => Known::default(),
        }
    }

    /// Refuses to fill a disk to the last. Blocks.
    pub(crate) fn room(&self, place: Option<&Path>) -> Result<(), RunError> {
        let place = place.unwrap_or(&self.state);
        let stat = rustix::fs::statvfs(place).map_err(|e| storage(place, &e.to_string()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let least = LEAST_FREE.max(stat.f_blocks.saturating_mul(stat.f_frsize) / 100);
        if free >= least {
            return Ok(());
        }
        Err(RunError::NoRoom { place: place.to_path_buf(), free, least })
    }
}

/// A snapshot, and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) place: Option<PathBuf>,
    pub(crate) store: Arc<Store>,
    pub(crate) id: SnapshotId,
    pub(crate) snapshot: Snapshot,
}

impl Stores {
    /// An owner's snapshot by its id or an unambiguous beginning of it, wherever it is. Blocks.
    pub(crate) fn find(&self, owner: u32, id: &str) -> Result<Found, RunError> {
        let mut found: Vec<Found> = Vec::new();
        let mut count = 0;
        for (place, store) in self.all(owner) {
            match store.find(id) {
                Ok(id) => {
                    count += 1;
                    let snapshot = store.get(&id)?;
                    // One that was imported twice is the same.
                    if found.iter().all(|f| f.id != id) {
                        found.push(Found { place, store, id, snapshot });
                    }
                }
                Err(SnapshotError::Ambiguous { count: several, .. }) => count += several,
                Err(SnapshotError::NotFound(_)) => {}
                Err(SnapshotError::Name(_)) => break,
                Err(error) => return Err(error.into()),
            }
        }
        match (found.len(), count) {
            (1, 1) => found.pop().ok_or(RunError::Internal("find the snapshot")),
            (0, 0) => Err(RunError::SnapshotNotFound { id: id.to_owned() }),
            (1, _) if found.iter().any(|f| f.id.to_string() == id) => {
                found.pop().ok_or(RunError::Internal("find the snapshot"))
            }
            _ => Err(RunError::SnapshotAmbiguous { id: id.to_owned(), count }),
        }
    }
}

fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

fn storage(place: &Path, why: &str) -> RunError {
    RunError::Storage { place: place.to_path_buf(), why: why.to_owned() }
}

/// Where a run's snapshots go: `snapshot_storage`, as written. None: the daemon's own store.
pub(crate) fn place(
    state: &Path,
    owner: u32,
    written: Option<&Path>,
    planned: &[Planned],
) -> Result<Option<PathBuf>, RunError> {
    let Some(written) = written else { return Ok(None) };
    if !written.is_absolute() {
        let plain = written.components().all(|c| matches!(c, Component::Normal(_)));
        if !plain || written.as_os_str().is_empty() {
            return Err(storage(written, "it leaves its place; use a plain relative path"));
        }
        let place = state.join("stores").join(owner.to_string()).join(written);
        make(&place).map_err(|e| storage(&place, &e.to_string()))?;
        return Ok(Some(place));
    }
    let place = written.canonicalize().map_err(|e| storage(written, &e.to_string()))?;
    let meta = place.metadata().map_err(|e| storage(&place, &e.to_string()))?;
    let me = rustix::process::geteuid().as_raw();
    if !meta.is_dir() {
        return Err(storage(&place, "it is not a directory"));
    }
    if meta.uid() != me {
        let why = format!("user {} owns it, and the daemon runs as {me}", meta.uid());
        return Err(storage(&place, &why));
    }
    if meta.mode() & 0o077 != 0 {
        let why = format!("others may look into it (mode {:04o}); chmod it to 0700", meta.mode() & 0o7777);
        return Err(storage(&place, &why));
    }
    if place.starts_with(state) || state.starts_with(&place) {
        return Err(storage(&place, "it is, or holds, Cordon's own state; use a relative path"));
    }
    for entry in planned.iter().flat_map(|p| &p.sandbox.paths) {
        let PathSource::Host(seen) = &entry.source else { continue };
        if seen.starts_with(&place) || place.starts_with(seen) {
            let why = format!("an agent can reach it through {}", seen.display());
            return Err(storage(&place, &why));
        }
    }
    Ok(Some(place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn places_are_checked_and_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let state = root.join("state");
        make(&state).unwrap();
        assert_eq!(place(&state, 7, None, &[]).unwrap(), None);
        let inside = place(&state, 7, Some(Path::new("a/b")), &[]).unwrap().unwrap();
        assert_eq!(inside, state.join("stores/7/a/b"));
        for bad in ["../x", "a/../../x", "", "./"] {
            assert!(place(&state, 7, Some(Path::new(bad)), &[]).is_err(), "{bad}");
        }
        let open = root.join("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
        for bad in [open.as_path(), &root, &state, &root.join("absent")] {
            assert!(place(&state, 7, Some(bad), &[]).is_err(), "{bad:?}");
        }
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(place(&state, 7, Some(&open), &[]).unwrap(), Some(open.clone()));

        let stores = Stores::new(&state, None);
        stores.remember(7, &inside).unwrap();
        stores.remember(8, &open).unwrap();
        let again = Stores::new(&state, None);
        assert_eq!(again.places(7), [None, Some(inside.clone())]);
        assert_eq!(again.places(9), [None]);
        assert!(Arc::ptr_eq(&again.of(7, Some(&inside)).unwrap(), &again.of(7, Some(&inside)).unwrap()));
        assert_eq!(again.all(8).len(), 2);
    }
}
