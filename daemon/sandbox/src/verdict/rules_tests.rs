use super::*;
use crate::fixture::spec;
use cordon_policy::{Origin, Place};

const ROFS: u32 = rustix::io::Errno::ROFS.raw_os_error().cast_unsigned();
const ACCESS: u32 = rustix::io::Errno::ACCESS.raw_os_error().cast_unsigned();
const HALF: u32 = TrialFlag::TrialHalf as u32;
const OWN_MODE: u32 = TrialFlag::TrialOwnMode as u32;

/// What an honest guest behind a correct wall answers.
fn honest(asked: &[Asked<'_>]) -> Vec<u32> {
    asked.iter().flat_map(|a| &a.trials).map(|(_, allowed)| if *allowed { 0 } else { ROFS }).collect()
}

fn differing(asked: &[Asked<'_>], answers: &[u32]) -> Vec<String> {
    let findings = compare(asked, answers);
    findings.into_iter().filter(|f| !f.ok).map(|f| format!("{}: {}", f.check, f.found)).collect()
}

fn rule(path: &str, access: Access, source: Source) -> Rule {
    Rule { path: path.into(), access, origin: Origin::built_in(source) }
}

fn trials_of(spec: &SandboxSpec, path: &str) -> Vec<(Trial, bool)> {
    asked(spec).into_iter().find(|a| a.path == Path::new(path)).map(|a| a.trials).unwrap_or_default()
}

#[test]
fn each_rule_is_tried_on_both_sides_of_what_it_grants() {
    let spec = spec();
    let refused = |trials: &[Trial]| trials.iter().map(|t| (*t, false)).collect::<Vec<_>>();
    let both = [Trial::Write, Trial::MakeDirectory];
    let all = [Trial::Write, Trial::MakeDirectory, Trial::Rename, Trial::Link];
    let write = vec![
        (Trial::Read, true),
        (Trial::Write, true),
        (Trial::MakeDirectory, true),
        (Trial::Rename, false),
        (Trial::Link, false),
    ];
    assert_eq!(trials_of(&spec, "/w"), write);
    assert_eq!(trials_of(&spec, "/w/keep"), [vec![(Trial::Read, true)], refused(&all)].concat());
    assert_eq!(trials_of(&spec, "/w/none"), [vec![(Trial::Read, false)], refused(&all)].concat());
    // Nothing beside what is granted, and nothing is asked of a tree that is granted.
    assert_eq!(trials_of(&spec, "/"), refused(&both));
    assert_eq!(trials_of(&spec, "/home"), refused(&both));
}

#[test]
fn an_honest_answer_agrees_and_every_other_one_is_seen() {
    let spec = spec();
    let asked = asked(&spec);
    let honest = honest(&asked);
    assert_eq!(differing(&asked, &honest), Vec::<String>::new());
    for index in 0..honest.len() {
        let mut answers = honest.clone();
        answers[index] = if answers[index] == 0 { ACCESS } else { 0 };
        assert_eq!(differing(&asked, &answers).len(), 1, "{index}");
        answers[index] = HALF | ACCESS;
        assert_eq!(differing(&asked, &answers).len(), 1, "{index}");
        assert!(!differing(&asked, &honest[..index]).is_empty(), "{index}");
    }
    assert_eq!(differing(&asked, &[&honest[..], &[0]].concat()).len(), 1);
}

#[test]
fn a_difference_names_rule_origin_and_operation() {
    let mut spec = spec();
    let place = Place { file: "a.yaml".into(), line: 7, column: 3 };
    let origin = Origin { source: Source::ProtectedPath, place: Some(place) };
    spec.policy = Policy::new([Rule { path: "/w/keep".into(), access: Access::Read, origin }]).unwrap();
    spec.paths.clear();
    let asked = asked(&spec);
    let mut answers = honest(&asked);
    answers[1] = 0;
    assert_eq!(
        differing(&asked, &answers),
        ["rule read at /w/keep (protected path, a.yaml:7): write allowed"]
    );
}

#[test]
fn what_an_image_lacks_is_neither_allowed_nor_refused() {
    let mut spec = spec();
    spec.paths.clear();
    for (source, agreed) in [(Source::System, true), (Source::ContextPath, false)] {
        spec.policy = Policy::new([rule("/lib32", Access::Read, source)]).unwrap();
        let asked = asked(&spec);
        let answers = vec![NOENT; honest(&asked).len()];
        assert_eq!(differing(&asked, &answers).is_empty(), agreed, "{source}");
    }
}

#[test]
fn only_a_guard_may_be_unreadable_by_its_own_mode() {
    let mut spec = spec();
    spec.paths.clear();
    for (source, agreed) in [(Source::RunsLater, true), (Source::ContextPath, false)] {
        spec.policy = Policy::new([rule("/c/x", Access::Read, source)]).unwrap();
        let asked = asked(&spec);
        let mut answers = honest(&asked);
        let read = asked.iter().flat_map(|a| &a.trials).position(|t| *t == (Trial::Read, true)).unwrap();
        answers[read] = ACCESS | OWN_MODE;
        assert_eq!(differing(&asked, &answers).is_empty(), agreed, "{source}");
        answers[read] = ACCESS;
        assert_eq!(differing(&asked, &answers).len(), 1, "{source}");
    }
}

#[test]
fn a_view_that_shows_what_no_rule_grants_is_asked_about() {
    let mut spec = spec();
    let shown = crate::PathEntry { path: "/more".into(), ..spec.paths[0].clone() };
    spec.paths.push(shown);
    assert!(trials_of(&spec, "/more").contains(&(Trial::Read, false)));
}

#[test]
fn ten_thousand_rules_are_all_asked_in_one_request() {
    use prost::Message as _;
    let mut spec = spec();
    let rules = (0..10_000).map(|n| {
        let access = [Access::None, Access::Read, Access::Write][n % 3];
        rule(&format!("/w/a/long/enough/directory/name/of/a/project/file-{n}"), access, Source::ContextPath)
    });
    spec.policy = Policy::new(rules).unwrap();
    spec.paths.clear();
    let asked = asked(&spec);
    let request = pb::ProbeRequest { trials: trials(&asked), ..Default::default() };
    assert!(asked.len() > 10_000 && request.encoded_len() < 2 << 20, "{}", request.encoded_len());
    let mut answers = honest(&asked);
    // Agreement is summed up; a difference anywhere is told.
    assert_eq!(compare(&asked, &answers).len(), TOLD + 1);
    let last = answers.len() - 1;
    answers[last] = if answers[last] == 0 { ACCESS } else { 0 };
    assert_eq!(differing(&asked, &answers).len(), 1);
}
