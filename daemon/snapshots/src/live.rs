//! A live directory as a tree. Every look starts at the root's descriptor and crosses neither
//! a link nor a mount; what stands there may change at any time and may be made by an enemy.

use crate::{
    Content, ContentId, NodeKind, Store, TreeEntry, TreeError, TreeSource,
    rights::{self, Owner},
    store::Stats,
};
use rustix::{
    fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    fs::{self, AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};
use std::{
    collections::HashMap,
    fs::File,
    io::Read,
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The kernel takes no longer path at once; longer ones are opened in pieces.
const PIECE: usize = 4000;
/// Names of things left out that are kept; a hostile tree must not fill memory with them.
const SKIPPED: usize = 1000;

/// How much of a directory is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Entries of one directory.
    pub entries: usize,
    /// Components of a path.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 1_000_000, depth: 4096 }
    }
}

/// Something that stands in the directory and is not part of the tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Skipped {
    /// Relative to the root.
    pub path: Vec<u8>,
    /// Why it is left out.
    pub why: &'static str,
}

/// A live directory.
#[derive(Debug)]
pub struct LiveTree {
    root: OwnedFd,
    device: u64,
    limits: Limits,
    owner: Option<Owner>,
    known: Option<Stats>,
    /// Where in `known` the last file was found.
    hint: AtomicUsize,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    skipped: std::collections::BTreeSet<Skipped>,
    groups: HashMap<u64, u32>,
}

impl LiveTree {
    /// Opens the directory at `path`. No link on the way is followed: who may write to a directory
    /// above could lead elsewhere with one.
    ///
    /// # Errors
    /// When no directory stands there.
    pub fn open(path: &Path) -> Result<Self, TreeError> {
        let root = open_root(path).map_err(|e| failed(b"", e))?;
        Self::from_fd(root, Limits::default())
    }

    /// Opens the directory at `path` and reads it with the rights of `owner` and no others, each
    /// time it is looked at and wherever that is done.
    ///
    /// # Errors
    /// When no directory stands there, or the owner may not read it, or nobody can be acted for.
    pub fn open_as(path: &Path, owner: &Owner) -> Result<Self, TreeError> {
        let tree = rights::as_owner(owner, || Self::open(path)).map_err(|e| unable(b"", &e))??;
        Ok(Self { owner: Some(owner.clone()), ..tree })
    }

    /// Reads what is in the tree with the rights of `owner` and no others, whoever may come to it.
    #[must_use]
    pub fn acting(self, owner: &Owner) -> Self {
        Self { owner: Some(owner.clone()), ..self }
    }

