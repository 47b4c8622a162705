//! Snapshots of a store in a bucket, for teams.
//!
//! # Layout, version 1
//!
//! ```text
//! PREFIX/format               "cordon-objects 1", and the times below
//! PREFIX/packs/T.pack         objects, as in a store; T is the address of the pack's table
//! PREFIX/snapshots/S          one record; S is its address, and the snapshot's name
//! PREFIX/condemned/T.pack     this pack goes, once it has been named here for the grace
//! PREFIX/gc                   somebody frees
//! ```
//!
//! A snapshot is announced by its record, which is put last, with a condition: when all it refers
//! to is there. What dies before leaves packs that nothing refers to, and gc takes them.
//!
//! # Freeing beside writers
//!
//! A bucket has no locks for many. So there are two times, fixed when the bucket is first used: a
//! writer announces within the *window* after it looked what the bucket has, or looks again;
//! and a pack that nothing refers to is only named as condemned, and removed when it was
//! named for the *grace*, which is twice the window and more, and still nothing refers to it.
//! A writer does not count on what is condemned. So whoever counted on a pack has announced before
//! it can go. Ages are of the bucket's clock alone; the window is measured without any
//! clock's date. Who frees is alone by a conditional put, and is taken for dead after an hour.
//!
//! # Trust
//!
//! Whatever a bucket says is checked: a record against its name, a table against its pack's,
//! each object against its address, a tree for what it would grow to. What cannot be
//! checked is whether a writer keeps what it stored: who can write to the bucket can remove what is in
//! it, and `verify` tells. A record holds the names of its run and agent and where its tree stood.

mod error;
mod fetch;
mod free;
mod gather;
mod known;
mod push;
mod target;
mod verify;
mod wire;

pub use error::RemoteError;
pub use fetch::FetchRequest;
pub use free::Freed;
pub use push::Pushed;
pub use target::{Keys, Target};
pub use verify::{Fault, Verified};

use cordon_snapshots::{Snapshot, SnapshotId, transfer};
use futures_util::StreamExt as _;
use known::Known;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use wire::Wire;

/// How many requests are under way at once.
const ABREAST: usize = 8;
/// As a store reads at most.
const RECORD_MOST: u64 = 80 << 20;

/// The two times of a bucket, which all who use it share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// How long after it looked a writer may announce.
    pub window: Duration,
    /// How long a pack is condemned before it goes: at least twice the window.
    pub grace: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { window: Duration::from_secs(6 * 3600), grace: Duration::from_secs(24 * 3600) }
    }
}

/// A bucket, or the part of one below a prefix, that holds snapshots.
///
/// Its functions wait for the network: call them where that is allowed, in an asynchronous
/// program on a thread of their own.
pub struct Remote {
    wire: Wire,
    times: Times,
    known: Mutex<Known>,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("wire", &self.wire).finish_non_exhaustive()
    }
}

impl Remote {
    /// Opens what the target names, and makes it where nothing is yet. `times` count only then.
    ///
    /// # Errors
    /// When the bucket cannot be reached, holds something else, or a later format.
    pub fn open(target: &Target, keys: &Keys, times: Times) -> Result<Self, RemoteError> {
        let wire = Wire::new(target, keys)?;
        let times = wire.block(format(&wire, times))?;
        Ok(Self { wire, times, known: Mutex::default() })
    }

