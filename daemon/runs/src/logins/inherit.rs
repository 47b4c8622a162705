//! What an earlier daemon was renewing when it ended: nothing of it is lost.

use super::renew::Heir;
use super::{Gate, LoginTrouble, User, blocking, current, renew};
use crate::shared::Shared;
use cordon_backends::Kept;
use cordon_logins::{Locked, Renewing};
use cordon_sandbox::{Identity, WallKind};
use std::{sync::Arc, time::Duration};

/// A program that was about to write gets so long for it: what it needs of the daemon's
/// connections is gone with the daemon.
const LAST: (u32, Duration) = (20, Duration::from_millis(100));

/// Takes over what was left of this login.
pub(super) async fn inherit(
    shared: &Arc<Shared>,
    user: &User,
    locked: &Arc<Locked>,
    gate: &mut Gate,
) -> Result<(), LoginTrouble> {
    let (place, source) = (locked.clone(), user.kept.source);
    let Some(left) = blocking(user, move || place.left(source)).await? else { return Ok(()) };
    let before = current(shared, user, locked).await?;
    if let Some(record) = heir(&left).and_then(|heir| heir.record) {
        let (tries, apart) = LAST;
        for _ in 0..tries {
            if !matches!(locked.result(&left, &before.facts), Ok(None)) {
                break;
            }
            tokio::time::sleep(apart).await;
        }
        let ended = match shared.walls.wall(record.kind()).await {
            Ok(wall) => wall.destroy(&record).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::warn!(sandbox = record.id, %error, "a sandbox that renewed a login was left");
        }
    }
    if !locked.is_of(&left, &before) {
        tracing::info!(backend = user.key().1, "a login was changed while it was renewed: that one counts");
        let locked = locked.clone();
        return blocking(user, move || locked.done(left)).await;
    }
    let mark = before.mark();
    let taken = renew::take(shared, user, locked, left, before.facts).await?;
    // It is tried again, before it is called lost: perhaps its server was never asked.
    gate.cut = taken.is_none().then_some(mark);
    tracing::info!(backend = user.key().1, renewed = taken.is_some(), "took over what was being renewed");
    Ok(())
}

fn heir(left: &Renewing) -> Option<Heir> {
    serde_json::from_value(left.sandbox.clone()).ok()
}

/// Sandboxes of an earlier daemon in which a login is being renewed: they end when somebody
/// has taken over what is in them. Blocks.
pub(crate) fn rooms(shared: &Shared) -> Vec<String> {
    let left = shared.logins.store.left().into_iter();
    left.filter_map(|(place, source)| {
        let left = place.peek(source).ok()??;
        Some(heir(&left)?.record?.id)
    })
    .collect()
}

/// Takes over everything that was left.
pub(crate) async fn inherit_all(shared: &Arc<Shared>) {
    let logins = shared.clone();
    let left = tokio::task::spawn_blocking(move || {
        let all = logins.logins.store.left().into_iter();
        all.filter_map(|(place, source)| {
            let heir = place.peek(source).ok()?.as_ref().and_then(heir)?;
            Some((place, source, heir))
        })
        .collect::<Vec<_>>()
    });
    for (place, source, heir) in left.await.unwrap_or_default() {
        let user = User {
            owner: place.owner,
            home: heir.home,
            kept: Kept { kind: place.kind, source },
            identity: heir.record.as_ref().map_or(Identity { uid: 65_534, gid: 65_534 }, |r| r.identity),
            wall: heir.record.as_ref().map_or(WallKind::Local, |r| r.kind()),
            image: None,
        };
        let gate = shared.logins.gate(user.key());
        let mut gate = gate.lock().await;
        let locked = blocking(&user, move || place.lock()).await.map(Arc::new);
        let taken = match locked {
            Ok(locked) => inherit(shared, &user, &locked, &mut gate).await,
            Err(error) => Err(error),
        };
        if let Err(error) = taken {
            tracing::warn!(%error, "a login that was being renewed is not taken over yet");
        }
    }
}
