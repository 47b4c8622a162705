//! The home and the session of an agent whose program keeps them.

use super::{
    Life,
    agent::{Agent, Trouble, warning},
    keep::blocking,
};
use crate::{
    home::{self, Held},
    journal::Durability,
};
use cordon_sandbox::PathSource;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// How often it is looked whether somebody wrote much.
const LOOKED_AT: Duration = Duration::from_secs(1);
/// How often a home is looked at in any case.
const AT_LEAST: Duration = Duration::from_secs(60);
/// Less than this is not much.
const QUIET: u64 = 16 << 20;

/// What is free where this lies.
fn free(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(path).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

impl Agent {
    /// Makes room in a kept home for what the sandbox puts there.
    pub(super) async fn clear_home(&self, life: &Life) -> Result<(), Trouble> {
        let Some(kept) = self.kept_home() else { return Ok(()) };
        let (wanted, identity) = (home::places(&self.planned), self.planned.sandbox.identity);
        let (entry, index) = (life.entry.clone(), self.index);
        let session = cordon_backends::session_paths(self.planned.context.agent.backend);
        let removed = blocking("clear the agent's home", move || {
            let earlier =
                entry.with(|r| r.agents.get(index).and_then(|a| a.home.clone())).unwrap_or_default();
            let removed = home::clear(&kept, identity, &earlier, &wanted, session)?;
            // Before anything is put there: whoever comes next takes it away.
            entry.update_agent(index, |a| a.home = Some(wanted))?;
            Ok(removed)
        })
        .await?;
        let shown = |path: &std::path::Path| path.to_string_lossy().escape_debug().to_string();
        let told = removed.iter().map(|path| {
            let path = shown(path);
            warning(
                "home-cleared",
                &format!("what stood at {path} in the agent's kept home was in the way and is gone"),
            )
        });
        self.log.tell(told.collect(), Durability::Soon).await?;
        Ok(())
    }

    fn kept_home(&self) -> Option<PathBuf> {
        let spec = &self.planned.sandbox;
        spec.paths.iter().find_map(|entry| match &entry.source {
            PathSource::Host(kept) if entry.path == spec.home => Some(kept.clone()),
            _ => None,
        })
    }

    /// Ends when the agent's home holds more than it may: what the daemon lets every home hold, and
    /// of what was free when the turn began no more than half.
    pub(super) async fn mind_home(&self, life: &Life) -> Trouble {
        let Some(home) = self.kept_home() else { return std::future::pending().await };
        let mut free_then = free(&home);
        let held = match self.home_within(&home, life.shared.home_limit).await {
            Ok(held) => held,
            Err(trouble) => return trouble,
        };
        let half = free_then.map_or(u64::MAX, |free| held.saturating_add(free / 2));
        let most = life.shared.home_limit.min(half);
        let mut looked = Instant::now();
        loop {
            sleep(LOOKED_AT).await;
            let now = free(&home);
            // Where nobody wrote much, nobody wrote much here.
            let quiet = now.zip(free_then).is_some_and(|(now, then)| now.saturating_add(QUIET) > then);
            if quiet && looked.elapsed() < AT_LEAST {
                continue;
            }
            let began = Instant::now();
            if let Err(trouble) = self.home_within(&home, most).await {
                return trouble;
            }
            // To look takes a small part of the time, however many files there are.
            sleep(began.elapsed() * 10).await;
            (free_then, looked) = (now, Instant::now());
        }
    }

    async fn home_within(&self, home: &Path, most: u64) -> Result<u64, Trouble> {
        let (path, identity) = (home.to_path_buf(), self.planned.sandbox.identity);
        let held =
            blocking("look at the agent's home", move || Ok(home::held(&path, identity, most)?)).await?;
        let too_much = match held {
            Held::Bytes(held) => return Ok(held),
            Held::More => format!("more than {} MiB, which is the most that it may", most >> 20),
            Held::Names => "more names, or deeper ones, than are looked through".to_owned(),
        };
        Err(Trouble::HomeFull(format!(
            "the agent's home holds {too_much}. Its sandbox was ended; what it holds is in {home:?} until `cordon rm`. \
             `cordond --home-limit` sets another limit, and half of what is free on the disk is always one"
        )))
    }

    /// Takes down the session that the program told of, for whoever goes on with it.
    pub(super) async fn keep_session(&self, life: &Life) {
        let agent = &self.planned.context.agent.id;
        let (session, used) = self.log.tally().session_of(agent);
        self.change(life, move |a| a.turn.told(session, used)).await;
    }
}
