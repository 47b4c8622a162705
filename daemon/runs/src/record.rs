//! What is kept of a run beside its journal: `run.json`. It holds no secret.

use crate::{
    home::Places,
    keep::{Applied, TreeRecord},
    plan::Owner,
};
use cordon_proto::v1;
use cordon_sandbox::{Identity, SandboxRecord, WallKind};
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// How many idempotency keys of later mutations a run remembers.
const KEYS: usize = 16;

/// Where a run or an agent of it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Starting,
    Running,
    Stopping,
    Ended,
}

/// How it ended, worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum End {
    Success,
    Cancelled,
    AgentFailed,
    TimedOut,
    Refused,
    Broken,
}

impl From<State> for v1::RunState {
    fn from(state: State) -> Self {
        match state {
            State::Starting => Self::Starting,
            State::Running => Self::Running,
            State::Stopping => Self::Stopping,
            State::Ended => Self::Ended,
        }
    }
}

impl From<End> for v1::Outcome {
    fn from(end: End) -> Self {
        match end {
            End::Success => Self::Success,
            End::AgentFailed => Self::AgentFailed,
            End::Refused => Self::Refused,
            End::Cancelled => Self::Cancelled,
            End::TimedOut => Self::TimedOut,
            End::Broken => Self::Broken,
        }
    }
}

impl From<v1::Outcome> for End {
    /// What a backend must not say, or does not know, is its failure.
    fn from(outcome: v1::Outcome) -> Self {
        match outcome {
            v1::Outcome::Success => Self::Success,
            v1::Outcome::AgentFailed | v1::Outcome::Unspecified => Self::AgentFailed,
            v1::Outcome::Refused => Self::Refused,
            v1::Outcome::Cancelled => Self::Cancelled,
            v1::Outcome::TimedOut => Self::TimedOut,
            v1::Outcome::Broken => Self::Broken,
        }
    }
}

/// One agent of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AgentRecord {
    pub(crate) id: String,
    pub(crate) backend: String,
    pub(crate) wall: WallKind,
    pub(crate) workspace: PathBuf,
    pub(crate) workspace_made: bool,
    pub(crate) sandbox_id: String,
    /// Set before anything of the sandbox exists, taken away when nothing does.
    pub(crate) sandbox: Option<SandboxRecord>,
    pub(crate) state: State,
    pub(crate) end: Option<End>,
    pub(crate) placeholders: Vec<PathBuf>,
    pub(crate) watched: Vec<PathBuf>,
    /// Who works in its trees.
    #[serde(default)]
    pub(crate) identity: Option<Identity>,
    /// What snapshots are taken of, the workspace first.
    #[serde(default)]
    pub(crate) trees: Vec<TreeRecord>,
    /// The snapshot that its workspace began with, where the person chose one.
    #[serde(default)]
    pub(crate) from_snapshot: Option<String>,
    /// Something of the agent may have run.
    #[serde(default)]
    pub(crate) begun: bool,
    /// Which turn of its line this is, and in which session.
    #[serde(default)]
    pub(crate) turn: TurnRecord,
    /// What was put into the home that it keeps; none: the home went with the sandbox.
    #[serde(default)]
    pub(crate) home: Option<Places>,
}

/// A turn among those that go on one from another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct TurnRecord {
    /// Counts from 1.
    pub(crate) number: u32,
    /// The program's session that it goes on with.
    pub(crate) given: Option<String>,
    /// A name for a session that begins with it.
    pub(crate) fresh: String,
    /// What was told of the session given before.
    pub(crate) counted: Counted,
    /// The program's session at its end, and all that was told of it.
    pub(crate) session: Option<String>,
    pub(crate) total: Counted,
}

impl Default for TurnRecord {
    fn default() -> Self {
        let (number, fresh) = (1, uuid::Uuid::new_v4().to_string());
        let counted = Counted::default();
        Self { number, given: None, fresh, counted, session: None, total: counted }
    }
}

