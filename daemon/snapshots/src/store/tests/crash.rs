//! The world ends before each operation in turn: by kill -9, or by a power cut that loses
//! what was not synced.

use super::{common, home, open};
use crate::{
    SnapshotId, SnapshotRequest,
    store::{
        StoreError,
        disk::{Disk, Hook, Op, open_file},
    },
};
use common::{Facts, facts};
use rustix::fd::{AsFd, OwnedFd};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{Arc, Mutex},
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// The process dies between two calls.
    Kill,
    /// It dies in the middle of a write.
    Torn,
    /// The machine loses what was not synced, and renames in unsynced directories.
    PowerCut,
    /// It loses bytes that were not synced, and keeps the renames.
    PowerCutRenamed,
}

#[derive(Default)]
struct Lost {
    left: u64,
    over: bool,
    /// Files with bytes that are not synced, by inode, and how long they are for sure.
    dirty: BTreeMap<u64, (File, u64)>,
    renames: Vec<Renamed>,
}

struct Renamed {
    from: OwnedFd,
    old: String,
    to: OwnedFd,
    new: String,
    target: u64,
    /// What the new name stood for before.
    before: Option<Vec<u8>>,
}

struct World {
    end: End,
    lost: Mutex<Lost>,
}

impl Hook for World {
    fn before(&self, op: &Op<'_>) -> io::Result<()> {
        let mut lost = self.lost.lock().unwrap();
        if lost.over || lost.left == 0 {
            if let (false, End::Torn, Op::Write { file, bytes }) = (lost.over, self.end, op) {
                let mut file: &File = file;
                file.write_all(&bytes[..bytes.len() / 2])?;
            }
            lost.over = true;
            return Err(io::Error::other("the world ended"));
        }
        lost.left -= 1;
        match op {
            Op::Write { file, .. } => {
                let meta = file.metadata()?;
                lost.dirty.entry(meta.ino()).or_insert((file.try_clone()?, meta.len()));
            }
            Op::Sync { file } => {
                lost.dirty.remove(&file.metadata()?.ino());
            }
            Op::Rename { from, old, to, new } => {
                let target = rustix::fs::fstat(to)?.st_ino;
                lost.renames.push(Renamed {
                    from: from.try_clone_to_owned()?,
                    old: (*old).to_owned(),
                    to: to.try_clone_to_owned()?,
                    new: (*new).to_owned(),
                    target,
                    before: read_at(to, new),
                });
            }
            Op::SyncDir { dir } => {
                let synced = rustix::fs::fstat(dir)?.st_ino;
                lost.renames.retain(|renamed| renamed.target != synced);
            }
            // Removing only ever loses what the store no longer counts on.
            Op::Unlink { dir, name } => assert!(!name.is_empty() && rustix::fs::fstat(dir).is_ok()),
            Op::Create { dir, name } => assert!(!name.is_empty() && rustix::fs::fstat(dir).is_ok()),
        }
        Ok(())
    }
}

