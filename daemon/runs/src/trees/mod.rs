//! Workspaces, and trees of users looked at with those users' rights.

mod look;
mod without;
mod workspaces;

pub(crate) use without::Without;

use crate::error::RunError;
use cordon_snapshots::{live::LiveTree, rights::Owner};
use nix::unistd::{Uid, User};
use rustix::{
    fs::{self, Mode, OFlags, ResolveFlags},
    io::Errno,
};
use std::path::Path;

/// With whose rights a live tree is read and written for an owner of runs; none: with the
/// daemon's own, which is that owner then. Root has the rights of whoever owns the tree.
pub(crate) fn rights(owner: u32, root: &Path) -> Result<Option<Owner>, RunError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    // Whose a tree is must not be said of another one, to which an agent made a link lead.
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let found = fs::openat2(fs::CWD, root, flags, Mode::empty(), resolve).and_then(fs::fstat);
    let meta = found.map_err(|e| cordon_snapshots::TreeError {
        path: Vec::new(),
        reason: match e {
            Errno::LOOP => format!("{}: a symbolic link stands in the way", root.display()),
            e => format!("{}: {}", root.display(), std::io::Error::from(e)),
        },
        absent: e == Errno::NOENT,
    })?;
    let user = if owner == 0 { meta.st_uid } else { owner };
    let listed = User::from_uid(Uid::from_raw(user)).ok().flatten().map(|u| u.gid.as_raw());
    let group = if meta.st_uid == user { meta.st_gid } else { listed.unwrap_or(user) };
    Ok(Some(Owner::known(user, group)))
}

/// A live tree, read with its owner's rights.
pub(crate) fn live(owner: u32, root: &Path) -> Result<LiveTree, RunError> {
    Ok(match rights(owner, root)? {
        Some(rights) => LiveTree::open_as(root, &rights)?,
        None => LiveTree::open(root)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_behind_a_link_is_nobodys() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(top.join("real/tree")).unwrap();
        std::os::unix::fs::symlink(top.join("real"), top.join("link")).unwrap();
        let owner = rustix::process::geteuid().as_raw();
        live(owner, &top.join("real/tree")).unwrap();
        assert!(live(owner, &top.join("link/tree")).is_err());
        assert!(live(owner, &top.join("link")).is_err());
    }
}
