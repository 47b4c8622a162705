//! A snapshot put back. Every name is made, never written over, and reached from the
//! directory above it without following a link; the directories take their modes and times
//! when all below them is there.

use super::{
    Store,
    disk::open_dir,
    error::{StoreError, io, shown},
    object::Piece,
    record::SnapshotId,
    share,
};
use crate::tree::{Content, ContentId, NodeKind, TreeEntry};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{
        AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, chownat, fchmod, fchown, ftruncate,
        futimens, linkat, mkdirat, openat, symlinkat, utimensat,
    },
    io::Errno,
    process::{Gid, Uid},
};
use std::{collections::HashMap, fs::File, os::unix::fs::FileExt as _, path::Path};

/// Descriptors held for the levels above; deeper down the way back is `..`, checked.
const HELD: usize = 64;

struct Level {
    fd: Option<OwnedFd>,
    is: (u64, u64),
    above: usize,
    mode: u32,
    mtime: (i64, u32),
    waiting: Vec<TreeEntry>,
}

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
    path: Vec<u8>,
    /// Where the first name of each inode was made.
    links: HashMap<u32, (Vec<u8>, ContentId)>,
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
        let mut restore = Restore { store: self, owner, path: Vec::new(), links: HashMap::new() };
        let (mode, mtime) = (snapshot.root_mode, snapshot.root_mtime);
        restore.run(&root, snapshot.root, mode, mtime)
    }
}

impl Restore<'_> {
    fn run(&mut self, root: &OwnedFd, id: ContentId, mode: u32, mtime: (i64, u32)) -> Result<(), StoreError> {
        let fd = open_dir(root, ".").map_err(self.failed("open"))?;
        let mut stack = vec![self.enter(fd, id, 0, mode, mtime)?];
        while let Some(level) = stack.last_mut() {
            let Some(entry) = level.waiting.pop() else {
                let Some(Level { fd: Some(fd), mode, mtime, above, .. }) = stack.pop() else { break };
                if let Some(parent) = stack.last_mut().filter(|p| p.fd.is_none()) {
                    let up = open_dir(&fd, "..").map_err(self.failed("leave"))?;
                    if identity(&up).map_err(self.failed("leave"))? != parent.is {
                        return Err(self.failed("leave")(Errno::STALE));
                    }
                    parent.fd = Some(up);
                }
                self.give(&fd).map_err(self.failed("give away"))?;
                fchmod(&fd, Mode::from_raw_mode(mode)).map_err(self.failed("set the mode of"))?;
                futimens(&fd, &times(mtime)).map_err(self.failed("set the time of"))?;
                self.path.truncate(above);
                continue;
            };
            let above = self.path.len();
            if above > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(&entry.name);
            let (Some(at), Content::Address(id)) = (&level.fd, &entry.content) else { continue };
            mkdirat(at, entry.name.as_slice(), Mode::RWXU).map_err(self.failed("make"))?;
            let fd = open_dir(at, entry.name.as_slice()).map_err(self.failed("open"))?;
            let child = self.enter(fd, *id, above, entry.mode, entry.mtime)?;
            stack.push(child);
            if let Some(far) = stack.len().checked_sub(HELD).and_then(|i| stack.get_mut(i)) {
                far.fd = None;
            }
        }
        Ok(())
    }

    fn failed<E: Into<std::io::Error>>(&self, what: &'static str) -> impl FnOnce(E) -> StoreError {
        move |e| io(what, format!("{:?} of the restored tree", shown(&self.path)))(e)
    }

    /// Before the mode is set: until then nobody else could open it.
    fn give(&self, fd: &impl AsFd) -> Result<(), Errno> {
        self.owner.map_or(Ok(()), |(user, group)| fchown(fd, user, group))
    }

    /// Makes all of a directory but its directories.
    fn enter(
        &mut self,
        fd: OwnedFd,
        id: ContentId,
        above: usize,
        mode: u32,
        mtime: (i64, u32),
    ) -> Result<Level, StoreError> {
        let (mut waiting, rest): (Vec<_>, Vec<_>) =
            self.store.entries(&id)?.into_iter().partition(|e| e.kind == NodeKind::Directory);
        waiting.reverse();
        let (linked, plain): (Vec<_>, Vec<_>) = rest.into_iter().partition(|e| e.link_group.is_some());
        share::each(&plain, |entry| self.make(&fd, entry))?;
        for entry in &linked {
            self.link(&fd, entry)?;
        }
        let is = identity(&fd).map_err(self.failed("look at"))?;
        Ok(Level { fd: Some(fd), is, above, mode, mtime, waiting })
    }

    fn named(&self, entry: &TreeEntry) -> Vec<u8> {
        let mut path = self.path.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(&entry.name);
        path
    }

    fn make(&self, at: &OwnedFd, entry: &TreeEntry) -> Result<(), StoreError> {
        let on = || format!("{:?} of the restored tree", shown(&self.named(entry)));
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

    /// Makes a file of several names, or another name for it.
    fn link(&mut self, at: &OwnedFd, entry: &TreeEntry) -> Result<(), StoreError> {
        let (Some(group), Content::Address(id)) = (entry.link_group, &entry.content) else {
            return self.make(at, entry);
        };
        let path = self.named(entry);
        let Some((first, had)) = self.links.get(&group) else {
            self.links.insert(group, (path, *id));
            return self.make(at, entry);
        };
        if had != id {
            let what = format!("{:?}", shown(&path));
            return Err(StoreError::Damaged { what, why: "names of one file have different contents" });
        }
        // From the directory at hand to the first name: both below the root, each step without a link.
        let failed = || io("link", format!("{:?} of the restored tree", shown(&path)));
        let (up, down) = apart(&self.path, first);
        let mut dir = open_dir(at, ".").map_err(failed())?;
        for _ in 0..up {
            dir = open_dir(&dir, "..").map_err(failed())?;
        }
        let (parent, name) = match down.iter().rposition(|b| *b == b'/') {
            Some(end) => (&down[..end], &down[end + 1..]),
            None => (&down[..0], down),
        };
        let dir = beneath(&dir, parent).map_err(failed())?;
        linkat(&dir, name, at, entry.name.as_slice(), AtFlags::empty()).map_err(failed())
    }
}

/// How many levels up from the directory `here`, and which path down from there, `there` is.
fn apart<'a>(here: &[u8], there: &'a [u8]) -> (usize, &'a [u8]) {
    let mut rest = there;
    let mut parts = here.split(|b| *b == b'/').filter(|p| !p.is_empty()).peekable();
    while let Some(part) = parts.peek() {
        match rest.strip_prefix(*part).and_then(|r| r.strip_prefix(b"/")) {
            Some(shorter) => rest = shorter,
            None => break,
        }
        parts.next();
    }
    (parts.count(), rest)
}

fn identity(fd: &OwnedFd) -> Result<(u64, u64), Errno> {
    rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino))
}

/// Opens the directory at a relative path, step by step, through no link.
fn beneath(root: &impl AsFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let mut at = open_dir(root, ".")?;
    for part in path.split(|b| *b == b'/').filter(|p| !p.is_empty()) {
        at = open_dir(&at, part)?;
    }
    Ok(at)
}

fn times(mtime: (i64, u32)) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.0, tv_nsec: mtime.1.into() },
    }
}
