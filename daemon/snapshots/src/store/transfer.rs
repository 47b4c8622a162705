//! Snapshots between a store and another place that holds packs: objects as they are stored,
//! records as they are named. Whatever comes from there is checked against its address
//! before it counts as that.

use super::{
    Store,
    error::StoreError,
    limits::SnapshotRequest,
    object::{Kind, Piece, decode_list, decode_tree},
    pack::{self, Codecs, Packed, Row},
    record::{Snapshot, SnapshotId},
    stream::{Builder, Built},
    take::Taken,
};
use crate::tree::{Content, ContentId, NodeKind, TreeEntry};
use std::{collections::HashSet, sync::LazyLock};

/// Of objects that belong to no open store.
static CODECS: LazyLock<Codecs> = LazyLock::new(Codecs::default);

/// An object as packs hold it, and what it is: its bytes are those of its address.
pub struct Object(Packed<'static>);

/// Where an object lies in a pack.
#[derive(Clone, Copy, Debug)]
pub struct Place(Row);

/// What a directory or a list of chunks refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A directory.
    Tree(ContentId),
    /// A file of this size: one blob, or a list of chunks.
    File(ContentId, u64),
    /// A chunk of a file, as long as this.
    Chunk(ContentId, u32),
}

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// A whole small file, or a chunk of a large one.
    Blob,
    /// The chunks and holes of a large or sparse file.
    List,
    /// The entries of a directory.
    Tree,
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Object").field("kind", &self.0.kind).field("id", &self.0.id).finish_non_exhaustive()
    }
}

impl Place {
    /// The object's address.
    #[must_use]
    pub fn id(&self) -> ContentId {
        self.0.id
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> ObjectKind {
        kind(self.0.kind)
    }

    /// Where it begins in its pack, and how many bytes it takes there.
    #[must_use]
    pub fn range(&self) -> (u64, u32) {
        (self.0.offset, self.0.stored)
    }

    /// How many bytes it stands for.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.0.raw
    }

    /// Makes an object of the bytes at this place, and tells what they stand for.
    ///
    /// # Errors
    /// When they are not those of the object's address.
    pub fn object(&self, stored: Vec<u8>) -> Result<(Object, Vec<u8>), StoreError> {
        let Row { kind, id, raw, packed, crc, .. } = self.0;
        pack::summed(&self.0, &stored)?;
        let plain = pack::unpack(&self.0, stored.clone(), &CODECS)?;
        Ok((Object(Packed { kind, id, raw, packed, crc, bytes: stored.into() }), plain))
    }
}

impl Object {
    /// Its address.
    #[must_use]
    pub fn id(&self) -> ContentId {
        self.0.id
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> ObjectKind {
        kind(self.0.kind)
    }

    /// How many bytes it takes.
    #[must_use]
    pub fn stored(&self) -> usize {
        self.0.bytes.len()
    }
}

fn packed(kind: Kind, id: ContentId, raw: &[u8]) -> Result<Object, StoreError> {
    CODECS.with(|codec| {
        let Packed { raw, packed, crc, bytes, .. } = Packed::new(kind, id, raw, codec)?;
        Ok(Object(Packed { kind, id, raw, packed, crc, bytes: bytes.into_owned().into() }))
    })
}

fn kind(kind: Kind) -> ObjectKind {
    match kind {
        Kind::Blob => ObjectKind::Blob,
        Kind::List => ObjectKind::List,
        Kind::Tree => ObjectKind::Tree,
    }
}

fn bad(what: String) -> impl FnOnce(super::wire::Bad) -> StoreError {
    move |bad| StoreError::Damaged { what, why: bad.0 }
}

/// A pack of these objects: its name and its bytes. The same objects in the same order have the
/// same name.
#[must_use]
pub fn pack(objects: &[Object]) -> (String, Vec<u8>) {
    pack::whole(objects.iter().map(|o| &o.0))
}

/// An object that nothing refers to: with it a pack of the same objects has another name.
///
/// # Errors
/// Never, as it is short.
pub fn nonce() -> Result<Object, StoreError> {
    let bytes = uuid::Uuid::new_v4().into_bytes();
    packed(Kind::Blob, Kind::Blob.address(&bytes), &bytes)
}

/// Whether a pack begins like this.
#[must_use]
pub fn is_head(bytes: &[u8]) -> bool {
    bytes == pack::HEAD
}

/// Where the table of a pack of `size` bytes begins. It ends 16 bytes before the pack does.
///
/// # Errors
/// When these are not the last bytes of a pack.
pub fn table_start(name: &str, foot: &[u8; 16], size: u64) -> Result<u64, StoreError> {
    pack::table_start(foot, size).map_err(bad(format!("pack {name}")))
}

/// What lies where in the pack `name`, by its table, which begins at `start`.
///
/// # Errors
/// When it is not the table that the pack is named after.
pub fn table(name: &str, table: &[u8], start: u64) -> Result<Vec<Place>, StoreError> {
    let rows = pack::rows(table, name, start).map_err(bad(format!("pack {name}")))?;
    Ok(rows.into_iter().map(Place).collect())
}

/// The snapshot that a record tells of.
///
/// # Errors
/// When it is not the record of that snapshot.
pub fn record(id: &SnapshotId, bytes: &[u8]) -> Result<Snapshot, StoreError> {
    let what = || format!("the record of snapshot {id}");
    if SnapshotId::of(bytes) != *id {
        return Err(StoreError::Damaged { what: what(), why: "it is another one's" });
    }
    Snapshot::decode(bytes).map_err(bad(what()))
}

/// The entries of a directory, by the bytes of its object.
///
/// # Errors
/// When they are none.
pub fn entries(id: &ContentId, tree: &[u8]) -> Result<Vec<TreeEntry>, StoreError> {
    decode_tree(tree).map_err(bad(format!("tree {id}")))
}

/// What entries refer to.
pub fn referred(entries: &[TreeEntry]) -> impl Iterator<Item = Reference> {
    entries.iter().filter_map(|entry| match (entry.kind, &entry.content) {
        (NodeKind::Directory, Content::Address(id)) => Some(Reference::Tree(*id)),
        (NodeKind::File, Content::Address(id)) => Some(Reference::File(*id, entry.size)),
        _ => None,
    })
}

/// The chunks of a list, and how long the file is.
///
/// # Errors
/// When it is none.
pub fn chunks(id: &ContentId, list: &[u8]) -> Result<(Vec<Reference>, u64), StoreError> {
    let (pieces, total) = decode_list(list).map_err(bad(format!("file {id}")))?;
    let chunk = |piece| match piece {
        Piece::Chunk(id, length) => Some(Reference::Chunk(id, length)),
        Piece::Hole(_) => None,
    };
    Ok((pieces.into_iter().filter_map(chunk).collect(), total))
}

/// Objects on their way into a store, which nobody sees before [`Intake::finish`].
pub struct Intake<'a>(Builder<'a>);

