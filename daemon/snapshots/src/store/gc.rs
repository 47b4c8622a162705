//! Freeing what no snapshot refers to, beside writers and readers.
//!
//! What is live is marked without a lock; half-empty and small packs are written anew; then,
//! under the lock for a moment, what was announced meanwhile is marked too, and the
//! packs that hold nothing live any more go. A writer that counted on one of them finds out
//! when it announces, under the same lock. A reader has its packs open.

use super::{
    Store,
    disk::names,
    error::{StoreError, io},
    index::{Index, Pack},
    object::{Kind, Piece, decode_list},
    pack::{self, Packed, Row},
    record::SnapshotId,
    session::{Announced, Session, sweep_dead},
};
use crate::tree::{Content, ContentId, NodeKind, TreeEntry};
use rustix::fs::{FlockOperation, flock};
use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    sync::Arc,
};

/// A pack with less than this share of live bytes is written anew: one half.
const WORTH: u64 = 2;
/// Packs below this size are put together once there are as many of them.
const LITTLE: u64 = 4 << 20;
const MANY: usize = 16;

/// What gc freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// Packs removed.
    pub packs: u64,
    /// Packs written anew from what was live in others.
    pub rewritten: u64,
    /// Bytes that the store takes less than before.
    pub bytes: u64,
    /// Writers that died and whose unannounced work was removed.
    pub writers: u64,
}

struct Candidate {
    pack: Arc<Pack>,
    number: u32,
    file: File,
    rows: Vec<Row>,
}

impl Store {
    /// Frees what no snapshot refers to. Writers and readers go on meanwhile, in any process.
    ///
    /// # Errors
    /// When anything that a snapshot refers to cannot be read: then nothing is freed, because
    /// nobody can tell what is still referred to.
    pub fn gc(&self) -> Result<Freed, StoreError> {
        let _alone = self.alone()?;
        let index = self.fresh_index()?;
        let before = self.usage()?;
        let (mut live, mut marked) = (HashSet::new(), HashSet::new());
        for id in self.ids()? {
            self.mark_announced(&id, &mut live)?;
            marked.insert(id);
        }
        let condemned = self.condemned(&index, &live)?;
        let rewritten = self.rewrite(&index, &live, &condemned)?;
        let mut freed = Freed { rewritten: rewritten.len() as u64, ..Freed::default() };
        {
            let _guard = self.lock()?;
            self.fresh_index()?;
            let mut late = live.clone();
            for id in self.ids()?.into_iter().filter(|id| !marked.contains(id)) {
                self.mark_announced(&id, &mut late)?;
            }
            for Candidate { pack, rows, .. } in condemned {
                // The same objects written anew have the same name.
                if rewritten.contains(&pack.name) {
                    continue;
                }
                if rows.iter().any(|row| late.contains(&row.id) && !live.contains(&row.id)) {
                    continue;
                }
                self.disk.unlink(&self.dirs.packs, &pack.name).map_err(io("remove", "a pack"))?;
                freed.packs += 1;
            }
            self.disk.sync_dir(&self.dirs.packs).map_err(io("sync", "the directory of packs"))?;
            freed.writers = sweep_dead(self)?;
            self.sweep_labels()?;
            tidy(self)?;
        }
        freed.bytes = before.saturating_sub(self.usage()?);
        Ok(freed)
    }

    /// Two that free at once could each count on what the other removes.
    fn alone(&self) -> Result<File, StoreError> {
        let file = self.lock_file("gc.lock")?;
        flock(&file, FlockOperation::LockExclusive).map_err(io("take", "the lock of gc"))?;
        Ok(file)
    }

