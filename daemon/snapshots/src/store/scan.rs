//! The walk that records a tree: from directory to directory by descriptor, no link
//! followed, no filesystem left, a bounded number of descriptors at any depth.

use super::{
    disk::open_dir,
    entry::{Found, Recorder, entry, mtime},
    error::{StoreError, shown},
    file::Intake,
    limits::SnapshotRequest,
    object::{Kind, encode_tree},
    record::{NAMED_MOST, SkipReason, Skipped, Statistics},
    session::Session,
    share,
    stats::{Stamp, Stats},
};
use crate::tree::{Content, ContentId, NodeKind, TreeEntry};
use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    fs::{Dir, Stat, fstat},
    io::Errno,
};
use std::{
    collections::{HashMap, HashSet},
    sync::atomic::AtomicU64,
};

/// Descriptors held for the levels above; deeper down the way back is `..`, checked.
const HELD: usize = 64;

/// A recorded tree.
pub(super) struct Scanned {
    pub(super) root: ContentId,
    pub(super) root_mode: u32,
    pub(super) root_mtime: (i64, u32),
    pub(super) statistics: Statistics,
    pub(super) skipped: Vec<Skipped>,
    /// What the next snapshot need not read.
    pub(super) seen: Vec<(Stamp, ContentId)>,
    /// Whether that differs from what was known before.
    pub(super) seen_anew: bool,
}

pub(super) struct Scan<'a> {
    session: &'a Session<'a>,
    known: &'a Stats,
    request: &'a SnapshotRequest,
    budget: AtomicU64,
    device: u64,
    path: Vec<u8>,
    entries: u64,
    statistics: Statistics,
    skipped: Vec<Skipped>,
    seen: Vec<(Stamp, ContentId)>,
    links: HashMap<u64, TreeEntry>,
    groups: HashMap<u32, u64>,
    hidden: Hidden,
}

/// What stays out, by the directory that it is in.
type Hidden = HashMap<Vec<u8>, HashSet<Vec<u8>>>;

type Left = (ContentId, Stat, OwnedFd, Vec<u8>, usize);

struct Level {
    fd: Option<OwnedFd>,
    before: Stat,
    name: Vec<u8>,
    /// How much of the path is the way to the parent.
    above: usize,
    waiting: Vec<Vec<u8>>,
    done: Vec<TreeEntry>,
}

