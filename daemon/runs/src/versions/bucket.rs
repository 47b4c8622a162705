//! Snapshots in a bucket, for a team or for a person's other machines.

use super::{Answers, check_label, show::to_proto};
use crate::{
    error::RunError,
    runs::{Runs, check_key},
};
use cordon_objects::{FetchRequest, Keys, Remote, RemoteError, Target, Times};
use cordon_proto::v1;
use cordon_snapshots::{Snapshot, SnapshotId};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Requests at once: each has some packs in memory, and a thread of those that runs need too.
const AT_ONCE: usize = 4;
/// Snapshots of one owner that are listed.
const LISTED: u64 = 10_000;
/// Bytes of a text that a store would write into a record.
const TEXT: usize = 4096;

/// Where snapshots may be pushed to. Each owner has a prefix of his own below the bucket's.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Where it is.
    pub target: Target,
    /// The variables that hold its keys.
    pub keys: Keys,
}

pub(crate) struct Place {
    bucket: Bucket,
    at_once: Arc<Semaphore>,
    pushed: Answers<v1::PushSnapshotsResponse>,
}

impl Place {
    pub(crate) fn new(bucket: Bucket) -> Self {
        Self { bucket, at_once: Arc::new(Semaphore::new(AT_ONCE)), pushed: Answers::default() }
    }
}

/// An owner's part of the bucket, once something is wanted of it.
struct Opened {
    owner: u32,
    bucket: Bucket,
    remote: Option<Remote>,
}

impl Opened {
    fn get(&mut self) -> Result<&Remote, RunError> {
        let remote = match self.remote.take() {
            Some(remote) => remote,
            None => {
                Remote::open(&self.bucket.target.of_owner(self.owner), &self.bucket.keys, Times::default())?
            }
        };
        Ok(self.remote.insert(remote))
    }
}

impl Runs {
    /// Puts an owner's snapshots into the bucket: all that are named exist, or none is put.
    ///
    /// # Errors
    /// When one of them is not here or damaged, or the bucket cannot be used. What was put until
    /// then stays.
    pub async fn push_snapshots(
        &self,
        owner: u32,
        ids: &[String],
        key: &str,
    ) -> Result<v1::PushSnapshotsResponse, RunError> {
        check_key(key)?;
        let (ids, key) = (ids.to_vec(), key.to_owned());
        self.with_bucket(owner, "push the snapshots", move |runs, place, remote| {
            if let Some(answer) = place.pushed.get(owner, &key) {
                return Ok(answer);
            }
            let stores = &runs.0.shared.stores;
            let found = ids.iter().map(|id| stores.find(owner, id)).collect::<Result<Vec<_>, _>>()?;
            let mut answer = v1::PushSnapshotsResponse::default();
            for one in found {
                let pushed = remote.get()?.push(&one.store, &one.id)?;
                answer.pushed += u64::from(!pushed.was_there);
                answer.bytes += pushed.bytes;
            }
            place.pushed.keep(owner, &key, &answer);
            Ok(answer)
        })
        .await
    }

    /// Brings an owner's snapshot from the bucket into his own store.
    ///
    /// # Errors
    /// When the bucket does not have it whole, or the store does not take it.
    pub async fn fetch_snapshot(&self, owner: u32, id: &str) -> Result<v1::Snapshot, RunError> {
        let id = id.to_owned();
        self.with_bucket(owner, "fetch the snapshot", move |runs, _, remote| {
            let stores = &runs.0.shared.stores;
            let store = stores.of(owner, None)?;
            stores.room(None)?;
            let remote = remote.get()?;
            let id = named(remote, &id)?;
            let mut request = FetchRequest::default();
            // A label that nobody could have given here is not taken over.
            if check_label(&remote.get(&id)?.label).is_err() {
                request.label = Some(String::new());
            }
            let taken = remote.fetch(&store, &id, &request)?;
            Ok(to_proto(&taken.id, &taken.snapshot, None))
        })
        .await
    }

