use crate::{
    Problem, Severity,
    excerpt::{self, Lines},
    mask,
    tree::Mark,
};
use std::fmt;

/// More than a person reads; a hostile file could have one for every byte.
const MOST: usize = 100;

/// Collects every problem of one file.
pub(crate) struct Report<'a> {
    lines: Lines<'a>,
    problems: Vec<Problem>,
    errors: usize,
    dropped: usize,
}

impl<'a> Report<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { lines: Lines::new(text), problems: Vec::new(), errors: 0, dropped: 0 }
    }

    /// From now on excerpts hide this part of the source.
    pub(crate) fn hide(&mut self, secret: Mark) {
        self.lines.hide(secret);
    }

    pub(crate) fn error(
        &mut self,
        at: &At<'_>,
        reason: &'static str,
        message: String,
        help: impl Into<String>,
    ) {
        self.errors += 1;
        self.push(Severity::Error, at, reason, message, help.into());
    }

    pub(crate) fn warn(
        &mut self,
        at: &At<'_>,
        reason: &'static str,
        message: String,
        help: impl Into<String>,
    ) {
        self.push(Severity::Warning, at, reason, message, help.into());
    }

    fn push(&mut self, severity: Severity, at: &At<'_>, reason: &'static str, message: String, help: String) {
        if self.is_full() {
            self.dropped += 1;
            return;
        }
        self.problems.push(Problem {
            severity,
            reason,
            message,
            key: excerpt::shown(at.key, 200),
            line: at.mark.line,
            column: at.mark.column,
            excerpt: self.lines.excerpt(at.mark),
            help,
        });
    }

    /// Whether what comes now is only counted.
    pub(crate) fn is_full(&self) -> bool {
        self.problems.len() >= MOST
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// In the order of the file.
    pub(crate) fn finish(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|p| (p.line, p.column));
        if self.dropped > 0 {
            let severity = if self.errors > 0 { Severity::Error } else { Severity::Warning };
            self.problems.push(Problem {
                severity,
                reason: "too-many-problems",
                message: format!("{} more problems are not shown", self.dropped),
                key: String::new(),
                line: 0,
                column: 0,
                excerpt: String::new(),
                help: "mend the first ones and check again".to_owned(),
            });
        }
        self.problems
    }
}

/// Where a problem is: the key path and the place in the source.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) key: &'a str,
    pub(crate) mark: Mark,
}

impl<'a> At<'a> {
    pub(crate) fn new(key: &'a str, mark: Mark) -> Self {
        Self { key, mark }
    }

    /// The file as a whole.
    pub(crate) fn file() -> Self {
        Self { key: "", mark: Mark::NONE }
    }
}

/// Text of the file inside a message: escaped, cut, and without what looks like a key.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", excerpt::shown(&mask::words(self.0), 80))
    }
}
