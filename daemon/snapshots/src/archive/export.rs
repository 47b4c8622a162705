//! A snapshot as an archive: the same bytes for the same tree, whoever asks and when.

use super::{
    blocks::BLOCK,
    error::ArchiveError,
    pax::{put, shown},
};
use crate::{
    store::{SnapshotId, Store, StoreError, Stretch},
    tree::{Content, ContentId, NodeKind, TreeEntry},
};
use std::{
    collections::HashMap,
    io::{self, Write},
};
use tar::{EntryType, Header};

/// What the size field holds in octal.
const OCTAL_MOST: u64 = 0o77_777_777_777;

/// Writes the tree of a snapshot as a pax archive: the tree itself as `./`, then everything
/// below it in the order of the names' bytes.
///
/// # Errors
/// When there is no such snapshot, any of it is damaged, or `to` cannot be written. What was
/// written then has no end mark, so that nobody takes it for whole.
pub fn export(store: &Store, id: &SnapshotId, to: &mut dyn Write) -> Result<(), ArchiveError> {
    let snapshot = store.get(id)?;
    let mut out = io::BufWriter::with_capacity(1 << 17, to);
    let mut export = Export { store, to: &mut out, path: Vec::new(), links: HashMap::new() };
    export.run(snapshot.root, snapshot.root_mode, snapshot.root_mtime)?;
    out.write_all(&[0; 2 * BLOCK]).and_then(|()| out.flush()).map_err(ArchiveError::Write)
}

struct Export<'a> {
    store: &'a Store,
    to: &'a mut dyn Write,
    path: Vec<u8>,
    /// The first name of each file with several.
    links: HashMap<u32, (Vec<u8>, ContentId)>,
}

struct Level {
    above: usize,
    waiting: Vec<TreeEntry>,
}

impl Export<'_> {
    fn run(&mut self, root: ContentId, mode: u32, mtime: (i64, u32)) -> Result<(), ArchiveError> {
        self.header(EntryType::Directory, b"./", b"", mode, mtime, 0, &[])?;
        let mut stack = vec![self.enter(&root, 0)?];
        while let Some(level) = stack.last_mut() {
            let Some(entry) = level.waiting.pop() else {
                self.path.truncate(level.above);
                stack.pop();
                continue;
            };
            let above = self.path.len();
            if above > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(&entry.name);
            let level = self.entry(&entry, above)?;
            match level {
                Some(level) => stack.push(level),
                None => self.path.truncate(above),
            }
        }
        Ok(())
    }

    fn enter(&self, id: &ContentId, above: usize) -> Result<Level, ArchiveError> {
        let mut waiting = self.store.listing(id)?;
        waiting.reverse();
        Ok(Level { above, waiting })
    }

    fn entry(&mut self, entry: &TreeEntry, above: usize) -> Result<Option<Level>, ArchiveError> {
        let TreeEntry { kind, mode, mtime, size, content, link_group, .. } = entry;
        match (kind, content) {
            (NodeKind::Directory, Content::Address(id)) => {
                let name = [&self.path, &b"/"[..]].concat();
                self.header(EntryType::Directory, &name, b"", *mode, *mtime, 0, &[])?;
                return Ok(Some(self.enter(id, above)?));
            }
            (NodeKind::Symlink, Content::Target(target)) => {
                let name = self.path.clone();
                self.header(EntryType::Symlink, &name, target, *mode, *mtime, 0, &[])?;
            }
            (NodeKind::File, Content::Address(id)) => {
                if let Some(group) = link_group {
                    if let Some((first, had)) = self.links.get(group) {
                        if had != id {
                            let what = format!("{:?}", self.path.escape_ascii().to_string());
                            let why = "names of one file have different contents";
                            return Err(StoreError::Damaged { what, why }.into());
                        }
                        let (name, first) = (self.path.clone(), first.clone());
                        self.header(EntryType::Link, &name, &first, *mode, *mtime, 0, &[])?;
                        return Ok(None);
                    }
                    self.links.insert(*group, (self.path.clone(), *id));
                }
                self.file(id, *size, *mode, *mtime)?;
            }
            _ => {
                let what = format!("{:?}", self.path.escape_ascii().to_string());
                return Err(StoreError::Damaged { what, why: "its content is not that of its kind" }.into());
            }
        }
        Ok(None)
    }

    fn file(&mut self, id: &ContentId, size: u64, mode: u32, mtime: (i64, u32)) -> Result<(), ArchiveError> {
        let stretches = self.store.stretches(id, size)?;
        let name = self.path.clone();
        let mut stored = size;
        if stretches.iter().any(|s| matches!(s, Stretch::Hole(_))) {
            let (map, bytes) = map(&stretches, size);
            stored = bytes + map.len() as u64;
            let mut records = Vec::new();
            for (key, value) in [("major", b"1".to_vec()), ("minor", b"0".to_vec()), ("name", name.clone())] {
                put(&mut records, &format!("GNU.sparse.{key}"), &value);
            }
            put(&mut records, "GNU.sparse.realsize", size.to_string().as_bytes());
            let plain = beside(&name);
            self.header(EntryType::Regular, &plain, b"", mode, mtime, stored, &records)?;
            self.write(&map)?;
        } else {
            self.header(EntryType::Regular, &name, b"", mode, mtime, size, &[])?;
        }
        for stretch in stretches {
            if let Stretch::Bytes(id, length) = stretch {
                let bytes = self.store.bytes_of(&id, length)?;
                self.write(&bytes)?;
            }
        }
        self.pad(stored)
    }

    /// A header, with an extended one before it where the fields do not hold what is to be said.
    #[allow(clippy::too_many_arguments, reason = "they are the fields")]
    fn header(
        &mut self,
        kind: EntryType,
        name: &[u8],
        link: &[u8],
        mode: u32,
        mtime: (i64, u32),
        size: u64,
        records: &[u8],
    ) -> Result<(), ArchiveError> {
        let mut records = records.to_vec();
        let (prefix, short) = split(name).unwrap_or_else(|| {
            if records.is_empty() {
                put(&mut records, "path", name);
            }
            (&[], &name[..name.len().min(100)])
        });
        if link.len() > 100 {
            put(&mut records, "linkpath", link);
        }
        if size > OCTAL_MOST {
            put(&mut records, "size", size.to_string().as_bytes());
        }
        let seconds = u64::try_from(mtime.0).ok().filter(|s| *s <= OCTAL_MOST);
        if mtime.1 > 0 || seconds.is_none() {
            put(&mut records, "mtime", shown(mtime).as_bytes());
        }
        if !records.is_empty() {
            let head =
                fields(EntryType::XHeader, b"", b"././@PaxHeader", b"", 0o644, 0, records.len() as u64);
            self.write(head.as_bytes())?;
            self.write(&records)?;
            self.pad(records.len() as u64)?;
        }
        let link = &link[..link.len().min(100)];
        let head = fields(kind, prefix, short, link, mode, seconds.unwrap_or(0), size.min(OCTAL_MOST));
        self.write(head.as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.to.write_all(bytes).map_err(ArchiveError::Write)
    }

    fn pad(&mut self, size: u64) -> Result<(), ArchiveError> {
        let more = size.next_multiple_of(BLOCK as u64) - size;
        self.write(&[0; BLOCK][..usize::try_from(more).unwrap_or(0)])
    }
}

