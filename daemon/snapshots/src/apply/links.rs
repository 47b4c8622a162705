//! Links of a known name: what they lead to is what their name says. `AGENTS.md` may be a link to
//! `docs/agents.md`, and then whoever changes the latter steers agents.

use crate::{
    Content, NodeKind, TreeError, TreeSource,
    classify::{self, Finding, Subject},
    live::{join, split},
};
use std::collections::HashMap;

/// Directories whose links are kept.
const KEPT: usize = 4096;

/// Where a link of a known name leads, and what it makes of what is there.
struct Known {
    target: Vec<u8>,
    findings: Vec<Finding>,
}

#[derive(Default)]
pub(super) struct Links {
    by_directory: HashMap<Vec<u8>, Vec<Known>>,
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

impl Links {
    /// What links in the directories around a path, the user's or the agent's, make of it.
    pub(super) fn leading_to(
        &mut self,
        path: &[u8],
        user: &dyn TreeSource,
        agent: &dyn TreeSource,
    ) -> Result<Vec<Finding>, TreeError> {
        let mut found = Vec::new();
        let mut directory = path;
        while !directory.is_empty() {
            directory = split(directory).0;
            if !self.by_directory.contains_key(directory) {
                if self.by_directory.len() >= KEPT {
                    self.by_directory.clear();
                }
                let mut links = known(directory, user)?;
                links.extend(known(directory, agent)?);
                self.by_directory.insert(directory.to_vec(), links);
            }
            for Known { target, findings } in self.by_directory.get(directory).into_iter().flatten() {
                let rest = path.strip_prefix(target.as_slice());
                if rest.is_some_and(|r| r.is_empty() || r.starts_with(b"/")) {
                    found.extend(findings.iter().cloned());
                }
            }
        }
        found.sort_by_key(|f| (f.class, f.reason));
        found.dedup();
        Ok(found)
    }
}

fn known(directory: &[u8], tree: &dyn TreeSource) -> Result<Vec<Known>, TreeError> {
    let entries = match tree.children(directory) {
        Err(error) if error.absent => Vec::new(),
        other => other?,
    };
    let mut links = Vec::new();
    for entry in entries.into_iter().filter(|e| e.kind == NodeKind::Symlink) {
        let path = join(directory, &entry.name);
        let findings = classify::classify(&Subject { path: &path, new: Some(&entry), ..Subject::default() });
        if let (Content::Target(target), false) = (&entry.content, findings.is_empty())
            && let Some(target) = resolve(directory, target)
        {
            let reason = "a link with a name of that kind leads to it";
            let findings = findings.into_iter().map(|f| Finding { reason, ..f }).collect();
            links.push(Known { target, findings });
        }
    }
    Ok(links)
}
