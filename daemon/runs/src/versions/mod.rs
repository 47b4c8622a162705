//! Snapshots as things that a person uses.

mod answers;
mod bucket;
mod carry;
mod compare;
mod garbage;
mod restore;
mod show;

pub(crate) use answers::Answers;
pub use bucket::Bucket;
pub(crate) use bucket::{Place, bucket_reason};
pub use carry::ImportTar;
pub use compare::{Compared, DiffFormat};
pub(crate) use compare::{Filter, select, write};

use crate::{
    error::RunError,
    keep::Found,
    runs::{Runs, check_key},
    trees::{Without, live},
};
use cordon_proto::v1;
use show::{shorten, to_proto};
use std::{ffi::OsString, os::unix::ffi::OsStringExt as _, path::PathBuf};

/// What a person may write as a label.
const LABEL_LIMIT: usize = 200;

impl Runs {
    /// The owner's snapshots, newest first.
    ///
    /// # Errors
    /// When a store cannot be read.
    pub async fn snapshots(&self, owner: u32, run: &str, agent: &str) -> Result<Vec<v1::Snapshot>, RunError> {
        let (run, agent) = (run.to_owned(), agent.to_owned());
        self.blocking("list the snapshots", move |runs| {
            let mut all = Vec::new();
            for (place, store) in runs.0.shared.stores.all(owner) {
                for (id, snapshot) in store.list()? {
                    let wanted = (run.is_empty() || snapshot.run.starts_with(&run))
                        && (agent.is_empty() || snapshot.agent == agent);
                    if wanted {
                        all.push((snapshot.time, to_proto(&id, &snapshot, place.as_deref())));
                    }
                }
            }
            all.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
            let mut listed: Vec<_> = all.into_iter().map(|(_, snapshot)| snapshot).collect();
            shorten(&mut listed);
            Ok(listed)
        })
        .await
    }

