//! What a tree is to everything that compares, merges, applies or restores one: sorted
//! entries below a path, and the bytes of its files. A stored snapshot is one, a live
//! workspace another.

use std::{fmt, io::Read};

/// What stands at a path of a tree. Nothing else is ever recorded: FIFOs, sockets and
/// devices are skipped by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link; where it points is bytes and no more.
    Symlink,
}

/// A blake3 address.
///
/// Two files with one address have the same bytes, two directories with one address the same
/// subtree, names, modes and times included. The reverse holds for files that are not
/// sparse; where holes lie is part of a sparse file's address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentId(pub [u8; 32]);

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The address of a file's bytes or of a directory's subtree.
    Address(ContentId),
    /// A live file or directory whose bytes were not read yet: compare what
    /// [`TreeSource::read`] and [`TreeSource::children`] give.
    Unread,
    /// The bytes of a symbolic link.
    Target(Vec<u8>),
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEntry {
    /// One path component: not empty, not `.` or `..`, without `/` and NUL. Bytes, not text.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: NodeKind,
    /// The nine permission bits; setuid, setgid and sticky are never here.
    pub mode: u32,
    /// Modification time: seconds since 1970 and nanoseconds below a second.
    pub mtime: (i64, u32),
    /// Bytes of a file or of a link's target; 0 for a directory.
    pub size: u64,
    /// What it holds.
    pub content: Content,
    /// Files of one tree with the same number here are names of one inode.
    pub link_group: Option<u32>,
}

/// A tree could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {:?} of the tree: {reason}", path.escape_ascii().to_string())]
pub struct TreeError {
    /// Relative to the tree's root; empty for the root.
    pub path: Vec<u8>,
    /// What went wrong.
    pub reason: String,
    /// Whether nothing stands there, or something of another kind.
    pub absent: bool,
}

/// A tree to read from. Paths are relative, components joined by `/`, the root is the empty
/// path.
pub trait TreeSource {
    /// The entries of the directory at `path`, sorted by the bytes of their names, each name
    /// once.
    ///
    /// # Errors
    /// When no directory stands there, or it cannot be read whole.
    fn children(&self, path: &[u8]) -> Result<Vec<TreeEntry>, TreeError>;

    /// The bytes of the file at `path`. The reader fails rather than give bytes that are not
    /// the file's.
    ///
    /// # Errors
    /// When no regular file stands there, or it cannot be read.
    fn read(&self, path: &[u8]) -> Result<Box<dyn Read + '_>, TreeError>;
}