fn read_at(dir: &impl AsFd, name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    open_file(dir, name).ok()?.read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

impl World {
    fn new(end: End, left: u64) -> Arc<Self> {
        Arc::new(Self { end, lost: Mutex::new(Lost { left, ..Lost::default() }) })
    }

    /// Whether the end came.
    fn settle(&self) -> bool {
        let mut lost = self.lost.lock().unwrap();
        if lost.over && matches!(self.end, End::PowerCut | End::PowerCutRenamed) {
            for (file, sure) in lost.dirty.values() {
                file.set_len(*sure).unwrap();
            }
            if self.end == End::PowerCut {
                while let Some(Renamed { from, old, to, new, before, .. }) = lost.renames.pop() {
                    // Its writer's directory may be swept away: then the file is simply lost.
                    if rustix::fs::renameat(&to, new.as_str(), &from, old.as_str()).is_err() {
                        let _ = rustix::fs::unlinkat(&to, new.as_str(), rustix::fs::AtFlags::empty());
                    }
                    if let Some(bytes) = before {
                        let file = Disk::default().create(&to, &new).unwrap();
                        Disk::default().write(&file, &bytes).unwrap();
                    }
                }
            }
        }
        lost.over
    }
}

fn first(tree: &Path) {
    fs::create_dir_all(tree.join("d/e")).unwrap();
    fs::write(tree.join("d/one"), "one").unwrap();
    fs::write(tree.join("d/e/two"), "two ".repeat(100)).unwrap();
    fs::write(tree.join("gone"), "gone").unwrap();
}

fn second(tree: &Path) {
    fs::remove_file(tree.join("gone")).unwrap();
    fs::write(tree.join("d/one"), "another one").unwrap();
    fs::write(tree.join("new"), (0..300_000u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>()).unwrap();
}

type Trees = Vec<BTreeMap<Vec<u8>, Facts>>;

/// Everything announced is whole, and nothing is damaged; then the store goes on working.
fn check(home: &Path, announced: &[SnapshotId], trees: &Trees, point: &str) {
    let store = open(home, Disk::default());
    let listed: Vec<_> = store.list().unwrap().into_iter().map(|(id, _)| id).collect();
    for id in announced {
        assert!(listed.contains(id), "{point}: an announced snapshot is gone");
    }
    for round in 0..2 {
        let verified = store.verify().unwrap();
        assert!(verified.faults.is_empty(), "{point}: {:?}", verified.faults);
        for id in &listed {
            let back = super::home();
            store.restore(id, back.path()).unwrap();
            assert!(trees.contains(&facts(back.path())), "{point}: a snapshot is of no tree");
        }
        if round == 0 {
            store.gc().unwrap();
            assert_eq!(
                fs::read_dir(writing(home)).unwrap().count(),
                0,
                "{point}: a dead writer's work is left"
            );
        }
    }
    store.snapshot(&home.join("tree"), &SnapshotRequest::default()).unwrap();
}

fn writing(home: &Path) -> std::path::PathBuf {
    fs::read_dir(home.join("store/owners")).unwrap().next().unwrap().unwrap().path().join("writing")
}

/// Does `work` with the world ending before operation 0, 1, 2, … until it survives.
fn at_every_point(work: impl Fn(&Path, Disk, &mut Vec<SnapshotId>) -> Result<(), StoreError>) {
    for end in [End::Kill, End::Torn, End::PowerCut, End::PowerCutRenamed] {
        let mut points = 0;
        loop {
            let home = home();
            let tree = home.path().join("tree");
            first(&tree);
            let store = open(home.path(), Disk::default());
            let mut announced = vec![store.snapshot(&tree, &SnapshotRequest::default()).unwrap().id];
            let mut trees = vec![facts(&tree)];
            second(&tree);
            trees.push(facts(&tree));
            drop(store);
            let world = World::new(end, points);
            let done = work(home.path(), Disk::with(Arc::clone(&world) as Arc<dyn Hook>), &mut announced);
            let ended = world.settle();
            assert!(ended || done.is_ok(), "{done:?}");
            check(home.path(), &announced, &trees, &format!("{end:?} before operation {points}"));
            if !ended {
                break;
            }
            points += 1;
        }
        assert!(points > 5, "only {points} operations");
    }
}

#[test]
fn a_snapshot_that_dies_anywhere_harms_none() {
    at_every_point(|home, disk, announced| {
        let store =
            crate::Store::open_with(&home.join("store"), "alice", crate::StoreOptions::default(), disk)?;
        announced.push(store.snapshot(&home.join("tree"), &SnapshotRequest::default())?.id);
        Ok(())
    });
}

#[test]
fn freeing_that_dies_anywhere_harms_none() {
    at_every_point(|home, disk, announced| {
        // The second snapshot shares packs with the first, which goes: gc has to write packs anew.
        let second = open(home, Disk::default()).snapshot(&home.join("tree"), &SnapshotRequest::default())?;
        let store =
            crate::Store::open_with(&home.join("store"), "alice", crate::StoreOptions::default(), disk)?;
        let first = announced.pop();
        announced.push(second.id);
        first.map_or(Ok(()), |id| store.remove(&id))?;
        let freed = store.gc()?;
        assert!(freed.packs > 0);
        Ok(())
    });
}

#[test]
fn a_label_that_dies_anywhere_is_the_old_or_the_new_one() {
    at_every_point(|home, disk, announced| {
        let sound = open(home, Disk::default());
        let id = announced[0];
        sound.set_label(&id, "old")?;
        let store =
            crate::Store::open_with(&home.join("store"), "alice", crate::StoreOptions::default(), disk)?;
        let done = store.set_label(&id, "new");
        let label = sound.get(&id)?.label;
        assert!(label == "new" || (done.is_err() && label == "old"), "{label:?} after {done:?}");
        done?;
        let gone = announced.pop();
        gone.map_or(Ok(()), |id| store.remove(&id))?;
        store.gc()?;
        Ok(())
    });
}

#[test]
fn a_new_store_that_dies_anywhere_opens() {
    for points in 0..20 {
        let home = home();
        let world = World::new(End::PowerCut, points);
        let disk = Disk::with(Arc::clone(&world) as Arc<dyn Hook>);
        let made = crate::Store::open_with(
            &home.path().join("store"),
            "alice",
            crate::StoreOptions::default(),
            disk,
        );
        assert_eq!(made.is_err(), world.settle());
        open(home.path(), Disk::default());
    }
}
