use super::record::SnapshotId;

/// How a store is used by this process.
#[derive(Clone, Debug, Default)]
pub struct StoreOptions {
    /// The most bytes that the owner's packs and records may take; none for no limit.
    pub quota: Option<u64>,
}

/// How much of a tree a snapshot may hold. More is refused: half a tree is not the tree.
#[derive(Clone, Copy, Debug)]
pub struct TreeLimits {
    /// Entries altogether.
    pub entries: u64,
    /// Entries of one directory.
    pub directory: u64,
    /// Directories below each other.
    pub depth: u64,
    /// Bytes to read; holes are not read.
    pub bytes: u64,
}

impl Default for TreeLimits {
    fn default() -> Self {
        Self { entries: 4_000_000, directory: 1_000_000, depth: 12_000, bytes: 1 << 40 }
    }
}

/// What to do about a file that changes each time it is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unsettled {
    /// No snapshot.
    #[default]
    Fail,
    /// A snapshot without it, that names it.
    LeaveOut,
}

/// What a snapshot is to be known by.
#[derive(Clone, Debug, Default)]
pub struct SnapshotRequest {
    /// What it continues.
    pub parents: Vec<SnapshotId>,
    /// The run it belongs to.
    pub run: String,
    /// The agent whose tree it is.
    pub agent: String,
    /// The turn it follows.
    pub turn: Option<u64>,
    /// A name for it.
    pub label: String,
    /// How much it may hold.
    pub limits: TreeLimits,
    /// What to do about files that do not hold still.
    pub unsettled: Unsettled,
}
