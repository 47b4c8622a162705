//! The verdicts as steps that do not touch each other: a new directory and all in it is one, a
//! directory that becomes something else another.

use super::{
    Options,
    execute::OPEN,
    parts::{Bytes, Part, Stand, Thing, Time, stands},
    plan::{Decided, Plan, PlanError, Planned, Verdict, Why},
};
use crate::{
    Content, NodeKind, TreeError, TreeSource,
    diff::{Budget, Limits, digest},
    live::split,
};
use std::collections::{BTreeMap, HashMap, HashSet};

#[derive(Debug)]
pub(super) enum Step {
    Put {
        path: Vec<u8>,
        parts: Vec<Part>,
        old: Option<Vec<Stand>>,
    },
    Remove {
        path: Vec<u8>,
        old: Vec<Stand>,
    },
    RemoveDirectory {
        path: Vec<u8>,
    },
    Mode {
        path: Vec<u8>,
        from: u32,
        to: u32,
    },
    /// A directory that is open to its owner until all is done, and then has a mode.
    Open {
        path: Vec<u8>,
        from: u32,
        to: u32,
    },
    /// A directory's time, once all is done.
    Time {
        path: Vec<u8>,
        time: Time,
    },
}

impl Step {
    pub(super) fn path(&self) -> &[u8] {
        match self {
            Self::Put { path, .. }
            | Self::Remove { path, .. }
            | Self::RemoveDirectory { path }
            | Self::Mode { path, .. }
            | Self::Open { path, .. }
            | Self::Time { path, .. } => path,
        }
    }

    /// How much of it has to become durable.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Put { parts, .. } => parts.len(),
            _ => 1,
        }
    }
}

/// A node while its directory is still being filled.
struct Growing {
    path: Vec<u8>,
    thing: Option<Thing>,
    old: Option<Vec<Stand>>,
    inside: bool,
    children: Vec<usize>,
}

pub(super) struct Builder<'a> {
    agent: &'a dyn TreeSource,
    user: &'a dyn TreeSource,
    budget: Budget,
    /// With the times of the source, and its hard links.
    exact: bool,
    growing: Vec<Growing>,
    directories: HashMap<Vec<u8>, usize>,
    /// Directories that go along with what they stood in.
    gone: HashSet<Vec<u8>>,
    /// Done before all others.
    opens: Vec<Step>,
    steps: Vec<Step>,
}

