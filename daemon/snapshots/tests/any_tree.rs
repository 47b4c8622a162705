//! Any tree that can be made is restored identically.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{differences, facts};
use cordon_snapshots::{Content, NodeKind, SnapshotRequest, Store, StoreOptions, TreeSource};
use proptest::{collection::vec, prelude::*, sample::Index};
use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, mkdirat, openat, unlinkat, utimensat},
};
use std::{
    ffi::OsStr,
    fs,
    io::Read as _,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink},
    },
    path::{Path, PathBuf},
};

#[derive(Clone, Debug)]
enum Step {
    Directory(Index, Vec<u8>),
    File(Index, Vec<u8>, Vec<u8>),
    Large(Index, Vec<u8>, u32),
    Sparse(Index, Vec<u8>, Vec<(u32, u8)>, u32),
    Symlink(Index, Vec<u8>, Vec<u8>),
    Hardlink(Index, Index, Vec<u8>),
    Mode(Index, u32),
    Time(Index, i32, u32),
    Remove(Index),
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_map(|b| if matches!(b, 0 | b'/') { b'x' } else { b });
    prop_oneof![Just(b"a".to_vec()), Just(vec![b'n'; 255]), vec(byte, 1..12)]
}

fn step() -> impl Strategy<Value = Step> {
    let at = any::<Index>;
    prop_oneof![
        3 => (at(), name()).prop_map(|(a, n)| Step::Directory(a, n)),
        4 => (at(), name(), vec(any::<u8>(), 0..5000)).prop_map(|(a, n, b)| Step::File(a, n, b)),
        1 => (at(), name(), 1_000_000..3_000_000u32).prop_map(|(a, n, s)| Step::Large(a, n, s)),
        1 => (at(), name(), vec((0..20_000_000u32, any::<u8>()), 0..4), 0..20_000_000u32)
            .prop_map(|(a, n, w, s)| Step::Sparse(a, n, w, s)),
        2 => (at(), name(), vec(1u8.., 1..100)).prop_map(|(a, n, t)| Step::Symlink(a, n, t)),
        2 => (at(), at(), name()).prop_map(|(a, b, n)| Step::Hardlink(a, b, n)),
        2 => (at(), 0..0o1000u32).prop_map(|(a, m)| Step::Mode(a, m)),
        2 => (at(), any::<i32>(), 0..1_000_000_000u32).prop_map(|(a, s, n)| Step::Time(a, s, n)),
        1 => at().prop_map(Step::Remove),
    ]
}

/// What cannot be done, as a name that is taken or a link to a directory, is not done.
fn make(root: &Path, steps: Vec<Step>) {
    let mut dirs = vec![root.to_path_buf()];
    let mut all: Vec<PathBuf> = Vec::new();
    for step in steps {
        let under = |at: &Index, name: &[u8]| dirs[at.index(dirs.len())].join(OsStr::from_bytes(name));
        let fresh = |path: &Path| fs::File::options().write(true).create_new(true).open(path);
        match step {
            Step::Directory(at, name) => {
                let path = under(&at, &name);
                if fs::create_dir(&path).is_ok() {
                    dirs.push(path);
                }
            }
            Step::File(at, name, bytes) => {
                let path = under(&at, &name);
                if let Ok(file) = fresh(&path) {
                    file.write_all_at(&bytes, 0).unwrap();
                    all.push(path);
                }
            }
            Step::Large(at, name, size) => {
                let path = under(&at, &name);
                if let Ok(file) = fresh(&path) {
                    let bytes: Vec<u8> = (0..size).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
                    file.write_all_at(&bytes, 0).unwrap();
                    all.push(path);
                }
            }
            Step::Sparse(at, name, writes, size) => {
                let path = under(&at, &name);
                if let Ok(file) = fresh(&path) {
                    file.set_len(size.into()).unwrap();
                    for (offset, byte) in writes {
                        file.write_all_at(&[byte], offset.into()).unwrap();
                    }
                    all.push(path);
                }
            }
            Step::Symlink(at, name, target) => {
                let path = under(&at, &name);
                if symlink(OsStr::from_bytes(&target), &path).is_ok() {
                    all.push(path);
                }
            }
            Step::Hardlink(from, at, name) if !all.is_empty() => {
                let from = &all[from.index(all.len())];
                let path = under(&at, &name);
                if fs::symlink_metadata(from).is_ok_and(|m| m.is_file()) && fs::hard_link(from, &path).is_ok()
                {
                    all.push(path);
                }
            }
            Step::Remove(at) if !all.is_empty() => {
                fs::remove_file(all.swap_remove(at.index(all.len()))).unwrap();
            }
            Step::Mode(at, mode) => {
                let every: Vec<_> = dirs.iter().chain(&all).collect();
                let path = every[at.index(every.len())];
                if !fs::symlink_metadata(path).unwrap().is_symlink() {
                    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
                }
            }
            Step::Time(at, seconds, nanos) => {
                let every: Vec<_> = dirs.iter().chain(&all).collect();
                let time = Timespec { tv_sec: seconds.into(), tv_nsec: nanos.into() };
                let times = Timestamps { last_access: time, last_modification: time };
                utimensat(CWD, every[at.index(every.len())], &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
            }
            Step::Hardlink(..) | Step::Remove(_) => {}
        }
    }
}

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
    fn any_tree_comes_back(steps in vec(step(), 0..40)) {
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
