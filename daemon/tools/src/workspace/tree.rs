//! Going through a tree by descriptors, one of them open at a time, however deep it is.

use crate::{ToolError, error::shown, files::write_place::kernel, registry::Call, resolve::Opened};
use cordon_policy::{Access, Operation, Policy};
use rustix::io::Errno;
use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// Entries of one tree; more are refused, not forgotten.
pub(super) const MOST_ENTRIES: usize = 1_000_000;

/// Whether every rule strictly below a path grants at least this, so that nothing below has
/// to be decided by itself.
pub(super) fn is_free(policy: &Policy, path: &Path, access: Access) -> bool {
    policy.below(path).all(|rule| rule.path == path || rule.access >= access)
}

/// A descriptor that goes down and up again, and notices when a directory was moved away
/// below it.
#[derive(Debug)]
pub(super) struct Ladder {
    pub(super) at: Opened,
    above: Vec<(u64, u64)>,
}

impl Ladder {
    pub(super) fn new(at: Opened) -> Self {
        Self { at, above: Vec::new() }
    }

    /// Steps into a directory that was opened from here.
    pub(super) fn down(&mut self, next: Opened) {
        self.above.push(self.at.identity());
        self.at = next;
    }

    /// Steps back up: to the very directory it came from, or not at all. Returns what it left.
    pub(super) fn up(&mut self) -> Result<Opened, ToolError> {
        let name = self.at.path.to_string_lossy().into_owned();
        let above = self.at.up().map_err(|errno| kernel(Operation::List, &name, errno))?;
        if self.above.pop() != Some(above.identity()) {
            return Err(ToolError::Failed(format!("{} was moved away meanwhile", shown(&name))));
        }
        Ok(std::mem::replace(&mut self.at, above))
    }
}

#[derive(Debug)]
struct Level {
    names: std::vec::IntoIter<OsString>,
    free: bool,
}

/// A step of a walk. Names are entries of [`Walk::here`], but for `Enter`.
#[derive(Debug)]
pub(super) enum Step {
    /// The walk is now in this directory.
    Enter,
    /// Anything but a directory.
    Leaf(Opened),
    /// All of a directory was seen; the walk is back where it is an entry.
    Leave(Opened),
    /// The policy refuses it, or it cannot be opened or listed. The walk goes on beside it.
    Refused(OsString, ToolError),
}

/// A walk through a tree: what is in a directory comes between its `Enter` and its `Leave`.
/// Links are entries, never ways.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    call: &'a Call,
    operation: Operation,
    /// Whether directories are opened up for their owner before they are listed.
    force: bool,
    ladder: Ladder,
    levels: Vec<Level>,
    /// Relative to the root.
    pub(super) relative: PathBuf,
    seen: usize,
}

impl<'a> Walk<'a> {
    /// A walk through a directory that was decided. Each entry is decided for `operation`.
    pub(super) fn new(call: &'a Call, root: Opened, operation: Operation) -> Result<Self, ToolError> {
        let ladder = Ladder::new(root);
        let (levels, relative) = (Vec::new(), PathBuf::new());
        let mut walk = Self { call, operation, force: false, ladder, levels, relative, seen: 0 };
        walk.list()?;
        Ok(walk)
    }

    /// A walk through what is only to be taken away: what this process made itself, or what it
    /// has a complete copy of.
    pub(super) fn own(call: &'a Call, root: Opened) -> Result<Self, ToolError> {
        let ladder = Ladder::new(root);
        let (levels, relative, operation) = (Vec::new(), PathBuf::new(), Operation::List);
        let mut walk = Self { call, operation, force: true, ladder, levels, relative, seen: 0 };
        walk.list()?;
        Ok(walk)
    }

    /// The directory that the walk is in.
    pub(super) fn here(&self) -> &Opened {
        &self.ladder.at
    }

    /// Sees nothing more of the directory that was just entered.
    pub(super) fn skip(&mut self) {
        if let Some(level) = self.levels.last_mut() {
            level.names = Vec::new().into_iter();
        }
    }

    fn list(&mut self) -> Result<(), ToolError> {
        let here = &self.ladder.at;
        if self.force {
            here.set_mode(0o700);
        }
        let failed = |errno| kernel(Operation::List, &here.path.to_string_lossy(), errno);
        let mut names = Vec::new();
        for entry in here.list().map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            self.seen += 1;
            if self.seen > MOST_ENTRIES {
                return Err(too_many());
            }
            names.push(name.to_owned());
        }
        names.sort_unstable();
        let parent_free = self.levels.last().is_some_and(|level| level.free);
        let free = parent_free || is_free(&self.call.state.table.policy, &here.path, self.operation.needs());
        self.levels.push(Level { names: names.into_iter(), free });
        Ok(())
    }

    /// The next step; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Step>, ToolError> {
        loop {
            if self.call.cancel.is_cancelled() {
                return Err(ToolError::Failed("cancelled".to_owned()));
            }
            let Some(level) = self.levels.last_mut() else { return Ok(None) };
            let free = level.free;
            let Some(name) = level.names.next() else { return self.leave() };
            match self.open(&name, free) {
                // Somebody else took it away after it was listed.
                Ok(None) => {}
                Ok(Some(opened)) if opened.is_directory() => return self.enter(name, opened).map(Some),
                Ok(Some(leaf)) => return Ok(Some(Step::Leaf(leaf))),
                Err(error) => return Ok(Some(Step::Refused(name, error))),
            }
        }
    }

    fn enter(&mut self, name: OsString, directory: Opened) -> Result<Step, ToolError> {
        self.relative.push(&name);
        self.ladder.down(directory);
        match self.list() {
            Ok(()) => Ok(Step::Enter),
            Err(error) if self.seen > MOST_ENTRIES => Err(error),
            Err(error) => {
                self.ladder.up()?;
                self.relative.pop();
                Ok(Step::Refused(name, error))
            }
        }
    }

    fn open(&self, name: &OsStr, free: bool) -> Result<Option<Opened>, ToolError> {
        let here = &self.ladder.at;
        if !free {
            let path = here.path.join(name);
            self.call.resolver().decide(&path, self.operation, &path.to_string_lossy())?;
        }
        match here.entry(name) {
            Ok(opened) => Ok(Some(opened)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(kernel(self.operation, &here.path.join(name).to_string_lossy(), errno)),
        }
    }

    fn leave(&mut self) -> Result<Option<Step>, ToolError> {
        self.levels.pop();
        if self.levels.is_empty() {
            return Ok(None);
        }
        let left = self.ladder.up()?;
        self.relative.pop();
        Ok(Some(Step::Leave(left)))
    }
}

fn too_many() -> ToolError {
    ToolError::Failed(format!("it has more than {MOST_ENTRIES} entries: work on parts of it"))
}
