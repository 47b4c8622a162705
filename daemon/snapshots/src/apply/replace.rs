//! A live tree made what another tree is: all that an apply would ask about, `.git` included, with
//! modes, times and hard links, and still all or nothing.

use super::{
    build::{Builder, Step},
    execute::{ApplyError, OPEN, Outcome, Production, Seam, all, open},
    listings::Listings,
    parts::visit,
    plan::{Decided, Verdict},
};
use crate::{
    Content, NodeKind, TreeEntry, TreeError, TreeSource,
    diff::{self, Budget, Delta, Limits, What, same},
    live::{LiveTree, join, split},
    rights::{self, Owner},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
};

/// How a tree is replaced.
#[derive(Clone, Debug, Default)]
pub struct ReplaceOptions {
    /// These paths and what is below them stay as they are: what a rule hid is in no snapshot.
    pub leave: Vec<Vec<u8>>,
    /// How much work it may be.
    pub limits: Limits,
    /// The directories above the tree are this process's own: it is opened with its rights, and
    /// what is in it is looked at and changed with the owner's.
    pub private: bool,
}

/// Makes the directory at `root` what `then` is. `now` is what stands there, as a snapshot that
/// was just taken or the tree itself; where something else stands, nothing is done. What no
/// snapshot holds - FIFOs, sockets, devices, and what the owner cannot read - stays.
///
/// # Errors
/// As [`super::execute`], and when the directory is not what `now` says.
pub fn replace(
    now: &dyn TreeSource,
    then: &dyn TreeSource,
    root: &Path,
    journals: &Path,
    owner: Option<&Owner>,
) -> Result<Outcome, ApplyError> {
    replace_with(now, then, root, journals, owner, &ReplaceOptions::default())
}

/// As [`replace`], with options.
///
/// # Errors
/// As [`replace`].
pub fn replace_with(
    now: &dyn TreeSource,
    then: &dyn TreeSource,
    root: &Path,
    journals: &Path,
    owner: Option<&Owner>,
    options: &ReplaceOptions,
) -> Result<Outcome, ApplyError> {
    replace_at(now, then, root, journals, owner, options, &Production)
}

pub(super) fn replace_at(
    now: &dyn TreeSource,
    then: &dyn TreeSource,
    root: &Path,
    journals: &Path,
    owner: Option<&Owner>,
    options: &ReplaceOptions,
    seam: &dyn Seam,
) -> Result<Outcome, ApplyError> {
    let live = match owner {
        Some(owner) if options.private => LiveTree::open(root)?.acting(owner),
        Some(owner) => LiveTree::open_as(root, owner)?,
        None => LiveTree::open(root)?,
    };
    let mut exact = Exact { now, then, options, budget: Budget::new(&options.limits), kept: BTreeSet::new() };
    exact.unchanged(&live)?;
    let steps = exact.steps()?;
    if steps.is_empty() {
        return Ok(Outcome::default());
    }
    rights::acting_for(owner, || {
        let tree = if options.private { rights::as_daemon(|| open(root))? } else { open(root)? };
        all(tree, &steps, then, root, journals, owner, seam)
    })?
}

struct Exact<'a> {
    now: &'a dyn TreeSource,
    then: &'a dyn TreeSource,
    options: &'a ReplaceOptions,
    budget: Budget,
    /// What stays, and the directories it stands in.
    kept: BTreeSet<Vec<u8>>,
}

/// The names of one inode, by each of them.
type Names = HashMap<Vec<u8>, std::rc::Rc<Vec<Vec<u8>>>>;

