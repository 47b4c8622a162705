//! A writer's own corner of the store. What it writes lies in a directory of its own until
//! it is announced: no other writer waits for it, and gc takes the corner only when
//! its writer is gone.

use super::{
    Store,
    disk::{make_dir, open_file},
    error::{StoreError, io},
    index::Index,
    object::Kind,
    pack::{Codecs, FULL, Packed, Writer},
    record::SnapshotId,
};
use crate::tree::ContentId;
use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, FlockOperation, flock, statat, unlinkat},
};
use std::{
    collections::HashSet,
    fs::File,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

pub(super) struct Session<'a> {
    store: &'a Store,
    name: String,
    dir: OwnedFd,
    /// Held as long as the session lives; the kernel lets go of it when the process dies.
    lock: File,
    index: Arc<Index>,
    /// By the packs' numbers: whether this session counts on it.
    relied: Vec<AtomicBool>,
    codecs: Codecs,
    quota: Option<u64>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: Option<Writer>,
    /// Packs with all their bytes written: the file, its name now, its name to be.
    full: Vec<(File, String, String)>,
    fresh: HashSet<ContentId>,
    count: u32,
    bytes: u64,
    used: u64,
}

/// How announcing ended.
pub(super) enum Announced {
    /// All is durable; the packs' names.
    Done(Vec<String>),
    /// gc freed something that the snapshot counts on.
    Lost,
}

impl<'a> Session<'a> {
    pub(super) fn new(store: &'a Store) -> Result<Self, StoreError> {
        Self::with(store, store.options.quota)
    }

    /// For what frees room: it needs some before it has freed any.
    pub(super) fn unlimited(store: &'a Store) -> Result<Self, StoreError> {
        Self::with(store, None)
    }

