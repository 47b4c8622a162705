use super::{Delta, Limits, read_bounded};
use crate::{NodeKind, TreeEntry, TreeError, TreeSource};
use similar::{Algorithm, DiffOp};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

const CONTEXT: usize = 3;

/// Where a line of a hunk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// On both sides.
    Context,
    /// Before.
    Removed,
    /// Now.
    Added,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where it stands.
    pub tag: Tag,
    /// Its bytes, without the newline.
    pub bytes: Vec<u8>,
    /// Whether a newline ends it.
    pub ended: bool,
}

/// Changed lines and what stands around them. Lines count from 1; where there are none, the
/// start is that of the line before, as in every unified diff.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hunk {
    /// First line before.
    pub old_start: usize,
    /// How many lines before.
    pub old_lines: usize,
    /// First line now.
    pub new_start: usize,
    /// How many lines now.
    pub new_lines: usize,
    /// The lines.
    pub lines: Vec<Line>,
}

/// What of a difference can be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing: a directory, or nothing but the mode or the name changed.
    None,
    /// Text.
    Text {
        /// The hunks.
        hunks: Vec<Hunk>,
        /// Lines added altogether.
        added: usize,
        /// Lines removed altogether.
        removed: usize,
        /// There are more hunks than are shown.
        cut: bool,
    },
    /// Not text: bytes before and now.
    Binary(u64, u64),
    /// Too large to be shown: bytes before and now.
    Large(u64, u64),
}

/// Reads what a difference changed in a file or link.
///
/// # Errors
/// When a tree cannot be read.
pub fn body(
    delta: &Delta,
    old: &dyn TreeSource,
    new: &dyn TreeSource,
    limits: &Limits,
) -> Result<Body, TreeError> {
    if delta.what == super::What::Mode {
        return Ok(Body::None);
    }
    let size = |e: &Option<TreeEntry>| e.as_ref().map_or(0, |e| e.size);
    let sizes = (size(&delta.old), size(&delta.new));
    let before = bytes(old, delta.old_path(), delta.old.as_ref(), limits.text)?;
    let after = bytes(new, &delta.path, delta.new.as_ref(), limits.text)?;
    let (Some(before), Some(after)) = (before, after) else { return Ok(Body::Large(sizes.0, sizes.1)) };
    if before == after {
        return Ok(Body::None);
    }
    if before.contains(&0) || after.contains(&0) {
        return Ok(Body::Binary(sizes.0, sizes.1));
    }
    Ok(hunks(&before, &after, limits))
}

/// The bytes of one side; none: too large.
fn bytes(
    tree: &dyn TreeSource,
    path: &[u8],
    entry: Option<&TreeEntry>,
    limit: u64,
) -> Result<Option<Vec<u8>>, TreeError> {
    match entry {
        Some(entry) if entry.kind == NodeKind::File => read_bounded(tree, path, entry.size, limit),
        Some(TreeEntry { content: crate::Content::Target(target), .. }) => Ok(Some(target.clone())),
        _ => Ok(Some(Vec::new())),
    }
}

pub(crate) fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split_inclusive(|b| *b == b'\n').collect()
}

/// Lines as numbers, equal where the lines are: compared once, not each time.
pub(crate) fn number<'a>(lines: &[&'a [u8]], known: &mut HashMap<&'a [u8], usize>) -> Vec<usize> {
    lines
        .iter()
        .map(|line| {
            let next = known.len();
            *known.entry(line).or_insert(next)
        })
        .collect()
}

/// How the lines of one text become the other's; correct always, shortest when there is time.
pub(crate) fn operations(old: &[usize], new: &[usize], time: Duration) -> Vec<DiffOp> {
    let deadline = Instant::now().checked_add(time);
    similar::capture_diff_slices_deadline(Algorithm::Myers, old, new, deadline)
}

fn hunks(old: &[u8], new: &[u8], limits: &Limits) -> Body {
    let (old, new) = (lines(old), lines(new));
    let mut known = HashMap::new();
    let (a, b) = (number(&old, &mut known), number(&new, &mut known));
    let operations = operations(&a, &b, limits.time);
    let (mut added, mut removed) = (0, 0);
    for op in operations.iter().filter(|op| !matches!(op, DiffOp::Equal { .. })) {
        removed += op.old_range().len();
        added += op.new_range().len();
    }
    let (mut hunks, mut shown, mut cut) = (Vec::new(), 0, false);
    for group in similar::group_diff_ops(operations, CONTEXT) {
        let hunk = hunk(&group, &old, &new);
        shown += hunk.lines.len();
        if shown > limits.lines {
            cut = true;
            break;
        }
        hunks.push(hunk);
    }
    Body::Text { hunks, added, removed, cut }
}

fn hunk(group: &[DiffOp], old: &[&[u8]], new: &[&[u8]]) -> Hunk {
    let mut lines = Vec::new();
    for op in group {
        if let DiffOp::Equal { .. } = op {
            lines.extend(old[op.old_range()].iter().map(|l| line(Tag::Context, l)));
        } else {
            lines.extend(old[op.old_range()].iter().map(|l| line(Tag::Removed, l)));
            lines.extend(new[op.new_range()].iter().map(|l| line(Tag::Added, l)));
        }
    }
    let count = |not: Tag| lines.iter().filter(|l| l.tag != not).count();
    let (old_lines, new_lines) = (count(Tag::Added), count(Tag::Removed));
    let first = |start: Option<usize>, lines: usize| start.unwrap_or(0) + usize::from(lines > 0);
    let old_start = first(group.first().map(|op| op.old_range().start), old_lines);
    let new_start = first(group.first().map(|op| op.new_range().start), new_lines);
    Hunk { old_start, old_lines, new_start, new_lines, lines }
}

fn line(tag: Tag, bytes: &[u8]) -> Line {
    let (bytes, ended) = bytes.strip_suffix(b"\n").map_or((bytes, false), |b| (b, true));
    Line { tag, bytes: bytes.to_vec(), ended }
}
