//! A name that is absent from a user's tree can only be kept absent for the agent by
//! something that stands there: an empty file or directory, mounted read-only, which is
//! removed again when the run ends.

use super::PlanError;
use cordon_sandbox::{Identity, PathKind};
use rustix::{
    fs::{self, AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid},
    io::Errno,
};
use std::path::{Path, PathBuf};

/// Placeholders of one plan; removed again when the plan fails.
#[derive(Debug, Default)]
pub(super) struct Made(Vec<PathBuf>);

impl Made {
    pub(super) fn keep(mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.0)
    }

    /// Makes `name` in the directory `parent`, unless something stands there.
    pub(super) fn make(
        &mut self,
        parent: &Path,
        name: &Path,
        kind: PathKind,
        identity: Identity,
    ) -> Result<bool, PlanError> {
        let path = parent.join(name);
        let fail = |e: Errno| PlanError::io("hold the absent name", path.clone())(e);
        let at = open_parent(parent).map_err(fail)?;
        let made = match kind {
            PathKind::Directory => fs::mkdirat(&at, name, Mode::from_raw_mode(0o755)),
            PathKind::File => {
                let flags =
                    OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                fs::openat(&at, name, flags, Mode::from_raw_mode(0o644)).map(drop)
            }
        };
        match made {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(false),
            Err(error) => return Err(fail(error)),
        }
        self.0.push(path.clone());
        if rustix::process::geteuid().is_root() {
            let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
            fs::chownat(&at, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
        }
        Ok(true)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        remove_placeholders(&self.0);
    }
}

fn open_parent(parent: &Path) -> Result<rustix::fd::OwnedFd, Errno> {
    fs::openat2(
        fs::CWD,
        parent,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )
}

/// Removes placeholders that are still empty; anything else that stands there by now is
/// the user's and stays.
pub fn remove_placeholders(paths: &[PathBuf]) {
    for path in paths.iter().rev() {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
        let Ok(at) = open_parent(parent) else { continue };
        let Ok(stat) = fs::statat(&at, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let removed = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => fs::unlinkat(&at, name, AtFlags::REMOVEDIR),
            FileType::RegularFile if stat.st_size == 0 => fs::unlinkat(&at, name, AtFlags::empty()),
            _ => Ok(()),
        };
        if let Err(error) = removed {
            tracing::warn!(path = %path.display(), %error, "a placeholder could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_longer_empty_stays() {
        let tree = tempfile::tempdir().unwrap();
        let root = tree.path().canonicalize().unwrap();
        let me =
            Identity { uid: rustix::process::getuid().as_raw(), gid: rustix::process::getgid().as_raw() };
        let mut made = Made::default();
        for (name, kind) in [("d", PathKind::Directory), ("f", PathKind::File), ("used", PathKind::Directory)]
        {
            assert!(made.make(&root, Path::new(name), kind, me).unwrap());
        }
        assert!(!made.make(&root, Path::new("d"), PathKind::Directory, me).unwrap());
        std::fs::write(root.join("used/x"), "").unwrap();
        remove_placeholders(&made.keep());
        assert_eq!(std::fs::read_dir(&root).unwrap().count(), 1);
        assert!(root.join("used/x").is_file());
    }

    #[test]
    fn a_failed_plan_leaves_nothing() {
        let tree = tempfile::tempdir().unwrap();
        let root = tree.path().canonicalize().unwrap();
        let me =
            Identity { uid: rustix::process::getuid().as_raw(), gid: rustix::process::getgid().as_raw() };
        let mut made = Made::default();
        made.make(&root, Path::new("f"), PathKind::File, me).unwrap();
        drop(made);
        assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0);
    }
}
