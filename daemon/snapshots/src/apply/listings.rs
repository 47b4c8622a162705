use crate::{NodeKind, TreeEntry, TreeError, TreeSource, live::split};
use std::collections::HashMap;

/// Directories whose listings are kept.
const KEPT: usize = 4096;

/// The directories of a tree, looked at once as long as there are not too many.
pub(super) struct Listings<'a> {
    tree: &'a dyn TreeSource,
    known: HashMap<Vec<u8>, Vec<TreeEntry>>,
}

impl<'a> Listings<'a> {
    pub(super) fn new(tree: &'a dyn TreeSource) -> Self {
        Self { tree, known: HashMap::new() }
    }

    /// What stands in a directory; nothing where there is none.
    pub(super) fn list(&mut self, path: &[u8]) -> Result<&[TreeEntry], TreeError> {
        if !self.known.contains_key(path) {
            if self.known.len() >= KEPT {
                self.known.clear();
            }
            let found = if self.absent(path) { Ok(Vec::new()) } else { self.tree.children(path) };
            let found = match found {
                Err(error) if error.absent => Vec::new(),
                other => other?,
            };
            self.known.insert(path.to_vec(), found);
        }
        Ok(self.known.get(path).map_or(&[], Vec::as_slice))
    }

    /// Whether it is known already that no directory stands there. To ask a tree for what lies
    /// deep in nothing takes it long.
    fn absent(&self, path: &[u8]) -> bool {
        let (parent, name) = split(path);
        let Some(listed) = self.known.get(parent).filter(|_| !path.is_empty()) else { return false };
        let found = listed.binary_search_by(|e| e.name.as_slice().cmp(name));
        !found.is_ok_and(|n| listed[n].kind == NodeKind::Directory)
    }

    /// What stands at a path.
    pub(super) fn entry(&mut self, path: &[u8]) -> Result<Option<TreeEntry>, TreeError> {
        let (parent, name) = split(path);
        let listed = self.list(parent)?;
        let found = listed.binary_search_by(|e| e.name.as_slice().cmp(name));
        Ok(found.ok().map(|n| listed[n].clone()))
    }
}
