//! Snapshots as archives, in and out.

use super::show::to_proto;
use crate::{
    error::RunError,
    runs::{Runs, check_key},
};
use cordon_proto::v1;
use cordon_snapshots::archive;
use std::io::{Read, Write};

/// An archive that somebody sends.
#[derive(Clone, Debug, Default)]
pub struct ImportTar {
    /// A name for the snapshot.
    pub label: String,
    /// Empty: none.
    pub key: String,
}

impl Runs {
    /// Writes a snapshot as a tar. Blocks.
    ///
    /// # Errors
    /// When there is no such snapshot, it is damaged, or it cannot be written.
    pub fn export(&self, owner: u32, id: &str, out: &mut dyn Write) -> Result<(), RunError> {
        let found = self.0.shared.stores.find(owner, id)?;
        Ok(archive::export(&found.store, &found.id, out)?)
    }

    /// Makes a snapshot of a tar. It is of no tree on this machine.
    ///
    /// # Errors
    /// When the archive is broken or made to deceive, or the store does not take it.
    pub async fn import(
        &self,
        owner: u32,
        wanted: ImportTar,
        mut from: Box<dyn Read + Send>,
    ) -> Result<v1::Snapshot, RunError> {
        check_key(&wanted.key)?;
        super::check_label(&wanted.label)?;
        self.apart("import the archive", move |runs| {
            if let Some(answer) = runs.0.imported.get(owner, &wanted.key) {
                return Ok(answer);
            }
            let stores = &runs.0.shared.stores;
            let store = stores.of(owner, None)?;
            stores.room(None)?;
            let request = archive::ImportRequest { label: wanted.label, ..Default::default() };
            let taken = archive::import(&store, &mut from, &request)?;
            let answer = to_proto(&taken.id, &taken.snapshot, None);
            runs.0.imported.keep(owner, &wanted.key, &answer);
            Ok(answer)
        })
        .await
    }
}
