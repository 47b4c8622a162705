use super::*;
use crate::{Operation, Origin, Place};
use std::collections::HashMap;

fn rule(path: &str, access: Access, source: Source) -> Rule {
    let place = Some(Place { file: "a.yaml".to_owned(), line: 4, column: 1 });
    Rule { path: path.into(), access, origin: Origin { source, place } }
}

fn compiled(rules: &[Rule], facts: &[(&str, Fact)]) -> Result<Vec<(String, MountKind)>, Vec<String>> {
    let facts: HashMap<&Path, Fact> = facts.iter().map(|(path, fact)| (Path::new(*path), *fact)).collect();
    let policy = Policy::new(rules.iter().cloned()).unwrap();
    let fact = |path: &Path| facts.get(path).copied().unwrap_or(Fact::Directory);
    match policy.compile(fact, 50) {
        Ok(mounts) => Ok(mounts.into_iter().map(|m| (m.path.display().to_string(), m.kind)).collect()),
        Err(refused) => Err(refused.into_iter().map(|r| r.to_string()).collect()),
    }
}

#[test]
fn the_view_has_what_differs_from_what_is_around_it() {
    use MountKind::{Hidden, ReadOnly, Writable};
    let rules = [
        rule("/usr", Access::Read, Source::System),
        rule("/usr/lib/cli", Access::Read, Source::Program),
        rule("/etc", Access::Read, Source::System),
        rule("/etc/shadow", Access::None, Source::Secret),
        rule("/tmp", Access::Write, Source::Temporary),
        rule("/tmp/w", Access::Write, Source::Workspace),
        rule("/c", Access::Write, Source::ContextPath),
        rule("/c/same", Access::Write, Source::ContextPath),
        rule("/c/same/.git", Access::Read, Source::RunsLater),
        rule("/c/same/.git/hooks", Access::Read, Source::RunsLater),
        rule("/c/keep", Access::Read, Source::ProtectedPath),
        rule("/c/keep/deep/out", Access::Write, Source::ContextPath),
        rule("/c/.env", Access::None, Source::Secret),
        rule("/home/agent", Access::Read, Source::ContextPath),
        rule("/home/agent/.codex/auth.json", Access::Read, Source::Credential),
    ];
    let facts = [("/c/.env", Fact::File), ("/home/agent/.codex/auth.json", Fact::File)];
    assert_eq!(
        compiled(&rules, &facts).unwrap(),
        [
            ("/c", Writable),
            ("/c/.env", Hidden),
            ("/c/keep", ReadOnly),
            ("/c/keep/deep/out", Writable),
            ("/c/same", Writable),
            ("/c/same/.git", ReadOnly),
            ("/home/agent", ReadOnly),
            ("/home/agent/.codex/auth.json", ReadOnly),
            ("/tmp/w", Writable),
            ("/usr/lib/cli", ReadOnly),
        ]
        .map(|(path, kind)| (path.to_owned(), kind))
    );
}

/// A fork in a tree that is mounted directly, or the reverse: what looks the same is elsewhere.
#[test]
fn a_writable_tree_in_a_writable_tree_is_mounted_and_held_in_its_place() {
    use MountKind::{Pin, Writable};
    let rules = [
        rule("/w", Access::Write, Source::Workspace),
        rule("/w/a/c", Access::Write, Source::ContextPath),
        rule("/r", Access::Read, Source::ContextPath),
        rule("/r/c", Access::Read, Source::ContextPath),
    ];
    let view = compiled(&rules, &[]).unwrap();
    let expected = [("/r", MountKind::ReadOnly), ("/w", Writable), ("/w/a", Pin), ("/w/a/c", Writable)]
        .map(|(path, kind)| (path.to_owned(), kind));
    assert_eq!(view, expected);
    let policy = Policy::new(rules).unwrap();
    for (path, allowed) in [("/w/a/c", false), ("/w/a", false), ("/w/a/c/x", true), ("/w/a/x", true)] {
        assert_eq!(policy.decide(Path::new(path), Operation::Delete).is_allowed(), allowed, "{path}");
    }
}

