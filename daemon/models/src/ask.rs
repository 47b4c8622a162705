use async_trait::async_trait;
use cordon_backends::api::{Answer, ApiError, Choice, Conversation, Event, GiveUp, RequestError, Tool};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What a model is asked.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// All that was said.
    pub conversation: &'a Conversation,
    /// What it may call.
    pub tools: &'a [Tool],
    /// Whether it may.
    pub choice: Choice,
    /// Counts the answers of the conversation.
    pub serial: u64,
    /// When nobody waits any more.
    pub deadline: Option<Instant>,
    /// When nobody wants to know any more.
    pub cancel: &'a CancellationToken,
}

/// What is told while an answer comes. Nothing is to be done upon it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A piece of the answer.
    Event(Event),
    /// What was told of the answer so far is void: it is asked for again.
    Again {
        /// Why it failed.
        why: String,
        /// After how long.
        wait: Duration,
        /// Which attempt comes; the first is 1.
        attempt: u32,
    },
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It cannot be asked.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// It was asked, and failed.
    #[error("{error}{}", in_words(*.gave_up))]
    Failed {
        /// What failed last.
        error: ApiError,
        /// Why it is not asked again.
        gave_up: GiveUp,
    },
    /// Its server cannot be reached, or must not be.
    #[error("{host} cannot be reached: {why}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// Why not.
        why: String,
    },
    /// Nothing can be asked from here.
    #[error("TLS cannot be set up: no certificates of authorities can be read; install ca-certificates")]
    Setup,
    /// Nobody wants to know any more.
    #[error("cancelled")]
    Cancelled,
    /// The deadline passed.
    #[error("the model did not answer in time")]
    TimedOut,
}

fn in_words(why: GiveUp) -> String {
    if why == GiveUp::Hopeless { String::new() } else { format!(" ({why})") }
}

/// A model that can be asked.
#[async_trait]
pub trait Asks: Send + Sync {
    /// Asks, and tells what comes.
    ///
    /// # Errors
    /// When there is no complete answer; nothing of an incomplete one is to be used.
    async fn ask(&self, ask: Ask<'_>, tell: &mut (dyn FnMut(Told) + Send)) -> Result<Answer, AskError>;

    /// Whether it can be shown media of this type, as far as is known.
    fn takes(&self, mime: &str) -> bool {
        let _ = mime;
        true
    }

    /// Tokens that fit, read and written; none: nobody knows.
    fn window(&self) -> Option<u64>;

    /// What an answer cost, in millionths of a dollar; none: nobody knows.
    fn cost(&self, usage: &cordon_backends::api::Usage) -> Option<u64>;
}
