//! The decision function against the sentence that describes it, on paths of any bytes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use cordon_policy::{Access, Operation, Origin, Policy, Rule, Source, Verdict};
use proptest::prelude::*;
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

/// The narrowest access of the rules on the longest prefix, if there are any.
fn access(rules: &[(Names, Access)], names: &[Vec<u8>]) -> Option<Access> {
    (0..=names.len())
        .rev()
        .find_map(|n| rules.iter().filter(|(rule, _)| rule[..] == names[..n]).map(|(_, a)| *a).min())
}

fn reference(rules: &[(Names, Access)], names: &Names, operation: Operation) -> bool {
    let needs = operation.needs();
    let enough = |access: Option<Access>| access.is_some_and(|a| a >= needs);
    let below = || rules.iter().filter(|(rule, _)| rule.starts_with(names));
    let holder = || match names.split_last() {
        Some((_, holder)) => enough(access(rules, holder)),
        None => false,
    };
    enough(access(rules, names))
        && (!matches!(operation, Operation::Delete | Operation::Rename)
            || below().all(|(rule, _)| enough(access(rules, rule))))
        && (!matches!(operation, Operation::Create | Operation::Delete | Operation::Rename | Operation::Link)
            || holder())
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

fn granted() -> impl Strategy<Value = Vec<(Names, Access)>> {
    let access = prop::sample::select(vec![Access::None, Access::Read, Access::Write]);
    prop::collection::vec((names(), access), 0..12)
}

fn policy(rules: &[(Names, Access)]) -> Policy {
    let rule = |(names, access): &(Names, Access)| Rule {
        path: path(names),
        access: *access,
        origin: Origin::built_in(Source::ContextPath),
    };
    Policy::new(rules.iter().map(rule)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn decides_as_described(rules in granted(), asked in names(), near in any::<prop::sample::Index>()) {
        let policy = policy(&rules);
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
                prop_assert_eq!(verdict.is_allowed(), reference(&rules, names, operation), "{} {:?}", operation, path(names));
                if let Verdict::Denied(denial) = verdict {
                    prop_assert!(!denial.rule.is_empty());
                    prop_assert!(!denial.to_string().chars().any(char::is_control), "{:?}", denial);
                }
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
        let after = policy(&[&rules[..], &[(hidden, Access::None)]].concat());
        for operation in OPERATIONS {
            let (before, after) = (before.decide(&path(&asked), operation), after.decide(&path(&asked), operation));
            prop_assert!(before.is_allowed() || !after.is_allowed());
        }
    }

    /// Any bytes as a path: out of normal form they are denied, and never a panic.
    #[test]
    fn any_bytes_have_a_verdict(rules in granted(), bytes in prop::collection::vec(
        prop_oneof![3 => prop::sample::select(b"/.a\0".to_vec()), 1 => any::<u8>()], 0..16)) {
        let policy = policy(&[&rules[..], &[(vec![], Access::Write)]].concat());
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