impl<'a> Scan<'a> {
    pub(super) fn new(
        session: &'a Session<'a>,
        known: &'a Stats,
        request: &'a SnapshotRequest,
        root: &Stat,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            session,
            known,
            request,
            budget: AtomicU64::new(request.limits.bytes),
            device: root.st_dev,
            path: Vec::new(),
            entries: 0,
            statistics: Statistics::default(),
            skipped: Vec::new(),
            seen: Vec::new(),
            links: HashMap::new(),
            groups: HashMap::new(),
            hidden: hidden(&request.leave_out)?,
        })
    }

    pub(super) fn run(mut self, root: BorrowedFd<'_>) -> Result<Scanned, StoreError> {
        let fd = open_dir(root, ".").map_err(self.unreadable())?;
        let stat = fstat(&fd).map_err(self.unreadable())?;
        if !request_may(self.request, &stat) {
            return Err(self.unreadable()(Errno::ACCESS));
        }
        let first = self.enter(fd, stat, Vec::new(), 0)?;
        let mut stack = vec![first];
        loop {
            let depth = stack.len() as u64;
            let Some(level) = stack.last_mut() else { return Err(StoreError::Contended) };
            if let Some(name) = level.waiting.pop() {
                let above = self.path.len();
                if above > 0 {
                    self.path.push(b'/');
                }
                self.path.extend_from_slice(&name);
                if depth > self.request.limits.depth {
                    return Err(self.limit("directories below each other", self.request.limits.depth));
                }
                let Some(at) = &level.fd else { return Err(StoreError::Contended) };
                match open_dir(at, name.as_slice()) {
                    Ok(fd) => {
                        let stat = fstat(&fd).map_err(self.unreadable())?;
                        let other = stat.st_dev != self.device;
                        if other || !request_may(self.request, &stat) {
                            self.skip(if other {
                                SkipReason::OtherFilesystem
                            } else {
                                SkipReason::Unreadable
                            });
                            self.path.truncate(above);
                            continue;
                        }
                        stack.push(self.enter(fd, stat, name, above)?);
                        if let Some(far) = stack.len().checked_sub(HELD).and_then(|i| stack.get_mut(i)) {
                            far.fd = None;
                        }
                    }
                    Err(Errno::ACCESS) if self.request.reader.is_some() => {
                        self.skip(SkipReason::Unreadable);
                        self.path.truncate(above);
                    }
                    // Removed, or exchanged for something else, since it was listed.
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                        self.statistics.unsettled += 1;
                        self.path.truncate(above);
                    }
                    Err(e) => return Err(self.unreadable()(e)),
                }
                continue;
            }
            let Some(level) = stack.pop() else { return Err(StoreError::Contended) };
            let (id, after, fd, name, above) = self.leave(level)?;
            let Some(parent) = stack.last_mut() else {
                return Ok(self.finish(id, &after));
            };
            if parent.fd.is_none() {
                let up = open_dir(&fd, "..").map_err(self.unreadable())?;
                let is = fstat(&up).map_err(self.unreadable())?;
                if (is.st_dev, is.st_ino) != (parent.before.st_dev, parent.before.st_ino) {
                    return Err(StoreError::Changing { path: shown(&self.path) });
                }
                parent.fd = Some(up);
            }
            let content = Content::Address(id);
            parent.done.push(entry(&name, NodeKind::Directory, &after, 0, content));
            self.statistics.directories += 1;
            self.path.truncate(above);
        }
    }

    fn unreadable<E: Into<std::io::Error>>(&self) -> impl FnOnce(E) -> StoreError {
        |e| StoreError::Unreadable { path: shown(&self.path), source: e.into() }
    }

    fn limit(&self, what: &'static str, limit: u64) -> StoreError {
        StoreError::Limit { what, limit, path: shown(&self.path) }
    }

    fn skip(&mut self, reason: SkipReason) {
        self.statistics.skipped += 1;
        if self.skipped.len() < NAMED_MOST {
            self.skipped.push(Skipped { path: self.path.clone(), reason });
        }
    }

    fn skip_below(&mut self, name: &[u8], reason: SkipReason) {
        let length = self.path.len();
        if length > 0 {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
        self.skip(reason);
        self.path.truncate(length);
    }

    /// Lists a directory and records all of it but its directories.
    fn enter(&mut self, fd: OwnedFd, before: Stat, name: Vec<u8>, above: usize) -> Result<Level, StoreError> {
        let mut level = Level { fd: None, before, name, above, waiting: Vec::new(), done: Vec::new() };
        let mut names = self.names(&fd)?;
        if let Some(hidden) = self.hidden.remove(&self.path) {
            for name in names.extract_if(.., |name| hidden.contains(name)) {
                self.skip_below(&name, SkipReason::Hidden);
            }
        }
        let found = self.record(&fd, &names)?;
        for (name, found) in names.into_iter().zip(found) {
            match found {
                Found::Directory => level.waiting.push(name),
                Found::Gone => self.statistics.unsettled += 1,
                Found::Entry(entry, None) => {
                    self.statistics.symlinks += 1;
                    level.done.push(entry);
                }
                Found::Entry(mut entry, Some(seen)) => {
                    self.statistics.files += 1;
                    self.statistics.bytes += entry.size;
                    self.statistics.read += u64::from(seen.read);
                    let again = seen.linked && self.links.contains_key(&seen.stamp.inode);
                    if seen.linked {
                        entry = self.group(entry, seen.stamp.inode);
                    }
                    if let (true, Content::Address(id)) = (seen.settled && !again, &entry.content) {
                        self.seen.push((seen.stamp, *id));
                    }
                    level.done.push(entry);
                }
                Found::Skip(reason) => self.skip_below(&name, reason),
            }
        }
        level.waiting.reverse();
        level.fd = Some(fd);
        Ok(level)
    }

    fn names(&mut self, fd: &OwnedFd) -> Result<Vec<Vec<u8>>, StoreError> {
        let limits = self.request.limits;
        let mut names = Vec::new();
        for found in Dir::read_from(fd).map_err(self.unreadable())? {
            let found = found.map_err(self.unreadable())?;
            let name = found.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            if names.len() as u64 >= limits.directory {
                return Err(self.limit("entries in one directory", limits.directory));
            }
            if self.entries >= limits.entries {
                return Err(self.limit("entries", limits.entries));
            }
            self.entries += 1;
            names.push(name.to_vec());
        }
        names.sort_unstable();
        // A directory that changes while it is listed may give a name twice.
        names.dedup();
        Ok(names)
    }

    /// Records names, by several threads where there are many.
    fn record(&self, fd: &OwnedFd, names: &[Vec<u8>]) -> Result<Vec<Found>, StoreError> {
        let recorder = Recorder {
            session: self.session,
            known: self.known,
            request: self.request,
            intake: Intake { session: self.session, budget: &self.budget },
            device: self.device,
        };
        let one = |name: &Vec<u8>| {
            let path = || {
                if self.path.is_empty() {
                    shown(name)
                } else {
                    format!("{}/{}", shown(&self.path), shown(name))
                }
            };
            recorder.record(fd.as_fd(), name, &path)
        };
        share::each(names, one)
    }

    /// Makes the names of one inode one file: with the content that was recorded first.
    fn group(&mut self, mut entry: TreeEntry, inode: u64) -> TreeEntry {
        if let Some(first) = self.links.get(&inode) {
            return TreeEntry { name: entry.name, ..first.clone() };
        }
        // Named after the first path, so that what happens elsewhere in the tree renames no group.
        let mut whole = self.path.clone();
        whole.push(b'/');
        whole.extend_from_slice(&entry.name);
        let hash = blake3::hash(&whole);
        let mut number = hash.as_bytes().first_chunk().map_or(0, |c| u32::from_le_bytes(*c));
        while self.groups.contains_key(&number) {
            number = number.wrapping_add(1);
        }
        self.groups.insert(number, inode);
        entry.link_group = Some(number);
        self.links.insert(inode, TreeEntry { name: Vec::new(), ..entry.clone() });
        entry
    }

    fn leave(&mut self, level: Level) -> Result<Left, StoreError> {
        let Level { fd, before, name, above, mut done, .. } = level;
        let fd = fd.ok_or(StoreError::Contended)?;
        let after = fstat(&fd).map_err(self.unreadable())?;
        if mtime(&after) != mtime(&before) {
            self.statistics.unsettled += 1;
        }
        done.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let bytes = encode_tree(&done);
        if bytes.len() > Kind::Tree.most() as usize {
            return Err(self.limit("bytes of names in one directory", Kind::Tree.most().into()));
        }
        let id = self.session.put(Kind::Tree, &bytes)?;
        Ok((id, after, fd, name, above))
    }

    fn finish(mut self, root: ContentId, stat: &Stat) -> Scanned {
        self.skipped.sort_by(|a, b| a.path.cmp(&b.path));
        let seen_anew = self.statistics.read > 0 || self.known.len() != self.seen.len();
        Scanned {
            root,
            root_mode: stat.st_mode & 0o777,
            root_mtime: mtime(stat),
            statistics: self.statistics,
            skipped: self.skipped,
            seen: self.seen,
            seen_anew,
        }
    }
}

fn request_may(request: &SnapshotRequest, directory: &Stat) -> bool {
    request.reader.is_none_or(|reader| reader.may(directory))
}

fn hidden(paths: &[Vec<u8>]) -> Result<Hidden, StoreError> {
    let mut all = Hidden::new();
    for path in paths {
        let wrong = |part: &[u8]| matches!(part, b"" | b"." | b"..") || part.contains(&0);
        if path.split(|b| *b == b'/').any(wrong) {
            return Err(StoreError::LeaveOut(shown(path)));
        }
        let (above, name) = match path.iter().rposition(|b| *b == b'/') {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&path[..0], path.as_slice()),
        };
        all.entry(above.to_vec()).or_default().insert(name.to_vec());
    }
    Ok(all)
}
