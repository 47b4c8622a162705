//! What the bucket has: the tables of its packs, and which of them are condemned.

use super::{
    ABREAST,
    error::RemoteError,
    wire::{Listed, Wire},
};
use cordon_snapshots::{
    ContentId,
    transfer::{Place, table, table_start},
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    future::Future,
    sync::Arc,
};

/// A pack that a writer makes is far shorter.
const PACK_MOST: u64 = 512 << 20;
/// How many objects are kept track of: a hundred bytes of memory each.
const OBJECTS_MOST: u64 = 20_000_000;
/// What is read of a pack's end at once.
const TAIL: u64 = 64 << 10;

#[derive(Clone, Debug)]
pub(crate) struct Pack {
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) places: Vec<Place>,
}

#[derive(Default)]
pub(crate) struct Known {
    pub(crate) packs: BTreeMap<String, Arc<Pack>>,
    pub(crate) condemned: HashMap<String, Listed>,
    /// Packs that are not what they are named, and why.
    pub(crate) damaged: BTreeMap<String, String>,
    places: HashMap<ContentId, (Arc<Pack>, Place)>,
    /// Further places of objects that lie in several packs.
    others: HashMap<ContentId, Vec<(Arc<Pack>, Place)>>,
}

impl Known {
    /// Brings this up to what the bucket has now.
    pub(crate) async fn refresh(&mut self, wire: &Wire) -> Result<(), RemoteError> {
        // What was condemned before its pack was listed counts, whatever else happens.
        let listed = wire.list("packs").await?;
        let condemned = wire.list("condemned").await?;
        self.condemned = condemned.into_iter().map(|l| (l.name.clone(), l)).collect();
        let there: HashSet<&String> = listed.iter().map(|l| &l.name).collect();
        self.packs.retain(|name, _| there.contains(name));
        self.damaged.retain(|name, _| there.contains(name));
        let known = |l: &Listed| self.packs.contains_key(&l.name) || self.damaged.contains_key(&l.name);
        let new: Vec<_> = listed.iter().filter(|l| !known(l)).cloned().collect();
        let mut read = futures_util::stream::iter(new)
            .map(|l| async move {
                let pack = read(wire, &l).await;
                (l.name, pack)
            })
            .buffer_unordered(ABREAST);
        let mut total: u64 = self.packs.values().map(|p| p.places.len() as u64).sum();
        while let Some((name, pack)) = read.next().await {
            match pack {
                Ok(pack) => {
                    total += pack.places.len() as u64;
                    if total > OBJECTS_MOST {
                        return Err(RemoteError::Limit { what: "objects", limit: OBJECTS_MOST });
                    }
                    self.packs.insert(name, Arc::new(pack));
                }
                // Freed since it was listed.
                Err(RemoteError::NotFound(_)) => {}
                Err(RemoteError::Damaged { why, .. }) => {
                    self.damaged.insert(name, why);
                }
                Err(e) => return Err(e),
            }
        }
        drop(read);
        self.places.clear();
        self.others.clear();
        let (last, first): (Vec<_>, Vec<_>) =
            self.packs.values().cloned().partition(|p| self.condemned.contains_key(&p.name));
        for pack in first.into_iter().chain(last) {
            for place in &pack.places {
                let spot = (Arc::clone(&pack), *place);
                match self.places.entry(place.id()) {
                    Entry::Vacant(first) => {
                        first.insert(spot);
                    }
                    Entry::Occupied(_) => self.others.entry(place.id()).or_default().push(spot),
                }
            }
        }
        Ok(())
    }

    /// Where an object lies, the likeliest first.
    pub(crate) fn find(&self, id: &ContentId) -> impl Iterator<Item = &(Arc<Pack>, Place)> {
        self.places.get(id).into_iter().chain(self.others.get(id).into_iter().flatten())
    }

    /// Whether a writer may count on the object.
    pub(crate) fn stays(&self, id: &ContentId) -> bool {
        self.places.get(id).is_some_and(|(pack, _)| !self.condemned.contains_key(&pack.name))
    }
}

async fn read(wire: &Wire, listed: &Listed) -> Result<Pack, RemoteError> {
    let Listed { name, size, .. } = listed;
    let key = format!("packs/{name}");
    let bad = |why: &str| RemoteError::damaged(&key, why);
    if *size < 24 || *size > PACK_MOST {
        return Err(bad("it is as long as no pack is"));
    }
    let from = size.saturating_sub(TAIL);
    let mut tail = wire.range(&key, from, size - from).await?;
    let Some((_, foot)) = tail.split_last_chunk::<16>() else { return Err(bad("it is cut short")) };
    let start = table_start(name, foot, *size).map_err(RemoteError::theirs)?;
    if start < from {
        let mut more = wire.range(&key, start, from - start).await?;
        more.append(&mut tail);
        tail = more;
    } else {
        tail.drain(..usize::try_from(start - from).unwrap_or(0));
    }
    tail.truncate(tail.len() - 16);
    let places = table(name, &tail, start).map_err(RemoteError::theirs)?;
    Ok(Pack { name: name.clone(), size: *size, places })
}

/// All of these that is not an error.
pub(crate) async fn every<T, F: Future<Output = Result<T, RemoteError>>>(
    work: impl IntoIterator<Item = F>,
) -> Result<Vec<T>, RemoteError> {
    futures_util::stream::iter(work).buffer_unordered(ABREAST).try_collect().await
}
