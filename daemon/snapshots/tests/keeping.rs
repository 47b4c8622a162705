//! Unchanged trees, damage, freeing, bounds.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod common;

use common::facts;
use cordon_snapshots::{
    Retention, SkipReason, SnapshotRequest, Store, StoreError, StoreOptions, TreeLimits, Unsettled, diff,
    live::LiveTree,
};
use std::{
    collections::HashSet,
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

struct Home {
    dir: tempfile::TempDir,
    tree: PathBuf,
}

fn home() -> Home {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    Home { dir, tree }
}

impl Home {
    fn store(&self) -> Store {
        self.store_with(StoreOptions::default())
    }

    fn store_with(&self, options: StoreOptions) -> Store {
        Store::open(&self.dir.path().join("store"), "alice", options).unwrap()
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.tree.join(name), bytes).unwrap();
    }

    fn files(&self, of: &str) -> Vec<PathBuf> {
        let owner =
            fs::read_dir(self.dir.path().join("store/owners")).unwrap().next().unwrap().unwrap().path();
        let mut files: Vec<_> = fs::read_dir(owner.join(of)).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        files
    }
}

fn plain() -> SnapshotRequest {
    SnapshotRequest::default()
}

fn noise(seed: u32, words: u32) -> Vec<u8> {
    (0..words)
        .flat_map(|n| (n ^ seed).wrapping_mul(2_654_435_761).rotate_left(n % 31).to_le_bytes())
        .collect()
}

#[test]
fn an_unchanged_tree_is_not_read_and_adds_nothing() {
    let home = home();
    home.write("a", "a");
    home.write("large", noise(1, 500_000));
    let sparse = fs::File::create(home.tree.join("sparse")).unwrap();
    sparse.set_len(50_000_000).unwrap();
    let store = home.store();
    let first = store.snapshot(&home.tree, &plain()).unwrap();
    assert_eq!(first.snapshot.statistics.read, 3);
    let used = store.usage().unwrap();
    let second = home.store().snapshot(&home.tree, &plain()).unwrap();
    let statistics = second.snapshot.statistics;
    assert_eq!(
        (statistics.read, statistics.added_objects, second.snapshot.root),
        (0, 0, first.snapshot.root)
    );
    assert!(store.usage().unwrap() - used < 1000);
}

#[test]
fn a_live_tree_that_is_known_is_compared_by_its_looks() {
    let home = home();
    for name in ["a", "b", "sparse"] {
        home.write(name, name);
    }
    fs::File::options().write(true).open(home.tree.join("sparse")).unwrap().set_len(9_000_000).unwrap();
    let store = home.store();
    let base = store.snapshot(&home.tree, &plain()).unwrap();
    let old = store.tree(&base.id).unwrap();
    // No byte may be read: what is told apart was told by its address.
    let limits = diff::Limits { compared: 0, ..diff::Limits::default() };
    let found = |tree: &LiveTree| {
        let deltas = diff::diff(&old, tree, &limits).unwrap();
        deltas.into_iter().map(|d| (d.path, d.unread)).collect::<Vec<_>>()
    };
    let known = || LiveTree::open(&home.tree).unwrap().knowing(&store);
    assert_eq!(found(&known()), []);
    assert_eq!(found(&LiveTree::open(&home.tree).unwrap()).len(), 3);
    // The same size and the same times.
    let stamp = fs::metadata(home.tree.join("b")).unwrap().modified().unwrap();
    home.write("b", "c");
    fs::File::options().write(true).open(home.tree.join("b")).unwrap().set_modified(stamp).unwrap();
    assert_eq!(found(&known()), [(b"b".to_vec(), true)]);
    let all = diff::diff(&old, &known(), &diff::Limits::default()).unwrap();
    assert_eq!(all.len(), 1);
    // Another store, or another directory's index, knows nothing.
    let other = Store::open(&home.dir.path().join("store"), "bob", StoreOptions::default()).unwrap();
    assert_eq!(found(&LiveTree::open(&home.tree).unwrap().knowing(&other)).len(), 3);
}

#[test]
fn a_write_with_times_set_back_is_seen_even_in_the_same_tick() {
    let home = home();
    let store = home.store();
    let file = home.tree.join("f");
    let mut roots = HashSet::new();
    fs::write(&file, "0000").unwrap();
    let stamp = fs::metadata(&file).unwrap().modified().unwrap();
    for n in 0..200 {
        fs::write(&file, format!("{n:04}")).unwrap();
        fs::File::options().write(true).open(&file).unwrap().set_modified(stamp).unwrap();
        assert!(
            roots.insert(store.snapshot(&home.tree, &plain()).unwrap().snapshot.root),
            "write {n} was not seen"
        );
    }
}

