//! The life of snapshots in a bucket of a real S3 server.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "../../snapshots/tests/common/mod.rs"]
mod facts;

use common::{DAY, Server, noise, server};
use cordon_objects::{FetchRequest, RemoteError, Times};
use cordon_snapshots::{SnapshotId, Store, TreeLimits};
use facts::{differences, facts};
use std::{
    fs,
    os::unix::fs::{FileExt as _, PermissionsExt as _, symlink},
    path::Path,
    process::Command,
};

fn tree(at: &Path, seed: u64) {
    fs::create_dir_all(at.join("d/empty")).unwrap();
    fs::write(at.join("small"), format!("text {seed}")).unwrap();
    fs::write(at.join("d/large"), noise(seed, 5_000_000)).unwrap();
    fs::hard_link(at.join("d/large"), at.join("d/again")).unwrap();
    symlink("../small", at.join("d/link")).unwrap();
    let sparse = fs::File::create(at.join("sparse")).unwrap();
    sparse.set_len(9 << 20).unwrap();
    sparse.write_all_at(&noise(seed + 1, 5000), 4 << 20).unwrap();
    fs::set_permissions(at.join("small"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::write(at.join("shared"), noise(7, 100_000)).unwrap();
}

fn fetched(server: &Server, into: &str, id: &SnapshotId, was: &Path) -> Store {
    let store = server.store(into);
    let taken = server.remote().fetch(&store, id, &FetchRequest::default()).unwrap();
    let back = server.dir(&format!("{into}-back"));
    store.restore(&taken.id, &back).unwrap();
    let found = differences(&facts(was), &facts(&back));
    assert!(found.is_empty(), "{found:#?}");
    assert!(store.verify().unwrap().faults.is_empty());
    store
}

#[test]
fn a_snapshot_goes_and_comes_back_whole() {
    let Some(server) = server() else { return };
    let (here, other) = (server.dir("tree"), server.dir("other"));
    tree(&here, 1);
    fs::write(other.join("secret"), noise(99, 300_000)).unwrap();
    let store = server.store("store");
    // In one pack with what is pushed, and yet not pushed.
    let private = server.take(&store, &other);
    let taken = server.take(&store, &here);
    let remote = server.remote();
    assert!(remote.list().unwrap().is_empty());
    let pushed = remote.push(&store, &taken.id).unwrap();
    assert!(!pushed.was_there && pushed.packs == 2 && pushed.bytes > 5_000_000, "{pushed:?}");
    let again = server.remote().push(&store, &taken.id).unwrap();
    assert_eq!((again.was_there, again.packs, again.objects), (true, 0, 0));
    let listed = server.remote().list().unwrap();
    assert_eq!(listed, [(taken.id, taken.snapshot.clone())]);
    let secret = noise(99, 300_000);
    for pack in server.files("packs") {
        assert!(
            !fs::read(pack).unwrap().windows(32).any(|w| w == &secret[1000..1032]),
            "what was not pushed is there"
        );
    }
    assert!(matches!(remote.get(&private.id), Err(RemoteError::NotFound(_))));

    let second = fetched(&server, "second", &taken.id, &here);
    let came = second.list().unwrap();
    let [(id, snapshot)] = came.as_slice() else { panic!("{came:?}") };
    assert_eq!((snapshot.root, snapshot.root_mtime), (taken.snapshot.root, taken.snapshot.root_mtime));
    // It is none of this store's own runs.
    assert_eq!(
        (snapshot.kind.as_str(), snapshot.run.as_str(), snapshot.label.as_str()),
        ("fetch", "", "kept")
    );
    assert_eq!(snapshot.parents, [taken.id]);
    let (was, is) = (taken.snapshot.statistics, snapshot.statistics);
    assert_eq!(
        (was.files, was.directories, was.symlinks, was.bytes),
        (is.files, is.directories, is.symlinks, is.bytes)
    );
    assert_eq!(server.remote().fetch(&second, &taken.id, &FetchRequest::default()).unwrap().id, *id);
    // Most of the next one is there already, here and in the bucket.
    fs::write(here.join("new"), "new").unwrap();
    let next = server.take(&store, &here);
    let pushed = remote.push(&store, &next.id).unwrap();
    assert!(pushed.objects <= 2 && pushed.bytes < 10_000, "{pushed:?}");
    let before = second.usage().unwrap();
    server.remote().fetch(&second, &next.id, &FetchRequest::default()).unwrap();
    assert!(second.usage().unwrap() - before < 10_000);
    let verified = remote.verify().unwrap();
    assert!(verified.faults.is_empty(), "{:?}", verified.faults);
    assert_eq!((verified.snapshots, verified.packs), (2, 4));
}

#[test]
fn freeing_waits_and_takes_nothing_that_is_needed() {
    let Some(server) = server() else { return };
    let (one, two) = (server.dir("one"), server.dir("two"));
    tree(&one, 1);
    tree(&two, 2);
    let store = server.store("store");
    let (a, b) = (server.take(&store, &one), server.take(&store, &two));
    let remote = server.remote();
    remote.push(&store, &a.id).unwrap();
    remote.push(&store, &b.id).unwrap();
    let quiet = remote.gc().unwrap();
    assert_eq!((quiet.packs, quiet.condemned, quiet.rewritten), (0, 0, 0));
    remote.remove(&a.id).unwrap();
    assert!(matches!(remote.remove(&a.id), Err(RemoteError::NotFound(_))));
    let first = remote.gc().unwrap();
    assert!(first.packs == 0 && first.condemned == 2 && first.rewritten == 1, "{first:?}");
    // Not yet, however often it is asked.
    assert_eq!(server.remote().gc().unwrap().packs, 0);
    // A writer that comes now does not count on what is condemned.
    let pushed = server.remote().push(&store, &a.id).unwrap();
    assert!(pushed.bytes > 5_000_000 && !pushed.was_there, "{pushed:?}");
    server.age("condemned", DAY);
    let second = remote.gc().unwrap();
    assert!(second.packs == 2 && second.bytes > 5_000_000, "{second:?}");
    assert!(server.files("condemned").is_empty());
    fetched(&server, "again", &a.id, &one);
    fetched(&server, "b", &b.id, &two);
    assert!(remote.verify().unwrap().faults.is_empty());
    // All of it goes when nothing refers to it any more.
    remote.remove(&a.id).unwrap();
    remote.remove(&b.id).unwrap();
    remote.gc().unwrap();
    server.age("condemned", DAY);
    remote.gc().unwrap();
    assert!(server.files("packs").is_empty() && server.files("gc").is_empty());
}

#[test]
fn who_announces_late_keeps_what_was_condemned() {
    let Some(server) = server() else { return };
    let one = server.dir("one");
    tree(&one, 1);
    let store = server.store("store");
    let taken = server.take(&store, &one);
    let remote = server.remote();
    remote.push(&store, &taken.id).unwrap();
    // A writer looked, somebody freed, and then the writer announced: as if by two programs.
    let record = server.files("snapshots").remove(0);
    let bytes = fs::read(&record).unwrap();
    fs::remove_file(&record).unwrap();
    assert_eq!(remote.gc().unwrap().condemned, 2);
    fs::write(&record, bytes).unwrap();
    server.age("condemned", DAY);
    let freed = remote.gc().unwrap();
    assert_eq!((freed.kept, freed.packs), (2, 0));
    assert!(server.files("condemned").is_empty());
    fetched(&server, "second", &taken.id, &one);
}

#[test]
fn one_frees_at_a_time_and_a_dead_one_is_replaced() {
    let Some(server) = server() else { return };
    let remote = server.remote();
    let lock = server.home.path().join("s3/team/one/gc");
    fs::write(&lock, "somebody").unwrap();
    assert!(matches!(remote.gc(), Err(RemoteError::Busy)));
    assert_eq!(fs::read_to_string(&lock).unwrap(), "somebody");
    let file = fs::File::options().write(true).open(&lock).unwrap();
    file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(3700)).unwrap();
    remote.gc().unwrap();
    assert!(!lock.try_exists().unwrap());
    assert!(server.files("clock").is_empty());
}

#[test]
fn writers_at_once_agree() {
    let Some(server) = server() else { return };
    let (shared, first) = (server.dir("shared"), server.remote());
    tree(&shared, 3);
    let mut all = Vec::new();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4u64)
            .map(|n| {
                let (server, shared) = (&server, &shared);
                scope.spawn(move || {
                    let own = server.dir(&format!("own{n}"));
                    tree(&own, 10 + n);
                    let store = server.store(&format!("store{n}"));
                    let mut ids = Vec::new();
                    for dir in [&own, shared] {
                        let taken = server.take(&store, dir);
                        server.remote().push(&store, &taken.id).unwrap();
                        ids.push((taken.id, dir.clone()));
                    }
                    ids
                })
            })
            .collect();
        for _ in 0..6 {
            match first.gc() {
                Ok(freed) => assert_eq!(freed.packs, 0),
                Err(e) => panic!("{e}"),
            }
        }
        all.extend(writers.into_iter().flat_map(|w| w.join().unwrap()));
    });
    server.age("condemned", DAY);
    first.gc().unwrap();
    assert_eq!(first.list().unwrap().len(), all.len());
    let verified = first.verify().unwrap();
    assert!(verified.faults.is_empty(), "{:?}", verified.faults);
    for (n, (id, dir)) in all.iter().enumerate() {
        fetched(&server, &format!("fetched{n}"), id, dir);
    }
}

