//! Freeing what no snapshot of the bucket refers to, beside writers and readers.

use super::{
    ABREAST, Remote,
    error::RemoteError,
    gather::gather,
    known::{Known, Pack, every},
    push::Pushed,
    wire::Listed,
};
use cordon_snapshots::{
    ContentId, SnapshotId,
    transfer::{Object, ObjectKind, Reference, chunks, entries, referred},
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

/// Whoever frees for longer is taken for dead, and stops himself at half of it.
const ALONE: Duration = Duration::from_secs(3600);
/// A pack with less than this share of live bytes is written anew: one half.
const WORTH: u64 = 2;
const FULL: usize = 16 << 20;

/// What gc of a bucket did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// Packs removed.
    pub packs: u64,
    /// Bytes that they took.
    pub bytes: u64,
    /// Packs that go after the grace, if nothing refers to them until then.
    pub condemned: u64,
    /// Packs that were condemned and are referred to again.
    pub kept: u64,
    /// Packs put, with what was live in those that are hardly used.
    pub rewritten: u64,
}

/// All that the announced snapshots consist of.
#[derive(Default)]
pub(crate) struct Live {
    pub(crate) objects: HashSet<ContentId>,
    /// What could not be read, for which snapshot.
    pub(crate) broken: Vec<(SnapshotId, RemoteError)>,
}

/// Bytes that nobody else puts.
fn unique() -> Vec<u8> {
    uuid::Uuid::new_v4().to_string().into_bytes()
}

impl Remote {
    /// Frees what no snapshot of the bucket refers to. Writers and readers go on meanwhile,
    /// anywhere: a pack goes only after it was condemned for the grace of the bucket.
    ///
    /// # Errors
    /// When somebody else frees, when the bucket cannot be used, or anything that a snapshot
    /// refers to cannot be read: then nothing is freed, because nobody can tell what is still
    /// referred to.
    pub fn gc(&self) -> Result<Freed, RemoteError> {
        let began = Instant::now();
        let lock = self.wire.block(self.alone())?;
        let freed = self.free(&lock, began);
        let unlocked = self.wire.block(async {
            match self.wire.head("gc").await? {
                Some(now) if now == lock => self.wire.delete("gc").await,
                _ => Ok(()),
            }
        });
        let freed = freed?;
        unlocked.map(|()| freed)
    }

    /// Says that this one frees; the bucket's time now.
    async fn alone(&self) -> Result<Listed, RemoteError> {
        if !self.wire.create("gc", unique()).await? {
            let Some(there) = self.wire.head("gc").await? else { return Err(RemoteError::Busy) };
            // The bucket's clock tells what the time is there.
            let probe = format!("clock/{}", uuid::Uuid::new_v4());
            self.wire.create(&probe, unique()).await?;
            let now = self.wire.head(&probe).await?;
            self.wire.delete(&probe).await?;
            let age = now.map_or(0, |now| now.time.saturating_sub(there.time));
            let dead = u128::try_from(age).is_ok_and(|age| age > ALONE.as_millis());
            if !dead || !self.wire.replace(&there, unique()).await? {
                return Err(RemoteError::Busy);
            }
        }
        self.wire.head("gc").await?.ok_or(RemoteError::Busy)
    }

    fn free(&self, lock: &Listed, began: Instant) -> Result<Freed, RemoteError> {
        let mut freed = Freed::default();
        let mut known = self.known();
        // First what is condemned, then what is referred to: who counted on it has announced by now.
        self.wire.block(known.refresh(&self.wire))?;
        let marks = self.wire.block(self.marks(&known, lock))?;
        let live = self.wire.block(self.live(&mut known))?;
        if let Some((_, error)) = live.broken.into_iter().next() {
            return Err(error);
        }
        let live = live.objects;
        let condemned = |name: &String| known.condemned.contains_key(name);
        let mut had: HashSet<ContentId> = HashSet::new();
        let mut going = Vec::new();
        let (out, stay): (Vec<_>, Vec<_>) = known.packs.values().cloned().partition(|p| condemned(&p.name));
        for pack in &stay {
            had.extend(pack.places.iter().map(|p| p.id()).filter(|id| live.contains(id)));
        }
        for pack in out {
            let needed = pack.places.iter().any(|p| live.contains(&p.id()) && !had.contains(&p.id()));
            if needed {
                had.extend(pack.places.iter().map(|p| p.id()).filter(|id| live.contains(id)));
                self.wire.block(self.wire.delete(&format!("condemned/{}", pack.name)))?;
                freed.kept += 1;
            } else {
                going.push(pack);
            }
        }
        for (name, mark) in marks {
            if began.elapsed() > ALONE / 2 {
                return Err(RemoteError::Contended("free what it holds"));
            }
            let pack = going.iter().find(|p| p.name == name);
            let gone = !known.packs.contains_key(&name) && !known.damaged.contains_key(&name);
            if (pack.is_some() || gone) && self.wire.block(self.away(&name, &mark, pack))? {
                freed.packs += u64::from(pack.is_some());
                freed.bytes += pack.map_or(0, |p| p.size);
            }
        }
        let mut counted = HashSet::new();
        let mut condemn = Vec::new();
        let mut again = Vec::new();
        for pack in stay {
            let mine: Vec<_> =
                pack.places.iter().filter(|p| live.contains(&p.id()) && counted.insert(p.id())).collect();
            let size = |places: &mut dyn Iterator<Item = u64>| places.sum::<u64>();
            let all = size(&mut pack.places.iter().map(|p| p.range().1.into()));
            let used = size(&mut mine.iter().map(|p| p.range().1.into()));
            if mine.is_empty() || used < all / WORTH {
                again.extend(mine.iter().map(|p| p.id()));
                condemn.push(pack);
            }
        }
        freed.rewritten = self.again(&mut known, &again)?;
        drop(known);
        for pack in condemn {
            // Somebody else's mark counts as well, from when it was made.
            let new = self.wire.block(self.wire.create(&format!("condemned/{}", pack.name), unique()))?;
            freed.condemned += u64::from(new);
        }
        Ok(freed)
    }

