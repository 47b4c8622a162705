//! What is left to do when an apply failed, was killed, or is done.

use super::{
    execute::{ApplyError, OPEN, Outcome, Production, Seam, open},
    fsops::{self, Tree},
    journal::{Action, Item, Journal, JournalError, Made, Record},
};
use crate::{
    live::{join, split},
    rights,
};
use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    fs::{self, AtFlags},
    io::Errno,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

/// Descriptors that are kept; further parents are opened again by their path.
const HELD: usize = 256;

/// The directories that an apply works in. They are found again also when somebody moves them
/// away and puts something else in their place.
pub(super) struct Parents<'a> {
    tree: &'a Tree,
    held: BTreeMap<Vec<u8>, OwnedFd>,
}

impl<'a> Parents<'a> {
    pub(super) fn new(tree: &'a Tree) -> Self {
        Self { tree, held: BTreeMap::new() }
    }

    pub(super) fn open(&mut self, path: &[u8]) -> Result<OwnedFd, Errno> {
        if let Some(fd) = self.held.get(path) {
            return rustix::io::fcntl_dupfd_cloexec(fd, 0);
        }
        let fd = self.tree.directory(path)?;
        if self.held.len() < HELD {
            self.held.insert(path.to_vec(), rustix::io::fcntl_dupfd_cloexec(&fd, 0)?);
        }
        Ok(fd)
    }

    fn sync(&mut self, items: &[Item]) -> Result<(), ApplyError> {
        let paths: BTreeSet<_> = items.iter().map(|i| split(&i.path).0).collect();
        for path in paths {
            match self.open(path).and_then(fs::fsync) {
                // What is gone needs no syncing.
                Ok(()) | Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => {}
                Err(e) => return Err(ApplyError::io(path, e)),
            }
        }
        Ok(())
    }
}

/// Puts everything back that was put in place, the last first; what stands beside paths that
/// somebody else changed meanwhile is kept and named.
pub(super) fn undo(
    parents: &mut Parents<'_>,
    items: &[Item],
    made: Option<&[Made]>,
    seam: &dyn Seam,
) -> Result<Vec<Vec<u8>>, ApplyError> {
    let mut left = Vec::new();
    for (n, item) in items.iter().enumerate().rev() {
        seam.at("undo")?;
        let (parent, name) = split(&item.path);
        let dir = match parents.open(parent) {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => {
                // Before it was noted what was made, nothing of the user's was moved; and what
                // was never reached has nothing to be put back.
                left.extend(made.is_some().then(|| join(parent, &item.name)));
                continue;
            }
            Err(e) => return Err(ApplyError::io(&item.path, e)),
        };
        let back = match made.and_then(|made| made.get(n)) {
            Some(made) => put_back(dir.as_fd(), name, item, made),
            None => match item.action {
                Action::Add | Action::Replace => fsops::remove(dir.as_fd(), &item.name).map(|()| true),
                Action::Open { from, .. } => close(dir.as_fd(), name, from, from),
                _ => Ok(true),
            },
        };
        if !back.map_err(|e| ApplyError::io(&item.path, e))? {
            let name = if item.action == Action::Add { name } else { &item.name };
            left.push(join(parent, name));
        }
        seam.at("undone")?;
    }
    parents.sync(items)?;
    Ok(left)
}

/// False: somebody else changed it.
fn put_back(dir: BorrowedFd<'_>, name: &[u8], item: &Item, made: &Made) -> Result<bool, Errno> {
    let beside = item.name.as_slice();
    let at = |name: &[u8]| fsops::identity(dir, name);
    // What was put there may have been written to before a kill was noticed: it stays then.
    let untouched = |name: &[u8]| fsops::print(dir, name).map(|print| print == made.print);
    match item.action {
        Action::Add => {
            if made.is(at(name)?) {
                if !untouched(name)? {
                    return Ok(false);
                }
                fsops::move_to_free(dir, name, beside)?;
            }
            fsops::remove(dir, beside)?;
            Ok(true)
        }
        Action::Replace => {
            if made.is(at(name)?) && untouched(name)? && at(beside)?.is_some() {
                fsops::exchange(dir, beside, name)?;
            }
            match at(beside)? {
                None => Ok(true),
                found if made.is(found) => fsops::remove(dir, beside).map(|()| true),
                Some(_) => Ok(false),
            }
        }
        Action::Remove => match at(beside)? {
            None => Ok(true),
            Some(_) => match fsops::move_to_free(dir, beside, name) {
                Err(Errno::EXIST) => Ok(false),
                other => other.map(|()| true),
            },
        },
        Action::Mode { from, to } => match fsops::change_mode(dir, name, to, from) {
            // Never changed, or by somebody else.
            Ok(_) | Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => Ok(true),
            Err(e) => Err(e),
        },
        Action::Open { from, .. } => close(dir, name, from, from),
        Action::RemoveDirectory | Action::Time { .. } => Ok(true),
    }
}

/// Gives a directory that was opened the mode it is to have; what has another by now keeps it.
fn close(dir: BorrowedFd<'_>, name: &[u8], from: u32, to: u32) -> Result<bool, Errno> {
    match fsops::change_mode(dir, name, from | OPEN, to) {
        Ok(_) | Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => Ok(true),
        Err(e) => Err(e),
    }
}

