//! What is kept of an agent's trees: where snapshots are, when they are taken, and what the
//! other agents see of them.

mod begins;
mod files;
pub(crate) mod peers;
mod record;
pub(crate) mod shown;
mod stores;
mod take;

pub(crate) use begins::Begins;
pub(crate) use files::changed;
pub(crate) use record::{Applied, TreeRecord, trees};
pub(crate) use shown::Shown;
pub(crate) use stores::{Found, Stores, place};
pub(crate) use take::{Kept, base, turn};

/// Before the first turn.
pub(crate) const BASE: &str = "base";
/// After a turn.
pub(crate) const TURN: &str = "turn";
/// What stood there before something was put back.
pub(crate) const RESTORE: &str = "restore";
