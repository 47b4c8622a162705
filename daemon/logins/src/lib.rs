//! Keeps the logins of the agents' programs on the disk, so that each is written by one at a
//! time and none is lost: Cordon's own, and what it keeps of the person's. Below the state
//! directory, `credentials/<uid>/<backend>/` holds
//!
//! - `lock`: whoever holds it may write, in whatever process;
//! - `login/`, `person/`: a directory with the login file alone, as sandboxes see it, and
//!   always the whole old file or the whole new one;
//! - `key`: an API key that a person has typed in;
//! - `kept`: which content of the person's own file Cordon's copy goes back to;
//! - `making/`: a private directory, while a person logs in;
//! - `renewing-login/`, `renewing-person/`: a private copy, while the program renews it.
//!
//! Nobody but the daemon's user gets through `credentials/`; the login files below may be read
//! by whoever has their directory mounted.

mod error;
mod files;
mod keys;
mod making;
mod person;
mod place;
mod renewing;
#[cfg(test)]
mod tests;

pub use error::LoginError;
pub use making::Making;
pub use place::{Current, Locked, Place, Store};
pub use renewing::Renewing;