#[test]
fn a_rule_that_no_mount_can_enforce_is_an_error_with_its_origin_and_a_fix() {
    let c = rule("/c", Access::Write, Source::ContextPath);
    let guard = |path: &str| rule(path, Access::Read, Source::RunsLater);
    for (rules, facts, words) in [
        (vec![guard("/c/.git")], ("/c/.git", Fact::Link), "symbolic link"),
        (vec![guard("/c/.git")], ("/c/.git", Fact::Special), "neither a file nor a directory"),
        (vec![guard("/c/.git")], ("/c/.git", Fact::Absent), "nothing stands there"),
        (vec![guard("/c/l/.git")], ("/c/l", Fact::Link), "/c/l is a symbolic link"),
        (vec![guard("/c/f/.git")], ("/c/f", Fact::File), "/c/f is not a directory"),
        (vec![guard("/c/f")], ("/c", Fact::File), "/c is not a directory"),
        (
            vec![
                rule("/c/s", Access::None, Source::Secret),
                rule("/c/s/x", Access::Read, Source::ContextPath),
            ],
            ("/", Fact::Directory),
            "lies in /c/s, which is hidden",
        ),
        (
            vec![rule("/c/agent", Access::Write, Source::Home)],
            ("/", Fact::Directory),
            "it is the sandbox's own, and /c holds it",
        ),
    ] {
        let rules: Vec<Rule> = rules.into_iter().chain([c.clone()]).collect();
        let told = compiled(&rules, &[facts]).unwrap_err();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(words) && told[0].contains("a.yaml:4"), "{told:?}");
    }
}

#[test]
fn what_only_repeats_what_is_around_it_needs_no_place_to_be_mounted_on() {
    let rules = [
        rule("/r", Access::Read, Source::ContextPath),
        rule("/r/gone", Access::Read, Source::ProtectedPath),
        rule("/r/.ssh", Access::None, Source::Secret),
        rule("/r/.ssh/id_rsa", Access::None, Source::Secret),
    ];
    let view = compiled(&rules, &[("/r/gone", Fact::Absent), ("/r/.ssh/id_rsa", Fact::Absent)]).unwrap();
    assert_eq!(view.len(), 2, "{view:?}");
}

/// What a path through a link is about is somewhere else, where other rules speak.
#[test]
fn a_rule_on_a_link_is_refused_even_where_it_only_repeats_what_is_around_it() {
    let rules =
        [rule("/r", Access::Read, Source::ContextPath), rule("/r/link", Access::Read, Source::ProtectedPath)];
    let told = compiled(&rules, &[("/r/link", Fact::Link)]).unwrap_err();
    assert!(told.len() == 1 && told[0].contains("symbolic link"), "{told:?}");
}

#[test]
fn more_mounts_than_a_sandbox_is_given_are_an_error() {
    let mut rules = vec![rule("/c", Access::Write, Source::ContextPath)];
    rules.extend((0..50).map(|n| rule(&format!("/c/{n}"), Access::Read, Source::ProtectedPath)));
    let told = compiled(&rules, &[]).unwrap_err();
    assert!(told[0].contains("at most 50 mounts"), "{told:?}");
}

/// Ten thousand rules in a row and ten thousand inside one another cost about as much as their
/// number, and not its square.
#[test]
fn ten_thousand_rules_are_no_burden() {
    let wide = (0..10_000).map(|n| rule(&format!("/c/{n}/x"), Access::Read, Source::ProtectedPath));
    let c = rule("/c", Access::Write, Source::ContextPath);
    let started = std::time::Instant::now();
    let policy = Policy::new(wide.chain([c])).unwrap();
    let mounts = policy.compile(|_| Fact::Directory, usize::MAX).unwrap();
    assert_eq!(mounts.len(), 20_001);
    for n in 0..10_000 {
        let path = format!("/c/{n}/x/y");
        assert!(!policy.decide(Path::new(&path), Operation::Write).is_allowed());
        assert!(!policy.decide(Path::new(&format!("/c/{n}")), Operation::Delete).is_allowed());
    }
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}
