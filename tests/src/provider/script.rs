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
}

/// A tool call by what it does; the provider picks the tool that the client offers for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Run this with a shell.
    Shell(String),
    /// Write a file. The path is best absolute: not every client takes others.
    Write {
        /// Where.
        path: String,
        /// What.
        content: String,
    },
    /// Read a file. Some clients edit only what they have read.
    Read(String),
    /// Replace a line of a file by another.
    Edit {
        /// Which file.
        path: String,
        /// The line as it is, without its end.
        old: String,
        /// As it shall be.
        new: String,
    },
    /// A tool of an MCP server, by whatever name the client offers it.
    Mcp {
        /// The server.
        server: String,
        /// The server's name of the tool.
        tool: String,
        /// Arguments.
        arguments: serde_json::Value,
    },
    /// Exactly this tool.
    Tool {
        /// Name as the client offers it.
        name: String,
        /// Arguments.
        arguments: serde_json::Value,
    },
}

/// A way to be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// 401, as for a wrong key.
    Refuse,
    /// 404: there is no such model.
    UnknownModel,
    /// 429, for ever.
    RateLimit,
    /// 500, for ever.
    ServerError,
    /// Reads the request and never answers.
    Hang,
    /// 200, and a body that is no event stream.
    Garbage,
    /// A text of so many bytes in one event.
    Huge(usize),
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

    /// Whether the provider is broken at this turn.
    pub(super) fn failure_at(&self, index: usize) -> Option<Failure> {
        self.failure.filter(|_| index >= self.failure_from)
    }
}

impl Call {
    /// Whether a tool of this name, as a client offers it, is a server's tool.
    pub(super) fn is_mcp(offered: &str, server: &str, tool: &str) -> bool {
        let joined = |sep: &str| format!("{server}{sep}{tool}");
        let name = offered.strip_prefix("mcp_").unwrap_or(offered).trim_start_matches('_');
        ["__", "_", "-"].iter().any(|sep| name == joined(sep))
    }
}

impl Turn {
    /// The model only speaks.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), calls: Vec::new() }
    }

    /// The model runs a shell command.
    #[must_use]
    pub fn shell(command: impl Into<String>) -> Self {
        Self { text: String::new(), calls: vec![Call::Shell(command.into())] }
    }

    /// The model reads a file.
    #[must_use]
    pub fn read(path: impl Into<String>) -> Self {
        Self { text: String::new(), calls: vec![Call::Read(path.into())] }
    }

    /// The model replaces a line.
    #[must_use]
    pub fn edit(path: impl Into<String>, old: impl Into<String>, new: impl Into<String>) -> Self {
        let call = Call::Edit { path: path.into(), old: old.into(), new: new.into() };
        Self { text: String::new(), calls: vec![call] }
    }

    /// The model calls a tool of an MCP server.
    #[must_use]
    pub fn mcp(server: impl Into<String>, tool: impl Into<String>, arguments: serde_json::Value) -> Self {
        let call = Call::Mcp { server: server.into(), tool: tool.into(), arguments };
        Self { text: String::new(), calls: vec![call] }
    }

    /// The model writes a file.
    #[must_use]
    pub fn write(path: impl Into<String>, content: impl Into<String>) -> Self {
        Self { text: String::new(), calls: vec![Call::Write { path: path.into(), content: content.into() }] }
    }
}
