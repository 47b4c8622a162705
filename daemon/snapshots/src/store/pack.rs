//! Packs: `CDNPACK1`, the stored bytes of the objects one after the other, a table of them,
//! the table's length, `CDNPEND1`. A pack's name is the address of its table, the table has
//! a checksum of what is stored and the address of what it stands for: no bit is without.

use super::{
    disk::{Disk, open_file},
    error::{StoreError, io},
    object::Kind,
    wire::{Bad, Put as _, Reader},
};
use crate::tree::ContentId;
use rustix::fd::{AsFd, OwnedFd};
use std::{
    borrow::Cow,
    fs::File,
    os::unix::fs::FileExt as _,
    sync::{Mutex, MutexGuard, PoisonError},
};
use zstd::bulk::{Compressor, Decompressor};

pub(super) const HEAD: &[u8; 8] = b"CDNPACK1";
const END: &[u8; 8] = b"CDNPEND1";
const ROW: usize = 1 + 1 + 4 + 4 + 4 + 32;
/// A pack is closed when it holds as much.
pub(super) const FULL: u64 = 64 << 20;
const TABLE_MOST: u64 = 1 << 30;
const BUFFER: usize = 1 << 20;

/// Where an object lies in its pack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) kind: Kind,
    pub(super) packed: bool,
    pub(super) raw: u32,
    pub(super) stored: u32,
    pub(super) crc: u32,
    pub(super) offset: u64,
    pub(super) id: ContentId,
}

/// What compresses and decompresses, kept from one object to the next: to set one up takes
/// longer than a small object does.
#[derive(Default)]
pub(super) struct Codec {
    compressor: Option<Compressor<'static>>,
    decompressor: Option<Decompressor<'static>>,
    out: Vec<u8>,
}

/// Codecs that nobody uses at the moment.
#[derive(Default)]
pub(super) struct Codecs(Mutex<Vec<Codec>>);

impl Codecs {
    const KEPT: usize = 8;

    fn all(&self) -> MutexGuard<'_, Vec<Codec>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Codec) -> T) -> T {
        let idle = self.all().pop();
        let mut codec = idle.unwrap_or_default();
        let done = work(&mut codec);
        let mut all = self.all();
        if all.len() < Self::KEPT {
            all.push(codec);
        }
        done
    }
}

/// An object ready to be appended.
pub(super) struct Packed<'a> {
    pub(super) kind: Kind,
    pub(super) id: ContentId,
    pub(super) raw: u32,
    pub(super) packed: bool,
    pub(super) crc: u32,
    pub(super) bytes: Cow<'a, [u8]>,
}

impl<'a> Packed<'a> {
    /// Compresses where it pays.
    pub(super) fn new(
        kind: Kind,
        id: ContentId,
        raw: &'a [u8],
        codec: &'a mut Codec,
    ) -> Result<Self, StoreError> {
        let length = u32::try_from(raw.len()).ok().filter(|l| *l <= kind.most());
        let length = length.ok_or(StoreError::TooLong { what: "an object", limit: kind.most() as usize })?;
        let (packed, bytes) = match codec.compress(raw) {
            Some(smaller) => (true, smaller),
            None => (false, raw),
        };
        Ok(Self { kind, id, raw: length, packed, crc: crc32fast::hash(bytes), bytes: bytes.into() })
    }
}

impl Codec {
    fn compress(&mut self, raw: &[u8]) -> Option<&[u8]> {
        const PROBE: usize = 16 << 10;
        if raw.len() < 128 {
            return None;
        }
        if self.compressor.is_none() {
            self.compressor = Compressor::new(1).ok();
        }
        let (compressor, out) = (self.compressor.as_mut()?, &mut self.out);
        // What does not fit into what would pay is refused by the compressor itself.
        let mut fits = |bytes: &[u8]| {
            out.clear();
            out.reserve(bytes.len() - bytes.len() / 16 - 1);
            let room = bytes.len() - bytes.len() / 16 - 1;
            compressor.compress_to_buffer(bytes, out).ok().filter(|length| *length <= room)
        };
        // What is compressed or encrypted already says so in its middle.
        if raw.len() > 4 * PROBE {
            fits(&raw[raw.len() / 2..][..PROBE])?;
        }
        fits(raw)?;
        Some(out)
    }

