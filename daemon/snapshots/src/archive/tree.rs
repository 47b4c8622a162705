//! The tree that an archive describes, in memory: names and addresses, no content, and
//! nothing on any filesystem. What comes later in the archive counts, as for tar, but
//! no name ever leads through a link.

use super::{
    error::{ArchiveError, Refusal},
    names::{parts, target},
};
use crate::{
    store::{Builder, StoreError, TreeLimits},
    tree::{Content, ContentId, NodeKind, TreeEntry},
};
use std::collections::BTreeMap;

/// What an archive that does not tell gives to a directory.
const MODE: u32 = 0o755;
/// How many bytes all names and targets of links together may have: they are held in memory.
const NAMES_MOST: u64 = 256 << 20;

/// Directories and files are numbers into tables: ten thousand levels are no recursion.
enum Node {
    Directory(usize),
    File(usize),
    Symlink(Vec<u8>, (i64, u32)),
}

struct Directory {
    mode: u32,
    mtime: (i64, u32),
    children: BTreeMap<Box<[u8]>, Node>,
}

struct File {
    id: ContentId,
    size: u64,
    mode: u32,
    mtime: (i64, u32),
    /// How many names it has.
    names: u64,
    group: Option<u32>,
}

pub(super) struct Tree {
    limits: TreeLimits,
    entries: u64,
    names: u64,
    directories: Vec<Directory>,
    files: Vec<File>,
    /// Places of what was replaced: however often that happens, the tables do not grow.
    free_directories: Vec<usize>,
    free_files: Vec<usize>,
}

/// What is counted of a finished tree.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    pub(super) files: u64,
    pub(super) directories: u64,
    pub(super) symlinks: u64,
    pub(super) bytes: u64,
}

struct Level {
    at: usize,
    name: Box<[u8]>,
    above: usize,
    waiting: Vec<(Box<[u8]>, usize)>,
    done: Vec<TreeEntry>,
}

impl Tree {
    pub(super) fn new(limits: TreeLimits) -> Self {
        let root = Directory { mode: MODE, mtime: (0, 0), children: BTreeMap::new() };
        Self {
            limits,
            entries: 0,
            names: 0,
            directories: vec![root],
            files: Vec::new(),
            free_directories: Vec::new(),
            free_files: Vec::new(),
        }
    }

    pub(super) fn root(&self) -> (u32, (i64, u32)) {
        self.directories.first().map_or((MODE, (0, 0)), |root| (root.mode, root.mtime))
    }

    /// Checks that `name` may be made, so that no content is stored for one that may not.
    pub(super) fn check(&mut self, name: &[u8]) -> Result<(), ArchiveError> {
        let parts = self.parts(name)?;
        self.above(name, &parts)?;
        Ok(())
    }

    pub(super) fn directory(
        &mut self,
        name: &[u8],
        mode: u32,
        mtime: (i64, u32),
    ) -> Result<(), ArchiveError> {
        let parts = self.parts(name)?;
        let depth = self.limits.depth;
        if parts.len() as u64 > depth {
            return Err(ArchiveError::limit("directories below each other", depth, name));
        }
        let mut at = Some(0);
        if let Some((above, last)) = self.above(name, &parts)? {
            at = match self.find(above, last) {
                Some(Node::Directory(at)) => Some(*at),
                _ => None,
            };
            if at.is_none() {
                self.make(name, above, last, mode, mtime)?;
            }
        }
        if let Some(had) = at.and_then(|at| self.directories.get_mut(at)) {
            (had.mode, had.mtime) = (mode, mtime);
        }
        Ok(())
    }

    pub(super) fn file(
        &mut self,
        name: &[u8],
        (id, size): (ContentId, u64),
        mode: u32,
        mtime: (i64, u32),
    ) -> Result<(), ArchiveError> {
        let file = File { id, size, mode, mtime, names: 0, group: None };
        let at = place(&mut self.files, &mut self.free_files, file);
        self.put(name, Node::File(at))
    }

    pub(super) fn symlink(
        &mut self,
        name: &[u8],
        link: &[u8],
        mtime: (i64, u32),
    ) -> Result<(), ArchiveError> {
        target(link).map_err(|why| ArchiveError::refused(name, why))?;
        self.put(name, Node::Symlink(link.to_vec(), mtime))
    }

