//! What the tests of this crate share.
#![allow(dead_code, reason = "each test binary uses some of it")]

use cordon_config::{Parsed, Problem, Severity, Source, parse_with};
use std::{collections::BTreeMap, path::Path};

pub(crate) fn variables(of: &[(&str, &str)]) -> BTreeMap<String, String> {
    of.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// Parses `text` as agent.yaml in a directory where all but names with `missing` exist.
pub(crate) fn parse(text: &str) -> Parsed {
    parse_as(
        "agent.yaml",
        text.as_bytes(),
        &[("HOME", "/home/user"), ("KEY", "key-from-outside"), ("N", "7")],
    )
}

pub(crate) fn parse_as(name: &str, content: &[u8], of: &[(&str, &str)]) -> Parsed {
    let variables = variables(of);
    let source = Source { name, content, directory: Path::new("/project"), variables: &variables };
    parse_with(&source, &|path| Ok(!path.to_string_lossy().contains("missing")))
}

/// The errors; a file is there exactly when there are none.
pub(crate) fn errors(parsed: &Parsed) -> Vec<&Problem> {
    let errors: Vec<_> = parsed.problems.iter().filter(|p| p.severity == Severity::Error).collect();
    assert_eq!(parsed.file.is_some(), errors.is_empty(), "{:#?}", parsed.problems);
    errors
}

pub(crate) fn warnings(parsed: &Parsed) -> Vec<&Problem> {
    parsed.problems.iter().filter(|p| p.severity == Severity::Warning).collect()
}
