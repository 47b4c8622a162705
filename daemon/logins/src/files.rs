//! Directories and small files, by descriptor and without following a link.

use crate::LoginError;
use cordon_backends::LARGEST_LOGIN;
use rustix::{
    fs::{self, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
};
use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const PRIVATE: Mode = Mode::RWXU;

/// A directory that is open, and where it was found: for messages, and for mounting it.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) fd: OwnedFd,
    pub(crate) path: PathBuf,
}

impl Directory {
    /// A directory in whose path there is no link.
    pub(crate) fn open(path: &Path) -> Result<Self, LoginError> {
        let opened = fs::openat2(CWD, path, DIRECTORY, Mode::empty(), ResolveFlags::NO_SYMLINKS);
        Ok(Self { fd: opened.map_err(LoginError::io("open", path))?, path: path.to_path_buf() })
    }

    /// A directory in it; made when it is not there.
    pub(crate) fn make(&self, name: &str, mode: Mode) -> Result<Self, LoginError> {
        let path = self.path.join(name);
        match fs::mkdirat(&self.fd, name, mode) {
            Ok(()) => self.sync()?,
            Err(Errno::EXIST) => {}
            Err(error) => return Err(LoginError::io("make", path)(error)),
        }
        let fd =
            fs::openat(&self.fd, name, DIRECTORY, Mode::empty()).map_err(LoginError::io("open", &path))?;
        // Whatever the umask is.
        fs::fchmod(&fd, mode).map_err(LoginError::io("set the mode of", &path))?;
        Ok(Self { fd, path })
    }

    /// A directory in it for the daemon alone.
    pub(crate) fn make_private(&self, name: &str) -> Result<Self, LoginError> {
        self.make(name, PRIVATE)
    }

    /// A directory in it, where there is one.
    pub(crate) fn find(&self, name: &str) -> Result<Option<Self>, LoginError> {
        let path = self.path.join(name);
        match fs::openat(&self.fd, name, DIRECTORY, Mode::empty()) {
            Ok(fd) => Ok(Some(Self { fd, path })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(LoginError::io("open", path)(error)),
        }
    }

    /// A regular file of bounded size, where there is one.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, LoginError> {
        let path = self.path.join(name);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(LoginError::unusable(path, "it is a symbolic link")),
            Err(error) => return Err(LoginError::io("open", path)(error)),
        };
        let stat = fs::fstat(&file).map_err(LoginError::io("look at", &path))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(LoginError::unusable(path, "it is not a regular file"));
        }
        let mut content = Vec::new();
        let read = File::from(file).take(LARGEST_LOGIN as u64 + 1).read_to_end(&mut content);
        read.map_err(LoginError::io("read", &path))?;
        if content.len() > LARGEST_LOGIN {
            return Err(LoginError::unusable(path, format!("it is larger than {LARGEST_LOGIN} bytes")));
        }
        Ok(Some(content))
    }

    /// Puts a file there: afterwards it is the old one or the new one, whole, also when the
    /// machine stops meanwhile. The new one is written in `beside`, on the same file system.
    pub(crate) fn replace(
        &self,
        name: &str,
        content: &[u8],
        mode: Mode,
        owner: Option<(u32, u32)>,
        beside: &Self,
    ) -> Result<(), LoginError> {
        let new = format!(".cordon-{}", uuid::Uuid::new_v4().simple());
        let path = self.path.join(name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let put = || -> std::io::Result<()> {
            let mut file = File::from(fs::openat(&beside.fd, &new, flags, Mode::RUSR | Mode::WUSR)?);
            if let Some((uid, gid)) = owner {
                let (uid, gid) = (fs::Uid::from_raw(uid), fs::Gid::from_raw(gid));
                fs::fchown(&file, Some(uid), Some(gid))?;
            }
            file.write_all(content)?;
            fs::fchmod(&file, mode)?;
            file.sync_all()?;
            fs::renameat(&beside.fd, &new, &self.fd, name)?;
            Ok(fs::fsync(&self.fd)?)
        };
        put().map_err(|error| {
            // The error below is the one that matters.
            let _ = fs::unlinkat(&beside.fd, &new, AtFlags::empty());
            LoginError::io("write", path)(error)
        })
    }

    /// A file for the daemon alone.
    pub(crate) fn keep(&self, name: &str, content: &[u8]) -> Result<(), LoginError> {
        self.replace(name, content, Mode::RUSR | Mode::WUSR, None, self)
    }

    /// Whether there was one.
    pub(crate) fn remove(&self, name: &str) -> Result<bool, LoginError> {
        match fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) => self.sync().map(|()| true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(LoginError::io("remove", self.path.join(name))(error)),
        }
    }

    /// Removes a directory in it that a program may have written. Follows no link.
    pub(crate) fn remove_tree(&self, name: &str) -> Result<(), LoginError> {
        let path = self.path.join(name);
        match std::fs::remove_dir_all(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(LoginError::io("remove", path)(e)),
            _ => self.sync(),
        }
    }

    fn sync(&self) -> Result<(), LoginError> {
        fs::fsync(&self.fd).map_err(LoginError::io("sync", &self.path))
    }
}
