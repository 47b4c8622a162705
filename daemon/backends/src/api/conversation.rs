//! A conversation as no protocol in particular has it.

use super::{Protocol, Written};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a model is told, and what it said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// What the model is to be; may be empty.
    pub system: String,
    /// Oldest first.
    pub items: Vec<Item>,
}

/// One thing that was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// A person, or the loop on a person's behalf.
    User(Vec<Part>),
    /// The model, to be read.
    Text(Text),
    /// The model, thinking.
    Reasoning(Reasoning),
    /// The model asks for a tool.
    Call(Call),
    /// What a call came to.
    Result(CallResult),
    /// Something that only its provider understands, such as a search of its own.
    Kept(Opaque),
}

/// A piece of what a person says, or of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Words.
    Text(String),
    /// A picture, a sound, a document.
    Media {
        /// Such as `image/png`.
        mime: String,
        /// Base64.
        data: String,
    },
}

/// Words of the model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// The words.
    pub text: String,
    /// What belongs to them and has to go back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opaque: Option<Opaque>,
}

/// Thoughts of the model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reasoning {
    /// What may be read of them.
    pub text: String,
    /// The signature or the encrypted content, in what it came in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opaque: Option<Opaque>,
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Differs between all calls of an answer, and between answers when the loop counts them.
    pub id: String,
    /// The tool; nobody has checked yet that there is one.
    pub name: String,
    /// For the tool.
    pub arguments: Written,
    /// What belongs to the call and has to go back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opaque: Option<Opaque>,
}

/// What a call came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallResult {
    /// Of the call.
    pub id: String,
    /// Of the tool: one protocol wants it again.
    pub name: String,
    /// What the model gets to see.
    pub parts: Vec<Part>,
    /// Whether it failed or was refused.
    pub failed: bool,
}

/// Where an answer came from: what is sealed for one model opens for no other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// How it was asked.
    pub protocol: Protocol,
    /// The provider's name.
    pub provider: String,
    /// The model that was asked for.
    pub model: String,
}

/// JSON of a provider, sent back to it as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opaque {
    /// Whose.
    pub origin: Origin,
    /// What.
    pub json: Value,
}

impl Opaque {
    /// What it is, for the one that it came from.
    pub(super) fn of<'a>(opaque: Option<&'a Self>, to: &Origin) -> Option<&'a Value> {
        opaque.filter(|o| o.origin == *to).map(|o| &o.json)
    }
}

/// A tool that a model may call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Letters, digits, `_` and `-`, at most 64: what all protocols take.
    pub name: String,
    /// For the model.
    pub description: String,
    /// JSON schema of an object.
    pub parameters: Value,
}
