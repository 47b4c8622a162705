use super::{
    build::Step,
    fsops::{self, Tree},
    journal::{Action, Item, Journal, JournalError, Made, Record},
    plan::Plan,
    recover::{Parents, finish, undo},
    stage::Stager,
};
use crate::{
    TreeError, TreeSource,
    diff::DiffError,
    live::{join, split},
    rights::{self, Owner, RightsError, as_daemon},
};
use rustix::{fd::AsFd as _, io::Errno};
use std::{
    cell::RefCell,
    collections::BTreeSet,
    io::Read,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// Beyond this, one sync of the whole filesystem costs less than one of each file.
const MANY: usize = 256;

/// What an owner needs to work in a directory.
pub(super) const OPEN: u32 = 0o700;

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Steps: a new directory with all in it is one.
    pub steps: usize,
    /// Directories that were to go and hold something that was put there meanwhile.
    pub kept: Vec<Vec<u8>>,
    /// Names beside changed paths that could not be cleaned up; the next recovery tries again.
    pub left: Vec<Vec<u8>>,
}

/// An apply did not happen. But for [`ApplyError::Undo`], the tree is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The plan has changes that are refused.
    #[error(
        "the plan refuses {0} changes: look at them, then choose paths, allow classes or say what drift means"
    )]
    Refused(usize),
    /// The root is no directory that can be opened.
    #[error("cannot open {path:?} to apply to it: {source}")]
    Root {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another apply or recovery holds the tree.
    #[error("another apply is at work in {0:?}: wait for it to end")]
    Busy(PathBuf),
    /// A tree could not be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Two trees could not be compared.
    #[error(transparent)]
    Diff(#[from] DiffError),
    /// Something could not be written.
    #[error("cannot write {:?}: {source}; nothing was changed", path.escape_ascii().to_string())]
    Io {
        /// Relative to the root.
        path: Vec<u8>,
        /// Why.
        source: std::io::Error,
    },
    /// The agent's file is not the one that was planned.
    #[error("{:?} of the agent changed after it was planned: plan again", path.escape_ascii().to_string())]
    Changed {
        /// Relative to the root.
        path: Vec<u8>,
    },
    /// The user's tree is not the one that was planned for.
    #[error("{:?} changed after it was planned: nothing was changed, plan again", path.escape_ascii().to_string())]
    Drift {
        /// Relative to the root.
        path: Vec<u8>,
    },
    /// Nobody can act for the owner.
    #[error(transparent)]
    Rights(#[from] RightsError),
    /// The journal could not be kept.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// It failed, and somebody else's changes kept it from being undone everywhere.
    #[error("{cause}; {} paths could not be put back, what was there stands beside them", left.len())]
    Undo {
        /// Why it failed.
        cause: Box<ApplyError>,
        /// What stands beside the paths that could not be put back.
        left: Vec<Vec<u8>>,
    },
    /// A test ended it here, as a kill would.
    #[cfg(test)]
    #[error("stopped")]
    Stopped,
}

impl ApplyError {
    pub(super) fn io(path: &[u8], errno: Errno) -> Self {
        match errno {
            // A link where a directory was, or nothing, or another filesystem.
            Errno::LOOP | Errno::NOTDIR | Errno::NOENT | Errno::EXIST => Self::Drift { path: path.to_vec() },
            Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP => {
                let why = "this filesystem cannot exchange two names at once, and nothing less is safe";
                Self::Io { path: path.to_vec(), source: std::io::Error::other(why) }
            }
            other => Self::Io { path: path.to_vec(), source: other.into() },
        }
    }
}

/// Where a test stops an apply, or changes the tree under it.
pub(super) trait Seam {
    fn at(&self, _point: &'static str) -> Result<(), ApplyError> {
        Ok(())
    }
}

pub(super) struct Production;

impl Seam for Production {}

/// Does what a plan says in the directory at `root`, all of it or nothing. `journals` is a
/// directory of the caller's that nobody else can write to; [`super::recover`] is called on it
/// before anything else is applied after a start.
///
/// With an owner the directory is opened, looked at and changed with that user's rights and no
/// others, by a recovery as well; the agent's tree is read and the journal kept with the caller's.
///
/// # Errors
/// When the plan is refused, a tree is not what it was planned for, something cannot be written,
/// or nobody can act for the owner.
pub fn execute(
    plan: &Plan,
    agent: &dyn TreeSource,
    root: &Path,
    journals: &Path,
    owner: Option<&Owner>,
) -> Result<Outcome, ApplyError> {
    execute_with(plan, agent, root, journals, owner, &Production)
}

pub(super) fn open(root: &Path) -> Result<Tree, ApplyError> {
    Tree::open(root).map_err(|e| match e {
        Errno::AGAIN => ApplyError::Busy(root.to_path_buf()),
        other => ApplyError::Root { path: root.to_path_buf(), source: other.into() },
    })
}

pub(super) fn execute_with(
    plan: &Plan,
    agent: &dyn TreeSource,
    root: &Path,
    journals: &Path,
    owner: Option<&Owner>,
    seam: &dyn Seam,
) -> Result<Outcome, ApplyError> {
    let refused = plan.refused().count();
    if refused > 0 {
        return Err(ApplyError::Refused(refused));
    }
    if plan.steps.is_empty() {
        return Ok(Outcome::default());
    }
    rights::acting_for(owner, || all(open(root)?, &plan.steps, agent, root, journals, owner, seam))?
}

pub(super) fn all(
    tree: Tree,
    steps: &[Step],
    agent: &dyn TreeSource,
    root: &Path,
    journals: &Path,
    owner: Option<&Owner>,
    seam: &dyn Seam,
) -> Result<Outcome, ApplyError> {
    let identity = tree.identity().map_err(|e| ApplyError::io(b"", e))?;
    let items = items(steps);
    let absolute =
        std::path::absolute(root).map_err(|source| ApplyError::Root { path: root.to_path_buf(), source })?;
    let owner = owner.cloned();
    let record = Record { root: absolute.as_os_str().as_bytes().to_vec(), identity, owner, items };
    let journal = as_daemon(|| Journal::begin(journals, &record))?;
    let mut apply = Apply {
        tree: &tree,
        items: &record.items,
        stager: Stager {
            tree: &tree,
            agent: &Ours(agent),
            seam,
            many: steps.iter().map(Step::count).sum::<usize>() > MANY,
            groups: RefCell::default(),
        },
        parents: Parents::new(&tree),
        made: Vec::new(),
        staged: false,
    };
    if let Err(cause) = seam.at("begun").and_then(|()| apply.run(steps, &journal)) {
        #[cfg(test)]
        if matches!(cause, ApplyError::Stopped) {
            return Err(cause);
        }
        let made = apply.staged.then_some(apply.made.as_slice());
        let left = undo(&mut apply.parents, &record.items, made, seam)?;
        as_daemon(|| journal.remove())?;
        return Err(if left.is_empty() { cause } else { ApplyError::Undo { cause: Box::new(cause), left } });
    }
    seam.at("done")?;
    let mut outcome = finish(&mut apply.parents, &record.items, seam)?;
    outcome.steps = steps.len();
    if outcome.left.is_empty() {
        as_daemon(|| journal.remove())?;
    }
    Ok(outcome)
}

fn items(steps: &[Step]) -> Vec<Item> {
    let random = uuid::Uuid::new_v4().simple().to_string();
    let item = |(n, step): (usize, &Step)| {
        let action = match step {
            Step::Put { old: None, .. } => Action::Add,
            Step::Put { .. } => Action::Replace,
            Step::Remove { .. } => Action::Remove,
            Step::RemoveDirectory { .. } => Action::RemoveDirectory,
            Step::Mode { from, to, .. } => Action::Mode { from: *from, to: *to },
            Step::Open { from, to, .. } => Action::Open { from: *from, to: *to },
            Step::Time { time, .. } => Action::Time { time: *time },
        };
        Item { path: step.path().to_vec(), name: format!(".cordon-{random}-{n}").into_bytes(), action }
    };
    steps.iter().enumerate().map(item).collect()
}

/// A tree that is read with the caller's rights, whoever is acted for: a store is nobody else's.
struct Ours<'a>(&'a dyn TreeSource);

impl TreeSource for Ours<'_> {
    fn children(&self, path: &[u8]) -> Result<Vec<crate::TreeEntry>, TreeError> {
        as_daemon(|| self.0.children(path))
    }

    fn read(&self, path: &[u8]) -> Result<Box<dyn Read + '_>, TreeError> {
        struct Bytes<'a>(Box<dyn Read + 'a>);
        impl Read for Bytes<'_> {
            fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
                as_daemon(|| self.0.read(out))
            }
        }
        as_daemon(|| self.0.read(path)).map(|inner| Box::new(Bytes(inner)) as Box<dyn Read>)
    }
}

