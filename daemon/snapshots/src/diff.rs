//! What differs between two trees. Where both give the same address of a directory, nothing
//! below it is read. No attribute, filter or configuration of the trees is honoured and no
//! program is run on them.

mod compare;
mod json;
mod rename;
mod render;
mod shown;
mod text;

pub(crate) use compare::{Budget, digest, read_bounded, same};
pub(crate) use json::hex;
pub use json::{Report, ReportChange, ReportHunk, ReportLine, ReportSide, ReportText, Spelled, report};
pub use render::{Render, RenderError, name_only, stat, unified};
pub(crate) use shown::hidden;
pub use shown::{shown, shown_line};
pub use text::{Body, Hunk, Line, Tag, body};
pub(crate) use text::{lines, number, operations};

use crate::{Content, NodeKind, TreeEntry, TreeError, TreeSource, live::join};
use std::time::Duration;

/// How much work a comparison may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Differences altogether; more is an error, never a cut answer.
    pub changes: usize,
    /// Components of a path.
    pub depth: usize,
    /// Bytes of all the paths that differ.
    pub paths: usize,
    /// Bytes read to find out whether files without a common address are the same.
    pub compared: u64,
    /// A file larger than this is not read for that.
    pub compared_file: u64,
    /// Files on each side that are looked at as renamed with changes; more, and only exact
    /// renames are found.
    pub renames: usize,
    /// A larger file is not shown as text, nor compared for likeness.
    pub text: u64,
    /// Lines of hunks of one file.
    pub lines: usize,
    /// How long one file's lines are compared before a longer answer is accepted.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            changes: 1_000_000,
            depth: 4096,
            paths: 256 << 20,
            compared: 64 << 30,
            compared_file: 4 << 30,
            renames: 200,
            text: 4 << 20,
            lines: 100_000,
            time: Duration::from_secs(1),
        }
    }
}

/// What happened to a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It was not there before.
    Added,
    /// It is gone.
    Removed,
    /// Other bytes, or a link that points elsewhere; the mode may differ too.
    Modified,
    /// Another mode and nothing else.
    Mode,
    /// A directory, file or link became another of the three.
    Type,
    /// It stood elsewhere before.
    Renamed {
        /// Where.
        from: Vec<u8>,
        /// How much of it is the same: 100 for all.
        alike: u8,
    },
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// Relative to the root; where it stands now, when it stands anywhere.
    pub path: Vec<u8>,
    /// What happened.
    pub what: What,
    /// The entry before.
    pub old: Option<TreeEntry>,
    /// The entry now.
    pub new: Option<TreeEntry>,
    /// The files are too large to be compared: they may be the same.
    pub unread: bool,
}

impl Delta {
    /// Where it stood before.
    #[must_use]
    pub fn old_path(&self) -> &[u8] {
        match &self.what {
            What::Renamed { from, .. } => from,
            _ => &self.path,
        }
    }
}

/// Two trees could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// One of them could not be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// They differ too much.
    #[error("the trees differ in more than {0} paths: compare a part of them")]
    TooMany(usize),
    /// A path has too many components.
    #[error("the tree goes deeper than {depth} directories at {}: compare a part of it", brief(path))]
    TooDeep {
        /// Where.
        path: Vec<u8>,
        /// The most that is looked at.
        depth: usize,
    },
    /// The paths are too long altogether.
    #[error("the paths that differ have more than {bytes} bytes at {}: compare a part of them", brief(path))]
    TooLong {
        /// Where.
        path: Vec<u8>,
        /// The most that is taken.
        bytes: usize,
    },
}

/// A path for a message: the beginning of a long one.
fn brief(path: &[u8]) -> String {
    match path.get(..400) {
        Some(first) => format!("{}... ({} bytes)", shown(first), path.len()),
        None => shown(path),
    }
}

