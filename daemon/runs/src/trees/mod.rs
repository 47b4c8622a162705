//! Workspaces, and trees of users looked at with those users' rights.

mod look;
mod without;
mod workspaces;

pub(crate) use without::Without;

use crate::error::RunError;
use cordon_snapshots::{live::LiveTree, rights::Owner};
use nix::unistd::{Uid, User};
use std::{os::unix::fs::MetadataExt as _, path::Path};

/// With whose rights a live tree is read and written for an owner of runs; none: with the
/// daemon's own, which is that owner then. Root has the rights of whoever owns the tree.
pub(crate) fn rights(owner: u32, root: &Path) -> Result<Option<Owner>, RunError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let meta = root.symlink_metadata().map_err(|e| cordon_snapshots::TreeError {
        path: Vec::new(),
        reason: format!("{}: {e}", root.display()),
        absent: e.kind() == std::io::ErrorKind::NotFound,
    })?;
    let user = if owner == 0 { meta.uid() } else { owner };
    let listed = User::from_uid(Uid::from_raw(user)).ok().flatten().map(|u| u.gid.as_raw());
    let group = if meta.uid() == user { meta.gid() } else { listed.unwrap_or(user) };
    Ok(Some(Owner::known(user, group)))
}

/// A live tree, read with its owner's rights.
pub(crate) fn live(owner: u32, root: &Path) -> Result<LiveTree, RunError> {
    Ok(match rights(owner, root)? {
        Some(rights) => LiveTree::open_as(root, &rights)?,
        None => LiveTree::open(root)?,
    })
}
