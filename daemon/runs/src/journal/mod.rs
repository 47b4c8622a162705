//! The journal of a run: an append-only file of events, one atomic frame a batch.
//!
//! An event is in the file before anyone is shown it. What was appended survives the
//! death of the daemon always; important events are on the disk when `append`
//! returns, the others within about a second, so a power cut loses at most that.

mod frame;
mod read;
mod write;

pub use read::JournalReader;
pub(crate) use write::{Committed, Durability, Journal};

use std::{io, path::PathBuf};

/// Why a journal cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// No space is left for it.
    #[error("no space is left for the journal {path:?}. Free some space; what was written is kept")]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The run printed more than it may.
    #[error("the journal {path:?} has reached its limit of {limit} bytes")]
    Limit {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// A batch too large to be one frame.
    #[error("a batch of {events} events is too large for the journal {path:?}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// How many events.
        events: usize,
    },
    /// The file is not what this program wrote.
    #[error("the journal {path:?} is damaged at byte {offset}; the events before it are good")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the good part ends.
        offset: u64,
    },
    /// The file is of another program or version.
    #[error("{path:?} is no journal of this version of Cordon")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("the journal {path:?} could not be {step}: {source}")]
    Io {
        /// What was being done.
        step: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests;
