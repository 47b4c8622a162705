//! What packs hold: blobs, chunks, chunk lists and trees.

use super::wire::{Bad, Put as _, Reader};
use crate::tree::{Content, ContentId, NodeKind, TreeEntry};

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// A whole small file, or a chunk of a large one.
    Blob = 1,
    /// The chunks and holes of a large or sparse file.
    List = 2,
    /// The entries of a directory.
    Tree = 3,
}

/// A file of at most this many bytes is one blob.
pub(super) const SMALL: u64 = 1 << 20;
/// How long chunks are: at least, about, at most. Part of the format: another choice finds
/// no chunk again.
pub(super) const CHUNK: (usize, usize, usize) = (256 << 10, 1 << 20, 4 << 20);
const BLOB_MOST: u32 = 4 << 20;
const META_MOST: u32 = 256 << 20;

impl Kind {
    pub(super) fn decode(byte: u8) -> Result<Self, Bad> {
        match byte {
            1 => Ok(Self::Blob),
            2 => Ok(Self::List),
            3 => Ok(Self::Tree),
            _ => Err(Bad("an unknown kind of object")),
        }
    }

    /// The longest such object.
    pub(super) fn most(self) -> u32 {
        if self == Self::Blob { BLOB_MOST } else { META_MOST }
    }

    /// The address of such an object. Lists and trees have domains of their own: no file's
    /// bytes can stand for one.
    pub(super) fn address(self, bytes: &[u8]) -> ContentId {
        let hash = match self {
            Self::Blob => blake3::hash(bytes).into(),
            Self::List => blake3::derive_key("cordon snapshots 2026-11 chunk list", bytes),
            Self::Tree => blake3::derive_key("cordon snapshots 2026-11 tree", bytes),
        };
        ContentId(hash)
    }
}

/// A piece of a large or sparse file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Hole(u64),
    Chunk(ContentId, u32),
}

pub(super) fn encode_list(pieces: &[Piece]) -> Vec<u8> {
    let mut out = Vec::with_capacity(pieces.len() * 37);
    for piece in pieces {
        match piece {
            Piece::Hole(length) => {
                out.push(0);
                out.put(&length.to_le_bytes());
            }
            Piece::Chunk(id, length) => {
                out.push(1);
                out.put(&length.to_le_bytes());
                out.put(&id.0);
            }
        }
    }
    out
}

/// The pieces, and how many bytes they are together.
pub(super) fn decode_list(bytes: &[u8]) -> Result<(Vec<Piece>, u64), Bad> {
    let mut reader = Reader(bytes);
    let (mut pieces, mut total) = (Vec::new(), 0u64);
    while !reader.0.is_empty() {
        let (piece, length) = match reader.u8()? {
            0 => {
                let length = reader.u64()?;
                (Piece::Hole(length), length)
            }
            1 => {
                let length = reader.u32()?;
                if length > BLOB_MOST {
                    return Err(Bad("a chunk is too long"));
                }
                (Piece::Chunk(ContentId(reader.array()?), length), length.into())
            }
            _ => return Err(Bad("an unknown kind of piece")),
        };
        if length == 0 {
            return Err(Bad("a piece is empty"));
        }
        total = total
            .checked_add(length)
            .filter(|t| i64::try_from(*t).is_ok())
            .ok_or(Bad("a file is too long"))?;
        pieces.push(piece);
    }
    Ok((pieces, total))
}

/// Entries must be sorted, their names valid, targets at most 65,535 bytes.
pub(super) fn encode_tree(entries: &[TreeEntry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.len() * 90);
    for entry in entries {
        let facts = Facts { mode: entry.mode, mtime: entry.mtime, size: entry.size };
        let id = if let Content::Address(id) = &entry.content { *id } else { UNREAD };
        match (&entry.content, entry.kind) {
            (Content::Target(target), _) => put_link(&mut out, &entry.name, &facts, target),
            (_, NodeKind::File) => {
                let at = put_node(&mut out, &entry.name, Slot::file(entry.link_group.is_some()));
                set_file(&mut out[at..], &facts, entry.link_group, &id);
            }
            _ => {
                let at = put_node(&mut out, &entry.name, Slot::Directory);
                set_directory(&mut out[at..], &facts, &id);
            }
        }
    }
    out
}

/// Nothing unread is ever stored; the address of nothing is found by nobody.
const UNREAD: ContentId = ContentId([0; 32]);