fn fields(
    kind: EntryType,
    prefix: &[u8],
    name: &[u8],
    link: &[u8],
    mode: u32,
    mtime: u64,
    size: u64,
) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode & 0o777);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_mtime(mtime);
    if let Some(fields) = header.as_ustar_mut() {
        fields.name[..name.len()].copy_from_slice(name);
        fields.linkname[..link.len()].copy_from_slice(link);
        fields.prefix[..prefix.len()].copy_from_slice(prefix);
        // Devices are none of ours; some read empty fields as an error.
        fields.dev_major.copy_from_slice(b"0000000\0");
        fields.dev_minor.copy_from_slice(b"0000000\0");
    }
    header.set_cksum();
    header
}

/// A name in two fields, cut at a slash: at most 155 bytes and 100.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= 100 {
        return Some((&[], name));
    }
    let at = (1..name.len().min(156)).rev().find(|at| name[*at] == b'/' && at + 1 < name.len())?;
    (name.len() - at - 1 <= 100).then(|| (&name[..at], &name[at + 1..]))
}

/// The name that programs see which do not know sparse files, and so do not take the map for content.
fn beside(name: &[u8]) -> Vec<u8> {
    match name.iter().rposition(|b| *b == b'/') {
        Some(at) => [&name[..at], b"/GNUSparseFile.0", &name[at..]].concat(),
        None => [b"GNUSparseFile.0/", name].concat(),
    }
}

/// Where the bytes lie, filled up to a block, and how many they are.
fn map(stretches: &[Stretch], size: u64) -> (Vec<u8>, u64) {
    let (mut runs, mut at, mut bytes): (Vec<(u64, u64)>, u64, u64) = (Vec::new(), 0, 0);
    let mut apart = true;
    for stretch in stretches {
        match stretch {
            Stretch::Hole(length) => {
                at += length;
                apart = true;
            }
            Stretch::Bytes(_, length) => {
                let length = u64::from(*length);
                match runs.last_mut().filter(|_| !apart) {
                    Some(last) => last.1 += length,
                    None => runs.push((at, length)),
                }
                (at, bytes, apart) = (at + length, bytes + length, false);
            }
        }
    }
    // A hole at the end is told by a run of nothing there.
    if apart {
        runs.push((size, 0));
    }
    let mut text = format!("{}\n", runs.len());
    for (offset, length) in runs {
        text.push_str(&format!("{offset}\n{length}\n"));
    }
    let mut map = text.into_bytes();
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    (map, bytes)
}
