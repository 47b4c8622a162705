use crate::{Access, Denial, Layer, Operation, Origin, Rule, Source};
use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
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
    rules: BTreeMap<PathBuf, Rule>,
}

fn is_normal(path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt as _;
    let bytes = path.as_os_str().as_bytes();
    path.is_absolute()
        && !bytes.contains(&0)
        && path.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)))
        && path.components().collect::<PathBuf>().as_os_str().as_bytes() == bytes
}

impl Policy {
    /// Builds a policy.
    ///
    /// # Errors
    /// When a rule's path is not absolute and in normal form.
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Result<Self, PolicyError> {
        let mut policy = Self::default();
        for rule in rules {
            if !is_normal(&rule.path) {
                return Err(PolicyError::NotNormal(rule.path));
            }
            match policy.rules.get(&rule.path) {
                Some(old) if old.access <= rule.access => {}
                _ => {
                    policy.rules.insert(rule.path.clone(), rule);
                }
            }
        }
        Ok(policy)
    }

    /// Every rule, parents before children.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.values()
    }

    /// The rule that speaks for a path: the nearest one at or above it.
    #[must_use]
    pub fn rule_for(&self, path: &Path) -> Option<&Rule> {
        path.ancestors().find_map(|p| self.rules.get(p))
    }

    /// Decides one operation on one path. Operations that cover a whole tree
    /// need every rule below the path to agree.
    #[must_use]
    pub fn decide(&self, path: &Path, operation: Operation) -> Verdict<'_> {
        let needs = operation.needs();
        let Some(rule) = is_normal(path).then(|| self.rule_for(path)).flatten() else {
            return Verdict::Denied(Box::new(deny(path, operation, None)));
        };
        if rule.access < needs {
            return Verdict::Denied(Box::new(deny(path, operation, Some(rule))));
        }
        if operation.is_recursive()
            && let Some(below) = self.below(path).find(|r| r.access < needs)
        {
            return Verdict::Denied(Box::new(deny(path, operation, Some(below))));
        }
        Verdict::Allowed(rule)
    }

    /// The rules at or below a path.
    pub fn below<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a Rule> {
        self.rules.range(path.to_path_buf()..).map(|(_, r)| r).take_while(move |r| r.path.starts_with(path))
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
    fn paths_out_of_normal_form_are_refused() {
        for path in ["relative", "/a/../b", "/a/./b", "/a//b", "/a/", "/a\0b"] {
            assert!(Policy::new([rule(path, Access::Read, Source::System)]).is_err(), "{path:?}");
        }
    }
}
