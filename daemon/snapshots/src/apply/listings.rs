use crate::{TreeEntry, TreeError, TreeSource, live::split};
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
            let found = match self.tree.children(path) {
                Err(error) if error.absent => Vec::new(),
                other => other?,
            };
            self.known.insert(path.to_vec(), found);
        }
        Ok(self.known.get(path).map_or(&[], Vec::as_slice))
    }

    /// What stands at a path.
    pub(super) fn entry(&mut self, path: &[u8]) -> Result<Option<TreeEntry>, TreeError> {
        let (parent, name) = split(path);
        let listed = self.list(parent)?;
        let found = listed.binary_search_by(|e| e.name.as_slice().cmp(name));
        Ok(found.ok().map(|n| listed[n].clone()))
    }
}
