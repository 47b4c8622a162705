use crate::{Entry, EntryKind, Index};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{self, AtFlags, Dir, FileType, Mode, OFlags, Stat},
    io::Errno,
};
use std::path::{Path, PathBuf};

/// How much of a hostile tree is looked at before the walk gives up on the rest.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Entries altogether.
    pub entries: usize,
    /// Directories below each other; each holds one descriptor.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 1_000_000, depth: 200 }
    }
}

/// The root could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the tree {path:?}: {source}")]
pub struct WalkError {
    path: PathBuf,
    source: std::io::Error,
}

/// Indexes the tree below `root` with the default limits.
///
/// # Errors
/// When the root is not a directory that can be opened without following a link.
pub fn index(root: &Path) -> Result<Index, WalkError> {
    index_with(root, Limits::default())
}

/// Indexes the tree below `root`. What lies beyond a limit, on another filesystem or
/// cannot be read is left out and named in [`Index::incomplete`].
///
/// # Errors
/// When the root is not a directory that can be opened without following a link.
pub fn index_with(root: &Path, limits: Limits) -> Result<Index, WalkError> {
    Ok(walk(root, limits)?.index)
}

/// A regular file that has more than one name. Whether the others are in the tree too, only
/// who counts them knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linked {
    /// Relative to the root, as bytes.
    pub path: Vec<u8>,
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// How many names it has.
    pub links: u64,
}

/// Indexes the tree below `root` with the default limits, and lists its files that have
/// several names.
///
/// # Errors
/// When the root is not a directory that can be opened without following a link.
pub fn index_linked(root: &Path) -> Result<(Index, Vec<Linked>), WalkError> {
    let walk = walk(root, Limits::default())?;
    Ok((walk.index, walk.linked))
}

fn walk(root: &Path, limits: Limits) -> Result<Walk, WalkError> {
    let fail = |e: Errno| WalkError { path: root.to_path_buf(), source: e.into() };
    let fd = open_directory(fs::CWD, root.as_os_str()).map_err(fail)?;
    let device = fs::fstat(&fd).map_err(fail)?.st_dev;
    let mut walk = Walk { device, limits, index: Index::default(), linked: Vec::new() };
    walk.run(fd);
    Ok(walk)
}

fn open_directory<P: rustix::path::Arg>(at: impl AsFd, name: P) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    fs::openat(at, name, flags, Mode::empty())
}

struct Walk {
    device: u64,
    limits: Limits,
    index: Index,
    linked: Vec<Linked>,
}

struct Open {
    dir: Dir,
    prefix: Vec<u8>,
}

