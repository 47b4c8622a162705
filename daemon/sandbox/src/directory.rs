//! The per-sandbox directory of the sockets. It belongs to the sandbox's user, who
//! may put anything into it: everything here goes by descriptor and follows no link.

use crate::{Identity, SandboxError};
use rustix::{
    fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
    fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Uid},
    io::Errno,
};
use std::{
    ffi::{CStr, CString, OsStr},
    path::{Path, PathBuf},
};
#[cfg(feature = "docker")]
use {cordon_proto::guest as pb, prost::Message as _};

/// Below the state directory.
const SANDBOXES: &str = "sandboxes";
/// Deeper trees are folded up before they are removed, so that neither the stack nor
/// the number of descriptors is in the hands of whoever made them.
const DEPTH: usize = 32;

/// The boot message of a container's guest.
#[cfg(feature = "docker")]
const BOOT: &str = "boot.pb";

/// What a container's tools decide by, beside its directory: nobody inside reaches it for writing.
const TABLE: &str = ".tools";

/// Makes the directory of a new sandbox below the state directory.
pub(crate) fn create(state: &Path, id: &str, identity: Identity) -> Result<PathBuf, SandboxError> {
    Directory::create(state, id, identity).map(|directory| directory.path)
}

/// Writes the boot message where a container's guest looks for it.
#[cfg(feature = "docker")]
pub(crate) fn write_boot(path: &Path, boot: &pb::Boot) -> Result<(), SandboxError> {
    let identity = Identity { uid: boot.uid, gid: boot.gid };
    Directory::open(path)?.write(BOOT, &boot.encode_to_vec(), identity)
}

/// Writes the table of the tools, which everybody inside may read, beside the directory.
#[cfg(feature = "docker")]
pub(crate) fn write_table(path: &Path, table: &pb::ToolTable) -> Result<PathBuf, SandboxError> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let mut name = path.as_os_str().to_owned();
    name.push(TABLE);
    let file = PathBuf::from(name);
    let write = || {
        let mut out = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o444).open(&file)?;
        // The daemon's umask takes away what whoever runs inside needs.
        out.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o444))?;
        out.write_all(&table.encode_to_vec())
    };
    write().map_err(SandboxError::io("write", &file))?;
    Ok(file)
}

/// Removes a sandbox's directory with all that was put into it. Succeeds when it is gone.
pub(crate) fn remove(path: &Path) -> Result<(), SandboxError> {
    Directory::remove(path)
}

/// The directory of one sandbox.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    fd: OwnedFd,
}

impl Directory {
    /// Makes the directory of a new sandbox below the state directory.
    pub(crate) fn create(state: &Path, id: &str, identity: Identity) -> Result<Self, SandboxError> {
        let parent_path = state.join(SANDBOXES);
        let parent = parent(state)?;
        let path = parent_path.join(id);
        let at = &path;
        let failed = |step| move |e: Errno| SandboxError::io(step, at)(e.into());
        rustix::fs::mkdirat(&parent, id, Mode::RWXU).map_err(failed("make the directory"))?;
        let fd = open(parent.as_fd(), id).map_err(failed("open the directory"))?;
        if rustix::process::geteuid().is_root() {
            rustix::fs::fchown(&fd, Some(Uid::from_raw(identity.uid)), Some(Gid::from_raw(identity.gid)))
                .map_err(failed("hand over the directory"))?;
        }
        Ok(Self { path, fd })
    }

    /// Opens the directory of a sandbox that was made before.
    pub(crate) fn open(path: &Path) -> Result<Self, SandboxError> {
        let fd = open(CWD, path).map_err(|e| SandboxError::io("open the directory", path)(e.into()))?;
        Ok(Self { path: path.to_path_buf(), fd })
    }