    /// The marks that are older than the grace, with what is in them: each mark has other bytes.
    async fn marks(&self, known: &Known, lock: &Listed) -> Result<Vec<(String, Vec<u8>)>, RemoteError> {
        let age = |l: &Listed| u128::try_from(lock.time.saturating_sub(l.time)).unwrap_or(0);
        let old = known.condemned.values().filter(|l| age(l) > self.times.grace.as_millis());
        let read = old.map(|l| async {
            let bytes = self.wire.whole(&format!("condemned/{}", l.name), 4096).await?;
            Ok(bytes.map(|bytes| (l.name.clone(), bytes)))
        });
        Ok(every(read).await?.into_iter().flatten().collect())
    }

    /// Removes a pack and then its mark, if that is still the mark that was seen.
    async fn away(&self, name: &str, mark: &[u8], pack: Option<&Arc<Pack>>) -> Result<bool, RemoteError> {
        let key = format!("condemned/{name}");
        if self.wire.whole(&key, 4096).await?.as_deref() != Some(mark) {
            return Ok(false);
        }
        if pack.is_some() {
            self.wire.delete(&format!("packs/{name}")).await?;
        }
        self.wire.delete(&key).await?;
        Ok(true)
    }

    /// Puts objects a second time, in packs of their own.
    fn again(
        &self,
        known: &mut std::sync::MutexGuard<'_, Known>,
        ids: &[ContentId],
    ) -> Result<u64, RemoteError> {
        let mut packs = 0;
        // A bound for what is in memory: objects of one read may come at once.
        for ids in ids.chunks(4096) {
            let (mut open, mut held, mut full) = (Vec::new(), 0, Vec::new());
            self.wire.block(gather(&self.wire, known, ids, &mut |object, _| {
                held += object.stored();
                open.push(object);
                if held >= FULL {
                    full.push(std::mem::take(&mut open));
                    held = 0;
                }
                Ok(())
            }))?;
            if !open.is_empty() {
                full.push(open);
            }
            let mut pushed = Pushed::default();
            self.put(known, full, &mut pushed)?;
            packs += pushed.packs;
        }
        Ok(packs)
    }

    /// Walks every announced snapshot.
    pub(crate) async fn live(&self, known: &mut Known) -> Result<Live, RemoteError> {
        let mut live = Live::default();
        let records: Vec<_> = futures_util::stream::iter(self.ids().await?)
            .map(|id| async move {
                match self.record(&id).await {
                    Ok((snapshot, _)) => Ok(Some((id, Ok(snapshot.root)))),
                    // Removed since it was listed.
                    Err(RemoteError::NotFound(_)) => Ok(None),
                    Err(e @ RemoteError::Damaged { .. }) => Ok(Some((id, Err(e)))),
                    Err(e) => Err(e),
                }
            })
            .buffer_unordered(ABREAST)
            .try_filter_map(|found| async move { Ok(found) })
            .try_collect()
            .await?;
        for (id, root) in records {
            let walked = match root {
                Ok(root) => self.mark(known, root, &mut live.objects).await,
                Err(e) => Err(e),
            };
            match walked {
                Ok(()) => {}
                Err(e @ (RemoteError::Damaged { .. } | RemoteError::NotFound(_))) => {
                    live.broken.push((id, e))
                }
                Err(e) => return Err(e),
            }
        }
        Ok(live)
    }

    pub(crate) async fn mark(
        &self,
        known: &mut Known,
        root: ContentId,
        live: &mut HashSet<ContentId>,
    ) -> Result<(), RemoteError> {
        let mut waiting = vec![root];
        while !waiting.is_empty() {
            waiting.retain(|id| live.insert(*id));
            let (mut next, mut files) = (Vec::new(), Vec::new());
            let level = std::mem::take(&mut waiting);
            let mut take = |object: Object, raw: Vec<u8>| {
                if object.kind() != ObjectKind::Tree {
                    return Err(RemoteError::damaged(
                        format!("object {}", object.id()),
                        "it is no directory",
                    ));
                }
                for reference in referred(&entries(&object.id(), &raw).map_err(RemoteError::theirs)?) {
                    match reference {
                        Reference::Tree(id) => next.push(id),
                        Reference::File(id, _) | Reference::Chunk(id, _) => files.push(id),
                    }
                }
                Ok(())
            };
            gather(&self.wire, known, &level, &mut take).await?;
            files.retain(|id| live.insert(*id));
            let mut lists = Vec::new();
            for id in files {
                match known.find(&id).next().map(|(_, place)| place.kind()) {
                    None => return Err(RemoteError::NotFound(format!("object {id}"))),
                    Some(ObjectKind::List) => lists.push(id),
                    Some(_) => {}
                }
            }
            gather(&self.wire, known, &lists, &mut |object, raw| {
                let (pieces, _) = chunks(&object.id(), &raw).map_err(RemoteError::theirs)?;
                live.extend(
                    pieces
                        .iter()
                        .filter_map(|p| if let Reference::Chunk(id, _) = p { Some(*id) } else { None }),
                );
                Ok(())
            })
            .await?;
            waiting = next;
        }
        Ok(())
    }
}
