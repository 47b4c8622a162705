//! The home and the session of an agent whose program keeps them.

use super::{
    Life,
    agent::{Agent, Trouble, warning},
    keep::blocking,
};
use crate::{home, journal::Durability};
use cordon_sandbox::PathSource;

impl Agent {
    /// Makes room in a kept home for what the sandbox puts there.
    pub(super) async fn clear_home(&self, life: &Life) -> Result<(), Trouble> {
        let spec = &self.planned.sandbox;
        let kept = spec.paths.iter().find_map(|entry| match &entry.source {
            PathSource::Host(kept) if entry.path == spec.home => Some(kept.clone()),
            _ => None,
        });
        let Some(kept) = kept else { return Ok(()) };
        let (wanted, identity) = (home::places(&self.planned), spec.identity);
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

    /// Takes down the session that the program told of, for whoever goes on with it.
    pub(super) async fn keep_session(&self, life: &Life) {
        let agent = &self.planned.context.agent.id;
        let (session, used) = self.log.tally().session_of(agent);
        self.change(life, move |a| a.turn.told(session, used)).await;
    }
}
