//! Keeps the logins fresh that agents use: each is renewed outside of the agents' sandboxes, by
//! one at a time and once for all who use it.

mod error;
mod hidden;
mod inherit;
mod keys;
mod list;
mod renew;
mod sign_in;
mod signing;

pub use error::{LoginTrouble, SignInError};
pub(crate) use hidden::Hidden;
pub(crate) use inherit::{inherit_all, rooms};
pub use sign_in::SignIn;

use crate::{plan::Planned, shared::Shared};
use cordon_backends::{Ends, Facts, Kept, LoginServers, LoginSource};
use cordon_logins::{Current, Locked, LoginError, Store};
use cordon_sandbox::{Identity, WallKind};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant, SystemTime},
};

/// A login that ends within this is renewed. Codex and Claude Code begin to ask for a new one
/// by themselves five minutes before the end: by then they find it.
const MARGIN: Duration = Duration::from_secs(600);
/// How long after a failure it is tried again; twice as long each time.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(120));
/// A login is looked at again after this at the latest: clocks are set, machines sleep.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// A renewal that takes longer, its sandbox included, is left to the next daemon.
const SETTLES_WITHIN: Duration = Duration::from_secs(90);
/// A login that somebody else renews meanwhile, again and again, is not run after.
const TRIES: usize = 3;

type Key = (u32, &'static str, LoginSource);

/// The logins of this daemon's runs.
pub(crate) struct Logins {
    store: Store,
    servers: LoginServers,
    gates: Mutex<BTreeMap<Key, Arc<tokio::sync::Mutex<Gate>>>>,
    users: Mutex<Vec<(Key, Weak<Hidden>)>>,
    /// Sandboxes in which something is renewed.
    rooms: Mutex<BTreeSet<String>>,
    /// Persons who log in at this moment.
    pub(crate) signing: signing::Signing,
}

/// What is remembered of a login between two looks at it.
#[derive(Default)]
struct Gate {
    /// The content that could not be renewed, when, how often, and why.
    failed: Option<(String, Instant, u32, LoginTrouble)>,
    /// The content that was renewed last, and how long it was good for.
    renewed: Option<(String, Duration)>,
    /// The content whose renewal somebody began and nobody saw the end of.
    cut: Option<String>,
}

/// Who uses a login, and how its program is started.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) owner: u32,
    pub(crate) home: PathBuf,
    pub(crate) kept: Kept,
    pub(crate) identity: Identity,
    pub(crate) wall: WallKind,
    pub(crate) image: Option<String>,
}

impl User {
    /// None where the agent uses no login of this kind.
    pub(crate) fn of(planned: &Planned) -> Option<Self> {
        Some(Self {
            owner: planned.sandbox.labels.owner,
            home: planned.context.owner_home.clone(),
            kept: planned.needs.kept?,
            identity: planned.workspace.identity,
            wall: planned.context.wall,
            image: planned.sandbox.image.clone(),
        })
    }

    fn key(&self) -> Key {
        (self.owner, self.kept.kind.backend.name(), self.kept.source)
    }
}

/// A login that holds.
#[derive(Clone, Debug)]
pub(crate) struct Fresh {
    pub(crate) facts: Facts,
    /// When to look at it again.
    pub(crate) again: Duration,
    /// Why it could not be renewed, though it should have been.
    pub(crate) behind: Option<LoginTrouble>,
}

impl Logins {
    pub(crate) fn new(state: &Path, servers: LoginServers) -> Self {
        Self {
            store: Store::new(state),
            servers,
            gates: Mutex::default(),
            users: Mutex::default(),
            rooms: Mutex::default(),
            signing: signing::Signing::default(),
        }
    }

    /// From now on this agent hides every value that the login gets.
    pub(crate) fn join(&self, user: &User, hidden: &Arc<Hidden>) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.retain(|(_, user)| user.strong_count() > 0);
        users.push((user.key(), Arc::downgrade(hidden)));
    }

    /// The sandboxes that are nobody's agents'.
    pub(crate) fn rooms(&self) -> Vec<String> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// What persons began to make under an earlier daemon, and did not finish. Blocks.
    pub(crate) fn forget_unfinished(&self) {
        for (place, error) in self.store.forget_unfinished() {
            tracing::warn!(?place, %error, "an unfinished login was left");
        }
    }

    /// Waits until nothing is being renewed any more. Nothing new begins once the daemon ends.
    pub(crate) async fn settle(&self) {
        let gates: Vec<_> = {
            let gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
            gates.values().cloned().collect()
        };
        let all = async {
            for gate in gates {
                drop(gate.lock().await);
            }
        };
        if tokio::time::timeout(SETTLES_WITHIN, all).await.is_err() {
            tracing::warn!("a login is still being renewed: the next daemon takes it over");
        }
    }

    fn gate(&self, key: Key) -> Arc<tokio::sync::Mutex<Gate>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone()
    }

    /// Comes before anybody sees a new content.
    fn tell(&self, key: Key, facts: &Facts) -> Result<(), LoginError> {
        let users: Vec<_> = {
            let users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
            users.iter().filter(|(k, _)| *k == key).filter_map(|(_, user)| user.upgrade()).collect()
        };
        for user in users {
            user.add(&facts.secrets).map_err(|source| LoginError::Io {
                step: "keep the new values of",
                path: self.store.of(key.0).join(key.1),
                source,
            })?;
        }
        Ok(())
    }
}

