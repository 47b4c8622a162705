//! A snapshot put back. Every name is made, never written over, and reached from the
//! directory above it without following a link; the directories take their modes and times
//! when all below them is there.

mod directory;
mod links;

use super::{
    Store,
    disk::open_dir,
    error::{StoreError, io},
    object::Piece,
    pool::{self, Pool},
    record::{Snapshot, SnapshotId},
};
use crate::tree::{Content, ContentId, NodeKind, TreeEntry};
use directory::Directory;
use links::Links;
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{
        AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, chownat, fchmod, fchown, ftruncate,
        futimens, mkdirat, openat, symlinkat, utimensat,
    },
    io::Errno,
    process::{Gid, Uid},
};
use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::{Arc, atomic::Ordering},
};

/// Directories above this depth are anybody's.
const SHARED: usize = 16;
/// Descriptors held for the levels above; deeper down the way back is `..`, checked.
const HELD: usize = 32;
/// How many files, and how many bytes of them, are one piece of work.
const BATCH: (usize, u64) = (64, 8 << 20);

/// How a snapshot is put back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreOptions {
    /// The user and group that everything is to belong to, the target directory included; it
    /// takes a privileged process. Without, all belongs to this process.
    pub owner: Option<(u32, u32)>,
}

struct Restore<'a> {
    store: &'a Store,
    owner: Option<(Option<Uid>, Option<Gid>)>,
    links: Links,
}

enum Job {
    Root(OwnedFd, Box<Snapshot>),
    /// Directories of a directory, the first one last.
    Children(Arc<Directory>, Vec<TreeEntry>),
    /// Files and links of a directory.
    Files(Arc<Directory>, Vec<TreeEntry>),
}

impl Store {
    /// Puts the tree of a snapshot into the empty directory `target`, which must not be a link.
    /// Owners are those of this process. Nothing else may use the directory meanwhile; when
    /// this fails, it holds part of the tree.
    ///
    /// # Errors
    /// When there is no such snapshot, any of it is damaged, the directory is not empty or
    /// cannot be written.
    pub fn restore(&self, id: &SnapshotId, target: &Path) -> Result<(), StoreError> {
        self.restore_with(id, target, &RestoreOptions::default())
    }

    /// [`Store::restore`], with a say in whose it will be. A directory is given away when all
    /// below it is there, and never through its name.
    ///
    /// # Errors
    /// As [`Store::restore`], and when this process may not give files away.
    pub fn restore_with(
        &self,
        id: &SnapshotId,
        target: &Path,
        options: &RestoreOptions,
    ) -> Result<(), StoreError> {
        let snapshot = self.get(id)?;
        let root = open_dir(CWD, target).map_err(io("open", target.display()))?;
        let mut rest = rustix::fs::Dir::read_from(&root).map_err(io("list", target.display()))?;
        if rest.any(|e| !e.is_ok_and(|e| matches!(e.file_name().to_bytes(), b"." | b".."))) {
            return Err(StoreError::NotEmpty(target.display().to_string()));
        }
        let owner = options.owner.map(|(uid, gid)| (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))));
        let restore = Restore { store: self, owner, links: Links::default() };
        pool::run(Job::Root(root, Box::new(snapshot)), Vec::new, |pool, own: &mut Vec<Job>, job| {
            restore.job(pool, own, job)?;
            while let Some(job) = own.pop() {
                restore.job(pool, own, job)?;
            }
            Ok(())
        })?;
        Ok(())
    }
}

