use super::{
    attach::{self, Attributes},
    devices,
    error::{Error, at, call},
};
use cordon_proto::guest::{LocalView, Mount, mount::Kind};
use rustix::{
    fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid},
    io::Errno,
    mount::{MountPropagationFlags, UnmountFlags},
};
use std::{
    ffi::{CString, OsStr},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Component, Path, PathBuf},
};

/// The view while it is assembled.
pub(super) struct View {
    root: OwnedFd,
    uid: u32,
    gid: u32,
    /// Device numbers of the filesystems that were made here: only there may
    /// directories be made freely.
    own: Vec<u64>,
    /// An empty file without permission bits, made when the first mask needs it.
    empty: Option<OwnedFd>,
}

/// The name of the empty file while the view is assembled.
const EMPTY: &str = ".cordon-empty";

/// Assembles the view on the directory the daemon chose, and makes it this process's root.
pub(super) fn build(local: &LocalView, uid: u32, gid: u32) -> Result<(), Error> {
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(call("cut the mounts off from the host's"))?;
    let mask = rustix::process::umask(Mode::empty());
    let mut view = View::new(Path::new(OsStr::from_bytes(&local.root)), uid, gid)?;
    for mount in &local.mounts {
        view.apply(mount)?;
    }
    view.finish()?;
    rustix::process::umask(mask | Mode::WGRP | Mode::WOTH);
    Ok(())
}

impl View {
    fn new(at_path: &Path, uid: u32, gid: u32) -> Result<Self, Error> {
        let below = attach::open_source(at_path)?;
        let attributes = Attributes { writable: true, ..Attributes::INERT };
        attach::new_filesystem(c"tmpfs", below.as_fd(), attributes, c"mode=0755,size=8m", at_path)?;
        let root = attach::open_source(at_path)?;
        let device = rustix::fs::fstat(&root).map_err(at("look at", at_path))?.st_dev;
        Ok(Self { root, uid, gid, own: vec![device], empty: None })
    }

    fn apply(&mut self, mount: &Mount) -> Result<(), Error> {
        let path = normal(Path::new(OsStr::from_bytes(&mount.path)))?;
        let attributes =
            Attributes { writable: mount.writable, executable: mount.executable, devices: false };
        match mount.kind() {
            Kind::Unspecified => Err(Error::View { path, why: "a mount of no kind" }),
            Kind::Bind => {
                let source = attach::open_source(Path::new(OsStr::from_bytes(&mount.source)))?;
                let kind = kind_of(&source, &path)?;
                let target = self.mount_point(&path, kind)?;
                attach::bind(source.as_fd(), target.as_fd(), attributes, &path)
            }
            Kind::Tmpfs => {
                let mode = if mount.mode == 0 { 0o700 } else { mount.mode };
                self.tmpfs(&path, attributes, mount.size_bytes, mode, true)
            }
            Kind::EmptyDir => self.tmpfs(&path, Attributes::INERT, 0, 0o555, false),
            Kind::EmptyFile => self.mask_file(&path),
            Kind::Symlink => {
                let (parent, name) = self.parent(&path)?;
                rustix::fs::symlinkat(OsStr::from_bytes(&mount.source), &parent, name)
                    .map_err(at("make the link", &path))
            }
            Kind::File => self.file(&path, &mount.content, mount.mode),
            Kind::Proc => devices::proc(self, &path),
            Kind::Dev => devices::dev(self, &path, mount.size_bytes),
        }
    }

    /// A tmpfs of the agent's, or an empty one of nobody's.
    pub(super) fn tmpfs(
        &mut self,
        path: &Path,
        attributes: Attributes,
        size: u64,
        mode: u32,
        agents: bool,
    ) -> Result<(), Error> {
        let target = self.mount_point(path, FileType::Directory)?;
        // One inode for each page: small files run out of space and inodes together.
        let (size, inodes) = if attributes.writable { (size, (size / 4096).max(64)) } else { (4096, 2) };
        let mut options = format!("mode={mode:04o},size={size},nr_inodes={inodes}");
        if agents {
            options.push_str(&format!(",uid={},gid={}", self.uid, self.gid));
        }
        let options = CString::new(options)
            .map_err(|_| Error::View { path: path.to_path_buf(), why: "a NUL in its options" })?;
        attach::new_filesystem(c"tmpfs", target.as_fd(), attributes, &options, path)?;
        if attributes.writable {
            let top = self.open(path).map_err(at("look at", path))?;
            self.own.push(rustix::fs::fstat(&top).map_err(at("look at", path))?.st_dev);
        }
        Ok(())
    }

    /// Hides a file behind an empty one that nobody can open.
    pub(super) fn mask_file(&mut self, path: &Path) -> Result<(), Error> {
        let target = self.mount_point(path, FileType::RegularFile)?;
        let empty = match self.empty.take() {
            Some(empty) => empty,
            None => {
                self.write_file(self.root.as_fd(), OsStr::new(EMPTY), b"", Mode::empty())
                    .map_err(at("make", Path::new(EMPTY)))?;
                self.open(Path::new(EMPTY)).map_err(at("open", Path::new(EMPTY)))?
            }
        };
        let bound = attach::bind(empty.as_fd(), target.as_fd(), Attributes::INERT, path);
        self.empty = Some(empty);
        bound
    }

    fn file(&self, path: &Path, content: &[u8], mode: u32) -> Result<(), Error> {
        let (parent, name) = self.parent(path)?;
        if !self.is_own(&parent, path)? {
            return Err(Error::View { path: path.to_path_buf(), why: "a file below a tree of the host" });
        }
        let mode = Mode::from_raw_mode(if mode == 0 { 0o444 } else { mode & 0o555 });
        self.write_file(parent.as_fd(), name, content, mode).map_err(at("write", path))
    }

