use crate::{
    journal::{Durability, Journal, JournalError},
    record::{Counted, now_ms},
};
use cordon_proto::v1::{AgentSummary, Event, Outcome, UsageEvent, event::Kind};
use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// One agent's hand on the journal of its run (or the run's own, without a name).
#[derive(Clone, Debug)]
pub(crate) struct Log {
    journal: Arc<Journal>,
    agent: String,
    tally: Arc<Tally>,
}

/// What the summary counts.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    denials: AtomicU64,
    usage: std::sync::Mutex<Option<UsageEvent>>,
    /// Of each agent: the session that its program told of last, and what it used.
    sessions: std::sync::Mutex<BTreeMap<String, Session>>,
}

#[derive(Clone, Debug, Default)]
struct Session {
    id: Option<String>,
    used: Counted,
    /// What the summary says of the agent.
    row: AgentSummary,
}

impl Tally {
    /// Counts an event of the journal.
    pub(crate) fn count(&self, agent: &str, kind: &Kind) {
        match kind {
            Kind::Session(told) => self.session(agent, |s| s.id = Some(told.id.clone())),
            Kind::Denial(_) => {
                self.denials.fetch_add(1, Ordering::Relaxed);
            }
            Kind::Usage(more) => {
                self.session(agent, |s| s.used = s.used.plus(more.into()));
                let mut sum = self.usage.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                add(sum.get_or_insert_default(), more);
                drop(sum);
                self.session(agent, |s| add(s.row.usage.get_or_insert_default(), more));
            }
            Kind::TurnEnded(ended) => self.session(agent, |s| {
                s.row.turns = s.row.turns.saturating_add(1);
                s.row.wall_ms = s.row.wall_ms.saturating_add(ended.wall_ms);
                s.row.message.clear();
                if ended.outcome() != Outcome::Success {
                    s.row.message.clone_from(&ended.message);
                }
            }),
            _ => {}
        }
    }

    fn session<T>(&self, agent: &str, work: impl FnOnce(&mut Session) -> T) -> T {
        let mut sessions = self.sessions.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        work(sessions.entry(agent.to_owned()).or_default())
    }

    /// The session that an agent's program told of, and what the agent used.
    pub(crate) fn session_of(&self, agent: &str) -> (Option<String>, Counted) {
        self.session(agent, |s| (s.id.clone(), s.used))
    }

    /// What an agent used, how often and for how long it worked.
    pub(crate) fn row(&self, agent: &str) -> AgentSummary {
        self.session(agent, |s| s.row.clone())
    }

    pub(crate) fn denials(&self) -> u64 {
        self.denials.load(Ordering::Relaxed)
    }

    /// One more that the journal does not have.
    pub(crate) fn uncounted_denial(&self) {
        self.denials.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn usage(&self) -> Option<UsageEvent> {
        *self.usage.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The numbers are a backend's: as hostile as its output.
fn add(sum: &mut UsageEvent, more: &UsageEvent) {
    sum.input_tokens = sum.input_tokens.saturating_add(more.input_tokens);
    sum.cached_input_tokens = sum.cached_input_tokens.saturating_add(more.cached_input_tokens);
    sum.output_tokens = sum.output_tokens.saturating_add(more.output_tokens);
    sum.reasoning_tokens = sum.reasoning_tokens.saturating_add(more.reasoning_tokens);
    if let Some(cost) = more.cost_usd.filter(|c| c.is_finite()) {
        sum.cost_usd = Some(sum.cost_usd.unwrap_or_default() + cost);
    }
}

impl Log {
    pub(crate) fn new(journal: Arc<Journal>, agent: &str, tally: Arc<Tally>) -> Self {
        Self { journal, agent: agent.to_owned(), tally }
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Appends one batch. Blocks.
    pub(crate) fn write(&self, kinds: Vec<Kind>, durability: Durability) -> Result<(), JournalError> {
        kinds.iter().for_each(|k| self.tally.count(&self.agent, k));
        let time_unix_ms = now_ms();
        let event = |kind| Event { seq: 0, time_unix_ms, agent: self.agent.clone(), kind: Some(kind) };
        self.journal.append(kinds.into_iter().map(event).collect(), durability)
    }

    /// Appends one batch.
    pub(crate) async fn tell(&self, kinds: Vec<Kind>, durability: Durability) -> Result<(), JournalError> {
        let log = self.clone();
        tokio::task::spawn_blocking(move || log.write(kinds, durability)).await.unwrap_or_else(|e| {
            Err(JournalError::Io { step: "written", path: PathBuf::new(), source: io::Error::other(e) })
        })
    }
}
