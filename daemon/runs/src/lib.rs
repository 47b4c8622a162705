//! A run's life.
mod journal;
pub use journal::{Committed, Durability, Journal, JournalError, JournalReader};