impl std::fmt::Debug for Intake<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Intake").finish_non_exhaustive()
    }
}

impl Store {
    /// The bytes of a snapshot's record: its name is their address.
    ///
    /// # Errors
    /// When there is no such snapshot, or its record is damaged.
    pub fn record_bytes(&self, id: &SnapshotId) -> Result<Vec<u8>, StoreError> {
        let bytes = self.record(id)?;
        record(id, &bytes)?;
        Ok(bytes)
    }

    /// Every object that a snapshot consists of, once each: directories and lists of chunks
    /// apart from content.
    ///
    /// # Errors
    /// When there is no such snapshot, or any of it is damaged or missing.
    pub fn consists_of(&self, id: &SnapshotId) -> Result<(Vec<ContentId>, Vec<ContentId>), StoreError> {
        let (mut seen, mut waiting) = (HashSet::new(), vec![self.get(id)?.root]);
        let (mut meta, mut data) = (Vec::new(), Vec::new());
        while let Some(tree) = waiting.pop() {
            if !seen.insert(tree) {
                continue;
            }
            meta.push(tree);
            for reference in referred(&self.entries(&tree)?) {
                match reference {
                    Reference::Tree(id) => waiting.push(id),
                    Reference::File(id, size) if seen.insert(id) => {
                        if self.is_blob(&id, size)? {
                            data.push(id);
                            continue;
                        }
                        meta.push(id);
                        data.extend(self.chunks_of(&id, size)?.into_iter().filter(|c| seen.insert(*c)));
                    }
                    _ => {}
                }
            }
        }
        Ok((meta, data))
    }

    /// An object of the store as it is stored, checked against its address.
    ///
    /// # Errors
    /// When the store does not have it, or it is damaged.
    pub fn object(&self, id: &ContentId) -> Result<Object, StoreError> {
        let find = |index: &super::Index| {
            [Kind::Tree, Kind::List, Kind::Blob].iter().find_map(|kind| index.get(*kind, id).map(|_| *kind))
        };
        let known = find(&self.index());
        let kind = match known {
            Some(kind) => Some(kind),
            None => find(&*self.fresh_index()?),
        };
        let kind = kind.ok_or_else(|| StoreError::NotFound(format!("object {id}")))?;
        let raw = self.load(kind, id)?;
        packed(kind, *id, &raw)
    }

    /// Takes in a snapshot from somewhere else.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn intake(&self) -> Result<Intake<'_>, StoreError> {
        self.build().map(Intake)
    }
}

impl Intake<'_> {
    /// Whether the store has the object, or will when this is finished.
    #[must_use]
    pub fn has(&self, kind: ObjectKind, id: &ContentId) -> bool {
        self.0.session().has(inner(kind), id)
    }

    /// The bytes of an object that the store has already.
    #[must_use]
    pub fn load(&self, kind: ObjectKind, id: &ContentId) -> Option<Vec<u8>> {
        self.0.session().load(inner(kind), id)
    }

    /// How many bytes an object stands for that the store has already.
    #[must_use]
    pub fn size(&self, kind: ObjectKind, id: &ContentId) -> Option<u32> {
        self.0.session().size(inner(kind), id)
    }

    /// Takes an object in, unless it is there.
    ///
    /// # Errors
    /// When the store cannot be written, or its quota is used up.
    pub fn put(&self, object: &Object) -> Result<(), StoreError> {
        if self.0.session().has(object.0.kind, &object.0.id) {
            return Ok(());
        }
        self.0.session().append(&object.0)
    }

    /// Makes a snapshot of the tree that `from` tells of, all of which was taken in or is there,
    /// known by what the request says alone. Nothing when gc freed meanwhile what was there:
    /// then all has to be taken in again.
    ///
    /// # Errors
    /// When the store cannot be written, or its quota is used up.
    pub fn finish(self, from: &Snapshot, request: &SnapshotRequest) -> Result<Option<Taken>, StoreError> {
        let built = Built {
            root: from.root,
            root_mode: from.root_mode,
            root_mtime: from.root_mtime,
            statistics: from.statistics,
            skipped: from.skipped.clone(),
        };
        match self.0.finish(built, request) {
            Ok(taken) => Ok(Some(taken)),
            Err(StoreError::Contended) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

fn inner(kind: ObjectKind) -> Kind {
    match kind {
        ObjectKind::Blob => Kind::Blob,
        ObjectKind::List => Kind::List,
        ObjectKind::Tree => Kind::Tree,
    }
}
