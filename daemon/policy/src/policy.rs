use crate::{Denial, Operation, Rule};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// A rule that no policy can hold.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Relative, or with `.` or `..` in it.
    #[error("rule path {0:?} is not an absolute path in normal form")]
    NotNormal(PathBuf),
}

/// What the policy says of one operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict<'a> {
    /// Allowed by this rule.
    Allowed(&'a Rule),
    /// Refused, and why.
    Denied(Box<Denial>),
}

impl Verdict<'_> {
    /// Whether the operation may go on.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }
}

/// Why an operation is refused.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refusal<'a> {
    /// The path is not absolute and in normal form.
    NotNormal,
    /// No rule speaks of the path.
    Nothing,
    /// A rule that grants too little.
    Rule(&'a Rule),
    /// The root of a tree, which stays where it is.
    Root(&'a Rule),
}

/// The path rules of one sandbox. The most specific rule wins; on the same path
/// the narrower access does; where no rule speaks, nothing is granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Parents before children, and children right after them.
    rules: Vec<Rule>,
    /// Where in `rules` a path is: a lookup asks for every ancestor, and hashing its
    /// bytes is several times faster than comparing components.
    index: HashMap<Box<[u8]>, usize>,
    /// Bytes of the longest rule's path.
    longest: usize,
}

pub(crate) fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// The order of paths by components, told from their bytes: the slash comes before all.
fn order(one: &[u8], other: &[u8]) -> Ordering {
    let rank = |b: u8| if b == b'/' { 0 } else { b };
    match one.iter().zip(other).find(|(a, b)| a != b) {
        Some((a, b)) => rank(*a).cmp(&rank(*b)),
        None => one.len().cmp(&other.len()),
    }
}

/// Absolute, every component a plain name, one slash between two, none at the end.
/// Names may be any bytes but NUL.
fn is_normal(path: &Path) -> bool {
    match bytes(path) {
        b"/" => true,
        [b'/', names @ ..] => {
            names.split(|b| *b == b'/').all(|n| !matches!(n, b"" | b"." | b"..") && !n.contains(&0))
        }
        _ => false,
    }
}

impl Policy {
    /// Builds a policy.
    ///
    /// # Errors
    /// When a rule's path is not absolute and in normal form.
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Result<Self, PolicyError> {
        let mut narrowest: BTreeMap<PathBuf, Rule> = BTreeMap::new();
        for rule in rules {
            if !is_normal(&rule.path) {
                return Err(PolicyError::NotNormal(rule.path));
            }
            match narrowest.get(&rule.path) {
                // Between equals the origin decides, so that the order they came in does not.
                Some(old) if (old.access, &old.origin) <= (rule.access, &rule.origin) => {}
                _ => {
                    narrowest.insert(rule.path.clone(), rule);
                }
            }
        }
        // Paths are ordered by components, so that children follow their parent.
        let rules: Vec<Rule> = narrowest.into_values().collect();
        let index = rules.iter().enumerate().map(|(n, r)| (bytes(&r.path).into(), n)).collect();
        let longest = rules.iter().map(|r| bytes(&r.path).len()).max().unwrap_or(0);
        Ok(Self { rules, index, longest })
    }

    /// Every rule, parents before children.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// The rule that speaks for a path: the nearest one at or above it. None speaks
    /// for a path that is not in normal form.
    #[must_use]
    pub fn rule_for(&self, path: &Path) -> Option<&Rule> {
        let at = |prefix: &[u8]| self.index.get(prefix).and_then(|n| self.rules.get(*n));
        if !is_normal(path) {
            return None;
        }
        let mut prefix = bytes(path);
        // No rule speaks of anything longer: a path may be as deep as an agent likes.
        if let Some(cut) = prefix.get(..=self.longest) {
            let slash = cut.iter().rposition(|b| *b == b'/').unwrap_or(0);
            prefix = &prefix[..slash.max(1)];
        }
        loop {
            if let Some(rule) = at(prefix) {
                return Some(rule);
            }
            match prefix.iter().rposition(|b| *b == b'/') {
                Some(slash) if slash > 0 => prefix = &prefix[..slash],
                _ => return at(b"/"),
            }
        }
    }