#[test]
fn a_lost_or_damaged_stat_index_costs_time_alone() {
    let home = home();
    home.write("a", "a");
    let store = home.store();
    let root = store.snapshot(&home.tree, &plain()).unwrap().snapshot.root;
    let stats = home.files("stats");
    assert_eq!(stats.len(), 1);
    let mut bytes = fs::read(&stats[0]).unwrap();
    // Another address for the file: believed, the snapshot would be of something else.
    let at = bytes.len() - 40;
    bytes[at] ^= 1;
    fs::write(&stats[0], bytes).unwrap();
    assert_eq!(store.verify().unwrap().faults.len(), 1);
    let again = store.snapshot(&home.tree, &plain()).unwrap().snapshot;
    assert_eq!((again.root, again.statistics.read), (root, 1));
    assert!(store.verify().unwrap().faults.is_empty());
}

#[test]
fn every_flipped_bit_is_found_and_what_it_touches_is_named() {
    let home = home();
    fs::create_dir(home.tree.join("d")).unwrap();
    home.write("d/text", "some text ".repeat(60));
    home.write("other", noise(3, 40));
    let store = home.store();
    let id = store.snapshot(&home.tree, &plain()).unwrap().id;
    assert!(store.verify().unwrap().faults.is_empty());
    let whole = facts(&home.tree);
    let mut named = HashSet::new();
    for of in ["packs", "snapshots", "stats"] {
        for file in home.files(of) {
            let bytes = fs::read(&file).unwrap();
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                // As a new file: the packs that an index has open are not the ones on disk.
                fs::remove_file(&file).unwrap();
                fs::write(&file, &flipped).unwrap();
                let store = home.store();
                let verified = store.verify().unwrap();
                assert!(!verified.faults.is_empty(), "bit {bit} of {file:?} was not found");
                if of == "stats" {
                    continue;
                }
                let touched: Vec<_> = verified.faults.iter().flat_map(|f| &f.touches).collect();
                assert!(
                    !touched.is_empty() && touched.iter().all(|t| t.snapshot == id),
                    "bit {bit} of {file:?}"
                );
                named.extend(touched.iter().map(|t| t.path.clone()));
                // A restore fails, or is whole: it never gives other bytes.
                let back = tempfile::tempdir_in(home.dir.path()).unwrap();
                if bit % 61 == 0 && store.restore(&id, back.path()).is_ok() {
                    assert_eq!(facts(back.path()), whole);
                }
                assert!(store.gc().is_err() || of == "packs", "gc trusted a damaged record");
            }
            fs::write(&file, &bytes).unwrap();
        }
    }
    let all: [&[u8]; 4] = [b"", b"d", b"d/text", b"other"];
    assert!(all.iter().all(|path| named.contains(*path)), "{named:?}");
    assert!(home.store().verify().unwrap().faults.is_empty());
}

#[test]
fn what_nothing_refers_to_is_freed_and_the_rest_is_whole() {
    let home = home();
    let store = home.store();
    home.write("kept", noise(1, 30_000));
    home.write("dropped", noise(2, 500_000));
    let first = store.snapshot(&home.tree, &plain()).unwrap().id;
    fs::remove_file(home.tree.join("dropped")).unwrap();
    let second = store.snapshot(&home.tree, &plain()).unwrap().id;
    let reader = home.store();
    let tree = reader.tree(&second).unwrap();
    assert_eq!(store.gc().unwrap().packs, 0);
    store.remove(&first).unwrap();
    let used = store.usage().unwrap();
    let freed = store.gc().unwrap();
    assert!(freed.bytes > 1_900_000 && store.usage().unwrap() == used - freed.bytes, "{freed:?}");
    assert_eq!(store.gc().unwrap().packs, 0);
    let back = tempfile::tempdir_in(home.dir.path()).unwrap();
    reader.restore(&second, back.path()).unwrap();
    assert_eq!(facts(back.path()), facts(&home.tree));
    let mut bytes = Vec::new();
    cordon_snapshots::TreeSource::read(&tree, b"kept").unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, noise(1, 30_000));
    assert!(store.verify().unwrap().faults.is_empty());
    assert!(matches!(store.get(&first), Err(StoreError::NotFound(_))));
}

