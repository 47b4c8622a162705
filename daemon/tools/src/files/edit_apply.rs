//! Edits on text: exact matches first, then lines that differ in white space only.

use serde::Deserialize;
use std::borrow::Cow;

/// Matches that are counted before it is "more than".
const MOST_COUNTED: usize = 100;

/// One replacement.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Edit {
    /// Text to search for: exactly once in the file. White space at the ends of lines may differ.
    #[serde(rename = "oldText")]
    pub(super) old: String,
    /// Text to replace it with.
    #[serde(rename = "newText")]
    pub(super) new: String,
}

/// Why an edit cannot be done. The text is as it was.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EditError {
    #[error("oldText is empty, which is everywhere")]
    Empty,
    #[error("no match for oldText")]
    Missing,
    #[error("oldText matches {0} times: give more of the text around it")]
    Ambiguous(String),
}

/// Text with plain line breaks, and which of them were CRLF.
#[derive(Debug)]
pub(super) struct Text {
    plain: String,
    /// One for every line break; none: all are plain.
    breaks: Option<Vec<bool>>,
}

fn plain(text: &str) -> Cow<'_, str> {
    if text.contains("\r\n") { Cow::Owned(text.replace("\r\n", "\n")) } else { Cow::Borrowed(text) }
}

fn count_breaks(text: &str) -> usize {
    text.bytes().filter(|b| *b == b'\n').count()
}

impl Text {
    pub(super) fn new(text: String) -> Self {
        if !text.contains("\r\n") {
            return Self { plain: text, breaks: None };
        }
        let bytes = text.as_bytes();
        let breaks = bytes
            .iter()
            .enumerate()
            .filter(|(_, b)| **b == b'\n')
            .map(|(n, _)| n.checked_sub(1).and_then(|n| bytes.get(n)) == Some(&b'\r'))
            .collect();
        Self { plain: text.replace("\r\n", "\n"), breaks: Some(breaks) }
    }

    /// With plain line breaks.
    pub(super) fn plain(&self) -> &str {
        &self.plain
    }

    /// With the line breaks that the file has.
    pub(super) fn finish(self) -> String {
        let Some(breaks) = self.breaks else { return self.plain };
        let mut out = String::with_capacity(self.plain.len() + breaks.len());
        for (n, line) in self.plain.split('\n').enumerate() {
            if let Some(before) = n.checked_sub(1) {
                out.push_str(if breaks.get(before).copied().unwrap_or(false) { "\r\n" } else { "\n" });
            }
            out.push_str(line);
        }
        out
    }

    /// Does one edit.
    pub(super) fn apply(&mut self, edit: &Edit) -> Result<(), EditError> {
        let (old, new) = (plain(&edit.old), plain(&edit.new));
        if old.is_empty() {
            // An empty file has exactly one place for text.
            return if self.plain.is_empty() { self.put(0, 0, &new) } else { Err(EditError::Empty) };
        }
        match only(&self.plain, &old, 0)? {
            Some(start) => self.put(start, start + old.len(), &new),
            None => {
                let (start, end) = flexible(&self.plain, &old)?;
                let found = self.plain.get(start..end).unwrap_or_default();
                let new = indented(found, &old, &new);
                self.put(start, end, &new)
            }
        }
    }

    fn put(&mut self, start: usize, end: usize, new: &str) -> Result<(), EditError> {
        let (Some(before), Some(replaced)) = (self.plain.get(..start), self.plain.get(start..end)) else {
            return Err(EditError::Missing);
        };
        if let Some(breaks) = &mut self.breaks {
            let first = count_breaks(before);
            let gone = count_breaks(replaced);
            // New lines end as the lines that they replace, or as the line that they are put into.
            let style = breaks.get(first).or(breaks.last()).copied().unwrap_or(false);
            let kept: Vec<bool> = breaks.iter().skip(first).take(gone).copied().collect();
            let fresh = (0..count_breaks(new)).map(|n| kept.get(n).copied().unwrap_or(style));
            let last = (first + gone).min(breaks.len());
            breaks.splice(first.min(last)..last, fresh.collect::<Vec<_>>());
        }
        self.plain.replace_range(start..end, new);
        Ok(())
    }
}

/// The only place of a text; matches may overlap.
fn only(text: &str, old: &str, skip: usize) -> Result<Option<usize>, EditError> {
    let mut found = None;
    let mut count = 0;
    let mut from = skip;
    while let Some(at) = text.get(from..).and_then(|rest| rest.find(old)).map(|at| at + from) {
        found = found.or(Some(at));
        count += 1;
        if count > MOST_COUNTED {
            return Err(EditError::Ambiguous(format!("more than {MOST_COUNTED}")));
        }
        from = at + text.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
    }
    if count > 1 { Err(EditError::Ambiguous(count.to_string())) } else { Ok(found) }
}

/// The range of the lines that are those of `old` but for white space at their ends.
fn flexible(text: &str, old: &str) -> Result<(usize, usize), EditError> {
    let trimmed = |text: &str| {
        let mut out = String::with_capacity(text.len() + 2);
        out.push('\n');
        for line in text.split('\n') {
            out.push_str(line.trim());
            out.push('\n');
        }
        out
    };
    // A line break on both ends makes every match one of whole lines.
    let (lines, wanted) = (trimmed(text), trimmed(old));
    let at = only(&lines, &wanted, 0)?.ok_or(EditError::Missing)?;
    let first = count_breaks(lines.get(..at).unwrap_or_default());
    let many = old.split('\n').count();
    let mut starts = std::iter::once(0).chain(text.match_indices('\n').map(|(n, _)| n + 1));
    let start = starts.nth(first).ok_or(EditError::Missing)?;
    let end = starts.nth(many - 1).map_or(text.len(), |next| next - 1);
    Ok((start, end))
}

/// The white space that the first line of a text begins with.
fn indent(text: &str) -> &str {
    let line = text.split('\n').next().unwrap_or_default();
    line.get(..line.len() - line.trim_start().len()).unwrap_or_default()
}

/// New lines, indented from where the found text is as they were from where `old` is.
fn indented(found: &str, old: &str, new: &str) -> String {
    let base = indent(found);
    let from = indent(old);
    let line = |(n, line): (usize, &str)| {
        let (now, text) = (indent(line), line.trim_start());
        if text.is_empty() || n == 0 {
            return if text.is_empty() { String::new() } else { format!("{base}{text}") };
        }
        match now.strip_prefix(from) {
            Some(more) => format!("{base}{more}{text}"),
            // Less than the first line has: as much less here.
            None => {
                let less = from.chars().count().saturating_sub(now.chars().count());
                let keep = base.chars().count().saturating_sub(less);
                format!("{}{text}", base.chars().take(keep).collect::<String>())
            }
        }
    };
    new.split('\n').enumerate().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
#[path = "edit_apply_tests.rs"]
mod tests;
