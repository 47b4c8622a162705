//! What an agent sees of the others: the latest snapshot of each one's workspace, under a
//! number and without a name. Everything here blocks.

use super::{Found, TreeRecord};
use crate::{
    entry::Entry, error::RunError, plan::is_secret, record::RunRecord, shared::Shared, store::make_private,
};
use cordon_snapshots::{NodeKind, SnapshotId, TreeSource};
use rustix::{
    fs::{AtFlags, CWD, Gid, Mode, OFlags, RenameFlags, Uid, chmod, chownat, open, openat, renameat_with},
    io::Errno,
};
use std::{
    ffi::OsStr,
    fs, io,
    os::{
        fd::AsRawFd as _,
        unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

/// Where the views of a run are.
pub(crate) fn views(state: &Path, run: &str) -> PathBuf {
    state.join("views").join(run)
}

/// Shows the agent what the others left last, in the directory `view`. What it saw before goes.
pub(crate) fn show(shared: &Shared, entry: &Entry, agent: usize, view: &Path) -> Result<(), RunError> {
    let record = entry.record();
    if !record.show_peers {
        return Ok(());
    }
    let state = &shared.host.state;
    let identity = record.agents.get(agent).and_then(|a| a.identity);
    let root = rustix::process::geteuid().is_root();
    let owner = identity.filter(|_| root).map(|i| (i.uid, i.gid));
    let mut held = Vec::new();
    for (number, peer) in record.file_agents.iter().enumerate() {
        let name = format!("agent{}", number + 1);
        // Beside the view, on the same filesystem: the agent sees all of it or nothing.
        let beside = views(state, &record.id).join("new").join(format!("{agent}-{number}"));
        remove(&beside)?;
        make_private(&beside)?;
        match latest(shared, &record, peer)? {
            Some(found) => held.extend(shared.shown.fill(&beside, &found, record.owner.uid(), owner)?),
            None => open_up(&beside).map_err(failed(&beside))?,
        }
        swap(&beside, &view.join(name))?;
    }
    shared.shown.keep(&record.id, agent, held);
    Ok(())
}

/// Closes what has the name of a secret. An agent that works in a tree of the user's has what is in
/// it; the others see its work, and not its logins.
pub(super) fn conceal(tree: &dyn TreeSource, copy: &Path) -> Result<(), RunError> {
    let mut waiting = vec![Vec::new()];
    while let Some(at) = waiting.pop() {
        for entry in tree.children(&at)? {
            let mut path = at.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&entry.name);
            let is_file = entry.kind == NodeKind::File;
            if entry.kind == NodeKind::Symlink {
                continue;
            }
            if is_secret(Path::new(OsStr::from_bytes(&path)), is_file) {
                close(copy, &path).map_err(|e| failed(copy)(e.into()))?;
            } else if !is_file {
                waiting.push(path);
            }
        }
    }
    Ok(())
}

/// Leaves nobody a right to it. Its owner could take one back, but not on a mount that is read-only.
fn close(copy: &Path, path: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut fd = open(copy, flags | OFlags::DIRECTORY, Mode::empty())?;
    for name in path.split(|b| *b == b'/') {
        fd = match openat(&fd, name, flags, Mode::empty()) {
            // Behind a directory that its owner has closed.
            Err(Errno::ACCESS) => return Ok(()),
            other => other?,
        };
    }
    if rustix::process::geteuid().is_root() {
        chownat(&fd, c"", Some(Uid::ROOT), Some(Gid::ROOT), AtFlags::EMPTY_PATH)?;
    }
    chmod(format!("/proc/self/fd/{}", fd.as_raw_fd()), Mode::empty())
}

/// An empty directory that everybody may look into.
fn open_up(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))
}

