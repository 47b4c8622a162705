//! From a path that somebody wrote to an object that the policy allowed. The kernel
//! resolves; the verdict is on what it opened; the work is done on that descriptor. There is
//! no moment at which a name is checked and then used.

mod steps;

use crate::{Table, ToolError, error::shown};
use cordon_policy::{Layer, Operation, Verdict};
use rustix::{
    fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2, readlinkat},
    io::Errno,
};
use std::{
    ffi::{OsStr, OsString},
    fs::File,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Component, Path, PathBuf},
};

/// The kernel takes no longer path, its end included.
const PATH_MAX: usize = 4096;
const DELETED: &[u8] = b" (deleted)";

/// Resolves paths by a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resolver<'a> {
    table: &'a Table,
}

/// Something that is there, opened without any right to its content yet.
#[derive(Debug)]
pub(crate) struct Opened {
    fd: OwnedFd,
    /// Where the kernel says it is.
    pub(crate) path: PathBuf,
    /// What it is.
    pub(crate) stat: Stat,
}

/// A name in an opened directory; nothing has to be there.
#[derive(Debug)]
pub(crate) struct Spot {
    /// The directory.
    pub(crate) parent: OwnedFd,
    /// One component, never `.` or `..`.
    pub(crate) name: OsString,
    /// Where the kernel says the directory is, and the name.
    pub(crate) path: PathBuf,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(table: &'a Table) -> Self {
        Self { table }
    }

    /// The path as the caller means it: absolute, not resolved.
    pub(crate) fn absolute(&self, path: &str) -> Result<PathBuf, ToolError> {
        let bad = |why: &str| Err(ToolError::Arguments(format!("path {}: {why}", shown(path))));
        if path.is_empty() {
            return bad("it is empty");
        }
        if path.contains('\0') {
            return bad("it contains a NUL byte, which no path can");
        }
        let joined = match path.strip_prefix('~') {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                let home = std::env::var_os("HOME").filter(|home| Path::new(home).is_absolute());
                let Some(home) = home else { return bad("there is no home directory") };
                Path::new(&home).join(rest.trim_start_matches('/'))
            }
            _ => self.table.workspace.join(path),
        };
        if joined.as_os_str().len() >= PATH_MAX {
            return bad("it is longer than any path may be (4095 bytes)");
        }
        Ok(joined)
    }

    /// Whether the policy allows it at a real path.
    pub(crate) fn decide(&self, path: &Path, operation: Operation, asked: &str) -> Result<(), ToolError> {
        match self.table.policy.decide(path, operation) {
            Verdict::Allowed(_) => Ok(()),
            Verdict::Denied(denial) => {
                let mut denial = denial.by(Layer::Guest);
                // What the caller wrote, not where a link leads: that may be nobody's business.
                denial.target = shown(asked);
                Err(ToolError::Denied(Box::new(denial)))
            }
        }
    }

    /// Opens what is there, links followed, for an operation on it.
    pub(crate) fn open(&self, asked: &str, operation: Operation) -> Result<Opened, ToolError> {
        let path = self.absolute(asked)?;
        match open_path(CWD.as_fd(), &path, OFlags::empty()) {
            Ok(opened) => {
                self.agrees(&opened, operation, asked)?;
                Ok(opened)
            }
            Err(errno) => Err(self.missing(&path, operation, asked, errno)),
        }
    }

    /// Opens the directory that holds a name, for an operation on the name itself. A link in
    /// the last place is not followed.
    pub(crate) fn spot(&self, asked: &str, operation: Operation) -> Result<Spot, ToolError> {
        let path = self.absolute(asked)?;
        let (Some(Component::Normal(name)), Some(parent)) = (path.components().next_back(), path.parent())
        else {
            return Err(ToolError::Arguments(format!(
                "path {}: it names no entry of a directory",
                shown(asked)
            )));
        };
        if asked.ends_with("/..") || asked.ends_with("/.") || asked == "." {
            return Err(ToolError::Arguments(format!("path {}: name the entry itself", shown(asked))));
        }
        match open_path(CWD.as_fd(), parent, OFlags::DIRECTORY) {
            Ok(directory) => {
                let spot =
                    Spot { path: directory.path.join(name), parent: directory.fd, name: name.to_owned() };
                self.decide(&spot.path, operation, asked)?;
                Ok(spot)
            }
            Err(errno) => Err(self.missing(&path, operation, asked, errno)),
        }
    }

    /// The directory entry through which something that was opened is reached now.
    pub(crate) fn spot_of(
        &self,
        opened: &Opened,
        operation: Operation,
        asked: &str,
    ) -> Result<Spot, ToolError> {
        let gone = || ToolError::Failed(format!("{} was moved away meanwhile", shown(asked)));
        let (Some(parent), Some(name)) = (opened.path.parent(), opened.path.file_name()) else {
            return Err(gone());
        };
        self.decide(&opened.path, operation, asked)?;
        let directory = open_path(CWD.as_fd(), parent, OFlags::DIRECTORY).map_err(|_| gone())?;
        let spot = Spot { path: directory.path.join(name), parent: directory.fd, name: name.to_owned() };
        match spot.look() {
            Ok(Some(found)) if spot.path == opened.path && found.is_same(opened) => Ok(spot),
            _ => Err(gone()),
        }
    }

    /// An entry of an opened directory, never through a link.
    pub(crate) fn child(
        &self,
        directory: &Opened,
        name: &OsStr,
        operation: Operation,
    ) -> Result<Opened, ToolError> {
        let path = directory.path.join(name);
        self.decide(&path, operation, &path.to_string_lossy())?;
        entry(directory.fd.as_fd(), name, path.clone()).map_err(|errno| ToolError::Kernel {
            operation,
            path: shown(&path.to_string_lossy()),
            errno,
        })
    }

    /// Something below an opened directory, never through a link.
    pub(crate) fn below(
        &self,
        directory: &Opened,
        relative: &Path,
        operation: Operation,
    ) -> Result<Opened, ToolError> {
        let path = directory.path.join(relative);
        let name = path.to_string_lossy();
        self.decide(&path, operation, &name)?;
        entry(directory.fd.as_fd(), relative, path.clone()).map_err(|errno| ToolError::Kernel {
            operation,
            path: shown(&name),
            errno,
        })
    }

    /// Whether the policy allows it, for somebody who wants no reason.
    pub(crate) fn allows(&self, path: &Path, operation: Operation) -> bool {
        self.table.policy.decide(path, operation).is_allowed()
    }

    fn agrees(&self, opened: &Opened, operation: Operation, asked: &str) -> Result<(), ToolError> {
        self.decide(&opened.path, operation, asked)?;
        // The kernel marks a path that is gone; a name may also just end like that. Both count.
        if let Some(before) = opened.path.as_os_str().as_bytes().strip_suffix(DELETED) {
            self.decide(Path::new(OsStr::from_bytes(before)), operation, asked)?;
        }
        Ok(())
    }

    /// Nothing could be opened: whether the policy would have allowed it decides what is said,
    /// so that a refusal tells nothing about what is or is not there.
    fn missing(&self, path: &Path, operation: Operation, asked: &str, errno: Errno) -> ToolError {
        let real = steps::real(path);
        if let Err(denied) = self.decide(&real, operation, asked) {
            return denied;
        }
        let name = shown(asked);
        match errno {
            Errno::NOENT => ToolError::NotFound(name),
            Errno::NOTDIR => ToolError::Unsuitable(name, "a part of it is not a directory".to_owned()),
            Errno::LOOP => ToolError::Unsuitable(
                name,
                "too many links, or one that only the kernel may follow".to_owned(),
            ),
            Errno::NAMETOOLONG => {
                ToolError::Arguments(format!("path {name}: a name in it is longer than 255 bytes"))
            }
            errno => ToolError::Kernel { operation, path: name, errno },
        }
    }
}

