//! What is kept of a run beside its journal: `run.json`. It holds no secret.

use crate::{
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
}

impl RunRecord {
    pub(crate) const VERSION: u32 = 1;

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
    fn the_worst_end_counts() {
        let ends = [End::Success, End::AgentFailed, End::Cancelled];
        assert_eq!(ends.iter().max(), Some(&End::AgentFailed));
        assert!(End::Broken > End::Refused && End::Refused > End::TimedOut);
    }
}
