//! Looking at every bit of the store, and telling what damage touches.

use super::{
    Store,
    disk::{names, open_file},
    error::{StoreError, io},
    pack,
    record::SnapshotId,
    stats::checked,
};
use crate::tree::{Content, ContentId, NodeKind};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io::Read as _,
};

/// How many touched paths are named for one fault; the rest is counted.
const NAMED_MOST: usize = 1000;

/// What verify saw.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// Packs read from end to end.
    pub packs: u64,
    /// Objects whose bytes are those of their address.
    pub objects: u64,
    /// Snapshots whose record is whole.
    pub snapshots: u64,
    /// What is wrong. Nothing is repaired.
    pub faults: Vec<Fault>,
}

/// Something in the store that is not what was stored.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The file in the owner's part of the store, or the object that no file has.
    pub what: String,
    /// What is wrong.
    pub why: String,
    /// What cannot be restored because of it.
    pub touches: Vec<Touched>,
    /// How much that is, the unnamed included.
    pub touched: u64,
}

/// A path of a snapshot that damage reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Relative to the tree's root; a directory stands for all below it.
    pub path: Vec<u8>,
}

#[derive(Default)]
struct Look {
    out: Verified,
    whole: HashSet<ContentId>,
    /// Which fault an object without a whole copy belongs to.
    broken: HashMap<ContentId, usize>,
    /// Whether anything below a tree, or in a file's list, is missing.
    touched: HashMap<ContentId, bool>,
}

impl Store {
    /// Reads all of the owner's part of the store and checks every bit of it.
    ///
    /// # Errors
    /// When the store cannot be read. Damage is no error: it is what is told.
    pub fn verify(&self) -> Result<Verified, StoreError> {
        self.fresh_index()?;
        let mut look = Look::default();
        look.packs(self)?;
        look.stats(self)?;
        look.labels(self)?;
        for id in names(&self.dirs.snapshots).map_err(io("list", "the snapshots"))? {
            let what = format!("snapshots/{id}");
            let Ok(id) = id.parse::<SnapshotId>() else {
                look.fault(what, "not a name that the store gives".to_owned());
                continue;
            };
            match self.get(&id) {
                Ok(snapshot) => {
                    look.out.snapshots += 1;
                    if look.reaches(self, snapshot.root) {
                        look.name(self, id, snapshot.root);
                    }
                }
                Err(StoreError::NotFound(_)) => {}
                Err(e @ StoreError::Damaged { .. }) => {
                    let at = look.fault(what, e.to_string());
                    look.touch(at, id, Vec::new());
                }
                Err(e) => return Err(e),
            }
        }
        Ok(look.out)
    }
}

impl Look {
    fn fault(&mut self, what: String, why: String) -> usize {
        self.out.faults.push(Fault { what, why, touches: Vec::new(), touched: 0 });
        self.out.faults.len() - 1
    }

    fn touch(&mut self, at: usize, snapshot: SnapshotId, path: Vec<u8>) {
        if let Some(fault) = self.out.faults.get_mut(at) {
            fault.touched += 1;
            if fault.touches.len() < NAMED_MOST {
                fault.touches.push(Touched { snapshot, path });
            }
        }
    }