    /// The tree of an open directory.
    ///
    /// # Errors
    /// When the descriptor is not a directory's.
    pub fn from_fd(root: OwnedFd, limits: Limits) -> Result<Self, TreeError> {
        let stat = fs::fstat(&root).map_err(|e| failed(b"", e))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Err(failed(b"", Errno::NOTDIR));
        }
        let hint = AtomicUsize::new(0);
        Ok(Self { root, device: stat.st_dev, limits, owner: None, known: None, hint, seen: Mutex::default() })
    }

    /// Takes files that look as they did when `store` last recorded this directory for what they
    /// were then, as the next snapshot does. Their entries have addresses, and a comparison with
    /// that snapshot reads only what changed.
    #[must_use]
    pub fn knowing(self, store: &Store) -> Self {
        // Who cannot be looked at is not known.
        let known = fs::fstat(&self.root).ok().map(|root| Stats::load(store, &root));
        Self { known, ..self }
    }

    /// The address of a file that looks as it did.
    fn address(&self, stat: &Stat) -> Option<ContentId> {
        let mut hint = self.hint.load(Ordering::Relaxed);
        let found = self.known.as_ref()?.find(stat, &mut hint)?;
        self.hint.store(hint, Ordering::Relaxed);
        Some(found)
    }

    /// What was left out of the directories listed so far: FIFOs, sockets, devices and what is
    /// mounted in the tree.
    #[must_use]
    pub fn skipped(&self) -> Vec<Skipped> {
        self.seen().skipped.iter().cloned().collect()
    }

    /// The entry at a path; none: nothing stands there, or nothing that is part of a tree.
    pub(crate) fn at(&self, path: &[u8]) -> Result<Option<TreeEntry>, TreeError> {
        let (parent, name) = split(path);
        self.looked(path, || {
            let found =
                open_directory(self.root.as_fd(), parent).and_then(|fd| self.entry(fd.as_fd(), parent, name));
            match found {
                Err(Errno::NOENT) => Ok(None),
                other => other.map_err(|e| failed(path, e)),
            }
        })
    }

    /// With the rights of whom the tree is read for.
    fn looked<T>(&self, path: &[u8], look: impl FnOnce() -> Result<T, TreeError>) -> Result<T, TreeError> {
        rights::acting_for(self.owner.as_ref(), look).map_err(|e| unable(path, &e))?
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Both collections are whole after any single insertion.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn skip(&self, path: Vec<u8>, why: &'static str) {
        let mut seen = self.seen();
        if seen.skipped.len() < SKIPPED {
            seen.skipped.insert(Skipped { path, why });
        }
    }

    fn entry(&self, dir: BorrowedFd<'_>, at: &[u8], name: &[u8]) -> Result<Option<TreeEntry>, Errno> {
        let stat = match fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // It went since it was listed: then it is not part of the tree.
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(e),
        };
        let path = || join(at, name);
        if stat.st_dev != self.device {
            self.skip(path(), "another filesystem is mounted there");
            return Ok(None);
        }
        let (kind, content) = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => (NodeKind::Directory, Content::Unread),
            FileType::RegularFile => {
                (NodeKind::File, self.address(&stat).map_or(Content::Unread, Content::Address))
            }
            FileType::Symlink => match fs::readlinkat(dir, name, Vec::new()) {
                Ok(target) => (NodeKind::Symlink, Content::Target(target.into_bytes())),
                Err(Errno::NOENT) => return Ok(None),
                Err(e) => return Err(e),
            },
            kind => {
                self.skip(path(), special(kind));
                return Ok(None);
            }
        };
        let size = match &content {
            Content::Target(target) => target.len() as u64,
            _ if kind == NodeKind::File => u64::try_from(stat.st_size).unwrap_or(0),
            _ => 0,
        };
        Ok(Some(TreeEntry {
            name: name.to_vec(),
            kind,
            mode: stat.st_mode & 0o777,
            mtime: (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0)),
            size,
            content,
            link_group: (kind == NodeKind::File && stat.st_nlink > 1).then(|| self.group(stat.st_ino)),
        }))
    }

    fn group(&self, inode: u64) -> u32 {
        let groups = &mut self.seen().groups;
        let next = u32::try_from(groups.len()).unwrap_or(u32::MAX);
        *groups.entry(inode).or_insert(next)
    }
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// The root of a tree, with no link anywhere in its path.
pub(crate) fn open_root(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = DIRECTORY.union(OFlags::NOFOLLOW);
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    fs::openat2(fs::CWD, path, flags, Mode::empty(), resolve)
}

fn special(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "of an unknown kind",
    }
}

/// `at` and `name` as one path.
pub(crate) fn join(at: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(at.len() + 1 + name.len());
    path.extend_from_slice(at);
    if !at.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// The parent and the last component of a path; the root has none.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

fn unable(path: &[u8], error: &rights::RightsError) -> TreeError {
    TreeError { path: path.to_vec(), reason: error.to_string(), absent: false }
}

fn failed(path: &[u8], errno: Errno) -> TreeError {
    let reason = match errno {
        Errno::LOOP => "a symbolic link stands in the way".to_owned(),
        Errno::XDEV => "another filesystem is mounted there".to_owned(),
        other => std::io::Error::from(other).to_string(),
    };
    let absent = matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP);
    TreeError { path: path.to_vec(), reason, absent }
}

