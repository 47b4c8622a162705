use crate::ToolError;
use cordon_policy::Denial;
use serde_json::{Value, json};

/// One piece of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Text.
    Text(String),
    /// A picture.
    Image {
        /// Bytes.
        data: Vec<u8>,
        /// Media type.
        mime: &'static str,
    },
    /// A sound.
    Audio {
        /// Bytes.
        data: Vec<u8>,
        /// Media type.
        mime: &'static str,
    },
    /// Any other bytes, with where they are from.
    Blob {
        /// Bytes.
        data: Vec<u8>,
        /// Media type.
        mime: &'static str,
        /// Absolute path.
        path: String,
    },
}

/// What a tool answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// For the model.
    pub pieces: Vec<Piece>,
    /// The same for programs, where there is more to say than the text does.
    pub structured: Option<Value>,
    /// Whether the tool could not do what it was asked.
    pub is_error: bool,
}

impl Answer {
    /// Plain text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { pieces: vec![Piece::Text(text.into())], structured: None, is_error: false }
    }

    /// The same with a value for programs.
    #[must_use]
    pub fn with(mut self, structured: Value) -> Self {
        self.structured = Some(structured);
        self
    }

    /// All text of the answer.
    #[must_use]
    pub fn all_text(&self) -> String {
        let text = |piece: &Piece| if let Piece::Text(text) = piece { Some(text.clone()) } else { None };
        self.pieces.iter().filter_map(text).collect::<Vec<_>>().join("\n")
    }
}

impl From<ToolError> for Answer {
    fn from(error: ToolError) -> Self {
        let structured = match &error {
            ToolError::Denied(denial) => json!({ "denial": denial_value(denial) }),
            other => json!({ "error": { "reason": reason(other), "message": other.to_string() } }),
        };
        Self { pieces: vec![Piece::Text(error.to_string())], structured: Some(structured), is_error: true }
    }
}

fn reason(error: &ToolError) -> &'static str {
    match error {
        ToolError::Denied(_) => "denied",
        ToolError::Arguments(_) => "arguments",
        ToolError::NotFound(_) => "not-found",
        ToolError::Unsuitable(..) => "unsuitable",
        ToolError::Kernel { .. } => "kernel",
        ToolError::Failed(_) => "failed",
    }
}

/// A denial as programs read it; the daemon puts the same into the journal.
pub(crate) fn denial_value(denial: &Denial) -> Value {
    json!({
        "operation": denial.operation.to_string(),
        "target": denial.target,
        "rule": denial.rule,
        "origin": denial.origin.to_string(),
        "layer": denial.layer.to_string(),
        "would_allow": denial.would_allow,
    })
}