    /// Where it is on the host.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its descriptor.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    #[cfg(any(feature = "docker", test))]
    /// Writes a new file that only the sandbox's user can read.
    pub(crate) fn write(&self, name: &str, content: &[u8], identity: Identity) -> Result<(), SandboxError> {
        let path = self.path.join(name);
        let write = || -> Result<(), Errno> {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR)?;
            let mut rest = content;
            while !rest.is_empty() {
                let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest))?;
                rest = rest.get(written..).unwrap_or_default();
            }
            if rustix::process::geteuid().is_root() {
                rustix::fs::fchown(
                    &file,
                    Some(Uid::from_raw(identity.uid)),
                    Some(Gid::from_raw(identity.gid)),
                )?;
            }
            Ok(())
        };
        write().map_err(|e| SandboxError::io("write", path)(e.into()))
    }

    /// Hands a name in it over to the sandbox's user, as the name itself and not what it leads to.
    pub(crate) fn give(&self, name: &str, identity: Identity) -> Result<(), SandboxError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
        rustix::fs::chownat(&self.fd, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| SandboxError::io("hand over", self.path.join(name))(e.into()))
    }

    /// Removes a sandbox's directory with all that was put into it. Succeeds when it is gone.
    pub(crate) fn remove(path: &Path) -> Result<(), SandboxError> {
        let failed = |e: Errno| SandboxError::io("remove", path)(e.into());
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(failed(Errno::INVAL));
        };
        let parent = match open(CWD, above) {
            Ok(parent) => parent,
            Err(Errno::NOENT) => return Ok(()),
            Err(e) => return Err(failed(e)),
        };
        let mut table = name.to_owned();
        table.push(TABLE);
        match rustix::fs::unlinkat(&parent, table, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(failed(e)),
        }
        match open(parent.as_fd(), name) {
            Ok(directory) => empty(&directory).map_err(failed)?,
            Err(Errno::NOENT) => return Ok(()),
            Err(e) => return Err(failed(e)),
        }
        match rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(failed(e)),
        }
    }

    /// The ids of all sandboxes that have a directory below the state directory.
    pub(crate) fn list(state: &Path) -> Result<Vec<String>, SandboxError> {
        let path = state.join(SANDBOXES);
        let directory = match open(CWD, &path) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Ok(Vec::new()),
            Err(e) => return Err(SandboxError::io("list", path)(e.into())),
        };
        let names = entries(&directory).map_err(|e| SandboxError::io("list", path)(e.into()))?;
        Ok(names.into_iter().filter_map(|(name, _)| name.into_string().ok()).filter(|id| is_id(id)).collect())
    }

    /// Where the directory of a sandbox is or would be.
    pub(crate) fn path_of(state: &Path, id: &str) -> PathBuf {
        state.join(SANDBOXES).join(id)
    }
}

