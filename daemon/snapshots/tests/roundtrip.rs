//! What was there comes back.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{differences, facts};
use cordon_snapshots::{SkipReason, SnapshotRequest, Store, StoreOptions};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, mknodat, utimensat};
use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink},
        net::UnixListener,
    },
    path::Path,
};

fn store(dir: &Path) -> Store {
    Store::open(&dir.join("store"), "alice", StoreOptions::default()).unwrap()
}

fn age(path: &Path, seconds: i64, nanos: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

#[test]
fn all_that_is_recorded_comes_back() {
    let home = tempfile::tempdir().unwrap();
    let tree = home.path().join("tree");
    let at = |name: &str| tree.join(name);
    fs::create_dir_all(at("d/empty")).unwrap();
    fs::write(at("d/text"), "some text ".repeat(100)).unwrap();
    fs::write(at("zero"), "").unwrap();
    fs::write(
        at("large"),
        (0..5_000_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect::<Vec<_>>(),
    )
    .unwrap();
    fs::hard_link(at("d/text"), at("again")).unwrap();
    symlink("/etc/passwd", at("out")).unwrap();
    symlink(OsStr::from_bytes(b"nowhere\xff"), at("d/dangling")).unwrap();
    fs::write(tree.join(OsStr::from_bytes(b"\xff\xfe\n")), "odd").unwrap();
    fs::set_permissions(at("zero"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(at("d/empty"), fs::Permissions::from_mode(0o500)).unwrap();
    age(&at("zero"), -5, 17);
    age(&at("out"), 4_000_000_000, 999_999_999);
    age(&at("d"), 1, 2);
    let store = store(home.path());
    let taken = store
        .snapshot(&tree, &SnapshotRequest { label: "first".into(), ..SnapshotRequest::default() })
        .unwrap();
    let back = home.path().join("back");
    fs::create_dir(&back).unwrap();
    store.restore(&taken.id, &back).unwrap();
    let differences = differences(&facts(&tree), &facts(&back));
    assert!(differences.is_empty(), "{differences:#?}");
    let listed = store.list().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].0, listed[0].1.label.as_str(), listed[0].1.owner.as_str()),
        (taken.id, "first", "alice")
    );
    assert_eq!((taken.snapshot.statistics.files, taken.snapshot.statistics.symlinks), (5, 2));
}

#[test]
fn holes_stay_holes() {
    let home = tempfile::tempdir().unwrap();
    let tree = home.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let sparse = fs::File::create(tree.join("sparse")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    sparse.write_all_at(b"in the middle", 1 << 39).unwrap();
    let tail = fs::File::create(tree.join("tail")).unwrap();
    tail.set_len(100_000).unwrap();
    tail.write_all_at(b"at the end", 100_000).unwrap();
    let store = store(home.path());
    let taken = store.snapshot(&tree, &SnapshotRequest::default()).unwrap();
    let back = home.path().join("back");
    fs::create_dir(&back).unwrap();
    store.restore(&taken.id, &back).unwrap();
    let restored = fs::File::open(back.join("sparse")).unwrap();
    let mut bytes = [0; 15];
    restored.read_exact_at(&mut bytes, (1 << 39) - 1).unwrap();
    assert_eq!(&bytes, b"\0in the middle\0");
    let meta = restored.metadata().unwrap();
    assert_eq!(meta.size(), 1 << 40);
    assert!(meta.blocks() <= sparse.metadata().unwrap().blocks());
    assert_eq!(fs::read(back.join("tail")).unwrap(), fs::read(tree.join("tail")).unwrap());
    assert!(store.usage().unwrap() < 20_000);
}

#[test]
fn special_files_are_skipped_by_name_and_setuid_is_stripped() {
    let home = tempfile::tempdir().unwrap();
    let tree = home.path().join("tree");
    fs::create_dir(&tree).unwrap();
    mknodat(CWD, tree.join("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    let _socket = UnixListener::bind(tree.join("socket")).unwrap();
    mknodat(CWD, tree.join("null"), FileType::CharacterDevice, Mode::RWXU, rustix::fs::makedev(1, 3))
        .unwrap();
    fs::write(tree.join("su"), "x").unwrap();
    fs::set_permissions(tree.join("su"), fs::Permissions::from_mode(0o6755)).unwrap();
    fs::set_permissions(&tree, fs::Permissions::from_mode(0o1777)).unwrap();
    let store = store(home.path());
    let taken = store.snapshot(&tree, &SnapshotRequest::default()).unwrap();
    let skipped: Vec<_> = taken.snapshot.skipped.iter().map(|s| (s.path.as_slice(), s.reason)).collect();
    let expected: [(&[u8], _); 3] =
        [(b"fifo", SkipReason::Fifo), (b"null", SkipReason::Device), (b"socket", SkipReason::Socket)];
    assert_eq!(skipped, expected);
    let back = home.path().join("back");
    fs::create_dir(&back).unwrap();
    store.restore(&taken.id, &back).unwrap();
    assert_eq!(fs::metadata(back.join("su")).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(fs::metadata(&back).unwrap().mode() & 0o7777, 0o777);
    assert_eq!(fs::read_dir(&back).unwrap().count(), 1);
}

#[test]
fn a_restore_writes_over_nothing_and_through_no_link() {
    let home = tempfile::tempdir().unwrap();
    let tree = home.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("f"), "new").unwrap();
    let store = store(home.path());
    let taken = store.snapshot(&tree, &SnapshotRequest::default()).unwrap();
    let victim = home.path().join("victim");
    fs::create_dir(&victim).unwrap();
    symlink(&victim, home.path().join("link")).unwrap();
    assert!(store.restore(&taken.id, &home.path().join("link")).is_err());
    let back = home.path().join("back");
    fs::create_dir(&back).unwrap();
    symlink(victim.join("f"), back.join("f")).unwrap();
    assert!(store.restore(&taken.id, &back).unwrap_err().to_string().contains("not empty"));
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 0);
}
