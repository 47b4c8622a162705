/// Why there is no host for an agent.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The sandbox's own tools.
    #[error("the sandbox's own tools are not there: {0}")]
    Guest(#[source] ServerError),
    /// The interpreter of custom tools.
    #[error(
        "custom_tools need Python, and {python} inside the sandbox: {source}. Install python3 there \
         (docker: command_line_docker_packages), or name an interpreter with custom_tools_python"
    )]
    NoInterpreter {
        /// As in the agent file, or the one that is looked for.
        python: String,
        /// What happened.
        source: ServerError,
    },
    /// A custom tool.
    #[error("custom_tools cannot be used: {0}. Repair the tool, or take it out of the agent file")]
    CustomTools(String),
}

/// What is wrong with one server. Words of a server in it are cut and escaped.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ServerError {
    /// It could not be started or reached.
    #[error("it could not be started: {0}")]
    Start(String),
    /// Its address is one that must not be reached.
    #[error("{host} is refused: {why}")]
    Refused {
        /// As in the agent file.
        host: String,
        /// Which address it leads to, in words.
        why: String,
    },
    /// It did not answer in time.
    #[error("it did not answer within {seconds} s")]
    Silent {
        /// How long it was waited for.
        seconds: u64,
    },
    /// It does not speak the protocol.
    #[error("it does not speak MCP: {0}")]
    Protocol(String),
    /// It was there and is gone.
    #[error("it ended: {0}")]
    Ended(String),
}

/// Why a call was not made.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No tool has this name, or a filter leaves it out.
    #[error("there is no tool {0:?}")]
    UnknownTool(String),
    /// The arguments are larger or deeper than any tool takes.
    #[error("the arguments are not taken: {0}")]
    Arguments(String),
    /// Calls under way hold as much already as may be held for one agent.
    #[error("the calls under way are large; wait for some of them")]
    Busy,
    /// What is not recorded is not done.
    #[error(transparent)]
    Unrecorded(#[from] ObserverFailed),
}

/// The observer could not take note of a call.
#[derive(Debug, thiserror::Error)]
#[error("the call could not be recorded: {0}")]
pub struct ObserverFailed(pub String);

/// Words of somebody hostile, for a message: without control characters, and not many.
pub(crate) fn words(text: &str) -> String {
    const MOST: usize = 400;
    let mut shown: String = text.trim().chars().take(MOST).flat_map(escape).collect();
    if text.trim().chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

fn escape(c: char) -> impl Iterator<Item = char> {
    let (plain, escaped) = match c {
        '\n' | '\t' => (Some(' '), None),
        c if c.is_control() => (None, Some(c.escape_default())),
        c => (Some(c), None),
    };
    plain.into_iter().chain(escaped.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_harmless_and_few() {
        assert_eq!(words(" a\nb\u{1b}[2J "), "a b\\u{1b}[2J");
        assert!(words(&"x".repeat(5000)).len() < 500);
    }
}
