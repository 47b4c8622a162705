use super::*;
use crate::{Place, Verdict};
use proptest::prelude::*;

fn at(line: u32) -> Option<Place> {
    Some(Place { file: "a.yaml".to_owned(), line, column: 1 })
}

fn rule(path: &str, access: Access, source: Source, place: Option<Place>) -> Rule {
    Rule { path: path.into(), access, origin: Origin { source, place } }
}

fn policy() -> Policy {
    Policy::new([
        rule("/usr", Access::Read, Source::System, None),
        rule("/etc", Access::Read, Source::System, None),
        rule("/etc/shadow", Access::None, Source::Secret, None),
        rule("/home/agent", Access::Write, Source::Home, None),
        rule("/home/agent/.codex/auth.json", Access::Read, Source::Credential, None),
        rule("/ws", Access::Write, Source::Workspace, None),
        rule("/peers", Access::Read, Source::PeersView, None),
        rule("/r", Access::Read, Source::ContextPath, at(3)),
        rule("/r/.env", Access::None, Source::Secret, at(3)),
        rule("/w", Access::Write, Source::ContextPath, at(7)),
        rule("/w/keep", Access::Read, Source::ProtectedPath, at(7)),
        rule("/w/.git", Access::Read, Source::RunsLater, at(7)),
        rule("/w/.git/hooks", Access::Read, Source::RunsLater, at(7)),
        rule("/w/sub/.claude", Access::Read, Source::SteersAgents, at(7)),
        rule("/w/two", Access::Read, Source::HardLink, at(7)),
    ])
    .unwrap()
}

fn denied(path: &str, operation: Operation) -> Denial {
    match policy().decide(Path::new(path), operation) {
        Verdict::Denied(denial) => *denial,
        Verdict::Allowed(rule) => panic!("{operation} {path} is allowed by {rule:?}"),
    }
}

#[test]
fn every_denial_names_the_smallest_change() {
    use Operation::{Create, Delete, List, Read, Rename, Write};
    for (path, operation, told) in [
        ("/r/a", Write, "set permission: write on /r (a.yaml:3)"),
        ("/r/.env", Read, "add `.env` to `allow` of the context path /r (a.yaml:3)"),
        (
            "/r/.env",
            Write,
            "add `.env` to `allow` of the context path /r (a.yaml:3); set permission: write on /r (a.yaml:3)",
        ),
        ("/w/keep/a", Create, "take /w/keep out of protected_paths (a.yaml:7)"),
        ("/w/keep", Delete, "take /w/keep out of protected_paths (a.yaml:7)"),
        ("/w/.git/index", Write, "add `.git` to `allow` of the context path /w (a.yaml:7)"),
        (
            "/w/.git/hooks/pre-commit",
            Create,
            "add `.git/hooks` to `allow` of the context path /w (a.yaml:7); \
             add `.git` to `allow` of the context path /w (a.yaml:7)",
        ),
        ("/w/sub", Rename, "add `sub/.claude` to `allow` of the context path /w (a.yaml:7)"),
        (
            "/w/two",
            Write,
            "replace /w/two by a copy of itself outside the sandbox, so that it has no other name",
        ),
        ("/x/y", Read, "add /x/y to context_paths of the agent file"),
        ("/x/y", List, "add /x/y to context_paths of the agent file"),
        ("/x/y", Write, "add /x/y with permission: write to context_paths of the agent file"),
        ("/x/y", Create, "add /x with permission: write to context_paths of the agent file"),
    ] {
        let denial = denied(path, operation);
        assert_eq!(denial.would_allow, told, "{operation} {path}: {denial}");
    }
    assert_eq!(denied("/r/.env", Read).origin.to_string(), "a.yaml:3");
}