impl TurnRecord {
    /// The one after this one, which may have begun.
    pub(crate) fn next(&self, begun: bool) -> Self {
        let number = self.number.saturating_add(u32::from(begun));
        let (given, counted) = match &self.session {
            Some(_) => (self.session.clone(), self.total),
            None => (self.given.clone(), self.counted),
        };
        Self { number, given, counted, ..Self::default() }
    }

    /// Takes down what the turn told of itself.
    pub(crate) fn told(&mut self, session: Option<String>, usage: Counted) {
        let Some(session) = session else { return };
        self.total = match self.given.as_ref() == Some(&session) {
            true => self.counted.plus(usage),
            false => usage,
        };
        self.session = Some(session);
    }
}

/// Tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counted {
    input: u64,
    cached: u64,
    output: u64,
    reasoning: u64,
}

impl Counted {
    pub(crate) fn plus(self, more: Self) -> Self {
        Self {
            input: self.input.saturating_add(more.input),
            cached: self.cached.saturating_add(more.cached),
            output: self.output.saturating_add(more.output),
            reasoning: self.reasoning.saturating_add(more.reasoning),
        }
    }
}

impl From<&v1::UsageEvent> for Counted {
    fn from(usage: &v1::UsageEvent) -> Self {
        Self {
            input: usage.input_tokens,
            cached: usage.cached_input_tokens,
            output: usage.output_tokens,
            reasoning: usage.reasoning_tokens,
        }
    }
}

impl From<Counted> for v1::UsageEvent {
    fn from(counted: Counted) -> Self {
        Self {
            input_tokens: counted.input,
            cached_input_tokens: counted.cached,
            output_tokens: counted.output,
            reasoning_tokens: counted.reasoning,
            cost_usd: None,
        }
    }
}

/// The owner, as kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OwnerRecord {
    uid: u32,
    gid: u32,
    home: PathBuf,
}

impl From<&Owner> for OwnerRecord {
    fn from(owner: &Owner) -> Self {
        Self { uid: owner.uid, gid: owner.gid, home: owner.home.clone() }
    }
}

impl OwnerRecord {
    pub(crate) fn uid(&self) -> u32 {
        self.uid
    }

    pub(crate) fn to_owner(&self) -> Owner {
        Owner { uid: self.uid, gid: self.gid, home: self.home.clone() }
    }
}

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunRecord {
    /// Of this format.
    pub(crate) version: u32,
    pub(crate) id: String,
    pub(crate) state: State,
    pub(crate) end: Option<End>,
    pub(crate) started_ms: i64,
    pub(crate) ended_ms: i64,
    pub(crate) file_name: String,
    pub(crate) directory: PathBuf,
    pub(crate) title: String,
    pub(crate) owner: OwnerRecord,
    pub(crate) agents: Vec<AgentRecord>,
    /// As the client asked for it.
    pub(crate) wall: Option<WallKind>,
    /// Of the request, without its secrets.
    pub(crate) fingerprint: String,
    pub(crate) start_key: String,
    /// Of later mutations, oldest first.
    pub(crate) keys: Vec<String>,
    pub(crate) journal_events: u64,
    /// It serves tools to a client, and ends with the client's stream.
    #[serde(default)]
    pub(crate) tools: bool,
    /// Its agent's program has a terminal, for a person.
    #[serde(default)]
    pub(crate) terminal: bool,
    /// Where its snapshots are, when that is not the daemon's own store.
    #[serde(default)]
    pub(crate) storage: Option<PathBuf>,
    /// Every agent of the file, in its order.
    #[serde(default)]
    pub(crate) file_agents: Vec<String>,
    /// Its agents see what the agents of the file left last.
    #[serde(default)]
    pub(crate) show_peers: bool,
    /// What the agent file says of drift, in the word that an apply takes; none: nothing.
    #[serde(default)]
    pub(crate) drift: Option<String>,
    /// Applies that were done, oldest first.
    #[serde(default)]
    pub(crate) applied: Vec<Applied>,
    /// The run that this one goes on with, and the one that goes on with it.
    #[serde(default)]
    pub(crate) resumes: Option<String>,
    #[serde(default)]
    pub(crate) resumed_by: Option<String>,
    /// The first run of its line; empty: itself.
    #[serde(default)]
    pub(crate) line: String,
}

