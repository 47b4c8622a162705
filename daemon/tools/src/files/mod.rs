//! The file tools: the names and arguments of the reference filesystem server.

mod directory;
mod edit;
mod edit_apply;
pub(crate) mod edit_diff;
mod list;
mod moving;
mod read;
mod walk;
mod write;
mod write_media;
pub(crate) mod write_place;

use crate::{registry::Tool, resolve::Opened};
use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

/// Files that a tool has read or made, by device and inode.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<HashSet<(u64, u64)>>);

impl Known {
    /// Remembers a file.
    pub(crate) fn add(&self, opened: &Opened) {
        let key = (opened.stat.st_dev, opened.stat.st_ino);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
    }

    /// Remembers a file that a tool made.
    pub(crate) fn made(&self, stat: &rustix::fs::Stat) {
        let key = (stat.st_dev, stat.st_ino);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
    }

    /// Forgets a file that is gone: another may get its number.
    pub(crate) fn forget(&self, opened: &Opened) {
        let key = (opened.stat.st_dev, opened.stat.st_ino);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }

    /// Whether a tool has read or made it.
    pub(crate) fn has(&self, opened: &Opened) -> bool {
        let key = (opened.stat.st_dev, opened.stat.st_ino);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&key)
    }
}

/// Those that the daemon alone calls.
pub(crate) fn unlisted() -> Vec<Tool> {
    write_media::tools()
}

pub(crate) fn tools() -> Vec<Tool> {
    let mut tools = read::tools();
    tools.extend(list::tools());
    tools.extend(write::tools());
    tools.extend(edit::tools());
    tools.extend(directory::tools());
    tools.extend(moving::tools());
    tools
}
