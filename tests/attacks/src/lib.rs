//! The attack suite. An attack is a thing done inside a place that an enforcer keeps closed, by somebody who wants out; it is judged
//! from outside, by a canary that must be untouched, unread and unreached. Every attack runs against every enforcer that it
//! can reach, each as a named test, and against a few controls for the table in SECURITY.md. Nothing here is part of
//! the product.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// What stands where an attack was is looked at once it is over.
#![allow(clippy::disallowed_methods)]

mod attack;
pub mod enforcer;
mod judge;
pub mod kernel;
pub mod paths;
pub mod planted;
mod suite;
mod trap;
pub mod trees;
mod watch;
mod world;

pub use attack::{Attack, Call, Must, Run};
pub use enforcer::{Enforcer, Opened, Place, Said, block_on, open};
pub use judge::{Outcome, attempt, judge, survive};
pub use world::{World, guest};

/// Every attack of the table.
#[must_use]
pub fn all() -> Vec<Attack> {
    let mut all = paths::all();
    all.extend(kernel::all());
    all
}