    fn write_file(
        &self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        content: &[u8],
        mode: Mode,
    ) -> Result<(), Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(parent, name, flags, mode)?;
        let mut rest = content;
        while !rest.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest))?;
            rest = rest.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// Opens a path of the view.
    pub(super) fn open(&self, path: &Path) -> Result<OwnedFd, Errno> {
        attach::open_inside(self.root.as_fd(), path)
    }

    /// The place where something is attached. In a filesystem of our own it is made when
    /// it is not there; a tree of the host is left as it is.
    pub(super) fn mount_point(&self, path: &Path, kind: FileType) -> Result<OwnedFd, Error> {
        match self.open(path) {
            Ok(found) => {
                let is_directory = kind_of(&found, path)? == FileType::Directory;
                if is_directory == (kind == FileType::Directory) {
                    Ok(found)
                } else {
                    Err(Error::View {
                        path: path.to_path_buf(),
                        why: "a file where a directory is to be, or the reverse",
                    })
                }
            }
            Err(Errno::NOENT) => {
                let (parent, name) = self.parent(path)?;
                if !self.is_own(&parent, path)? {
                    return Err(Error::View {
                        path: path.to_path_buf(),
                        why: "nothing to mount on in a tree of the host",
                    });
                }
                if kind == FileType::Directory {
                    rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))
                        .map_err(at("make the mount point", path))?;
                } else {
                    self.write_file(parent.as_fd(), name, b"", Mode::from_raw_mode(0o644))
                        .map_err(at("make the mount point", path))?;
                }
                self.open(path).map_err(at("open the mount point", path))
            }
            Err(e) => Err(at("open the mount point", path)(e)),
        }
    }

    /// The directory of a path, and the name in it. In filesystems of our own what is
    /// missing is made; in a tree of the host a missing directory is an error.
    fn parent<'a>(&self, path: &'a Path) -> Result<(OwnedFd, &'a OsStr), Error> {
        let name = path.file_name().ok_or(Error::View { path: path.to_path_buf(), why: "no name" })?;
        let above = path.parent().unwrap_or(Path::new(""));
        if above.as_os_str().is_empty() {
            let root = self.root.try_clone().map_err(|e| Error::Call {
                step: "duplicate a descriptor",
                source: Errno::from_io_error(&e).unwrap_or(Errno::MFILE),
            })?;
            return Ok((root, name));
        }
        match self.open(above) {
            Ok(parent) => Ok((parent, name)),
            Err(Errno::NOENT) => {
                let (grandparent, directory) = self.parent(above)?;
                if !self.is_own(&grandparent, above)? {
                    return Err(at("find the directory", above)(Errno::NOENT));
                }
                rustix::fs::mkdirat(&grandparent, directory, Mode::from_raw_mode(0o755))
                    .map_err(at("make the directory", above))?;
                if !self.is_root_filesystem(&grandparent, above)? {
                    self.give(&grandparent, directory).map_err(at("hand over", above))?;
                }
                Ok((self.open(above).map_err(at("open", above))?, name))
            }
            Err(e) => Err(at("open", above)(e)),
        }
    }

    fn give(&self, parent: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
        rustix::fs::chownat(
            parent,
            name,
            Some(Uid::from_raw(self.uid)),
            Some(Gid::from_raw(self.gid)),
            AtFlags::SYMLINK_NOFOLLOW,
        )
    }

    fn is_own(&self, directory: &OwnedFd, path: &Path) -> Result<bool, Error> {
        Ok(self.own.contains(&rustix::fs::fstat(directory).map_err(at("look at", path))?.st_dev))
    }

    fn is_root_filesystem(&self, directory: &OwnedFd, path: &Path) -> Result<bool, Error> {
        let device = rustix::fs::fstat(directory).map_err(at("look at", path))?.st_dev;
        Ok(self.own.first() == Some(&device))
    }

    fn finish(self) -> Result<(), Error> {
        let root = Path::new("/");
        if self.empty.is_some() {
            rustix::fs::unlinkat(&self.root, EMPTY, AtFlags::empty()).map_err(at("remove", root))?;
        }
        attach::set_attributes(self.root.as_fd(), Attributes::INERT, false)
            .map_err(at("restrict the mount at", root))?;
        rustix::process::fchdir(&self.root).map_err(call("go to the new root"))?;
        // Both in one place: the old root ends up on top of the new one and is let go.
        rustix::process::pivot_root(c".", c".").map_err(call("change the root"))?;
        rustix::mount::unmount(c".", UnmountFlags::DETACH).map_err(call("let go of the old root"))?;
        rustix::process::chdir(c"/").map_err(call("go to the root"))
    }
}

fn kind_of(file: &OwnedFd, path: &Path) -> Result<FileType, Error> {
    let stat = rustix::fs::fstat(file).map_err(at("look at", path))?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

/// An absolute path in normal form, relative to the new root.
fn normal(path: &Path) -> Result<PathBuf, Error> {
    let wrong = |why| Error::View { path: path.to_path_buf(), why };
    let relative = path.strip_prefix("/").map_err(|_| wrong("not an absolute path"))?;
    if relative.as_os_str().is_empty() {
        return Err(wrong("the root itself"));
    }
    if !relative.components().all(|c| matches!(c, Component::Normal(_))) {
        return Err(wrong("not a path in normal form"));
    }
    Ok(relative.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_normal_absolute_paths_name_a_place_in_the_view() {
        assert_eq!(normal(Path::new("/a/b")).unwrap(), Path::new("a/b"));
        for path in ["", "/", "a", "/a/../b", "/..", "//.."] {
            assert!(normal(Path::new(path)).is_err(), "{path:?}");
        }
    }
}
