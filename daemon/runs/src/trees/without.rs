use cordon_snapshots::{TreeEntry, TreeError, TreeSource};
use std::{collections::BTreeSet, io::Read};

/// A tree without some of its paths: those that its snapshot does not hold either. What was
/// left out of one is no difference.
pub(crate) struct Without<'a> {
    inner: &'a dyn TreeSource,
    paths: BTreeSet<Vec<u8>>,
}

impl<'a> Without<'a> {
    pub(crate) fn new(inner: &'a dyn TreeSource, paths: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self { inner, paths: paths.into_iter().collect() }
    }

    fn covers(&self, path: &[u8]) -> bool {
        let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
        ends.chain([path.len()]).any(|end| path.get(..end).is_some_and(|head| self.paths.contains(head)))
    }
}

impl TreeSource for Without<'_> {
    fn children(&self, path: &[u8]) -> Result<Vec<TreeEntry>, TreeError> {
        if self.covers(path) {
            let reason = "it is left out".to_owned();
            return Err(TreeError { path: path.to_vec(), reason, absent: true });
        }
        let mut entries = self.inner.children(path)?;
        let mut at = path.to_vec();
        if !at.is_empty() {
            at.push(b'/');
        }
        let length = at.len();
        entries.retain(|entry| {
            at.truncate(length);
            at.extend_from_slice(&entry.name);
            !self.paths.contains(&at)
        });
        Ok(entries)
    }

    fn read(&self, path: &[u8]) -> Result<Box<dyn Read + '_>, TreeError> {
        if self.covers(path) {
            let reason = "it is left out".to_owned();
            return Err(TreeError { path: path.to_vec(), reason, absent: true });
        }
        self.inner.read(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_snapshots::live::LiveTree;

    #[test]
    fn what_is_left_out_is_not_there_at_any_depth() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b/c")).unwrap();
        std::fs::write(dir.path().join("a/b/c/f"), "x").unwrap();
        std::fs::write(dir.path().join("a/bb"), "x").unwrap();
        let live = LiveTree::open(dir.path()).unwrap();
        let tree = Without::new(&live, [b"a/b".to_vec()]);
        let names: Vec<_> = tree.children(b"a").unwrap().into_iter().map(|e| e.name).collect();
        assert_eq!(names, [b"bb".to_vec()]);
        for gone in [b"a/b".as_slice(), b"a/b/c"] {
            assert!(tree.children(gone).unwrap_err().absent);
        }
        assert!(tree.read(b"a/b/c/f").is_err());
        assert!(tree.read(b"a/bb").is_ok());
    }
}
