//! A private copy of a user's tree: what an agent changes at the user's own path, while the
//! user's tree stays as it is.
//!
//! Responsible for making, finding again and removing such copies, whatever they contain, and
//! for never touching the tree that one was made of. Not responsible for who sees them, for what
//! is mounted over parts of them, or for what becomes of the changes.
//!
//! A fork lies in a directory of the daemon's own, which no sandbox sees as a whole:
//!
//! ```text
//! AT/record     how it was made; absent: it never was finished
//! AT/tree       the tree, or a directory with the one file
//! AT/upper      overlay: what the agent has changed; only the kernel reads it
//! AT/work       overlay: the kernel's own
//! ```
//!
//! Three ways to make one, and a tree made in any of them reads the same. An **overlay** costs one
//! mount. Its upper layer is hostile: so nothing that could be found in one has a meaning, but what
//! the kernel itself writes there with rights that no agent has (`trusted.overlay.*`, whiteouts).
//! Metadata-only copies, redirects and the inode index are off, and the daemon reads the merged view
//! and nothing else. A **reflink** shares the blocks of each file; a **copy** shares nothing.
//!
//! What is only looked at costs less: a [`Sealed`] tree is filled once, and whoever is to see it gets
//! directories of his own with hard links to its files. Nobody may reach those for writing: whoever
//! shows such a directory mounts it read-only.

mod copy;
mod detect;
mod error;
mod farm;
mod fork;
mod hold;
mod mounts;
mod open;
mod overlay;
mod record;
mod remove;
mod sealed;

pub use copy::Skipped;
pub use detect::{Found, detect, detect_unmounted, look, look_around};
pub use error::ForkError;
pub use fork::{Fork, ForkRequest, Owner, place};
pub use mounts::{listener_shares_mounts, same_mounts};
pub use sealed::{Sealed, SealedTree};

use serde::{Deserialize, Serialize};
use std::fmt;

/// How a fork is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// A mount over the user's tree; what changes lies elsewhere.
    Overlay,
    /// A copy that shares blocks.
    Reflink,
    /// A copy.
    Copy,
}

impl Method {
    /// A stable word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Reflink => "reflink",
            Self::Copy => "copy",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
