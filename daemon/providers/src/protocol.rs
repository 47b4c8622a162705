use serde::{Deserialize, Serialize};
use std::fmt;

/// A wire protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// `OpenAI`'s Responses.
    Responses,
    /// Chat completions, `OpenAI`'s and everybody's.
    Chat,
    /// Anthropic's Messages.
    Messages,
    /// Gemini's generateContent.
    Generate,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Responses => "Responses",
            Self::Chat => "chat completions",
            Self::Messages => "Messages",
            Self::Generate => "generateContent",
        })
    }
}
