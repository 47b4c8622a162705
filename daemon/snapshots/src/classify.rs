//! What a change can do later: run on the user's machine, steer an agent, or move who and what
//! is trusted. By name, however it is spelled, by mode, and by content where the name alone
//! says too little. What is not known is `data`: this tells what deserves a look and replaces
//! no look.

mod content;
mod names;
mod table;

pub(crate) use names::is_git;

use crate::{NodeKind, TreeEntry};
use serde::Serialize;

/// Below as many directories nothing is told apart: each name on the way says something, and no
/// tree that people work in is as deep.
const DEEP: usize = 256;

/// What a change can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Nothing on its own.
    Data,
    /// It runs when somebody builds, tests, commits, opens or enters the tree.
    RunsLater,
    /// An agent reads it as instructions, settings or servers to start.
    SteersAgents,
    /// It changes where code comes from, or who owns and reviews it.
    MovesIdentity,
}

impl Class {
    /// All but [`Class::Data`].
    pub const MARKED: [Self; 3] = [Self::RunsLater, Self::SteersAgents, Self::MovesIdentity];

    /// How it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::RunsLater => "runs-later",
            Self::SteersAgents => "steers-agents",
            Self::MovesIdentity => "moves-identity",
        }
    }
}

/// Why a change is more than data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it can do.
    pub class: Class,
    /// Why.
    pub reason: &'static str,
    /// The name is not the known one and looks, or on some filesystems is, like it.
    pub alike: bool,
}

/// A changed path and what is known of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'a> {
    /// Relative to the tree's root.
    pub path: &'a [u8],
    /// Before.
    pub old: Option<&'a TreeEntry>,
    /// Now.
    pub new: Option<&'a TreeEntry>,
    /// The file's bytes before, where they could be had.
    pub old_bytes: Option<&'a [u8]>,
    /// The file's bytes now.
    pub new_bytes: Option<&'a [u8]>,
}

/// Whether [`classify`] looks into a file of this name.
#[must_use]
pub fn wants_content(path: &[u8]) -> bool {
    content::known(&names::fold(names::last(path))).is_some()
}

/// What a change can do beyond being data; nothing: it is data. Each class once or more.
#[must_use]
pub fn classify(subject: &Subject<'_>) -> Vec<Finding> {
    if subject.path.iter().filter(|b| **b == b'/').count() >= DEEP {
        let finding = |class| Finding { class, reason: "it lies too deep to be looked at", alike: false };
        return Class::MARKED.into_iter().map(finding).collect();
    }
    let kinds = [subject.old, subject.new];
    let directory = kinds.iter().flatten().all(|e| e.kind == NodeKind::Directory) && kinds != [None, None];
    let mut findings = table::find(subject.path, directory);
    if let Some(reason) = executable(subject) {
        findings.push(Finding { class: Class::RunsLater, reason, alike: false });
    }
    let spelled = names::last(subject.path);
    let name = names::fold(spelled);
    if let Some(rule) = content::known(&name) {
        let alike = name.as_bytes() != spelled;
        findings.extend(content::look(rule, subject).into_iter().map(|f| Finding { alike, ..f }));
    }
    findings.sort_by_key(|f| (f.class, f.reason));
    findings.dedup();
    findings
}

fn executable(subject: &Subject<'_>) -> Option<&'static str> {
    let runs = |e: Option<&TreeEntry>| e.is_some_and(|e| e.kind == NodeKind::File && e.mode & 0o111 != 0);
    match (runs(subject.old), runs(subject.new)) {
        (false, true) => Some("it is newly executable"),
        (true, true) => Some("it is executable"),
        _ => None,
    }
}

#[cfg(test)]
#[path = "classify/tests.rs"]
mod tests;
