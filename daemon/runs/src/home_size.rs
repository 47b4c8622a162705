//! How much an agent's kept home holds. No file system limits a directory, so it is looked at.

use super::{HomeError, LOOK, failed, usable};
use cordon_sandbox::Identity;
use cordon_snapshots::rights::{Owner, as_owner};
use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat},
    io::Errno,
};
use std::{collections::HashSet, ffi::CString, path::Path};

/// Names in it. Who makes more fills a file system without bytes.
const NAMES: usize = 1_000_000;
/// Each open directory above the one that is looked at costs a descriptor.
const DEPTH: usize = 100;
/// What a name takes at least, wherever it is kept.
const NAME_BYTES: u64 = 256;

/// What a home holds, as far as it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// So many bytes of the disk.
    Bytes(u64),
    /// More than it may.
    More,
    /// More names, or deeper ones, than anybody looks at.
    Names,
}

struct Walk {
    left: u64,
    most: u64,
    names: usize,
    /// Files with several names: each counts once.
    seen: HashSet<(u64, u64)>,
}

/// Counts until it is more than `most`. With the agent's rights, so that what is exchanged
/// meanwhile leads nowhere that the agent could not go itself. Blocks.
pub(crate) fn held(home: &Path, identity: Identity, most: u64) -> Result<Held, HomeError> {
    let none = Path::new("");
    let top = openat(CWD, home, LOOK | OFlags::DIRECTORY, Mode::empty());
    let top = top.map_err(|e| failed(home, none, e))?;
    let work = || {
        let mut walk = Walk { left: most, most, names: 0, seen: HashSet::new() };
        walk.level(&top, 0)
    };
    let held = as_owner(&Owner::new(identity.uid, identity.gid), work)
        .map_err(|e| failed(home, none, std::io::Error::other(e)))?;
    held.map_err(|e| failed(home, none, e))
}

impl Walk {
    fn level(&mut self, directory: &OwnedFd, depth: usize) -> Result<Held, Errno> {
        if depth > DEPTH {
            return Ok(Held::Names);
        }
        // Its owner may have taken the permissions away, and would hide in it what it holds. Nothing
        // else of an agent that is at work is changed.
        if fstat(directory)?.st_mode & 0o500 != 0o500 {
            usable(directory)?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut below: Vec<CString> = Vec::new();
        for entry in Dir::new(openat(directory, ".", flags, Mode::empty())?)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.names += 1;
            if self.names > NAMES {
                return Ok(Held::Names);
            }
            // What is gone meanwhile holds nothing.
            let Ok(found) = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if !self.count(&found) {
                return Ok(Held::More);
            }
            if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
                below.push(name.to_owned());
            }
        }
        for name in below {
            let Ok(directory) = openat(directory, &name, LOOK | OFlags::DIRECTORY, Mode::empty()) else {
                continue;
            };
            match self.level(&directory, depth + 1) {
                // With sudo inside there may be root's: nobody else's are in a home.
                Ok(Held::Bytes(_)) | Err(Errno::NOENT | Errno::ACCESS | Errno::PERM) => {}
                other => return other,
            }
        }
        Ok(Held::Bytes(self.most - self.left))
    }

    /// False when it is more than it may be.
    fn count(&mut self, found: &Stat) -> bool {
        let several = found.st_nlink > 1 && FileType::from_raw_mode(found.st_mode) != FileType::Directory;
        let bytes = if several && !self.seen.insert((found.st_dev, found.st_ino)) {
            0
        } else {
            u64::try_from(found.st_blocks).unwrap_or(0).saturating_mul(512)
        };
        let left = self.left.checked_sub(bytes.saturating_add(NAME_BYTES));
        self.left = left.unwrap_or(0);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    fn identity() -> Identity {
        Identity { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
    }

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_is_on_the_disk_counts_once_wherever_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let held = |most| held(dir.path(), identity(), most).unwrap();
        let Held::Bytes(empty) = held(u64::MAX) else { panic!() };
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/c"), vec![7; 3 << 20]).unwrap();
        fs::hard_link(dir.path().join("a/b/c"), dir.path().join("again")).unwrap();
        // Neither a link's target nor a hole is of the home.
        symlink("/", dir.path().join("root")).unwrap();
        fs::File::create(dir.path().join("hole")).unwrap().set_len(1 << 40).unwrap();
        let Held::Bytes(bytes) = held(u64::MAX) else { panic!() };
        assert!((3 * MIB..4 * MIB).contains(&(bytes - empty)), "{bytes}");
        assert_eq!(held(3 * MIB), Held::More);
        assert_eq!(held(bytes), Held::Bytes(bytes));
        assert_eq!(held(bytes - 1), Held::More);
        // Nor does it hide where nobody may look.
        fs::set_permissions(dir.path().join("a"), fs::Permissions::from_mode(0o000)).unwrap();
        assert_eq!(held(3 * MIB), Held::More);
    }

    #[test]
    fn what_the_agent_may_not_look_into_ends_nothing_and_no_mode_is_changed() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
        for (name, mode) in [("read-only", 0o555), ("closed", 0o700)] {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let mut agent = identity();
        if rustix::process::geteuid().is_root() {
            // Both are root's then, as with sudo inside.
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
            agent = Identity { uid: 65_534, gid: 65_534 };
        }
        assert!(matches!(held(dir.path(), agent, u64::MAX).unwrap(), Held::Bytes(_)));
        assert_eq!((mode("read-only"), mode("closed")), (0o555, 0o700));
    }

    #[test]
    fn what_is_deeper_than_anybody_looks_is_too_much() {
        let dir = tempfile::tempdir().unwrap();
        let deep = |levels: usize| dir.path().join("d/".repeat(levels));
        fs::create_dir_all(deep(DEPTH)).unwrap();
        assert!(matches!(held(dir.path(), identity(), u64::MAX).unwrap(), Held::Bytes(_)));
        fs::create_dir_all(deep(DEPTH + 1)).unwrap();
        assert_eq!(held(dir.path(), identity(), u64::MAX).unwrap(), Held::Names);
        assert!(held(&dir.path().join("none"), identity(), 0).is_err());
    }
}
