//! A million files, and a sparse file of 20 GB: within bounds of memory. They take minutes and
//! gigabytes, so they run when asked for: `CORDON_TEST_LARGE=1`.
#![allow(missing_docs, clippy::unwrap_used)]

use cordon_snapshots::{SnapshotRequest, Store, StoreOptions};
use std::{
    fs,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::Path,
    process::Command,
    time::Instant,
};

const PART: &str = "CORDON_TEST_SNAPSHOTS_PART";
const PLACE: &str = "CORDON_TEST_SNAPSHOTS_PLACE";

fn asked() -> bool {
    let asked = std::env::var_os("CORDON_TEST_LARGE").is_some_and(|v| v == "1");
    if !asked {
        eprintln!("not asked for: CORDON_TEST_LARGE=1 is not set");
    }
    asked
}

/// The most memory that this process ever had, in MB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024
}

/// One part in a process of its own, so that its memory is its own.
fn part(test: &str, place: &Path, part: &str) {
    let out = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(PART, part)
        .env(PLACE, place)
        .output()
        .unwrap();
    let (said, error) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{part}: {said}{error}");
    eprint!(
        "{}",
        error.lines().filter(|l| l.contains("seconds")).map(|l| format!("{l}\n")).collect::<String>()
    );
}

/// Takes or restores, says what it took, and holds it to a bound in MB.
fn work(place: &Path, part: &str, most: u64) {
    let (tree, back) = (place.join("tree"), place.join("back"));
    let store = Store::open(&place.join("store"), "", StoreOptions::default()).unwrap();
    let from = Instant::now();
    if part == "restore" {
        fs::create_dir(&back).unwrap();
        let newest = store.list().unwrap().pop().unwrap().0;
        store.restore(&newest, &back).unwrap();
    } else {
        let statistics = store.snapshot(&tree, &SnapshotRequest::default()).unwrap().snapshot.statistics;
        assert_eq!(statistics.read == 0, part == "unchanged");
    }
    eprintln!("{part}: {:.1} seconds, {} MB at most", from.elapsed().as_secs_f64(), peak());
    assert!(peak() < most, "{part} took {} MB of memory", peak());
}

fn count(root: &Path) -> (u64, u64) {
    let (mut files, mut bytes, mut waiting) = (0, 0, vec![root.to_path_buf()]);
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                waiting.push(entry.path());
            } else {
                files += 1;
                bytes += entry.metadata().unwrap().len();
            }
        }
    }
    (files, bytes)
}

#[test]
fn a_million_files() {
    const TEST: &str = "a_million_files";
    if let (Ok(part), Some(place)) = (std::env::var(PART), std::env::var_os(PLACE)) {
        return work(Path::new(&place), &part, 600);
    }
    if !asked() {
        return;
    }
    let home = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let tree = home.path().join("tree");
    // One very wide directory, and many small ones.
    fs::create_dir_all(tree.join("wide")).unwrap();
    for n in 0..200_000 {
        fs::write(tree.join(format!("wide/{n}")), format!("{n}")).unwrap();
    }
    for n in 0..800_000 {
        let dir = tree.join(format!("{}/{}", n / 10_000, n / 100));
        if n % 100 == 0 {
            fs::create_dir_all(&dir).unwrap();
        }
        fs::write(dir.join(format!("file-{n}")), format!("content of {n}")).unwrap();
    }
    part(TEST, home.path(), "first");
    part(TEST, home.path(), "unchanged");
    let was = count(&tree);
    assert_eq!(was.0, 1_000_000);
    // Room for it twice is more than such a test may ask for.
    fs::remove_dir_all(&tree).unwrap();
    part(TEST, home.path(), "restore");
    assert_eq!(count(&home.path().join("back")), was);
}

#[test]
fn twenty_gigabytes_of_holes() {
    const TEST: &str = "twenty_gigabytes_of_holes";
    if let (Ok(part), Some(place)) = (std::env::var(PART), std::env::var_os(PLACE)) {
        return work(Path::new(&place), &part, 100);
    }
    if !asked() {
        return;
    }
    let home = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let tree = home.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let sparse = fs::File::create(tree.join("sparse")).unwrap();
    sparse.set_len(20 << 30).unwrap();
    // Ten thousand islands.
    for n in 0..10_000u64 {
        sparse.write_all_at(&n.to_le_bytes(), n * (2 << 20) + 12_345).unwrap();
    }
    for name in ["first", "unchanged", "restore"] {
        part(TEST, home.path(), name);
    }
    let back = fs::File::open(home.path().join("back/sparse")).unwrap();
    let (is, was) = (back.metadata().unwrap(), sparse.metadata().unwrap());
    assert_eq!((is.size(), is.blocks() <= was.blocks()), (20 << 30, true));
    for n in 0..10_000u64 {
        let mut bytes = [0; 8];
        back.read_exact_at(&mut bytes, n * (2 << 20) + 12_345).unwrap();
        assert_eq!(u64::from_le_bytes(bytes), n);
    }
}