/// What an entry tells besides its name and content.
pub(super) struct Facts {
    pub(super) mode: u32,
    pub(super) mtime: (i64, u32),
    pub(super) size: u64,
}

/// An entry whose facts may come later: their place has one length for each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Directory,
    File,
    /// A file with other names.
    Linked,
}

impl Slot {
    pub(super) fn file(linked: bool) -> Self {
        if linked { Self::Linked } else { Self::File }
    }

    pub(super) fn length(self) -> usize {
        match self {
            Self::Directory => 2 + 12 + 32,
            Self::File => 2 + 12 + 8 + 32,
            Self::Linked => 2 + 12 + 4 + 8 + 32,
        }
    }
}

/// Appends an entry with its facts to be set; returns where.
pub(super) fn put_node(out: &mut Vec<u8>, name: &[u8], slot: Slot) -> usize {
    out.push(match slot {
        Slot::Directory => NodeKind::Directory as u8,
        Slot::File => NodeKind::File as u8,
        Slot::Linked => NodeKind::File as u8 | 0x80,
    });
    out.short(name);
    let at = out.len();
    out.resize(at + slot.length(), 0);
    at
}

pub(super) fn put_link(out: &mut Vec<u8>, name: &[u8], facts: &Facts, target: &[u8]) {
    out.push(NodeKind::Symlink as u8);
    out.short(name);
    out.put(&mode(facts).to_le_bytes());
    out.time(facts.mtime);
    out.short(target);
}

fn mode(facts: &Facts) -> u16 {
    u16::try_from(facts.mode & 0o777).unwrap_or(0)
}

/// Fills the beginning of `place`, which is as long as the slot.
fn set(place: &mut [u8], fields: &[&[u8]]) {
    let mut rest = place;
    for field in fields {
        let Some((head, tail)) = rest.split_at_mut_checked(field.len()) else { return };
        head.copy_from_slice(field);
        rest = tail;
    }
}

pub(super) fn set_directory(place: &mut [u8], facts: &Facts, id: &ContentId) {
    let (seconds, nanos) = (facts.mtime.0.to_le_bytes(), facts.mtime.1.to_le_bytes());
    set(place, &[&mode(facts).to_le_bytes(), &seconds, &nanos, &id.0]);
}

pub(super) fn set_file(place: &mut [u8], facts: &Facts, group: Option<u32>, id: &ContentId) {
    let (seconds, nanos) = (facts.mtime.0.to_le_bytes(), facts.mtime.1.to_le_bytes());
    let number = group.unwrap_or(0).to_le_bytes();
    let group = if group.is_some() { &number[..] } else { &[] };
    set(place, &[&mode(facts).to_le_bytes(), &seconds, &nanos, group, &facts.size.to_le_bytes(), &id.0]);
}

pub(super) fn decode_tree(bytes: &[u8]) -> Result<Vec<TreeEntry>, Bad> {
    let mut reader = Reader(bytes);
    let mut entries: Vec<TreeEntry> = Vec::new();
    while !reader.0.is_empty() {
        let tag = reader.u8()?;
        let name = reader.short()?;
        if name.is_empty()
            || name.len() > 255
            || matches!(name, b"." | b"..")
            || name.iter().any(|b| matches!(b, 0 | b'/'))
        {
            return Err(Bad("a name that no entry can have"));
        }
        if entries.last().is_some_and(|last| last.name.as_slice() >= name) {
            return Err(Bad("its names are not in order"));
        }
        let mode = u32::from(reader.u16()?);
        let mtime = reader.time()?;
        let link_group = if tag & 0x80 == 0 { None } else { Some(reader.u32()?) };
        let (kind, size, content) = match tag & 0x7f {
            0 => (NodeKind::Directory, 0, Content::Address(ContentId(reader.array()?))),
            1 => (NodeKind::File, reader.u64()?, Content::Address(ContentId(reader.array()?))),
            2 => {
                let target = reader.short()?;
                (NodeKind::Symlink, target.len() as u64, Content::Target(target.to_vec()))
            }
            _ => return Err(Bad("an unknown kind of entry")),
        };
        let file = kind == NodeKind::File;
        if mode > 0o777 || i64::try_from(size).is_err() || (link_group.is_some() && !file) {
            return Err(Bad("an entry that cannot be"));
        }
        if matches!(&content, Content::Target(t) if t.is_empty() || t.contains(&0)) {
            return Err(Bad("a link that cannot be"));
        }
        entries.push(TreeEntry { name: name.to_vec(), kind, mode, mtime, size, content, link_group });
    }
    Ok(entries)
}