impl Restore<'_> {
    fn job(&self, pool: &Pool<Job>, own: &mut Vec<Job>, job: Job) -> Result<(), StoreError> {
        match job {
            Job::Root(fd, snapshot) => {
                let (mode, mtime) = (snapshot.root_mode, snapshot.root_mtime);
                let root = Directory::new(None, Box::default(), fd, mode, mtime);
                self.list(pool, own, root, &snapshot.root)
            }
            Job::Children(directory, mut waiting) => {
                let Some(entry) = waiting.pop() else { return Ok(()) };
                if !waiting.is_empty() {
                    give(pool, own, &directory, Job::Children(Arc::clone(&directory), waiting));
                }
                self.enter(pool, own, &directory, entry)
            }
            Job::Files(directory, entries) => {
                self.files(&directory, &entries)?;
                self.done(&directory)
            }
        }
    }

    fn enter(
        &self,
        pool: &Pool<Job>,
        own: &mut Vec<Job>,
        parent: &Arc<Directory>,
        entry: TreeEntry,
    ) -> Result<(), StoreError> {
        let failed = |what| {
            let entry = &entry;
            move |e: Errno| io(what, parent.shown(&entry.name))(e)
        };
        let Content::Address(id) = entry.content else { return self.done(parent) };
        let at = parent.fd().ok_or(StoreError::Contended)?;
        mkdirat(&at, entry.name.as_slice(), Mode::RWXU).map_err(failed("make"))?;
        let fd = open_dir(&at, entry.name.as_slice()).map_err(failed("open"))?;
        if let Some(far) = parent.above(HELD - 1).filter(|far| far.depth >= SHARED) {
            far.forget();
        }
        let parent = Some(Arc::clone(parent));
        let directory = Directory::new(parent, entry.name.into(), fd, entry.mode, entry.mtime);
        self.list(pool, own, directory, &id)
    }

    /// Shares out what a directory holds.
    fn list(
        &self,
        pool: &Pool<Job>,
        own: &mut Vec<Job>,
        directory: Result<Directory, Errno>,
        id: &ContentId,
    ) -> Result<(), StoreError> {
        let directory = Arc::new(directory.map_err(io("look at", "a directory of the restored tree"))?);
        let (mut children, files): (Vec<_>, Vec<_>) =
            self.store.entries(id)?.into_iter().partition(|e| e.kind == NodeKind::Directory);
        let (mut batches, mut bytes) = (vec![Vec::new()], 0);
        for file in files {
            let (count, most) = BATCH;
            if batches.last().is_some_and(|b| b.len() >= count || (bytes > 0 && bytes + file.size > most)) {
                batches.push(Vec::new());
                bytes = 0;
            }
            bytes += file.size;
            batches.last_mut().into_iter().for_each(|batch| batch.push(file.clone()));
        }
        directory.pending.fetch_add(children.len() + batches.len(), Ordering::AcqRel);
        if !children.is_empty() {
            children.reverse();
            give(pool, own, &directory, Job::Children(Arc::clone(&directory), children));
        }
        let first = batches.swap_remove(0);
        for batch in batches {
            give(pool, own, &directory, Job::Files(Arc::clone(&directory), batch));
        }
        self.files(&directory, &first)?;
        self.done(&directory)
    }

    fn files(&self, directory: &Arc<Directory>, entries: &[TreeEntry]) -> Result<(), StoreError> {
        let fd = directory.fd().ok_or(StoreError::Contended)?;
        for entry in entries {
            match (entry.link_group, &entry.content) {
                (Some(group), Content::Address(id)) => {
                    self.links
                        .make(group, id, directory, &entry.name, || self.make(&fd, directory, entry))?;
                }
                _ => self.make(&fd, directory, entry)?,
            }
        }
        Ok(())
    }

    /// Something of a directory is there; when all is, it gets its mode and time, and so on upwards.
    fn done(&self, directory: &Arc<Directory>) -> Result<(), StoreError> {
        let mut at = Arc::clone(directory);
        while at.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            let failed = |what| {
                let at = &at;
                move |e: Errno| io(what, at.shown(b""))(e)
            };
            let fd = at.close().map_err(failed("leave"))?;
            self.give(&fd).map_err(failed("give away"))?;
            fchmod(&fd, Mode::from_raw_mode(at.mode)).map_err(failed("set the mode of"))?;
            futimens(&fd, &times(at.mtime)).map_err(failed("set the time of"))?;
            match at.parent.clone() {
                Some(parent) => at = parent,
                None => break,
            }
        }
        Ok(())
    }

    /// Before the mode is set: until then nobody else could open it.
    fn give(&self, fd: &impl AsFd) -> Result<(), Errno> {
        self.owner.map_or(Ok(()), |(user, group)| fchown(fd, user, group))
    }

    fn make(&self, at: &OwnedFd, directory: &Directory, entry: &TreeEntry) -> Result<(), StoreError> {
        let on = || directory.shown(&entry.name);
        let failed = |what| move |e: Errno| io(what, on())(e);
        let name = entry.name.as_slice();
        match &entry.content {
            Content::Target(target) => {
                symlinkat(target.as_slice(), at, name).map_err(failed("make"))?;
                if let Some((user, group)) = self.owner {
                    chownat(at, name, user, group, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("give away"))?;
                }
                utimensat(at, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(failed("set the time of"))
            }
            Content::Address(id) => {
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = openat(at, name, flags, Mode::RUSR | Mode::WUSR).map_err(failed("make"))?;
                let file = File::from(fd);
                self.fill(&file, id, entry.size, &on)?;
                self.give(&file).map_err(failed("give away"))?;
                fchmod(&file, Mode::from_raw_mode(entry.mode)).map_err(failed("set the mode of"))?;
                futimens(&file, &times(entry.mtime)).map_err(failed("set the time of"))
            }
            Content::Unread => Err(StoreError::Damaged { what: on(), why: "it was never read" }),
        }
    }

    fn fill(
        &self,
        file: &File,
        id: &ContentId,
        size: u64,
        on: &dyn Fn() -> String,
    ) -> Result<(), StoreError> {
        let (mut at, mut hole) = (0, false);
        for piece in self.store.pieces(id, size)? {
            match piece {
                Piece::Hole(length) => {
                    at += length;
                    hole = true;
                }
                Piece::Chunk(id, length) => {
                    let bytes = self.store.chunk(&id, length)?;
                    file.write_all_at(&bytes, at).map_err(|e| io("write", on())(e))?;
                    at += u64::from(length);
                    hole = false;
                }
            }
        }
        if hole { ftruncate(file, size).map_err(|e| io("write", on())(e)) } else { Ok(()) }
    }
}

fn give(pool: &Pool<Job>, own: &mut Vec<Job>, directory: &Directory, job: Job) {
    if directory.depth < SHARED { pool.push(job) } else { own.push(job) }
}

fn times(mtime: (i64, u32)) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.0, tv_nsec: mtime.1.into() },
    }
}