    fn packs(&mut self, store: &Store) -> Result<(), StoreError> {
        for name in names(&store.dirs.packs).map_err(io("list", "the packs"))? {
            let what = format!("packs/{name}");
            let (file, rows) = match pack::open(&store.dirs.packs, &name) {
                Ok(opened) => opened,
                // Freed since it was listed.
                Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    continue;
                }
                Err(e) => {
                    self.fault(what, e.to_string());
                    continue;
                }
            };
            self.out.packs += 1;
            for row in &rows {
                match pack::read(&file, row, &store.codecs) {
                    Ok(_) => {
                        self.out.objects += 1;
                        self.whole.insert(row.id);
                    }
                    Err(e) => {
                        let at = self.fault(format!("{what} at byte {}", row.offset), e.to_string());
                        self.broken.insert(row.id, at);
                    }
                }
            }
        }
        Ok(())
    }

    fn stats(&mut self, store: &Store) -> Result<(), StoreError> {
        for name in names(&store.dirs.stats).map_err(io("list", "the stat indexes"))? {
            // One that is being written has no name of its own yet.
            if name.starts_with("new-") {
                continue;
            }
            let Ok(mut file) = open_file(&store.dirs.stats, &name) else { continue };
            let mut bytes = Vec::new();
            let read = file.read_to_end(&mut bytes);
            if read.is_err() || checked(&bytes).is_none() {
                self.fault(format!("stats/{name}"), "its checksum is not its own; it is not used".to_owned());
            }
        }
        Ok(())
    }

    fn labels(&mut self, store: &Store) -> Result<(), StoreError> {
        for name in names(&store.dirs.labels).map_err(io("list", "the labels"))? {
            if name.starts_with("new-") {
                continue;
            }
            let what = format!("labels/{name}");
            let Ok(id) = name.parse::<SnapshotId>() else {
                self.fault(what, "not a name that the store gives".to_owned());
                continue;
            };
            match store.label(&id) {
                Ok(_) => {}
                // The snapshot itself is whole.
                Err(e @ StoreError::Damaged { .. }) => {
                    let at = self.fault(what, e.to_string());
                    self.touch(at, id, Vec::new());
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Whether damage reaches anything below the tree. Children first, without recursion.
    fn reaches(&mut self, store: &Store, root: ContentId) -> bool {
        let mut stack = vec![(root, false)];
        while let Some((tree, below_done)) = stack.pop() {
            if self.touched.contains_key(&tree) {
                continue;
            }
            let entries = if self.whole.contains(&tree) { store.entries(&tree).ok() } else { None };
            let Some(entries) = entries else {
                self.touched.insert(tree, true);
                continue;
            };
            let children = entries.iter().filter_map(|e| match e.content {
                Content::Address(id) if e.kind == NodeKind::Directory => Some(id),
                _ => None,
            });
            if below_done {
                let below = children.into_iter().any(|id| self.touched.get(&id) == Some(&true));
                let here = entries.iter().any(|e| {
                    e.kind == NodeKind::File && matches!(e.content, Content::Address(id) if !self.missing(store, id, e.size).is_empty())
                });
                self.touched.insert(tree, below || here);
            } else {
                stack.push((tree, true));
                stack.extend(children.map(|id| (id, false)));
            }
        }
        self.touched.get(&root) == Some(&true)
    }

    /// Which objects of a file have no whole copy.
    fn missing(&self, store: &Store, id: ContentId, size: u64) -> Vec<ContentId> {
        if !self.whole.contains(&id) {
            return vec![id];
        }
        match store.chunks_of(&id, size) {
            Ok(chunks) => chunks.into_iter().filter(|c| !self.whole.contains(c)).collect(),
            Err(_) => vec![id],
        }
    }

    /// Names every path of a snapshot that damage reaches.
    fn name(&mut self, store: &Store, snapshot: SnapshotId, root: ContentId) {
        let mut found: BTreeMap<Vec<u8>, Vec<ContentId>> = BTreeMap::new();
        let mut waiting = vec![(Vec::new(), root)];
        while let Some((path, tree)) = waiting.pop() {
            let entries = if self.whole.contains(&tree) { store.entries(&tree).ok() } else { None };
            let Some(entries) = entries else {
                found.entry(path).or_default().push(tree);
                continue;
            };
            for entry in entries {
                let Content::Address(id) = entry.content else { continue };
                let mut at = path.clone();
                if !at.is_empty() {
                    at.push(b'/');
                }
                at.extend_from_slice(&entry.name);
                if entry.kind == NodeKind::Directory {
                    if self.touched.get(&id) == Some(&true) {
                        waiting.push((at, id));
                    }
                } else {
                    let missing = self.missing(store, id, entry.size);
                    if !missing.is_empty() {
                        found.entry(at).or_default().extend(missing);
                    }
                }
            }
        }
        for (path, objects) in found {
            for id in objects {
                let at = match self.broken.get(&id) {
                    Some(at) => *at,
                    None => {
                        let at = self.fault(format!("object {id}"), "no readable pack has it".to_owned());
                        self.broken.insert(id, at);
                        at
                    }
                };
                self.touch(at, snapshot, path.clone());
            }
        }
    }
}
