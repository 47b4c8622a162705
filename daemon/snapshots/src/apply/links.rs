//! Links of a known name: what they lead to is what their name says. `AGENTS.md` may be a link to
//! `docs/agents.md`, and then whoever changes the latter steers agents.

use crate::{
    Content, NodeKind, TreeError, TreeSource,
    classify::{self, Finding, Subject},
    live::{join, split},
};
use std::{collections::HashMap, rc::Rc};

/// Directories of which it is kept what leads into them.
const KEPT: usize = 4096;

/// Where a link of a known name leads, and what it makes of what is there.
type Leads = (Vec<u8>, Rc<Vec<Finding>>);

/// What the links in a directory, and in those it stands in, make of it.
#[derive(Clone, Debug, Default)]
struct Around {
    /// Whether it is a directory of the user's tree, and of the agent's.
    there: [bool; 2],
    /// They lead to the directory itself or to one that it stands in.
    here: Vec<Rc<Vec<Finding>>>,
    /// They lead to something below it; in the order of the targets.
    below: Vec<Leads>,
}

pub(super) struct Links<'a> {
    /// Where the tree stands.
    above: &'a [u8],
    known: HashMap<Vec<u8>, Rc<Around>>,
}

/// Where a link leads to by its text alone; none: out of the tree.
pub(super) fn resolve(directory: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    if target.starts_with(b"/") {
        return None;
    }
    let mut at = directory.to_vec();
    for part in target.split(|b| *b == b'/').filter(|p| !p.is_empty() && *p != b".") {
        if part == b".." {
            if at.is_empty() {
                return None;
            }
            at = split(&at).0.to_vec();
        } else {
            at = join(&at, part);
        }
    }
    Some(at)
}

/// Whether `path` stands in `directory`.
fn inside(path: &[u8], directory: &[u8]) -> bool {
    directory.is_empty() || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with(b"/"))
}

impl Around {
    /// What leads to a path, and stands around it.
    fn to<'a>(&'a self, path: &'a [u8]) -> impl Iterator<Item = &'a Leads> {
        let first = self.below.partition_point(|(target, _)| target.as_slice() < path);
        self.below[first..].iter().take_while(move |(target, _)| target == path)
    }

    /// The same for a directory in it, but for the links in that one.
    fn enter(&self, directory: &[u8]) -> Self {
        let mut here = self.here.clone();
        here.extend(self.to(directory).map(|(_, findings)| Rc::clone(findings)));
        let mut prefix = directory.to_vec();
        prefix.push(b'/');
        let first = self.below.partition_point(|(target, _)| *target < prefix);
        let below = self.below[first..].iter().take_while(|(target, _)| target.starts_with(&prefix));
        Self { there: self.there, here, below: below.cloned().collect() }
    }

    fn add(&mut self, directory: &[u8], links: Vec<Leads>) {
        for (target, findings) in links {
            if target == directory || inside(directory, &target) {
                self.here.push(findings);
            } else if inside(&target, directory) {
                self.below.push((target, findings));
            }
        }
        self.below.sort_by(|a, b| a.0.cmp(&b.0));
    }
}

impl<'a> Links<'a> {
    pub(super) fn new(above: &'a [u8]) -> Self {
        Self { above, known: HashMap::new() }
    }

    /// What links in the directories around a path, the user's or the agent's, make of it.
    pub(super) fn leading_to(
        &mut self,
        path: &[u8],
        user: &dyn TreeSource,
        agent: &dyn TreeSource,
    ) -> Result<Vec<Finding>, TreeError> {
        let around = self.around(split(path).0, user, agent)?;
        let leading = around.here.iter().chain(around.to(path).map(|(_, findings)| findings));
        let mut found: Vec<_> = leading.flat_map(|findings| findings.iter().cloned()).collect();
        found.sort_by_key(|f| (f.class, f.reason));
        found.dedup();
        Ok(found)
    }

    fn around(
        &mut self,
        directory: &[u8],
        user: &dyn TreeSource,
        agent: &dyn TreeSource,
    ) -> Result<Rc<Around>, TreeError> {
        if self.known.len() >= KEPT {
            self.known.clear();
        }
        let mut unknown = vec![directory];
        let mut around = loop {
            let Some(at) = unknown.last().copied() else { break Rc::default() };
            match self.known.get(at) {
                Some(known) => {
                    unknown.pop();
                    break Rc::clone(known);
                }
                None if at.is_empty() => break Rc::default(),
                None => unknown.push(split(at).0),
            }
        };
        for at in unknown.into_iter().rev() {
            let root = || Around { there: [true; 2], ..Around::default() };
            let mut next = if at.is_empty() { root() } else { around.enter(at) };
            for (n, tree) in
                [user, agent].into_iter().enumerate().filter(|(n, _)| around.there[*n] || at.is_empty())
            {
                let links = known(self.above, at, tree)?;
                next.there[n] = links.is_some();
                next.add(at, links.unwrap_or_default());
            }
            around = Rc::new(next);
            self.known.insert(at.to_vec(), Rc::clone(&around));
        }
        Ok(around)
    }
}

/// The links of a known name in a directory; none: there is no such directory.
fn known(above: &[u8], directory: &[u8], tree: &dyn TreeSource) -> Result<Option<Vec<Leads>>, TreeError> {
    let entries = match tree.children(directory) {
        Err(error) if error.absent => return Ok(None),
        other => other?,
    };
    let mut links = Vec::new();
    for entry in entries.into_iter().filter(|e| e.kind == NodeKind::Symlink) {
        let path = join(above, &join(directory, &entry.name));
        let findings = classify::classify(&Subject { path: &path, new: Some(&entry), ..Subject::default() });
        if let (Content::Target(target), false) = (&entry.content, findings.is_empty())
            && let Some(target) = resolve(directory, target)
        {
            let reason = "a link with a name of that kind leads to it";
            let findings = findings.into_iter().map(|f| Finding { reason, ..f }).collect();
            links.push((target, Rc::new(findings)));
        }
    }
    Ok(Some(links))
}
