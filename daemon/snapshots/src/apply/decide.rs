//! The verdict on each change, parents first; then, from the deepest up, on directories that
//! can go only when all in them goes.

use super::{
    OnDrift, Options,
    links::{Links, resolve},
    listings::Listings,
    plan::{Decided, PlanError, Verdict, Why, drifted},
};
use crate::{
    Content, NodeKind, TreeEntry, TreeError, TreeSource,
    classify::{self, Subject},
    diff::{self, Budget, Delta, read_bounded},
    live::{join, split},
    merge::{Merged, Prefer, merge},
};
use std::collections::BTreeMap;

/// Links that are followed one after the other, as many as the kernel follows.
const HOPS: usize = 40;

pub(super) struct Decider<'a> {
    base: &'a dyn TreeSource,
    agent: &'a dyn TreeSource,
    user: &'a dyn TreeSource,
    options: &'a Options,
    budget: Budget,
    open: BTreeMap<Vec<u8>, Delta>,
    decided: BTreeMap<Vec<u8>, Decided>,
    listings: Listings<'a>,
    links: Links<'a>,
}

fn is_directory(entry: Option<&TreeEntry>) -> bool {
    entry.is_some_and(|e| e.kind == NodeKind::Directory)
}

/// Whether a link stays inside: relative, upwards only at its beginning and no further than the
/// root, and not into a repository's own directory. A `..` after a name could pass through
/// another link and is refused.
fn stays(path: &[u8], target: &[u8]) -> bool {
    let depth = path.split(|b| *b == b'/').count() - 1;
    let mut parts = target.split(|b| *b == b'/').filter(|p| !p.is_empty() && *p != b".").peekable();
    let mut up = 0;
    while parts.next_if(|p| *p == b"..").is_some() {
        up += 1;
    }
    let relative = !target.is_empty() && !target.starts_with(b"/");
    relative && up <= depth && parts.all(|p| p != b"..") && !classify::is_git(target)
}

impl<'a> Decider<'a> {
    pub(super) fn new(
        base: &'a dyn TreeSource,
        agent: &'a dyn TreeSource,
        user: &'a dyn TreeSource,
        options: &'a Options,
    ) -> Result<Self, PlanError> {
        let mut budget = Budget::new(&options.limits);
        let found = diff::plain(base, agent, &options.limits, &mut budget)?;
        let open = found.into_iter().map(|d| (d.path.clone(), d)).collect();
        let (decided, listings, links) = (BTreeMap::new(), Listings::new(user), Links::new(&options.above));
        Ok(Self { base, agent, user, options, budget, open, decided, listings, links })
    }

    pub(super) fn all(&mut self) -> Result<(), PlanError> {
        let asked: Vec<_> = self.open.keys().filter(|p| self.asked(p)).cloned().collect();
        asked.iter().try_for_each(|path| self.ensure(path))
    }

    fn asked(&self, path: &[u8]) -> bool {
        let within = |root: &Vec<u8>| {
            let rest = path.strip_prefix(root.as_slice());
            root.is_empty() || rest.is_some_and(|r| r.is_empty() || r.starts_with(b"/"))
        };
        self.options.paths.is_empty() || self.options.paths.iter().any(within)
    }

    /// Decides on a path after those it stands in.
    fn ensure(&mut self, path: &[u8]) -> Result<(), PlanError> {
        let mut needed = vec![path];
        let mut at = path;
        while self.open.get(at).is_some_and(|d| d.new.is_some()) {
            at = split(at).0;
            let made = |d: &Delta| is_directory(d.new.as_ref()) && !is_directory(d.old.as_ref());
            if !self.open.get(at).is_some_and(made) {
                break;
            }
            needed.push(at);
        }
        needed.into_iter().rev().try_for_each(|path| self.one(path))
    }

    fn one(&mut self, path: &[u8]) -> Result<(), PlanError> {
        let Some(delta) = self.open.remove(path) else { return Ok(()) };
        let asked = self.asked(path);
        let user = self.entry(path)?;
        let mut findings = self.findings(&delta)?;
        findings.extend(self.links.leading_to(path, self.user, self.agent)?);
        let mut decided = Decided { delta, user, findings, verdict: Verdict::Apply, merged: None, asked };
        decided.verdict = self.verdict(&mut decided)?;
        self.decided.insert(path.to_vec(), decided);
        Ok(())
    }

    fn entry(&mut self, path: &[u8]) -> Result<Option<TreeEntry>, TreeError> {
        self.listings.entry(path)
    }

