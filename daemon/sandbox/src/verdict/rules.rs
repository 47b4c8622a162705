//! Every rule of the policy, the system's own ones too: which operation nearest to it the
//! policy allows and which it refuses, and whether the kernel said the same.

use super::compare::shown;
use crate::{Finding, PathSource, SandboxSpec, boot};
use cordon_policy::{Access, Operation, Policy, Rule, Source};
use cordon_proto::guest::{self as pb, Trial, probe_response::TrialFlag};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// So many agreeing rules are told one by one; of the others, how many they are.
const TOLD: usize = 500;

/// A path and what must become of each trial on it.
pub(super) struct Asked<'a> {
    path: &'a Path,
    rule: Option<&'a Rule>,
    /// The trial and whether the policy allows it.
    trials: Vec<(Trial, bool)>,
}

/// What is tried: at every rule, at every entry of the view, and in every directory
/// that holds one of them. What is expected is the policy's word alone.
pub(super) fn asked(spec: &SandboxSpec) -> Vec<Asked<'_>> {
    let policy = &spec.policy;
    let mut places: BTreeMap<&Path, bool> = BTreeMap::new();
    for rule in policy.rules() {
        places.insert(&rule.path, true);
    }
    for entry in &spec.paths {
        // A name that is only held has nothing to read.
        places.insert(&entry.path, entry.source != PathSource::Empty);
    }
    let holders: BTreeSet<&Path> = places.keys().filter_map(|path| path.parent()).collect();
    let at = places.iter().map(|(path, readable)| at(policy, path, *readable));
    let beside =
        holders.into_iter().filter(|path| !places.contains_key(path)).map(|path| beside(policy, path));
    at.chain(beside).filter(|asked| !asked.trials.is_empty()).collect()
}

fn at<'a>(policy: &'a Policy, path: &'a Path, readable: bool) -> Asked<'a> {
    let allows = |operation| policy.decide(path, operation).is_allowed();
    let rule = policy.rule_for(path);
    let read = allows(Operation::Read);
    let mut trials = Vec::new();
    if readable || !read {
        trials.push((Trial::Read, read));
    }
    // In devices' places names are the kernel's to make, whatever the policy grants.
    let devices = rule.is_some_and(|r| r.origin.source == Source::System && r.access == Access::Write);
    if !devices {
        let write = allows(Operation::Write);
        trials.extend([(Trial::Write, write), (Trial::MakeDirectory, write)]);
    }
    // The root of what is granted is often a mount, which nobody inside moves though the
    // policy would let them: only the refusals are tried.
    trials.extend(
        [(Trial::Rename, Operation::Rename), (Trial::Link, Operation::Link)]
            .into_iter()
            .filter(|(_, operation)| !allows(*operation))
            .map(|(trial, _)| (trial, false)),
    );
    Asked { path, rule, trials }
}

/// In a directory that holds a rule's path no other name may appear, unless the
/// policy grants that too.
fn beside<'a>(policy: &'a Policy, path: &'a Path) -> Asked<'a> {
    let refused = !policy.decide(path, Operation::Write).is_allowed();
    let trials =
        if refused { vec![(Trial::Write, false), (Trial::MakeDirectory, false)] } else { Vec::new() };
    Asked { path, rule: policy.rule_for(path), trials }
}