    /// An owner's snapshots in the bucket, newest first.
    ///
    /// # Errors
    /// When the bucket cannot be read.
    pub async fn bucket_snapshots(&self, owner: u32) -> Result<Vec<v1::Snapshot>, RunError> {
        self.with_bucket(owner, "list the bucket", move |_, _, remote| {
            let mut all = Vec::new();
            remote.get()?.look(LISTED, |id, snapshot| {
                if has_room(&snapshot) {
                    // The names that were left out would not fit; `show` has them, once it is here.
                    let shown = v1::Snapshot { skipped: Vec::new(), ..to_proto(&id, &snapshot, None) };
                    all.push((snapshot.time, shown));
                }
            })?;
            all.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
            Ok(all.into_iter().map(|(_, snapshot)| snapshot).collect())
        })
        .await
    }

    /// Work with the owner's part of the bucket, which is opened when it is asked for. It waits for the
    /// network on one of the threads for what blocks, and goes on when the client hangs up.
    async fn with_bucket<T: Send + 'static>(
        &self,
        owner: u32,
        what: &'static str,
        work: impl FnOnce(&Self, &Place, &mut Opened) -> Result<T, RunError> + Send + 'static,
    ) -> Result<T, RunError> {
        let at_once = match &self.0.bucket {
            Some(place) => place.at_once.clone(),
            None => return Err(RunError::NoBucket),
        };
        let permit = at_once.acquire_owned().await.map_err(|_| RunError::Internal(what))?;
        self.blocking(what, move |runs| {
            let _permit = permit;
            let place = runs.0.bucket.as_ref().ok_or(RunError::NoBucket)?;
            work(runs, place, &mut Opened { owner, bucket: place.bucket.clone(), remote: None })
        })
        .await
    }
}

impl From<RemoteError> for RunError {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::Store(e) => Self::Snapshots(e),
            other => Self::Bucket(other),
        }
    }
}

/// Stable, for programs.
pub(crate) fn bucket_reason(error: &RemoteError) -> &'static str {
    match error {
        RemoteError::NotFound(_) => "not-in-bucket",
        RemoteError::Damaged { .. } => "bucket-damaged",
        RemoteError::Limit { .. } => "bucket-too-large",
        RemoteError::Busy | RemoteError::Contended(_) => "bucket-busy",
        _ => "bucket-unusable",
    }
}

/// The snapshot in the bucket that an id, or an unambiguous beginning of one, means.
fn named(remote: &Remote, id: &str) -> Result<SnapshotId, RunError> {
    if let Ok(id) = id.parse() {
        return Ok(id);
    }
    let absent = || RunError::Bucket(RemoteError::NotFound(format!("snapshot {id:?}")));
    if id.is_empty() {
        return Err(absent());
    }
    let found = remote.begin_with(id)?;
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(absent()),
        several => Err(RunError::SnapshotAmbiguous { id: id.to_owned(), count: several.len() }),
    }
}

/// Whether a store could have written it: a bucket may hold a record with any texts.
fn has_room(snapshot: &Snapshot) -> bool {
    let texts = [&snapshot.run, &snapshot.agent, &snapshot.kind, &snapshot.label];
    texts.iter().all(|text| text.len() <= TEXT)
        && snapshot.origin.len() <= TEXT
        && snapshot.parents.len() <= 64
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_snapshots::{SnapshotRequest, Store, StoreOptions};

    #[test]
    fn a_record_that_no_store_writes_is_not_told() {
        let (dir, tree) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = Store::open(dir.path(), "", StoreOptions::default()).unwrap();
        let real = store.snapshot(tree.path(), &SnapshotRequest::default()).unwrap().snapshot;
        assert!(has_room(&real));
        assert!(!has_room(&Snapshot { label: "x".repeat(TEXT + 1), ..real.clone() }));
        assert!(!has_room(&Snapshot { origin: vec![b'x'; TEXT + 1], ..real }));
    }
}
