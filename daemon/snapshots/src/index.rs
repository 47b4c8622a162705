use std::collections::BTreeMap;

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link; where it points is never looked at.
    Link,
    /// A FIFO, socket or device. Seen, never opened.
    Special,
}

/// What `lstat` says of one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits.
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// Inode number.
    pub inode: u64,
    /// Nanoseconds since 1970; the agent can set it.
    pub modified: i128,
    /// Nanoseconds since 1970; only the kernel sets it.
    pub changed: i128,
}

/// Every entry of a tree, by its path relative to the root, as bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// The entries; the root itself is not among them.
    pub entries: BTreeMap<Vec<u8>, Entry>,
    /// Why some of the tree is missing here: a limit, a directory that could not be read.
    pub incomplete: Vec<String>,
}
