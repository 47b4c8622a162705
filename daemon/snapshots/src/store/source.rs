//! A stored snapshot as a tree to read.

use super::{
    Store,
    error::StoreError,
    object::{Kind, Piece, decode_list, decode_tree},
    record::{Snapshot, SnapshotId},
};
use crate::tree::{Content, ContentId, NodeKind, TreeEntry, TreeError, TreeSource};
use std::{
    collections::HashMap,
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
};

/// Directories whose address is remembered; they are found again from the root.
const REMEMBERED: usize = 100_000;

impl Store {
    /// The tree of a snapshot. It stays readable while it is held only as long as the
    /// snapshot is not removed and freed.
    ///
    /// # Errors
    /// When there is no such snapshot, or its record is damaged.
    pub fn tree(&self, id: &SnapshotId) -> Result<StoredTree<'_>, StoreError> {
        let snapshot = self.get(id)?;
        let known = HashMap::from([(key(b""), snapshot.root)]);
        Ok(StoredTree { store: self, snapshot, known: Mutex::new(known), last: Mutex::default() })
    }

    pub(super) fn entries(&self, id: &ContentId) -> Result<Vec<TreeEntry>, StoreError> {
        let damaged = |why| StoreError::Damaged { what: format!("tree {id}"), why };
        decode_tree(&self.load(Kind::Tree, id)?).map_err(|bad| damaged(bad.0))
    }

    /// What a file of this address and size is made of.
    pub(super) fn pieces(&self, id: &ContentId, size: u64) -> Result<Vec<Piece>, StoreError> {
        if self.is_blob(id, size)? {
            return Ok(vec![Piece::Chunk(*id, u32::try_from(size).unwrap_or(u32::MAX))]);
        }
        let damaged = |why| StoreError::Damaged { what: format!("file {id}"), why };
        let (pieces, total) = decode_list(&self.load(Kind::List, id)?).map_err(|bad| damaged(bad.0))?;
        if total == size { Ok(pieces) } else { Err(damaged("its pieces are not as long as it is")) }
    }

    /// The bytes of a piece, which are as many as it says.
    pub(super) fn chunk(&self, id: &ContentId, length: u32) -> Result<Vec<u8>, StoreError> {
        let bytes = self.load(Kind::Blob, id)?;
        let right = bytes.len() == length as usize;
        let damaged = || StoreError::Damaged { what: format!("object {id}"), why: "it has another length" };
        if right { Ok(bytes) } else { Err(damaged()) }
    }
}

type Last = Option<(ContentId, Arc<Vec<TreeEntry>>)>;

/// The tree of a stored snapshot.
#[derive(Debug)]
pub struct StoredTree<'a> {
    store: &'a Store,
    snapshot: Snapshot,
    /// By what stands for a path: ten thousand levels deep, the paths themselves fill memory.
    known: Mutex<HashMap<[u8; 32], ContentId>>,
    last: Mutex<Last>,
}

impl StoredTree<'_> {
    /// What is known of the snapshot.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    fn listed(&self, id: ContentId) -> Result<Arc<Vec<TreeEntry>>, StoreError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, entries)) = last.as_ref().filter(|(had, _)| *had == id) {
            return Ok(Arc::clone(entries));
        }
        let entries = Arc::new(self.store.entries(&id)?);
        *last = Some((id, Arc::clone(&entries)));
        Ok(entries)
    }

    fn directory(&self, path: &[u8]) -> Result<ContentId, TreeError> {
        let known =
            |path: &[u8]| self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key(path)).copied();
        // From the nearest directory that is known downwards.
        let mut end = path.len();
        let mut at = loop {
            if let Some(id) = known(&path[..end]) {
                break id;
            }
            if end == 0 {
                break self.snapshot.root;
            }
            end = path[..end].iter().rposition(|b| *b == b'/').unwrap_or(0);
        };
        let mut hash = blake3::Hasher::new();
        hash.update(&path[..end]);
        while end < path.len() {
            let from = end;
            let start = if end == 0 { 0 } else { end + 1 };
            let next = path[start..].iter().position(|b| *b == b'/').map_or(path.len(), |i| start + i);
            let entries = self.listed(at).map_err(|e| failed(path, &e))?;
            at = match find(&entries, &path[start..next]) {
                Some(TreeEntry { kind: NodeKind::Directory, content: Content::Address(id), .. }) => *id,
                _ => return Err(absent(path, "no directory stands there")),
            };
            end = next;
            hash.update(&path[from..end]);
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(hash.finalize().into(), at);
        }
        Ok(at)
    }
}

fn key(path: &[u8]) -> [u8; 32] {
    blake3::hash(path).into()
}

fn find<'a>(entries: &'a [TreeEntry], name: &[u8]) -> Option<&'a TreeEntry> {
    entries.binary_search_by(|e| e.name.as_slice().cmp(name)).ok().and_then(|at| entries.get(at))
}

fn failed(path: &[u8], error: &StoreError) -> TreeError {
    TreeError { path: path.to_vec(), reason: error.to_string(), absent: false }
}

fn absent(path: &[u8], reason: &str) -> TreeError {
    TreeError { path: path.to_vec(), reason: reason.to_owned(), absent: true }
}

impl TreeSource for StoredTree<'_> {
    fn children(&self, path: &[u8]) -> Result<Vec<TreeEntry>, TreeError> {
        let id = self.directory(path)?;
        self.listed(id).map(|entries| entries.to_vec()).map_err(|e| failed(path, &e))
    }

    fn read(&self, path: &[u8]) -> Result<Box<dyn Read + '_>, TreeError> {
        let (parent, name) = match path.iter().rposition(|b| *b == b'/') {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&path[..0], path),
        };
        let entries = self.listed(self.directory(parent)?).map_err(|e| failed(path, &e))?;
        match find(&entries, name) {
            Some(TreeEntry { kind: NodeKind::File, content: Content::Address(id), size, .. }) => {
                let mut pieces = self.store.pieces(id, *size).map_err(|e| failed(path, &e))?;
                pieces.reverse();
                Ok(Box::new(Bytes { store: self.store, pieces, now: Vec::new(), at: 0 }))
            }
            _ => Err(absent(path, "no regular file stands there")),
        }
    }
}

/// The bytes of a stored file, piece by piece.
struct Bytes<'a> {
    store: &'a Store,
    /// Those to come, the next one last.
    pieces: Vec<Piece>,
    now: Vec<u8>,
    at: usize,
}

impl Read for Bytes<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        while self.at == self.now.len() {
            match self.pieces.pop() {
                None => return Ok(0),
                Some(Piece::Hole(length)) => {
                    let here = usize::try_from(length).unwrap_or(usize::MAX).min(out.len());
                    out[..here].fill(0);
                    if length > here as u64 {
                        self.pieces.push(Piece::Hole(length - here as u64));
                    }
                    return Ok(here);
                }
                Some(Piece::Chunk(id, length)) => {
                    self.now = self.store.chunk(&id, length).map_err(io::Error::other)?;
                    self.at = 0;
                }
            }
        }
        let here = out.len().min(self.now.len() - self.at);
        out[..here].copy_from_slice(&self.now[self.at..self.at + here]);
        self.at += here;
        Ok(here)
    }
}
