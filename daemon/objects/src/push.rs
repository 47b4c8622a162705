//! A snapshot into the bucket.

use super::{
    Remote,
    error::RemoteError,
    known::{Known, every},
};
use cordon_snapshots::{
    ContentId, SnapshotId, Store,
    transfer::{Object, nonce, pack},
};
use std::time::Instant;

/// A pack is closed when it holds as much; four of them are in memory at most.
const FULL: usize = 16 << 20;
const UPLOADS: usize = 4;
/// How often it is looked again because time passed or somebody freed.
const TRIES: usize = 8;

/// What a push did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Objects that the bucket did not have.
    pub objects: u64,
    /// Bytes that their packs take.
    pub bytes: u64,
    /// Packs put.
    pub packs: u64,
    /// Whether the bucket had the snapshot before.
    pub was_there: bool,
}

impl Remote {
    /// Puts a snapshot of `store` into the bucket: what it lacks, and then the record. Nothing of
    /// other snapshots goes with it. Done twice, or by several at once, it is there once.
    ///
    /// # Errors
    /// When the store does not have the snapshot whole, or the bucket cannot be used. What was put
    /// until then, gc takes.
    pub fn push(&self, store: &Store, id: &SnapshotId) -> Result<Pushed, RemoteError> {
        let record = store.record_bytes(id)?;
        let (meta, data) = store.consists_of(id)?;
        let mut pushed = Pushed::default();
        for _ in 0..TRIES {
            let looked = Instant::now();
            let (meta, data) = {
                let mut known = self.known();
                self.wire.block(known.refresh(&self.wire))?;
                let lacks =
                    |ids: &[ContentId]| ids.iter().filter(|id| !known.stays(id)).copied().collect::<Vec<_>>();
                (lacks(&meta), lacks(&data))
            };
            if !meta.is_empty() || !data.is_empty() {
                // Directories apart from content: who walks a tree reads few packs.
                self.upload(store, &data, &mut pushed)?;
                self.upload(store, &meta, &mut pushed)?;
            }
            // Whoever freed meanwhile may have condemned what this counts on: look again.
            if looked.elapsed() > self.times.window {
                continue;
            }
            if !self.wire.block(self.wire.create(&format!("snapshots/{id}"), record.clone()))? {
                // By another writer, or by this one, whose answer was lost.
                self.wire.block(self.record(id))?;
                pushed.was_there = true;
            }
            if looked.elapsed() <= self.times.window {
                return Ok(pushed);
            }
        }
        Err(RemoteError::Contended("push the snapshot"))
    }

    fn upload(&self, store: &Store, ids: &[ContentId], pushed: &mut Pushed) -> Result<(), RemoteError> {
        let (mut full, mut open, mut held) = (Vec::new(), Vec::new(), 0);
        for id in ids {
            let object = store.object(id)?;
            held += object.stored();
            open.push(object);
            pushed.objects += 1;
            if held >= FULL {
                full.push(std::mem::take(&mut open));
                held = 0;
            }
            if full.len() >= UPLOADS {
                self.put(&self.known(), std::mem::take(&mut full), pushed)?;
            }
        }
        if !open.is_empty() {
            full.push(open);
        }
        self.put(&self.known(), full, pushed)
    }

    /// Puts packs, none under the name of one that is condemned: that one may go at any time.
    pub(crate) fn put(
        &self,
        known: &Known,
        packs: Vec<Vec<Object>>,
        pushed: &mut Pushed,
    ) -> Result<(), RemoteError> {
        let mut made = Vec::new();
        for mut objects in packs {
            let mut named = pack(&objects);
            while known.condemned.contains_key(&named.0) {
                objects.push(nonce()?);
                named = pack(&objects);
            }
            made.push(named);
        }
        let put = self.wire.block(every(made.into_iter().map(|(name, bytes)| async move {
            let length = bytes.len() as u64;
            let new = self.wire.create(&format!("packs/{name}"), bytes).await?;
            Ok((new, length))
        })))?;
        for (new, length) in put {
            if new {
                pushed.packs += 1;
                pushed.bytes += length;
            }
        }
        Ok(())
    }
}