#[test]
fn many_small_packs_become_one() {
    let home = home();
    let store = home.store();
    for n in 0..20 {
        home.write("f", format!("{n}"));
        store.snapshot(&home.tree, &plain()).unwrap();
    }
    assert_eq!(home.files("packs").len(), 20);
    let freed = store.gc().unwrap();
    assert_eq!((freed.packs, freed.rewritten, home.files("packs").len()), (20, 1, 1));
    assert!(store.verify().unwrap().faults.is_empty());
    assert_eq!(store.list().unwrap().len(), 20);
}

#[test]
fn writers_and_gc_and_removal_go_on_at_once() {
    let home = home();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stops = Stops(&stop);
        let writers: Vec<_> = (0..3u32)
            .map(|writer| {
                let home = &home;
                scope.spawn(move || {
                    let tree = home.dir.path().join(format!("tree{writer}"));
                    fs::create_dir(&tree).unwrap();
                    let store = home.store();
                    let mut last: Option<cordon_snapshots::Taken> = None;
                    for n in 0..25u32 {
                        // Content that the others have too, that comes and goes.
                        fs::write(tree.join("shared"), noise(n % 3, 2000)).unwrap();
                        fs::write(tree.join(format!("own{}", n % 2)), noise(writer * 1000 + n, 500)).unwrap();
                        let taken = store.snapshot(&tree, &plain()).unwrap();
                        let back = tempfile::tempdir_in(home.dir.path()).unwrap();
                        store.restore(&taken.id, back.path()).unwrap();
                        assert_eq!(facts(back.path()), facts(&tree));
                        if let Some(last) = last.replace(taken) {
                            store.remove(&last.id).unwrap();
                        }
                    }
                    last.unwrap().id
                })
            })
            .collect();
        let collector = scope.spawn(|| {
            let (store, mut freed) = (home.store(), 0);
            while !stop.load(Ordering::Relaxed) {
                freed += store.gc().unwrap().packs;
            }
            freed
        });
        let kept: Vec<_> = writers.into_iter().map(|w| w.join()).collect();
        stop.store(true, Ordering::Relaxed);
        assert!(collector.join().unwrap() > 0);
        let store = home.store();
        let listed: HashSet<_> = store.list().unwrap().into_iter().map(|(id, _)| id).collect();
        assert_eq!(listed, kept.into_iter().map(Result::unwrap).collect());
        assert!(store.verify().unwrap().faults.is_empty());
        store.gc().unwrap();
        assert_eq!(home.files("writing").len(), 0);
    });
}

#[test]
fn retention_keeps_the_newest_and_the_pinned() {
    let home = home();
    let store = home.store();
    let mut ids = Vec::new();
    for n in 0..6 {
        home.write("f", noise(n, 5000));
        ids.push(store.snapshot(&home.tree, &plain()).unwrap().id);
    }
    let pinned = HashSet::from([ids[0]]);
    let removed =
        store.retain(&Retention { count: Some(4), pinned: pinned.clone(), ..Retention::default() }).unwrap();
    assert_eq!(removed, [ids[1]]);
    let removed = store.retain(&Retention { bytes: Some(45_000), ..Retention::default() }).unwrap();
    assert_eq!(removed, [ids[0], ids[2], ids[3]]);
    let removed =
        store.retain(&Retention { age: Some(Duration::from_secs(3600)), ..Retention::default() }).unwrap();
    assert_eq!(removed, []);
    let removed = store.retain(&Retention { bytes: Some(0), ..Retention::default() }).unwrap();
    assert_eq!(removed, [ids[4]]);
    store.gc().unwrap();
    assert!(store.usage().unwrap() < 45_000);
    assert_eq!(store.list().unwrap()[0].0, ids[5]);
}

#[test]
fn a_quota_holds_for_one_owner_and_leaves_the_store_as_it_was() {
    let home = home();
    home.write("f", noise(1, 20_000));
    let tight = home.store_with(StoreOptions { quota: Some(50_000) });
    let error = tight.snapshot(&home.tree, &plain()).unwrap_err();
    assert!(matches!(error, StoreError::Quota { limit: 50_000, .. }), "{error}");
    assert_eq!((tight.usage().unwrap(), home.files("writing").len(), tight.list().unwrap().len()), (0, 0, 0));
    let other =
        Store::open(&home.dir.path().join("store"), "bob", StoreOptions { quota: Some(200_000) }).unwrap();
    other.snapshot(&home.tree, &plain()).unwrap();
    assert_eq!(tight.usage().unwrap(), 0);
    assert!(other.usage().unwrap() > 80_000);
}

