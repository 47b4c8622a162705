//! Objects out of the bucket, many at a time, each checked before anybody sees it.

use super::{
    error::RemoteError,
    known::{Known, Pack},
    wire::Wire,
};
use cordon_snapshots::{
    ContentId,
    transfer::{Object, Place},
};
use futures_util::StreamExt as _;
use std::{collections::HashMap, sync::Arc};

/// What lies as near is read at once, up to this much.
const GAP: u64 = 64 << 10;
const SPAN: u64 = 16 << 20;
/// How many such reads are under way: together they bound the memory.
const READS: usize = 4;
const TRIES: usize = 4;

struct Run {
    pack: Arc<Pack>,
    places: Vec<Place>,
    at: u64,
    end: u64,
}

/// Gives each of these objects to `take`, once, in any order.
pub(crate) async fn gather(
    wire: &Wire,
    known: &mut Known,
    ids: &[ContentId],
    take: &mut dyn FnMut(Object, Vec<u8>) -> Result<(), RemoteError>,
) -> Result<(), RemoteError> {
    let mut waiting: HashMap<ContentId, usize> = ids.iter().map(|id| (*id, 0)).collect();
    let mut last = None;
    for _ in 0..TRIES {
        if waiting.is_empty() {
            return Ok(());
        }
        let runs = runs(known, &waiting);
        let mut reads = futures_util::stream::iter(runs)
            .map(|run| async move {
                let key = format!("packs/{}", run.pack.name);
                let bytes = wire.range(&key, run.at, run.end - run.at).await;
                (run, bytes)
            })
            .buffer_unordered(READS);
        let mut gone = false;
        while let Some((run, bytes)) = reads.next().await {
            let bytes = match bytes {
                Ok(bytes) => bytes,
                // Freed, or written anew in another pack.
                Err(RemoteError::NotFound(_)) => {
                    gone = true;
                    continue;
                }
                Err(e @ RemoteError::Damaged { .. }) => {
                    run.places.iter().for_each(|p| next(&mut waiting, &p.id()));
                    last = Some(e);
                    continue;
                }
                Err(e) => return Err(e),
            };
            for place in &run.places {
                let (offset, length) = place.range();
                let from = usize::try_from(offset - run.at).unwrap_or(usize::MAX);
                let stored = bytes.get(from..from.saturating_add(length as usize)).unwrap_or_default();
                match place.object(stored.to_vec()) {
                    Ok((object, raw)) => {
                        if waiting.remove(&place.id()).is_some() {
                            take(object, raw)?;
                        }
                    }
                    Err(e) => {
                        last = Some(RemoteError::theirs(e));
                        next(&mut waiting, &place.id());
                    }
                }
            }
        }
        drop(reads);
        if gone || waiting.keys().any(|id| known.find(id).next().is_none()) {
            known.refresh(wire).await?;
        }
    }
    match (waiting.keys().next(), last) {
        (None, _) => Ok(()),
        (Some(_), Some(error)) => Err(error),
        (Some(id), None) => Err(RemoteError::NotFound(format!("object {id}"))),
    }
}

/// The next time another pack is asked that has it, too.
fn next(waiting: &mut HashMap<ContentId, usize>, id: &ContentId) {
    if let Some(tried) = waiting.get_mut(id) {
        *tried += 1;
    }
}

/// What to read: neighbours together.
fn runs(known: &Known, waiting: &HashMap<ContentId, usize>) -> Vec<Run> {
    let mut spots: Vec<_> = waiting.iter().filter_map(|(id, tried)| known.find(id).nth(*tried)).collect();
    spots.sort_by(|a, b| (&a.0.name, a.1.range().0).cmp(&(&b.0.name, b.1.range().0)));
    let mut runs: Vec<Run> = Vec::new();
    for (pack, place) in spots {
        let (at, length) = place.range();
        let end = at + u64::from(length);
        match runs.last_mut() {
            Some(run) if run.pack.name == pack.name && at <= run.end + GAP && end <= run.at + SPAN => {
                run.end = run.end.max(end);
                run.places.push(*place);
            }
            _ => runs.push(Run { pack: Arc::clone(pack), places: vec![*place], at, end }),
        }
    }
    runs
}
