use super::TreeRecord;
use crate::error::RunError;
use cordon_proto::v1::FileChangeEvent;
use cordon_snapshots::{
    Store, StoredTree,
    diff::{Delta, Limits, What, diff},
};
use std::os::unix::ffi::OsStrExt as _;

/// What differs between two snapshots of one tree, as a summary tells it. Blocks.
pub(crate) fn changed(
    store: &Store,
    tree: &TreeRecord,
    limits: &Limits,
) -> Result<Vec<FileChangeEvent>, RunError> {
    let (Some(base), Some(turn)) = (&tree.base, &tree.turn) else { return Ok(Vec::new()) };
    let (base, turn) = (stored(store, base)?, stored(store, turn)?);
    let deltas =
        if base.snapshot().root == turn.snapshot().root { Vec::new() } else { diff(&base, &turn, limits)? };
    let above = tree.live();
    let path = |name: &[u8]| {
        let mut path = above.as_os_str().as_bytes().to_vec();
        path.push(b'/');
        path.extend_from_slice(name);
        path.into()
    };
    let event = |name: &[u8], change: &str| FileChangeEvent { path: path(name), change: change.to_owned() };
    let told = |delta: Delta| match &delta.what {
        What::Added => vec![event(&delta.path, "added")],
        What::Removed => vec![event(&delta.path, "removed")],
        What::Renamed { from, .. } => vec![event(from, "removed"), event(&delta.path, "added")],
        What::Modified | What::Mode | What::Type => vec![event(&delta.path, "modified")],
    };
    Ok(deltas.into_iter().flat_map(told).collect())
}

fn stored<'a>(store: &'a Store, id: &str) -> Result<StoredTree<'a>, RunError> {
    let id = id.parse().map_err(|_| RunError::SnapshotNotFound { id: id.to_owned() })?;
    Ok(store.tree(&id)?)
}
