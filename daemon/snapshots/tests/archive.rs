//! Any tree that can be made survives an archive, ours and others' programs reading it.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;
#[path = "common/trees.rs"]
mod trees;

use common::{differences, facts};
use cordon_snapshots::{
    SnapshotId, SnapshotRequest, Store, StoreOptions,
    archive::{ArchiveError, ImportRequest, export, import},
};
use proptest::prelude::*;
use std::{
    fs,
    os::unix::fs::{FileExt as _, MetadataExt as _, symlink},
    path::Path,
    process::{Command, Stdio},
};
use trees::{make, steps};

fn home() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn store(home: &Path, name: &str) -> Store {
    Store::open(&home.join(name), "", StoreOptions::default()).unwrap()
}

fn archive(store: &Store, id: &SnapshotId) -> Vec<u8> {
    let mut out = Vec::new();
    export(store, id, &mut out).unwrap();
    out
}

fn unpack(program: &[&str], archive: &[u8], into: &Path) {
    let file = into.with_extension("tar");
    fs::write(&file, archive).unwrap();
    let done = Command::new(program[0])
        .args(&program[1..])
        .arg("-C")
        .arg(into)
        .arg("-f")
        .arg(&file)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success() && said.is_empty(), "{program:?}: {said}");
}

/// Times before 1970 are right and yet a warning.
const GNU: [&str; 3] = ["tar", "--warning=no-timestamp", "-xp"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_survives_an_archive(steps in steps()) {
        let home = home();
        let tree = home.path().join("tree");
        fs::create_dir(&tree).unwrap();
        make(&tree, steps);
        let first = store(home.path(), "one");
        let taken = first.snapshot(&tree, &SnapshotRequest::default()).unwrap();
        let written = archive(&first, &taken.id);
        prop_assert!(written == archive(&first, &taken.id));

        // Into a store that has nothing of it.
        let second = store(home.path(), "two");
        let request = ImportRequest { label: "came".into(), ..ImportRequest::default() };
        let came = import(&second, &mut written.as_slice(), &request).unwrap();
        let snapshot = &came.snapshot;
        prop_assert_eq!(snapshot.root, taken.snapshot.root);
        prop_assert_eq!((snapshot.root_mode, snapshot.root_mtime), (taken.snapshot.root_mode, taken.snapshot.root_mtime));
        prop_assert_eq!((snapshot.kind.as_str(), snapshot.label.as_str()), ("import", "came"));
        let (was, is) = (taken.snapshot.statistics, snapshot.statistics);
        prop_assert_eq!((was.files, was.directories, was.symlinks, was.bytes), (is.files, is.directories, is.symlinks, is.bytes));
        prop_assert!(second.verify().unwrap().faults.is_empty());
        prop_assert!(written == archive(&second, &came.id));

        // By GNU tar, as an independent comparer and the store see it.
        let back = home.path().join("back");
        fs::create_dir(&back).unwrap();
        unpack(&GNU, &written, &back);
        let found = differences(&facts(&tree), &facts(&back));
        prop_assert!(found.is_empty(), "{:#?}", found);
        let again = first.snapshot(&back, &SnapshotRequest::default()).unwrap();
        prop_assert_eq!(again.snapshot.root, taken.snapshot.root);

        // What GNU tar writes, in each of its ways, with and without looking for holes.
        for format in ["pax", "gnu"] {
            let file = home.path().join("theirs.tar");
            let made = Command::new("tar").args(["-c", "--sparse", "--format", format, "-C"]).arg(&tree).arg("-f").arg(&file).arg(".").output().unwrap();
            prop_assert!(made.status.success(), "{:?}", made);
            let came = import(&second, &mut fs::File::open(&file).unwrap(), &request).unwrap();
            let put = home.path().join(format);
            fs::create_dir(&put).unwrap();
            second.restore(&came.id, &put).unwrap();
            let (mut was, mut is) = (facts(&tree), facts(&put));
            if format == "gnu" {
                // This form has whole seconds.
                was.values_mut().chain(is.values_mut()).for_each(|f| f.mtime.1 = 0);
            }
            let found = differences(&was, &is);
            prop_assert!(found.is_empty(), "{}: {:#?}", format, found);
        }
    }
}

