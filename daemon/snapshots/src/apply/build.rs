//! The verdicts as steps that do not touch each other: a new directory and all in it is one, a
//! directory that becomes something else another.

use super::{
    Options,
    plan::{Decided, Plan, PlanError, Planned, Verdict, Why},
};
use crate::{
    Content, NodeKind, TreeEntry, TreeError, TreeSource,
    diff::{Budget, digest},
    live::{join, split},
};
use std::collections::{BTreeMap, HashMap};

/// What has to stand at a path for it to be replaced or removed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stands {
    File {
        mode: u32,
        size: u64,
        digest: blake3::Hash,
    },
    Link(Vec<u8>),
    /// With what is in it, by name.
    Directory {
        mode: u32,
        inside: BTreeMap<Vec<u8>, Stands>,
    },
}

/// Where the bytes of a new file come from.
#[derive(Debug)]
pub(super) enum Bytes {
    /// The agent's file of this path; it has to have this digest still.
    Agent {
        path: Vec<u8>,
        size: u64,
        digest: blake3::Hash,
    },
    Merged(Vec<u8>),
}

/// What is put somewhere.
#[derive(Debug)]
pub(super) enum Node {
    File { mode: u32, bytes: Bytes },
    Link(Vec<u8>),
    Directory { mode: u32, inside: Vec<(Vec<u8>, Node)> },
}

impl Node {
    /// How many files, links and directories it is.
    fn count(&self) -> usize {
        match self {
            Self::Directory { inside, .. } => 1 + inside.iter().map(|(_, node)| node.count()).sum::<usize>(),
            _ => 1,
        }
    }
}

impl Step {
    /// How much of it has to become durable.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Put { node, .. } => node.count(),
            _ => 1,
        }
    }
}

#[derive(Debug)]
pub(super) enum Step {
    Put { path: Vec<u8>, node: Node, old: Option<Stands> },
    Remove { path: Vec<u8>, old: Stands },
    RemoveDirectory { path: Vec<u8> },
    Mode { path: Vec<u8>, from: u32, to: u32 },
}

/// A node while its directory is still being filled.
struct Growing {
    path: Vec<u8>,
    node: Node,
    old: Option<Stands>,
    parent: Option<usize>,
    children: Vec<usize>,
}

struct Builder<'a> {
    agent: &'a dyn TreeSource,
    user: &'a dyn TreeSource,
    budget: Budget,
    growing: Vec<Growing>,
    directories: HashMap<Vec<u8>, usize>,
    steps: Vec<Step>,
}

pub(super) fn build(
    decided: BTreeMap<Vec<u8>, Decided>,
    agent: &dyn TreeSource,
    user: &dyn TreeSource,
    options: &Options,
) -> Result<Plan, PlanError> {
    let budget = Budget::new(&options.limits);
    let (growing, directories, steps) = (Vec::new(), HashMap::new(), Vec::new());
    let mut builder = Builder { agent, user, budget, growing, directories, steps };
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

impl Builder<'_> {
    /// False: something is too large.
    fn add(&mut self, path: &[u8], decided: &mut Decided) -> Result<bool, TreeError> {
        let user = decided.user.as_ref();
        let user_directory = user.is_some_and(|e| e.kind == NodeKind::Directory);
        let Some(new) = &decided.delta.new else {
            return match user {
                None => Ok(true),
                // What becomes something else takes all in it along.
                Some(_) if self.inside_of_replaced(path) => Ok(true),
                Some(_) if user_directory => {
                    self.steps.push(Step::RemoveDirectory { path: path.to_vec() });
                    Ok(true)
                }
                Some(entry) => {
                    let Some(old) = self.stands(path, entry)? else { return Ok(false) };
                    self.steps.push(Step::Remove { path: path.to_vec(), old });
                    Ok(true)
                }
            };
        };
        if new.kind == NodeKind::Directory && user_directory {
            let from = user.map_or(new.mode, |e| e.mode);
            self.steps.push(Step::Mode { path: path.to_vec(), from, to: new.mode });
            return Ok(true);
        }
        let old = match user {
            None => None,
            Some(entry) => match self.stands(path, entry)? {
                None => return Ok(false),
                known => known,
            },
        };
        let node = match (&new.content, new.kind, decided.merged.take()) {
            (Content::Target(target), ..) => Node::Link(target.clone()),
            (_, NodeKind::Directory, _) => Node::Directory { mode: new.mode, inside: Vec::new() },
            (.., Some((bytes, mode))) => Node::File { mode, bytes: Bytes::Merged(bytes) },
            _ => {
                let Some(digest) = digest(self.agent, path, new.size, &mut self.budget)? else {
                    return Ok(false);
                };
                let bytes = Bytes::Agent { path: path.to_vec(), size: new.size, digest };
                Node::File { mode: new.mode, bytes }
            }
        };
        let parent = self.directories.get(split(path).0).copied();
        let index = self.growing.len();
        if let Some(parent) = parent {
            self.growing[parent].children.push(index);
        }
        // Files are here too: those that stood below them before go along with them.
        self.directories.insert(path.to_vec(), index);
        self.growing.push(Growing { path: path.to_vec(), node, old, parent, children: Vec::new() });
        Ok(true)
    }

    fn inside_of_replaced(&self, path: &[u8]) -> bool {
        let mut at = split(path).0;
        while !at.is_empty() {
            if self.directories.contains_key(at) {
                return true;
            }
            at = split(at).0;
        }
        false
    }

    fn stands(&mut self, path: &[u8], entry: &TreeEntry) -> Result<Option<Stands>, TreeError> {
        Ok(Some(match (&entry.content, entry.kind) {
            (Content::Target(target), _) => Stands::Link(target.clone()),
            (_, NodeKind::Directory) => {
                let mut inside = BTreeMap::new();
                for child in self.user.children(path)? {
                    let Some(stands) = self.stands(&join(path, &child.name), &child)? else {
                        return Ok(None);
                    };
                    inside.insert(child.name, stands);
                }
                Stands::Directory { mode: entry.mode, inside }
            }
            _ => match digest(self.user, path, entry.size, &mut self.budget)? {
                Some(digest) => Stands::File { mode: entry.mode, size: entry.size, digest },
                None => return Ok(None),
            },
        }))
    }

    fn finish(mut self) -> Vec<Step> {
        let mut done: Vec<Option<(Vec<u8>, Node)>> = self.growing.iter().map(|_| None).collect();
        let mut puts = Vec::new();
        // Children have higher numbers than what they stand in.
        while let Some(grown) = self.growing.pop() {
            let mut node = grown.node;
            if let Node::Directory { inside, .. } = &mut node {
                inside.extend(grown.children.into_iter().filter_map(|child| done[child].take()));
            }
            match grown.parent {
                Some(_) => {
                    let name = split(&grown.path).1.to_vec();
                    done[self.growing.len()] = Some((name, node));
                }
                None => puts.push(Step::Put { path: grown.path, node, old: grown.old }),
            }
        }
        puts.reverse();
        puts.append(&mut self.steps);
        puts
    }
}