    /// Another name for a file that is there.
    pub(super) fn link(&mut self, name: &[u8], to: &[u8]) -> Result<(), ArchiveError> {
        let refused = |why| ArchiveError::refused(name, why);
        let there = parts(to).map_err(|why| match why {
            Refusal::Absolute | Refusal::Parent => refused(Refusal::LinkOutside),
            why => refused(why),
        })?;
        let here = self.parts(name)?;
        let Some((last, above)) = there.split_last() else { return Err(refused(Refusal::LinkDirectory)) };
        let mut at = 0;
        for part in above {
            at = match self.find(at, part) {
                Some(Node::Directory(at)) => *at,
                Some(Node::Symlink(..)) => return Err(refused(Refusal::ThroughLink)),
                Some(Node::File(_)) => return Err(refused(Refusal::ThroughFile)),
                None => return Err(refused(Refusal::LinkMissing)),
            };
        }
        let node = match self.find(at, last) {
            Some(Node::File(file)) => Node::File(*file),
            // A link with several names is several links: it cannot be written through.
            Some(Node::Symlink(to, mtime)) => Node::Symlink(to.clone(), *mtime),
            Some(Node::Directory(_)) => return Err(refused(Refusal::LinkDirectory)),
            None => return Err(refused(Refusal::LinkMissing)),
        };
        if here == there { Ok(()) } else { self.put(name, node) }
    }

    /// Something that no tree holds stands at the name: what was there is replaced by nothing.
    pub(super) fn skip(&mut self, name: &[u8]) -> Result<Vec<u8>, ArchiveError> {
        let parts = self.parts(name)?;
        let Some((above, last)) = self.above(name, &parts)? else {
            return Err(ArchiveError::refused(name, Refusal::Root));
        };
        self.vacate(name, above, last)?;
        Ok(parts.join(&b'/'))
    }