struct Apply<'a> {
    tree: &'a Tree,
    items: &'a [Item],
    stager: Stager<'a>,
    parents: Parents<'a>,
    made: Vec<Made>,
    staged: bool,
}

impl Apply<'_> {
    fn run(&mut self, steps: &[Step], journal: &Journal) -> Result<(), ApplyError> {
        for (step, item) in steps.iter().zip(self.items) {
            if let Step::Open { from, .. } = step {
                self.open(item, *from)?;
            }
            let made = self.stage(step, item)?;
            self.made.push(made);
        }
        self.sync()?;
        self.stager.seam.at("made")?;
        // From here on something may stand at its place, also when the write itself fails.
        self.staged = true;
        as_daemon(|| journal.write("staged", &self.made))?;
        self.stager.seam.at("staged")?;
        for (n, step) in steps.iter().enumerate() {
            self.commit(step, &self.items[n], &self.made[n])?;
            self.stager.seam.at("committed")?;
        }
        self.sync()?;
        self.stager.seam.at("synced")?;
        as_daemon(|| journal.write("done", &()))?;
        Ok(())
    }

    /// Lets the owner into a directory of its own, parents first.
    fn open(&mut self, item: &Item, from: u32) -> Result<(), ApplyError> {
        let fail = |e: Errno| ApplyError::io(&item.path, e);
        let (parent, name) = split(&item.path);
        let dir = self.parents.open(parent).map_err(fail)?;
        let opened = fsops::change_mode(dir.as_fd(), name, from, from | OPEN).map_err(fail)?;
        self.stager.seam.at("opened")?;
        if opened { Ok(()) } else { Err(ApplyError::Drift { path: item.path.clone() }) }
    }

    fn sync(&self) -> Result<(), ApplyError> {
        if self.stager.many {
            return rustix::fs::syncfs(&self.tree.root).map_err(|e| ApplyError::io(b"", e));
        }
        let parents: BTreeSet<_> = self.items.iter().map(|i| split(&i.path).0).collect();
        parents
            .into_iter()
            .try_for_each(|p| fsops::sync_directory(self.tree, p).map_err(|e| ApplyError::io(p, e)))
    }

    fn stage(&mut self, step: &Step, item: &Item) -> Result<Made, ApplyError> {
        let path = &item.path;
        let fail = |e: Errno| ApplyError::io(path, e);
        let (parent, name) = split(path);
        let dir = self.parents.open(parent).map_err(fail)?;
        let own = fsops::own(dir.as_fd()).map_err(fail)?;
        let subject = match step {
            Step::Put { parts, .. } => {
                self.stager.make(dir.as_fd(), &item.name, parts, path)?;
                item.name.as_slice()
            }
            _ => name,
        };
        let found = fsops::identity(dir.as_fd(), subject).map_err(fail)?;
        let found = found.ok_or_else(|| ApplyError::Drift { path: path.clone() })?;
        let print = match step {
            Step::Put { .. } => fsops::print(dir.as_fd(), subject).map_err(fail)?,
            _ => String::new(),
        };
        Ok(Made { subject: found, parent: own, print })
    }

    fn commit(&self, step: &Step, item: &Item, made: &Made) -> Result<(), ApplyError> {
        let path = &item.path;
        let fail = |e: Errno| ApplyError::io(path, e);
        let drift = || ApplyError::Drift { path: path.clone() };
        let (parent, name) = split(path);
        // Opened again: what was a directory may be a link by now, or another directory.
        let dir = self.tree.directory(parent).map_err(fail)?;
        if fsops::own(dir.as_fd()).map_err(fail)? != made.parent {
            return Err(drift());
        }
        self.stager.seam.at("commit")?;
        let beside = join(parent, &item.name);
        let at = |name: &[u8]| fsops::identity(dir.as_fd(), name).map_err(fail);
        let whole = match step {
            Step::Put { old: None, .. } => {
                fsops::move_to_free(dir.as_fd(), &item.name, name).map_err(fail)?;
                made.is(at(name)?)
            }
            Step::Put { old: Some(old), .. } => {
                fsops::exchange(dir.as_fd(), &item.name, name).map_err(fail)?;
                made.is(at(name)?) && self.tree.stands(&beside, old)?
            }
            Step::Remove { old, .. } => {
                fsops::move_to_free(dir.as_fd(), name, &item.name).map_err(fail)?;
                made.is(at(&item.name)?) && self.tree.stands(&beside, old)?
            }
            Step::RemoveDirectory { .. } | Step::Open { .. } | Step::Time { .. } => made.is(at(name)?),
            Step::Mode { from, to, .. } => {
                made.is(at(name)?) && fsops::change_mode(dir.as_fd(), name, *from, *to).map_err(fail)?
            }
        };
        if whole { Ok(()) } else { Err(drift()) }
    }
}
