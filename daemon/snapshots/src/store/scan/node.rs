//! A directory that is being recorded. Its entries are written down as they will be stored, with
//! the places of its directories and long files left open; whoever records one of these fills
//! its place, and whoever fills the last one closes the directory.

use super::Hidden;
use crate::{
    store::{
        entry::mtime,
        error::shown,
        object::{Facts, Slot, set_directory, set_file},
    },
    tree::ContentId,
};
use rustix::{fd::OwnedFd, fs::Stat};
use std::{
    cmp::Ordering,
    mem::take,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
};

pub(super) struct Node<'a> {
    pub(super) parent: Option<Arc<Node<'a>>>,
    pub(super) name: Box<[u8]>,
    /// In the parent.
    pub(super) place: Place,
    pub(super) depth: usize,
    /// Device and inode.
    pub(super) is: (u64, u64),
    pub(super) mtime: (i64, u32),
    pub(super) hidden: Option<&'a Hidden>,
    /// Parts and places that are not done.
    pub(super) pending: AtomicUsize,
    state: Mutex<State>,
}

/// Where the facts of an entry lie.
#[derive(Clone, Copy, Default)]
pub(super) struct Place {
    pub(super) part: usize,
    pub(super) at: usize,
}

#[derive(Default)]
pub(super) struct State {
    /// Far above the directories at hand it is closed, and found again by `..`.
    pub(super) fd: Option<Arc<OwnedFd>>,
    pub(super) parts: Vec<Part>,
    /// It, or a directory below, holds files with several names: stored when all is seen.
    pub(super) waits: bool,
}

/// The entries of some of a directory's names.
#[derive(Default)]
pub(super) struct Part {
    pub(super) bytes: Vec<u8>,
    /// Entries that came to nothing: from, to.
    gaps: Vec<(usize, usize)>,
    /// Files with several names: where, and which inode.
    pub(super) links: Vec<(usize, u64)>,
}

impl<'a> Node<'a> {
    pub(super) fn new(
        parent: Option<(&Arc<Self>, Place)>,
        name: Box<[u8]>,
        fd: OwnedFd,
        stat: &Stat,
        hidden: Option<&'a Hidden>,
        parts: usize,
    ) -> Self {
        let mut state = State { fd: Some(Arc::new(fd)), ..State::default() };
        state.parts.resize_with(parts, Part::default);
        Self {
            depth: parent.map_or(0, |(node, _)| node.depth + 1),
            place: parent.map_or(Place::default(), |(_, place)| place),
            parent: parent.map(|(node, _)| Arc::clone(node)),
            name,
            is: (stat.st_dev, stat.st_ino),
            mtime: mtime(stat),
            hidden,
            pending: AtomicUsize::new(parts),
            state: Mutex::new(state),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fd(&self) -> Option<Arc<OwnedFd>> {
        self.state().fd.clone()
    }

    /// The path below the root.
    pub(super) fn path(&self) -> Vec<u8> {
        let (mut names, mut at) = (Vec::new(), self);
        while let Some(parent) = &at.parent {
            names.push(&*at.name);
            at = parent;
        }
        names.reverse();
        names.join(&b'/')
    }

    pub(super) fn below(&self, name: &[u8]) -> Vec<u8> {
        let mut path = self.path();
        if self.parent.is_some() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    pub(super) fn shown(&self, name: &[u8]) -> String {
        shown(&self.below(name))
    }

    /// The directory as many levels up.
    pub(super) fn above(&self, levels: usize) -> Option<&Self> {
        let mut at = self;
        for _ in 0..levels {
            at = at.parent.as_deref()?;
        }
        Some(at)
    }

    pub(super) fn set_directory(&self, place: Place, facts: &Facts, id: &ContentId) {
        self.state().at(place, |bytes| set_directory(bytes, facts, id));
    }

    pub(super) fn set_file(&self, place: Place, facts: &Facts, id: &ContentId) {
        self.state().at(place, |bytes| set_file(bytes, facts, None, id));
    }

    pub(super) fn set_linked(&self, place: Place, facts: &Facts, group: u32, id: &ContentId) {
        self.state().at(place, |bytes| set_file(bytes, facts, Some(group), id));
    }

    /// Takes out an entry that came to nothing.
    pub(super) fn take_out(&self, place: Place, name: &[u8], slot: Slot) {
        if let Some(part) = self.state().parts.get_mut(place.part) {
            // A tag and the name's length lie before the name.
            part.gaps.push((place.at - name.len() - 3, place.at + slot.length()));
        }
    }

    /// Which of two files a walk meets first: a directory's files come before its directories.
    pub(super) fn order(a: (&Self, &[u8]), b: (&Self, &[u8])) -> Ordering {
        let (mut left, mut right) = (a.0, b.0);
        let (mut in_left, mut in_right): (Option<&[u8]>, Option<&[u8]>) = (None, None);
        while !std::ptr::eq(left, right) {
            let (deeper, up) = (left.depth >= right.depth, left.depth <= right.depth);
            if let (true, Some(parent)) = (deeper, &left.parent) {
                in_left = Some(&left.name);
                left = parent;
            }
            if let (true, Some(parent)) = (up, &right.parent) {
                in_right = Some(&right.name);
                right = parent;
            }
            if left.parent.is_none() && right.parent.is_none() {
                break;
            }
        }
        in_left.cmp(&in_right).then_with(|| a.1.cmp(b.1))
    }
}

impl State {
    fn at(&mut self, place: Place, set: impl FnOnce(&mut [u8])) {
        if let Some(bytes) = self.parts.get_mut(place.part).and_then(|part| part.bytes.get_mut(place.at..)) {
            set(bytes);
        }
    }

    /// All entries in one piece; the parts are gone.
    pub(super) fn whole(&mut self) -> Vec<u8> {
        let mut parts = take(&mut self.parts);
        if let [part] = parts.as_mut_slice()
            && part.gaps.is_empty()
        {
            return take(&mut part.bytes);
        }
        let mut all = Vec::with_capacity(parts.iter().map(|part| part.bytes.len()).sum());
        for mut part in parts {
            part.gaps.sort_unstable();
            let mut from = 0;
            for (start, end) in part.gaps {
                all.extend_from_slice(&part.bytes[from..start]);
                from = end;
            }
            all.extend_from_slice(&part.bytes[from..]);
        }
        all
    }
}

impl Drop for Node<'_> {
    /// One after the other: ten thousand levels are too deep for the stack.
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(mut node) = next.and_then(Arc::into_inner) {
            next = node.parent.take();
        }
    }
}
