//! What is put somewhere and what has to stand there, with all in it: lists, parents before what
//! they hold. Trees as deep as a store takes would be too deep for anything nested.

use crate::{
    Content, NodeKind, TreeEntry, TreeError, TreeSource,
    diff::{Budget, digest},
    live::{join, split},
};

/// Seconds since 1970, and nanoseconds below a second.
pub(super) type Time = (i64, u32);

/// Where the bytes of a new file come from.
#[derive(Debug)]
pub(super) enum Bytes {
    /// The source's file of this path; it has to have this digest still.
    From {
        path: Vec<u8>,
        size: u64,
        digest: blake3::Hash,
    },
    Merged(Vec<u8>),
}

/// What is put somewhere.
#[derive(Debug)]
pub(super) enum Thing {
    File {
        mode: u32,
        time: Option<Time>,
        bytes: Bytes,
        /// Files with one number are names of one inode.
        group: Option<u32>,
    },
    Link {
        target: Vec<u8>,
        time: Option<Time>,
    },
    Directory {
        mode: u32,
        time: Option<Time>,
    },
}

/// One thing of a list of them.
#[derive(Debug)]
pub(super) struct Part {
    /// How many directories of the list it stands in.
    pub(super) depth: usize,
    /// Of the first: nothing.
    pub(super) name: Vec<u8>,
    pub(super) thing: Thing,
}

/// What has to stand at a path for it to be replaced or removed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stands {
    File { mode: u32, size: u64, digest: blake3::Hash },
    Link(Vec<u8>),
    Directory { mode: u32 },
}

/// One thing of a list of what has to stand.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stand {
    pub(super) depth: usize,
    pub(super) name: Vec<u8>,
    pub(super) what: Stands,
}

/// What stands at a path; none: too large to be told.
pub(super) fn stands(
    tree: &dyn TreeSource,
    path: &[u8],
    entry: &TreeEntry,
    budget: &mut Budget,
) -> Result<Option<Vec<Stand>>, TreeError> {
    let mut list = Vec::new();
    let whole = visit(tree, path, entry, &mut |depth, path, entry| {
        let what = match (&entry.content, entry.kind) {
            (Content::Target(target), _) => Stands::Link(target.clone()),
            (_, NodeKind::Directory) => Stands::Directory { mode: entry.mode },
            _ => match digest(tree, path, entry.size, budget)? {
                Some(digest) => Stands::File { mode: entry.mode, size: entry.size, digest },
                None => return Ok(false),
            },
        };
        let name = if depth == 0 { Vec::new() } else { entry.name.clone() };
        list.push(Stand { depth, name, what });
        Ok(true)
    })?;
    Ok(whole.then_some(list))
}

/// Whether what stands at a path is all there was to be and nothing else.
pub(super) fn matches(
    tree: &dyn TreeSource,
    path: &[u8],
    entry: &TreeEntry,
    expected: &[Stand],
    budget: &mut Budget,
) -> Result<bool, TreeError> {
    let mut expected = expected.iter();
    let whole = visit(tree, path, entry, &mut |depth, path, entry| {
        let Some(stand) = expected.next() else { return Ok(false) };
        if stand.depth != depth || (depth > 0 && stand.name != entry.name) {
            return Ok(false);
        }
        Ok(match (&stand.what, entry.kind, &entry.content) {
            (Stands::Link(target), _, Content::Target(now)) => target == now,
            (Stands::Directory { mode }, NodeKind::Directory, _) => entry.mode == *mode,
            (Stands::File { mode, size, digest: was }, NodeKind::File, _) => {
                entry.mode == *mode
                    && entry.size == *size
                    && digest(tree, path, *size, budget)?.is_some_and(|now| now == *was)
            }
            _ => false,
        })
    })?;
    Ok(whole && expected.next().is_none())
}

/// Sees a depth, a path and what stands there.
pub(super) type Visitor<'a> = dyn FnMut(usize, &[u8], &TreeEntry) -> Result<bool, TreeError> + 'a;

/// Looks at what stands at a path and at all in it, parents first, names in order. False: the
/// visitor wants to see no more.
pub(super) fn visit(
    tree: &dyn TreeSource,
    path: &[u8],
    entry: &TreeEntry,
    visitor: &mut Visitor<'_>,
) -> Result<bool, TreeError> {
    if !visitor(0, path, entry)? {
        return Ok(false);
    }
    let mut at = path.to_vec();
    let mut open = Vec::new();
    if entry.kind == NodeKind::Directory {
        open.push(tree.children(path)?.into_iter());
    }
    while let Some(children) = open.last_mut() {
        let Some(child) = children.next() else {
            open.pop();
            at.truncate(split(&at).0.len());
            continue;
        };
        let here = join(&at, &child.name);
        if !visitor(open.len(), &here, &child)? {
            return Ok(false);
        }
        if child.kind == NodeKind::Directory {
            open.push(tree.children(&here)?.into_iter());
            at = here;
        }
    }
    Ok(true)
}
