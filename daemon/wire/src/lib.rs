//! The byte stream under an MCP session on the server's side: lines of bounded length, JSON
//! without benefit of the doubt, a bounded number of calls at a time, and an answer to
//! everything that is refused. What the messages mean is the library's business and that of
//! the server on top.

mod calls;
mod lines;
mod message;
mod output;
mod shown;
mod strict;
#[cfg(test)]
mod tests;
mod wire;

pub use shown::shown;
pub use wire::{Failure, Wire};

/// Reads one line as a session does, for tests that throw anything at it: whether it is a
/// message, and how it is refused where it is none.
///
/// # Errors
/// The error's code and words.
#[doc(hidden)]
pub fn inspect(line: &[u8]) -> Result<bool, (i32, String)> {
    match message::read(line) {
        Ok(message) => Ok(message.is_some()),
        Err(refusal) => Err((refusal.error.code.0, refusal.error.message.into_owned())),
    }
}