    /// One snapshot, by its id or an unambiguous beginning of it.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub async fn snapshot(&self, owner: u32, id: &str) -> Result<v1::Snapshot, RunError> {
        let id = id.to_owned();
        self.blocking("look for the snapshot", move |runs| {
            let found = runs.0.shared.stores.find(owner, &id)?;
            Ok(to_proto(&found.id, &found.snapshot, found.place.as_deref()))
        })
        .await
    }

    /// Tells how a snapshot differs from another one, or from the tree that it was taken of as
    /// that is now. Blocks.
    ///
    /// # Errors
    /// When there is no such snapshot or tree, or it cannot be told.
    pub fn diff(
        &self,
        owner: u32,
        old: &str,
        new: &str,
        how: &Compared,
        out: &mut dyn std::io::Write,
    ) -> Result<(), RunError> {
        let stores = &self.0.shared.stores;
        let old = stores.find(owner, old)?;
        let tree = old.store.tree(&old.id)?;
        let filter = Filter::new(&how.paths, &[origin(&old)]);
        if !new.is_empty() {
            let new = stores.find(owner, new)?;
            let new = new.store.tree(&new.id)?;
            return write(&select(&tree, &new, &filter, 0)?, &tree, &new, how, out);
        }
        let (root, _) = self.live_root(&old)?;
        let skipped: Vec<Vec<u8>> = old.snapshot.skipped.iter().map(|s| s.path.clone()).collect();
        let live = live(owner, &root)?.knowing(&old.store);
        let live = Without::new(&live, skipped);
        write(&select(&tree, &live, &filter, 0)?, &tree, &live, how, out)
    }

    /// Gives a snapshot a label, or takes it away with an empty one.
    ///
    /// # Errors
    /// When there is no such snapshot or the label is too long.
    pub async fn label(
        &self,
        owner: u32,
        id: &str,
        label: &str,
        key: &str,
    ) -> Result<v1::Snapshot, RunError> {
        check_key(key)?;
        check_label(label)?;
        let (id, label) = (id.to_owned(), label.to_owned());
        self.blocking("label the snapshot", move |runs| {
            let found = runs.0.shared.stores.find(owner, &id)?;
            found.store.set_label(&found.id, &label)?;
            let snapshot = found.store.get(&found.id)?;
            Ok(to_proto(&found.id, &snapshot, found.place.as_deref()))
        })
        .await
    }

    /// Forgets snapshots: all of them or, when one of the names is none, nothing.
    ///
    /// # Errors
    /// When one of them is not there, or belongs to a run that lives.
    pub async fn remove_snapshots(&self, owner: u32, ids: &[String], key: &str) -> Result<(), RunError> {
        check_key(key)?;
        let (ids, key) = (ids.to_vec(), key.to_owned());
        self.blocking("remove the snapshots", move |runs| {
            if runs.0.removed.holds(owner, &key) {
                return Ok(());
            }
            let stores = &runs.0.shared.stores;
            let found = ids.iter().map(|id| stores.find(owner, id)).collect::<Result<Vec<_>, _>>()?;
            let living = runs.living(owner);
            if let Some(used) = found.iter().find(|f| living.contains(&f.snapshot.run)) {
                return Err(RunError::StillRunning { run: used.snapshot.run.clone() });
            }
            runs.0.removed.add(owner, &key)?;
            for one in found {
                match one.store.remove(&one.id) {
                    // Named twice.
                    Ok(()) | Err(cordon_snapshots::StoreError::NotFound(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(())
        })
        .await
    }

    /// Runs of an owner that have not ended.
    fn living(&self, owner: u32) -> Vec<String> {
        let all = self.0.shared.all();
        let living = all.iter().filter(|e| e.with(|r| r.end.is_none() && r.owner.uid() == owner));
        living.map(|e| e.id.clone()).collect()
    }

    /// The directory that a snapshot is of, and, for a single file's, the file's name.
    pub(crate) fn live_root(&self, found: &Found) -> Result<(PathBuf, Option<PathBuf>), RunError> {
        let path = origin(found);
        let no = |why: &str| RunError::NoTree { id: found.id.to_string(), why: why.to_owned() };
        if !path.is_absolute() {
            return Err(no("it was imported"));
        }
        match path.symlink_metadata() {
            Ok(meta) if meta.is_dir() => Ok((path, None)),
            Ok(meta) if meta.is_file() => match (path.parent(), path.file_name()) {
                (Some(parent), Some(name)) => Ok((parent.to_path_buf(), Some(PathBuf::from(name)))),
                _ => Err(no("its path names nothing")),
            },
            Ok(_) => Err(no("neither a directory nor a file stands there any more")),
            Err(error) => Err(no(&format!("{}: {error}", path.display()))),
        }
    }

    /// Work that waits for a client: on a thread of its own, since the ones for what blocks are few
    /// and runs need them.
    pub(crate) async fn apart<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Self) -> Result<T, RunError> + Send + 'static,
    ) -> Result<T, RunError> {
        self.ready().await;
        let (runs, (done, waiting)) = (self.clone(), tokio::sync::oneshot::channel());
        let thread = std::thread::Builder::new().name("apart".to_owned());
        // Nobody may be waiting any more.
        let started = thread.spawn(move || drop(done.send(work(&runs))));
        started.map_err(|_| RunError::Internal(what))?;
        waiting.await.map_err(|_| RunError::Internal(what))?
    }

    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Self) -> Result<T, RunError> + Send + 'static,
    ) -> Result<T, RunError> {
        self.ready().await;
        let runs = self.clone();
        tokio::task::spawn_blocking(move || work(&runs)).await.map_err(|_| RunError::Internal(what))?
    }
}

fn check_label(label: &str) -> Result<(), RunError> {
    if label.len() > LABEL_LIMIT || label.chars().any(char::is_control) {
        let what = format!("a label has at most {LABEL_LIMIT} bytes and no control characters");
        return Err(RunError::Invalid(what));
    }
    Ok(())
}

/// The tree that a snapshot was taken of.
pub(crate) fn origin(found: &Found) -> PathBuf {
    PathBuf::from(OsString::from_vec(found.snapshot.origin.clone()))
}
