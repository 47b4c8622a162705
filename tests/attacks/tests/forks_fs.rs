//! A filesystem exerciser over what Cordon puts in the place of a tree: a fork by each method that this machine has, and a
//! workspace that was put back. What is read has to be what was written.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_forks::{Fork, ForkRequest, Method, Owner, detect};
use cordon_snapshots::{SnapshotRequest, Store, StoreOptions, apply};
use cordon_tests::harness::skipped;
use std::{env, fs, path::Path, path::PathBuf, process::Command};

fn exerciser() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../build/fsx/bin/fsx");
    let path = env::var_os("CORDON_TEST_FSX").map_or(default, PathBuf::from);
    let found = fs::metadata(&path);
    found.unwrap_or_else(|e| panic!("no fsx at {path:?} ({e}): scripts/setup-tests.sh puts it there"));
    path
}

/// Exercises a file that is there already, and a new one.
fn exercise(place: &Path) {
    for (name, seed) in [("there", "1"), ("new", "2")] {
        let file = place.join(name);
        let out = Command::new(exerciser()).args(["-N", "3000", "-S", seed]).arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{file:?}: {said}");
    }
}

fn tree(top: &Path) -> PathBuf {
    let tree = top.join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("there"), vec![b'x'; 300_000]).unwrap();
    tree
}

#[test]
fn a_fork_holds_what_is_written_to_it() {
    if skipped("fsx") {
        return;
    }
    let top = tempfile::tempdir().unwrap();
    let top = top.path().canonicalize().unwrap();
    let tree = tree(&top);
    let found = detect(&top.join("forks"), &tree);
    let methods = if found == Method::Copy { vec![Method::Copy] } else { vec![found, Method::Copy] };
    for method in methods {
        let at = top.join("forks").join(method.name());
        let request = ForkRequest {
            at: &at,
            tree: &tree,
            is_directory: true,
            method,
            identity: Owner {
                uid: rustix::process::getuid().as_raw(),
                gid: rustix::process::getgid().as_raw(),
            },
            leave_out: &[],
            cancel: None,
        };
        let fork = Fork::make(&request, &mut |_, _| {}).unwrap();
        exercise(fork.root());
        Fork::remove(&at).unwrap();
        assert_eq!(fs::read(tree.join("there")).unwrap(), vec![b'x'; 300_000], "{}", method.name());
    }
}

#[test]
fn a_tree_that_was_put_back_holds_what_is_written_to_it() {
    if skipped("fsx") {
        return;
    }
    let top = tempfile::tempdir().unwrap();
    let tree = tree(top.path());
    let (store, journals) = (top.path().join("store"), top.path().join("journals"));
    fs::create_dir(&journals).unwrap();
    let store = Store::open(&store, "owner", StoreOptions::default()).unwrap();
    let before = store.snapshot(&tree, &SnapshotRequest::default()).unwrap().id;
    exercise(&tree);
    let after = store.snapshot(&tree, &SnapshotRequest::default()).unwrap().id;
    let wrote = fs::read(tree.join("there")).unwrap();
    let (then, now) = (store.tree(&before).unwrap(), store.tree(&after).unwrap());
    apply::replace(&now, &then, &tree, &journals, None).unwrap();
    assert_eq!(fs::read(tree.join("there")).unwrap(), vec![b'x'; 300_000]);
    exercise(&tree);
    fs::remove_file(tree.join("new")).unwrap();
    // The same work gives the same bytes, on what was put back as on what was there.
    assert_eq!(fs::read(tree.join("there")).unwrap(), wrote);
}