    fn decompress(&mut self, bytes: &[u8], length: usize) -> Option<Vec<u8>> {
        if self.decompressor.is_none() {
            self.decompressor = Decompressor::new().ok();
        }
        self.decompressor.as_mut()?.decompress(bytes, length).ok()
    }
}

/// A pack being written; nobody sees it before it is renamed into place.
pub(super) struct Writer {
    pub(super) name: String,
    file: File,
    buffer: Vec<u8>,
    table: Vec<u8>,
    count: u32,
    at: u64,
}

impl Writer {
    pub(super) fn new(disk: &Disk, dir: &OwnedFd, name: String) -> Result<Self, StoreError> {
        let file = disk.create(dir, &name).map_err(io("create", "a pack"))?;
        let mut buffer = Vec::with_capacity(BUFFER);
        buffer.put(HEAD);
        Ok(Self { name, file, buffer, table: Vec::new(), count: 0, at: HEAD.len() as u64 })
    }

    pub(super) fn size(&self) -> u64 {
        self.at
    }

    pub(super) fn append(&mut self, disk: &Disk, object: &Packed<'_>) -> Result<(), StoreError> {
        row(&mut self.table, object);
        self.count += 1;
        self.at += object.bytes.len() as u64;
        self.buffer.put(&object.bytes);
        if self.buffer.len() >= BUFFER { self.flush(disk) } else { Ok(()) }
    }

    fn flush(&mut self, disk: &Disk) -> Result<(), StoreError> {
        disk.write(&self.file, &self.buffer).map_err(io("write", "a pack"))?;
        self.buffer.clear();
        Ok(())
    }

    /// Writes the table; the file is returned for [`Disk::sync`], with its final name.
    pub(super) fn finish(mut self, disk: &Disk) -> Result<(File, String, String), StoreError> {
        let name = format!("{}.pack", address(&self.table));
        self.buffer.put(&self.table);
        self.buffer.put(&(self.table.len() as u64).to_le_bytes());
        self.buffer.put(END);
        self.flush(disk)?;
        Ok((self.file, self.name, name))
    }
}

fn address(table: &[u8]) -> ContentId {
    ContentId(blake3::derive_key("cordon snapshots 2026-11 pack table", table))
}

/// Opens a pack and reads its table.
pub(super) fn open(dir: impl AsFd, name: &str) -> Result<(File, Vec<Row>), StoreError> {
    let file = open_file(dir, name).map_err(io("open", format!("pack {name}")))?;
    let size = file.metadata().map_err(io("look at", format!("pack {name}")))?.len();
    let rows = table(&file, size, name).map_err(|f| match f {
        Fault::Bad(Bad(why)) => StoreError::Damaged { what: format!("pack {name}"), why },
        Fault::Io(e) => io("read", format!("pack {name}"))(e),
    })?;
    Ok((file, rows))
}

enum Fault {
    Bad(Bad),
    Io(std::io::Error),
}

