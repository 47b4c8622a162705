//! A run's life: agents, turns, events, the journal, and recovery after a restart. It
//! decides no policy and speaks to no container engine: `plan` compiles the one, walls
//! are the others' business. Whoever calls it has checked who is asking.

mod accept;
mod attach;
mod changes;
mod entry;
mod error;
mod file;
mod home;
mod inspect;
mod journal;
mod keep;
mod life;
mod logins;
pub mod plan;
mod record;
mod recover;
mod removed;
mod resume;
mod runs;
mod serve;
mod settle;
mod shared;
mod stop;
mod store;
mod trees;
mod versions;
mod walls;

pub use changes::ApplyOptions;
pub use cordon_snapshots::apply::OnDrift;
pub use error::RunError;
pub use home::HomeError;
pub use inspect::{InspectRequest, Inspected};
pub use journal::{JournalError, JournalReader};
pub use logins::{LoginTrouble, SignIn, SignInError};
pub use runs::{Options, Runs, StartRequest};
pub use store::StoreError;
pub use versions::{Bucket, Compared, DiffFormat, ImportTar};
pub use walls::Walls;

#[cfg(test)]
mod tests;