impl Opened {
    /// What kind of thing it is.
    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.kind() == FileType::Directory
    }

    pub(crate) fn is_file(&self) -> bool {
        self.kind() == FileType::RegularFile
    }

    /// Whether both are one object.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (self.stat.st_dev, self.stat.st_ino) == (other.stat.st_dev, other.stat.st_ino)
    }

    /// The descriptor, which has no right to the content.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The very object, opened for its content. What would block or act is refused before.
    pub(crate) fn reopen(&self, flags: OFlags) -> Result<File, Errno> {
        if !self.is_file() {
            return Err(if self.is_directory() { Errno::ISDIR } else { Errno::NXIO });
        }
        let through = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::open(through, flags, Mode::empty()).map(File::from)
    }

    /// The very directory, opened to be listed.
    pub(crate) fn list(&self) -> Result<rustix::fs::Dir, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::Dir::new(openat(&self.fd, ".", flags, Mode::empty())?)
    }
}

impl Spot {
    /// What is there under the name now, a link as itself.
    pub(crate) fn look(&self) -> Result<Option<Opened>, Errno> {
        match entry(self.parent.as_fd(), &self.name, self.path.clone()) {
            Ok(opened) => Ok(Some(opened)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

/// Something below a directory as itself: no link is followed, in no place.
fn entry(directory: BorrowedFd<'_>, name: impl rustix::path::Arg, path: PathBuf) -> Result<Opened, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // The last component may be a link, and is then opened as one; none before it.
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    let fd = openat2(directory, name, flags, Mode::empty(), how)?;
    let stat = fstat(&fd)?;
    Ok(Opened { fd, path, stat })
}

fn open_path(at: BorrowedFd<'_>, path: &Path, more: OFlags) -> Result<Opened, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | more;
    let open = || openat2(at, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS);
    // The kernel says so when a rename raced with `..` in the path.
    let fd = std::iter::repeat_with(open)
        .take(100)
        .find(|result| !matches!(result, Err(Errno::AGAIN | Errno::INTR)))
        .unwrap_or(Err(Errno::AGAIN))?;
    let stat = fstat(&fd)?;
    Ok(Opened { path: real_path(fd.as_fd())?, fd, stat })
}

/// Where the kernel says that a descriptor's object is.
fn real_path(fd: BorrowedFd<'_>) -> Result<PathBuf, Errno> {
    let link = readlinkat(CWD, format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::with_capacity(256))?;
    Ok(PathBuf::from(OsString::from_vec(link.into_bytes())))
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
