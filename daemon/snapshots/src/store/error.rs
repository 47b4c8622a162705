use std::{fmt, io};

/// Why a store could not do what was asked. Paths inside a tree are shown escaped.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused something on the store's own files or on a restore's target.
    #[error("cannot {what} {on}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        on: String,
        /// What the system says.
        source: io::Error,
    },
    /// The directory holds something else, or a store of a later format.
    #[error("{on} is not a snapshot store that this version reads: {why}; nothing was changed")]
    Format {
        /// The directory.
        on: String,
        /// What is wrong.
        why: String,
    },
    /// Stored bytes are not what was stored.
    #[error("{what} in the snapshot store is damaged: {why}; run verify to learn what it touches")]
    Damaged {
        /// The pack, record or object.
        what: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No such snapshot or object.
    #[error("the snapshot store has no {0}")]
    NotFound(String),
    /// More than one snapshot begins like this.
    #[error("{prefix} could be {count} snapshots; give more of the digits")]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// How many begin so.
        count: usize,
    },
    /// No name of a snapshot, nor the beginning of one.
    #[error("{0:?} names no snapshot: give at least 4 of its 64 lower-case hexadecimal digits")]
    Name(String),
    /// A path that can be no path of the tree cannot be left out of it.
    #[error(
        "{0:?} cannot be left out of a snapshot: it is not a path below the tree's root; the snapshot was not taken"
    )]
    LeaveOut(String),
    /// Something in the tree cannot be read: a snapshot without it would not be the tree.
    #[error("cannot read {path:?} of the tree: {source}; the snapshot was not taken")]
    Unreadable {
        /// Relative to the tree's root.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// A file was written each time it was read.
    #[error(
        "{path:?} kept changing while it was read; the snapshot was not taken: stop what writes it, or leave such files out"
    )]
    Changing {
        /// Relative to the tree's root.
        path: String,
    },
    /// The tree is larger than a snapshot may be.
    #[error("the tree has more than {limit} {what} (at {path:?}); the snapshot was not taken")]
    Limit {
        /// What was counted.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
        /// Where it was exceeded.
        path: String,
    },
    /// The owner's share of the store is used up.
    #[error(
        "snapshots of {owner:?} may hold {limit} bytes and hold {used}; remove some and run gc, or raise the quota"
    )]
    Quota {
        /// Whose.
        owner: String,
        /// How much is stored already.
        used: u64,
        /// How much may be.
        limit: u64,
    },
    /// A restore needs an empty directory.
    #[error("{0} is not empty: a snapshot is restored into an empty directory only")]
    NotEmpty(String),
    /// A name, label or count is longer than the format holds.
    #[error("{what} is too long: at most {limit}")]
    TooLong {
        /// Which.
        what: &'static str,
        /// How much is allowed.
        limit: usize,
    },
    /// What the snapshot stood on was freed meanwhile, each time it was tried.
    #[error("other work freed what this snapshot stood on, several times; try again")]
    Contended,
}

/// Adds what was tried, and on what, to what the system says.
pub(super) fn io<E: Into<io::Error>>(
    what: &'static str,
    on: impl fmt::Display,
) -> impl FnOnce(E) -> StoreError {
    let on = on.to_string();
    move |e| StoreError::Io { what, on, source: e.into() }
}

pub(super) fn shown(path: &[u8]) -> String {
    path.escape_ascii().to_string()
}
