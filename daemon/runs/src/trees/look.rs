//! Looking into a workspace or a snapshot.

use super::live;
use crate::{error::RunError, runs::Runs};
use cordon_proto::v1;
use cordon_snapshots::{Content, NodeKind, TreeEntry, TreeSource};
use std::io::Read as _;

/// Bytes of one piece of a file.
const PIECE: usize = 64 << 10;
/// Directories below each other that are listed.
const DEPTH: u32 = 1000;

impl Runs {
    /// Lists what is in a workspace or a snapshot, each directory after its name. `node` says
    /// whether it wants more. Blocks.
    ///
    /// # Errors
    /// When there is no such tree or path, or it cannot be read.
    pub fn list_tree(
        &self,
        owner: u32,
        name: &str,
        path: &[u8],
        depth: u32,
        node: &mut dyn FnMut(v1::TreeNode) -> bool,
    ) -> Result<(), RunError> {
        let depth = if depth == 0 { DEPTH } else { depth.min(DEPTH) };
        let path = plain(path)?;
        self.with_tree(owner, name, |tree| {
            let mut waiting = vec![(path, depth)];
            let mut first = true;
            while let Some((at, depth)) = waiting.pop() {
                let entries = match tree.children(&at) {
                    // It went while the others were listed.
                    Err(error) if error.absent && !first => continue,
                    entries => entries?,
                };
                first = false;
                let mut below = Vec::new();
                for entry in entries {
                    let path = join(&at, &entry.name);
                    if entry.kind == NodeKind::Directory && depth > 1 {
                        below.push((path.clone(), depth - 1));
                    }
                    if !node(shown(path, entry)) {
                        return Ok(());
                    }
                }
                below.reverse();
                waiting.extend(below);
            }
            Ok(())
        })
    }

    /// Reads a file of a workspace or a snapshot, a piece at a time. `piece` says whether it
    /// wants more. Blocks.
    ///
    /// # Errors
    /// When there is no such tree or file, or it cannot be read.
    pub fn read_file(
        &self,
        owner: u32,
        name: &str,
        path: &[u8],
        piece: &mut dyn FnMut(Vec<u8>) -> bool,
    ) -> Result<(), RunError> {
        let path = plain(path)?;
        self.with_tree(owner, name, |tree| {
            let mut file = tree.read(&path)?;
            loop {
                let mut bytes = Vec::with_capacity(PIECE);
                (&mut file).take(PIECE as u64).read_to_end(&mut bytes).map_err(|e| {
                    let reason = e.to_string();
                    cordon_snapshots::TreeError { path: path.clone(), reason, absent: false }
                })?;
                if bytes.is_empty() || !piece(bytes) {
                    return Ok(());
                }
            }
        })
    }

    /// A tree by a workspace's name or a snapshot's id.
    fn with_tree<T>(
        &self,
        owner: u32,
        name: &str,
        look: impl FnOnce(&dyn TreeSource) -> Result<T, RunError>,
    ) -> Result<T, RunError> {
        match self.find_workspace(owner, name) {
            Ok(workspace) => look(&live(owner, &workspace.path)?),
            Err(RunError::WorkspaceNotFound { .. }) => match self.0.shared.stores.find(owner, name) {
                Ok(found) => look(&found.store.tree(&found.id)?),
                Err(RunError::SnapshotNotFound { .. }) => {
                    Err(RunError::WorkspaceNotFound { name: name.to_owned() })
                }
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        }
    }
}

/// A path below a tree's root, without what means nothing.
fn plain(path: &[u8]) -> Result<Vec<u8>, RunError> {
    let parts: Vec<&[u8]> = path.split(|b| *b == b'/').filter(|p| !p.is_empty() && *p != b".").collect();
    if parts.contains(&b"..".as_slice()) || path.contains(&0) {
        return Err(RunError::Invalid(format!("{:?} leaves the tree", path.escape_ascii().to_string())));
    }
    Ok(parts.join(&b'/'))
}

fn join(at: &[u8], name: &[u8]) -> Vec<u8> {
    if at.is_empty() { name.to_vec() } else { [at, name].join(&b'/') }
}

fn shown(path: Vec<u8>, entry: TreeEntry) -> v1::TreeNode {
    let kind = match entry.kind {
        NodeKind::Directory => "directory",
        NodeKind::File => "file",
        NodeKind::Symlink => "symlink",
    };
    let (seconds, nanos) = entry.mtime;
    v1::TreeNode {
        path: path.into(),
        kind: kind.to_owned(),
        mode: entry.mode,
        size: entry.size,
        mtime_unix_ms: seconds.saturating_mul(1000).saturating_add(i64::from(nanos / 1_000_000)),
        target: match entry.content {
            Content::Target(target) => target.into(),
            _ => Default::default(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_its_root() {
        assert_eq!(plain(b"/a//./b/").unwrap(), b"a/b");
        assert_eq!(plain(b"").unwrap(), b"");
        assert!(plain(b"a/../..").is_err() && plain(b"..").is_err() && plain(b"a\0b").is_err());
        assert_eq!(plain(b"..a/b..").unwrap(), b"..a/b..");
    }
}
