//! A failed command says on stderr what it could not do. Where the policy is why, the rule is
//! said too. What a command prints only proposes what to look up: nothing is allowed or
//! refused for it, and the lookup does no more than the command could have done itself.

use super::{capture::encoded, child::Status};
use crate::{Table, ToolError, answer::denial_value, resolve::Resolver};
use cordon_policy::{Denial, Layer, Operation};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use std::{collections::HashSet, path::Path};

/// Lines, proposals of one line, lookups and denials that one command is worth.
const LINES: usize = 400;
const PROPOSALS: usize = 6;
const LOOKUPS: usize = 64;
const DENIALS: usize = 8;
/// What all denials of one command may cost, as text and as a value.
const COST: usize = 3 << 10;
const LINE: usize = 4 << 10;

/// What the kernel says when something is forbidden or hidden, and who is behind it if the
/// policy is.
const REFUSALS: [(&str, Kind, Layer); 6] = [
    ("Permission denied", Kind::Forbidden, Layer::Landlock),
    ("Read-only file system", Kind::ReadOnly, Layer::MountView),
    ("Operation not permitted", Kind::Forbidden, Layer::MountView),
    ("Device or resource busy", Kind::ReadOnly, Layer::MountView),
    ("No such file or directory", Kind::Hidden, Layer::MountView),
    // As some languages name them.
    ("EACCES", Kind::Forbidden, Layer::Landlock),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Forbidden,
    ReadOnly,
    Hidden,
}

/// The policy's refusals behind a failure.
pub(crate) fn find(table: &Table, directory: &Path, status: Status, stderr: &str) -> Vec<Denial> {
    let mut found: Vec<Denial> = Vec::new();
    if status.exit_code == Some(0) {
        return found;
    }
    let (mut seen, mut cost) = (HashSet::new(), 0);
    for line in stderr.lines().take(LINES).filter(|line| line.len() <= LINE) {
        let Some((message, kind, layer)) = REFUSALS.iter().find(|(message, ..)| line.contains(message))
        else {
            continue;
        };
        for proposal in proposals(line, message).into_iter().take(PROPOSALS) {
            if found.len() >= DENIALS || seen.len() >= LOOKUPS {
                return found;
            }
            if seen.insert((proposal, *kind as u8))
                && let Some(denial) = refused(table, directory, proposal, *kind)
            {
                let denial = denial.by(*layer);
                cost += encoded(&denial.to_string()) + denial_value(&denial).to_string().len();
                if cost > COST {
                    return found;
                }
                if !found.contains(&denial) {
                    found.push(denial);
                }
            }
        }
    }
    found
}

/// What may be a path in a line: what is quoted, and what stands between colons.
fn proposals<'a>(line: &'a str, message: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for (open, close) in [('\'', '\''), ('"', '"'), ('‘', '’'), ('`', '\''), ('`', '`')] {
        let mut rest = line;
        while let Some((_, after)) = rest.split_once(open)
            && let Some((inner, after)) = after.split_once(close)
        {
            found.push(inner);
            rest = after;
        }
    }
    // `bash: line 1: /x: Permission denied`, `cat: /x: ...`, `rm: cannot remove /x: ...`
    let before = line.split(message).next().unwrap_or(line);
    for part in before.split(": ").collect::<Vec<_>>().into_iter().rev() {
        let part = part.trim_matches([' ', ':', '(', ')', '[', ']']);
        found.push(part);
        found.extend(part.rsplit(' ').next().filter(|word| *word != part));
    }
    let is_name = |text: &&str| !text.is_empty() && !text.contains(char::REPLACEMENT_CHARACTER);
    found.into_iter().filter(is_name).collect()
}

fn refused(table: &Table, directory: &Path, proposal: &str, kind: Kind) -> Option<Denial> {
    let path = directory.join(proposal);
    let path = path.to_str()?;
    let resolver = Resolver::new(table);
    let decide = |operation| match resolver.open(path, operation) {
        Err(ToolError::Denied(denial)) => Err(*denial),
        Ok(opened) => Ok(Some(opened)),
        Err(_) => Ok(None),
    };
    let there = match (decide(Operation::Read), kind) {
        // Any word of a message would be a file that is not there.
        (Err(_), _) if !proposal.contains('/') && !names_something(path) => return None,
        (Err(denial), Kind::Forbidden | Kind::Hidden) => return Some(denial),
        (Err(_), Kind::ReadOnly) | (_, Kind::Hidden) => return None,
        (Ok(there), _) => there,
    };
    if there.is_none() {
        // Nothing is there: it was to be made. A mere word is nobody's file.
        let is_path = proposal.contains('/') || !proposal.contains(char::is_whitespace);
        return is_path.then(|| decide(Operation::Create).err()).flatten();
    }
    // Where the kernel does not even let it be read, more than the policy is in the way.
    if kind == Kind::Forbidden && accessat(CWD, path, Access::READ_OK, AtFlags::EACCESS).is_err() {
        return None;
    }
    [Operation::Write, Operation::Delete].into_iter().find_map(|operation| decide(operation).err())
}

