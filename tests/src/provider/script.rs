use super::{Call, Failure, Making};
use serde::{Deserialize, Serialize};

/// What the provider plays, whoever asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// The turns after a user's message, in order. After the last one: [`Script::END`].
    #[serde(default)]
    pub turns: Vec<Turn>,
    /// Other turns for conversations whose last user message has a text in it; the
    /// first that fits is played. So one provider serves many agents.
    #[serde(default)]
    pub when: Vec<When>,
    /// Plays a broken provider instead.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// The failure starts at this turn; those before are played. Counts from 0.
    #[serde(default)]
    pub failure_from: usize,
    /// How answers come over the wire.
    #[serde(default)]
    pub shape: Shape,
    /// Refuses what the real services refuse in a conversation, such as a call without its result.
    #[serde(default)]
    pub strict: bool,
    /// Requests without tools are no asides: they are played as well.
    #[serde(default)]
    pub without_tools: bool,
    /// How pictures and sounds are made.
    #[serde(default)]
    pub making: Making,
}

/// How answers come over the wire. By default each text is one event, and all of them one piece.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shape {
    /// Texts, thoughts and arguments come in events of so many characters.
    pub delta: usize,
    /// The pieces of calls that are made together come in turns.
    pub interleave: bool,
    /// The body comes in pieces of so many bytes, wherever they end.
    pub chunk: usize,
    /// Milliseconds between two pieces.
    pub pause_ms: u64,
}

/// Turns for some conversations only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// Text that the last user message has in it.
    pub contains: String,
    /// The turns.
    pub turns: Vec<Turn>,
}

/// One answer of the model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// What it says. An answer without calls ends the agent's turn.
    #[serde(default)]
    pub text: String,
    /// What it asks for, all at once.
    #[serde(default)]
    pub calls: Vec<Call>,
    /// What it thinks before. It is sealed, and in the same task the seal has to come back with the calls.
    #[serde(default)]
    pub thoughts: String,
    /// Nobody may read the thoughts: only the seal comes.
    #[serde(default)]
    pub redacted: bool,
    /// Why it ends, if not because the model is done or waits for the results of its calls.
    #[serde(default)]
    pub stop: Option<Stop>,
    /// Tokens.
    #[serde(default)]
    pub usage: Usage,
    /// This instead of the answer.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// After failing so often it answers; 0: never.
    #[serde(default)]
    pub fails: usize,
}

/// Why an answer ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// At its limit of tokens: the last call is cut off in the middle.
    Length,
    /// The model or a filter does not want to.
    Refusal,
    /// To be asked again with what there is. Only one protocol has a word for it.
    Paused,
}

/// Tokens of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Usage {
    /// Read, as the protocol counts.
    pub input: u64,
    /// Read from a cache.
    pub cached: u64,
    /// Written, thoughts too.
    pub output: u64,
    /// Of these, thoughts.
    pub reasoning: u64,
}

impl Default for Usage {
    fn default() -> Self {
        Self { input: 100, cached: 20, output: 10, reasoning: 0 }
    }
}

impl Script {
    /// What is said when the turns are used up.
    pub const END: &str = "All done.";
    /// The answer to requests without tools: titles and the like.
    pub const ASIDE: &str = "Scripted title";

    /// A script of plain turns.
    #[must_use]
    pub fn of(turns: impl IntoIterator<Item = Turn>) -> Self {
        Self { turns: turns.into_iter().collect(), ..Self::default() }
    }

    /// A provider that fails from its first answer on.
    #[must_use]
    pub fn failing(failure: Failure) -> Self {
        Self { failure: Some(failure), ..Self::default() }
    }

    /// The turn at a place in a conversation.
    pub(super) fn turn(&self, prompt: &str, index: usize) -> Turn {
        let turns = self.when.iter().find(|w| prompt.contains(&w.contains)).map_or(&self.turns, |w| &w.turns);
        turns.get(index).cloned().unwrap_or_else(|| Turn::text(Self::END))
    }

    /// Every turn there is.
    pub(super) fn all(&self) -> impl Iterator<Item = &Turn> {
        self.turns.iter().chain(self.when.iter().flat_map(|w| &w.turns))
    }

    /// Whether the provider is broken at this turn.
    pub(super) fn failure_at(&self, index: usize) -> Option<Failure> {
        self.failure.filter(|_| index >= self.failure_from)
    }
}

impl Turn {
    /// The model only speaks.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// The model runs a shell command.
    #[must_use]
    pub fn shell(command: impl Into<String>) -> Self {
        Self { calls: vec![Call::Shell(command.into())], ..Self::default() }
    }

    /// The model reads a file.
    #[must_use]
    pub fn read(path: impl Into<String>) -> Self {
        Self { calls: vec![Call::Read(path.into())], ..Self::default() }
    }

    /// The model replaces a line.
    #[must_use]
    pub fn edit(path: impl Into<String>, old: impl Into<String>, new: impl Into<String>) -> Self {
        let call = Call::Edit { path: path.into(), old: old.into(), new: new.into() };
        Self { calls: vec![call], ..Self::default() }
    }

    /// The model calls a tool of an MCP server.
    #[must_use]
    pub fn mcp(server: impl Into<String>, tool: impl Into<String>, arguments: serde_json::Value) -> Self {
        let call = Call::Mcp { server: server.into(), tool: tool.into(), arguments };
        Self { calls: vec![call], ..Self::default() }
    }

    /// The model writes a file.
    #[must_use]
    pub fn write(path: impl Into<String>, content: impl Into<String>) -> Self {
        Self { calls: vec![Call::Write { path: path.into(), content: content.into() }], ..Self::default() }
    }

    /// The model asks for several things at once.
    #[must_use]
    pub fn calls(calls: impl IntoIterator<Item = Call>) -> Self {
        Self { calls: calls.into_iter().collect(), ..Self::default() }
    }

    /// The same with thoughts before it.
    #[must_use]
    pub fn thinking(self, thoughts: impl Into<String>) -> Self {
        Self { thoughts: thoughts.into(), ..self }
    }

    /// The same, but the first `times` it is asked for the provider fails; 0: always.
    #[must_use]
    pub fn failing(self, failure: Failure, times: usize) -> Self {
        Self { failure: Some(failure), fails: times, ..self }
    }
}

impl Shape {
    /// A text as it comes, in order.
    pub(super) fn pieces(&self, text: &str) -> Vec<String> {
        if self.delta == 0 || text.is_empty() {
            return vec![text.to_owned()];
        }
        let letters: Vec<char> = text.chars().collect();
        letters.chunks(self.delta).map(|piece| piece.iter().collect()).collect()
    }

    /// Several things that come at once: one after the other, or a piece of each in turns.
    pub(super) fn woven<T>(&self, threads: Vec<Vec<T>>) -> Vec<T> {
        if !self.interleave {
            return threads.into_iter().flatten().collect();
        }
        let mut threads: Vec<_> = threads.into_iter().map(Vec::into_iter).collect();
        let mut woven = Vec::new();
        while threads.iter().any(|t| t.len() > 0) {
            woven.extend(threads.iter_mut().filter_map(Iterator::next));
        }
        woven
    }
}
