//! An agent's changes brought into a user's tree: planned from three trees, shown, and done all
//! or not at all. What is written is beneath the root and never through a link; what is replaced
//! or removed is what was planned to be, or nothing happens.

mod build;
mod decide;
mod execute;
mod fsops;
mod journal;
mod links;
mod listings;
mod parts;
mod plan;
mod print;
mod recover;
mod replace;
mod show;
mod stage;
mod trail;

pub use crate::rights::Owner;
pub use execute::{ApplyError, Outcome, execute};
pub use journal::JournalError;
pub use plan::{Plan, PlanError, Planned, Verdict, Why, plan};
pub use recover::{Recovered, recover};
pub use replace::{ReplaceOptions, replace, replace_with};
pub use show::{PlanReport, PlannedReport, write_plan};

use crate::{classify::Class, diff};
use std::collections::BTreeSet;

/// What is done where the user's tree is no longer what the agent started from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDrift {
    /// The whole apply is refused.
    #[default]
    Fail,
    /// The user's version of that path stays.
    Skip,
    /// Texts are merged, and where both changed the same lines the user's stay; what cannot be
    /// merged stays as the user has it.
    Ours,
    /// Texts are merged; where both changed the same lines, or what is no text, the whole apply
    /// is refused.
    Merge,
}

/// How changes are brought in.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where the user's tree changed.
    pub on_drift: OnDrift,
    /// These paths and what is below them; none: all.
    pub paths: Vec<Vec<u8>>,
    /// Classes beyond `data` that the user said yes to.
    pub allowed: BTreeSet<Class>,
    /// Changes of other classes, and links that leave the tree, are left out instead of refusing
    /// the whole.
    pub leave_out: bool,
    /// Where the user's tree stands. The names of what is around it say as much of a change as those
    /// in it: a tree can be a `.github`, or the directory around a single file.
    pub above: Vec<u8>,
    /// How much work it may be.
    pub limits: diff::Limits,
}

#[cfg(test)]
mod tests;
