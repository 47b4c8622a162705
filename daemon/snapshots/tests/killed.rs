//! A real process, killed at any time.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::facts;
use cordon_snapshots::{SnapshotId, SnapshotRequest, Store, StoreOptions};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const HOME: &str = "CORDON_TEST_SNAPSHOTS_HOME";

fn write(tree: &Path, n: u32) {
    for file in 0..8 {
        fs::write(tree.join(format!("f{file}")), format!("{n} {file} ").repeat(500)).unwrap();
    }
}

#[test]
#[ignore = "the process that the other test kills"]
fn victim() {
    let home = PathBuf::from(std::env::var_os(HOME).unwrap());
    let store = Store::open(&home.join("store"), "alice", StoreOptions::default()).unwrap();
    for n in std::process::id().. {
        write(&home.join("tree"), n);
        let taken = store.snapshot(&home.join("tree"), &SnapshotRequest::default()).unwrap();
        println!("announced {}", taken.id);
        if n % 4 == 0 {
            store.remove(&taken.id).unwrap();
            println!("removed {}", taken.id);
            store.gc().unwrap();
        }
    }
}

#[test]
fn a_killed_process_leaves_every_announced_snapshot_whole() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("tree")).unwrap();
    let mut announced: Vec<SnapshotId> = Vec::new();
    for round in 0..10 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["victim", "--exact", "--ignored", "--nocapture"])
            .env(HOME, home.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut told = 0;
        let mut doubtful = None;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in &mut lines {
            let line = line.unwrap();
            if let Some((_, id)) = line.split_once("announced ") {
                announced.push(id.parse().unwrap());
                told += 1;
            } else if line.contains("removed ") {
                announced.pop();
            }
            if told == 2 + round {
                break;
            }
        }
        child.kill().unwrap();
        // What it said before it died counts, and what it was about to remove may be gone.
        for line in lines {
            let line = line.unwrap();
            match line.split_once("announced ") {
                Some((_, id)) => announced.push(id.parse().unwrap()),
                None if line.contains("removed ") => drop(announced.pop()),
                None => {}
            }
        }
        child.wait().unwrap();
        let store = Store::open(&home.path().join("store"), "alice", StoreOptions::default()).unwrap();
        if announced.last().is_some_and(|id| store.get(id).is_err()) {
            doubtful = announced.pop();
        }
        assert!(announced.iter().all(|id| store.get(id).is_ok()), "round {round}, doubtful {doubtful:?}");
        let verified = store.verify().unwrap();
        assert!(verified.faults.is_empty(), "{:?}", verified.faults);
        store.gc().unwrap();
        for (id, _) in store.list().unwrap() {
            let back = tempfile::tempdir_in(home.path()).unwrap();
            store.restore(&id, back.path()).unwrap();
            let files: Vec<_> = facts(back.path()).into_values().filter(|f| f.kind == 'f').collect();
            let turn = |bytes: &[u8]| bytes.split(|b| *b == b' ').next().map(<[u8]>::to_vec);
            assert_eq!(files.len(), 8);
            assert!(files.iter().all(|f| turn(&f.bytes) == turn(&files[0].bytes)));
        }
    }
    assert!(announced.len() > 20);
}
