//! The decision function against the sentence that describes it, on paths of any bytes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod reference;

use cordon_policy::{Access, Operation, Origin, Policy, Rule, Source, Verdict};
use proptest::prelude::*;
use reference::Line;
use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::PathBuf,
};

const OPERATIONS: [Operation; 8] = [
    Operation::Read,
    Operation::List,
    Operation::Write,
    Operation::Create,
    Operation::Delete,
    Operation::Rename,
    Operation::Link,
    Operation::Execute,
];

/// A path as its names, which makes "below" a matter of prefixes.
type Names = Vec<Vec<u8>>;

fn path(names: &Names) -> PathBuf {
    let mut bytes = Vec::new();
    for name in names {
        bytes.push(b'/');
        bytes.extend_from_slice(name);
    }
    if bytes.is_empty() {
        bytes.push(b'/');
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// Few names, alike in every way that could confuse: prefixes of each other, bytes
/// below and above the slash, bytes that are no text.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let alike = ["a", "ab", "a-b", "a.b", "a0", "A", "...", ".a", "a ", "\u{e9}", "a\n"]
        .map(|s| s.as_bytes().to_vec());
    let odd = [b"\xff".to_vec(), b"a\xff".to_vec(), b"\x01".to_vec(), b"\x80a".to_vec()];
    prop_oneof![
        8 => prop::sample::select([&alike[..], &odd[..]].concat()),
        1 => prop::collection::vec(any::<u8>().prop_filter("separator", |b| !matches!(b, b'/' | 0)), 1..4)
            .prop_filter("dots", |n| n != b"." && n != b".."),
    ]
}

fn names() -> impl Strategy<Value = Names> {
    prop::collection::vec(name(), 0..5)
}

type Granted = Vec<(Names, Access, Source)>;

fn granted() -> impl Strategy<Value = Granted> {
    let access = prop::sample::select(vec![Access::None, Access::Read, Access::Write]);
    let source = prop_oneof![
        3 => Just(Source::ContextPath),
        1 => prop::sample::select(Source::ALL.to_vec()),
    ];
    prop::collection::vec((names(), access, source), 0..12)
}

fn policy(rules: &Granted) -> Policy {
    let rule = |(names, access, source): &(Names, Access, Source)| Rule {
        path: path(names),
        access: *access,
        origin: Origin::built_in(*source),
    };
    Policy::new(rules.iter().map(rule)).unwrap()
}

fn lines(rules: &Granted) -> Vec<Line> {
    let line = |(names, access, source): &(Names, Access, Source)| Line {
        path: path(names),
        access: *access,
        source: *source,
    };
    rules.iter().map(line).collect()
}

fn with(rules: &Granted, one: (Names, Access, Source)) -> Granted {
    rules.iter().cloned().chain([one]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn decides_as_described(rules in granted(), asked in names(), near in any::<prop::sample::Index>()) {
        let (policy, lines) = (policy(&rules), lines(&rules));
        // At random paths, and at and right below a rule, where mistakes would be.
        let mut all = vec![asked.clone()];
        if !rules.is_empty() {
            let rule = &rules[near.index(rules.len())].0;
            all.push(rule.clone());
            all.push([&rule[..], &asked[..]].concat());
        }
        for names in &all {
            for operation in OPERATIONS {
                let verdict = policy.decide(&path(names), operation);
                prop_assert_eq!(verdict.is_allowed(), reference::allowed(&lines, &path(names), operation), "{} {:?}", operation, path(names));
                if let Verdict::Denied(denial) = verdict {
                    prop_assert!(!denial.rule.is_empty());
                    prop_assert!(!denial.to_string().chars().any(char::is_control), "{:?}", denial);
                }
            }
        }
    }

    #[test]
    fn moves_and_links_are_decided_at_both_ends(rules in granted(), from in names(), to in names()) {
        let (policy, lines) = (policy(&rules), lines(&rules));
        let (from, to) = (path(&from), path(&to));
        for (operation, verdict) in [
            (Operation::Rename, policy.decide_rename(&from, &to)),
            (Operation::Link, policy.decide_link(&from, &to)),
        ] {
            let expected = reference::allowed_between(&lines, &from, &to, operation);
            prop_assert_eq!(verdict.is_allowed(), expected, "{} {:?} {:?}", operation, &from, &to);
            // The first refused end is the one that is told.
            let ends = [&from, &to].map(|end| policy.decide(end, operation));
            let first = ends.into_iter().find(|end| !end.is_allowed());
            prop_assert!(first.is_none_or(|first| first == verdict));
        }
    }

    /// A directory with anything in it that may not be written cannot be removed or moved.
    #[test]
    fn what_holds_something_protected_stays(rules in granted(), kept in names(), access in prop::sample::select(vec![Access::None, Access::Read])) {
        let policy = policy(&with(&rules, (kept.clone(), access, Source::ProtectedPath)));
        let kept = path(&kept);
        for above in kept.ancestors() {
            for operation in [Operation::Delete, Operation::Rename] {
                prop_assert!(!policy.decide(above, operation).is_allowed());
            }
        }
    }

    #[test]
    fn of_two_rules_on_a_path_the_narrower_one_speaks(
        rules in granted(), at in names(), one in granted(), asked in names(),
    ) {
        let all = one.into_iter().fold(rules, |all, (_, access, source)| with(&all, (at.clone(), access, source)));
        let narrowest = all.iter().filter(|(names, ..)| *names == at).map(|(_, access, _)| *access).min();
        let policy = policy(&all);
        let rule = policy.rule_for(&path(&at));
        if let Some(narrowest) = narrowest {
            prop_assert_eq!(rule.map(|rule| rule.access), Some(narrowest));
        }
        let below = path(&[&at[..], &asked[..]].concat());
        let nearest = policy.rule_for(&below).map(|rule| rule.path.clone());
        prop_assert!(nearest.is_none_or(|nearest| below.starts_with(nearest)));
    }

    /// A rule that grants no more than what is granted there already never allows what was denied.
    #[test]
    fn a_narrower_rule_allows_nothing_new(
        rules in granted(), at in names(), access in prop::sample::select(vec![Access::None, Access::Read, Access::Write]),
        source in prop::sample::select(vec![Source::ContextPath, Source::ProtectedPath, Source::Secret, Source::HardLink]),
        asked in names(),
    ) {
        let before = policy(&rules);
        let now = before.rule_for(&path(&at)).map_or(Access::None, |rule| rule.access);
        let access = access.min(now);
        let after = policy(&with(&rules, (at.clone(), access, source)));
        for names in [asked.clone(), at.clone(), [&at[..], &asked[..]].concat()] {
            let path = path(&names);
            for operation in OPERATIONS.into_iter().filter(|o| !o.changes_directory() || access < now) {
                let (before, after) = (before.decide(&path, operation), after.decide(&path, operation));
                prop_assert!(before.is_allowed() || !after.is_allowed(), "{operation} {path:?}");
            }
        }
    }

    #[test]
    fn the_order_of_rules_does_not_matter(rules in granted(), asked in names()) {
        let mut turned = rules.clone();
        turned.reverse();
        let (one, other) = (policy(&rules), policy(&turned));
        for operation in OPERATIONS {
            prop_assert_eq!(one.decide(&path(&asked), operation), other.decide(&path(&asked), operation));
        }
    }

    #[test]
    fn rules_come_parents_first_and_below_finds_them_all(rules in granted(), asked in names()) {
        let policy = policy(&rules);
        let all: Vec<_> = policy.rules().collect();
        for (n, rule) in all.iter().enumerate() {
            prop_assert!(all[..n].iter().all(|earlier| !earlier.path.starts_with(&rule.path)));
        }
        let asked = path(&asked);
        let expected: Vec<_> = all.iter().copied().filter(|r| r.path.starts_with(&asked)).collect();
        prop_assert_eq!(policy.below(&asked).collect::<Vec<_>>(), expected);
    }

    /// One more narrow rule never allows what was denied.
    #[test]
    fn hiding_a_path_allows_nothing_new(rules in granted(), hidden in names(), asked in names()) {
        let before = policy(&rules);
        let after = policy(&with(&rules, (hidden, Access::None, Source::Secret)));
        for operation in OPERATIONS {
            let (before, after) = (before.decide(&path(&asked), operation), after.decide(&path(&asked), operation));
            prop_assert!(before.is_allowed() || !after.is_allowed());
        }
    }

    /// Any bytes as a path: out of normal form they are denied, and never a panic.
    #[test]
    fn any_bytes_have_a_verdict(rules in granted(), bytes in prop::collection::vec(
        prop_oneof![3 => prop::sample::select(b"/.a\0".to_vec()), 1 => any::<u8>()], 0..16)) {
        let policy = policy(&with(&rules, (vec![], Access::Write, Source::ContextPath)));
        let path = PathBuf::from(OsString::from_vec(bytes.clone()));
        let names = bytes.split(|b| *b == b'/').skip(1);
        let root = bytes == b"/";
        let normal = bytes.first() == Some(&b'/')
            && !bytes.contains(&0)
            && (root || names.clone().all(|n| !matches!(n, b"" | b"." | b"..")));
        for operation in OPERATIONS {
            let allowed = policy.decide(&path, operation).is_allowed();
            prop_assert!(normal || !allowed, "{operation} {:?}", path);
        }
        prop_assert_eq!(policy.rule_for(&path).is_some(), normal);
        let rule = Rule { path: path.clone(), access: Access::Read, origin: Origin::built_in(Source::System) };
        prop_assert_eq!(Policy::new([rule]).is_ok(), normal, "{:?}", path.as_os_str().as_bytes());
    }
}