impl From<Bad> for Fault {
    fn from(bad: Bad) -> Self {
        Self::Bad(bad)
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

fn table(file: &File, size: u64, name: &str) -> Result<Vec<Row>, Fault> {
    let mut head = [0; HEAD.len()];
    let mut foot = [0; 16];
    let end = size.checked_sub(16).filter(|e| *e >= HEAD.len() as u64).ok_or(Bad("it is cut short"))?;
    file.read_exact_at(&mut head, 0)?;
    file.read_exact_at(&mut foot, end)?;
    if &head != HEAD {
        return Err(Bad("it does not begin as a pack").into());
    }
    let start = table_start(&foot, size)?;
    let length = end - start;
    // The length was checked against the file's size.
    let mut table = vec![0; usize::try_from(length).map_err(|_| Bad("its table is too long"))?];
    file.read_exact_at(&mut table, start)?;
    Ok(rows(&table, name, start)?)
}

/// Where the table of a pack of this size begins, by its last 16 bytes.
pub(super) fn table_start(foot: &[u8; 16], size: u64) -> Result<u64, Bad> {
    let mut reader = Reader(foot);
    let length = reader.u64()?;
    if reader.array::<8>()? != *END {
        return Err(Bad("it does not end as a pack"));
    }
    let end = size.checked_sub(16).ok_or(Bad("it is cut short"))?;
    end.checked_sub(length)
        .filter(|at| *at >= HEAD.len() as u64 && length <= TABLE_MOST && length.is_multiple_of(ROW as u64))
        .ok_or(Bad("its table has an impossible length"))
}

/// A pack in memory: its name and its bytes.
pub(super) fn whole<'a>(objects: impl Iterator<Item = &'a Packed<'static>>) -> (String, Vec<u8>) {
    let (mut bytes, mut table) = (HEAD.to_vec(), Vec::new());
    for object in objects {
        row(&mut table, object);
        bytes.put(&object.bytes);
    }
    let name = format!("{}.pack", address(&table));
    bytes.put(&table);
    bytes.put(&(table.len() as u64).to_le_bytes());
    bytes.put(END);
    (name, bytes)
}

fn row(table: &mut Vec<u8>, object: &Packed<'_>) {
    let stored = u32::try_from(object.bytes.len()).unwrap_or(u32::MAX);
    table.extend_from_slice(&[object.kind as u8, u8::from(object.packed)]);
    for number in [object.raw, stored, object.crc] {
        table.put(&number.to_le_bytes());
    }
    table.put(&object.id.0);
}

/// What the table of the pack `name` says, whose objects end at `end`.
pub(super) fn rows(table: &[u8], name: &str, end: u64) -> Result<Vec<Row>, Bad> {
    if name.strip_suffix(".pack") != Some(address(table).to_string().as_str()) {
        return Err(Bad("its table is not the one it is named after"));
    }
    let mut reader = Reader(table);
    let (mut rows, mut offset) = (Vec::with_capacity(table.len() / ROW), HEAD.len() as u64);
    while !reader.0.is_empty() {
        let kind = Kind::decode(reader.u8()?)?;
        let packed = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(Bad("an unknown way to compress")),
        };
        let [raw, stored, crc] = [reader.u32()?, reader.u32()?, reader.u32()?];
        if raw > kind.most() || stored > raw || (!packed && stored != raw) {
            return Err(Bad("an object with an impossible length"));
        }
        rows.push(Row { kind, packed, raw, stored, crc, offset, id: ContentId(reader.array()?) });
        offset += u64::from(stored);
    }
    if offset != end {
        return Err(Bad("its objects do not fill it"));
    }
    Ok(rows)
}

/// The bytes of an object, checked against its address.
pub(super) fn read(file: &File, row: &Row, codecs: &Codecs) -> Result<Vec<u8>, StoreError> {
    let bytes = stored(file, row)?;
    unpack(row, bytes, codecs)
}

/// The bytes as they are stored, checked against their checksum.
pub(super) fn stored(file: &File, row: &Row) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![0; row.stored as usize];
    file.read_exact_at(&mut bytes, row.offset).map_err(|e| io("read", format!("object {}", row.id))(e))?;
    summed(row, &bytes)?;
    Ok(bytes)
}

/// Checks stored bytes against their checksum.
pub(super) fn summed(row: &Row, bytes: &[u8]) -> Result<(), StoreError> {
    let same = bytes.len() == row.stored as usize && crc32fast::hash(bytes) == row.crc;
    if same { Ok(()) } else { Err(damaged(row, "its stored bytes changed")) }
}

/// What stored bytes stand for.
pub(super) fn unpack(row: &Row, bytes: Vec<u8>, codecs: &Codecs) -> Result<Vec<u8>, StoreError> {
    let raw = if row.packed {
        let raw = codecs.with(|codec| codec.decompress(&bytes, row.raw as usize));
        raw.ok_or_else(|| damaged(row, "it cannot be decompressed"))?
    } else {
        bytes
    };
    if raw.len() != row.raw as usize || row.kind.address(&raw) != row.id {
        return Err(damaged(row, "its bytes are not those of its address"));
    }
    Ok(raw)
}

fn damaged(row: &Row, why: &'static str) -> StoreError {
    StoreError::Damaged { what: format!("object {}", row.id), why }
}