/// Not a test of its own: what `a_killed_writer_leaves_nothing_announced` starts and kills.
#[test]
fn killed_writer() {
    let Some(args) = std::env::var_os("CORDON_OBJECTS_WRITER") else { return };
    let args = args.into_string().unwrap();
    let mut args = args.split(' ');
    let mut next = || args.next().unwrap().to_owned();
    let target = cordon_objects::Target::parse(&next()).unwrap();
    let store = Store::open(Path::new(&next()), "", cordon_snapshots::StoreOptions::default()).unwrap();
    let remote = cordon_objects::Remote::open(&target, &common::keys(), Times::default()).unwrap();
    remote.push(&store, &next().parse().unwrap()).unwrap();
}

#[test]
fn a_killed_writer_leaves_nothing_announced() {
    let Some(server) = server() else { return };
    let here = server.dir("tree");
    for n in 0..5 {
        fs::write(here.join(format!("f{n}")), noise(n, 17 << 20)).unwrap();
    }
    let store = server.store("store");
    let taken = server.take(&store, &here);
    let remote = server.remote();
    let address = format!("s3://team/one?endpoint={}", server.url);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed_writer", "--nocapture"])
        .env(
            "CORDON_OBJECTS_WRITER",
            format!("{address} {} {}", server.home.path().join("store").display(), taken.id),
        )
        .spawn()
        .unwrap();
    while server.files("packs").is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "the writer ended before it put anything");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(remote.list().unwrap().is_empty(), "it was killed too late to try anything");
    assert!(remote.verify().unwrap().faults.is_empty());
    assert!(remote.gc().unwrap().condemned > 0);
    server.age("condemned", DAY);
    assert!(remote.gc().unwrap().packs > 0);
    assert!(server.files("packs").is_empty());
    remote.push(&store, &taken.id).unwrap();
    fetched(&server, "second", &taken.id, &here);
}

