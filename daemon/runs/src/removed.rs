use crate::store::{StoreError, replace};
use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// How many removals are remembered.
const MOST: usize = 256;
const NAME: &str = "removed.json";

/// Idempotency keys of removals: the runs that could remember them are gone.
pub(crate) struct Removed {
    directory: PathBuf,
    /// Read when first needed, oldest first.
    keys: Mutex<Option<Vec<(u32, String)>>>,
}

impl Removed {
    pub(crate) fn new(state: &Path) -> Self {
        Self { directory: state.to_path_buf(), keys: Mutex::default() }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Vec<(u32, String)>) -> T) -> T {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        // A file that is not there or not understood only forgets: removing again then
        // finds no run, and says so.
        let load = || {
            let content = std::fs::read(self.directory.join(NAME)).unwrap_or_default();
            serde_json::from_slice(&content).unwrap_or_default()
        };
        work(keys.get_or_insert_with(load))
    }

    pub(crate) fn holds(&self, owner: u32, key: &str) -> bool {
        !key.is_empty() && self.with(|keys| keys.iter().any(|(o, k)| *o == owner && k == key))
    }

    pub(crate) fn add(&self, owner: u32, key: &str) -> Result<(), StoreError> {
        if key.is_empty() {
            return Ok(());
        }
        self.with(|keys| {
            if keys.len() >= MOST {
                keys.remove(0);
            }
            keys.push((owner, key.to_owned()));
            let json = serde_json::to_vec(keys).unwrap_or_default();
            replace(&self.directory, NAME, &json, false)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_removals_are_remembered_across_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let removed = Removed::new(dir.path());
        for i in 0..MOST + 1 {
            removed.add(7, &format!("k{i}")).unwrap();
        }
        let removed = Removed::new(dir.path());
        assert!(!removed.holds(7, "k0"));
        assert!(removed.holds(7, "k1") && removed.holds(7, &format!("k{MOST}")));
        assert!(!removed.holds(8, "k1") && !removed.holds(7, ""));
    }
}
