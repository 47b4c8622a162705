//! Which object lies where: the tables of all packs, in memory.

use super::{
    disk::names,
    error::{StoreError, io},
    object::Kind,
    pack::{self, Row},
};
use crate::tree::ContentId;
use rustix::fd::OwnedFd;
use std::{
    collections::{HashMap, HashSet},
    fs::File,
    sync::Arc,
};

/// A pack that was found, kept open: who has it can read it to the end, whatever gc does.
#[derive(Debug)]
pub(super) struct Pack {
    pub(super) name: String,
    pub(super) file: File,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    packs: HashMap<String, Arc<Pack>>,
    objects: HashMap<ContentId, (Arc<Pack>, Row)>,
    /// Packs whose table cannot be read, and why. Their objects count as missing.
    pub(super) damaged: Vec<(String, String)>,
}

impl Index {
    /// Brings the index up to what is in `dir` now.
    pub(super) fn refresh(&mut self, dir: &OwnedFd) -> Result<(), StoreError> {
        let present: HashSet<String> = names(dir)
            .map_err(io("list", "the packs"))?
            .into_iter()
            .filter(|n| n.ends_with(".pack"))
            .collect();
        if self.packs.keys().any(|name| !present.contains(name)) {
            self.packs.retain(|name, _| present.contains(name));
            self.objects.retain(|_, (pack, _)| present.contains(&pack.name));
            // What was here twice has lost one place and not the other.
            self.packs.clear();
        }
        self.damaged.clear();
        for name in present {
            if self.packs.contains_key(&name) {
                continue;
            }
            match pack::open(dir, &name) {
                Ok((file, rows)) => self.add(Pack { name, file }, rows),
                Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                Err(e @ StoreError::Damaged { .. }) => self.damaged.push((name, e.to_string())),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn add(&mut self, pack: Pack, rows: Vec<Row>) {
        let pack = Arc::new(pack);
        self.objects.reserve(rows.len());
        for row in rows {
            self.objects.insert(row.id, (Arc::clone(&pack), row));
        }
        self.packs.insert(pack.name.clone(), pack);
    }

    pub(super) fn get(&self, kind: Kind, id: &ContentId) -> Option<&(Arc<Pack>, Row)> {
        self.objects.get(id).filter(|(_, row)| row.kind == kind)
    }

    pub(super) fn packs(&self) -> impl Iterator<Item = &Arc<Pack>> {
        self.packs.values()
    }
}
