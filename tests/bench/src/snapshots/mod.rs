//! Snapshots beside the tools that people keep trees with: the same tree, the same disk, each
//! round one after the other. Cordon's side is the library that the daemon uses; the others are
//! whole programs, their start included.

mod peers;
mod place;
mod trees;

use crate::report::Report;
use cordon_forks::{Fork, ForkRequest, Owner};
use cordon_snapshots::{SnapshotId, SnapshotRequest, Store, StoreOptions, diff, live::LiveTree};
use place::Place;
use std::{
    path::Path,
    time::{Duration, Instant},
};
use trees::Tree;

/// Snapshots after the first one of which the stored bytes are counted.
const KEPT: usize = 10;

/// Every tree on every filesystem.
pub(crate) fn all(report: &mut Report, rounds: usize) {
    for place in [Place::ext4(), Place::btrfs()] {
        // One shape alone, for whoever works on it.
        let only = std::env::var("CORDON_BENCH_TREE").unwrap_or_default();
        for shape in trees::SHAPES.iter().filter(|shape| shape.name.starts_with(&only)) {
            eprintln!("snapshots: {} on {}", shape.name, place.name);
            rows(report, &place, shape, rounds);
            stored(report, &place, shape);
        }
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let from = Instant::now();
    work();
    from.elapsed()
}

fn store(at: &Path) -> Store {
    Store::open(at, "bench", StoreOptions::default()).unwrap()
}

fn take(store: &Store, tree: &Path) -> SnapshotId {
    let request = SnapshotRequest { run: "bench".into(), agent: "a".into(), ..SnapshotRequest::default() };
    store.snapshot(tree, &request).unwrap().id
}

fn rows(report: &mut Report, place: &Place, shape: &trees::Shape, rounds: usize) {
    let row = |what: &str| format!("{what}, {}, {}", shape.name, place.name);
    for round in 0..rounds {
        let dir = place.directory();
        let mut tree = Tree::make(shape, &dir.path().join("tree"), round as u64);
        let at = |name: &str| dir.path().join(name);
        let (git, restic) =
            (peers::Git::new(at("git"), &tree.root), peers::Restic::new(at("restic"), &tree.root));
        tree.settle();

        let first = row("snapshot, first");
        let own = store(&at("store"));
        report.time(&first, "tar, zstd -1", timed(|| peers::tar_zstd(&tree.root, &at("tar.zst"))));
        report.time(&first, "git add, commit", timed(|| git.commit()));
        report.time(&first, "restic backup", timed(|| restic.backup()));
        let mut base = None;
        report.time(&first, "cordon", timed(|| base = Some(take(&own, &tree.root))));
        let base = base.unwrap();

        let unchanged = row("snapshot, unchanged");
        report.time(&unchanged, "stat walk", timed(|| trees::walk(&tree.root)));
        report.time(&unchanged, "git add, commit", timed(|| git.commit()));
        report.time(&unchanged, "restic backup", timed(|| restic.backup()));
        report.time(
            &unchanged,
            "cordon",
            timed(|| {
                take(&own, &tree.root);
            }),
        );

        tree.change();
        tree.settle();
        let changed = row("snapshot, 1 % changed");
        report.time(&changed, "git add, commit", timed(|| git.commit()));
        report.time(&changed, "restic backup", timed(|| restic.backup()));
        report.time(
            &changed,
            "cordon",
            timed(|| {
                take(&own, &tree.root);
            }),
        );

        let compare = row("diff with the live tree");
        report.time(&compare, "stat walk", timed(|| trees::walk(&tree.root)));
        report.time(&compare, "git diff --stat", timed(|| git.diff()));
        report.time(&compare, "cordon", timed(|| live(&own, &base, &tree.root)));

        let fork = row("fork");
        report.time(&fork, "cp -a", timed(|| peers::copy(&tree.root, &at("fork-copy"))));
        if place.shares_blocks {
            report.time(&fork, "cp -a --reflink", timed(|| peers::reflink(&tree.root, &at("fork-reflink"))));
        }
        let mut method = "";
        let took = timed(|| method = make_fork(&at("forks"), &tree.root));
        report.time(&fork, &format!("cordon, {method}"), took);
        Fork::remove(&at("forks").join("0")).unwrap();

        let restore = row("restore");
        report.time(&restore, "cp -a", timed(|| peers::copy(&tree.root, &at("copy"))));
        report.time(&restore, "restic restore", timed(|| restic.restore(&at("restic-out"))));
        std::fs::create_dir(at("restored")).unwrap();
        report.time(&restore, "cordon", timed(|| own.restore(&base, &at("restored")).unwrap()));
    }
}

fn make_fork(forks: &Path, tree: &Path) -> &'static str {
    std::fs::create_dir(forks).unwrap();
    let method = cordon_forks::detect(forks, tree);
    let request = ForkRequest {
        at: &forks.join("0"),
        tree,
        is_directory: true,
        method,
        identity: Owner { uid: 65_534, gid: 65_534 },
        leave_out: &[],
        cancel: None,
    };
    Fork::make(&request, &mut |_, _| {}).unwrap();
    method.name()
}

fn live(store: &Store, base: &SnapshotId, tree: &Path) {
    let old = store.tree(base).unwrap();
    let new = LiveTree::open(tree).unwrap().knowing(store);
    let found = diff::diff(&old, &new, &diff::Limits::default()).unwrap();
    assert!(!found.is_empty(), "a changed tree has changes");
}

/// Bytes on the disk after the first snapshot and ten more of 1 % each.
fn stored(report: &mut Report, place: &Place, shape: &trees::Shape) {
    let row = format!("stored after 10 snapshots at 1 %, {}, {}", shape.name, place.name);
    let dir = place.directory();
    let mut tree = Tree::make(shape, &dir.path().join("tree"), 99);
    let at = |name: &str| dir.path().join(name);
    let (git, restic) =
        (peers::Git::new(at("git"), &tree.root), peers::Restic::new(at("restic"), &tree.root));
    let own = store(&at("store"));
    for kept in 0..=KEPT {
        if kept > 0 {
            tree.change();
        }
        git.commit();
        restic.backup();
        take(&own, &tree.root);
    }
    for (case, name) in [("git", "git"), ("restic", "restic"), ("cordon", "store")] {
        report.add(&row, case, trees::disk_megabytes(&at(name)), "MB");
    }
}