    /// Decides one operation on one path. Operations that cover a whole tree
    /// need every rule below the path to agree, and those that make or take away a
    /// name need to write the directory that holds it, as the kernel sees it.
    #[must_use]
    pub fn decide(&self, path: &Path, operation: Operation) -> Verdict<'_> {
        match self.check(path, operation) {
            Ok(rule) => Verdict::Allowed(rule),
            Err(refusal) => Verdict::Denied(Box::new(self.denial(path, operation, refusal))),
        }
    }

    /// Decides a move: what goes away from `from` with everything below it, and what it would
    /// land on at `to`, with everything below that. The first refused end is told. That a kernel
    /// moves nothing from one mount to another is no refusal: who may do both copies and removes.
    #[must_use]
    pub fn decide_rename(&self, from: &Path, to: &Path) -> Verdict<'_> {
        match self.decide(from, Operation::Rename) {
            Verdict::Allowed(_) => self.decide(to, Operation::Rename),
            denied => denied,
        }
    }

    /// Decides a hard link: through the new name the old one's content can be written, so both
    /// ends must be writable.
    #[must_use]
    pub fn decide_link(&self, existing: &Path, new: &Path) -> Verdict<'_> {
        match self.decide(existing, Operation::Link) {
            Verdict::Allowed(_) => self.decide(new, Operation::Link),
            denied => denied,
        }
    }

    pub(crate) fn check<'a>(&'a self, path: &Path, operation: Operation) -> Result<&'a Rule, Refusal<'a>> {
        let needs = operation.needs();
        let Some(rule) = self.rule_for(path) else {
            return Err(if is_normal(path) { Refusal::Nothing } else { Refusal::NotNormal });
        };
        if rule.access < needs {
            return Err(Refusal::Rule(rule));
        }
        if operation.is_recursive() {
            for below in self.below(path) {
                if below.access < needs {
                    return Err(Refusal::Rule(below));
                }
                if below.path != path && self.is_fixed(below) {
                    return Err(Refusal::Root(below));
                }
            }
        }
        // Below its own root, a rule speaks for the directory too.
        if operation.changes_directory() && rule.path == path {
            match path.parent().and_then(|parent| self.rule_for(parent)) {
                Some(parent) if parent.access < needs => return Err(Refusal::Rule(parent)),
                Some(_) if !self.is_fixed(rule) => {}
                Some(_) | None => return Err(Refusal::Root(rule)),
            }
        }
        Ok(rule)
    }

    /// Whether a rule is the root of a tree that is mounted by itself, or has nothing around it:
    /// such a root can be neither moved nor removed.
    pub(crate) fn is_fixed(&self, rule: &Rule) -> bool {
        match rule.path.parent().and_then(|parent| self.rule_for(parent)) {
            Some(around) => {
                rule.origin.source.is_tree() || (self.is_of_wall(around) && !self.is_of_wall(rule))
            }
            None => true,
        }
    }

    /// Whether the wall makes what the rule speaks of itself. A guard belongs to the tree that it
    /// is in.
    pub(crate) fn is_of_wall(&self, rule: &Rule) -> bool {
        let mut at = Some(rule);
        while let Some(rule) = at {
            if !rule.origin.source.is_guard() {
                return rule.origin.source.is_of_wall();
            }
            at = self.around(rule);
        }
        false
    }

    /// The rule that would speak for a rule's path if the rule were not there.
    pub(crate) fn around(&self, rule: &Rule) -> Option<&Rule> {
        rule.path.parent().and_then(|parent| self.rule_for(parent))
    }

    /// The rules at or below a path.
    pub fn below<'a, 'p>(&'a self, path: &'p Path) -> impl Iterator<Item = &'a Rule> + use<'a, 'p> {
        let start = match self.index.get(bytes(path)) {
            Some(start) => *start,
            None => self.rules.partition_point(|r| order(bytes(&r.path), bytes(path)).is_lt()),
        };
        self.rules.iter().skip(start).take_while(move |r| r.path.starts_with(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, Origin, Source};

    fn rule(path: &str, access: Access, source: Source) -> Rule {
        Rule { path: path.into(), access, origin: Origin::built_in(source) }
    }

    fn policy() -> Policy {
        Policy::new([
            rule("/w", Access::Write, Source::Workspace),
            rule("/w/keep", Access::Read, Source::ProtectedPath),
            rule("/w/keep/out", Access::Write, Source::ContextPath),
            rule("/r", Access::Read, Source::ContextPath),
        ])
        .unwrap()
    }

    #[test]
    fn the_most_specific_rule_wins() {
        let p = policy();
        for (path, operation, allowed) in [
            ("/w/a", Operation::Write, true),
            ("/w/keep/a", Operation::Write, false),
            ("/w/keep/a", Operation::Read, true),
            ("/w/keep/out/a", Operation::Create, true),
            ("/w/keep", Operation::Delete, false),
            ("/w", Operation::Rename, false),
            ("/w/keep/out", Operation::Write, true),
            ("/w/keep/out", Operation::Delete, false),
            ("/w/keep/out", Operation::Create, false),
            ("/w/keep/out/a", Operation::Delete, true),
            ("/r/x", Operation::Read, true),
            ("/r/x", Operation::Write, false),
            ("/rx", Operation::Read, false),
            ("/", Operation::List, false),
            ("/w/../etc/shadow", Operation::Read, false),
            ("w", Operation::Read, false),
        ] {
            assert_eq!(p.decide(Path::new(path), operation).is_allowed(), allowed, "{operation} {path}");
        }
    }

    #[test]
    fn on_the_same_path_the_narrower_access_wins() {
        for order in [[Access::Write, Access::Read], [Access::Read, Access::Write]] {
            let p = Policy::new(order.map(|a| rule("/w", a, Source::ContextPath))).unwrap();
            assert!(!p.decide(Path::new("/w/a"), Operation::Write).is_allowed());
            assert!(p.decide(Path::new("/w/a"), Operation::Read).is_allowed());
        }
    }

    #[test]
    fn a_denial_says_what_would_allow_it() {
        let p = policy();
        let Verdict::Denied(denial) = p.decide(Path::new("/r/x"), Operation::Write) else {
            panic!("a write to a read-only context path was allowed");
        };
        assert_eq!(denial.would_allow, "set permission: write on /r");
    }

    #[test]
    fn both_ends_of_a_move_and_of_a_link_are_decided() {
        let p = policy();
        let moved = |from: &str, to: &str| p.decide_rename(Path::new(from), Path::new(to)).is_allowed();
        assert!(moved("/w/a", "/w/b"));
        for (from, to) in [("/w/a", "/r/a"), ("/r/a", "/w/a"), ("/w/a", "/w/keep"), ("/w/keep/x", "/w/x")] {
            assert!(!moved(from, to), "{from} {to}");
        }
        let linked = |old: &str, new: &str| p.decide_link(Path::new(old), Path::new(new)).is_allowed();
        assert!(linked("/w/a", "/w/keep/out/a"));
        assert!(!linked("/r/a", "/w/a") && !linked("/w/a", "/w/keep/a"));
    }

    #[test]
    fn what_is_mounted_in_the_walls_own_trees_stays_where_it_is() {
        let p = Policy::new([
            rule("/tmp", Access::Write, Source::Temporary),
            rule("/tmp/a/w", Access::Write, Source::Workspace),
            rule("/tmp/a/w/c", Access::Write, Source::ContextPath),
        ])
        .unwrap();
        for (path, allowed) in [
            ("/tmp/x", true),
            ("/tmp/a", false),
            ("/tmp/a/w", false),
            ("/tmp/a/w/x", true),
            ("/tmp/a/w/c", false),
            ("/tmp/a/w/c/x", true),
        ] {
            assert_eq!(p.decide(Path::new(path), Operation::Rename).is_allowed(), allowed, "{path}");
        }
    }

    #[test]
    fn the_root_of_a_tree_cannot_be_removed_and_the_denial_says_so() {
        let p = Policy::new([rule("/w", Access::Write, Source::Workspace)]).unwrap();
        let Verdict::Denied(denial) = p.decide(Path::new("/w"), Operation::Delete) else {
            panic!("a workspace may remove itself");
        };
        assert!(denial.rule.contains("root of a granted tree (workspace)"), "{denial}");
        // A granted root has no parent that could be written: nothing holds `/`.
        let p = Policy::new([rule("/", Access::Write, Source::System)]).unwrap();
        assert!(!p.decide(Path::new("/"), Operation::Delete).is_allowed());
        assert!(p.decide(Path::new("/a"), Operation::Delete).is_allowed());
    }

    #[test]
    fn a_path_much_longer_than_any_rule_costs_little() {
        let p = policy();
        let deep = format!("/w/keep/out{}", "/d".repeat(1_000_000));
        for _ in 0..20 {
            assert_eq!(p.rule_for(Path::new(&deep)).unwrap().path, Path::new("/w/keep/out"));
        }
        for (path, rule) in
            [("/w/keep/outer", "/w/keep"), ("/w/keep/out/x", "/w/keep/out"), ("/w/keep/ou", "/w/keep")]
        {
            assert_eq!(p.rule_for(Path::new(path)).unwrap().path, Path::new(rule), "{path}");
        }
        assert_eq!(p.rule_for(Path::new("/xxxxxxxxxxxxxxxxxxxx")), None);
    }

    #[test]
    fn no_rule_speaks_for_a_path_out_of_normal_form() {
        for path in ["", "w", "/w/../etc", "/w/.", "//w", "/w/"] {
            assert_eq!(policy().rule_for(Path::new(path)), None, "{path:?}");
        }
    }

    #[test]
    fn paths_out_of_normal_form_are_refused() {
        for path in ["relative", "/a/../b", "/a/./b", "/a//b", "/a/", "/a\0b"] {
            assert!(Policy::new([rule(path, Access::Read, Source::System)]).is_err(), "{path:?}");
        }
    }
}
