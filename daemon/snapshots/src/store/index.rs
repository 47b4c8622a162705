//! Which object lies where: the tables of all packs, in memory.

use super::{
    disk::{names, open_file},
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

/// How many packs are kept open. Who has one open can read it to the end, whatever gc does.
const OPEN: usize = 256;

#[derive(Debug)]
pub(super) struct Pack {
    pub(super) name: String,
    kept: Option<File>,
}

impl Pack {
    /// The bytes of an object of this pack.
    pub(super) fn read(&self, dir: &OwnedFd, row: &Row) -> Result<Vec<u8>, StoreError> {
        match &self.kept {
            Some(file) => pack::read(file, row),
            None => {
                let file = open_file(dir, &self.name).map_err(io("open", format!("pack {}", self.name)))?;
                pack::read(&file, row)
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    packs: HashMap<String, Arc<Pack>>,
    objects: HashMap<ContentId, (Arc<Pack>, Row)>,
    /// Packs whose table cannot be read. Their objects count as missing; verify names them.
    damaged: HashSet<String>,
}

impl Index {
    /// Brings the index up to what is in `dir` now. Who has the old one keeps it.
    pub(super) fn refresh(this: &mut Arc<Self>, dir: &OwnedFd) -> Result<(), StoreError> {
        let listed = names(dir).map_err(io("list", "the packs"))?;
        let present: HashSet<String> = listed.into_iter().filter(|n| n.ends_with(".pack")).collect();
        let known = |name: &String| this.packs.contains_key(name) || this.damaged.contains(name);
        let gone = this.packs.keys().any(|name| !present.contains(name));
        if !gone && present.iter().all(known) {
            return Ok(());
        }
        let index = Arc::make_mut(this);
        if gone {
            // What was here twice has lost one place and not the other: read all anew.
            *index = Self::default();
        }
        for name in present {
            if index.packs.contains_key(&name) || index.damaged.contains(&name) {
                continue;
            }
            match pack::open(dir, &name) {
                Ok((file, rows)) => index.add(name, file, rows),
                Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                Err(StoreError::Damaged { .. }) => {
                    index.damaged.insert(name);
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn add(&mut self, name: String, file: File, rows: Vec<Row>) {
        let kept = (self.packs.len() < OPEN).then_some(file);
        let pack = Arc::new(Pack { name: name.clone(), kept });
        self.objects.reserve(rows.len());
        for row in rows {
            self.objects.insert(row.id, (Arc::clone(&pack), row));
        }
        self.packs.insert(name, pack);
    }

    pub(super) fn get(&self, kind: Kind, id: &ContentId) -> Option<&(Arc<Pack>, Row)> {
        self.objects.get(id).filter(|(_, row)| row.kind == kind)
    }

    pub(super) fn packs(&self) -> impl Iterator<Item = &Arc<Pack>> {
        self.packs.values()
    }
}
