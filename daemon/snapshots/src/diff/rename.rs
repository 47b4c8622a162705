//! Files that stand elsewhere now: those with the same bytes first, then, where there are few
//! enough to compare each with each, those that are more alike than not.

use super::{Budget, Delta, Limits, What, digest, read_bounded, same_address};
use crate::{NodeKind, TreeEntry, TreeSource};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Files less alike than this, in per cent, are a removal and an addition.
const ALIKE: u64 = 50;

pub(super) fn pair(
    found: Vec<Delta>,
    old: &dyn TreeSource,
    new: &dyn TreeSource,
    limits: &Limits,
    budget: &mut Budget,
) -> Vec<Delta> {
    let candidate = |entry: &Option<TreeEntry>| {
        // An empty file is like every other: where it came from means nothing.
        entry.as_ref().is_some_and(|e| e.kind == NodeKind::File && e.size > 0)
    };
    let side = |what: &What, entry: fn(&Delta) -> &Option<TreeEntry>| -> Vec<usize> {
        (0..found.len()).filter(|n| found[*n].what == *what && candidate(entry(&found[*n]))).collect()
    };
    let removed = side(&What::Removed, |d| &d.old);
    let added = side(&What::Added, |d| &d.new);
    let mut pairs = Pairs { found: &found, taken: HashSet::new(), alike: BTreeMap::new() };
    pairs.exact(&removed, &added, old, new, budget);
    pairs.similar(&removed, &added, old, new, limits);
    let Pairs { taken, alike, .. } = pairs;

    let mut olds: HashMap<usize, Option<TreeEntry>> = HashMap::new();
    let from: BTreeMap<usize, (Vec<u8>, u8)> = alike
        .into_iter()
        .map(|(to, (from, alike))| {
            olds.insert(to, found[from].old.clone());
            (to, (found[from].path.clone(), alike))
        })
        .collect();
    let gone: HashSet<usize> = taken.into_iter().filter(|n| found[*n].what == What::Removed).collect();
    let mut out = Vec::with_capacity(found.len());
    for (n, mut delta) in found.into_iter().enumerate() {
        if gone.contains(&n) {
            continue;
        }
        if let Some((path, alike)) = from.get(&n) {
            delta.what = What::Renamed { from: path.clone(), alike: *alike };
            delta.old = olds.remove(&n).flatten();
        }
        out.push(delta);
    }
    out
}

struct Pairs<'a> {
    found: &'a [Delta],
    taken: HashSet<usize>,
    /// By where it stands now: where it stood, and how alike.
    alike: BTreeMap<usize, (usize, u8)>,
}