/// The login of this user, renewed where it ends soon. What was begun is brought to its end
/// also when nobody waits for it any more.
pub(crate) async fn fresh(shared: &Arc<Shared>, user: &User) -> Result<Fresh, LoginTrouble> {
    let (shared, user) = (shared.clone(), user.clone());
    let kind = user.kept.kind;
    let looked = tokio::spawn(async move { look(&shared, &user).await });
    looked.await.unwrap_or_else(|_| Err(LoginTrouble::broken(kind, "Cordon failed at it".to_owned())))
}

async fn look(shared: &Arc<Shared>, user: &User) -> Result<Fresh, LoginTrouble> {
    let logins = &shared.logins;
    let gate = logins.gate(user.key());
    // In this process first: only one thread waits for the lock between processes.
    let mut gate = gate.lock().await;
    let place = logins.store.place(user.owner, user.kept.kind);
    let locked = Arc::new(blocking(user, move || place.lock()).await?);
    inherit::inherit(shared, user, &locked, &mut gate).await?;
    let mut tried = 0;
    loop {
        let current = current(shared, user, &locked).await?;
        let margin = gate.margin(&current);
        if current.facts.ends_after(margin) {
            gate.failed = None;
            return Ok(Fresh { again: current.facts.look_again(margin), facts: current.facts, behind: None });
        }
        if let Some(trouble) = gate.failed_lately(&current) {
            return gate.behind(current, trouble);
        }
        if !current.facts.renewable {
            let why = "it ends too soon, and holds nothing to renew it with".to_owned();
            return Err(LoginTrouble::ended(user.kept.kind, why));
        }
        if logins.signing.closing().is_cancelled() {
            let why = "this daemon ends, and begins nothing any more".to_owned();
            return gate.behind(current, LoginTrouble::ended(user.kept.kind, why));
        }
        match renew::renew(shared, user, &locked, &current).await {
            Ok(new) => {
                tracing::info!(backend = user.key().1, owner = user.owner, "a login was renewed");
                gate.cut = None;
                if let Ends::At(end) = new.facts.ends {
                    let left = end.duration_since(SystemTime::now()).unwrap_or_default();
                    gate.renewed = Some((new.mark(), left));
                }
            }
            Err(trouble) => {
                tried += 1;
                // Somebody else may have been faster, with the same refresh token.
                let now = self::current(shared, user, &locked).await?;
                if now.mark() != current.mark() && tried < TRIES {
                    continue;
                }
                let cut = gate.cut.as_ref().is_some_and(|mark| *mark == current.mark());
                let trouble = if cut { trouble.after_a_cut() } else { trouble };
                tracing::warn!(backend = user.key().1, owner = user.owner, error = %trouble, "a login was not renewed");
                let times = gate.failed.take().filter(|(mark, ..)| *mark == current.mark());
                let times = times.map_or(0, |(_, _, times, _)| times.saturating_add(1));
                gate.failed = Some((current.mark(), Instant::now(), times, trouble.clone()));
                return gate.behind(current, trouble);
            }
        }
    }
}

async fn current(shared: &Arc<Shared>, user: &User, locked: &Arc<Locked>) -> Result<Current, LoginTrouble> {
    let (shared, one, locked) = (shared.clone(), user.clone(), locked.clone());
    blocking(user, move || {
        let mut told = |facts: &Facts| shared.logins.tell(one.key(), facts);
        locked.current(one.kept.source, &one.home, &mut told)
    })
    .await
}

impl Gate {
    /// How long before its end a login is renewed: sooner than half of its life only where
    /// that is long.
    fn margin(&self, current: &Current) -> Duration {
        match &self.renewed {
            Some((mark, life)) if *mark == current.mark() => MARGIN.min(*life / 2),
            _ => MARGIN,
        }
    }

    fn failed_lately(&self, current: &Current) -> Option<LoginTrouble> {
        let (mark, at, times, trouble) = self.failed.as_ref()?;
        let patience = (PATIENCE.0 * 2_u32.saturating_pow((*times).min(8))).min(PATIENCE.1);
        (*mark == current.mark() && at.elapsed() < patience).then(|| trouble.clone())
    }

    /// While it holds, a login that could not be renewed is good enough; one that its server
    /// does not know any more never is.
    fn behind(&self, current: Current, trouble: LoginTrouble) -> Result<Fresh, LoginTrouble> {
        if trouble.is_final() || !current.facts.ends_after(Duration::from_secs(1)) {
            return Err(trouble);
        }
        Ok(Fresh { again: PATIENCE.0, facts: current.facts, behind: Some(trouble) })
    }
}

/// What is asked of a login's end.
trait Life {
    fn ends_after(&self, margin: Duration) -> bool;
    fn look_again(&self, margin: Duration) -> Duration;
}

impl Life for Facts {
    fn ends_after(&self, margin: Duration) -> bool {
        match self.ends {
            Ends::Never => true,
            Ends::At(end) => end.duration_since(SystemTime::now()).is_ok_and(|left| left > margin),
            Ends::Unknown => false,
        }
    }

    fn look_again(&self, margin: Duration) -> Duration {
        match self.ends {
            Ends::At(end) => {
                let left = end.duration_since(SystemTime::now()).unwrap_or_default();
                left.saturating_sub(margin).clamp(Duration::from_secs(1), LOOK_AGAIN)
            }
            _ => LOOK_AGAIN,
        }
    }
}

async fn blocking<T: Send + 'static>(
    user: &User,
    work: impl FnOnce() -> Result<T, LoginError> + Send + 'static,
) -> Result<T, LoginTrouble> {
    let kind = user.kept.kind;
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|e| LoginTrouble::broken(kind, e.to_string())),
        Err(_) => Err(LoginTrouble::broken(kind, "Cordon failed at it".to_owned())),
    }
}