    fn findings(&self, delta: &Delta) -> Result<Vec<classify::Finding>, TreeError> {
        let bytes = |tree: &dyn TreeSource, entry: Option<&TreeEntry>| match entry {
            Some(e) if e.kind == NodeKind::File && classify::wants_content(&delta.path) => {
                read_bounded(tree, &delta.path, e.size, self.options.limits.text)
            }
            _ => Ok(None),
        };
        let (old, new) = (delta.old.as_ref(), delta.new.as_ref());
        let (old_bytes, new_bytes) = (bytes(self.base, old)?, bytes(self.agent, new)?);
        let (old_bytes, new_bytes) = (old_bytes.as_deref(), new_bytes.as_deref());
        // A tree may itself be what a name says: `.github` alone, or `.git/hooks`.
        let path = &join(&self.options.above, &delta.path);
        Ok(classify::classify(&Subject { path, old, new, old_bytes, new_bytes }))
    }

    fn verdict(&mut self, decided: &mut Decided) -> Result<Verdict, PlanError> {
        let path = decided.delta.path.clone();
        if classify::is_git(&path) {
            return Ok(Verdict::LeftOut(Why::Git));
        }
        let (base, agent) = (decided.delta.old.clone(), decided.delta.new.clone());
        let user = decided.user.clone();
        if self.same(self.agent, user.as_ref(), agent.as_ref(), &path, base.is_none())? == Some(true) {
            return Ok(Verdict::Already);
        }
        let unwanted =
            |why| if self.options.leave_out { Verdict::LeftOut(why) } else { Verdict::Refused(why) };
        if let Some(TreeEntry { content: Content::Target(target), .. }) = &agent
            && !(stays(&path, target) && self.leads_inside(&path, target)?)
        {
            return Ok(unwanted(Why::Link));
        }
        if decided.findings.iter().any(|f| !self.options.allowed.contains(&f.class)) {
            return Ok(unwanted(Why::Class));
        }
        if agent.is_some()
            && let Some(verdict) = self.parent(&path)?
        {
            return Ok(verdict);
        }
        match self.same(self.base, user.as_ref(), base.as_ref(), &path, false)? {
            Some(true) => Ok(Verdict::Apply),
            None => Ok(drifted(self.options.on_drift, Why::Large)),
            Some(false) => self.drift(decided),
        }
    }

    /// Whether the user's own links, where a new one passes through them, stay inside as well.
    fn leads_inside(&mut self, path: &[u8], target: &[u8]) -> Result<bool, TreeError> {
        let Some(mut whole) = resolve(split(path).0, target) else { return Ok(false) };
        for _ in 0..HOPS {
            let ends: Vec<_> =
                (0..=whole.len()).filter(|n| whole.get(*n).is_none_or(|b| *b == b'/')).collect();
            let mut next = None;
            for end in ends {
                let at = &whole[..end];
                let Some(TreeEntry { content: Content::Target(own), .. }) = self.entry(at)? else { continue };
                if !stays(at, &own) {
                    return Ok(false);
                }
                // The rest has no `..` in it: it goes on below where the link leads.
                let rest = whole[end..].strip_prefix(b"/").unwrap_or_default();
                next =
                    resolve(split(at).0, &own).map(|to| if rest.is_empty() { to } else { join(&to, rest) });
                break;
            }
            match next {
                Some(next) => whole = next,
                None => return Ok(!classify::is_git(&whole)),
            }
        }
        // In a circle, or further than the kernel follows: it leads nowhere.
        Ok(true)
    }

    /// Whether the user's entry is the one of `tree`; none: too large to be told.
    fn same(
        &mut self,
        tree: &dyn TreeSource,
        user: Option<&TreeEntry>,
        other: Option<&TreeEntry>,
        path: &[u8],
        any_directory: bool,
    ) -> Result<Option<bool>, TreeError> {
        let (Some(user), Some(other)) = (user, other) else {
            return Ok(Some(user.is_none() && other.is_none()));
        };
        if user.kind != other.kind {
            return Ok(Some(false));
        }
        if user.kind == NodeKind::Directory {
            return Ok(Some(any_directory || user.mode == other.mode));
        }
        if user.kind == NodeKind::File && user.mode != other.mode {
            return Ok(Some(false));
        }
        diff::same(self.user, tree, path, user, other, &mut self.budget)
    }

    /// What stands in the way of putting something into a path's directory.
    fn parent(&mut self, path: &[u8]) -> Result<Option<Verdict>, TreeError> {
        let (parent, _) = split(path);
        if parent.is_empty() {
            return Ok(None);
        }
        let blocked = || Why::Blocked(parent.to_vec());
        if let Some(made) = self.decided.get(parent).filter(|d| is_directory(d.delta.new.as_ref())) {
            match made.verdict {
                Verdict::LeftOut(_) if !is_directory(made.user.as_ref()) => {
                    return Ok(Some(Verdict::LeftOut(blocked())));
                }
                Verdict::Refused(_) => return Ok(Some(Verdict::Refused(blocked()))),
                _ => return Ok(None),
            }
        }
        let there = is_directory(self.entry(parent)?.as_ref());
        Ok((!there).then(|| drifted(self.options.on_drift, Why::Drift("the directory it stands in is gone"))))
    }