impl Pairs<'_> {
    fn take(&mut self, from: usize, to: usize, alike: u8) {
        self.taken.insert(from);
        self.taken.insert(to);
        self.alike.insert(to, (from, alike));
    }

    fn entry_old(&self, n: usize) -> Option<&TreeEntry> {
        self.found[n].old.as_ref()
    }

    fn entry_new(&self, n: usize) -> Option<&TreeEntry> {
        self.found[n].new.as_ref()
    }

    fn exact(
        &mut self,
        removed: &[usize],
        added: &[usize],
        old: &dyn TreeSource,
        new: &dyn TreeSource,
        budget: &mut Budget,
    ) {
        let mut by_size: HashMap<u64, Vec<usize>> = HashMap::new();
        for &n in removed {
            by_size.entry(self.entry_old(n).map_or(0, |e| e.size)).or_default().push(n);
        }
        let mut digests: HashMap<(bool, usize), Option<blake3::Hash>> = HashMap::new();
        for &to in added {
            let Some(entry) = self.entry_new(to) else { continue };
            let Some(same) = by_size.get(&entry.size) else { continue };
            let free = || same.iter().copied().filter(|n| !self.taken.contains(n));
            let address = |n: &usize| self.entry_old(*n).is_some_and(|e| same_address(e, entry));
            let mut from = free().find(address);
            if from.is_none() {
                // What cannot be read is no rename; that it cannot be read is told where it
                // is shown or applied.
                let mut of = |new_side: bool, n: usize, tree: &dyn TreeSource, size: u64| {
                    *digests
                        .entry((new_side, n))
                        .or_insert_with(|| digest(tree, &self.found[n].path, size, budget).ok().flatten())
                };
                // Addresses that differ are other bytes, sparse files aside: not worth reading.
                let unread = |n: &usize| self.entry_old(*n).is_some_and(|e| !both_addressed(e, entry));
                from = free().filter(unread).find(|n| {
                    let mine = of(true, to, new, entry.size);
                    mine.is_some() && mine == of(false, *n, old, entry.size)
                });
            }
            if let Some(from) = from {
                self.take(from, to, 100);
            }
        }
    }

    fn similar(
        &mut self,
        removed: &[usize],
        added: &[usize],
        old: &dyn TreeSource,
        new: &dyn TreeSource,
        limits: &Limits,
    ) {
        let rest = |side: &[usize]| -> Vec<usize> {
            side.iter().copied().filter(|n| !self.taken.contains(n)).collect()
        };
        let (removed, added) = (rest(removed), rest(added));
        if removed.is_empty() || added.is_empty() || removed.len().max(added.len()) > limits.renames {
            return;
        }
        let prints = |side: &[usize], tree: &dyn TreeSource, entry: fn(&Delta) -> &Option<TreeEntry>| {
            let print = |n: &usize| {
                let size = entry(&self.found[*n]).as_ref()?.size;
                let bytes = read_bounded(tree, &self.found[*n].path, size, limits.text).ok()??;
                Some((*n, Print::of(&bytes)))
            };
            side.iter().filter_map(print).collect::<Vec<_>>()
        };
        let before = prints(&removed, old, |d| &d.old);
        let after = prints(&added, new, |d| &d.new);
        let mut scored = Vec::new();
        for (to, b) in &after {
            for (from, a) in &before {
                let alike = a.alike(b);
                if alike >= ALIKE {
                    scored.push((std::cmp::Reverse(alike), *to, *from));
                }
            }
        }
        scored.sort_unstable();
        for (alike, to, from) in scored {
            if !self.taken.contains(&to) && !self.taken.contains(&from) {
                // A hundred is said of the same bytes alone, and these have other ones.
                self.take(from, to, u8::try_from(alike.0).unwrap_or(99).min(99));
            }
        }
    }
}

fn both_addressed(a: &TreeEntry, b: &TreeEntry) -> bool {
    let addressed = |e: &TreeEntry| matches!(e.content, crate::Content::Address(_));
    addressed(a) && addressed(b)
}

/// The lines of a file as sorted digests, each with its length.
struct Print {
    lines: Vec<(u64, u64)>,
    total: u64,
}

impl Print {
    fn of(bytes: &[u8]) -> Self {
        use std::hash::BuildHasher as _;
        // Keys that nobody can aim at would differ between runs and so would the answer;
        // a collision only makes a wrong guess at a rename.
        let keys = std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default();
        let mut lines: Vec<_> =
            bytes.split_inclusive(|b| *b == b'\n').map(|l| (keys.hash_one(l), l.len() as u64)).collect();
        lines.sort_unstable();
        Self { lines, total: bytes.len() as u64 }
    }

    /// How many of the bytes are in lines of both, in per cent of the larger.
    fn alike(&self, other: &Self) -> u64 {
        let larger = self.total.max(other.total).max(1);
        if self.total.min(other.total) * 100 < larger * ALIKE {
            return 0;
        }
        let (mut a, mut b, mut common) = (self.lines.as_slice(), other.lines.as_slice(), 0);
        while let ([x, rest_a @ ..], [y, rest_b @ ..]) = (a, b) {
            match x.cmp(y) {
                std::cmp::Ordering::Less => a = rest_a,
                std::cmp::Ordering::Greater => b = rest_b,
                std::cmp::Ordering::Equal => {
                    common += x.1;
                    (a, b) = (rest_a, rest_b);
                }
            }
        }
        common * 100 / larger
    }
}
