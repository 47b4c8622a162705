//! Files with several names. Whichever thread meets one first, the name that a walk would meet
//! first gives the content, and the number by which the names know each other.

use super::node::{Node, Place};
use crate::{store::object::Facts, tree::ContentId};
use std::{
    cmp::Ordering,
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

struct First<'a> {
    node: Arc<Node<'a>>,
    name: Box<[u8]>,
    facts: Facts,
    id: ContentId,
    number: u32,
}

/// By inode.
#[derive(Default)]
pub(super) struct Links<'a>(Mutex<HashMap<u64, First<'a>>>);

impl<'a> Links<'a> {
    pub(super) fn note(&self, inode: u64, node: &Arc<Node<'a>>, name: &[u8], facts: Facts, id: ContentId) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = all
            .get(&inode)
            .is_none_or(|had| Node::order((node, name), (&had.node, &had.name)) == Ordering::Less);
        if earlier {
            all.insert(inode, First { node: Arc::clone(node), name: name.into(), facts, id, number: 0 });
        }
    }

    /// When all names were met: makes every name of a file tell the same.
    pub(super) fn settle(self) -> Settled<'a> {
        let mut all = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut taken = HashSet::with_capacity(all.len());
        let mut twice = false;
        let mut sorted: Vec<_> = all.values_mut().collect();
        sorted.sort_unstable_by_key(|first| Arc::as_ptr(&first.node));
        for same in sorted.chunk_by_mut(|a, b| Arc::ptr_eq(&a.node, &b.node)) {
            let mut directory = blake3::Hasher::new();
            if let Some(first) = same.first() {
                directory.update(&first.node.path()).update(b"/");
            }
            for first in same {
                // Named after the path, so that what happens elsewhere in the tree renames no group.
                let hash = directory.clone().update(&first.name).finalize();
                first.number = hash.as_bytes().first_chunk().map_or(0, |c| u32::from_le_bytes(*c));
                twice |= !taken.insert(first.number);
            }
        }
        if twice {
            sorted.sort_unstable_by(|a, b| Node::order((&a.node, &a.name), (&b.node, &b.name)));
            taken.clear();
            for first in sorted {
                while !taken.insert(first.number) {
                    first.number = first.number.wrapping_add(1);
                }
            }
        }
        Settled(all)
    }
}

pub(super) struct Settled<'a>(HashMap<u64, First<'a>>);

impl Settled<'_> {
    /// Fills the places of the linked files of a directory.
    pub(super) fn fill(&self, node: &Node<'_>) {
        let mut places = Vec::new();
        for (number, part) in node.state().parts.iter().enumerate() {
            places.extend(part.links.iter().map(|(at, inode)| (Place { part: number, at: *at }, *inode)));
        }
        for (place, inode) in places {
            if let Some(first) = self.0.get(&inode) {
                node.set_linked(place, &first.facts, first.number, &first.id);
            }
        }
    }
}