/// Opens `path` below `root`, following no link and crossing no mount.
pub(crate) fn open_beneath(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut rest = path;
    let mut held: Option<OwnedFd> = None;
    while rest.len() > PIECE {
        let Some(cut) = rest[..PIECE].iter().rposition(|b| *b == b'/') else {
            return Err(Errno::NAMETOOLONG);
        };
        let at = held.as_ref().map_or(root, |fd| fd.as_fd());
        held = Some(fs::openat2(at, &rest[..cut], DIRECTORY | OFlags::NOFOLLOW, Mode::empty(), resolve)?);
        rest = &rest[cut + 1..];
    }
    let at = held.as_ref().map_or(root, |fd| fd.as_fd());
    let name: &[u8] = if rest.is_empty() { b"." } else { rest };
    // The kernel asks for another try when something was renamed while it walked.
    for _ in 0..64 {
        match fs::openat2(at, name, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// Opens the directory at `path` below `root`.
pub(crate) fn open_directory(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    open_beneath(root, path, DIRECTORY)
}

impl TreeSource for LiveTree {
    fn children(&self, path: &[u8]) -> Result<Vec<TreeEntry>, TreeError> {
        self.looked(path, || self.list(path))
    }

    fn read(&self, path: &[u8]) -> Result<Box<dyn Read + '_>, TreeError> {
        self.looked(path, || self.bytes(path))
    }
}

impl LiveTree {
    fn list(&self, path: &[u8]) -> Result<Vec<TreeEntry>, TreeError> {
        let fail = |e| failed(path, e);
        let too = |reason: String| TreeError { path: path.to_vec(), reason, absent: false };
        if !path.is_empty() && path.split(|b| *b == b'/').count() > self.limits.depth {
            return Err(too(format!("it lies deeper than {} directories", self.limits.depth)));
        }
        let fd = open_directory(self.root.as_fd(), path).map_err(fail)?;
        let mut found = Vec::new();
        // A second descriptor: the listing has a position, and the root's is shared.
        for listed in Dir::read_from(&fd).map_err(fail)? {
            let listed = listed.map_err(fail)?;
            let name = listed.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            if found.len() >= self.limits.entries {
                return Err(too(format!("it has more than {} entries", self.limits.entries)));
            }
            found.extend(self.entry(fd.as_fd(), path, name).map_err(|e| failed(&join(path, name), e))?);
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found.dedup_by(|a, b| a.name == b.name);
        Ok(found)
    }

    fn bytes(&self, path: &[u8]) -> Result<Box<dyn Read + '_>, TreeError> {
        let fail = |e| failed(path, e);
        // Looked at before it is opened: opening a device can do something.
        let look = open_beneath(self.root.as_fd(), path, OFlags::PATH).map_err(fail)?;
        let before = fs::fstat(&look).map_err(fail)?;
        let regular = |stat: &Stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let other =
            || TreeError { path: path.to_vec(), reason: "it is no regular file".into(), absent: true };
        if !regular(&before) {
            return Err(other());
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = match open_beneath(self.root.as_fd(), path, flags) {
            Err(Errno::ACCESS) if rights::acting_uid() == Some(before.st_uid) => {
                // Its owner could open it after a change of its mode. What was looked at is opened
                // itself, and not by its name.
                let itself = format!("/proc/self/fd/{}", look.as_raw_fd());
                let flags = flags | OFlags::CLOEXEC;
                rights::as_daemon(|| fs::open(itself, flags, Mode::empty()))
            }
            other => other,
        };
        let fd = fd.map_err(fail)?;
        let start = fs::fstat(&fd).map_err(fail)?;
        if !regular(&start) {
            return Err(other());
        }
        Ok(Box::new(Steady { file: File::from(fd), start }))
    }
}

/// Bytes of a file that stayed the same while they were read.
struct Steady {
    file: File,
    start: Stat,
}

impl Read for Steady {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            let now = fs::fstat(&self.file)?;
            let stamp = |s: &Stat| (s.st_size, s.st_mtime, s.st_mtime_nsec);
            if stamp(&now) != stamp(&self.start) {
                return Err(std::io::Error::other("the file changed while it was read"));
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