#[test]
fn a_file_that_never_holds_still_is_never_half_shown() {
    let home = home();
    let (page, pages) = (4096, 60);
    let size = page * pages;
    home.write("torn", vec![0u8; size]);
    home.write("calm", "calm");
    let store = home.store();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = fs::File::options().write(true).open(home.tree.join("torn")).unwrap();
            let mut value = 0u8;
            while !stop.load(Ordering::Relaxed) {
                value = value.wrapping_add(1);
                // Page after page: a reader that is overtaken has a torn file.
                for at in 0..pages {
                    file.write_all_at(&vec![value; page], (at * page) as u64).unwrap();
                }
            }
        });
        let request = SnapshotRequest { unsettled: Unsettled::LeaveOut, ..plain() };
        let (mut refused, mut rounds) = (0, 0);
        // Until the writer was met: when it is given a processor, only the kernel knows.
        while refused < 3 || rounds < 20 {
            rounds += 1;
            let left_out = store.snapshot(&home.tree, &request).unwrap().snapshot;
            match store.snapshot(&home.tree, &plain()) {
                Err(StoreError::Changing { path }) => {
                    assert_eq!(path, "torn");
                    refused += 1;
                }
                taken => drop(taken.unwrap()),
            }
            assert!(
                left_out
                    .skipped
                    .iter()
                    .all(|s| (s.path.as_slice(), s.reason) == (b"torn", SkipReason::Changing))
            );
        }
        stop.store(true, Ordering::Relaxed);
    });
    for (id, _) in store.list().unwrap() {
        let back = tempfile::tempdir_in(home.dir.path()).unwrap();
        store.restore(&id, back.path()).unwrap();
        assert_eq!(fs::read(back.path().join("calm")).unwrap(), b"calm");
        if let Ok(bytes) = fs::read(back.path().join("torn")) {
            // What was there between two writes: one value up to some page, the one before from there on.
            let seam = bytes.iter().position(|b| *b != bytes[0]).unwrap_or(size);
            assert_eq!((bytes.len(), seam % page), (size, 0));
            assert!(bytes[seam..].iter().all(|b| *b == bytes[0].wrapping_sub(1)), "torn at {seam}");
        }
    }
}

#[test]
fn more_than_the_limits_is_refused_by_name() {
    let home = home();
    fs::create_dir_all(home.tree.join("a/b/c")).unwrap();
    home.write("a/f", "12345");
    let store = home.store();
    let all = TreeLimits::default();
    for limits in [
        TreeLimits { depth: 2, ..all },
        TreeLimits { entries: 3, ..all },
        TreeLimits { directory: 1, ..all },
        TreeLimits { bytes: 4, ..all },
    ] {
        let error = store.snapshot(&home.tree, &SnapshotRequest { limits, ..plain() }).unwrap_err();
        assert!(matches!(error, StoreError::Limit { .. }), "{error}");
    }
    assert!(store.list().unwrap().is_empty());
}

#[test]
fn other_directories_and_later_stores_are_left_alone() {
    let home = home();
    home.write("mine", "mine");
    let open = |path: &Path| Store::open(path, "alice", StoreOptions::default());
    assert!(matches!(open(&home.tree), Err(StoreError::Format { .. })));
    assert_eq!(fs::read_dir(&home.tree).unwrap().count(), 1);
    let later = home.dir.path().join("later");
    fs::create_dir(&later).unwrap();
    fs::File::create(later.join("format")).unwrap().write_all(b"cordon-snapshots 2\n").unwrap();
    assert!(matches!(open(&later), Err(StoreError::Format { .. })));
}

