//! `${NAME}` in a value. Replaced after parsing, so that a value cannot become
//! structure, and never in keys.

use std::collections::{BTreeMap, BTreeSet};

/// What all replacements of one file may add up to.
const MOST_BYTES: usize = 1 << 20;
const LONGEST_NAME: usize = 256;
/// Failing references of one text that are told.
const MOST_FAULTS: usize = 20;

/// What a client is asked for beside variables: an entry of the same list that begins like this,
/// which no variable can, is the name of a file of `KEY=VALUE` lines. It sends what the file says,
/// as a JSON object of texts.
pub const ENV_FILE: &str = "env-file:";
/// And this entry is its whole environment, told in the same way.
pub const ENVIRONMENT: &str = "environment:";

/// Replaces references and remembers the names.
pub(crate) struct Variables<'a> {
    values: &'a BTreeMap<String, String>,
    /// The workspace of the backend block that is being read.
    pub(crate) cwd: Option<String>,
    wanted: BTreeSet<String>,
    used: usize,
}

/// Why a text cannot be expanded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unexpanded {
    Unset(String),
    NoCwd,
    NotAName(String),
    TooLarge,
}

impl<'a> Variables<'a> {
    pub(crate) fn new(values: &'a BTreeMap<String, String>) -> Self {
        Self { values, cwd: None, wanted: BTreeSet::new(), used: 0 }
    }

    pub(crate) fn want(&mut self, name: &str) {
        self.wanted.insert(name.to_owned());
    }

    pub(crate) fn get(&mut self, name: &str) -> Option<&'a str> {
        self.want(name);
        self.values.get(name).map(String::as_str)
    }

    /// What a file says, or the environment; none: the client did not tell. What is told and is no
    /// object of texts says nothing.
    pub(crate) fn several(&mut self, name: &str) -> Option<BTreeMap<String, String>> {
        self.get(name).map(|told| serde_json::from_str(told).unwrap_or_default())
    }

    pub(crate) fn wanted(self) -> Vec<String> {
        self.wanted.into_iter().collect()
    }

    /// The text with its references replaced; none when there are none. Every
    /// reference is looked at, also after the first that fails.
    pub(crate) fn expand(&mut self, text: &str) -> Result<Option<String>, Vec<Unexpanded>> {
        if !text.contains("${") {
            return Ok(None);
        }
        let mut out = String::with_capacity(text.len());
        let mut faults = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, after) = (&rest[..at], &rest[at + 2..]);
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                out.push_str("${");
                rest = after;
                continue;
            }
            out.push_str(before);
            // Never further than a name can be: there may be a reference at every byte.
            let end = after.bytes().take(LONGEST_NAME + 1).position(|b| b == b'}');
            let Some(name) = end.map(|end| &after[..end]).filter(|n| is_name(n)) else {
                let start: String = after.chars().take(40).take_while(|c| *c != '}').collect();
                faults.push(Unexpanded::NotAName(start));
                if faults.len() >= MOST_FAULTS {
                    break;
                }
                rest = after;
                continue;
            };
            rest = &after[name.len() + 1..];
            match self.value(name) {
                Ok(value) => out.push_str(&value),
                Err(fault) => faults.push(fault),
            }
        }
        out.push_str(rest);
        if faults.is_empty() { Ok(Some(out)) } else { Err(faults) }
    }

    fn value(&mut self, name: &str) -> Result<String, Unexpanded> {
        let value = if name == "cwd" {
            self.cwd.clone().ok_or(Unexpanded::NoCwd)?
        } else {
            self.get(name).ok_or_else(|| Unexpanded::Unset(name.to_owned()))?.to_owned()
        };
        self.used = self.used.saturating_add(value.len());
        if self.used > MOST_BYTES { Err(Unexpanded::TooLarge) } else { Ok(value) }
    }
}

/// Whether a text can be the name of an environment variable.
pub(crate) fn is_name(name: &str) -> bool {
    name.len() <= LONGEST_NAME
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced_once_and_escapes_are_kept() {
        let values = BTreeMap::from([("A".to_owned(), "${B}".to_owned()), ("B".to_owned(), "b".to_owned())]);
        let mut variables = Variables::new(&values);
        variables.cwd = Some("/w".to_owned());
        for (text, expanded) in [
            ("plain $A", None),
            ("x${A}y", Some("x${B}y")),
            ("${A}${B}", Some("${B}b")),
            ("$${A}", Some("${A}")),
            ("${cwd}/src", Some("/w/src")),
        ] {
            assert_eq!(variables.expand(text), Ok(expanded.map(str::to_owned)), "{text}");
        }
        assert_eq!(variables.wanted(), ["A", "B"]);
    }

    #[test]
    fn every_failing_reference_is_told() {
        let values = BTreeMap::new();
        let mut variables = Variables::new(&values);
        assert_eq!(
            variables.expand("${A} ${cwd} ${B:-x} ${"),
            Err(vec![
                Unexpanded::Unset("A".to_owned()),
                Unexpanded::NoCwd,
                Unexpanded::NotAName("B:-x".to_owned()),
                Unexpanded::NotAName(String::new()),
            ])
        );
    }

    #[test]
    fn replacements_are_bounded_together() {
        let values = BTreeMap::from([("A".to_owned(), "x".repeat(MOST_BYTES / 2))]);
        let mut variables = Variables::new(&values);
        assert_eq!(variables.expand("${A}${A}${A}"), Err(vec![Unexpanded::TooLarge]));
    }
}
