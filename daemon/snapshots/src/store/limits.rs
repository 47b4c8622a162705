use super::record::SnapshotId;
use rustix::fs::{FileType, Stat};

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

/// Who a snapshot is taken for, when the process that takes it may read more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader {
    /// User.
    pub uid: u32,
    /// Group; supplementary groups do not count.
    pub gid: u32,
}

impl Reader {
    /// Whether the mode and owner let this one read what was looked at, or it owns it: who owns a
    /// file can give himself the right.
    pub(super) fn may(self, stat: &Stat) -> bool {
        let needed = if FileType::from_raw_mode(stat.st_mode) == FileType::Directory { 0o5 } else { 0o4 };
        let bits = if stat.st_gid == self.gid { stat.st_mode >> 3 } else { stat.st_mode };
        self.uid == 0 || stat.st_uid == self.uid || bits & needed == needed
    }
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
    /// What it is for: `base`, `turn`, and so on. The store only keeps it.
    pub kind: String,
    /// Where the tree stands for whoever asks later. The store only keeps it.
    pub origin: Vec<u8>,
    /// A name for it.
    pub label: String,
    /// Record only what this one owns or may read; the rest is skipped by name.
    pub reader: Option<Reader>,
    /// Paths that stay out with all below them, relative to the root and exact.
    pub leave_out: Vec<Vec<u8>>,
    /// How much it may hold.
    pub limits: TreeLimits,
    /// What to do about files that do not hold still.
    pub unsettled: Unsettled,
}
