use crate::{Access, Denial, Layer, Operation, Origin, Rule, Source};
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

/// The path rules of one sandbox. The most specific rule wins; on the same path
/// the narrower access does; where no rule speaks, nothing is granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Parents before children, and children right after them.
    rules: Vec<Rule>,
    /// Where in `rules` a path is: a lookup asks for every ancestor, and hashing its
    /// bytes is several times faster than comparing components.
    index: HashMap<Box<[u8]>, usize>,
}

fn bytes(path: &Path) -> &[u8] {
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
                Some(old) if old.access <= rule.access => {}
                _ => {
                    narrowest.insert(rule.path.clone(), rule);
                }
            }
        }
        // Paths are ordered by components, so that children follow their parent.
        let rules: Vec<Rule> = narrowest.into_values().collect();
        let index = rules.iter().enumerate().map(|(n, r)| (bytes(&r.path).into(), n)).collect();
        Ok(Self { rules, index })
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
        let needs = operation.needs();
        let denied = |rule| Verdict::Denied(Box::new(deny(path, operation, rule)));
        let Some(rule) = self.rule_for(path) else { return denied(None) };
        if rule.access < needs {
            return denied(Some(rule));
        }
        if operation.is_recursive()
            && let Some(below) = self.below(path).find(|r| r.access < needs)
        {
            return denied(Some(below));
        }
        // Below its own root, a rule speaks for the directory too.
        if operation.changes_directory() && rule.path == path {
            match path.parent().map(|parent| self.rule_for(parent)) {
                Some(Some(parent)) if parent.access >= needs => {}
                Some(Some(parent)) => return denied(Some(parent)),
                Some(None) | None => return Verdict::Denied(Box::new(deny_root(path, operation, rule))),
            }
        }
        Verdict::Allowed(rule)
    }

    /// The rules at or below a path.
    pub fn below<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a Rule> {
        let start = match self.index.get(bytes(path)) {
            Some(start) => *start,
            None => self.rules.partition_point(|r| order(bytes(&r.path), bytes(path)).is_lt()),
        };
        self.rules.iter().skip(start).take_while(move |r| r.path.starts_with(path))
    }
}

/// The root of a granted tree: the directory that holds it belongs to nobody inside.
fn deny_root(path: &Path, operation: Operation, rule: &Rule) -> Denial {
    let target = path.to_string_lossy().escape_debug().to_string();
    let text = format!(
        "{target} is the root of a granted tree ({}), and no rule grants what holds it",
        rule.origin.source
    );
    Denial {
        operation,
        target,
        rule: text,
        origin: rule.origin.clone(),
        layer: Layer::MountView,
        would_allow: String::new(),
    }
}

fn deny(path: &Path, operation: Operation, rule: Option<&Rule>) -> Denial {
    let target = path.to_string_lossy().escape_debug().to_string();
    let (text, origin, would_allow) = match rule {
        None => (
            "no rule allows this path".to_owned(),
            Origin::built_in(Source::Nothing),
            format!("add {target} to context_paths of the agent file"),
        ),
        Some(rule) => {
            let at = rule.path.to_string_lossy().escape_debug().to_string();
            let text = format!("{at} is {} only ({})", rule.access, rule.origin.source);
            let fix = match (rule.origin.source, rule.access) {
                (Source::ContextPath, Access::Read) => format!("set permission: write on {at}"),
                (Source::ProtectedPath, _) => format!("take {at} out of protected_paths"),
                _ => String::new(),
            };
            (text, rule.origin.clone(), fix)
        }
    };
    Denial { operation, target, rule: text, origin, layer: Layer::MountView, would_allow }
}

#[cfg(test)]
mod tests {
    use super::*;

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
