use crate::{Entry, EntryKind, Index};

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was not there before.
    Added,
    /// Another kind, content or mode.
    Modified,
    /// It is gone.
    Removed,
}

/// One changed path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Relative to the root.
    pub path: Vec<u8>,
    /// What happened.
    pub kind: ChangeKind,
}

/// What differs between two indexes of the same tree, in path order. A directory
/// counts only when it came, went or changed its mode.
#[must_use]
pub fn changes(before: &Index, after: &Index) -> Vec<Change> {
    let mut found = Vec::new();
    for (path, new) in &after.entries {
        match before.entries.get(path) {
            None => found.push(Change { path: path.clone(), kind: ChangeKind::Added }),
            Some(old) if differs(old, new) => {
                found.push(Change { path: path.clone(), kind: ChangeKind::Modified });
            }
            Some(_) => {}
        }
    }
    for path in before.entries.keys().filter(|p| !after.entries.contains_key(*p)) {
        found.push(Change { path: path.clone(), kind: ChangeKind::Removed });
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn differs(old: &Entry, new: &Entry) -> bool {
    if old.kind != new.kind || old.mode != new.mode {
        return true;
    }
    // The change time is the kernel's own: an agent that resets the modification time
    // does not hide what it wrote.
    old.kind != EntryKind::Directory
        && (old.size, old.inode, old.modified, old.changed)
            != (new.size, new.inode, new.modified, new.changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt as _};

    fn rows(changes: &[Change]) -> Vec<(String, ChangeKind)> {
        changes.iter().map(|c| (String::from_utf8_lossy(&c.path).into_owned(), c.kind)).collect()
    }

    #[test]
    fn every_kind_of_change_is_seen() {
        let tree = tempfile::tempdir().unwrap();
        let at = |name: &str| tree.path().join(name);
        fs::create_dir(at("d")).unwrap();
        for name in ["d/same", "d/edit", "gone", "mode"] {
            fs::write(at(name), "1").unwrap();
        }
        let before = crate::index(tree.path()).unwrap();
        fs::write(at("d/edit"), "2").unwrap();
        fs::remove_file(at("gone")).unwrap();
        fs::write(at("new"), "").unwrap();
        fs::set_permissions(at("mode"), fs::Permissions::from_mode(0o755)).unwrap();
        let after = crate::index(tree.path()).unwrap();
        assert_eq!(
            rows(&changes(&before, &after)),
            [
                ("d/edit".to_owned(), ChangeKind::Modified),
                ("gone".to_owned(), ChangeKind::Removed),
                ("mode".to_owned(), ChangeKind::Modified),
                ("new".to_owned(), ChangeKind::Added),
            ]
        );
        assert!(changes(&after, &after).is_empty());
    }

    #[test]
    fn a_reset_modification_time_hides_nothing() {
        let tree = tempfile::tempdir().unwrap();
        let file = tree.path().join("f");
        fs::write(&file, "one").unwrap();
        let stamp = fs::metadata(&file).unwrap().modified().unwrap();
        let before = crate::index(tree.path()).unwrap();
        // The kernel's clock for timestamps is coarse: write until the change time moves.
        let mut after = before.clone();
        while after.entries[b"f".as_slice()].changed == before.entries[b"f".as_slice()].changed {
            fs::write(&file, "two").unwrap();
            fs::File::options().write(true).open(&file).unwrap().set_modified(stamp).unwrap();
            after = crate::index(tree.path()).unwrap();
        }
        assert_eq!(after.entries[b"f".as_slice()].modified, before.entries[b"f".as_slice()].modified);
        assert_eq!(changes(&before, &after).len(), 1);
    }
}
