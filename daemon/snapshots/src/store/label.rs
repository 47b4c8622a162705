//! Labels given to snapshots that are there already. A record is named by its address and never
//! changes, so such a label lies beside it: `CDNLABL1`, the text, and the address of both and
//! of the snapshot's name. It counts instead of the record's own.

use super::{
    Store,
    disk::{names, open_file},
    error::{StoreError, io},
    record::{SnapshotId, TEXT_MOST},
    wire::Put as _,
};
use std::io::Read as _;

const HEAD: &[u8; 8] = b"CDNLABL1";

fn sum(id: &SnapshotId, body: &[u8]) -> [u8; 32] {
    blake3::derive_key("cordon snapshots 2026-11 label", &[&id.0, body].concat())
}

impl Store {
    /// Gives a snapshot another label, or none with an empty text. When this returns, the label
    /// survives a power cut; until then the one before counts.
    ///
    /// # Errors
    /// When there is no such snapshot, the text is longer than 4096 bytes, or the store cannot be
    /// written.
    pub fn set_label(&self, id: &SnapshotId, label: &str) -> Result<(), StoreError> {
        if label.len() > TEXT_MOST {
            return Err(StoreError::TooLong { what: "a label", limit: TEXT_MOST });
        }
        let mut bytes = HEAD.to_vec();
        bytes.put(label.as_bytes());
        let sum = sum(id, &bytes);
        bytes.put(&sum);
        let (disk, dir, on) = (&self.disk, &self.dirs.labels, || format!("the label of {id}"));
        let name = format!("new-{}", super::unique());
        // Under the lock from end to end: who removes snapshots sees all of it or nothing.
        let _guard = self.lock()?;
        self.record(id)?;
        let file = disk.create(dir, &name).map_err(io("make", on()))?;
        let written = disk
            .write(&file, &bytes)
            .and_then(|()| disk.sync(&file))
            .and_then(|()| disk.rename(dir, &name, dir, &id.to_string()));
        if written.is_err() {
            // What stays, gc takes.
            let _ = disk.unlink(dir, &name);
        }
        written.map_err(io("write", on()))?;
        disk.sync_dir(dir).map_err(io("sync", "the directory of labels"))
    }

    /// The label that a snapshot was given since it was taken.
    pub(super) fn label(&self, id: &SnapshotId) -> Result<Option<String>, StoreError> {
        let on = || format!("the label of {id}");
        let damaged = |why| StoreError::Damaged { what: on(), why };
        let file = match open_file(&self.dirs.labels, &id.to_string()) {
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            file => file.map_err(io("open", on()))?,
        };
        let mut bytes = Vec::new();
        let most = (HEAD.len() + TEXT_MOST + 33) as u64;
        file.take(most).read_to_end(&mut bytes).map_err(io("read", on()))?;
        let (body, had) = bytes.split_last_chunk::<32>().ok_or_else(|| damaged("it is cut short"))?;
        if sum(id, body) != *had {
            return Err(damaged("its checksum is not its own"));
        }
        let text = body.strip_prefix(HEAD).ok_or_else(|| damaged("it does not begin as one"))?;
        String::from_utf8(text.to_vec()).map(Some).map_err(|_| damaged("it is not UTF-8"))
    }

    /// Removes labels of snapshots that are gone and torn ones. The store's lock is held.
    pub(super) fn sweep_labels(&self) -> Result<(), StoreError> {
        for name in names(&self.dirs.labels).map_err(io("list", "the labels"))? {
            let kept = name.parse::<SnapshotId>().is_ok_and(|_| {
                !matches!(open_file(&self.dirs.snapshots, &name), Err(rustix::io::Errno::NOENT))
            });
            if !kept {
                self.disk.unlink(&self.dirs.labels, &name).map_err(io("remove", "a label"))?;
            }
        }
        Ok(())
    }
}