    fn parts<'n>(&self, name: &'n [u8]) -> Result<Vec<&'n [u8]>, ArchiveError> {
        let parts = parts(name).map_err(|why| ArchiveError::refused(name, why))?;
        let depth = self.limits.depth;
        if parts.len().saturating_sub(1) as u64 > depth {
            return Err(ArchiveError::limit("directories below each other", depth, name));
        }
        Ok(parts)
    }

    fn find(&self, at: usize, name: &[u8]) -> Option<&Node> {
        self.directories.get(at)?.children.get(name)
    }

    /// The directory that the last part of a name is in, made where it is missing; nothing for
    /// the tree itself.
    fn above<'n>(
        &mut self,
        name: &[u8],
        parts: &[&'n [u8]],
    ) -> Result<Option<(usize, &'n [u8])>, ArchiveError> {
        let Some((last, above)) = parts.split_last() else { return Ok(None) };
        let mut at = 0;
        for part in above {
            at = match self.find(at, part) {
                Some(Node::Directory(at)) => *at,
                Some(Node::Symlink(..)) => return Err(ArchiveError::refused(name, Refusal::ThroughLink)),
                Some(Node::File(_)) => return Err(ArchiveError::refused(name, Refusal::ThroughFile)),
                None => self.make(name, at, part, MODE, (0, 0))?,
            };
        }
        Ok(Some((at, last)))
    }

    fn make(
        &mut self,
        name: &[u8],
        above: usize,
        last: &[u8],
        mode: u32,
        mtime: (i64, u32),
    ) -> Result<usize, ArchiveError> {
        let made = Directory { mode, mtime, children: BTreeMap::new() };
        let at = place(&mut self.directories, &mut self.free_directories, made);
        self.set(name, above, last, Node::Directory(at))?;
        Ok(at)
    }

    fn put(&mut self, name: &[u8], node: Node) -> Result<(), ArchiveError> {
        let parts = self.parts(name)?;
        match self.above(name, &parts)? {
            Some((above, last)) => self.set(name, above, last, node),
            None => Err(ArchiveError::refused(name, Refusal::Root)),
        }
    }

    fn set(&mut self, name: &[u8], above: usize, last: &[u8], node: Node) -> Result<(), ArchiveError> {
        self.vacate(name, above, last)?;
        let TreeLimits { entries, directory, .. } = self.limits;
        if self.entries >= entries {
            return Err(ArchiveError::limit("entries", entries, name));
        }
        self.names += weight(last, &node);
        if self.names > NAMES_MOST {
            return Err(ArchiveError::limit("bytes of names", NAMES_MOST, name));
        }
        if let Node::File(file) = node
            && let Some(file) = self.files.get_mut(file)
        {
            file.names += 1;
        }
        let Some(at) = self.directories.get_mut(above) else { return Ok(()) };
        if at.children.len() as u64 >= directory {
            return Err(ArchiveError::limit("entries in one directory", directory, name));
        }
        self.entries += 1;
        at.children.insert(last.into(), node);
        Ok(())
    }

    /// Takes away what stands at a name, unless it holds anything.
    fn vacate(&mut self, name: &[u8], above: usize, last: &[u8]) -> Result<(), ArchiveError> {
        if let Some(Node::Directory(at)) = self.find(above, last)
            && self.directories.get(*at).is_some_and(|d| !d.children.is_empty())
        {
            return Err(ArchiveError::refused(name, Refusal::Replaces));
        }
        let Some(gone) = self.directories.get_mut(above).and_then(|d| d.children.remove(last)) else {
            return Ok(());
        };
        self.entries -= 1;
        self.names -= weight(last, &gone);
        match gone {
            Node::Directory(at) => self.free_directories.push(at),
            Node::File(at) => {
                if let Some(file) = self.files.get_mut(at) {
                    file.names -= 1;
                    if file.names == 0 {
                        self.free_files.push(at);
                    }
                }
            }
            Node::Symlink(..) => {}
        }
        Ok(())
    }

    /// Stores all directories, the innermost first, and tells the root's address.
    pub(super) fn store(mut self, into: &mut Builder<'_>) -> Result<(ContentId, Counted), StoreError> {
        let (mut counted, mut path) = (Counted::default(), Vec::new());
        let mut stack = vec![self.enter(0, Box::default(), 0, &path, into, &mut counted)];
        loop {
            let Some(level) = stack.last_mut() else { return Err(StoreError::Contended) };
            if let Some((name, at)) = level.waiting.pop() {
                let above = path.len();
                if above > 0 {
                    path.push(b'/');
                }
                path.extend_from_slice(&name);
                counted.directories += 1;
                stack.push(self.enter(at, name, above, &path, into, &mut counted));
                continue;
            }
            let Some(mut level) = stack.pop() else { return Err(StoreError::Contended) };
            level.done.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            let id = into.tree(&level.done)?;
            path.truncate(level.above);
            let Some(parent) = stack.last_mut() else { return Ok((id, counted)) };
            let Some(Directory { mode, mtime, .. }) = self.directories.get(level.at) else { continue };
            parent.done.push(TreeEntry {
                name: level.name.into_vec(),
                kind: NodeKind::Directory,
                mode: *mode,
                mtime: *mtime,
                size: 0,
                content: Content::Address(id),
                link_group: None,
            });
        }
    }

    fn enter(
        &mut self,
        at: usize,
        name: Box<[u8]>,
        above: usize,
        path: &[u8],
        into: &mut Builder<'_>,
        counted: &mut Counted,
    ) -> Level {
        let mut level = Level { at, name, above, waiting: Vec::new(), done: Vec::new() };
        let children = self.directories.get_mut(at).map(|d| std::mem::take(&mut d.children));
        for (name, node) in children.unwrap_or_default() {
            let name = match node {
                Node::Directory(at) => {
                    level.waiting.push((name, at));
                    continue;
                }
                _ => name.into_vec(),
            };
            let entry = match node {
                Node::Symlink(target, mtime) => {
                    counted.symlinks += 1;
                    let (kind, size) = (NodeKind::Symlink, target.len() as u64);
                    let content = Content::Target(target);
                    TreeEntry { name, kind, mode: 0o777, mtime, size, content, link_group: None }
                }
                Node::File(file) => {
                    let Some(file) = self.files.get_mut(file) else { continue };
                    if file.names > 1 && file.group.is_none() {
                        file.group = Some(into.group(path, &name));
                    }
                    counted.files += 1;
                    counted.bytes = counted.bytes.saturating_add(file.size);
                    let File { id, size, mode, mtime, group, .. } = *file;
                    let (kind, content) = (NodeKind::File, Content::Address(id));
                    TreeEntry { name, kind, mode, mtime, size, content, link_group: group }
                }
                Node::Directory(_) => continue,
            };
            level.done.push(entry);
        }
        level.waiting.reverse();
        level
    }
}

/// Puts something into a table, where there is a place or at the end.
fn place<T>(table: &mut Vec<T>, free: &mut Vec<usize>, new: T) -> usize {
    if let Some(at) = free.pop()
        && let Some(place) = table.get_mut(at)
    {
        *place = new;
        return at;
    }
    table.push(new);
    table.len() - 1
}

/// The bytes that a name takes, with where it leads.
fn weight(name: &[u8], node: &Node) -> u64 {
    let target = if let Node::Symlink(target, _) = node { target.len() } else { 0 };
    (name.len() + target) as u64
}
