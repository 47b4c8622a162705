//! A run from its sandboxes to its summary.

mod agent;
mod denials;
mod dialogue;
mod finish;
mod home;
mod image;
mod inside;
mod intake;
mod keep;
mod launch;
mod log;
mod offered;
mod process;
mod rebuild;
mod terminal;
mod tools;
mod turn;

pub(crate) use agent::{Agent, Recovered, Resume, finding, warning};
pub(crate) use keep::{Leaving, remove_forks};
pub(crate) use launch::{deadline, launch};
pub(crate) use log::{Log, Tally};
pub(crate) use rebuild::{Overview, Replayed, replay};
pub(crate) use terminal::Terminal;
pub(crate) use tools::Link;

use crate::{
    entry::Entry,
    error::{journal_reason, sandbox_reason},
    journal::{Durability, Journal, JournalError},
    record::{End, State, now_ms},
    shared::Shared,
};
use agent::{Ready, Trouble};
use cordon_backends::Redactor;
use cordon_proto::v1::{self, ErrorEvent, RunEnded, TurnEnded, event::Kind};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

/// Everything that a run in progress knows.
pub(crate) struct Life {
    pub(crate) entry: Arc<Entry>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) log: Log,
    pub(crate) stop: CancellationToken,
    pub(crate) shared: Arc<Shared>,
    pub(crate) prompt: String,
    /// The whole run's.
    pub(crate) deadline: Instant,
    pub(crate) run_limit: Duration,
    pub(crate) turn_limit: Option<Duration>,
    pub(crate) idle: Duration,
    pub(crate) grace: Duration,
}

/// How an agent ended, and what is to be said about it.
struct AgentEnd {
    index: usize,
    end: End,
    /// Events that are not journaled yet.
    told: Vec<Kind>,
    journal_failed: bool,
}

impl Life {
    /// Lives the run to its end. Everything that was made for it is gone afterwards.
    pub(crate) async fn live(self: Arc<Self>, agents: Vec<Arc<Agent>>) {
        let syncer = AbortOnDrop(tokio::spawn(keep_synced(self.journal.clone())));
        let ends = self.clone().agents(&agents).await;
        self.set_state(State::Stopping).await;
        self.finish(&agents, ends).await;
        drop(syncer);
    }

    /// From the sandboxes to the end of every turn.
    async fn agents(self: Arc<Self>, agents: &[Arc<Agent>]) -> Vec<AgentEnd> {
        let mut preparing = JoinSet::new();
        for agent in agents.iter().filter(|a| !a.is_over()) {
            let (life, agent) = (self.clone(), agent.clone());
            preparing.spawn(async move { (agent.index, agent.prepare(&life).await) });
        }
        let mut ready = Vec::new();
        let mut ends: Vec<AgentEnd> = agents.iter().filter_map(|a| a.over()).collect();
        while let Some(done) = preparing.join_next().await {
            match done {
                Ok((index, Ok(one))) => ready.push((index, one)),
                Ok((index, Err(trouble))) => {
                    let resumed = agents.get(index).is_some_and(|a| a.is_resumed());
                    ends.extend(agents.get(index).map(|a| self.trouble(a, trouble)));
                    if !resumed {
                        // Nobody begins where somebody cannot: nothing has run yet.
                        preparing.abort_all();
                    }
                }
                Err(_) => {}
            }
        }
        let refused =
            ends.iter().any(|e| agents.get(e.index).is_some_and(|a| !a.is_resumed() && !a.is_over()));
        if refused {
            for agent in
                agents.iter().filter(|a| !ends.iter().any(|e| e.index == a.index)).collect::<Vec<_>>()
            {
                ends.push(AgentEnd::quiet(agent.index, End::Cancelled));
            }
            return ends;
        }
        if let Some(refused) = self.show_peers(agents, &ready).await {
            ends.push(refused);
            for agent in agents {
                if !ends.iter().any(|e| e.index == agent.index) {
                    ends.push(AgentEnd::quiet(agent.index, End::Cancelled));
                }
            }
            return ends;
        }
        self.set_state(State::Running).await;
        let mut turns = JoinSet::new();
        for (index, one) in ready {
            let Some(agent) = agents.get(index).cloned() else { continue };
            let life = self.clone();
            turns.spawn(async move { life.turn(&agent, one).await });
        }
        while let Some(done) = turns.join_next().await {
            let Ok(end) = done else { continue };
            if end.journal_failed {
                // Without a journal nothing may happen any more.
                turns.abort_all();
            }
            ends.push(end);
        }
        // A task that panicked or was aborted said nothing.
        for agent in agents {
            if !ends.iter().any(|e| e.index == agent.index) {
                ends.push(AgentEnd::quiet(agent.index, End::Broken));
            }
        }
        ends
    }