    fn with(store: &'a Store, quota: Option<u64>) -> Result<Self, StoreError> {
        // gc looks for corners without a writer under the same lock.
        let _guard = store.lock()?;
        let name = super::unique();
        let dir = make_dir(&store.dirs.writing, &name).map_err(io("make", "a writer's directory"))?;
        let lock = store.disk.create(&dir, "lock").map_err(io("make", "a writer's lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(io("lock", "a writer's directory"))?;
        let index = store.fresh_index()?;
        let used = store.usage()?;
        let relied = index.packs().map(|_| AtomicBool::new(false)).collect();
        let state = Mutex::new(State { used, ..State::default() });
        Ok(Self { store, name, dir, lock, index, relied, codecs: Codecs::default(), quota, state })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the store has the object, or will when this session is announced.
    pub(super) fn has(&self, kind: Kind, id: &ContentId) -> bool {
        let Some((pack, _)) = self.index.get(kind, id) else { return self.state().fresh.contains(id) };
        self.rely(pack);
        true
    }

    /// How many bytes a stored object stands for.
    pub(super) fn size(&self, kind: Kind, id: &ContentId) -> Option<u32> {
        self.index.get(kind, id).map(|(_, row)| row.raw)
    }

    fn rely(&self, pack: u32) {
        if let Some(relied) = self.relied.get(pack as usize).filter(|r| !r.load(Ordering::Relaxed)) {
            relied.store(true, Ordering::Relaxed);
        }
    }

    /// The bytes of a stored object, counted on from now on.
    pub(super) fn load(&self, kind: Kind, id: &ContentId) -> Option<Vec<u8>> {
        let (pack, row) = self.index.get(kind, id)?;
        self.rely(pack);
        self.index.pack(pack)?.read(&self.store.dirs.packs, row, &self.codecs).ok()
    }

    /// Stores an object unless it is there.
    pub(super) fn put(&self, kind: Kind, raw: &[u8]) -> Result<ContentId, StoreError> {
        let id = kind.address(raw);
        if !self.has(kind, &id) {
            self.codecs.with(|codec| self.append(&Packed::new(kind, id, raw, codec)?))?;
        }
        Ok(id)
    }

    pub(super) fn append(&self, object: &Packed<'_>) -> Result<(), StoreError> {
        let disk = &self.store.disk;
        let mut state = self.state();
        if !state.fresh.insert(object.id) {
            return Ok(());
        }
        let used = state.used + state.bytes + object.bytes.len() as u64;
        if let Some(limit) = self.quota.filter(|l| used > *l) {
            let owner = self.store.owner.clone();
            return Err(StoreError::Quota { owner, used: state.used, limit });
        }
        if state.open.is_none() {
            state.open = Some(Writer::new(disk, &self.dir, format!("{}", state.full.len()))?);
        }
        if let Some(writer) = &mut state.open {
            writer.append(disk, object)?;
        }
        state.count += 1;
        state.bytes += object.bytes.len() as u64;
        if state.open.as_ref().is_some_and(|w| w.size() >= FULL) {
            Self::close(&mut state, self.store)?;
        }
        Ok(())
    }

    fn close(state: &mut State, store: &Store) -> Result<(), StoreError> {
        if let Some(writer) = state.open.take() {
            let full = writer.finish(&store.disk)?;
            state.full.push(full);
        }
        Ok(())
    }

    /// Objects and bytes that this session adds.
    pub(super) fn added(&self) -> (u64, u64) {
        let state = self.state();
        (state.count.into(), state.bytes)
    }

    /// Makes everything durable and then visible: packs, then the record, if there is one.
    pub(super) fn announce(self, record: Option<(&SnapshotId, &[u8])>) -> Result<Announced, StoreError> {
        let disk = &self.store.disk;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Self::close(&mut state, self.store)?;
        for (file, ..) in &state.full {
            disk.sync(file).map_err(io("sync", "a pack"))?;
        }
        if let Some((_, bytes)) = record {
            let file = disk.create(&self.dir, "record").map_err(io("create", "a snapshot record"))?;
            disk.write(&file, bytes).map_err(io("write", "a snapshot record"))?;
            disk.sync(&file).map_err(io("sync", "a snapshot record"))?;
        }
        let dirs = &self.store.dirs;
        let guard = self.store.lock()?;
        let gone = |name: &String| statat(&dirs.packs, name.as_str(), AtFlags::SYMLINK_NOFOLLOW).is_err();
        let relied =
            self.index.packs().zip(&self.relied).filter(|(_, relied)| relied.load(Ordering::Relaxed));
        if relied.into_iter().any(|((_, pack), _)| gone(&pack.name)) {
            return Ok(Announced::Lost);
        }
        // Others of this owner may have announced meanwhile.
        let used = self.store.usage()?;
        if let Some(limit) = self.quota.filter(|l| used + state.bytes > *l) {
            return Err(StoreError::Quota { owner: self.store.owner.clone(), used, limit });
        }
        for (_, now, then) in &state.full {
            disk.rename(&self.dir, now, &dirs.packs, then).map_err(io("move into place", "a pack"))?;
        }
        if !state.full.is_empty() {
            disk.sync_dir(&dirs.packs).map_err(io("sync", "the directory of packs"))?;
        }
        if let Some((id, _)) = record {
            disk.rename(&self.dir, "record", &dirs.snapshots, &id.to_string())
                .map_err(io("move into place", "a snapshot record"))?;
            disk.sync_dir(&dirs.snapshots).map_err(io("sync", "the directory of snapshots"))?;
        }
        drop(guard);
        let packs = state.full.drain(..).map(|(.., then)| then).collect();
        drop(state);
        Ok(Announced::Done(packs))
    }
}

impl Drop for Session<'_> {
    /// What is left behind when this fails, gc takes.
    fn drop(&mut self) {
        let _ = sweep(self.store, &self.dir, &self.name);
        let _ = flock(&self.lock, FlockOperation::Unlock);
    }
}

fn sweep(store: &Store, dir: &OwnedFd, name: &str) -> Result<(), StoreError> {
    let on = || "a writer's directory".to_owned();
    let files = match super::disk::names(dir) {
        // Both its writer and gc may be at it.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        files => files.map_err(io("list", on()))?,
    };
    for file in files {
        store.disk.unlink(dir, &file).map_err(io("empty", on()))?;
    }
    match unlinkat(&store.dirs.writing, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(e) => Err(io("remove", on())(e)),
    }
}

/// Removes what writers left that are gone. The store's lock is held.
pub(super) fn sweep_dead(store: &Store) -> Result<u64, StoreError> {
    let writing = &store.dirs.writing;
    let mut swept = 0;
    for name in super::disk::names(writing).map_err(io("list", "the writers"))? {
        let dir = match super::disk::open_dir(writing, name.as_str()) {
            // The writer has ended meanwhile, and took it away without the lock.
            Err(rustix::io::Errno::NOENT) => continue,
            dir => dir.map_err(io("open", "a writer's directory"))?,
        };
        // Without a lock file the writer died before it had one: making both holds the store's lock.
        if let Ok(lock) = open_file(&dir, "lock")
            && flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err()
        {
            continue;
        }
        sweep(store, &dir, &name)?;
        swept += 1;
    }
    Ok(swept)
}
