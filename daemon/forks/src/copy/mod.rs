//! A fork by walking: every name opened from the directory that holds it, nothing followed,
//! nothing of another filesystem.

mod data;
pub(crate) mod meta;

use crate::{ForkError, ForkRequest, Method, hold, open};
use rustix::{
    fd::{AsFd as _, OwnedFd},
    fs::{self, AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid},
    io::Errno,
};
use std::{
    collections::{BTreeSet, HashMap},
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

/// Directories below each other; each holds two descriptors while it is copied.
const MOST_DEEP: usize = 200;
/// How often a file is read again that was written meanwhile.
const MOST_TRIES: u32 = 4;
/// Between two words about progress.
const SAY_EVERY: Duration = Duration::from_millis(50);

/// What of a tree is not in its fork.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Relative to the tree.
    pub path: PathBuf,
    /// Why: `unreadable`, `fifo`, `socket`, `device`, `other filesystem`.
    pub why: String,
}

/// Copies the tree of a request into its fork's directory.
pub(crate) fn run(
    request: &ForkRequest<'_>,
    method: Method,
    source: &OwnedFd,
    directory: &OwnedFd,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Vec<Skipped>, ForkError> {
    let tree = request.tree;
    let fail = |errno: Errno| ForkError::io("copy", tree)(errno);
    let root = open::below(directory, "tree", open::LIST).map_err(fail)?;
    let stat = fs::fstat(source).map_err(fail)?;
    let mut copy = Copy {
        request,
        reflink: method == Method::Reflink,
        device: stat.st_dev,
        leave_out: request.leave_out.iter().map(PathBuf::as_path).collect(),
        links: HashMap::new(),
        skipped: Vec::new(),
        relative: PathBuf::new(),
        done: 0,
        total: 0,
        said: Instant::now(),
        progress,
        root: root.try_clone().map_err(ForkError::io("copy", tree))?,
    };
    if request.is_directory {
        let from = open::path(tree, open::LIST).map_err(fail)?;
        copy.total = copy.weigh(&from, 0)?;
        copy.directory(&from, &root, 0)?;
        meta::directory(&from, &root).map_err(fail)?;
    } else {
        copy.total = weight(&stat);
        let above = tree.parent().unwrap_or(Path::new("/"));
        let from = open::path(above, open::PLACE | OFlags::DIRECTORY).map_err(fail)?;
        let name = tree.file_name().unwrap_or_default();
        copy.relative.push(name);
        copy.file(&from, &root, name, &stat)?;
        if let Some(skipped) = copy.skipped.first() {
            return Err(ForkError::Kind { path: tree.to_path_buf(), found: kind_word(&skipped.why) });
        }
        if rustix::process::geteuid().is_root() {
            let (user, group) = request.identity.ids();
            fs::fchown(&root, Some(user), Some(group)).map_err(fail)?;
        }
    }
    let (done, total) = (copy.done, copy.total.max(copy.done));
    (copy.progress)(done, total);
    Ok(copy.skipped)
}

fn kind_word(why: &str) -> &'static str {
    if why == UNREADABLE { "unreadable" } else { "neither a file nor a directory" }
}

const UNREADABLE: &str = "unreadable";

struct Copy<'a, 'p> {
    request: &'a ForkRequest<'a>,
    reflink: bool,
    device: u64,
    leave_out: BTreeSet<&'a Path>,
    /// Where the first name of a file with several was put.
    links: HashMap<(u64, u64), PathBuf>,
    skipped: Vec<Skipped>,
    /// Of what is copied at the moment.
    relative: PathBuf,
    done: u64,
    total: u64,
    said: Instant,
    progress: &'p mut dyn FnMut(u64, u64),
    root: OwnedFd,
}

impl Copy<'_, '_> {
    fn fail(&self, step: &'static str) -> impl FnOnce(Errno) -> ForkError + use<> {
        ForkError::io(step, self.request.tree.join(&self.relative))
    }

    fn skip(&mut self, why: &str) {
        self.skipped.push(Skipped { path: self.relative.clone(), why: why.to_owned() });
    }

    fn go_on(&self) -> Result<(), ForkError> {
        match self.request.cancel {
            Some(cancel) if cancel.load(Ordering::Relaxed) => Err(ForkError::Cancelled),
            _ => Ok(()),
        }
    }

    fn count(&mut self, bytes: u64) {
        self.done = self.done.saturating_add(bytes);
        if self.said.elapsed() >= SAY_EVERY {
            self.said = Instant::now();
            (self.progress)(self.done, self.total.max(self.done));
        }
    }

