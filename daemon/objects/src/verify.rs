//! Looking at every bit in the bucket.

use super::{Remote, error::RemoteError, known::Pack, wire::Wire};
use cordon_snapshots::{ContentId, SnapshotId, transfer};
use std::collections::HashSet;

/// What is read of a pack at once.
const WINDOW: u64 = 16 << 20;

/// What verify saw.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// Packs read from end to end.
    pub packs: u64,
    /// Objects whose bytes are those of their address.
    pub objects: u64,
    /// Snapshots of which everything is there and whole.
    pub snapshots: u64,
    /// What is wrong. Nothing is repaired.
    pub faults: Vec<Fault>,
}

/// Something in the bucket that is not what was put there.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Below the prefix.
    pub what: String,
    /// What is wrong.
    pub why: String,
    /// Snapshots that cannot be fetched because of it.
    pub touches: Vec<SnapshotId>,
}

impl Remote {
    /// Reads everything in the bucket and checks it.
    ///
    /// # Errors
    /// When the bucket cannot be read. Damage is no error: it is what is told.
    pub fn verify(&self) -> Result<Verified, RemoteError> {
        let mut out = Verified::default();
        let mut known = self.known();
        self.wire.block(known.refresh(&self.wire))?;
        let mut fault = |what: String, why: String, touches| out.faults.push(Fault { what, why, touches });
        for (name, why) in &known.damaged {
            fault(format!("packs/{name}"), why.clone(), Vec::new());
        }
        let (mut whole, mut torn) = (HashSet::new(), Vec::new());
        let packs: Vec<_> = known.packs.values().cloned().collect();
        for pack in packs {
            match self.wire.block(read(&self.wire, &pack)) {
                Ok((good, bad)) => {
                    out.packs += 1;
                    out.objects += good.len() as u64;
                    whole.extend(good);
                    torn.extend(bad.into_iter().map(|(id, why)| (format!("packs/{}", pack.name), id, why)));
                }
                // Freed since it was listed.
                Err(RemoteError::NotFound(_)) => {}
                Err(RemoteError::Damaged { what, why }) => fault(what, why, Vec::new()),
                Err(e) => return Err(e),
            }
        }
        let ids = self.wire.block(self.ids())?;
        let (mut touched, mut missing) = (vec![Vec::new(); torn.len()], Vec::new());
        for id in ids {
            let root = match self.wire.block(self.record(&id)) {
                Ok((snapshot, _)) => snapshot.root,
                Err(RemoteError::NotFound(_)) => continue,
                Err(RemoteError::Damaged { why, .. }) => {
                    fault(format!("snapshots/{id}"), why, vec![id]);
                    continue;
                }
                Err(e) => return Err(e),
            };
            let mut live = HashSet::new();
            let walked = self.wire.block(self.mark(&mut known, root, &mut live));
            match walked {
                Ok(()) => {}
                Err(e @ (RemoteError::Damaged { .. } | RemoteError::NotFound(_))) => {
                    missing.push((id, e.to_string()));
                    continue;
                }
                Err(e) => return Err(e),
            }
            let lost: Vec<_> = live.iter().filter(|object| !whole.contains(*object)).collect();
            for (at, (_, object, _)) in torn.iter().enumerate() {
                if lost.contains(&object)
                    && let Some(touched) = touched.get_mut(at)
                {
                    touched.push(id);
                }
            }
            let unknown = lost.iter().find(|object| !torn.iter().any(|(_, t, _)| t == **object));
            match (lost.is_empty(), unknown) {
                (true, _) => out.snapshots += 1,
                (false, Some(object)) => missing.push((id, format!("object {object} is in no pack"))),
                (false, None) => {}
            }
        }
        for ((what, object, why), touches) in torn.into_iter().zip(touched) {
            fault(what, format!("object {object}: {why}"), touches);
        }
        for (id, why) in missing {
            fault(format!("snapshots/{id}"), why, vec![id]);
        }
        Ok(out)
    }
}

type Seen = (Vec<ContentId>, Vec<(ContentId, String)>);

async fn read(wire: &Wire, pack: &Pack) -> Result<Seen, RemoteError> {
    let key = format!("packs/{}", pack.name);
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    let mut places = pack.places.iter().peekable();
    while let Some(first) = places.peek() {
        let at = first.range().0;
        let mut here = Vec::new();
        while let Some(place) =
            places.next_if(|p| here.is_empty() || p.range().0 + u64::from(p.range().1) <= at + WINDOW)
        {
            here.push(place);
        }
        let end = here.last().map_or(at, |p| p.range().0 + u64::from(p.range().1));
        let bytes = wire.range(&key, at, end - at).await?;
        for place in here {
            let (offset, length) = place.range();
            let from = usize::try_from(offset - at).unwrap_or(usize::MAX);
            let stored = bytes.get(from..from.saturating_add(length as usize)).unwrap_or_default();
            match place.object(stored.to_vec()) {
                Ok(_) => good.push(place.id()),
                Err(e) => bad.push((place.id(), RemoteError::theirs(e).to_string())),
            }
        }
    }
    // The first bytes are the only ones that no object and no table has.
    let head = wire.range(&key, 0, 8).await?;
    if !transfer::is_head(&head) {
        return Err(RemoteError::damaged(key, "it does not begin as a pack"));
    }
    Ok((good, bad))
}