/// Whether something is there by that name, however hidden its content is.
fn names_something(path: &str) -> bool {
    accessat(CWD, path, Access::EXISTS, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_policy::{Access as Grant, Origin, Policy, Rule, Source};
    use proptest::prelude::*;
    use std::fs;

    fn look(stderr: &str, code: i32) -> Vec<(Operation, String)> {
        let keep = tempfile::tempdir().unwrap();
        let root = keep.path().canonicalize().unwrap();
        for directory in ["ws/keep", "out"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        for file in ["ws/a b", "ws/keep/x", "out/canary", "ws/.env"] {
            fs::write(root.join(file), "").unwrap();
        }
        let rule = |path: &str, access| Rule {
            path: root.join(path),
            access,
            origin: Origin::built_in(Source::Workspace),
        };
        let rules = [rule("ws", Grant::Write), rule("ws/keep", Grant::Read), rule("ws/.env", Grant::None)];
        let table = Table::new(Policy::new(rules).unwrap(), &root.join("ws")).unwrap();
        let root = root.to_str().unwrap();
        let status = Status { exit_code: Some(code), signal: None };
        let found = find(&table, &Path::new(root).join("ws"), status, &stderr.replace("ROOT", root));
        found.into_iter().map(|denial| (denial.operation, denial.target.replace(root, "ROOT"))).collect()
    }

    #[test]
    fn the_rule_behind_a_failure_is_found() {
        use Operation::{Create, Delete, Read, Write};
        for (stderr, expected) in [
            ("cat: ROOT/out/canary: Permission denied", Some((Read, "ROOT/out/canary"))),
            ("cat: ../out/canary: No such file or directory", Some((Read, "ROOT/ws/../out/canary"))),
            ("cat: .env: Permission denied", Some((Read, "ROOT/ws/.env"))),
            ("bash: line 1: keep/x: Read-only file system", Some((Write, "ROOT/ws/keep/x"))),
            (
                "touch: cannot touch 'keep/new one': Read-only file system",
                Some((Create, "ROOT/ws/keep/new one")),
            ),
            (
                "rm: cannot remove \u{2018}ROOT/ws/keep\u{2019}: Device or resource busy",
                Some((Write, "ROOT/ws/keep")),
            ),
            ("rm: cannot remove 'ROOT/ws': Device or resource busy", Some((Delete, "ROOT/ws"))),
            (
                "PermissionError: [Errno 13] Permission denied: 'ROOT/ws/keep/x'",
                Some((Write, "ROOT/ws/keep/x")),
            ),
            ("Error: EACCES: permission denied, open 'ROOT/out/canary'", Some((Read, "ROOT/out/canary"))),
            ("cat: a b: Permission denied", None),
            ("cat: nothing: No such file or directory", None),
            ("cat: ROOT/ws/nothing: No such file or directory", None),
            ("ROOT/out/canary is a fine file", None),
        ] {
            let found = look(stderr, 1);
            let found: Vec<_> = found.iter().map(|(o, t)| (*o, t.as_str())).collect();
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{stderr}");
        }
        assert_eq!(look("cat: ROOT/out/canary: Permission denied", 0), []);
    }

    #[test]
    fn much_to_look_up_is_not_all_looked_up() {
        let line = |n| format!("cat: ROOT/out/{n}: Permission denied\n");
        let found = look(&(0..100_000).map(line).collect::<String>(), 1);
        assert!((1..=DENIALS).contains(&found.len()), "{}", found.len());
    }

    proptest! {
        #[test]
        fn no_output_panics(before in "\\PC{0,60}", after in ".{0,60}") {
            look(&format!("{before}Permission denied{after}"), 1);
        }
    }
}
