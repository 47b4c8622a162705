use super::{Broken, Item};

/// What a stream tells as it comes, for whoever watches. Nothing is to be done upon it:
/// what counts is the [`Answer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// More words.
    Text(String),
    /// More thoughts.
    Reasoning(String),
    /// A call begins.
    CallBegin {
        /// Counts the calls of the answer from 0; calls may come interleaved.
        index: usize,
        /// The call's id.
        id: String,
        /// The tool.
        name: String,
    },
    /// More of the arguments of a call.
    CallArguments {
        /// Of which.
        index: usize,
        /// JSON text, cut anywhere.
        delta: String,
    },
    /// A call is written.
    CallEnd {
        /// Which.
        index: usize,
        /// Why it is none, if so.
        broken: Option<Broken>,
    },
    /// Tokens so far.
    Usage(Usage),
}

/// A complete answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// To be appended to the conversation, as they are.
    pub items: Vec<Item>,
    /// Why it ended.
    pub stop: Stop,
    /// Tokens.
    pub usage: Usage,
    /// The model that answered, as the provider names it.
    pub model: String,
    /// The provider's id of the answer.
    pub id: String,
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The model was done, or waits for the results of its calls.
    End,
    /// At the limit of tokens of an answer.
    Length,
    /// The conversation and the answer do not fit in the model's window.
    Window,
    /// The model or its provider will not say more. No call of such an answer is one.
    Refused(String),
    /// The provider wants to be asked again with what there is.
    Paused,
    /// The model tried to call a tool, and the provider could not read it.
    Malformed(String),
    /// Anything else. No call of such an answer is one.
    Other(String),
}

/// Tokens of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All that was read, from a cache or not.
    pub input: u64,
    /// Of these, read from a cache.
    pub cached: u64,
    /// Of these, written to a cache.
    pub cache_written: u64,
    /// All that was written, thoughts too.
    pub output: u64,
    /// Of these, thoughts.
    pub reasoning: u64,
    /// What the provider says that it cost, in millionths of a dollar.
    pub cost_micros: Option<u64>,
}
