//! The walk that records a tree: from directory to directory by descriptor, no link
//! followed, no filesystem left, a bounded number of descriptors at any depth. Near the root the
//! directories are shared by several threads; what lies deep is done by the thread that came there.

mod links;
mod names;
mod node;

use super::{
    disk::open_dir,
    entry::{Found, Recorded, Recorder, mtime},
    error::{StoreError, shown},
    file::Intake,
    limits::SnapshotRequest,
    object::{Facts, Kind, Slot, put_link, put_node, set_file},
    pool::{self, Pool},
    record::{NAMED_MOST, SkipReason, Skipped, Statistics},
    session::Session,
    stats::{Stamp, Stats},
};
use crate::tree::ContentId;
use links::Links;
use names::Names;
use node::{Node, Part, Place};
use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    fs::{FileType, Stat, fstat},
    io::Errno,
};
use std::{
    collections::{BTreeMap, HashMap},
    ffi::{CStr, CString},
    mem::MaybeUninit,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Directories above this depth are anybody's.
const SHARED: usize = 16;
/// Descriptors held for the levels above; deeper down the way back is `..`, checked.
const HELD: usize = 32;
/// Names that are recorded as one piece of work.
const BATCH: usize = 256;

/// A recorded tree.
pub(super) struct Scanned {
    pub(super) root: ContentId,
    pub(super) root_mode: u32,
    pub(super) root_mtime: (i64, u32),
    pub(super) statistics: Statistics,
    pub(super) skipped: Vec<Skipped>,
    /// What the next snapshot need not read, and this one had to.
    pub(super) fresh: Vec<(Stamp, ContentId)>,
    /// Whether what was known before is not what is known now.
    pub(super) anew: bool,
}

pub(super) struct Scan<'a> {
    session: &'a Session<'a>,
    known: &'a Stats,
    request: &'a SnapshotRequest,
    hidden: &'a Hidden,
    budget: AtomicU64,
    device: u64,
    entries: AtomicU64,
    skipped: Mutex<BTreeMap<Vec<u8>, SkipReason>>,
    links: Links<'a>,
    /// Closed directories that wait for all links to be seen, the deeper ones first.
    waiting: Mutex<Vec<(Arc<Node<'a>>, Facts)>>,
    root: Mutex<Option<(ContentId, Facts)>>,
}

/// What stays out of a directory: by name, all of it or something below.
#[derive(Default)]
pub(super) struct Hidden {
    below: HashMap<Vec<u8>, Hidden>,
    all: bool,
}

enum Job<'a> {
    Root(OwnedFd, Stat),
    /// Directories of a directory, the first one last.
    Children(Arc<Node<'a>>, Vec<(Box<[u8]>, Place)>),
    /// Some of a directory's names.
    Names(Arc<Node<'a>>, Arc<Names>, usize),
    /// A long file.
    File(Arc<Node<'a>>, CString, Place, Slot),
}

struct Worker<'s, 'a> {
    recorder: Recorder<'s>,
    statistics: Statistics,
    fresh: Vec<(Stamp, ContentId)>,
    buffer: Vec<MaybeUninit<u8>>,
    /// Work at a depth where nobody else goes.
    own: Vec<Job<'a>>,
}

impl<'a> Scan<'a> {
    pub(super) fn new(
        session: &'a Session<'a>,
        known: &'a Stats,
        request: &'a SnapshotRequest,
        hidden: &'a Hidden,
        root: &Stat,
    ) -> Self {
        Self {
            session,
            known,
            request,
            hidden,
            budget: AtomicU64::new(request.limits.bytes),
            device: root.st_dev,
            entries: AtomicU64::new(0),
            skipped: Mutex::default(),
            links: Links::default(),
            waiting: Mutex::default(),
            root: Mutex::default(),
        }
    }

    pub(super) fn run(self, root: BorrowedFd<'_>) -> Result<Scanned, StoreError> {
        let unreadable = |e: Errno| StoreError::Unreadable { path: String::new(), source: e.into() };
        let fd = open_dir(root, ".").map_err(unreadable)?;
        let stat = fstat(&fd).map_err(unreadable)?;
        if !self.may(&stat) {
            return Err(unreadable(Errno::ACCESS));
        }
        let workers = pool::run(
            Job::Root(fd, stat),
            || self.worker(),
            |pool, worker, job| {
                self.job(pool, worker, job)?;
                while let Some(job) = worker.own.pop() {
                    self.job(pool, worker, job)?;
                }
                Ok(())
            },
        )?;
        let (mut statistics, mut fresh) = (Statistics::default(), Vec::new());
        for worker in workers {
            statistics.add(&worker.statistics);
            fresh.extend(worker.fresh);
        }
        self.finish(statistics, fresh)
    }

    fn worker(&self) -> Worker<'_, 'a> {
        let recorder = Recorder {
            session: self.session,
            known: self.known,
            request: self.request,
            intake: Intake { session: self.session, budget: &self.budget },
            device: self.device,
            hint: 0,
            traceless: true,
        };
        Worker {
            recorder,
            statistics: Statistics::default(),
            fresh: Vec::new(),
            buffer: vec![MaybeUninit::uninit(); names::BUFFER],
            own: Vec::new(),
        }
    }

    fn job(&self, pool: &Pool<Job<'a>>, worker: &mut Worker<'_, 'a>, job: Job<'a>) -> Result<(), StoreError> {
        match job {
            Job::Root(fd, stat) => {
                self.list(pool, worker, None, Box::default(), fd, &stat, Some(self.hidden))
            }
            Job::Children(node, mut waiting) => {
                let Some((name, place)) = waiting.pop() else { return Ok(()) };
                if !waiting.is_empty() {
                    worker.give(pool, &node, Job::Children(Arc::clone(&node), waiting));
                }
                self.enter(pool, worker, &node, name, place)
            }
            Job::Names(node, names, part) => self.names(pool, worker, &node, &names, part),
            Job::File(node, name, place, slot) => self.file(worker, &node, &name, place, slot),
        }
    }

    fn may(&self, directory: &Stat) -> bool {
        self.request.reader.is_none_or(|reader| reader.may(directory))
    }

    fn skip(&self, worker: &mut Worker<'_, 'a>, path: Vec<u8>, reason: SkipReason) {
        worker.statistics.skipped += 1;
        let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        skipped.insert(path, reason);
        if skipped.len() > NAMED_MOST {
            skipped.pop_last();
        }
    }

    /// Opens a directory and records it, as far as this thread comes.
    fn enter(
        &self,
        pool: &Pool<Job<'a>>,
        worker: &mut Worker<'_, 'a>,
        parent: &Arc<Node<'a>>,
        name: Box<[u8]>,
        place: Place,
    ) -> Result<(), StoreError> {
        let unreadable = |e: Errno| StoreError::Unreadable { path: parent.shown(&name), source: e.into() };
        if parent.depth as u64 >= self.request.limits.depth {
            let (what, limit) = ("directories below each other", self.request.limits.depth);
            return Err(StoreError::Limit { what, limit, path: parent.shown(&name) });
        }
        let at = parent.fd().ok_or(StoreError::Contended)?;
        let skipped = match open_dir(&at, &*name) {
            Ok(fd) => {
                let stat = fstat(&fd).map_err(unreadable)?;
                if stat.st_dev != self.device {
                    Some(SkipReason::OtherFilesystem)
                } else if self.may(&stat) {
                    if let Some(far) = parent.above(HELD - 1).filter(|far| far.depth >= SHARED) {
                        far.state().fd = None;
                    }
                    let hidden = parent.hidden.and_then(|hidden| hidden.below.get(&*name));
                    return self.list(pool, worker, Some((parent, place)), name, fd, &stat, hidden);
                } else {
                    Some(SkipReason::Unreadable)
                }
            }
            // Removed, or exchanged for something else, since it was listed.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => None,
            Err(Errno::ACCESS) if self.request.reader.is_some() => Some(SkipReason::Unreadable),
            Err(e) => return Err(unreadable(e)),
        };
        match skipped {
            Some(reason) => self.skip(worker, parent.below(&name), reason),
            None => worker.statistics.unsettled += 1,
        }
        parent.take_out(place, &name, Slot::Directory);
        self.done(worker, parent)
    }

    #[allow(clippy::too_many_arguments, reason = "what a directory is made of")]
    fn list(
        &self,
        pool: &Pool<Job<'a>>,
        worker: &mut Worker<'_, 'a>,
        parent: Option<(&Arc<Node<'a>>, Place)>,
        name: Box<[u8]>,
        fd: OwnedFd,
        stat: &Stat,
        hidden: Option<&'a Hidden>,
    ) -> Result<(), StoreError> {
        let limits = &self.request.limits;
        let shown = || parent.map_or(String::new(), |(parent, _)| parent.shown(&name));
        let limit = |what, limit| StoreError::Limit { what, limit, path: shown() };
        let mut listed =
            Names::read(&fd, limits, names::MOST, &mut worker.buffer).map_err(|fault| match fault {
                names::Fault::Io(e) => StoreError::Unreadable { path: shown(), source: e.into() },
                names::Fault::Limit(what, most) => limit(what, most),
            })?;
        let more = listed.len() as u64;
        if self.entries.fetch_add(more, Ordering::Relaxed) + more > limits.entries {
            return Err(limit("entries", limits.entries));
        }
        let mut gone = Vec::new();
        if let Some(hidden) = hidden {
            listed.remove(|name| {
                let out = hidden.below.get(name).is_some_and(|hidden| hidden.all);
                if out {
                    gone.push(name.to_vec());
                }
                out
            });
        }
        let parts = listed.len().div_ceil(BATCH).max(1);
        let node = Arc::new(Node::new(parent, name, fd, stat, hidden, parts));
        for name in gone {
            self.skip(worker, node.below(&name), SkipReason::Hidden);
        }
        let listed = Arc::new(listed);
        for part in (1..parts).rev() {
            worker.give(pool, &node, Job::Names(Arc::clone(&node), Arc::clone(&listed), part));
        }
        self.names(pool, worker, &node, &listed, 0)
    }

    /// Records a part of a directory's names, all but its directories and long files.
    fn names(
        &self,
        pool: &Pool<Job<'a>>,
        worker: &mut Worker<'_, 'a>,
        node: &Arc<Node<'a>>,
        names: &Names,
        number: usize,
    ) -> Result<(), StoreError> {
        let fd = node.fd().ok_or(StoreError::Contended)?;
        let (mut part, mut children, mut files) = (Part::default(), Vec::new(), Vec::new());
        let place = |at| Place { part: number, at };
        for (name, kind) in names.range(number * BATCH, (number + 1) * BATCH) {
            let bytes = name.to_bytes();
            let found = match kind {
                FileType::Directory => Found::Directory,
                _ => worker.recorder.record(fd.as_fd(), name, false, &|| node.shown(bytes))?,
            };
            match found {
                Found::Directory => {
                    let at = put_node(&mut part.bytes, bytes, Slot::Directory);
                    children.push((bytes.into(), place(at)));
                }
                Found::File(file) => {
                    let slot = Slot::file(file.stat.st_nlink > 1);
                    let at = put_node(&mut part.bytes, bytes, slot);
                    let facts = worker.count(&file);
                    if slot == Slot::Linked {
                        part.links.push((at, file.stat.st_ino));
                        self.links.note(file.stat.st_ino, node, bytes, facts, file.id);
                    } else {
                        set_file(&mut part.bytes[at..], &facts, None, &file.id);
                    }
                }
                Found::Long(stat) => {
                    let slot = Slot::file(stat.st_nlink > 1);
                    let at = put_node(&mut part.bytes, bytes, slot);
                    files.push(Job::File(Arc::clone(node), name.to_owned(), place(at), slot));
                }
                Found::Symlink(stat, target) => {
                    worker.statistics.symlinks += 1;
                    // A link has no mode of its own.
                    let facts = Facts { mode: 0o777, mtime: mtime(&stat), size: target.len() as u64 };
                    put_link(&mut part.bytes, bytes, &facts, &target);
                }
                Found::Skip(reason) => self.skip(worker, node.below(bytes), reason),
                Found::Gone => worker.statistics.unsettled += 1,
            }
        }
        if let Some(empty) = node.state().parts.get_mut(number) {
            *empty = part;
        }
        let more = files.len() + children.len();
        node.pending.fetch_add(more, Ordering::AcqRel);
        if !children.is_empty() {
            children.reverse();
            worker.give(pool, node, Job::Children(Arc::clone(node), children));
        }
        files.into_iter().rev().for_each(|job| worker.give(pool, node, job));
        self.done(worker, node)
    }

    fn file(
        &self,
        worker: &mut Worker<'_, 'a>,
        node: &Arc<Node<'a>>,
        name: &CStr,
        place: Place,
        slot: Slot,
    ) -> Result<(), StoreError> {
        let fd = node.fd().ok_or(StoreError::Contended)?;
        let bytes = name.to_bytes();
        let found = worker.recorder.record(fd.as_fd(), name, true, &|| node.shown(bytes))?;
        match found {
            Found::File(file) => {
                let facts = worker.count(&file);
                if slot == Slot::Linked {
                    if let Some(part) = node.state().parts.get_mut(place.part) {
                        part.links.push((place.at, file.stat.st_ino));
                    }
                    self.links.note(file.stat.st_ino, node, bytes, facts, file.id);
                } else {
                    node.set_file(place, &facts, &file.id);
                }
            }
            other => {
                node.take_out(place, bytes, slot);
                match other {
                    Found::Skip(reason) => self.skip(worker, node.below(bytes), reason),
                    // Gone, or exchanged for something else, since it was listed.
                    _ => worker.statistics.unsettled += 1,
                }
            }
        }
        self.done(worker, node)
    }

    /// Something of a directory is done; when it was the last, the directory is, and so on upwards.
    fn done(&self, worker: &mut Worker<'_, 'a>, node: &Arc<Node<'a>>) -> Result<(), StoreError> {
        let mut node = Arc::clone(node);
        while node.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            let parent = node.parent.clone();
            self.close(worker, &node, parent.as_deref())?;
            match parent {
                Some(parent) => node = parent,
                None => break,
            }
        }
        Ok(())
    }

    fn close(
        &self,
        worker: &mut Worker<'_, 'a>,
        node: &Arc<Node<'a>>,
        parent: Option<&Node<'a>>,
    ) -> Result<(), StoreError> {
        let unreadable = |e: Errno| StoreError::Unreadable { path: shown(&node.path()), source: e.into() };
        let fd = node.state().fd.take().ok_or(StoreError::Contended)?;
        let stat = fstat(&fd).map_err(unreadable)?;
        if mtime(&stat) != node.mtime {
            worker.statistics.unsettled += 1;
        }
        if let Some(parent) = parent {
            worker.statistics.directories += 1;
            let mut above = parent.state();
            if above.fd.is_none() {
                let up = open_dir(&fd, "..").map_err(unreadable)?;
                let is = fstat(&up).map_err(unreadable)?;
                if (is.st_dev, is.st_ino) != parent.is {
                    return Err(StoreError::Changing { path: shown(&node.path()) });
                }
                above.fd = Some(Arc::new(up));
            }
        }
        let facts = Facts { mode: stat.st_mode, mtime: mtime(&stat), size: 0 };
        let waits = {
            let mut state = node.state();
            state.waits |= state.parts.iter().any(|part| !part.links.is_empty());
            state.waits
        };
        if !waits {
            return self.store(node, parent, facts);
        }
        if let Some(parent) = parent {
            parent.state().waits = true;
        }
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push((Arc::clone(node), facts));
        Ok(())
    }

    fn store(&self, node: &Node<'a>, parent: Option<&Node<'a>>, facts: Facts) -> Result<(), StoreError> {
        let bytes = node.state().whole();
        if bytes.len() > Kind::Tree.most() as usize {
            let (what, limit) = ("bytes of names in one directory", Kind::Tree.most().into());
            return Err(StoreError::Limit { what, limit, path: shown(&node.path()) });
        }
        let id = self.session.put(Kind::Tree, &bytes)?;
        match parent {
            Some(parent) => parent.set_directory(node.place, &facts, &id),
            None => *self.root.lock().unwrap_or_else(PoisonError::into_inner) = Some((id, facts)),
        }
        Ok(())
    }

    fn finish(
        mut self,
        statistics: Statistics,
        fresh: Vec<(Stamp, ContentId)>,
    ) -> Result<Scanned, StoreError> {
        let waiting = std::mem::take(self.waiting.get_mut().unwrap_or_else(PoisonError::into_inner));
        let links = std::mem::take(&mut self.links).settle();
        for (node, facts) in waiting {
            links.fill(&node);
            self.store(&node, node.parent.as_deref(), facts)?;
        }
        let root = self.root.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (root, facts) = root.ok_or(StoreError::Contended)?;
        let skipped = self.skipped.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Scanned {
            root,
            root_mode: facts.mode & 0o777,
            root_mtime: facts.mtime,
            anew: statistics.read > 0 || !self.known.all_found(),
            statistics,
            skipped: skipped.into_iter().map(|(path, reason)| Skipped { path, reason }).collect(),
            fresh,
        })
    }
}

impl<'a> Worker<'_, 'a> {
    fn give(&mut self, pool: &Pool<Job<'a>>, node: &Node<'a>, job: Job<'a>) {
        if node.depth < SHARED { pool.push(job) } else { self.own.push(job) }
    }

    fn count(&mut self, file: &Recorded) -> Facts {
        let Recorded { stat, id, settled, read } = file;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        self.statistics.files += 1;
        self.statistics.bytes += size;
        self.statistics.read += u64::from(*read);
        if *read && *settled {
            self.fresh.push((Stamp::of(stat), *id));
        }
        Facts { mode: stat.st_mode, mtime: mtime(stat), size }
    }
}

impl Hidden {
    /// The paths that a request names.
    pub(super) fn of(paths: &[Vec<u8>]) -> Result<Self, StoreError> {
        let mut all = Self::default();
        for path in paths {
            let wrong = |part: &[u8]| matches!(part, b"" | b"." | b"..") || part.contains(&0);
            if path.split(|b| *b == b'/').any(wrong) {
                return Err(StoreError::LeaveOut(shown(path)));
            }
            let mut at = &mut all;
            for part in path.split(|b| *b == b'/') {
                at = at.below.entry(part.to_vec()).or_default();
            }
            at.all = true;
        }
        Ok(all)
    }
}
