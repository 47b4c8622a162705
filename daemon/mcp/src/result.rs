use crate::ToolDenial;
use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::Value;

/// What a tool answered.
#[derive(Clone, Debug)]
pub struct CallResult {
    pub(crate) inner: CallToolResult,
    /// Whether the sandbox's own tools answered: only they speak of denials.
    pub(crate) own: bool,
}

impl CallResult {
    /// An answer of the host's own: the tool could not be used.
    pub(crate) fn failed(text: String) -> Self {
        Self { inner: CallToolResult::error(vec![ContentBlock::text(text)]), own: false }
    }

    /// An answer in words, of a tool that no server has.
    #[must_use]
    pub fn of_text(text: String, failed: bool) -> Self {
        let blocks = vec![ContentBlock::text(text)];
        let inner = if failed { CallToolResult::error(blocks) } else { CallToolResult::success(blocks) };
        Self { inner, own: false }
    }

    /// Whether the sandbox's own tools answered.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.own
    }

    /// Whether the tool says that it failed.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.inner.is_error == Some(true)
    }

    /// The blocks of text, one after the other.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.inner.content.iter().filter_map(|block| match block {
            ContentBlock::Text(text) => Some(text.text.as_str()),
            _ => None,
        })
    }

    /// How many blocks are something else than text: pictures, sounds, resources.
    #[must_use]
    pub fn other_blocks(&self) -> usize {
        self.inner.content.iter().filter(|block| !matches!(block, ContentBlock::Text(_))).count()
    }

    /// What the tool answered for programs.
    #[must_use]
    pub fn structured(&self) -> Option<&Value> {
        self.inner.structured_content.as_ref()
    }

    /// The refusal that the sandbox's own tools tell of.
    #[must_use]
    pub fn denial(&self) -> Option<ToolDenial> {
        (self.own && self.is_error()).then(|| ToolDenial::read(self.structured()?)).flatten()
    }

    /// The whole answer, as the protocol has it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        // Strings, numbers and maps of them: nothing that JSON lacks.
        serde_json::to_value(&self.inner).unwrap_or_default()
    }
}