/// Whether a sandbox may be called so: the name is used in paths, labels and host names.
pub(crate) fn is_id(id: &str) -> bool {
    (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

fn parent(state: &Path) -> Result<OwnedFd, SandboxError> {
    let path = state.join(SANDBOXES);
    let made = || -> Result<OwnedFd, Errno> {
        let above = open(CWD, state)?;
        match rustix::fs::mkdirat(&above, SANDBOXES, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(e),
        }
        open(above.as_fd(), SANDBOXES)
    };
    made().map_err(|e| SandboxError::io("make the directory", path)(e.into()))
}

fn open(at: BorrowedFd<'_>, path: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, path, flags, Mode::empty())
}

fn entries(directory: &OwnedFd) -> Result<Vec<(CString, FileType)>, Errno> {
    let mut found = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            found.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    Ok(found)
}

/// Empties a directory. What lies too deep is moved up into it and removed in the next round.
fn empty(top: &OwnedFd) -> Result<(), Errno> {
    let mut folded = 0u64;
    loop {
        let before = folded;
        empty_level(top, top, 0, &mut folded)?;
        if folded == before {
            return Ok(());
        }
    }
}

fn empty_level(top: &OwnedFd, directory: &OwnedFd, depth: usize, folded: &mut u64) -> Result<(), Errno> {
    for (name, _) in entries(directory)? {
        match rustix::fs::unlinkat(directory, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(e) => return Err(e),
        }
        if depth >= DEPTH {
            *folded += 1;
            rustix::fs::renameat(directory, &name, top, format!(".folded-{folded}"))?;
            continue;
        }
        let below = open_for_removal(directory.as_fd(), &name)?;
        empty_level(top, &below, depth + 1, folded)?;
        rustix::fs::unlinkat(directory, &name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Removes what a name in a directory stands for, with all below it, and follows no link. Succeeds
/// when there is nothing.
///
/// # Errors
/// What the kernel says.
pub fn remove_at(directory: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(e) => return Err(e),
    }
    let name = CString::new(name.as_encoded_bytes()).map_err(|_| Errno::INVAL)?;
    empty(&open_for_removal(directory, &name)?)?;
    rustix::fs::unlinkat(directory, &name, AtFlags::REMOVEDIR)
}

fn open_for_removal(directory: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let opened = open(directory, name);
    if let Ok(found) = &opened
        && rustix::fs::fstat(found)?.st_mode & Mode::RWXU.bits() != Mode::RWXU.bits()
    {
        // A privileged process does without.
        let _ = rustix::fs::fchmod(found, Mode::RWXU);
    }
    match opened {
        // Its owner took the permissions away. They are given back through a descriptor, so
        // that a link which replaced it meanwhile is not followed.
        Err(Errno::ACCESS) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let place = rustix::fs::openat(directory, name, flags, Mode::empty())?;
            rustix::fs::chmod(format!("/proc/self/fd/{}", place.as_raw_fd()), Mode::RWXU)?;
            open(directory, name)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    fn identity() -> Identity {
        Identity { uid: rustix::process::getuid().as_raw(), gid: rustix::process::getgid().as_raw() }
    }

    #[test]
    fn a_directory_is_private_and_listed_until_it_is_removed() {
        use std::os::unix::fs::PermissionsExt as _;
        let state = tempfile::tempdir().unwrap();
        let directory = Directory::create(state.path(), "a1", identity()).unwrap();
        assert_eq!(fs::metadata(directory.path()).unwrap().permissions().mode() & 0o7777, 0o700);
        directory.write("boot.pb", b"x", identity()).unwrap();
        assert!(directory.write("boot.pb", b"y", identity()).is_err(), "an existing file was replaced");
        assert!(Directory::create(state.path(), "a1", identity()).is_err(), "a directory was shared");
        assert_eq!(Directory::list(state.path()).unwrap(), ["a1"]);
        Directory::remove(directory.path()).unwrap();
        Directory::remove(directory.path()).unwrap();
        assert!(Directory::list(state.path()).unwrap().is_empty());
    }

    #[test]
    fn removal_follows_no_link_and_minds_no_depth() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("canary"), b"alive").unwrap();
        let state = tempfile::tempdir().unwrap();
        let directory = Directory::create(state.path(), "a2", identity()).unwrap();
        symlink(outside.path(), directory.path().join("link")).unwrap();
        let mut at = open(CWD, directory.path()).unwrap();
        for _ in 0..2000 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = open(at.as_fd(), "d").unwrap();
            rustix::fs::symlinkat(outside.path(), &at, "out").unwrap();
        }
        Directory::remove(directory.path()).unwrap();
        assert!(!directory.path().try_exists().unwrap());
        assert_eq!(fs::read(outside.path().join("canary")).unwrap(), b"alive");
    }

    #[test]
    fn a_link_in_place_of_the_directory_is_not_entered() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("canary"), b"alive").unwrap();
        let state = tempfile::tempdir().unwrap();
        fs::create_dir(state.path().join(SANDBOXES)).unwrap();
        let path = Directory::path_of(state.path(), "a3");
        symlink(outside.path(), &path).unwrap();
        assert!(Directory::remove(&path).is_err());
        assert_eq!(fs::read(outside.path().join("canary")).unwrap(), b"alive");
    }

    #[test]
    fn names_that_are_no_ids_are_refused() {
        for id in ["", "A", "a/b", "..", "a.b", &"a".repeat(33)] {
            assert!(!is_id(id), "{id:?}");
        }
        assert!(is_id("0190b3c8aa"));
    }
}
