//! Which files of a tree a batch means.

use super::tree::{Step, Walk};
use crate::{Answer, ToolError, answer::denial_value, error::shown, registry::Call, resolve::Opened};
use cordon_policy::Operation;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const MOST_PATTERNS: usize = 100;
const LONGEST_PATTERN: usize = 1000;
/// Entries of each list that a result names; all are counted.
const MOST_NAMED: usize = 1000;

pub(super) fn all() -> Vec<String> {
    vec!["*".to_owned()]
}

/// Patterns on the path relative to the base; `*` matches across directories.
#[derive(Debug)]
pub(super) struct Select {
    include: GlobSet,
    exclude: GlobSet,
}

fn globs(what: &str, patterns: &[String]) -> Result<GlobSet, ToolError> {
    let bad = |why: String| ToolError::Arguments(format!("{what}: {why}"));
    if patterns.len() > MOST_PATTERNS {
        return Err(bad(format!("more than {MOST_PATTERNS} patterns")));
    }
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        if pattern.len() > LONGEST_PATTERN {
            return Err(bad(format!("a pattern is longer than {LONGEST_PATTERN} bytes")));
        }
        let glob = GlobBuilder::new(pattern)
            .literal_separator(false)
            .backslash_escape(true)
            .build()
            .map_err(|error| bad(format!("{}: {}", shown(pattern), error.kind())))?;
        set.add(glob);
    }
    set.build().map_err(|error| bad(shown(&error.to_string())))
}

impl Select {
    pub(super) fn new(include: &[String], exclude: &[String]) -> Result<Self, ToolError> {
        Ok(Self {
            include: globs("include_patterns", include)?,
            exclude: globs("exclude_patterns", exclude)?,
        })
    }

    /// Every entry that is meant, and what could not be looked at. An excluded directory is
    /// excluded with all below it.
    pub(super) fn find(
        &self,
        call: &Call,
        base: &Opened,
        batch: &mut Batch,
    ) -> Result<Vec<PathBuf>, ToolError> {
        let root = base.again().map_err(|errno| {
            crate::files::write_place::kernel(Operation::List, &base.path.to_string_lossy(), errno)
        })?;
        let mut found = Vec::new();
        let mut walk = Walk::new(call, root, Operation::Read)?;
        while let Some(step) = walk.next()? {
            match step {
                Step::Enter if self.exclude.is_match(&walk.relative) => walk.skip(),
                Step::Enter | Step::Leave(_) => {}
                Step::Leaf(leaf) => {
                    let path = walk.relative.join(leaf.path.file_name().unwrap_or_default());
                    if self.means(&path) {
                        found.push(path);
                    }
                }
                Step::Refused(name, error) => {
                    let path = walk.relative.join(&name);
                    // What is in a directory that cannot be seen might have been meant.
                    let directory = walk.here().entry(&name).is_ok_and(|entry| entry.is_directory());
                    if self.means(&path) || (directory && !self.exclude.is_match(&path)) {
                        batch.error(&path, &error);
                    }
                }
            }
        }
        Ok(found)
    }

    fn means(&self, path: &Path) -> bool {
        self.include.is_match(path) && !self.exclude.is_match(path)
    }
}

/// What became of each entry.
#[derive(Debug, Default)]
pub(super) struct Batch {
    done: List,
    skipped: List,
    errors: List,
}

#[derive(Debug, Default)]
struct List {
    rows: Vec<Value>,
    lines: Vec<String>,
    count: usize,
}

impl List {
    fn add(&mut self, path: &Path, why: Option<&ToolError>) {
        self.count += 1;
        if self.rows.len() == MOST_NAMED {
            return;
        }
        let name = shown(&path.to_string_lossy());
        match why {
            None => {
                self.rows.push(json!(name));
                self.lines.push(name);
            }
            Some(error) => {
                let mut row = json!({ "path": name, "error": error.to_string() });
                if let ToolError::Denied(denial) = error {
                    row["denial"] = denial_value(denial);
                }
                self.rows.push(row);
                self.lines.push(format!("{name}: {error}"));
            }
        }
    }
}

impl Batch {
    pub(super) fn done(&mut self, path: &Path) {
        self.done.add(path, None);
    }

    pub(super) fn skipped(&mut self, path: &Path) {
        self.skipped.add(path, None);
    }

    pub(super) fn error(&mut self, path: &Path, error: &ToolError) {
        self.errors.add(path, Some(error));
    }

    /// Errors first: they are what somebody has to do something about.
    pub(super) fn answer(self, call: &Call, operation: &str, done: &str) -> Answer {
        let (count, skipped, errors) = (self.done.count, self.skipped.count, self.errors.count);
        let mut text = format!("{done} {count}, skipped {skipped}, errors {errors}");
        let room = call.state.table.result_bytes.saturating_sub(200);
        let mut bytes = 0;
        let mut kept = [0; 3];
        let lists = [("error", &self.errors), ("skipped", &self.skipped), (done, &self.done)];
        for (kept, (word, list)) in kept.iter_mut().zip(lists) {
            for line in &list.lines {
                // The same lines are in the value for programs.
                bytes += 2 * (line.len() + word.len() + 4) + 20;
                if bytes > room {
                    break;
                }
                text.push_str(&format!("\n{}: {line}", word.to_lowercase()));
                *kept += 1;
            }
            if *kept < list.count {
                text.push_str(&format!("\n[{} more: {}]", list.count - *kept, word.to_lowercase()));
            }
        }
        let [e, s, d] = kept;
        let rows = |list: &List, kept: usize| Value::Array(list.rows.iter().take(kept).cloned().collect());
        let mut answer = Answer::text(text).with(json!({
            "success": errors == 0,
            "operation": operation,
            "summary": { done.to_lowercase(): count, "skipped": skipped, "errors": errors },
            "errors": rows(&self.errors, e),
            "skipped": rows(&self.skipped, s),
            done.to_lowercase(): rows(&self.done, d),
            "truncated": e + s + d < count + skipped + errors,
        }));
        answer.is_error = errors > 0 && count == 0;
        answer
    }
}