    fn mark_announced(&self, id: &SnapshotId, live: &mut HashSet<ContentId>) -> Result<(), StoreError> {
        match self.get(id) {
            Ok(snapshot) => self.mark(snapshot.root, live, &mut |_| {}),
            // Removed since it was listed.
            Err(StoreError::NotFound(_)) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Adds everything below a root to `live`, and tells `new` what was not there before.
    pub(super) fn mark(
        &self,
        root: ContentId,
        live: &mut HashSet<ContentId>,
        new: &mut dyn FnMut(&ContentId),
    ) -> Result<(), StoreError> {
        let mut waiting = vec![root];
        while let Some(tree) = waiting.pop() {
            if !live.insert(tree) {
                continue;
            }
            new(&tree);
            for TreeEntry { kind, content, size, .. } in self.entries(&tree)? {
                let Content::Address(id) = content else { continue };
                if kind == NodeKind::Directory {
                    waiting.push(id);
                } else if live.insert(id) {
                    new(&id);
                    for chunk in self.chunks_of(&id, size)? {
                        if live.insert(chunk) {
                            new(&chunk);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The chunks of a file that is not one blob.
    pub(super) fn chunks_of(&self, id: &ContentId, size: u64) -> Result<Vec<ContentId>, StoreError> {
        if self.is_blob(id, size)? {
            // Its bytes are not read here, but it has to be there.
            let there = self.index().get(Kind::Blob, id).is_some();
            return if there { Ok(Vec::new()) } else { Err(StoreError::NotFound(format!("object {id}"))) };
        }
        let damaged = |why| StoreError::Damaged { what: format!("file {id}"), why };
        let (pieces, _) = decode_list(&self.load(Kind::List, id)?).map_err(|bad| damaged(bad.0))?;
        let chunk = |piece| if let Piece::Chunk(id, _) = piece { Some(id) } else { None };
        Ok(pieces.into_iter().filter_map(chunk).collect())
    }

    /// The packs that are not worth their room.
    fn condemned(&self, index: &Index, live: &HashSet<ContentId>) -> Result<Vec<Candidate>, StoreError> {
        let (mut condemned, mut little) = (Vec::new(), BTreeMap::new());
        for (number, pack) in index.packs() {
            let (file, rows) = match pack::open(&self.dirs.packs, &pack.name) {
                Ok(opened) => opened,
                // What cannot be understood is not ours to remove: verify names it.
                Err(StoreError::Damaged { .. }) => continue,
                Err(e) => return Err(e),
            };
            let all: u64 = rows.iter().map(|r| u64::from(r.stored)).sum();
            let kept: u64 =
                rows.iter().filter(|r| counts(index, live, number, r)).map(|r| u64::from(r.stored)).sum();
            let held = rows.iter().any(|r| counts(index, live, number, r));
            let candidate = Candidate { pack: Arc::clone(pack), number, file, rows };
            if !held || kept < all / WORTH {
                condemned.push(candidate);
            } else if all < LITTLE {
                little.insert(pack.name.clone(), candidate);
            }
        }
        if little.len() >= MANY {
            condemned.extend(little.into_values());
        }
        Ok(condemned)
    }

    /// Copies what is live in condemned packs into new ones, and makes those durable.
    fn rewrite(
        &self,
        index: &Index,
        live: &HashSet<ContentId>,
        from: &[Candidate],
    ) -> Result<Vec<String>, StoreError> {
        let session = Session::unlimited(self)?;
        for Candidate { number, file, rows, .. } in from {
            for row in rows.iter().filter(|r| counts(index, live, *number, r)) {
                let bytes = pack::stored(file, row)?;
                // Damage must not get a checksum that says it is whole.
                pack::unpack(row, bytes.clone(), &self.codecs)?;
                let Row { kind, id, raw, packed, crc, .. } = *row;
                session.append(&Packed { kind, id, raw, packed, crc, bytes: bytes.into() })?;
            }
        }
        match session.announce(None)? {
            Announced::Done(packs) => Ok(packs),
            Announced::Lost => Err(StoreError::Contended),
        }
    }
}

/// Whether the row is live, and this pack the place where its object is looked for.
fn counts(index: &Index, live: &HashSet<ContentId>, pack: u32, row: &Row) -> bool {
    live.contains(&row.id)
        && index.get(row.kind, &row.id).is_some_and(|(at, place)| at == pack && place.offset == row.offset)
}

/// Removes stat indexes that nobody used for a month, and torn ones.
fn tidy(store: &Store) -> Result<(), StoreError> {
    const MONTH: i64 = 30 * 24 * 3600;
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
    for name in names(&store.dirs.stats).map_err(io("list", "the stat indexes"))? {
        let Ok(stat) =
            rustix::fs::statat(&store.dirs.stats, name.as_str(), rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
        else {
            continue;
        };
        let most = if name.starts_with("new-") { 3600 } else { MONTH };
        if now.saturating_sub(stat.st_mtime) > most {
            store.disk.unlink(&store.dirs.stats, &name).map_err(io("remove", "a stat index"))?;
        }
    }
    Ok(())
}