/// The same as the guest is asked it.
pub(super) fn trials(asked: &[Asked<'_>]) -> Vec<pb::PathTrials> {
    asked
        .iter()
        .map(|one| pb::PathTrials {
            path: boot::bytes(one.path),
            trials: one.trials.iter().map(|(trial, _)| (*trial).into()).collect(),
        })
        .collect()
}

/// One finding for each path; where the guest answered too little, that is a difference.
pub(super) fn compare(asked: &[Asked<'_>], answers: &[u32]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (mut agreeing, mut untold) = (0, 0);
    let mut answers = answers.iter().copied();
    for one in asked {
        let found: Vec<(Trial, bool, Option<u32>)> =
            one.trials.iter().map(|(trial, allowed)| (*trial, *allowed, answers.next())).collect();
        let differing: Vec<String> = found
            .iter()
            .filter(|(trial, allowed, answer)| !agrees(one, *trial, *allowed, *answer))
            .map(|(trial, allowed, answer)| difference(*trial, *allowed, *answer))
            .collect();
        if differing.is_empty() {
            agreeing += 1;
            if agreeing > TOLD {
                untold += 1;
                continue;
            }
        }
        findings.push(Finding {
            check: check(one),
            expected: expected(&one.trials),
            found: if differing.is_empty() { "the same".to_owned() } else { differing.join("; ") },
            ok: differing.is_empty(),
        });
    }
    if untold > 0 {
        findings.push(Finding {
            check: format!("{untold} further paths of the policy"),
            expected: "what its rules say".to_owned(),
            found: "the same".to_owned(),
            ok: true,
        });
    }
    if answers.next().is_some() {
        findings.push(Finding {
            check: "answers about the policy's rules".to_owned(),
            expected: "one for each trial".to_owned(),
            found: "more".to_owned(),
            ok: false,
        });
    }
    findings
}

fn agrees(asked: &Asked<'_>, trial: Trial, allowed: bool, answer: Option<u32>) -> bool {
    let Some(answer) = answer else { return false };
    let (half, own_mode) = (TrialFlag::TrialHalf as u32, TrialFlag::TrialOwnMode as u32);
    let source = asked.rule.map_or(Source::Nothing, |r| r.origin.source);
    match (answer & !(half | own_mode), allowed) {
        (0, allowed) => allowed && answer == 0,
        // Something was done, and only undoing it was not.
        (_, false) => answer & half == 0,
        // Images differ in what they have, and what is not there is neither.
        (NOENT | NOTDIR, true) => source == Source::System && answer & half == 0,
        (NODATA, true) => trial == Trial::Read,
        // The device itself answers, whom only the allowed get to ask: no terminal here.
        (NXIO, true) => source == Source::System && answer & half == 0,
        // The same in gVisor's words.
        (IO, true) => source == Source::System && trial == Trial::Read,
        // A guarded file that the agent's user may not read in the first place.
        (_, true) => {
            let guard = matches!(
                source,
                Source::ProtectedPath
                    | Source::RunsLater
                    | Source::SteersAgents
                    | Source::Secret
                    | Source::Socket
            );
            guard && trial == Trial::Read && answer & own_mode != 0
        }
    }
}

const NOENT: u32 = rustix::io::Errno::NOENT.raw_os_error().cast_unsigned();
const NOTDIR: u32 = rustix::io::Errno::NOTDIR.raw_os_error().cast_unsigned();
const NXIO: u32 = rustix::io::Errno::NXIO.raw_os_error().cast_unsigned();
const IO: u32 = rustix::io::Errno::IO.raw_os_error().cast_unsigned();
const NODATA: u32 = rustix::io::Errno::NODATA.raw_os_error().cast_unsigned();

fn check(asked: &Asked<'_>) -> String {
    let path = shown(&boot::bytes(asked.path));
    match asked.rule {
        None => format!("no rule at {path}"),
        Some(rule) => {
            let at = if rule.path == asked.path {
                String::new()
            } else {
                format!(" of {}", shown(&boot::bytes(&rule.path)))
            };
            format!("rule {}{at} at {path} ({}, {})", rule.access, rule.origin.source, rule.origin)
        }
    }
}

fn word(trial: Trial) -> &'static str {
    match trial {
        Trial::Unspecified => "nothing",
        Trial::Read => "read",
        Trial::Write => "write",
        Trial::MakeDirectory => "make a directory",
        Trial::Rename => "rename",
        Trial::Link => "link",
    }
}

fn expected(trials: &[(Trial, bool)]) -> String {
    let of = |wanted: bool| {
        let words: Vec<_> = trials.iter().filter(|(_, a)| *a == wanted).map(|(t, _)| word(*t)).collect();
        (!words.is_empty())
            .then(|| format!("{} {}", words.join(", "), if wanted { "allowed" } else { "refused" }))
    };
    [of(true), of(false)].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn difference(trial: Trial, allowed: bool, answer: Option<u32>) -> String {
    let word = word(trial);
    let flags = TrialFlag::TrialHalf as u32 | TrialFlag::TrialOwnMode as u32;
    let error = |e: u32| std::io::Error::from_raw_os_error(i32::try_from(e & !flags).unwrap_or(0));
    match answer {
        None => format!("{word}: no answer"),
        Some(0) => format!("{word} allowed"),
        Some(e) if e & TrialFlag::TrialHalf as u32 != 0 => {
            format!("{word} begun and not ended ({})", error(e))
        }
        Some(e) if allowed && e & TrialFlag::TrialOwnMode as u32 != 0 => {
            format!("{word} refused by the file's own permissions")
        }
        Some(e) => format!("{word} refused ({})", error(e)),
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