    /// What everybody begins with is shown to everybody, before anybody begins.
    async fn show_peers(
        self: &Arc<Self>,
        agents: &[Arc<Agent>],
        ready: &[(usize, Ready)],
    ) -> Option<AgentEnd> {
        let mut showing = JoinSet::new();
        for agent in ready.iter().filter_map(|(index, _)| agents.get(*index)).filter(|a| !a.has_begun()) {
            let (life, agent) = (self.clone(), agent.clone());
            showing.spawn(async move { (agent.index, agent.show_peers(&life).await) });
        }
        let mut refused = None;
        while let Some(done) = showing.join_next().await {
            if let Ok((index, Err(error))) = done {
                refused = agents.get(index).map(|agent| self.trouble(agent, error.into()));
            }
        }
        refused
    }

    async fn turn(&self, agent: &Agent, ready: Ready) -> AgentEnd {
        if let Err(error) = agent.begin(self).await {
            return self.trouble(agent, error.into());
        }
        let link = agent.link.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let ended = async {
            match link {
                Some(link) => agent.serve_tools(self, ready, link).await,
                None => match &agent.terminal {
                    Some(terminal) => agent.host_terminal(self, ready, terminal).await,
                    None if agent.is_asked() && !agent.has_begun() => agent.converse(self, ready).await,
                    None => agent.turn(self, ready).await,
                },
            }
        };
        let ended = tokio::select! {
            ended = ended => ended,
            full = agent.mind_home(self) => {
                // Others may go on for long: what fills the disk does not.
                let left = finish::end_sandbox(agent, &self.shared, &self.entry).await;
                self.note(&agent.log, left.into_iter().collect()).await;
                Err(full)
            }
        };
        match ended {
            Ok((end, _)) => AgentEnd::quiet(agent.index, end),
            Err(trouble) => self.trouble(agent, trouble),
        }
    }

    fn trouble(&self, agent: &Agent, trouble: Trouble) -> AgentEnd {
        let (end, reason, message) = match &trouble {
            Trouble::Cancelled => (End::Cancelled, "cancelled", "the run was cancelled".to_owned()),
            Trouble::TimedOut => (End::TimedOut, "timed-out", self.run_limit_words()),
            Trouble::Sandbox(e) if e.is_refusal() => (End::Refused, sandbox_reason(e), e.to_string()),
            Trouble::Sandbox(e) => (End::Broken, sandbox_reason(e), e.to_string()),
            // The agent printed more than it may.
            Trouble::Journal(e @ JournalError::Limit { .. }) => {
                (End::AgentFailed, journal_reason(e), e.to_string())
            }
            Trouble::Journal(e) => (End::Broken, journal_reason(e), e.to_string()),
            Trouble::Login(e) => (End::Refused, e.reason(), e.to_string()),
            Trouble::Keep(e) => (End::Refused, e.reason(), e.to_string()),
            Trouble::Backend(message) => (End::Refused, "backend-not-ready", message.clone()),
            Trouble::Lost(message) => (End::Broken, "guest-lost", message.clone()),
            Trouble::HomeFull(message) => (End::AgentFailed, "home-full", message.clone()),
            Trouble::Client(message) => (End::AgentFailed, "mcp-client", message.clone()),
        };
        // What a guest, an engine or a system says goes through redaction as well.
        let message = Redactor::new(&agent.hidden.all()).text(&message);
        let mut told = Vec::new();
        if end != End::Cancelled {
            let error =
                ErrorEvent { reason: reason.to_owned(), message: message.clone(), fix: String::new() };
            told.push(Kind::Error(error));
        }
        let outcome = v1::Outcome::from(end).into();
        told.push(Kind::TurnEnded(TurnEnded {
            turn: agent.turn.number,
            outcome,
            message,
            exit_code: None,
            wall_ms: 0,
        }));
        AgentEnd { index: agent.index, end, told, journal_failed: matches!(trouble, Trouble::Journal(_)) }
    }

    pub(crate) fn run_limit_words(&self) -> String {
        format!("the run took longer than {} s", self.run_limit.as_secs())
    }

    async fn set_state(&self, state: State) {
        let entry = self.entry.clone();
        let kept = tokio::task::spawn_blocking(move || {
            entry.update(false, |r| {
                r.state = state;
                r.agents.iter_mut().filter(|a| a.end.is_none()).for_each(|a| a.state = state);
            })
        });
        if let Ok(Err(error)) = kept.await {
            tracing::warn!(run = self.entry.id, %error, "the run's record was not kept");
        }
    }

