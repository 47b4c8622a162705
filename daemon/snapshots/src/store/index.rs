//! Which object lies where: the tables of all packs, in memory. A million objects take 72 MB.

use super::{
    disk::{names, open_file},
    error::{StoreError, io},
    object::Kind,
    pack::{self, Codecs, Row},
};
use crate::tree::ContentId;
use rustix::fd::OwnedFd;
use std::{
    collections::{HashMap, HashSet},
    fs::File,
    hash::{BuildHasher as _, RandomState},
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
    pub(super) fn read(&self, dir: &OwnedFd, row: &Row, codecs: &Codecs) -> Result<Vec<u8>, StoreError> {
        match &self.kept {
            Some(file) => pack::read(file, row, codecs),
            None => {
                let file = open_file(dir, &self.name).map_err(io("open", format!("pack {}", self.name)))?;
                pack::read(&file, row, codecs)
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    packs: Vec<Arc<Pack>>,
    /// The packs' places in `packs`.
    named: HashMap<String, u32>,
    objects: Objects,
    /// Packs whose table cannot be read. Their objects count as missing; verify names them.
    damaged: HashSet<String>,
}

impl Index {
    /// Brings the index up to what is in `dir` now. Who has the old one keeps it.
    pub(super) fn refresh(this: &mut Arc<Self>, dir: &OwnedFd) -> Result<(), StoreError> {
        let listed = names(dir).map_err(io("list", "the packs"))?;
        let present: HashSet<String> = listed.into_iter().filter(|n| n.ends_with(".pack")).collect();
        let known = |name: &String| this.named.contains_key(name) || this.damaged.contains(name);
        let gone = this.named.keys().any(|name| !present.contains(name));
        if !gone && present.iter().all(known) {
            return Ok(());
        }
        let index = Arc::make_mut(this);
        if gone {
            // What was here twice has lost one place and not the other: read all anew.
            *index = Self::default();
        }
        for name in present {
            if index.named.contains_key(&name) || index.damaged.contains(&name) {
                continue;
            }
            match pack::open(dir, &name) {
                Ok((file, rows)) => index.add(name, file, rows)?,
                Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                Err(StoreError::Damaged { .. }) => {
                    index.damaged.insert(name);
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn add(&mut self, name: String, file: File, rows: Vec<Row>) -> Result<(), StoreError> {
        let kept = (self.packs.len() < OPEN).then_some(file);
        let too_many = |_| StoreError::TooLong { what: "the list of packs", limit: u32::MAX as usize };
        let number = u32::try_from(self.packs.len()).map_err(too_many)?;
        self.objects.reserve(rows.len())?;
        for row in rows {
            self.objects.insert(Object { pack: number, row });
        }
        self.packs.push(Arc::new(Pack { name: name.clone(), kept }));
        self.named.insert(name, number);
        Ok(())
    }

    /// The number of an object's pack, and the place in it.
    pub(super) fn get(&self, kind: Kind, id: &ContentId) -> Option<(u32, &Row)> {
        let object = self.objects.get(id).filter(|object| object.row.kind == kind)?;
        Some((object.pack, &object.row))
    }

    /// An object's pack, and the place in it.
    pub(super) fn find(&self, kind: Kind, id: &ContentId) -> Option<(Arc<Pack>, Row)> {
        let (number, row) = self.get(kind, id)?;
        Some((Arc::clone(self.pack(number)?), *row))
    }

    pub(super) fn pack(&self, number: u32) -> Option<&Arc<Pack>> {
        self.packs.get(number as usize)
    }

    /// All packs with their numbers.
    pub(super) fn packs(&self) -> impl Iterator<Item = (u32, &Arc<Pack>)> {
        (0..).zip(&self.packs)
    }
}

#[derive(Clone, Copy, Debug)]
struct Object {
    pack: u32,
    row: Row,
}

/// Objects by address: a table of places in a list, a quarter to a half of them taken. Addresses
/// are evenly spread already but can be chosen by who makes files, so a secret decides the place.
#[derive(Clone, Debug, Default)]
struct Objects {
    all: Vec<Object>,
    /// One more than the place in `all`; 0 for none.
    places: Vec<u32>,
    secret: [u64; 2],
}

impl Objects {
    fn reserve(&mut self, more: usize) -> Result<(), StoreError> {
        let wanted = self.all.len() + more;
        if wanted >= u32::MAX as usize {
            return Err(StoreError::TooLong { what: "the list of objects", limit: u32::MAX as usize });
        }
        self.all.reserve(more);
        if wanted * 2 > self.places.len() {
            if self.places.is_empty() {
                self.secret = [0u8, 1].map(|n| RandomState::new().hash_one(n));
            }
            self.places = vec![0; (wanted * 2).next_power_of_two()];
            for at in 0..self.all.len() {
                self.place(at);
            }
        }
        Ok(())
    }

    /// Where to look first.
    fn start(&self, id: &ContentId) -> usize {
        let word = |at: usize| id.0[at..].first_chunk().map_or(0, |c| u64::from_le_bytes(*c));
        let mixed = u128::from(word(0) ^ self.secret[0]) * u128::from(word(8) ^ self.secret[1] | 1);
        (mixed ^ (mixed >> 64)) as usize & (self.places.len() - 1)
    }

    fn place(&mut self, at: usize) {
        let Some(object) = self.all.get(at) else { return };
        let mut slot = self.start(&object.row.id);
        while self.places[slot] != 0 {
            slot = (slot + 1) & (self.places.len() - 1);
        }
        self.places[slot] = u32::try_from(at + 1).unwrap_or(0);
    }

    /// The last one of an address counts. There must be room.
    fn insert(&mut self, object: Object) {
        if let Some(at) = self.at(&object.row.id) {
            self.all[at] = object;
        } else {
            self.all.push(object);
            self.place(self.all.len() - 1);
        }
    }

    fn at(&self, id: &ContentId) -> Option<usize> {
        if self.places.is_empty() {
            return None;
        }
        let mut slot = self.start(id);
        loop {
            let at = self.places[slot].checked_sub(1)? as usize;
            if self.all.get(at).is_some_and(|object| object.row.id == *id) {
                return Some(at);
            }
            slot = (slot + 1) & (self.places.len() - 1);
        }
    }

    fn get(&self, id: &ContentId) -> Option<&Object> {
        self.all.get(self.at(id)?)
    }
}
