//! The main processes of all commands of this process. A child that is not among them was
//! adopted; only those are reaped by anybody else than who started them.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

static COMMANDS: Mutex<Commands> = Mutex::new(Commands(BTreeMap::new()));

/// Pid to mark.
#[derive(Debug)]
pub(crate) struct Commands(BTreeMap<i32, String>);

/// Held while a command is started or reaped, so that its number never means another.
pub(crate) fn lock() -> MutexGuard<'static, Commands> {
    COMMANDS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Commands {
    pub(crate) fn contains(&self, pid: i32) -> bool {
        self.0.contains_key(&pid)
    }

    pub(crate) fn insert(&mut self, pid: i32, mark: String) {
        self.0.insert(pid, mark);
    }

    pub(crate) fn remove(&mut self, pid: i32) {
        self.0.remove(&pid);
    }

    pub(crate) fn pids(&self) -> HashSet<i32> {
        self.0.keys().copied().collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The marks of all commands but one.
    pub(crate) fn marks_but(&self, pid: i32) -> HashSet<String> {
        self.0.iter().filter(|(other, _)| **other != pid).map(|(_, mark)| mark.clone()).collect()
    }
}
