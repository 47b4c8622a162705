use crate::{ForkError, Method, Skipped, copy, detect, mounts, open, overlay, record::Record, remove};
use rustix::{
    fd::{AsFd as _, OwnedFd},
    fs::{self, FileType, Gid, Mode, OFlags, Uid},
    io::Errno,
};
use std::{
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

const TREE: &str = "tree";

/// A user and a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Owner {
    pub(crate) fn ids(self) -> (Uid, Gid) {
        (Uid::from_raw(self.uid), Gid::from_raw(self.gid))
    }
}

/// What to fork, where and how.
#[derive(Clone, Copy, Debug)]
pub struct ForkRequest<'a> {
    /// The fork's own directory, which is made, with what is missing above it. Canonical.
    pub at: &'a Path,
    /// The user's tree, canonical.
    pub tree: &'a Path,
    /// Whether it is a directory, or a single file.
    pub is_directory: bool,
    /// How; see [`detect`]. A single file is never mounted: it is copied.
    pub method: Method,
    /// Who works in the fork: owns the directory around a single file, and what is held. Everything
    /// else belongs to whom it belongs to in the user's tree, where this process may give it away.
    pub identity: Owner,
    /// Paths relative to the tree that the fork is to have nothing of: something empty that nobody
    /// may open stands there, for something to be mounted on.
    pub leave_out: &'a [PathBuf],
    /// Ends the making as soon as it is true.
    pub cancel: Option<&'a AtomicBool>,
}

/// A private copy of a user's tree.
#[derive(Debug)]
pub struct Fork {
    at: PathBuf,
    root: PathBuf,
    method: Method,
    skipped: Vec<Skipped>,
}

/// What stands for the user's path in a fork at `at`, known before there is one.
#[must_use]
pub fn place(at: &Path, tree: &Path, is_directory: bool) -> PathBuf {
    let root = at.join(TREE);
    match tree.file_name() {
        Some(name) if !is_directory => root.join(name),
        _ => root,
    }
}

impl Fork {
    /// Makes a fork. `progress` is told how much of how much is done, in bytes where every entry
    /// counts at least one; an overlay has none.
    ///
    /// # Errors
    /// When a step fails, with the path; nothing is left then.
    pub fn make(request: &ForkRequest<'_>, progress: &mut dyn FnMut(u64, u64)) -> Result<Self, ForkError> {
        let at = request.at;
        let parent = open::parent_made(at)?;
        let name = at.file_name().ok_or(Errno::INVAL).map_err(ForkError::io("make", at))?;
        match fs::mkdirat(&parent, name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(ForkError::Exists(at.to_path_buf())),
            Err(errno) => return Err(ForkError::io("make the directory", at)(errno)),
        }
        let made = open::below(&parent, name, open::LIST)
            .map_err(ForkError::io("open", at))
            .and_then(|directory| Self::fill(request, &directory, progress));
        if made.is_err() {
            // The error that matters is the one that stopped it.
            let _ = remove::tree(at);
        }
        made
    }