fn one_of_each(tree: &Path) {
    let long = "d".repeat(200);
    fs::create_dir_all(tree.join(&long).join(&long)).unwrap();
    fs::write(tree.join(&long).join(&long).join("deep"), "deep").unwrap();
    fs::write(tree.join("file"), "content").unwrap();
    fs::hard_link(tree.join("file"), tree.join(&long).join("name")).unwrap();
    fs::hard_link(tree.join(&long).join("name"), tree.join("zzz")).unwrap();
    symlink("x".repeat(300), tree.join("link")).unwrap();
    fs::create_dir(tree.join("empty")).unwrap();
    for (name, at, size) in
        [("hole-at-end", 0, 9 << 20), ("hole-first", 5 << 20, (5 << 20) + 3), ("all-hole", 0, 1 << 20)]
    {
        let file = fs::File::create(tree.join(name)).unwrap();
        file.set_len(size).unwrap();
        if name != "all-hole" {
            file.write_all_at(b"abc", at).unwrap();
        }
    }
}

#[test]
fn libarchive_reads_it_too() {
    let home = home();
    let tree = home.path().join("tree");
    fs::create_dir(&tree).unwrap();
    one_of_each(&tree);
    let from = store(home.path(), "store");
    let taken = from.snapshot(&tree, &SnapshotRequest::default()).unwrap();
    let written = archive(&from, &taken.id);
    let back = home.path().join("back");
    fs::create_dir(&back).unwrap();
    if Command::new("bsdtar").arg("--version").output().is_err() {
        let skipped = std::env::var("CORDON_TEST_SKIP").unwrap_or_default();
        assert!(skipped.split(',').any(|s| s == "bsdtar"), "no bsdtar here: install libarchive-tools");
        return;
    }
    unpack(&["bsdtar", "-xp"], &written, &back);
    let (mut was, mut is) = (facts(&tree), facts(&back));
    // The time of the directory that it is told to unpack into, libarchive leaves alone.
    was.remove(&b""[..]);
    is.remove(&b""[..]);
    let found = differences(&was, &is);
    assert!(found.is_empty(), "{found:#?}");
    for name in ["hole-at-end", "hole-first", "all-hole"] {
        let blocks = fs::metadata(back.join(name)).unwrap().blocks();
        assert!(blocks <= fs::metadata(tree.join(name)).unwrap().blocks(), "{name}: {blocks}");
    }
    // And what it writes is read here.
    let file = home.path().join("theirs.tar");
    let made = Command::new("bsdtar")
        .args(["-c", "--format", "pax", "-C"])
        .arg(&tree)
        .arg("-f")
        .arg(&file)
        .arg(".")
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let came = import(&from, &mut fs::File::open(&file).unwrap(), &ImportRequest::default()).unwrap();
    assert_eq!(came.snapshot.root, taken.snapshot.root);
}

#[test]
fn holes_take_no_room_in_an_archive_and_none_when_unpacked() {
    let home = tempfile::tempdir().unwrap();
    let tree = home.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let file = fs::File::create(tree.join("huge")).unwrap();
    file.set_len(40 << 30).unwrap();
    file.write_all_at(b"in the middle", 17 << 30).unwrap();
    let from = store(home.path(), "store");
    let taken = from.snapshot(&tree, &SnapshotRequest::default()).unwrap();
    let written = archive(&from, &taken.id);
    assert!(written.len() < 100_000, "{}", written.len());
    let came = import(&from, &mut written.as_slice(), &ImportRequest::default()).unwrap();
    assert_eq!(came.snapshot.root, taken.snapshot.root);
    let back = home.path().join("back");
    fs::create_dir(&back).unwrap();
    unpack(&GNU, &written, &back);
    let meta = fs::metadata(back.join("huge")).unwrap();
    assert_eq!(meta.size(), 40 << 30);
    assert!(meta.blocks() < 1000, "{}", meta.blocks());
}

#[test]
fn a_damaged_snapshot_gives_no_archive_that_looks_whole() {
    let home = home();
    let tree = home.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let noise: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(tree.join("file"), noise).unwrap();
    let from = store(home.path(), "store");
    let taken = from.snapshot(&tree, &SnapshotRequest::default()).unwrap();
    let packs =
        fs::read_dir(home.path().join("store/owners")).unwrap().next().unwrap().unwrap().path().join("packs");
    let pack = fs::read_dir(packs).unwrap().next().unwrap().unwrap().path();
    fs::File::options().write(true).open(&pack).unwrap().write_all_at(b"flipped", 1_500_000).unwrap();
    let mut out = Vec::new();
    assert!(matches!(export(&from, &taken.id, &mut out), Err(ArchiveError::Store(_))));
    let came = import(&from, &mut out.as_slice(), &ImportRequest::default());
    assert!(matches!(came, Err(ArchiveError::Truncated { .. } | ArchiveError::NotTar { .. })), "{came:?}");
}
