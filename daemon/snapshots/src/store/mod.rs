//! The snapshot store: trees by content, durable, shared by any number of processes.
//!
//! # Format, version 1
//!
//! ```text
//! STORE/format                       "cordon-snapshots 1\n"
//! STORE/owners/OWNER/lock            taken for moments: to announce, to free
//! STORE/owners/OWNER/packs/T.pack    objects; T is the address of the pack's table
//! STORE/owners/OWNER/snapshots/S     one record; S is its address, and the snapshot's name
//! STORE/owners/OWNER/labels/S        the label that snapshot S was given since
//! STORE/owners/OWNER/stats/K         what files looked like when they were last read; a cache
//! STORE/owners/OWNER/writing/W/      what one writer has not announced yet, with its lock
//! ```
//!
//! Addresses are blake3 in hexadecimal, of a blob's plain bytes, and in derive-key mode of
//! everything else, so that no file can stand for a tree. Numbers are little-endian. `OWNER`
//! is the address of the owner's name: owners share nothing, so that nobody learns from a
//! size or a time what another one stores.
//!
//! A **blob** is a file of at most 1 MiB, or a chunk (FastCDC: 256 KiB, 1 MiB, 4 MiB) of a
//! longer one; a **list** is the chunks and holes of a long or sparse file; a **tree** is a
//! directory's entries in the order of their names' bytes. Each is zstd-compressed
//! where that saves a sixteenth. Layouts: [`object`], [`pack`], [`record`], [`label`],
//! [`stats`].
//!
//! **Compatibility**: a store whose `format` names a later version is refused and left
//! alone. Within a version no layout changes; what has to change gets a new magic, and the
//! version moves on when an older reader would be wrong without it. `stats` may be
//! deleted at any time.
//!
//! # What holds when
//!
//! A snapshot is announced in this order: packs written and synced in the writer's corner,
//! its record too, then, under the lock, packs renamed, their directory synced, the record
//! renamed, its directory synced. What dies before the last rename leaves
//! unannounced bytes that gc takes. Freeing holds the same lock, so an announcing
//! writer sees that something it counts on has gone, and takes its snapshot again.

mod disk;
mod entry;
mod error;
mod file;
mod gc;
mod index;
mod label;
mod limits;
mod object;
mod pack;
mod pool;
mod record;
mod restore;
mod retain;
mod scan;
mod session;
mod source;
mod stats;
mod stream;
mod take;
pub mod transfer;
mod verify;
mod wire;

#[cfg(test)]
mod tests;

pub use error::StoreError;
pub use gc::Freed;
pub use limits::{Reader, SnapshotRequest, StoreOptions, TreeLimits, Unsettled};
pub use record::{IdError, SkipReason, Skipped, Snapshot, SnapshotId, Statistics};
pub use restore::RestoreOptions;
pub use retain::Retention;
pub use source::StoredTree;
pub(crate) use stats::Stats;
pub(crate) use stream::{Builder, Built, Fault as StreamFault, Stretch};
pub use take::Taken;
pub use verify::{Fault, Touched, Verified};