#[test]
fn a_file_that_is_exchanged_is_the_one_or_the_other() {
    let home = home();
    // Long enough to be chunks, and of the same size, so that only the bytes tell.
    let versions = [noise(1, 1_500_000), noise(2, 1_500_000)];
    for (n, version) in versions.iter().enumerate() {
        home.write(&format!("small{n}"), &version[..9000]);
        fs::write(home.dir.path().join(format!("{n}")), version).unwrap();
    }
    home.write("long", &versions[0]);
    home.write("short", &versions[0][..9000]);
    let store = home.store();
    // Exchanges that may still happen: enough to meet every moment of a snapshot, and few enough
    // that the tree holds still in the end.
    let (allowed, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mut seen = HashSet::new();
    std::thread::scope(|scope| {
        // Also when an assertion fails: the other thread ends with this one.
        let _stops = Stops(&stop);
        scope.spawn(|| {
            let (next, tree) = (home.dir.path().join("next"), &home.tree);
            for n in (0..2).cycle() {
                let take = |left: usize| left.checked_sub(1);
                while allowed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    std::thread::yield_now();
                }
                fs::copy(home.dir.path().join(format!("{n}")), &next).unwrap();
                fs::rename(&next, tree.join("long")).unwrap();
                // Exchanged for a link and a directory too: neither is followed or entered as a file.
                fs::remove_file(tree.join("short")).unwrap();
                std::os::unix::fs::symlink("/etc/passwd", tree.join("short")).unwrap();
                fs::remove_file(tree.join("short")).unwrap();
                fs::create_dir(tree.join("short")).unwrap();
                fs::remove_dir(tree.join("short")).unwrap();
                fs::hard_link(tree.join(format!("small{n}")), tree.join("short")).unwrap();
            }
        });
        let mut rounds = 0;
        while rounds < 30 || seen.len() < 2 {
            rounds += 1;
            allowed.store(3 + rounds % 20, Ordering::Relaxed);
            let taken = match store.snapshot(&home.tree, &plain()) {
                Err(StoreError::Changing { .. }) => continue,
                taken => taken.unwrap(),
            };
            let back = tempfile::tempdir_in(home.dir.path()).unwrap();
            store.restore(&taken.id, back.path()).unwrap();
            if let Ok(bytes) = fs::read(back.path().join("long")) {
                let which = versions.iter().position(|v| *v == bytes);
                seen.insert(which.unwrap_or_else(|| panic!("a mixture of {} bytes", bytes.len())));
            }
            let short = back.path().join("short");
            match fs::symlink_metadata(&short) {
                Ok(meta) if meta.is_file() => {
                    let bytes = fs::read(&short).unwrap();
                    assert!(versions.iter().any(|v| v[..9000] == bytes));
                }
                Ok(meta) if meta.is_symlink() => {
                    assert_eq!(fs::read_link(&short).unwrap(), Path::new("/etc/passwd"));
                }
                Ok(meta) => assert!(meta.is_dir() && fs::read_dir(&short).unwrap().next().is_none()),
                Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::NotFound),
            }
        }
    });
    assert!(store.verify().unwrap().faults.is_empty());
}

/// Says stop when it goes, however that happens.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn files_with_several_names_have_one_address_whichever_thread_comes_first() {
    let home = home();
    // Each file has names in several directories, the first of them deep in the tree or not.
    for dir in ["a", "a/b", "a/b/c", "b", "c/d", "z"] {
        fs::create_dir_all(home.tree.join(dir)).unwrap();
    }
    for n in 0..300u32 {
        let first = format!("a/b/c/{n}");
        home.write(&first, noise(n, 20));
        let others = ["b", "z", "a", "c/d"].into_iter().take(1 + n as usize % 4);
        for (at, dir) in others.enumerate() {
            fs::hard_link(home.tree.join(&first), home.tree.join(format!("{dir}/{n}-{at}"))).unwrap();
        }
    }
    fs::write(home.tree.join("long"), noise(7, 2_000_000)).unwrap();
    fs::hard_link(home.tree.join("long"), home.tree.join("a/long")).unwrap();
    let roots: HashSet<_> = (0..20)
        .map(|n| {
            let store =
                Store::open(&home.dir.path().join(format!("store{n}")), "", StoreOptions::default()).unwrap();
            let taken = store.snapshot(&home.tree, &plain()).unwrap();
            if n == 0 {
                let back = tempfile::tempdir_in(home.dir.path()).unwrap();
                store.restore(&taken.id, back.path()).unwrap();
                assert_eq!(
                    common::differences(&facts(&home.tree), &facts(back.path())),
                    Vec::<String>::new()
                );
                let again = store.snapshot(back.path(), &plain()).unwrap();
                assert_eq!(again.snapshot.root, taken.snapshot.root);
            }
            taken.snapshot.root
        })
        .collect();
    assert_eq!(roots.len(), 1);
}
