//! Trees that an agent can write, looked at safely: a descriptor-relative walk
//! that follows no link and leaves neither its root nor its filesystem, an index of
//! what it saw, and the changes between two of them. It never runs a program on a
//! tree and stores no content.

pub mod apply;
pub mod archive;
mod changes;
pub mod classify;
mod codec;
pub mod diff;
mod index;
pub mod live;
pub mod merge;
pub mod rights;
mod store;
#[cfg(test)]
mod testing;
mod tree;
mod walk;

pub use changes::{Change, ChangeKind, changes};
pub use codec::DecodeError;
pub use index::{Entry, EntryKind, Index};
pub use store::transfer;
pub use store::{
    Fault, Freed, IdError, Reader, RestoreOptions, Retention, SkipReason, Skipped, Snapshot, SnapshotId,
    SnapshotRequest, Statistics, Store, StoreError, StoreOptions, StoredTree, Taken, Touched, TreeLimits,
    Unsettled, Verified,
};
pub use tree::{Content, ContentId, NodeKind, TreeEntry, TreeError, TreeSource};
pub use walk::{Limits, Linked, WalkError, index, index_linked, index_with};