    /// How much there is to do. What cannot be looked at counts nothing here.
    fn weigh(&self, directory: &OwnedFd, depth: usize) -> Result<u64, ForkError> {
        self.go_on()?;
        let mut sum = 1u64;
        let Ok(entries) = Dir::read_from(directory) else { return Ok(sum) };
        for entry in entries.filter_map(Result::ok) {
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let Ok(stat) = fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                sum = sum.saturating_add(weight(&stat));
            } else if depth < MOST_DEEP
                && let Ok(below) = open::below(directory, name, open::LIST)
            {
                sum = sum.saturating_add(self.weigh(&below, depth + 1)?);
            }
        }
        Ok(sum)
    }

    /// Copies what is in a directory.
    fn directory(&mut self, from: &OwnedFd, to: &OwnedFd, depth: usize) -> Result<(), ForkError> {
        self.go_on()?;
        if depth > MOST_DEEP {
            let path = self.request.tree.join(&self.relative);
            return Err(ForkError::TooDeep { path, most: MOST_DEEP });
        }
        self.count(1);
        for name in self.names(from)? {
            self.relative.push(&name);
            self.entry(from, to, &name, depth)?;
            self.relative.pop();
        }
        Ok(())
    }

    fn names(&self, directory: &OwnedFd) -> Result<Vec<OsString>, ForkError> {
        let mut names = Vec::new();
        for entry in Dir::read_from(directory).map_err(self.fail("list"))? {
            let entry = entry.map_err(self.fail("list"))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn entry(&mut self, from: &OwnedFd, to: &OwnedFd, name: &OsStr, depth: usize) -> Result<(), ForkError> {
        let stat = match fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW) {
            // Removed since the directory was listed.
            Err(Errno::NOENT) => return Ok(()),
            other => other.map_err(self.fail("look at"))?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if self.leave_out.contains(self.relative.as_path()) {
            return hold::nothing(to, name, kind == FileType::Directory, |_| Ok(()))
                .map_err(self.fail("leave out"));
        }
        match kind {
            FileType::Directory if stat.st_dev != self.device => self.skip("other filesystem"),
            FileType::Directory => return self.below(from, to, name, depth),
            FileType::RegularFile => return self.file(from, to, name, &stat),
            FileType::Symlink => return self.link(from, to, name, &stat),
            FileType::Fifo => self.skip("fifo"),
            FileType::Socket => self.skip("socket"),
            _ => self.skip("device"),
        }
        Ok(())
    }

    fn below(&mut self, from: &OwnedFd, to: &OwnedFd, name: &OsStr, depth: usize) -> Result<(), ForkError> {
        let below = match open::below(from, name, open::LIST) {
            Ok(below) => below,
            Err(Errno::XDEV) => {
                self.skip("other filesystem");
                return Ok(());
            }
            Err(Errno::ACCESS) => {
                self.skip(UNREADABLE);
                return Ok(());
            }
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(self.fail("open")(errno)),
        };
        fs::mkdirat(to, name, Mode::RWXU).map_err(self.fail("copy"))?;
        let made = open::below(to, name, open::LIST).map_err(self.fail("copy"))?;
        self.directory(&below, &made, depth + 1)?;
        meta::directory(&below, &made).map_err(self.fail("copy the attributes of"))
    }

    fn link(&mut self, from: &OwnedFd, to: &OwnedFd, name: &OsStr, stat: &Stat) -> Result<(), ForkError> {
        let target = match fs::readlinkat(from, name, Vec::new()) {
            Err(Errno::NOENT | Errno::INVAL) => return Ok(()),
            other => other.map_err(self.fail("read the link"))?,
        };
        fs::symlinkat(&target, to, name).map_err(self.fail("copy the link"))?;
        if rustix::process::geteuid().is_root() {
            let (user, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
            fs::chownat(to, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(self.fail("give the copy of"))?;
        }
        fs::utimensat(to, name, &hold::times(stat), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(self.fail("copy the times of"))?;
        self.count(1);
        Ok(())
    }

    fn file(&mut self, from: &OwnedFd, to: &OwnedFd, name: &OsStr, stat: &Stat) -> Result<(), ForkError> {
        let id = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1
            && let Some(first) = self.links.get(&id)
            && self.again(first, to, name).is_ok()
        {
            self.count(weight(stat));
            return Ok(());
        }
        // A FIFO that was put in its place meanwhile must not be waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let read = match open::below(from, name, flags) {
            Ok(read) => read,
            Err(Errno::ACCESS) => {
                self.skip(UNREADABLE);
                return Ok(());
            }
            Err(Errno::NOENT) => return Ok(()),
            Err(Errno::XDEV) => {
                self.skip("other filesystem");
                return Ok(());
            }
            Err(errno) => return Err(self.fail("open")(errno)),
        };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let write =
            fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR).map_err(self.fail("make a copy of"))?;
        for _ in 0..MOST_TRIES {
            let before = fs::fstat(&read).map_err(self.fail("look at"))?;
            if FileType::from_raw_mode(before.st_mode) != FileType::RegularFile {
                fs::unlinkat(to, name, AtFlags::empty()).map_err(self.fail("copy"))?;
                self.skip("device");
                return Ok(());
            }
            self.data(&read, &write, u64::try_from(before.st_size).unwrap_or(0))?;
            if meta::is_unchanged(&before, &read).map_err(self.fail("look at"))? {
                meta::file(&read, &write, &before).map_err(self.fail("copy the attributes of"))?;
                if stat.st_nlink > 1 {
                    self.links.insert(id, self.relative.clone());
                }
                self.count(1);
                return Ok(());
            }
            fs::ftruncate(&write, 0).map_err(self.fail("copy"))?;
        }
        Err(ForkError::Changing(self.request.tree.join(&self.relative)))
    }

    fn data(&mut self, read: &OwnedFd, write: &OwnedFd, size: u64) -> Result<(), ForkError> {
        let mut stopped = None;
        let reflink = self.reflink;
        let mut step = |bytes| {
            self.count(bytes);
            self.go_on().map_err(|error| {
                stopped = Some(error);
                Errno::CANCELED
            })
        };
        let copied = data::copy(read, write, size, reflink, &mut step);
        match (copied, stopped) {
            (_, Some(error)) => Err(error),
            (copied, None) => copied.map_err(self.fail("copy")),
        }
    }

    /// Another name for a file that is copied already.
    fn again(&self, first: &Path, to: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
        let above = first.parent().unwrap_or(Path::new(""));
        let parent = open::far_below(self.root.as_fd(), above, open::PLACE | OFlags::DIRECTORY)?;
        let old = first.file_name().ok_or(Errno::INVAL)?;
        fs::linkat(&parent, old, to, name, AtFlags::empty())
    }
}

fn weight(stat: &Stat) -> u64 {
    let stored = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
    u64::try_from(stat.st_size).unwrap_or(0).min(stored).max(1)
}
