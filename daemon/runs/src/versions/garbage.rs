use super::Runs;
use crate::error::RunError;
use cordon_proto::v1;
use cordon_snapshots::{Snapshot, SnapshotId, StoreError as SnapshotError};
use std::{
    collections::{BTreeMap, HashSet},
    time::{SystemTime, UNIX_EPOCH},
};

/// What is kept of each tree.
#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    count: Option<u64>,
    seconds: Option<u64>,
    bytes: Option<u64>,
}

impl Runs {
    /// Removes snapshots beyond what is to be kept of each tree, and frees what nothing refers
    /// to.
    ///
    /// # Errors
    /// When a store cannot be read or written.
    pub async fn collect_garbage(
        &self,
        owner: u32,
        request: v1::CollectGarbageRequest,
    ) -> Result<v1::CollectGarbageResponse, RunError> {
        let some = |n: u64| (n > 0).then_some(n);
        let bounds = Bounds {
            count: some(request.keep_count),
            seconds: some(request.keep_seconds),
            bytes: some(request.keep_bytes),
        };
        self.blocking("collect garbage", move |runs| {
            let mut answer = v1::CollectGarbageResponse::default();
            let living: HashSet<String> = runs.living(owner).into_iter().collect();
            let bases = runs.bases(owner);
            for (_, store) in runs.0.shared.stores.all(owner) {
                let listed = store.list()?;
                let stays = |id: &SnapshotId, snapshot: &Snapshot| {
                    !snapshot.label.is_empty()
                        || living.contains(&snapshot.run)
                        || bases.contains(&id.to_string())
                };
                let over = beyond(&listed, bounds, now(), stays);
                for (id, added) in over {
                    if request.dry_run {
                        answer.freed_bytes += added;
                    } else {
                        match store.remove(&id) {
                            Ok(()) => {}
                            // Somebody else removed it.
                            Err(SnapshotError::NotFound(_)) => continue,
                            Err(error) => return Err(error.into()),
                        }
                    }
                    answer.removed.push(id.to_string());
                }
                if !request.dry_run {
                    answer.freed_bytes += store.gc()?.bytes;
                }
                answer.stored_bytes += store.usage()?;
            }
            Ok(answer)
        })
        .await
    }

    /// Reads everything that is stored of an owner, and checks it.
    ///
    /// # Errors
    /// When a store cannot be read at all.
    pub async fn verify(&self, owner: u32) -> Result<v1::VerifyResponse, RunError> {
        self.blocking("verify the snapshots", move |runs| {
            let mut answer = v1::VerifyResponse::default();
            for (place, store) in runs.0.shared.stores.all(owner) {
                let seen = store.verify()?;
                answer.snapshots += seen.snapshots;
                answer.objects += seen.objects;
                answer.bytes += store.usage()?;
                answer.faults.extend(seen.faults.into_iter().map(|fault| {
                    let place = place.as_ref().map(|p| format!(" (in {})", p.display())).unwrap_or_default();
                    let path = |path: &[u8]| path.escape_ascii().to_string();
                    let named = fault.touches.iter().map(|t| format!("{}:/{}", t.snapshot, path(&t.path)));
                    let mut touched: Vec<String> = named.collect();
                    let more = fault.touched.saturating_sub(touched.len() as u64);
                    if more > 0 {
                        touched.push(format!("and {more} more"));
                    }
                    v1::StoreFault { what: format!("{}{place}: {}", fault.what, fault.why), touched }
                }));
            }
            Ok(answer)
        })
        .await
    }

    /// Base snapshots of the owner's runs that are kept.
    fn bases(&self, owner: u32) -> HashSet<String> {
        let mut bases = HashSet::new();
        for entry in self.0.shared.all() {
            entry.with(|r| {
                if r.owner.uid() == owner {
                    bases.extend(r.agents.iter().flat_map(|a| &a.trees).filter_map(|t| t.base.clone()));
                }
            });
        }
        bases
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Snapshots beyond the bounds, with what each added to the store. The newest of each tree
/// stays whatever the bounds say.
fn beyond(
    listed: &[(SnapshotId, Snapshot)],
    bounds: Bounds,
    now: i64,
    stays: impl Fn(&SnapshotId, &Snapshot) -> bool,
) -> Vec<(SnapshotId, u64)> {
    let mut trees: BTreeMap<&[u8], (u64, u64)> = BTreeMap::new();
    let mut over = Vec::new();
    // Newest first.
    for (id, snapshot) in listed.iter().rev() {
        let (count, bytes) = trees.entry(snapshot.origin.as_slice()).or_default();
        let added = snapshot.statistics.added_bytes;
        let age = u64::try_from(now.saturating_sub(snapshot.time.0)).unwrap_or(0);
        let too_much = bounds.count.is_some_and(|most| *count >= most)
            || bounds.seconds.is_some_and(|most| age > most)
            || bounds.bytes.is_some_and(|most| bytes.saturating_add(added) > most);
        if too_much && *count > 0 && !stays(id, snapshot) {
            over.push((*id, added));
        } else {
            *count += 1;
            *bytes = bytes.saturating_add(added);
        }
    }
    over
}