/// Removes what was replaced and removed, once all that is new is in its place.
pub(super) fn finish(
    parents: &mut Parents<'_>,
    items: &[Item],
    seam: &dyn Seam,
) -> Result<Outcome, ApplyError> {
    let mut outcome = Outcome::default();
    for item in items.iter().filter(|i| matches!(i.action, Action::Replace | Action::Remove)) {
        seam.at("finish")?;
        let parent = split(&item.path).0;
        match parents.open(parent).and_then(|dir| fsops::remove(dir.as_fd(), &item.name)) {
            // A directory that is gone was to go and went, before a kill.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(_) => outcome.left.push(join(parent, &item.name)),
        }
    }
    let mut directories: Vec<_> =
        items.iter().filter(|i| i.action == Action::RemoveDirectory).map(|i| i.path.as_slice()).collect();
    directories.sort_unstable();
    for path in directories.into_iter().rev() {
        seam.at("directory")?;
        let (parent, name) = split(path);
        let removed = parents.open(parent).and_then(|dir| fs::unlinkat(dir, name, AtFlags::REMOVEDIR));
        if !matches!(removed, Ok(()) | Err(Errno::NOENT)) {
            outcome.kept.push(path.to_vec());
        }
    }
    parents.sync(items)?;
    // The deepest first: what is closed cannot be gone through.
    for item in items.iter().rev() {
        let (parent, name) = split(&item.path);
        let set = match (&item.action, parents.open(parent)) {
            (Action::Time { time }, Ok(dir)) => fsops::change_time(dir.as_fd(), name, *time),
            (Action::Open { from, to }, Ok(dir)) => close(dir.as_fd(), name, *from, *to).map(|_| ()),
            _ => continue,
        };
        seam.at("set")?;
        // Done before a kill, or gone.
        if !matches!(set, Ok(()) | Err(Errno::NOENT | Errno::ACCESS)) {
            outcome.left.push(item.path.clone());
        }
    }
    seam.at("finished")?;
    Ok(outcome)
}

/// What became of an apply that had not come to its end.
#[derive(Debug)]
pub enum Recovered {
    /// The tree is as it was before.
    Undone {
        /// The tree's root.
        root: PathBuf,
        /// What somebody wrote to since, and where what was there before stands beside it.
        left: Vec<Vec<u8>>,
    },
    /// The tree is as it was to be.
    Finished {
        /// The tree's root.
        root: PathBuf,
        /// What it was.
        outcome: Outcome,
    },
    /// Nothing had been done yet.
    Nothing,
    /// Nothing could be done; the journal is kept.
    Failed {
        /// The journal.
        journal: PathBuf,
        /// Why.
        error: ApplyError,
    },
}

/// Brings every apply that was killed to an end: finished when all was in place, undone
/// otherwise. Called at each start, and before the next apply to any of these trees.
///
/// # Errors
/// When the directory of journals cannot be read.
pub fn recover(journals: &Path) -> Result<Vec<Recovered>, JournalError> {
    recover_with(journals, &Production)
}

pub(super) fn recover_with(journals: &Path, seam: &dyn Seam) -> Result<Vec<Recovered>, JournalError> {
    let one = |journal: Journal| {
        let path = journal.path().to_path_buf();
        self::one(journal, seam).unwrap_or_else(|error| Recovered::Failed { journal: path, error })
    };
    Ok(Journal::all(journals)?.into_iter().map(one).collect())
}

fn one(journal: Journal, seam: &dyn Seam) -> Result<Recovered, ApplyError> {
    let Some(record) = journal.read::<Record>("plan")? else {
        journal.remove()?;
        return Ok(Recovered::Nothing);
    };
    let done = journal.read::<()>("done")?.is_some();
    let made = journal.read::<Vec<Made>>("staged")?;
    if made.as_ref().is_some_and(|made| made.len() != record.items.len()) {
        return Err(JournalError::Damaged { path: journal.path().to_path_buf() }.into());
    }
    let root = PathBuf::from(OsString::from_vec(record.root.clone()));
    let work = || {
        let tree = open(&root)?;
        let found = tree.identity().map_err(|e| ApplyError::io(b"", e))?;
        if found != record.identity {
            let source = std::io::Error::other("another directory stands there than was applied to");
            return Err(ApplyError::Root { path: root.clone(), source });
        }
        let mut parents = Parents::new(&tree);
        let root = root.clone();
        if done {
            let outcome = finish(&mut parents, &record.items, seam)?;
            return Ok(Recovered::Finished { root, outcome });
        }
        let left = undo(&mut parents, &record.items, made.as_deref(), seam)?;
        Ok(Recovered::Undone { root, left })
    };
    // As the one for whom it was begun, and not as who recovers.
    let recovered = rights::acting_for(record.owner.as_ref(), work)??;
    if !matches!(&recovered, Recovered::Finished { outcome, .. } if !outcome.left.is_empty()) {
        journal.remove()?;
    }
    Ok(recovered)
}