/// What differs, in the order of the paths' bytes, with renames.
///
/// # Errors
/// When a tree cannot be read whole or a limit is exceeded.
pub fn diff(old: &dyn TreeSource, new: &dyn TreeSource, limits: &Limits) -> Result<Vec<Delta>, DiffError> {
    let mut budget = Budget::new(limits);
    let plain = plain(old, new, limits, &mut budget)?;
    let mut found = rename::pair(plain, old, new, limits, &mut budget);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// What differs path by path: a rename is a removal and an addition.
pub(crate) fn plain(
    old: &dyn TreeSource,
    new: &dyn TreeSource,
    limits: &Limits,
    budget: &mut Budget,
) -> Result<Vec<Delta>, DiffError> {
    walk(old, new, limits, budget, false)
}

/// The same, with what differs in its time alone.
pub(crate) fn exact(
    old: &dyn TreeSource,
    new: &dyn TreeSource,
    limits: &Limits,
    budget: &mut Budget,
) -> Result<Vec<Delta>, DiffError> {
    walk(old, new, limits, budget, true)
}

fn walk(
    old: &dyn TreeSource,
    new: &dyn TreeSource,
    limits: &Limits,
    budget: &mut Budget,
    times: bool,
) -> Result<Vec<Delta>, DiffError> {
    let mut walk = Walk { old, new, limits, budget, times, long: 0, found: Vec::new(), pending: Vec::new() };
    walk.pending.push(Pending { path: Vec::new(), depth: 0, old: true, new: true });
    while let Some(next) = walk.pending.pop() {
        walk.long -= next.path.len();
        walk.directory(&next)?;
    }
    let mut found = walk.found;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// A directory still to be compared, and on which sides it is one.
struct Pending {
    path: Vec<u8>,
    depth: usize,
    old: bool,
    new: bool,
}

struct Walk<'a> {
    old: &'a dyn TreeSource,
    new: &'a dyn TreeSource,
    limits: &'a Limits,
    budget: &'a mut Budget,
    times: bool,
    long: usize,
    found: Vec<Delta>,
    pending: Vec<Pending>,
}

impl Walk<'_> {
    fn directory(&mut self, at: &Pending) -> Result<(), DiffError> {
        if at.depth > self.limits.depth {
            return Err(DiffError::TooDeep { path: at.path.clone(), depth: self.limits.depth });
        }
        let list = |there: bool, tree: &dyn TreeSource| {
            if there { tree.children(&at.path) } else { Ok(Vec::new()) }
        };
        let mut before = list(at.old, self.old)?.into_iter().peekable();
        let mut after = list(at.new, self.new)?.into_iter().peekable();
        loop {
            let order = match (before.peek(), after.peek()) {
                (None, None) => return Ok(()),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(a), Some(b)) => a.name.cmp(&b.name),
            };
            let a = if order.is_le() { before.next() } else { None };
            let b = if order.is_ge() { after.next() } else { None };
            self.entry(at, a, b)?;
        }
    }

    fn take(&mut self, path: &[u8]) -> Result<(), DiffError> {
        self.long = self.long.saturating_add(path.len());
        let whole = self.long <= self.limits.paths;
        whole
            .then_some(())
            .ok_or_else(|| DiffError::TooLong { path: path.to_vec(), bytes: self.limits.paths })
    }

    fn entry(
        &mut self,
        at: &Pending,
        old: Option<TreeEntry>,
        new: Option<TreeEntry>,
    ) -> Result<(), DiffError> {
        let Some(name) = old.as_ref().or(new.as_ref()).map(|e| &e.name) else { return Ok(()) };
        let path = join(&at.path, name);
        let directory = |e: &Option<TreeEntry>| e.as_ref().is_some_and(|e| e.kind == NodeKind::Directory);
        let (old_directory, new_directory) = (directory(&old), directory(&new));
        let mut unread = false;
        let what = match (&old, &new) {
            (None, _) => Some(What::Added),
            (_, None) => Some(What::Removed),
            (Some(a), Some(b)) if a.kind != b.kind => Some(What::Type),
            (Some(a), Some(b)) => {
                let same = if old_directory {
                    Some(true)
                } else {
                    compare::same(self.old, self.new, &path, a, b, self.budget)?
                };
                unread = same.is_none();
                // A link has no mode that means anything.
                let mode = a.mode == b.mode || a.kind == NodeKind::Symlink;
                match (same, mode) {
                    (Some(true), true) if self.times && a.mtime != b.mtime => Some(What::Modified),
                    (Some(true), true) => None,
                    (Some(true), false) => Some(What::Mode),
                    _ => Some(What::Modified),
                }
            }
        };
        let known = matches!((&old, &new), (Some(a), Some(b)) if same_address(a, b));
        if (old_directory || new_directory) && !known {
            // Those still to be looked at are kept as well.
            self.take(&path)?;
            let (old, new) = (old_directory, new_directory);
            self.pending.push(Pending { path: path.clone(), depth: at.depth + 1, old, new });
        }
        if let Some(what) = what {
            if self.found.len() >= self.limits.changes {
                return Err(DiffError::TooMany(self.limits.changes));
            }
            self.take(&path)?;
            self.found.push(Delta { path, what, old, new, unread });
        }
        Ok(())
    }
}

/// Whether the addresses alone say that two entries hold the same.
pub(crate) fn same_address(a: &TreeEntry, b: &TreeEntry) -> bool {
    a.kind == b.kind
        && matches!((&a.content, &b.content), (Content::Address(x), Content::Address(y)) if x == y)
}

#[cfg(test)]
#[path = "diff/tests.rs"]
mod tests;