    async fn finish(&self, agents: &[Arc<Agent>], ends: Vec<AgentEnd>) {
        let cancelled = self.stop.is_cancelled();
        let mut worst = End::Success;
        for end in ends {
            worst = worst.max(end.end);
            if let Some(agent) = agents.get(end.index) {
                self.note(&agent.log, end.told).await;
                agent.set_end(self, end.end).await;
                agent.keep_session(self).await;
            }
        }
        if cancelled && worst < End::Refused {
            worst = End::Cancelled;
        }
        let mut leaving = JoinSet::new();
        for agent in agents {
            let (agent, shared, entry) = (agent.clone(), self.shared.clone(), self.entry.clone());
            leaving.spawn(async move { (agent.index, finish::end_sandbox(&agent, &shared, &entry).await) });
        }
        let mut gone = BTreeSet::new();
        while let Some(done) = leaving.join_next().await {
            let Ok((index, told)) = done else { continue };
            if told.is_none() {
                gone.insert(index);
            }
            if let (Some(agent), Some(told)) = (agents.get(index), told) {
                self.note(&agent.log, vec![told]).await;
            }
        }
        if gone.len() == agents.len() {
            finish::clear_placeholders(&self.shared, &self.entry).await;
            finish::clear_views(&self.shared, &self.entry).await;
        }
        for agent in agents.iter().filter(|a| gone.contains(&a.index)) {
            let told = finish::leave_home(agent, self).await;
            self.note(&agent.log, told.into_iter().collect()).await;
        }
        let (mut files, mut omitted) = (Vec::new(), 0);
        let mut rows = Vec::with_capacity(agents.len());
        for agent in agents {
            if !agent.keep_turn(self, gone.contains(&agent.index)).await {
                agent.set_end(self, End::Broken).await;
                worst = worst.max(End::Broken);
            }
            let left = finish::changed_files(agent, self).await;
            self.note(&agent.log, left.told).await;
            rows.push(finish::row(agent, self, left.files.len() as u64 + left.omitted));
            files.extend(left.files);
            omitted += left.omitted;
        }
        let started = self.entry.with(|r| r.started_ms);
        let mut summary = finish::summary(files, omitted, self.log.tally(), started);
        summary.agents = rows;
        let ended = RunEnded { outcome: v1::Outcome::from(worst).into(), summary: Some(summary) };
        self.note(&self.log, vec![Kind::RunEnded(ended)]).await;
        self.close(worst).await;
    }

    /// Tells the end of a run, for which room is kept on a full disk.
    async fn note(&self, log: &Log, kinds: Vec<Kind>) {
        if let Err(error) = log.tell(kinds, Durability::Closing).await {
            tracing::error!(run = self.entry.id, %error, "the end of the run is not in its journal");
        }
    }

    async fn close(&self, end: End) {
        let (entry, journal) = (self.entry.clone(), self.journal.clone());
        let closed = tokio::task::spawn_blocking(move || close(&entry, &journal, end, now_ms()));
        if closed.await.is_err() {
            tracing::error!(run = self.entry.id, "the run could not be closed");
        }
    }
}

/// The record's end, the secrets', and the readers'. Blocks.
pub(crate) fn close(entry: &Entry, journal: &Journal, end: End, at_ms: i64) {
    let events = journal.committed().next_seq;
    let kept = entry.update(true, |r| {
        r.state = State::Ended;
        r.end = Some(end);
        r.ended_ms = at_ms;
        r.journal_events = events;
        for agent in &mut r.agents {
            agent.state = State::Ended;
            agent.end.get_or_insert(end);
        }
    });
    let forgotten = entry.directory.forget_secrets();
    for error in [kept.err(), forgotten.err()].into_iter().flatten() {
        tracing::error!(run = entry.id, %error, "the end of the run was not kept");
    }
    *entry.live() = None;
    journal.close();
    tracing::info!(run = entry.id, outcome = ?end, "run ended");
}

impl AgentEnd {
    fn quiet(index: usize, end: End) -> Self {
        Self { index, end, told: Vec::new(), journal_failed: false }
    }
}

impl Agent {
    fn over(&self) -> Option<AgentEnd> {
        match &self.resume {
            Some(Resume::Over(end)) => Some(AgentEnd::quiet(self.index, *end)),
            Some(Resume::Lost(why)) => Some(AgentEnd {
                index: self.index,
                end: End::Broken,
                told: vec![
                    Kind::Error(ErrorEvent {
                        reason: "not-recovered".to_owned(),
                        message: why.clone(),
                        fix: String::new(),
                    }),
                    Kind::TurnEnded(TurnEnded {
                        turn: self.turn.number,
                        outcome: v1::Outcome::Broken.into(),
                        message: why.clone(),
                        exit_code: None,
                        wall_ms: 0,
                    }),
                ],
                journal_failed: false,
            }),
            _ => None,
        }
    }
}

/// Puts what was appended on the disk about once a second, and never when idle.
async fn keep_synced(journal: Arc<Journal>) {
    let mut changes = journal.watch();
    while changes.changed().await.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        changes.mark_unchanged();
        let journal = journal.clone();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || journal.sync()).await {
            tracing::warn!(%error, "a journal is not on the disk");
        }
    }
}

/// Ends a task with its owner.
pub(crate) struct AbortOnDrop<T>(pub(crate) tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests;
