//! Trees as deep as an enemy makes them: brought in, or refused with their name.

#![allow(clippy::unwrap_used)]

use cordon_snapshots::{
    SnapshotRequest, Store, StoreOptions,
    apply::{self, Options, PlanError},
    classify::Class,
    diff::{self, DiffError, Limits},
    live::LiveTree,
};
use rustix::{
    fd::{AsFd as _, OwnedFd},
    fs::{CWD, Mode, OFlags, mkdirat, openat},
};
use std::{fs, path::Path};

fn open(at: rustix::fd::BorrowedFd<'_>, name: &[u8]) -> OwnedFd {
    openat(at, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty()).unwrap()
}

/// Directories below each other, and a file in the deepest.
fn dig(root: &Path, depth: usize, name: &[u8]) {
    let mut at = openat(CWD, root, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..depth {
        mkdirat(&at, name, Mode::RWXU).unwrap();
        at = open(at.as_fd(), name);
    }
    openat(&at, "file", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
}

/// How deep it goes.
fn depth(root: &Path, name: &[u8]) -> usize {
    let mut at = openat(CWD, root, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    for depth in 0.. {
        match openat(&at, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(next) => at = next,
            Err(_) => {
                openat(&at, "file", OFlags::RDONLY, Mode::empty()).unwrap();
                return depth;
            }
        }
    }
    0
}

/// With as little stack as a thread of the daemon has.
fn small(run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap().join().unwrap();
}

struct World {
    top: tempfile::TempDir,
    store: Store,
}

impl World {
    fn new() -> Self {
        let top = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        for name in ["none", "fork", "user", "journals"] {
            fs::create_dir(top.path().join(name)).unwrap();
        }
        let store = Store::open(&top.path().join("store"), "owner", StoreOptions::default()).unwrap();
        Self { top, store }
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.top.path().join(name)
    }

    fn taken(&self, name: &str) -> cordon_snapshots::SnapshotId {
        self.store.snapshot(&self.at(name), &SnapshotRequest::default()).unwrap().id
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The standard library goes down by recursion; this does not.
        let _ = std::process::Command::new("rm").arg("-rf").arg("--").arg(self.at("fork")).status();
    }
}

#[test]
fn four_thousand_directories_are_brought_in_and_taken_out() {
    small(|| {
        let world = World::new();
        dig(&world.at("fork"), 4000, b"d");
        let (none, deep) = (world.taken("none"), world.taken("fork"));
        let (none, deep) = (world.store.tree(&none).unwrap(), world.store.tree(&deep).unwrap());
        assert_eq!(diff::diff(&none, &deep, &Limits::default()).unwrap().len(), 4001);
        let user = world.at("user");
        let live = LiveTree::open(&user).unwrap();
        // It is asked for: nobody looks as deep.
        let plan = apply::plan(&none, &deep, &live, &Options::default()).unwrap();
        assert_eq!(plan.needs(), Class::MARKED.into());
        let options = Options { allowed: Class::MARKED.into(), ..Options::default() };
        let plan = apply::plan(&none, &deep, &live, &options).unwrap();
        apply::execute(&plan, &deep, &user, &world.at("journals"), None).unwrap();
        assert_eq!(depth(&user, b"d"), 4000);
        let plan = apply::plan(&deep, &none, &live, &options).unwrap();
        apply::execute(&plan, &none, &user, &world.at("journals"), None).unwrap();
        assert_eq!(fs::read_dir(&user).unwrap().count(), 0);
    });
}

#[test]
fn a_thousand_directories_are_put_back() {
    small(|| {
        let world = World::new();
        dig(&world.at("fork"), 1000, b"d");
        let (none, deep) = (world.taken("none"), world.taken("fork"));
        let (none, deep) = (world.store.tree(&none).unwrap(), world.store.tree(&deep).unwrap());
        let user = world.at("user");
        apply::replace(&none, &deep, &user, &world.at("journals"), None).unwrap();
        assert_eq!(depth(&user, b"d"), 1000);
        apply::replace(&deep, &none, &user, &world.at("journals"), None).unwrap();
        assert_eq!(fs::read_dir(&user).unwrap().count(), 0);
    });
}

#[test]
fn deeper_trees_and_longer_paths_are_refused_by_name() {
    small(|| {
        let world = World::new();
        dig(&world.at("fork"), 9000, b"d");
        let (none, deep) = (world.taken("none"), world.taken("fork"));
        let (none, tree) = (world.store.tree(&none).unwrap(), world.store.tree(&deep).unwrap());
        let error = diff::diff(&none, &tree, &Limits::default()).unwrap_err();
        assert!(
            matches!(&error, DiffError::TooDeep { depth: 4096, path } if path.len() == 2 * 4097 - 1),
            "{error}"
        );
        let text = error.to_string();
        assert!(text.len() < 1000 && text.contains("4096") && text.contains("d/d/d/"), "{text}");
        let live = LiveTree::open(&world.at("user")).unwrap();
        let error = apply::plan(&none, &tree, &live, &Options::default()).unwrap_err();
        assert!(matches!(error, PlanError::Diff(DiffError::TooDeep { .. })));
        // A live tree says the same.
        let live = LiveTree::open(&world.at("fork")).unwrap();
        assert!(diff::diff(&none, &live, &Limits::default()).is_err());
        // Names as long as names can be: 3,000 of them are a gigabyte of paths.
        let long = World::new();
        dig(&long.at("fork"), 3000, &[b'n'; 255]);
        let none = long.taken("none");
        let none = long.store.tree(&none).unwrap();
        let live = LiveTree::open(&long.at("fork")).unwrap();
        let error = diff::diff(&none, &live, &Limits::default()).unwrap_err();
        assert!(matches!(error, DiffError::TooLong { .. }), "{error}");
        assert!(error.to_string().len() < 1000);
    });
}
