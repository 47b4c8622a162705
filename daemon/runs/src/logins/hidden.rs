use crate::store::RunDirectory;
use std::{
    io,
    sync::{PoisonError, RwLock},
};

/// The values that must not be shown of one agent: there are more when its login is renewed.
#[derive(Debug, Default)]
pub(crate) struct Hidden {
    values: RwLock<Vec<String>>,
    /// Where they are written down for a restarted daemon.
    directory: Option<RunDirectory>,
}

impl Hidden {
    pub(crate) fn new(values: &[String], directory: RunDirectory) -> Self {
        Self { values: RwLock::new(values.to_vec()), directory: Some(directory) }
    }

    #[cfg(test)]
    pub(crate) fn only(values: &[String]) -> Self {
        Self { values: RwLock::new(values.to_vec()), directory: None }
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.values.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What came after the first `known`.
    pub(crate) fn after(&self, known: usize) -> Vec<String> {
        let values = self.values.read().unwrap_or_else(PoisonError::into_inner);
        values.get(known..).unwrap_or_default().to_vec()
    }

    /// Hides these as well: on the disk first. Blocks.
    pub(crate) fn add(&self, more: &[String]) -> io::Result<()> {
        let new: Vec<String> = {
            let values = self.values.read().unwrap_or_else(PoisonError::into_inner);
            more.iter().filter(|value| !values.contains(value)).cloned().collect()
        };
        if new.is_empty() {
            return Ok(());
        }
        if let Some(directory) = &self.directory {
            directory.add_secrets(&new).map_err(crate::store::StoreError::into_io)?;
        }
        self.values.write().unwrap_or_else(PoisonError::into_inner).extend(new);
        Ok(())
    }
}
