use crate::store::StoreError;
use std::{fmt, io};

/// Why an archive did not become a snapshot, or a snapshot no archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The archive could not be read.
    #[error("cannot read the archive: {0}")]
    Read(io::Error),
    /// The archive could not be written.
    #[error("cannot write the archive: {0}; what was written so far is not whole")]
    Write(io::Error),
    /// The store would not take or give something.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is compressed.
    #[error("the archive is compressed with {how}; decompress it on the way in: {how} -dc ARCHIVE | ...")]
    Compressed {
        /// With which program.
        how: &'static str,
    },
    /// It is something else.
    #[error("this is not a tar archive: {why}")]
    NotTar {
        /// How one can tell.
        why: &'static str,
    },
    /// It ends before its end mark.
    #[error("the archive is cut short: it ends after {at} bytes, before its end mark; nothing was imported")]
    Truncated {
        /// How many bytes there were.
        at: u64,
    },
    /// It contradicts itself or the format.
    #[error("the archive is damaged or made to deceive, near byte {at}: {why}; nothing was imported")]
    Malformed {
        /// Where, in bytes from its beginning.
        at: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// It holds a name that must not be followed.
    #[error("the archive holds {:?}, which {why}; nothing was imported", path.escape_ascii().to_string())]
    Refused {
        /// The name as the archive has it, cut to what is reasonable.
        path: Vec<u8>,
        /// What is wrong with it.
        why: Refusal,
    },
    /// It holds more than an import may.
    #[error(
        "the archive has more than {limit} {what} (at {:?}); nothing was imported",
        path.escape_ascii().to_string()
    )]
    Limit {
        /// What was counted.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
        /// Where it was exceeded.
        path: Vec<u8>,
    },
}

/// What is wrong with a name in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has no characters.
    Empty,
    /// It begins with a slash.
    Absolute,
    /// One of its parts is `..`.
    Parent,
    /// It has a NUL in it.
    Nul,
    /// One of its parts is longer than a file's name can be.
    Long,
    /// It leads through a symbolic link that came before it.
    ThroughLink,
    /// It leads through something that is no directory.
    ThroughFile,
    /// A directory that holds something was to become something else.
    Replaces,
    /// The tree itself was to become something else than a directory.
    Root,
    /// A hard link to a name outside of the archive.
    LinkOutside,
    /// A hard link to what the archive does not have, or not yet.
    LinkMissing,
    /// A hard link to a directory.
    LinkDirectory,
    /// A symbolic link to nothing, or to a path that no system follows.
    Target,
    /// A kind of entry that no tree can hold and tar programs disagree about.
    Kind,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "is no name",
            Self::Absolute => "is an absolute name",
            Self::Parent => "leads upwards with `..`",
            Self::Nul => "has a NUL in it",
            Self::Long => "is longer than a name can be",
            Self::ThroughLink => "leads through a symbolic link of the same archive",
            Self::ThroughFile => "leads through something that is no directory",
            Self::Replaces => "would replace a directory that is not empty",
            Self::Root => "would replace the tree itself",
            Self::LinkOutside => "is a hard link to a name outside of the archive",
            Self::LinkMissing => "is a hard link to a name that did not come before it",
            Self::LinkDirectory => "is a hard link to a directory",
            Self::Target => "is a symbolic link that leads to no possible path",
            Self::Kind => "is of a kind that no tree holds",
        })
    }
}

impl ArchiveError {
    pub(super) fn refused(path: &[u8], why: Refusal) -> Self {
        Self::Refused { path: shortened(path), why }
    }

    pub(super) fn limit(what: &'static str, limit: u64, path: &[u8]) -> Self {
        Self::Limit { what, limit, path: shortened(path) }
    }
}

/// A hostile name is no reason for an error of megabytes.
fn shortened(path: &[u8]) -> Vec<u8> {
    path[..path.len().min(512)].to_vec()
}
