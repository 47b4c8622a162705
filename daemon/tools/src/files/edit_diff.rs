//! Unified diffs that stay small, whatever they compare.

use similar::{Algorithm, DiffOp, DiffTag, capture_diff_slices_deadline, group_diff_ops};
use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

/// More changed lines than this are shown as taken out and put in, without looking for what they share.
const MOST_LINES: usize = 200_000;
/// A diff need not be the shortest one.
const PATIENCE: Duration = Duration::from_secs(2);

/// What differs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Unified {
    /// Hunks, without a header; empty where nothing differs.
    pub(crate) text: String,
    /// Lines put in.
    pub(crate) added: usize,
    /// Lines taken out.
    pub(crate) removed: usize,
    /// Whether `text` ends early.
    pub(crate) cut: bool,
}

/// Compares two texts by lines.
pub(crate) fn unified(old: &str, new: &str, context: usize, most: usize) -> Unified {
    let mut out = Unified::default();
    if old == new {
        return out;
    }
    let (skipped, tail) = common(old.as_bytes(), new.as_bytes());
    let start = back(old.as_bytes(), skipped, context);
    let line = old.as_bytes().get(..start).unwrap_or_default().iter().filter(|b| **b == b'\n').count();
    let end = |text: &str| forward(text.as_bytes(), text.len() - tail, context);
    let (old, gone) = lines(old, start, end(old));
    let (new, fresh) = lines(new, start, end(new));
    let ops = if gone > MOST_LINES || fresh > MOST_LINES {
        out.cut = true;
        (out.removed, out.added) = (gone, fresh);
        vec![DiffOp::Replace { old_index: 0, old_len: old.len(), new_index: 0, new_len: new.len() }]
    } else {
        let ops = capture_diff_slices_deadline(Algorithm::Myers, &old, &new, Some(Instant::now() + PATIENCE));
        for op in ops.iter().filter(|op| op.tag() != DiffTag::Equal) {
            out.removed += op.old_range().len();
            out.added += op.new_range().len();
        }
        ops
    };
    for hunk in group_diff_ops(ops, context) {
        if !out.hunk(&hunk, &old, &new, line, most) {
            out.cut = true;
            break;
        }
    }
    out
}

/// The lines of a part, no more than are ever shown or compared, and how many there are.
fn lines(text: &str, start: usize, end: usize) -> (Vec<&str>, usize) {
    let part = text.get(start..end).unwrap_or_default();
    let breaks = part.bytes().filter(|b| *b == b'\n').count();
    let many = breaks + usize::from(!part.is_empty() && !part.ends_with('\n'));
    (part.split_inclusive('\n').take(MOST_LINES).collect(), many)
}

/// Bytes of whole lines that both begin and end with.
fn common(old: &[u8], new: &[u8]) -> (usize, usize) {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let head = old.iter().take(head).rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
    let (rest, other) = (old.get(head..).unwrap_or_default(), new.get(head..).unwrap_or_default());
    let tail = rest.iter().rev().zip(other.iter().rev()).take_while(|(a, b)| a == b).count();
    // A line belongs to the end only with the break before it.
    let from = rest.len() - tail;
    let whole = rest.iter().skip(from).position(|b| *b == b'\n').map_or(0, |n| tail - n - 1);
    (head, whole)
}

/// The beginning of the line so many lines before a line's beginning.
fn back(text: &[u8], mut at: usize, lines: usize) -> usize {
    for _ in 0..lines {
        let Some(before) = at.checked_sub(1) else { break };
        at = text.iter().take(before).rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
    }
    at
}

/// The end of so many lines after a line's beginning.
fn forward(text: &[u8], mut at: usize, lines: usize) -> usize {
    for _ in 0..lines {
        let more = text.iter().skip(at).position(|b| *b == b'\n');
        at = more.map_or(text.len(), |n| at + n + 1);
    }
    at
}

impl Unified {
    /// Whether there was room for all of it.
    fn hunk(&mut self, ops: &[DiffOp], old: &[&str], new: &[&str], line: usize, most: usize) -> bool {
        let (Some(first), Some(last)) = (ops.first(), ops.last()) else { return true };
        let range = |start: usize, end: usize| {
            let (from, many) = (start + line, end - start);
            // An empty range is named by the line before it.
            let from = if many == 0 { from } else { from + 1 };
            if many == 1 { from.to_string() } else { format!("{from},{many}") }
        };
        let before = range(first.old_range().start, last.old_range().end);
        let after = range(first.new_range().start, last.new_range().end);
        let _ = writeln!(self.text, "@@ -{before} +{after} @@");
        for op in ops {
            let (gone, fresh) = (old.get(op.old_range()), new.get(op.new_range()));
            let (gone, fresh) = (gone.unwrap_or_default(), fresh.unwrap_or_default());
            let shown = match op.tag() {
                DiffTag::Equal => self.lines(' ', gone, most),
                DiffTag::Delete => self.lines('-', gone, most),
                DiffTag::Insert => self.lines('+', fresh, most),
                DiffTag::Replace => self.lines('-', gone, most) && self.lines('+', fresh, most),
            };
            if !shown {
                return false;
            }
        }
        true
    }

    fn lines(&mut self, mark: char, lines: &[&str], most: usize) -> bool {
        for line in lines {
            let room = most.saturating_sub(self.text.len());
            if line.len() + 2 > room {
                let part = (0..=room.min(200).min(line.len())).rev().find_map(|n| line.get(..n));
                if let Some(part) = part.filter(|part| !part.is_empty()) {
                    let _ = writeln!(self.text, "{mark}{}...", part.trim_end_matches('\n'));
                }
                return false;
            }
            self.text.push(mark);
            self.text.push_str(line);
            if !line.ends_with('\n') {
                self.text.push_str("\n\\ No newline at end of file\n");
            }
        }
        true
    }

    /// What was left out, for whoever reads it.
    pub(crate) fn note(&self) -> Option<String> {
        self.cut.then(|| {
            format!("[diff cut: it has {} added and {} removed lines in all]", self.added, self.removed)
        })
    }
}

#[cfg(test)]
#[path = "edit_diff_tests.rs"]
mod tests;
