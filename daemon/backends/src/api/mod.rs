//! How model APIs are spoken to: requests are built and streams are read here, as pure
//! code. One file a protocol; what differs by provider is data. Nothing here opens a
//! socket, waits or reads a clock, so that all of it can be tested byte by byte.
//!
//! What comes back is hostile: it is bounded, and a tool call is handed over only when
//! the answer it belongs to is complete and its arguments are one whole JSON object.

mod agent;
mod answer;
mod arguments;
mod assembly;
mod chat;
mod conversation;
mod failure;
mod generate;
#[cfg(test)]
mod hostile_tests;
mod limits;
mod making;
mod media;
mod messages;
mod node;
mod request;
mod responses;
mod retry;
mod settings;
mod sse;
mod stream;
#[cfg(test)]
mod testing;
mod value;

pub use agent::{ModelApi, Target, provider_of, target, target_of};
pub use answer::{Answer, Event, Stop, Usage};
pub use arguments::{Arguments, Broken, Written};
pub use conversation::{Call, CallResult, Conversation, Item, Opaque, Origin, Part, Reasoning, Text, Tool};
pub use cordon_providers::{
    Auth, ChatDialect, Effort, PROVIDERS, Protocol, Provider, Replay, Setting, Summary, Thinking, Verbosity,
    provider, provider_of_host,
};
pub use failure::{ApiError, Failure, FailureKind};
pub use limits::Limits;
pub use making::{LONGEST_PROMPT, Made, MadeReader, Order, making_request};
pub use media::takes_media;
pub use request::{AZURE_VERSION, Endpoint, Request, RequestError, SecretHeader, request, secret_header};
pub use retry::{Decision, GiveUp, RetryPolicy, Tried};
pub use settings::{BuiltIn, Choice, Settings};
pub use stream::Stream;