pub(super) fn build(
    decided: BTreeMap<Vec<u8>, Decided>,
    agent: &dyn TreeSource,
    user: &dyn TreeSource,
    options: &Options,
) -> Result<Plan, PlanError> {
    let mut builder = Builder::new(agent, user, &options.limits, false);
    let mut changes = Vec::new();
    for (path, mut decided) in decided {
        if decided.done() && !builder.add(&path, &mut decided)? {
            decided.verdict = Verdict::Refused(Why::Large);
        }
        let Decided { delta, findings, verdict, asked, .. } = decided;
        if asked || matches!(verdict, Verdict::Apply | Verdict::Refused(_)) {
            changes.push(Planned { path, what: delta.what, findings, verdict });
        }
    }
    let steps = if changes.iter().any(|c| matches!(c.verdict, Verdict::Refused(_))) {
        Vec::new()
    } else {
        builder.finish()
    };
    Ok(Plan { changes, steps })
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        agent: &'a dyn TreeSource,
        user: &'a dyn TreeSource,
        limits: &Limits,
        exact: bool,
    ) -> Self {
        let (growing, directories) = (Vec::new(), HashMap::new());
        let (budget, gone, opens, steps) = (Budget::new(limits), HashSet::new(), Vec::new(), Vec::new());
        Self { agent, user, budget, exact, growing, directories, gone, opens, steps }
    }

    /// False: something is too large.
    fn add(&mut self, path: &[u8], decided: &mut Decided) -> Result<bool, TreeError> {
        self.add_whole(path, decided, false)
    }

    /// The same; a directory that is to go can go with all in it.
    pub(super) fn add_whole(
        &mut self,
        path: &[u8],
        decided: &mut Decided,
        whole: bool,
    ) -> Result<bool, TreeError> {
        let user = decided.user.as_ref();
        let user_directory = user.is_some_and(|e| e.kind == NodeKind::Directory);
        let Some(new) = &decided.delta.new else {
            return match user {
                None => Ok(true),
                // What becomes something else takes all in it along.
                Some(_) if self.goes_along(path) => Ok(true),
                Some(entry) if user_directory && !whole => {
                    if entry.mode & OPEN != OPEN {
                        self.mode(path, entry.mode, entry.mode);
                    }
                    self.steps.push(Step::RemoveDirectory { path: path.to_vec() });
                    Ok(true)
                }
                Some(entry) => {
                    let Some(old) = stands(self.user, path, entry, &mut self.budget)? else {
                        return Ok(false);
                    };
                    self.steps.push(Step::Remove { path: path.to_vec(), old });
                    Ok(true)
                }
            };
        };
        if new.kind == NodeKind::Directory && user_directory {
            let from = user.map_or(new.mode, |e| e.mode);
            if from != new.mode {
                self.mode(path, from, new.mode);
            }
            return Ok(true);
        }
        let old = match user {
            None => None,
            Some(entry) => match stands(self.user, path, entry, &mut self.budget)? {
                None => return Ok(false),
                known => known,
            },
        };
        let time = self.exact.then_some(new.mtime);
        let thing = match (&new.content, new.kind, decided.merged.take()) {
            (Content::Target(target), ..) => Thing::Link { target: target.clone(), time },
            (_, NodeKind::Directory, _) => Thing::Directory { mode: new.mode, time },
            (.., Some((bytes, mode))) => Thing::File { mode, time, bytes: Bytes::Merged(bytes), group: None },
            _ => {
                let Some(digest) = digest(self.agent, path, new.size, &mut self.budget)? else {
                    return Ok(false);
                };
                let bytes = Bytes::From { path: path.to_vec(), size: new.size, digest };
                let group = new.link_group.filter(|_| self.exact);
                Thing::File { mode: new.mode, time, bytes, group }
            }
        };
        let parent = self.directories.get(split(path).0).copied();
        let index = self.growing.len();
        if let Some(parent) = parent {
            self.growing[parent].children.push(index);
        }
        // Files are here too: those that stood below them before go along with them.
        self.directories.insert(path.to_vec(), index);
        let inside = parent.is_some();
        self.growing.push(Growing {
            path: path.to_vec(),
            thing: Some(thing),
            old,
            inside,
            children: Vec::new(),
        });
        Ok(true)
    }

    /// Who may not write to a directory of its own does so all the same when it is to change.
    fn mode(&mut self, path: &[u8], from: u32, to: u32) {
        let path = path.to_vec();
        if from & to & OPEN == OPEN {
            self.steps.push(Step::Mode { path, from, to });
        } else {
            self.opens.push(Step::Open { path, from, to });
        }
    }

    fn goes_along(&mut self, path: &[u8]) -> bool {
        // What it stands in was seen before it.
        let parent = split(path).0;
        let along = self.directories.contains_key(parent) || self.gone.contains(parent);
        if along {
            self.gone.insert(path.to_vec());
        }
        along
    }

    pub(super) fn finish(mut self) -> Vec<Step> {
        let mut puts = self.opens;
        for first in 0..self.growing.len() {
            if self.growing[first].inside {
                continue;
            }
            let (mut parts, mut todo) = (Vec::new(), vec![(0, first)]);
            while let Some((depth, n)) = todo.pop() {
                let grown = &mut self.growing[n];
                let name = if depth == 0 { Vec::new() } else { split(&grown.path).1.to_vec() };
                parts.extend(grown.thing.take().map(|thing| Part { depth, name, thing }));
                todo.extend(grown.children.iter().rev().map(|child| (depth + 1, *child)));
            }
            let grown = &mut self.growing[first];
            let (path, old) = (std::mem::take(&mut grown.path), grown.old.take());
            puts.push(Step::Put { path, parts, old });
        }
        puts.append(&mut self.steps);
        puts
    }
}
