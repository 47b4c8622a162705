//! What is done to a live tree, one parent directory's descriptor at a time.

use super::{
    parts::{Stand, Time, matches},
    stage::times,
    trail::Trail,
};
use crate::{
    TreeError,
    diff::{Budget, Limits},
    live::{self, LiveTree},
};
use rustix::{
    fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
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
    /// Opens the tree, with no link on the way to it, and keeps every other apply out of it until dropped.
    pub(super) fn open(root: &Path) -> Result<Self, Errno> {
        let root = live::open_root(root)?;
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
    pub(super) fn stands(&self, path: &[u8], expected: &[Stand]) -> Result<bool, TreeError> {
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
    if removed(dir, name)? {
        return Ok(());
    }
    let mut trail = Trail::new(dir);
    // Of each directory on the way: those in it that are still to be emptied.
    let mut open = vec![enter(&mut trail, name)?];
    while let Some(inside) = open.last_mut() {
        match inside.pop() {
            Some(next) => open.push(enter(&mut trail, &next)?),
            None => {
                open.pop();
                let Some(empty) = trail.up()? else { break };
                match fs::unlinkat(trail.here(), empty, AtFlags::REMOVEDIR) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(())
}

/// False: it is a directory.
fn removed(dir: BorrowedFd<'_>, name: &[u8]) -> Result<bool, Errno> {
    match fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::ISDIR) => Ok(false),
        // What some filesystems say of a directory, and all of what may not be removed.
        Err(Errno::PERM) => {
            let stat = fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            if directory { Ok(false) } else { Err(Errno::PERM) }
        }
        Err(error) => Err(error),
    }
}

/// Goes into a directory and removes all that is none; gives the directories in it.
fn enter(trail: &mut Trail<'_>, name: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
    // Who is not root empties a directory only when it may read and write to it.
    let look = live::open_beneath(trail.here(), name, OFlags::PATH | OFlags::DIRECTORY)?;
    let mode = Mode::from_raw_mode(fs::fstat(&look)?.st_mode & 0o777);
    if !mode.contains(Mode::RWXU) {
        chmod(look.as_fd(), mode | Mode::RWXU)?;
    }
    trail.down(name)?;
    let mut directories = Vec::new();
    for name in names(trail.here())? {
        if !removed(trail.here(), &name)? {
            directories.push(name);
        }
    }
    Ok(directories)
}

/// Changes the mode of what an `O_PATH` descriptor stands for, also where it cannot be opened
/// otherwise.
fn chmod(fd: BorrowedFd<'_>, mode: Mode) -> Result<(), Errno> {
    fs::chmod(format!("/proc/self/fd/{}", fd.as_raw_fd()), mode)
}

/// The change of the mode of a directory that has to have one. False: it has another.
pub(super) fn change_mode(parent: BorrowedFd<'_>, name: &[u8], from: u32, to: u32) -> Result<bool, Errno> {
    let dir = live::open_beneath(parent, name, OFlags::PATH | OFlags::DIRECTORY)?;
    let stat = fs::fstat(&dir)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory || stat.st_mode & 0o777 != from {
        return Ok(false);
    }
    // The bits above the nine are the user's: a group that is inherited stays inherited.
    chmod(dir.as_fd(), Mode::from_raw_mode((stat.st_mode & 0o7000) | to))?;
    match live::open_directory(parent, name) {
        Ok(dir) => fs::fsync(dir)?,
        // Now closed to its owner as well: with the next sync of the filesystem.
        Err(Errno::ACCESS) => {}
        Err(error) => return Err(error),
    }
    Ok(true)
}

/// Sets when a directory was modified.
pub(super) fn change_time(parent: BorrowedFd<'_>, name: &[u8], time: Time) -> Result<(), Errno> {
    let dir = live::open_directory(parent, name)?;
    fs::futimens(&dir, &times(time))
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
    let mut trail = Trail::new(dir);
    let mut open = vec![vec![name.to_vec()]];
    while let Some(names_here) = open.last_mut() {
        let Some(name) = names_here.pop() else {
            open.pop();
            trail.up()?;
            continue;
        };
        let stat = fs::statat(trail.here(), &name, AtFlags::SYMLINK_NOFOLLOW)?;
        if trail.depth() > 0 {
            hasher.update(&(trail.depth() as u64).to_le_bytes());
            hasher.update(&(name.len() as u64).to_le_bytes()).update(&name);
        }
        hasher.update(&stat.st_ino.to_le_bytes()).update(&stat.st_mtime.to_le_bytes());
        hasher.update(&stat.st_mtime_nsec.to_le_bytes());
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            hasher.update(&stat.st_size.to_le_bytes());
            continue;
        }
        match trail.down(&name) {
            Ok(()) => {
                let mut inside = names(trail.here())?;
                inside.sort_unstable();
                open.push(inside);
            }
            // Closed to its owner: nobody else writes to it either.
            Err(Errno::ACCESS) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hasher.finalize().to_string())
}

fn names(dir: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for listed in Dir::read_from(dir)? {
        let listed = listed?;
        if !matches!(listed.file_name().to_bytes(), b"." | b"..") {
            names.push(listed.file_name().to_bytes().to_vec());
        }
    }
    Ok(names)
}
