//! What is done to a live tree, one parent directory's descriptor at a time.

use super::build::Stands;
use crate::{
    Content, NodeKind, TreeError, TreeSource,
    diff::{Budget, Limits, digest},
    live::{self, LiveTree, join},
};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{self, AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, StatxFlags},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The tree that is changed.
pub(super) struct Tree {
    pub(super) root: OwnedFd,
}

/// Which file or directory something is. An inode's number is given to another file once it is
/// free, so when it was made counts as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    born: (i64, u32),
}

fn look(dir: BorrowedFd<'_>, name: &[u8], flags: AtFlags) -> Result<Identity, Errno> {
    let wanted = StatxFlags::INO | StatxFlags::BTIME;
    let found = fs::statx(dir, name, flags | AtFlags::SYMLINK_NOFOLLOW, wanted)?;
    let born = (found.stx_btime.tv_sec, found.stx_btime.tv_nsec);
    Ok(Identity { device: fs::makedev(found.stx_dev_major, found.stx_dev_minor), inode: found.stx_ino, born })
}

impl Tree {
    /// Opens the tree and keeps every other apply out of it until dropped.
    pub(super) fn open(root: &Path) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = fs::open(root, flags, Mode::empty())?;
        fs::flock(&root, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { root })
    }

    pub(super) fn identity(&self) -> Result<Identity, Errno> {
        own(self.root.as_fd())
    }

    pub(super) fn directory(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        live::open_directory(self.root.as_fd(), path)
    }

    /// Whether what stands at a path is all there was to be and nothing else.
    pub(super) fn stands(&self, path: &[u8], expected: &Stands) -> Result<bool, TreeError> {
        let fail =
            |e: std::io::Error| TreeError { path: path.to_vec(), reason: e.to_string(), absent: false };
        let again = self.root.try_clone().map_err(fail)?;
        let tree = LiveTree::from_fd(again, live::Limits::default())?;
        let Some(entry) = tree.at(path)? else { return Ok(false) };
        let mut budget =
            Budget::new(&Limits { compared: u64::MAX, compared_file: u64::MAX, ..Limits::default() });
        let whole = matches(&tree, path, &entry, expected, &mut budget)?;
        // FIFOs and the like are no part of a tree and yet would go with their directory.
        Ok(whole && tree.skipped().is_empty())
    }
}

fn matches(
    tree: &LiveTree,
    path: &[u8],
    entry: &crate::TreeEntry,
    expected: &Stands,
    budget: &mut Budget,
) -> Result<bool, TreeError> {
    Ok(match (expected, entry.kind, &entry.content) {
        (Stands::Link(target), _, Content::Target(now)) => target == now,
        (Stands::File { mode, size, digest: was }, NodeKind::File, _) => {
            entry.mode == *mode
                && entry.size == *size
                && digest(tree, path, *size, budget)?.is_some_and(|now| now == *was)
        }
        (Stands::Directory { mode, inside }, NodeKind::Directory, _) => {
            let children = tree.children(path)?;
            if entry.mode != *mode || children.len() != inside.len() {
                return Ok(false);
            }
            for child in children {
                let Some(expected) = inside.get(&child.name) else { return Ok(false) };
                if !matches(tree, &join(path, &child.name), &child, expected, budget)? {
                    return Ok(false);
                }
            }
            true
        }
        _ => false,
    })
}

/// What has a name in a directory; none: nothing.
pub(super) fn identity(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Identity>, Errno> {
    match look(dir, name, AtFlags::empty()) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn exchange(dir: BorrowedFd<'_>, a: &[u8], b: &[u8]) -> Result<(), Errno> {
    fs::renameat_with(dir, a, dir, b, RenameFlags::EXCHANGE)
}

pub(super) fn move_to_free(dir: BorrowedFd<'_>, from: &[u8], to: &[u8]) -> Result<(), Errno> {
    fs::renameat_with(dir, from, dir, to, RenameFlags::NOREPLACE)
}

/// Removes a file, link or directory with all in it; nothing there is fine. What is mounted in
/// it stops it.
pub(super) fn remove(dir: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    match fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    let child = live::open_directory(dir, name)?;
    // Who is not root empties a directory only when it may write to it.
    let mode = Mode::from_raw_mode(fs::fstat(&child)?.st_mode & 0o777);
    if !mode.contains(Mode::RWXU) {
        fs::fchmod(&child, mode | Mode::RWXU)?;
    }
    let names = names(&child)?;
    names.iter().try_for_each(|name| remove(child.as_fd(), name))?;
    match fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// The mode of a directory that has to be one; and the change of it.
pub(super) fn change_mode(parent: BorrowedFd<'_>, name: &[u8], from: u32, to: u32) -> Result<bool, Errno> {
    let dir = live::open_directory(parent, name)?;
    let stat = fs::fstat(&dir)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory || stat.st_mode & 0o777 != from {
        return Ok(false);
    }
    // The bits above the nine are the user's: a group that is inherited stays inherited.
    fs::fchmod(&dir, Mode::from_raw_mode((stat.st_mode & 0o7000) | to))?;
    fs::fsync(&dir)?;
    Ok(true)
}

/// Makes the renames in a directory durable.
pub(super) fn sync_directory(tree: &Tree, path: &[u8]) -> Result<(), Errno> {
    fs::fsync(tree.directory(path)?)
}

/// Which directory an open one is.
pub(super) fn own(dir: BorrowedFd<'_>) -> Result<Identity, Errno> {
    look(dir, b"", AtFlags::EMPTY_PATH)
}

/// A digest of what has a name and all in it by identity, size and time: the same only as long as
/// nobody wrote to it. Modes do not count.
pub(super) fn print(dir: BorrowedFd<'_>, name: &[u8]) -> Result<String, Errno> {
    let mut hasher = blake3::Hasher::new();
    print_into(&mut hasher, dir, name)?;
    Ok(hasher.finalize().to_string())
}

fn print_into(hasher: &mut blake3::Hasher, dir: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let stat = fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    hasher.update(&stat.st_ino.to_le_bytes()).update(&stat.st_mtime.to_le_bytes());
    hasher.update(&stat.st_mtime_nsec.to_le_bytes());
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        hasher.update(&stat.st_size.to_le_bytes());
        return Ok(());
    }
    let child = live::open_directory(dir, name)?;
    let mut names = names(&child)?;
    names.sort_unstable();
    for name in &names {
        hasher.update(&(name.len() as u64).to_le_bytes()).update(name);
        print_into(hasher, child.as_fd(), name)?;
    }
    Ok(())
}

fn names(dir: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for listed in Dir::read_from(dir)? {
        let listed = listed?;
        if !matches!(listed.file_name().to_bytes(), b"." | b"..") {
            names.push(listed.file_name().to_bytes().to_vec());
        }
    }
    Ok(names)
}