impl Exact<'_> {
    fn left(&self, path: &[u8]) -> bool {
        self.options.leave.iter().any(|leave| {
            let rest = path.strip_prefix(leave.as_slice());
            rest.is_some_and(|r| r.is_empty() || r.starts_with(b"/"))
        })
    }

    fn keep(&mut self, path: &[u8]) {
        let mut at = path;
        while !at.is_empty() && self.kept.insert(at.to_vec()) {
            at = split(at).0;
        }
    }

    /// Whether the live tree is `now`; what is in neither and stays is noted.
    fn unchanged(&mut self, live: &LiveTree) -> Result<(), ApplyError> {
        let mut pending = vec![Vec::new()];
        while let Some(at) = pending.pop() {
            let mut known: BTreeMap<_, _> =
                self.now.children(&at)?.into_iter().map(|e| (e.name.clone(), e)).collect();
            for entry in live.children(&at)? {
                let path = join(&at, &entry.name);
                let drift = || ApplyError::Drift { path: path.clone() };
                let before = known.remove(&entry.name);
                if self.left(&path) {
                    self.keep(&path);
                } else if let Some(before) = before {
                    if !self.is(live, &path, &before, &entry)? {
                        return Err(drift());
                    }
                    if entry.kind == NodeKind::Directory {
                        pending.push(path);
                    }
                } else if closed(live, &path, entry.kind) {
                    self.keep(&path);
                } else {
                    return Err(drift());
                }
            }
            for name in known.into_keys() {
                let path = join(&at, &name);
                if !self.left(&path) {
                    return Err(ApplyError::Drift { path });
                }
            }
        }
        for special in live.skipped() {
            self.keep(&special.path);
        }
        Ok(())
    }

    fn is(
        &mut self,
        live: &LiveTree,
        path: &[u8],
        before: &TreeEntry,
        now: &TreeEntry,
    ) -> Result<bool, TreeError> {
        if before.kind != now.kind || (before.mode != now.mode && before.kind != NodeKind::Symlink) {
            return Ok(false);
        }
        match before.kind {
            NodeKind::Directory => Ok(true),
            // What is replaced is read once more before it goes.
            NodeKind::File if (before.size, before.mtime) == (now.size, now.mtime) => Ok(true),
            _ => Ok(same(self.now, live, path, before, now, &mut self.budget)? == Some(true)),
        }
    }

    fn steps(&mut self) -> Result<Vec<Step>, ApplyError> {
        let limits = self.options.limits;
        let mut changed: BTreeMap<Vec<u8>, Delta> = BTreeMap::new();
        for delta in diff::exact(self.now, self.then, &limits, &mut self.budget)? {
            if !self.left(&delta.path) {
                changed.insert(delta.path.clone(), delta);
            }
        }
        self.regroup(&mut changed)?;
        // A whole directory goes at once, where nothing in it stays.
        let whole: BTreeSet<Vec<u8>> = changed
            .values()
            .filter(|d| d.new.is_none() && is_directory(d.old.as_ref()) && !self.kept.contains(&d.path))
            .map(|d| d.path.clone())
            .collect();
        let mut builder = Builder::new(self.then, self.now, &limits, true);
        let mut around = BTreeSet::new();
        for (path, delta) in changed {
            let parent = split(&path).0;
            if delta.new.is_none() && whole.contains(parent) {
                continue;
            }
            match (&delta.old, &delta.new) {
                (Some(old), Some(new)) if old.kind == NodeKind::Directory && new.kind == old.kind => {
                    around.insert(path);
                    continue;
                }
                _ => around.insert(parent.to_vec()),
            };
            let at_once = whole.contains(&path);
            let (user, findings) = (delta.old.clone(), Vec::new());
            let mut decided =
                Decided { delta, user, findings, verdict: Verdict::Apply, merged: None, asked: true };
            if !builder.add_whole(&path, &mut decided, at_once)? {
                let reason = "it is too large to be compared".to_owned();
                return Err(TreeError { path, reason, absent: false }.into());
            }
        }
        let (mut steps, mut times) = (Vec::new(), Vec::new());
        let (mut now, mut then) = (Listings::new(self.now), Listings::new(self.then));
        for path in around {
            // Those that are there before and after.
            let (Some(old), Some(new)) = (now.entry(&path)?, then.entry(&path)?) else { continue };
            if !is_directory(Some(&old)) || !is_directory(Some(&new)) {
                continue;
            }
            if old.mode & OPEN != OPEN || old.mode != new.mode {
                steps.push(Step::Open { path: path.clone(), from: old.mode, to: new.mode });
            }
            times.push(Step::Time { path, time: new.mtime });
        }
        steps.extend(builder.finish());
        steps.append(&mut times);
        Ok(steps)
    }

    /// Adds what has to be made anew because it shares, or no longer shares, an inode.
    fn regroup(&self, changed: &mut BTreeMap<Vec<u8>, Delta>) -> Result<(), ApplyError> {
        let (before, after) = (names(self.now)?, names(self.then)?);
        let mut anew: BTreeSet<Vec<u8>> = BTreeSet::new();
        for (path, group) in &after {
            let as_before = before.get(path) == Some(group);
            if !as_before || group.iter().any(|name| changed.contains_key(name)) {
                anew.extend(group.iter().cloned());
            }
        }
        anew.extend(
            before.iter().filter(|(path, group)| after.get(*path) != Some(*group)).map(|(p, _)| p.clone()),
        );
        let (mut now, mut then) = (Listings::new(self.now), Listings::new(self.then));
        for path in anew {
            if changed.contains_key(&path) || self.left(&path) {
                continue;
            }
            let (old, new) = (now.entry(&path)?, then.entry(&path)?);
            if new.is_some() {
                let delta = Delta { path: path.clone(), what: What::Modified, old, new, unread: false };
                changed.insert(path, delta);
            }
        }
        Ok(())
    }
}

fn is_directory(entry: Option<&TreeEntry>) -> bool {
    entry.is_some_and(|e| e.kind == NodeKind::Directory)
}

/// Whether something cannot be read, so that it could be in no snapshot.
fn closed(live: &LiveTree, path: &[u8], kind: NodeKind) -> bool {
    match kind {
        NodeKind::Directory => live.children(path).is_err(),
        NodeKind::File => live.read(path).is_err(),
        NodeKind::Symlink => false,
    }
}

/// The files of a tree that share an inode with another of it.
fn names(tree: &dyn TreeSource) -> Result<Names, TreeError> {
    let mut groups: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
    let root = TreeEntry {
        name: Vec::new(),
        kind: NodeKind::Directory,
        mode: 0,
        mtime: (0, 0),
        size: 0,
        content: Content::Unread,
        link_group: None,
    };
    visit(tree, b"", &root, &mut |_, path, entry| {
        if let Some(group) = entry.link_group {
            groups.entry(group).or_default().push(path.to_vec());
        }
        Ok(true)
    })?;
    let mut names = HashMap::new();
    for group in groups.into_values().filter(|g| g.len() > 1) {
        let group = std::rc::Rc::new(group);
        names.extend(group.iter().map(|name| (name.clone(), std::rc::Rc::clone(&group))));
    }
    Ok(names)
}
