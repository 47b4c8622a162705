//! Processes that the daemon asked for: how they start, what they print, how they
//! end, and how all of what they started is found again.

pub(crate) mod log;
pub(crate) mod plan;
pub(crate) mod pump;
pub(crate) mod reaper;
pub(crate) mod record;
pub(crate) mod spawn;
pub(crate) mod stdin;
pub(crate) mod table;
pub(crate) mod tree;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Every lock here guards plain data that no panic can leave half-written in a way
/// that matters more than going on.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
