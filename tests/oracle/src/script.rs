//! The attempts as a script that runs inside, where perl is in every image.

use crate::operation::{Attempt, Verb};
use std::{
    fmt::Write as _,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// Reads attempts on standard input, one a line, and answers each with a line.
pub const PERL: &str = include_str!("attempt.pl");

/// How one attempt went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done; what was read, or listed.
    Done(Vec<u8>),
    /// The kernel's refusal.
    Errno(i32),
}

/// The script's standard input.
#[must_use]
pub fn input(attempts: &[Attempt]) -> String {
    let mut text = String::new();
    for attempt in attempts {
        let maybe = |path: &Option<PathBuf>| path.as_deref().map(hex).unwrap_or_default();
        let (path, to) = (hex(&attempt.path), maybe(&attempt.to));
        let (real, real_to) = (hex(&attempt.real.0), maybe(&attempt.real.1));
        writeln!(text, "{}\t{path}\t{to}\t{real}\t{real_to}", word(attempt.verb)).unwrap();
    }
    text
}

/// The script's answers.
#[must_use]
pub fn outcomes(output: &str) -> Vec<Outcome> {
    output
        .lines()
        .map(|line| match line.strip_prefix("ok") {
            Some(rest) => Outcome::Done(unhex(rest)),
            None => Outcome::Errno(line.parse().unwrap()),
        })
        .collect()
}

/// The attempt's word in the script.
#[must_use]
pub fn word(verb: Verb) -> &'static str {
    match verb {
        Verb::Read => "read",
        Verb::List => "list",
        Verb::Write => "write",
        Verb::Create => "create",
        Verb::Delete => "delete",
        Verb::Rename => "rename",
        Verb::Link => "link",
        Verb::Execute => "execute",
    }
}

fn hex(path: &Path) -> String {
    path.as_os_str().as_bytes().iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}
