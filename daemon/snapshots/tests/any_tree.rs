//! Any tree that can be made is restored identically.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;
#[path = "common/trees.rs"]
mod trees;

use common::{differences, facts};
use cordon_snapshots::{Content, NodeKind, SnapshotRequest, Store, StoreOptions, TreeSource};
use proptest::prelude::*;
use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, unlinkat},
};
use std::{
    ffi::OsStr,
    fs,
    io::Read as _,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::Path,
};
use trees::{make, steps};

/// The same, as the trait tells it.
fn told(tree: &dyn TreeSource) -> Vec<(Vec<u8>, char, u32, Vec<u8>)> {
    let (mut all, mut waiting) = (Vec::new(), vec![Vec::new()]);
    while let Some(path) = waiting.pop() {
        for entry in tree.children(&path).unwrap() {
            let at =
                if path.is_empty() { entry.name.clone() } else { [&path, &b"/"[..], &entry.name].concat() };
            let mut bytes = Vec::new();
            let kind = match (entry.kind, entry.content) {
                (NodeKind::Directory, _) => {
                    waiting.push(at.clone());
                    'd'
                }
                (NodeKind::Symlink, Content::Target(target)) => {
                    bytes = target;
                    'l'
                }
                _ => {
                    tree.read(&at).unwrap().read_to_end(&mut bytes).unwrap();
                    'f'
                }
            };
            all.push((at, kind, entry.mode, bytes));
        }
    }
    all.sort();
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_back(steps in steps()) {
        let home = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let tree = home.path().join("tree");
        fs::create_dir(&tree).unwrap();
        make(&tree, steps);
        let store = Store::open(&home.path().join("store"), "", StoreOptions::default()).unwrap();
        let taken = store.snapshot(&tree, &SnapshotRequest::default()).unwrap();
        let back = home.path().join("back");
        fs::create_dir(&back).unwrap();
        store.restore(&taken.id, &back).unwrap();
        let (was, is) = (facts(&tree), facts(&back));
        let differences = differences(&was, &is);
        prop_assert!(differences.is_empty(), "{:#?}", differences);
        let mut expected: Vec<_> = was
            .iter()
            .filter(|(path, _)| !path.is_empty())
            .map(|(path, f)| (path.clone(), f.kind, f.mode, f.bytes.clone()))
            .collect();
        expected.sort();
        prop_assert!(told(&store.tree(&taken.id).unwrap()) == expected);
        // Known by the stat index, or restored and read anew: the same tree has the same address.
        prop_assert_eq!(store.snapshot(&tree, &SnapshotRequest::default()).unwrap().snapshot.root, taken.snapshot.root);
        prop_assert!(store.verify().unwrap().faults.is_empty());
        let blocks = |dir: &Path| facts(dir).keys().map(|k| fs::symlink_metadata(dir.join(OsStr::from_bytes(k))).unwrap().blocks()).sum::<u64>();
        prop_assert!(blocks(&back) <= blocks(&tree));
    }
}

fn down(at: &OwnedFd) -> OwnedFd {
    openat(at, "d", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty()).unwrap()
}

fn deep(root: &Path, levels: usize) -> OwnedFd {
    let mut at = openat(CWD, root, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..levels {
        at = down(&at);
    }
    at
}

#[test]
fn ten_thousand_levels_come_back_within_a_thousand_descriptors() {
    const LEVELS: usize = 10_000;
    let home = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let (tree, back) = (home.path().join("tree"), home.path().join("back"));
    let mut at = deep(home.path(), 0);
    for name in ["tree", "back"] {
        mkdirat(&at, name, Mode::RWXU).unwrap();
    }
    at = deep(&tree, 0);
    for _ in 0..LEVELS {
        mkdirat(&at, "d", Mode::RWXU).unwrap();
        at = down(&at);
    }
    openat(&at, "bottom", OFlags::CREATE | OFlags::WRONLY, Mode::RWXU).unwrap();
    let store = Store::open(&home.path().join("store"), "", StoreOptions::default()).unwrap();
    let taken = store.snapshot(&tree, &SnapshotRequest::default()).unwrap();
    assert_eq!(taken.snapshot.statistics.directories, LEVELS as u64);
    store.restore(&taken.id, &back).unwrap();
    let restored = store.snapshot(&back, &SnapshotRequest::default()).unwrap();
    assert_eq!((restored.snapshot.root, store.gc().unwrap().packs), (taken.snapshot.root, 0));
    // The standard library holds a descriptor for each level: taken down by hand.
    for root in [&tree, &back] {
        let mut at = deep(root, LEVELS);
        unlinkat(&at, "bottom", AtFlags::empty()).unwrap();
        for _ in 0..LEVELS {
            at = openat(&at, "..", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
            unlinkat(&at, "d", AtFlags::REMOVEDIR).unwrap();
        }
    }
}