use crate::tree::ContentId;
use disk::{Disk, make_dir, names, open_dir, open_file};
use error::io;
use index::Index;
use object::{Kind, SMALL};
use pack::Codecs;
use rustix::{
    fd::OwnedFd,
    fs::{CWD, FlockOperation, flock},
};
use std::{
    fs::File,
    io::Read as _,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

const FORMAT: &str = "cordon-snapshots 1\n";
const RECORD_MOST: u64 = 80 << 20;

struct Dirs {
    packs: OwnedFd,
    snapshots: OwnedFd,
    labels: OwnedFd,
    stats: OwnedFd,
    writing: OwnedFd,
}

/// One owner's snapshots in a store. Any number of these, in any number of processes, may be
/// open on one store.
pub struct Store {
    owner: String,
    options: StoreOptions,
    disk: Disk,
    dir: OwnedFd,
    dirs: Dirs,
    index: Mutex<Arc<Index>>,
    codecs: Codecs,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("owner", &self.owner).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens `owner`'s part of the store at `path`, and makes both where they are missing. The
    /// directory that holds the store must be there.
    ///
    /// # Errors
    /// When the directory holds something else, a store of a later format, or cannot be used.
    pub fn open(path: &Path, owner: &str, options: StoreOptions) -> Result<Self, StoreError> {
        Self::open_with(path, owner, options, Disk::default())
    }

    fn open_with(path: &Path, owner: &str, options: StoreOptions, disk: Disk) -> Result<Self, StoreError> {
        let on = || path.display().to_string();
        match rustix::fs::mkdirat(CWD, path, rustix::fs::Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(e) => return Err(io("make", on())(e)),
        }
        let root = open_dir(CWD, path).map_err(io("open", on()))?;
        check_format(&disk, &root, &on())?;
        let owners = make_dir(&root, "owners").map_err(io("make", on()))?;
        let name = ContentId(blake3::derive_key("cordon snapshots 2026-11 owner", owner.as_bytes()));
        let dir = make_dir(&owners, &name.to_string()).map_err(io("make", on()))?;
        let inside = |name: &str| make_dir(&dir, name).map_err(io("make", on()));
        let dirs = Dirs {
            packs: inside("packs")?,
            snapshots: inside("snapshots")?,
            labels: inside("labels")?,
            stats: inside("stats")?,
            writing: inside("writing")?,
        };
        for made in [&dir, &owners, &root] {
            disk.sync_dir(made).map_err(io("sync", on()))?;
        }
        Ok(Self {
            owner: owner.to_owned(),
            options,
            disk,
            dir,
            dirs,
            index: Mutex::default(),
            codecs: Codecs::default(),
        })
    }

    fn lock_file(&self, name: &str) -> Result<File, StoreError> {
        use rustix::fs::{Mode, OFlags, openat};
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&self.dir, name, flags, Mode::RUSR | Mode::WUSR);
        fd.map(File::from).map_err(io("open", "a lock of the store"))
    }

    /// Waits for the moment in which nobody else announces or frees.
    fn lock(&self) -> Result<File, StoreError> {
        let file = self.lock_file("lock")?;
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(file),
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(io("take", "the store's lock")(e)),
            }
        }
    }

    fn index(&self) -> MutexGuard<'_, Arc<Index>> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fresh_index(&self) -> Result<Arc<Index>, StoreError> {
        let mut index = self.index();
        Index::refresh(&mut index, &self.dirs.packs)?;
        Ok(Arc::clone(&index))
    }

    /// Bytes that the owner's packs and records take.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn usage(&self) -> Result<u64, StoreError> {
        let mut total = 0;
        for dir in [&self.dirs.packs, &self.dirs.snapshots, &self.dirs.labels] {
            for name in names(dir).map_err(io("list", "the store"))? {
                // What goes between the listing and the look takes no room any more.
                if let Ok(stat) =
                    rustix::fs::statat(dir, name.as_str(), rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
                {
                    total += u64::try_from(stat.st_size).unwrap_or(0);
                }
            }
        }
        Ok(total)
    }

    /// The announced snapshots, oldest first. One whose record is damaged is left out;
    /// verify names it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn list(&self) -> Result<Vec<(SnapshotId, Snapshot)>, StoreError> {
        let mut found = Vec::new();
        for id in self.ids()? {
            match self.get(&id) {
                Ok(snapshot) => found.push((id, snapshot)),
                Err(StoreError::NotFound(_) | StoreError::Damaged { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        found.sort_by_key(|(id, snapshot)| (snapshot.time, *id));
        Ok(found)
    }

    fn ids(&self) -> Result<Vec<SnapshotId>, StoreError> {
        let names = names(&self.dirs.snapshots).map_err(io("list", "the snapshots"))?;
        Ok(names.iter().filter_map(|n| n.parse().ok()).collect())
    }

    /// What is known of a snapshot.
    ///
    /// # Errors
    /// When there is no such snapshot, or its record is damaged.
    pub fn get(&self, id: &SnapshotId) -> Result<Snapshot, StoreError> {
        let bytes = self.record(id)?;
        let damaged = |why| StoreError::Damaged { what: format!("snapshot {id}"), why };
        if SnapshotId::of(&bytes) != *id {
            return Err(damaged("its record changed"));
        }
        let mut snapshot = Snapshot::decode(&bytes).map_err(|bad| damaged(bad.0))?;
        // A label that cannot be read takes nothing of the snapshot away; verify names it.
        if let Ok(Some(label)) = self.label(id) {
            snapshot.label = label;
        }
        Ok(snapshot)
    }

    /// The snapshot whose name begins with `prefix`.
    ///
    /// # Errors
    /// When none does, or more than one, or `prefix` is no beginning of a name.
    pub fn find(&self, prefix: &str) -> Result<SnapshotId, StoreError> {
        if !(4..=64).contains(&prefix.len())
            || !prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        {
            return Err(StoreError::Name(prefix.chars().take(80).collect()));
        }
        let mut ids = self.ids()?;
        ids.retain(|id| id.to_string().starts_with(prefix));
        match ids.as_slice() {
            [id] => Ok(*id),
            [] => Err(StoreError::NotFound(format!("snapshot {prefix}"))),
            several => Err(StoreError::Ambiguous { prefix: prefix.to_owned(), count: several.len() }),
        }
    }

    fn record(&self, id: &SnapshotId) -> Result<Vec<u8>, StoreError> {
        let file = open_file(&self.dirs.snapshots, &id.to_string()).map_err(|e| match e {
            rustix::io::Errno::NOENT => StoreError::NotFound(format!("snapshot {id}")),
            e => io("open", format!("snapshot {id}"))(e),
        })?;
        let mut bytes = Vec::new();
        file.take(RECORD_MOST).read_to_end(&mut bytes).map_err(io("read", format!("snapshot {id}")))?;
        Ok(bytes)
    }

    /// Forgets a snapshot. What only it referred to is freed by gc.
    ///
    /// # Errors
    /// When there is no such snapshot, or it cannot be removed.
    pub fn remove(&self, id: &SnapshotId) -> Result<(), StoreError> {
        let _guard = self.lock()?;
        open_file(&self.dirs.snapshots, &id.to_string())
            .map_err(|_| StoreError::NotFound(format!("snapshot {id}")))?;
        self.disk
            .unlink(&self.dirs.snapshots, &id.to_string())
            .map_err(io("remove", format!("snapshot {id}")))?;
        self.disk.sync_dir(&self.dirs.snapshots).map_err(io("sync", "the directory of snapshots"))?;
        // After its snapshot: one that is still there never loses it.
        self.disk
            .unlink(&self.dirs.labels, &id.to_string())
            .map_err(io("remove", format!("the label of {id}")))
    }

    /// The bytes of an object, checked.
    fn load(&self, kind: Kind, id: &ContentId) -> Result<Vec<u8>, StoreError> {
        let mut have = self.index().find(kind, id);
        for _ in 0..LOOKS {
            if let Some((pack, row)) = have {
                match pack.read(&self.dirs.packs, &row, &self.codecs) {
                    // Moved to another pack by gc.
                    Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                    read => return read,
                }
            }
            // Another writer's, or moved.
            have = self.fresh_index()?.find(kind, id);
        }
        Err(StoreError::NotFound(format!("object {id}")))
    }

    /// Whether a file of this address and size is one blob, and not a list of pieces.
    fn is_blob(&self, id: &ContentId, size: u64) -> Result<bool, StoreError> {
        if size > SMALL {
            return Ok(false);
        }
        let told = |index: &Index| match (index.get(Kind::Blob, id), index.get(Kind::List, id)) {
            (Some(_), _) => Some(true),
            (None, Some(_)) => Some(false),
            (None, None) => None,
        };
        let mut found = told(&self.index());
        for _ in 0..LOOKS {
            if let Some(blob) = found {
                return Ok(blob);
            }
            found = told(&*self.fresh_index()?);
        }
        Ok(found.unwrap_or(true))
    }
}

/// How often packs are listed for an object: a listing that is made while gc moves one from pack to
/// pack may have seen neither.
const LOOKS: usize = 8;

/// A name that no other writer has.
fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{count}-{}-{}", std::process::id(), now.tv_sec, now.tv_nsec)
}

fn check_format(disk: &Disk, root: &OwnedFd, on: &str) -> Result<(), StoreError> {
    let wrong = |why: &str| StoreError::Format { on: on.to_owned(), why: why.to_owned() };
    match open_file(root, "format") {
        Ok(file) => {
            let mut text = String::new();
            let read = file.take(200).read_to_string(&mut text);
            if read.is_ok() && text == FORMAT {
                return Ok(());
            }
            Err(wrong("its format file names another format or a later version"))
        }
        Err(rustix::io::Errno::NOENT) => {
            let other = names(root).map_err(io("list", on))?;
            if other.iter().any(|n| n == "format") {
                return check_format(disk, root, on);
            }
            if other.iter().any(|n| !n.starts_with("format-")) {
                return Err(wrong("the directory holds something else"));
            }
            // Two that open a new store at once write the same: either rename will do.
            let mine = format!("format-{}", unique());
            let made = disk.create(root, &mine).map_err(io("make", on))?;
            disk.write(&made, FORMAT.as_bytes()).map_err(io("write", on))?;
            disk.sync(&made).map_err(io("sync", on))?;
            disk.rename(root, &mine, root, "format").map_err(io("write", on))?;
            disk.sync_dir(root).map_err(io("sync", on))
        }
        Err(e) => Err(io("open", on)(e)),
    }
}