    fn fill(
        request: &ForkRequest<'_>,
        directory: &OwnedFd,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, ForkError> {
        let ForkRequest { at, tree, is_directory, .. } = *request;
        let method = if is_directory || request.method != Method::Overlay {
            request.method
        } else {
            detect::detect_unmounted(at, tree)
        };
        let source = open_tree(tree, is_directory)?;
        let inode = fs::fstat(&source).map_err(ForkError::io("look at", tree))?.st_ino;
        fs::mkdirat(directory, TREE, Mode::RWXU).map_err(ForkError::io("make a tree in", at))?;
        let mut record =
            Record { method, tree: tree.into(), is_directory, inode, shielded: false, skipped: Vec::new() };
        if method == Method::Overlay {
            let lower = open::path(tree, open::LIST).map_err(ForkError::io("open", tree))?;
            overlay::prepare(directory, tree, &lower, request.leave_out)?;
            record.shielded = mounts::is_shared(directory).map_err(ForkError::io("look at", at))?;
            record.write(directory, at)?;
            attach(&record, at, &lower)?;
        } else {
            let skipped = copy::run(request, method, &source, directory, progress)?;
            record.skipped = skipped.iter().map(|s| (s.path.as_path().into(), s.why.clone())).collect();
            record.write(directory, at)?;
        }
        Ok(Self::of(&record, at))
    }

    fn of(record: &Record, at: &Path) -> Self {
        let skipped =
            record.skipped.iter().map(|(path, why)| Skipped { path: path.path(), why: why.clone() });
        Self {
            root: place(at, &record.tree.path(), record.is_directory),
            method: record.method,
            skipped: skipped.collect(),
            at: at.to_path_buf(),
        }
    }

    /// Finds a fork again that an earlier process made, and mounts it again where a reboot took
    /// the mount.
    ///
    /// # Errors
    /// When there is none, or a half-made one, or the user's tree is another one by now.
    pub fn open(at: &Path) -> Result<Self, ForkError> {
        let directory = open::path(at, open::LIST).map_err(ForkError::io("open the fork", at))?;
        let record = Record::read(&directory, at)?;
        if record.method == Method::Overlay && !is_mounted(at)? {
            let tree = record.tree.path();
            let lower = open::path(&tree, open::LIST).map_err(ForkError::io("open", &tree))?;
            let found = fs::fstat(&lower).map_err(ForkError::io("look at", &tree))?;
            if found.st_ino != record.inode {
                return Err(ForkError::Replaced { tree, at: at.to_path_buf() });
            }
            // A shield without what it is for, from a start that died between the two.
            mounts::unmount_all(at)?;
            attach(&record, at, &lower)?;
        }
        Ok(Self::of(&record, at))
    }

    /// Removes a fork, whatever is left of it, and succeeds when nothing is. The tree that it was
    /// made of is not touched: what is mounted is unmounted first, no link is followed, and
    /// nothing is ever removed through a mount.
    ///
    /// # Errors
    /// When something cannot be unmounted or removed.
    pub fn remove(at: &Path) -> Result<(), ForkError> {
        remove::tree(at)
    }

    /// What stands for the user's path: a directory, or a file.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory that a snapshot is taken of: [`Fork::root`], or the one with that file in it.
    #[must_use]
    pub fn tree(&self) -> PathBuf {
        self.at.join(TREE)
    }

    /// How it was made.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// What of the user's tree is not in it.
    #[must_use]
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }
}

/// Mounts the layers of a fork, and shields the mount from other namespaces where the fork would
/// otherwise appear there too.
fn attach(record: &Record, at: &Path, lower: &OwnedFd) -> Result<(), ForkError> {
    let open = || open::path(at, open::LIST).map_err(ForkError::io("open the fork", at));
    if record.shielded {
        mounts::shield(&open()?).map_err(ForkError::io("shield the mount at", at))?;
    }
    // By its path again: the shield lies on what was opened before.
    overlay::attach(&open()?, lower, &at.join(TREE))
}

fn is_mounted(at: &Path) -> Result<bool, ForkError> {
    let fail = |errno: Errno| ForkError::io("look at the mount of", at)(errno);
    let tree = open::path(&at.join(TREE), open::PLACE | OFlags::DIRECTORY).map_err(fail)?;
    if !mounts::is_mount(&tree).map_err(fail)? {
        return Ok(false);
    }
    const OVERLAY: u64 = 0x794c_7630;
    let kind = fs::fstatfs(tree.as_fd()).map_err(fail)?.f_type;
    if u64::try_from(kind).is_ok_and(|kind| kind == OVERLAY) {
        Ok(true)
    } else {
        Err(ForkError::Mounted(at.join(TREE)))
    }
}

/// The user's tree, not followed, of the kind that was promised.
fn open_tree(tree: &Path, is_directory: bool) -> Result<OwnedFd, ForkError> {
    let place = open::path(tree, open::PLACE).map_err(ForkError::io("open", tree))?;
    let stat = fs::fstat(&place).map_err(ForkError::io("look at", tree))?;
    let found = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory if is_directory => return Ok(place),
        FileType::RegularFile if !is_directory => return Ok(place),
        FileType::Directory => "a directory",
        FileType::RegularFile => "a file",
        FileType::Symlink => "a symbolic link",
        _ => "neither a file nor a directory",
    };
    Err(ForkError::Kind { path: tree.to_path_buf(), found })
}