#[test]
fn where_nothing_can_the_reason_says_so() {
    use Operation::{Create, Delete, Read, Rename, Write};
    for (path, operation, why) in [
        ("/usr/bin/x", Write, "no agent file can change that"),
        ("/etc/shadow", Read, "built in"),
        ("/proc/1/environ", Read, "belongs to the machine"),
        ("/var/lib", Read, "belongs to the machine"),
        ("/var/lib/x", Create, "belongs to the machine"),
        ("/x", Create, "belongs to the machine"),
        ("/", Read, "belongs to the machine"),
        ("/home", Read, "the sandbox's own places"),
        ("/home/agent", Rename, "stays where it is"),
        ("/home/agent/.codex/auth.json", Write, "credentials are read-only"),
        ("/ws", Delete, "stays where it is"),
        ("/w", Rename, "it holds"),
        ("/r", Delete, "stays where it is"),
        ("/peers/agent1/x", Write, "other agents"),
        ("/w/../etc/passwd", Write, "normal form"),
    ] {
        let denial = denied(path, operation);
        let expected = if path == "/w" { "" } else { why };
        assert!(denial.would_allow.is_empty(), "{operation} {path}: {denial}");
        assert!(denial.rule.contains(expected), "{operation} {path}: {denial}");
    }
}

#[test]
fn many_changes_are_counted_and_not_told_one_by_one() {
    let mut rules = vec![rule("/w", Access::Write, Source::ContextPath, at(1))];
    rules.extend((0..50).map(|n| rule(&format!("/w/d/{n}/.git"), Access::Read, Source::RunsLater, at(1))));
    let policy = Policy::new(rules).unwrap();
    let Verdict::Denied(denial) = policy.decide(Path::new("/w/d"), Operation::Delete) else {
        panic!("a directory with guarded names in it was removed");
    };
    assert!(denial.would_allow.ends_with("; and 47 more"), "{denial}");
}

/// What a user would make of the agent file.
fn follow(rules: &[Rule], steps: &[Step<'_>]) -> Vec<Rule> {
    let mut rules = rules.to_vec();
    for step in steps {
        match step {
            Step::Permit(of) => {
                let same = |r: &&mut Rule| r.path == of.path && r.origin.source == Source::ContextPath;
                rules.iter_mut().filter(same).for_each(|r| r.access = Access::Write);
            }
            Step::Unprotect(of) | Step::Allow(of, _) | Step::Part(of) => {
                rules.retain(|r| r.path != of.path || r.origin.source != of.origin.source);
            }
            Step::Add(path, access) => rules.push(Rule {
                path: path.to_path_buf(),
                access: *access,
                origin: Origin::built_in(Source::ContextPath),
            }),
        }
    }
    rules
}

fn some_path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c", ".git"]), 1..5)
        .prop_map(|names| format!("/{}", names.join("/")))
}

/// Each path once: what contradicts itself is refused before it gets here.
fn some_rules() -> impl Strategy<Value = Vec<Rule>> {
    let what = prop::sample::select(vec![
        (Access::Read, Source::ContextPath),
        (Access::Write, Source::ContextPath),
        (Access::Write, Source::Workspace),
        (Access::Write, Source::Temporary),
        (Access::Read, Source::System),
        (Access::Read, Source::ProtectedPath),
        (Access::Read, Source::RunsLater),
        (Access::Read, Source::HardLink),
        (Access::None, Source::Secret),
    ]);
    prop::collection::btree_map(some_path(), what, 1..8).prop_map(|rules| {
        rules.into_iter().map(|(path, (access, source))| rule(&path, access, source, None)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Who does all that a denial says is allowed, and who leaves out any of it is not.
    #[test]
    fn what_a_denial_says_is_enough_and_no_more(rules in some_rules(), path in some_path()) {
        use Operation::{Create, Delete, Execute, Link, List, Read, Rename, Write};
        let policy = Policy::new(rules.clone()).unwrap();
        let path = Path::new(&path);
        for operation in [Read, List, Write, Create, Delete, Rename, Link, Execute] {
            let Err(refusal) = policy.check(path, operation) else { continue };
            let Ok(steps) = policy.remedy(path, operation, refusal) else { continue };
            prop_assert!(!steps.is_empty());
            let after = Policy::new(follow(&rules, &steps)).unwrap();
            prop_assert!(after.check(path, operation).is_ok(), "{operation} {path:?} {steps:?}");
            for left_out in 0..steps.len() {
                let mut fewer = steps.clone();
                fewer.remove(left_out);
                let after = Policy::new(follow(&rules, &fewer)).unwrap();
                prop_assert!(after.check(path, operation).is_err(), "{operation} {path:?} {fewer:?}");
            }
        }
    }
}