    fn drift(&mut self, decided: &mut Decided) -> Result<Verdict, PlanError> {
        let on = self.options.on_drift;
        let plain = match (&decided.delta.old, &decided.user) {
            (None, _) => Why::Drift("something else was made there"),
            (_, None) => Why::Drift("it was removed"),
            (Some(a), Some(b)) if a.kind != b.kind => Why::Drift("it became something else"),
            _ => Why::Drift("it was changed"),
        };
        let files = |e: &Option<TreeEntry>| e.clone().filter(|e| e.kind == NodeKind::File);
        let three = (files(&decided.delta.old), files(&decided.user), files(&decided.delta.new));
        let (OnDrift::Merge | OnDrift::Ours, (Some(base), Some(user), Some(agent))) = (on, three) else {
            return Ok(drifted(on, plain));
        };
        let path = &decided.delta.path;
        let mode = match () {
            () if agent.mode == base.mode => user.mode,
            () if user.mode == base.mode || user.mode == agent.mode => agent.mode,
            () if on == OnDrift::Ours => user.mode,
            () => return Ok(Verdict::Refused(Why::Drift("its mode was changed differently"))),
        };
        let limit = self.options.limits.text;
        let bytes = |tree: &dyn TreeSource, e: &TreeEntry| read_bounded(tree, path, e.size, limit);
        let texts = (bytes(self.base, &base)?, bytes(self.user, &user)?, bytes(self.agent, &agent)?);
        let (Some(b), Some(u), Some(a)) = texts else { return Ok(drifted(on, Why::Large)) };
        let merged = if u == b || u == a {
            a
        } else if a == b {
            u.clone()
        } else if [&b, &u, &a].iter().any(|t| t.contains(&0)) {
            return Ok(drifted(on, plain));
        } else {
            let prefer = if on == OnDrift::Ours { Prefer::Ours } else { Prefer::Neither };
            match merge(&b, &u, &a, prefer, self.options.limits.time) {
                Merged::Clean(text) => text,
                Merged::Conflicts(conflicts) => return Ok(Verdict::Refused(Why::Conflict(conflicts))),
            }
        };
        if merged == u && mode == user.mode {
            return Ok(Verdict::Already);
        }
        decided.merged = Some((merged, mode));
        Ok(Verdict::Merge)
    }

    /// Directories that are to go, from the deepest: each only when all that the user has in it
    /// goes as well.
    pub(super) fn finish(mut self) -> Result<BTreeMap<Vec<u8>, Decided>, PlanError> {
        let going = |d: &Decided| {
            d.done() && is_directory(d.delta.old.as_ref()) && !is_directory(d.delta.new.as_ref())
        };
        let directories: Vec<_> =
            self.decided.iter().filter(|(_, d)| going(d)).map(|(p, _)| p.clone()).collect();
        for path in directories.into_iter().rev() {
            let names: Vec<_> = self.listings.list(&path)?.iter().map(|e| join(&path, &e.name)).collect();
            let mut verdict = None;
            for inside in names {
                let stays = match self.decided.get(&inside) {
                    Some(d) if d.delta.new.is_none() && d.done() => continue,
                    Some(Decided { verdict: Verdict::Refused(_), .. }) => {
                        Verdict::Refused(Why::Blocked(inside))
                    }
                    Some(_) => Verdict::LeftOut(Why::Blocked(inside)),
                    // The agent removed it and nobody asked for that.
                    None if self.open.contains_key(&inside) => Verdict::LeftOut(Why::Blocked(inside)),
                    None => drifted(self.options.on_drift, Why::Drift("something was put into it")),
                };
                verdict = Some(stays);
                break;
            }
            if let (Some(verdict), Some(decided)) = (verdict, self.decided.get_mut(&path)) {
                decided.verdict = verdict;
            }
        }
        Ok(self.decided)
    }
}

#[cfg(test)]
mod tests {
    use super::stays;

    #[test]
    fn links_stay_inside_or_are_told() {
        for (path, target, inside) in [
            ("l", "a", true),
            ("l", "./a/b", true),
            ("d/l", "../a", true),
            ("d/l", "..", true),
            ("l", "..", false),
            ("l", "../a", false),
            ("d/l", "../../a", false),
            ("d/e/l", "x/../../a", false),
            ("l", "/etc/passwd", false),
            ("l", "", false),
            ("l", ".git/hooks/pre-commit", false),
            ("d/l", "../.GIT/config", false),
            ("l", "..a/b..", true),
        ] {
            assert_eq!(stays(path.as_bytes(), target.as_bytes()), inside, "{path} -> {target}");
        }
    }
}
