//! Runs with a terminal: they go on without anybody who looks, until their program ends.

use crate::{
    accept::Given,
    entry::Entry,
    error::RunError,
    life::Terminal,
    runs::{Runs, StartRequest},
};
use cordon_proto::v1;
use cordon_terminal::{Hub, NotJoined, Viewer, Wish};
use std::sync::{Arc, atomic::Ordering};

impl Runs {
    /// The terminal of a file's agent: the one that runs for this owner, file and agent, or
    /// that of a new run.
    ///
    /// # Errors
    /// As [`Runs::start`]; also when the file has several agents and none is named, or the
    /// viewer cannot be what it wishes.
    pub async fn attach_file(
        &self,
        request: StartRequest,
        wish: Wish,
        fresh: bool,
        true_colour: bool,
    ) -> Result<(v1::Run, Viewer), RunError> {
        self.ready().await;
        if !self.0.accepting.load(Ordering::Acquire) {
            return Err(RunError::ShuttingDown);
        }
        let shared = self.0.shared.clone();
        // Two that ask at once get one terminal.
        let _planning = shared.planning.write().await;
        if !fresh && let Some((entry, hub)) = self.running_terminal(&request) {
            let viewer = join(&entry.id, &hub, wish)?;
            return Ok((entry.to_proto(), viewer));
        }
        let id = uuid::Uuid::now_v7().simple().to_string();
        let terminal = Terminal::new(wish.size, true_colour);
        let viewer = join(&id, &terminal.hub, wish)?;
        let run = self.accept(request, &id, Given::Terminal(terminal)).await?;
        Ok((run, viewer))
    }

    /// The terminal of a run.
    ///
    /// # Errors
    /// When there is no such run, it has no terminal, or the viewer cannot be what it wishes.
    pub async fn attach_run(&self, caller: u32, id: &str, wish: Wish) -> Result<(v1::Run, Viewer), RunError> {
        let entry = self.find(caller, id).await?;
        let hub = entry.live().as_ref().and_then(|live| live.terminal.clone());
        let hub = hub.ok_or_else(|| RunError::NoTerminal { run: entry.id.clone() })?;
        let viewer = join(&entry.id, &hub, wish)?;
        Ok((entry.to_proto(), viewer))
    }

    fn running_terminal(&self, request: &StartRequest) -> Option<(Arc<Entry>, Arc<Hub>)> {
        let fits = |entry: &Arc<Entry>| {
            entry.with(|r| {
                let agent = |name: &String| r.agents.iter().any(|a| a.id == *name);
                r.terminal
                    && r.owner.uid() == request.owner.uid
                    && r.file_name == request.name
                    && r.directory == request.directory
                    && request.wall.is_none_or(|wall| r.agents.iter().all(|a| a.wall == wall))
                    && request.agents.iter().all(agent)
            })
        };
        let hub = |entry: Arc<Entry>| {
            let hub = entry.live().as_ref().and_then(|live| live.terminal.clone());
            hub.filter(|hub| !hub.is_over()).map(|hub| (entry, hub))
        };
        // The newest, where there are several.
        self.0.shared.all().into_iter().rev().filter(fits).find_map(hub)
    }
}

fn join(run: &str, hub: &Arc<Hub>, wish: Wish) -> Result<Viewer, RunError> {
    hub.join(wish).map_err(|why| match why {
        NotJoined::Over => RunError::NoTerminal { run: run.to_owned() },
        NotJoined::Written => RunError::TerminalTaken { run: run.to_owned() },
        NotJoined::TooMany => {
            RunError::Invalid(format!("too many look at the terminal of run {run} already"))
        }
    })
}