#[test]
fn a_tree_that_would_grow_beyond_all_disks_is_refused() {
    let Some(server) = server() else { return };
    let here = server.dir("tree");
    // Ten directories by their content, a thousand by their names.
    fn grow(at: &Path, depth: u32) {
        fs::create_dir(at).unwrap();
        for name in ["a", "b"] {
            if depth > 0 {
                grow(&at.join(name), depth - 1);
            }
        }
        let time = std::time::UNIX_EPOCH;
        fs::File::open(at).unwrap().set_modified(time).unwrap();
    }
    grow(&here.join("x"), 9);
    let store = server.store("store");
    let taken = server.take(&store, &here);
    let remote = server.remote();
    assert!(remote.push(&store, &taken.id).unwrap().objects < 15);
    let into = server.store("second");
    let limited = |limits| remote.fetch(&into, &taken.id, &FetchRequest { limits, label: None });
    let entries = limited(TreeLimits { entries: 1000, ..TreeLimits::default() });
    assert!(matches!(entries, Err(RemoteError::Limit { what: "entries", .. })), "{entries:?}");
    let depth = limited(TreeLimits { depth: 9, ..TreeLimits::default() });
    assert!(
        matches!(depth, Err(RemoteError::Limit { what: "directories below each other", .. })),
        "{depth:?}"
    );
    assert!(into.list().unwrap().is_empty());
    limited(TreeLimits { entries: 2000, depth: 11, ..TreeLimits::default() }).unwrap();
}