impl RunRecord {
    pub(crate) const VERSION: u32 = 1;

    /// The first of the runs that go on one from another.
    pub(crate) fn line(&self) -> &str {
        if self.line.is_empty() { &self.id } else { &self.line }
    }

    /// Makes it one that goes on with another.
    pub(crate) fn follow(&mut self, earlier: &Self) {
        self.resumes = Some(earlier.id.clone());
        self.line = earlier.line().to_owned();
    }

    /// The agent file itself, wherever its name was typed.
    pub(crate) fn file_path(&self) -> PathBuf {
        self.directory.join(Path::new(&self.file_name).file_name().unwrap_or_default())
    }

    /// Whether a mutation with this key was done before; remembers it otherwise.
    pub(crate) fn seen(&mut self, key: &str) -> bool {
        if key.is_empty() {
            return false;
        }
        if self.keys.iter().any(|k| k == key) {
            return true;
        }
        if self.keys.len() >= KEYS {
            self.keys.remove(0);
        }
        self.keys.push(key.to_owned());
        false
    }

    pub(crate) fn to_proto(&self) -> v1::Run {
        v1::Run {
            id: self.id.clone(),
            state: v1::RunState::from(self.state).into(),
            outcome: outcome(self.end).into(),
            started_unix_ms: self.started_ms,
            ended_unix_ms: self.ended_ms,
            agent_file_name: self.file_name.clone(),
            title: self.title.clone(),
            owner_uid: self.owner.uid,
            agents: self.agents.iter().map(agent_to_proto).collect(),
            journal_events: self.journal_events,
            resumes: self.resumes.clone().unwrap_or_default(),
        }
    }
}

fn agent_to_proto(agent: &AgentRecord) -> v1::RunAgent {
    v1::RunAgent {
        id: agent.id.clone(),
        backend: agent.backend.clone(),
        wall: agent.wall.to_string(),
        workspace: agent.workspace.to_string_lossy().into_owned(),
        sandbox_id: agent.sandbox_id.clone(),
        state: v1::RunState::from(agent.state).into(),
        outcome: outcome(agent.end).into(),
    }
}

pub(crate) fn outcome(end: Option<End>) -> v1::Outcome {
    end.map_or(v1::Outcome::Unspecified, Into::into)
}

/// The first line of a prompt, at most 200 characters.
pub(crate) fn title(prompt: &str) -> String {
    prompt.trim_start().lines().next().unwrap_or_default().chars().take(200).collect()
}

/// Now, as journals count.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_one_short_line() {
        assert_eq!(title("\n  fix it\nplease"), "fix it");
        assert_eq!(title(&"ä".repeat(300)).chars().count(), 200);
        assert_eq!(title(""), "");
    }

    #[test]
    fn a_turn_goes_on_with_the_last_session_that_was_told() {
        let used = |input| Counted { input, ..Counted::default() };
        let first = TurnRecord::default();
        assert_eq!((first.number, first.given.as_deref()), (1, None));
        // It never began: the same turn again.
        assert_eq!(first.next(false).number, 1);
        let mut second = first.next(true);
        second.told(Some("a".to_owned()), used(200));
        let mut third = second.next(true);
        assert_eq!((third.number, third.given.as_deref(), third.counted), (3, Some("a"), used(200)));
        assert_ne!(third.fresh, second.fresh);
        // It ended before the program said anything: the session is what it was.
        assert_eq!(third.next(true).given.as_deref(), Some("a"));
        assert_eq!(third.next(true).counted, used(200));
        third.told(Some("a".to_owned()), used(100));
        assert_eq!(third.next(true).counted, used(300));
        third.told(Some("b".to_owned()), used(7));
        assert_eq!(third.next(true).counted, used(7), "another session counts anew");
    }

    #[test]
    fn the_worst_end_counts() {
        let ends = [End::Success, End::AgentFailed, End::Cancelled];
        assert_eq!(ends.iter().max(), Some(&End::AgentFailed));
        assert!(End::Broken > End::Refused && End::Refused > End::TimedOut);
    }
}