impl Walk {
    fn run(&mut self, root: OwnedFd) {
        let mut stack = Vec::new();
        self.enter(&mut stack, root, Vec::new());
        while let Some(open) = stack.last_mut() {
            let Some(next) = open.dir.next() else {
                stack.pop();
                continue;
            };
            let entry = match next {
                Ok(entry) => entry,
                Err(error) => {
                    let at = open.prefix.clone();
                    stack.pop();
                    self.missing(&at, &error.to_string());
                    continue;
                }
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if self.index.entries.len() >= self.limits.entries {
                self.index.incomplete.push(format!("more than {} entries", self.limits.entries));
                return;
            }
            let mut path = open.prefix.clone();
            path.extend_from_slice(name.to_bytes());
            let Ok(fd) = open.dir.fd() else { continue };
            // It may have gone since it was listed: then it is not part of the tree.
            let Ok(stat) = fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let seen = describe(&stat);
            if seen.kind == EntryKind::File && stat.st_nlink > 1 {
                let (device, inode, links) = (stat.st_dev, stat.st_ino, stat.st_nlink);
                self.linked.push(Linked { path: path.clone(), device, inode, links });
            }
            self.index.entries.insert(path.clone(), seen);
            if seen.kind != EntryKind::Directory {
                continue;
            }
            if stat.st_dev != self.device {
                self.missing(&path, "another filesystem is mounted there");
                continue;
            }
            if stack.len() >= self.limits.depth {
                self.missing(&path, "too deep");
                continue;
            }
            let opened = stack.last().and_then(|o| o.dir.fd().ok()).map(|fd| open_directory(fd, name));
            match opened {
                // A directory may have been exchanged since the stat: what was opened counts.
                Some(Ok(child)) if fs::fstat(&child).is_ok_and(|s| s.st_dev == self.device) => {
                    path.push(b'/');
                    self.enter(&mut stack, child, path);
                }
                Some(Err(error)) => self.missing(&path, &std::io::Error::from(error).to_string()),
                _ => self.missing(&path, "it changed while it was looked at"),
            }
        }
    }

    fn enter(&mut self, stack: &mut Vec<Open>, fd: OwnedFd, prefix: Vec<u8>) {
        match Dir::new(fd) {
            Ok(dir) => stack.push(Open { dir, prefix }),
            Err(error) => self.missing(&prefix, &error.to_string()),
        }
    }

    fn missing(&mut self, path: &[u8], why: &str) {
        // A hostile tree must not fill the summary either.
        if self.index.incomplete.len() < 100 {
            self.index.incomplete.push(format!("{}: {why}", path.escape_ascii()));
        }
    }
}

fn describe(stat: &Stat) -> Entry {
    let nanos = |seconds: i64, nanos: u64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    Entry {
        kind: match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => EntryKind::File,
            FileType::Directory => EntryKind::Directory,
            FileType::Symlink => EntryKind::Link,
            _ => EntryKind::Special,
        },
        mode: stat.st_mode & 0o7777,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        inode: stat.st_ino,
        modified: nanos(stat.st_mtime, stat.st_mtime_nsec),
        changed: nanos(stat.st_ctime, stat.st_ctime_nsec),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::{ffi::OsStrExt as _, fs::symlink};

    #[test]
    fn links_are_recorded_and_not_followed() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "x").unwrap();
        let tree = tempfile::tempdir().unwrap();
        symlink(outside.path(), tree.path().join("out")).unwrap();
        let index = index(tree.path()).unwrap();
        assert_eq!(index.entries.len(), 1);
        assert_eq!(index.entries[b"out".as_slice()].kind, EntryKind::Link);
    }

    #[test]
    fn a_link_as_root_is_refused() {
        let tree = tempfile::tempdir().unwrap();
        symlink("/etc", tree.path().join("l")).unwrap();
        assert!(index(&tree.path().join("l")).is_err());
    }

    #[test]
    fn special_files_do_not_block_and_names_are_bytes() {
        let tree = tempfile::tempdir().unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, tree.path().join("fifo"), FileType::Fifo, Mode::RWXU, 0)
            .unwrap();
        let odd = std::ffi::OsStr::from_bytes(b"\xff\n");
        std::fs::write(tree.path().join(odd), "x").unwrap();
        let index = index(tree.path()).unwrap();
        assert_eq!(index.entries[b"fifo".as_slice()].kind, EntryKind::Special);
        assert_eq!(index.entries[b"\xff\n".as_slice()].kind, EntryKind::File);
        assert!(index.incomplete.is_empty());
    }

    #[test]
    fn files_with_several_names_are_listed_by_each_name_in_the_tree() {
        let tree = tempfile::tempdir().unwrap();
        let at = |name: &str| tree.path().join(name);
        std::fs::create_dir(at("d")).unwrap();
        std::fs::write(at("one"), "x").unwrap();
        std::fs::write(at("two"), "x").unwrap();
        std::fs::hard_link(at("two"), at("d/too")).unwrap();
        let (index, linked) = index_linked(tree.path()).unwrap();
        assert_eq!(index.entries.len(), 4);
        let mut names: Vec<_> = linked.iter().map(|l| (l.path.as_slice(), l.links)).collect();
        names.sort();
        assert_eq!(names, [(b"d/too".as_slice(), 2), (b"two".as_slice(), 2)]);
        assert_eq!(linked[0].inode, linked[1].inode);
    }

    #[test]
    fn depth_and_size_are_bounded_and_said() {
        let tree = tempfile::tempdir().unwrap();
        let mut deep = tree.path().to_path_buf();
        for _ in 0..20 {
            deep.push("d");
        }
        std::fs::create_dir_all(&deep).unwrap();
        let shallow = index_with(tree.path(), Limits { entries: 1000, depth: 5 }).unwrap();
        assert_eq!(shallow.entries.len(), 5);
        assert_eq!(shallow.incomplete.len(), 1);
        let few = index_with(tree.path(), Limits { entries: 3, depth: 100 }).unwrap();
        assert_eq!(few.entries.len(), 3);
        assert_eq!(few.incomplete.len(), 1);
    }
}