    /// The times of this bucket.
    #[must_use]
    pub fn times(&self) -> Times {
        self.times
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The announced snapshots, oldest first. A damaged record is left out; verify names it.
    ///
    /// # Errors
    /// When the bucket cannot be read.
    pub fn list(&self) -> Result<Vec<(SnapshotId, Snapshot)>, RemoteError> {
        let mut found = Vec::new();
        self.look(u64::MAX, |id, snapshot| found.push((id, snapshot)))?;
        found.sort_by_key(|(id, snapshot)| (snapshot.time, *id));
        Ok(found)
    }

    /// Shows each announced snapshot, in no order, so that no more than a few records are in memory at
    /// once. A damaged one is left out.
    ///
    /// # Errors
    /// When the bucket cannot be read, or has more than `most` of them.
    pub fn look(&self, most: u64, mut see: impl FnMut(SnapshotId, Snapshot)) -> Result<(), RemoteError> {
        self.wire.block(async {
            let ids = self.ids().await?;
            if ids.len() as u64 > most {
                return Err(RemoteError::Limit { what: "snapshots", limit: most });
            }
            let records = ids.into_iter().map(|id| async move { (id, self.record(&id).await) });
            let mut records = futures_util::stream::iter(records).buffer_unordered(ABREAST);
            while let Some((id, record)) = records.next().await {
                match record {
                    Ok((snapshot, _)) => see(id, snapshot),
                    Err(RemoteError::NotFound(_) | RemoteError::Damaged { .. }) => {}
                    Err(e) => return Err(e),
                }
            }
            Ok(())
        })
    }

    /// The announced snapshots whose ids begin so.
    ///
    /// # Errors
    /// When the bucket cannot be read.
    pub fn begin_with(&self, prefix: &str) -> Result<Vec<SnapshotId>, RemoteError> {
        let mut ids = self.wire.block(self.ids())?;
        ids.retain(|id| id.to_string().starts_with(prefix));
        Ok(ids)
    }

    /// What is known of a snapshot.
    ///
    /// # Errors
    /// When the bucket does not have it, or has something else under its name.
    pub fn get(&self, id: &SnapshotId) -> Result<Snapshot, RemoteError> {
        self.wire.block(self.record(id)).map(|(snapshot, _)| snapshot)
    }

    /// Forgets a snapshot. What only it referred to is freed by gc.
    ///
    /// # Errors
    /// When the bucket does not have it, or it cannot be removed.
    pub fn remove(&self, id: &SnapshotId) -> Result<(), RemoteError> {
        let key = format!("snapshots/{id}");
        self.wire.block(async {
            if self.wire.head(&key).await?.is_none() {
                return Err(RemoteError::NotFound(format!("snapshot {id}")));
            }
            self.wire.delete(&key).await
        })
    }

    async fn ids(&self) -> Result<Vec<SnapshotId>, RemoteError> {
        let listed = self.wire.list("snapshots").await?;
        Ok(listed.iter().filter_map(|l| l.name.parse().ok()).collect())
    }

    async fn record(&self, id: &SnapshotId) -> Result<(Snapshot, Vec<u8>), RemoteError> {
        let bytes = self.wire.whole(&format!("snapshots/{id}"), RECORD_MOST).await?;
        let bytes = bytes.ok_or_else(|| RemoteError::NotFound(format!("snapshot {id}")))?;
        Ok((transfer::record(id, &bytes).map_err(RemoteError::theirs)?, bytes))
    }
}

/// Reads the format, or writes it where nothing is.
async fn format(wire: &Wire, wanted: Times) -> Result<Times, RemoteError> {
    if wanted.grace < wanted.window * 2 || wanted.window.is_zero() {
        return Err(RemoteError::Times);
    }
    for _ in 0..3 {
        if let Some(bytes) = wire.whole("format", 4096).await? {
            return parse(&bytes).ok_or(RemoteError::Format { why: "its format is of a later version" });
        }
        if !wire.is_empty().await? {
            return Err(RemoteError::Format { why: "something else lies there" });
        }
        let (window, grace) = (wanted.window.as_millis(), wanted.grace.as_millis());
        let text = format!("cordon-objects 1\nwindow {window}\ngrace {grace}\n");
        if wire.create("format", text.into_bytes()).await? {
            return Ok(wanted);
        }
    }
    Err(RemoteError::Format { why: "its format comes and goes" })
}

fn parse(format: &[u8]) -> Option<Times> {
    let mut lines = std::str::from_utf8(format).ok()?.lines();
    if lines.next()? != "cordon-objects 1" {
        return None;
    }
    let mut time = |key: &str| {
        let millis = lines.next()?.strip_prefix(key)?.strip_prefix(' ')?.parse().ok()?;
        Some(Duration::from_millis(millis))
    };
    let times = Times { window: time("window")?, grace: time("grace")? };
    let possible = !times.window.is_zero() && times.grace >= times.window.checked_mul(2)?;
    (possible && lines.next().is_none()).then_some(times)
}
