//! Files whose name alone says too little: what they say decides, and one that cannot be read
//! counts as the worst it could say.

use super::{Class, Finding, Subject};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// How a file's content is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Package,
    Lock,
}

const LOCKS: [&str; 24] = [
    "package-lock.json",
    "npm-shrinkwrap.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "bun.lock",
    "bun.lockb",
    "deno.lock",
    "cargo.lock",
    "go.sum",
    "poetry.lock",
    "pipfile.lock",
    "uv.lock",
    "pdm.lock",
    "pylock.toml",
    "gemfile.lock",
    "composer.lock",
    "mix.lock",
    "pubspec.lock",
    "podfile.lock",
    "package.resolved",
    "flake.lock",
    "packages.lock.json",
    "gradle.lockfile",
    "conda-lock.yml",
];

/// Keys of a package that say nothing which is run or fetched.
const HARMLESS: [&str; 12] = [
    "name",
    "version",
    "description",
    "keywords",
    "author",
    "contributors",
    "license",
    "homepage",
    "bugs",
    "private",
    "funding",
    "sideEffects",
];
const DEPENDENCIES: [&str; 7] = [
    "dependencies",
    "devDependencies",
    "peerDependencies",
    "optionalDependencies",
    "bundledDependencies",
    "overrides",
    "resolutions",
];

const FORGES: [&str; 6] =
    ["github.com", "githubusercontent.com", "gitlab.com", "bitbucket.org", "codeberg.org", "sr.ht"];

/// The rule for a folded name.
pub(super) fn known(name: &str) -> Option<Rule> {
    if name == "package.json" { Some(Rule::Package) } else { LOCKS.contains(&name).then_some(Rule::Lock) }
}

pub(super) fn look(rule: Rule, subject: &Subject<'_>) -> Vec<Finding> {
    match rule {
        Rule::Package => package(subject),
        Rule::Lock => lock(subject).into_iter().collect(),
    }
}

fn finding(class: Class, reason: &'static str) -> Finding {
    Finding { class, reason, alike: false }
}

fn object(bytes: Option<&[u8]>) -> Option<Map<String, Value>> {
    match serde_json::from_slice(bytes?).ok()? {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

fn package(subject: &Subject<'_>) -> Vec<Finding> {
    if subject.new.is_none() {
        return Vec::new();
    }
    let Some(new) = object(subject.new_bytes) else {
        return vec![finding(Class::RunsLater, "its scripts cannot be read")];
    };
    // One that was unreadable before says nothing: all of the new one counts.
    let old = object(subject.old_bytes).unwrap_or_default();
    let mut findings = Vec::new();
    let changed = old.keys().chain(new.keys()).filter(|key| old.get(*key) != new.get(*key));
    for key in changed.map(String::as_str).filter(|key| !HARMLESS.contains(key)) {
        if DEPENDENCIES.contains(&key) {
            findings.push(finding(Class::RunsLater, "other packages are installed and run"));
            if new.get(key).is_some_and(elsewhere) {
                findings
                    .push(finding(Class::MovesIdentity, "a package comes from elsewhere than the registry"));
            }
        } else if key == "publishConfig" || key == "repository" {
            findings.push(finding(Class::MovesIdentity, "it says where packages come from or go to"));
        } else {
            findings.push(finding(
                Class::RunsLater,
                "package scripts, entry points or settings of tools changed",
            ));
        }
    }
    findings
}

/// Whether a version is an address or another package's name.
fn elsewhere(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains([':', '/']),
        Value::Object(object) => object.values().any(elsewhere),
        Value::Array(items) => items.iter().any(elsewhere),
        _ => false,
    }
}

fn lock(subject: &Subject<'_>) -> Option<Finding> {
    subject.new?;
    let unread = || finding(Class::MovesIdentity, "its sources cannot be read");
    let Some(new) = subject.new_bytes.and_then(sources) else { return Some(unread()) };
    let old = match (subject.old, subject.old_bytes) {
        (None, _) => BTreeSet::new(),
        (Some(_), Some(bytes)) => match sources(bytes) {
            Some(old) => old,
            None => return Some(unread()),
        },
        (Some(_), None) => return Some(unread()),
    };
    (!new.is_subset(&old))
        .then(|| finding(Class::MovesIdentity, "packages come from sources that were not there before"))
}

/// Where the packages of a lock file come from: each address without what is specific to one
/// package, and what is taken from a repository or a path in full. None: not text.
fn sources(bytes: &[u8]) -> Option<BTreeSet<String>> {
    let text = std::str::from_utf8(bytes).ok().filter(|t| !t.contains('\0'))?;
    let end =
        |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | ')' | '}' | ']' | '>' | '#' | ';');
    let mut found = BTreeSet::new();
    for word in text.split(end).map(|w| w.trim_start_matches(['(', '{', '[', '<'])) {
        let lower = word.to_lowercase();
        // Quotes inside a word were cut away; `key=value` and `name@address` were not.
        let Some(start) = [
            "git+",
            "github:",
            "gitlab:",
            "bitbucket:",
            "git@",
            "git:",
            "ssh:",
            "file:",
            "link:",
            "path:",
            "registry+",
            "sparse+",
            "https:",
            "http:",
            "ftp:",
        ]
        .iter()
        .filter_map(|s| lower.find(s))
        .min() else {
            continue;
        };
        let address = &lower[start..];
        let web = ["https://", "http://"].iter().find_map(|s| address.strip_prefix(s).map(|rest| (s, rest)));
        found.insert(match web {
            // On a forge, the host says nothing: the owner does.
            Some((scheme, rest)) => {
                let host = rest.split('/').next().unwrap_or(rest);
                let forge = rest.contains(".git") || FORGES.iter().any(|f| host.ends_with(f));
                let kept: Vec<&str> = rest.split('/').take(if forge { 3 } else { 1 }).collect();
                format!("{scheme}{}", kept.join("/"))
            }
            None => address.to_owned(),
        });
    }
    Some(found)
}
