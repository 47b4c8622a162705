//! Three texts, line by line: what one side changed is taken, what both changed alike is taken
//! once, what they changed differently is a conflict and never a guess.

use crate::diff::{lines, number, operations};
use similar::DiffOp;
use std::{collections::HashMap, ops::Range, time::Duration};

/// Lines that both sides changed differently, in each of the three texts, from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// In the common ancestor.
    pub base: Range<usize>,
    /// In ours.
    pub ours: Range<usize>,
    /// In theirs.
    pub theirs: Range<usize>,
}

/// What is done where both sides changed the same lines differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefer {
    /// Nothing: the conflicts are the answer.
    Neither,
    /// Our lines are taken.
    Ours,
}

/// The outcome of a merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged {
    /// One text.
    Clean(Vec<u8>),
    /// Where it failed; never empty.
    Conflicts(Vec<Conflict>),
}

/// Merges. Changes that touch are taken as one: between two changes there has to be a line that
/// nobody changed.
#[must_use]
pub fn merge(base: &[u8], ours: &[u8], theirs: &[u8], prefer: Prefer, time: Duration) -> Merged {
    let (base, ours, theirs) = (lines(base), lines(ours), lines(theirs));
    let mut known = HashMap::new();
    let o = number(&base, &mut known);
    let a = number(&ours, &mut known);
    let b = number(&theirs, &mut known);
    let (mine, other) = (edits(&o, &a, time), edits(&o, &b, time));
    let (mut out, mut conflicts) = (Vec::new(), Vec::new());
    let mut take = |lines: &[&[u8]]| lines.iter().for_each(|l| out.extend_from_slice(l));
    let (mut mine, mut other) = (Side::new(&mine), Side::new(&other));
    let mut at = 0;
    while let Some(start) = [mine.start(), other.start()].into_iter().flatten().min() {
        take(&base[at..start]);
        let mut end = start;
        let (from_a, from_b) = (mine.position(start), other.position(start));
        while mine.reach(&mut end) | other.reach(&mut end) {}
        let (in_a, in_b) = (from_a..mine.position(end), from_b..other.position(end));
        let (x, y, was) = (&a[in_a.clone()], &b[in_b.clone()], &o[start..end]);
        if y == was || x == y {
            take(&ours[in_a]);
        } else if x == was {
            take(&theirs[in_b]);
        } else if prefer == Prefer::Ours {
            take(&ours[in_a]);
        } else {
            conflicts.push(Conflict { base: start..end, ours: in_a, theirs: in_b });
        }
        at = end;
    }
    take(&base[at..]);
    if conflicts.is_empty() { Merged::Clean(out) } else { Merged::Conflicts(conflicts) }
}

/// Ranges of the base and what stands there instead, apart from each other and in order.
fn edits(base: &[usize], side: &[usize], time: Duration) -> Vec<(Range<usize>, Range<usize>)> {
    operations(base, side, time)
        .iter()
        .filter(|op| !matches!(op, DiffOp::Equal { .. }))
        .map(|op| (op.old_range(), op.new_range()))
        .collect()
}

struct Side<'a> {
    edits: &'a [(Range<usize>, Range<usize>)],
    /// Lines here less lines of the base, up to the next edit.
    shift: isize,
}

impl<'a> Side<'a> {
    fn new(edits: &'a [(Range<usize>, Range<usize>)]) -> Self {
        Self { edits, shift: 0 }
    }

    fn start(&self) -> Option<usize> {
        self.edits.first().map(|(base, _)| base.start)
    }

    /// Where a line of the base that is not part of a coming edit stands here.
    fn position(&self, base: usize) -> usize {
        base.saturating_add_signed(self.shift)
    }

    /// Takes in the next edit where it begins no later than `end`; true: it did.
    fn reach(&mut self, end: &mut usize) -> bool {
        let Some(((base, side), rest)) = self.edits.split_first() else { return false };
        if base.start > *end {
            return false;
        }
        *end = (*end).max(base.end);
        self.shift += side.len().cast_signed() - base.len().cast_signed();
        self.edits = rest;
        true
    }
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
