//! The sentence that describes the policy, as a program: no index, no cleverness, written from
//! the words and not from the code. Other tests compare enforcers with it.
//!
//! - The rule nearest above a path speaks for it; of several on one path the narrowest does.
//! - Where no rule speaks nothing is granted, and none speaks for a path out of normal form.
//! - Reading, listing and executing need `read`; everything else needs `write`.
//! - To delete or move something is to do it to everything below: each rule there must agree.
//! - To make, delete, move or link a name is to write the directory that holds it.
//! - The root of a tree (workspace, context path, peers view) stays where it is, and so does any
//!   other root that lies in no granted tree.
//! - A move and a link are decided at both ends.

use cordon_policy::{Access, Operation, Source};
use std::{
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// One rule, as far as verdicts depend on it.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) path: PathBuf,
    pub(crate) access: Access,
    pub(crate) source: Source,
}

fn is_normal(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    let mut rebuilt = PathBuf::from("/");
    path.components().skip(1).for_each(|c| rebuilt.push(c));
    path.is_absolute()
        && !bytes.contains(&0)
        && bytes == rebuilt.as_os_str().as_bytes()
        && !path.components().any(|c| c.as_os_str() == "..")
}

fn speaks<'a>(rules: &'a [Line], path: &Path) -> Option<&'a Line> {
    let mut nearest: Option<&Line> = None;
    for rule in rules.iter().filter(|rule| path.starts_with(&rule.path)) {
        let depth = rule.path.components().count();
        let better = nearest.is_none_or(|n| {
            let old = n.path.components().count();
            depth > old || (depth == old && (rule.access, rule.source) < (n.access, n.source))
        });
        if better {
            nearest = Some(rule);
        }
    }
    nearest
}

/// Whether the wall makes the tree around a rule itself: guards belong to what they guard.
fn of_wall(rules: &[Line], rule: &Line) -> bool {
    use Source::{Home, Nothing, System, Temporary};
    if !rule.source.is_guard() {
        return matches!(rule.source, System | Home | Temporary | Nothing);
    }
    let around = rule.path.parent().and_then(|holder| speaks(rules, holder));
    around.is_some_and(|around| of_wall(rules, around))
}

fn stays(rules: &[Line], path: &Path) -> bool {
    let Some(rule) = speaks(rules, path).filter(|rule| rule.path == path) else { return false };
    match path.parent().and_then(|holder| speaks(rules, holder)) {
        Some(around) => {
            use Source::{ContextPath, PeersView, Workspace};
            matches!(rule.source, Workspace | ContextPath | PeersView)
                || (of_wall(rules, around) && !of_wall(rules, rule))
        }
        None => true,
    }
}

pub(crate) fn allowed(rules: &[Line], path: &Path, operation: Operation) -> bool {
    use Operation::{Create, Delete, Execute, Link, List, Read, Rename};
    let needs = if matches!(operation, Read | List | Execute) { Access::Read } else { Access::Write };
    let grants = |path: &Path| speaks(rules, path).is_some_and(|rule| rule.access >= needs);
    let moves = matches!(operation, Delete | Rename);
    let names = matches!(operation, Create | Delete | Rename | Link);
    is_normal(path)
        && grants(path)
        && (!moves || rules.iter().filter(|r| r.path.starts_with(path)).all(|r| grants(&r.path)))
        && (!moves || !rules.iter().any(|r| r.path.starts_with(path) && stays(rules, &r.path)))
        && (!names || (path.parent().is_some_and(grants) && !stays(rules, path)))
}

#[allow(dead_code, reason = "not every test that includes this moves or links")]
pub(crate) fn allowed_between(rules: &[Line], from: &Path, to: &Path, operation: Operation) -> bool {
    allowed(rules, from, operation) && allowed(rules, to, operation)
}