/// Makes the directory of a view, before anything is mounted.
pub(crate) fn prepare(view: &Path) -> Result<(), RunError> {
    make_private(view)?;
    open_up(view).map_err(failed(view))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> RunError {
    move |source| RunError::View { path: path.to_path_buf(), source }
}

/// Puts a new directory in the place of the old one, which goes.
fn swap(new: &Path, at: &Path) -> Result<(), RunError> {
    match renameat_with(CWD, new, CWD, at, RenameFlags::EXCHANGE) {
        Ok(()) => remove(new),
        Err(rustix::io::Errno::NOENT) => fs::rename(new, at).map_err(failed(at)),
        Err(error) => Err(failed(at)(error.into())),
    }
}

/// Removes a tree whatever the modes of its directories are. Those of its files are not touched:
/// they are others' too.
pub(crate) fn remove(tree: &Path) -> Result<(), RunError> {
    match fs::remove_dir_all(tree) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(failed(tree)(error)),
        Err(_) => {}
    }
    // Nobody but this process uses it any more.
    let mut waiting = vec![tree.to_path_buf()];
    while let Some(directory) = waiting.pop() {
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).map_err(failed(&directory))?;
        for entry in fs::read_dir(&directory).map_err(failed(&directory))?.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(entry.path());
            }
        }
    }
    fs::remove_dir_all(tree).map_err(failed(tree))
}

/// The latest snapshot of an agent's workspace: of this run where it takes part, else of the
/// last run of the same person, file and agent.
fn latest(shared: &Shared, record: &RunRecord, peer: &str) -> Result<Option<Found>, RunError> {
    if let Some(found) = of(shared, record, peer)? {
        return Ok(Some(found));
    }
    let file = record.file_path();
    for entry in shared.all().iter().rev() {
        let earlier = entry.record();
        let same = earlier.id < record.id
            && earlier.owner.uid() == record.owner.uid()
            && earlier.file_path() == file;
        if same && let Some(found) = of(shared, &earlier, peer)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn of(shared: &Shared, record: &RunRecord, peer: &str) -> Result<Option<Found>, RunError> {
    let agent = record.agents.iter().find(|a| a.id == peer);
    let newest = |tree: &TreeRecord| tree.turn.clone().or_else(|| tree.base.clone());
    let id = agent.and_then(|a| a.trees.iter().find(|t| !t.staged)).and_then(newest);
    let Some(id) = id.and_then(|id| id.parse::<SnapshotId>().ok()) else { return Ok(None) };
    let store = shared.stores.of(record.owner.uid(), record.storage.as_deref())?;
    match store.get(&id) {
        Ok(snapshot) => Ok(Some(Found { place: record.storage.clone(), store, id, snapshot })),
        // Somebody removed it.
        Err(cordon_snapshots::StoreError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_directory_is_put_in_the_place_of_another() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (name, file) in [("one", "a"), ("two", "b")] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join(file), "").unwrap();
        }
        swap(&at("one"), &at("place")).unwrap();
        assert!(at("place/a").is_file() && !at("one").try_exists().unwrap());
        fs::set_permissions(at("place"), fs::Permissions::from_mode(0o500)).unwrap();
        swap(&at("two"), &at("place")).unwrap();
        assert!(
            at("place/b").is_file()
                && !at("place/a").try_exists().unwrap()
                && !at("two").try_exists().unwrap()
        );
    }

    #[test]
    fn what_is_named_like_a_secret_is_closed_at_any_depth() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let mode = |name: &str| fs::symlink_metadata(top.join(name)).unwrap().mode() & 0o777;
        fs::create_dir_all(top.join("a/b/.ssh")).unwrap();
        for name in [".env", "a/b/.ssh/config", "a/server.key", "a/plain", ".env.example"] {
            fs::write(top.join(name), "x").unwrap();
            fs::set_permissions(top.join(name), fs::Permissions::from_mode(0o644)).unwrap();
        }
        std::os::unix::fs::symlink("plain", top.join("a/id_rsa")).unwrap();
        let live = cordon_snapshots::live::LiveTree::open(&top).unwrap();
        conceal(&live, &top).unwrap();
        for name in [".env", "a/b/.ssh", "a/server.key"] {
            assert_eq!(mode(name), 0, "{name}");
        }
        assert_eq!((mode("a/plain"), mode(".env.example")), (0o644, 0o644));
        remove(&top.join("a")).unwrap();
        assert!(!top.join("a").try_exists().unwrap());
    }
}
