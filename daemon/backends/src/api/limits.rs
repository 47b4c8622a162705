/// What an answer may cost. Beyond any of these it is refused as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the stream, whatever is in them.
    pub stream: u64,
    /// Bytes of one event.
    pub event: usize,
    /// Values in the JSON of one event.
    pub values: usize,
    /// Bytes of text, reasoning, arguments and opaque state that an answer keeps.
    pub kept: usize,
    /// Parts of an answer: texts, reasoning, calls.
    pub items: usize,
    /// Tool calls of an answer.
    pub calls: usize,
    /// Bytes of the arguments of one call.
    pub arguments: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            stream: 256 << 20,
            event: 16 << 20,
            values: 1 << 17,
            kept: 32 << 20,
            items: 4096,
            calls: 128,
            arguments: 8 << 20,
        }
    }
}

/// Longest name of a tool, id of a call and the like.
pub(super) const NAME: usize = 512;
