use super::{OnDrift, Options, build, decide};
use crate::{
    TreeError, TreeSource,
    classify::{Class, Finding},
    diff::{Delta, DiffError, What},
    merge::Conflict,
};
use std::collections::BTreeSet;

/// A plan could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The base and the agent's tree could not be compared.
    #[error(transparent)]
    Diff(#[from] DiffError),
    /// A tree could not be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Why a change is not brought in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nothing is ever written to a repository's own directory.
    Git,
    /// A class that nobody said yes to.
    Class,
    /// A link to an absolute path, out of the tree, or into a repository's own directory.
    Link,
    /// The user's tree has something else there than the agent started from.
    Drift(&'static str),
    /// Both changed the same lines.
    Conflict(Vec<Conflict>),
    /// Too large to be compared or merged.
    Large,
    /// What it stands in, or what stands in it, is not brought in.
    Blocked(Vec<u8>),
}

/// What becomes of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is brought in.
    Apply,
    /// It is brought in merged with the user's own change.
    Merge,
    /// The user's tree has it already.
    Already,
    /// It stays out.
    LeftOut(Why),
    /// Nothing at all is brought in because of it.
    Refused(Why),
}

/// One change of the agent and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Relative to the root.
    pub path: Vec<u8>,
    /// What the agent did.
    pub what: What,
    /// What it can do beyond being data.
    pub findings: Vec<Finding>,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// What an apply does. It holds for the trees it was made from: what is found to differ when it
/// is executed undoes it.
#[derive(Debug)]
pub struct Plan {
    pub(super) changes: Vec<Planned>,
    pub(super) steps: Vec<build::Step>,
}

impl Plan {
    /// All changes of the agent that were asked for, in the order of their paths.
    #[must_use]
    pub fn changes(&self) -> &[Planned] {
        &self.changes
    }

    /// The changes because of which nothing is done.
    pub fn refused(&self) -> impl Iterator<Item = &Planned> {
        self.changes.iter().filter(|c| matches!(c.verdict, Verdict::Refused(_)))
    }

    /// The classes that would have to be allowed for what is refused or left out for its class.
    #[must_use]
    pub fn needs(&self) -> BTreeSet<Class> {
        let asked =
            |c: &&Planned| matches!(c.verdict, Verdict::Refused(Why::Class) | Verdict::LeftOut(Why::Class));
        self.changes.iter().filter(asked).flat_map(|c| c.findings.iter().map(|f| f.class)).collect()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// Plans to bring what differs between `base` and `agent` into `user`.
///
/// # Errors
/// When a tree cannot be read whole or a limit is exceeded.
pub fn plan(
    base: &dyn TreeSource,
    agent: &dyn TreeSource,
    user: &dyn TreeSource,
    options: &Options,
) -> Result<Plan, PlanError> {
    let mut decider = decide::Decider::new(base, agent, user, options)?;
    decider.all()?;
    let decided = decider.finish()?;
    build::build(decided, agent, user, options)
}

/// A change with the verdict on it.
pub(super) struct Decided {
    pub(super) delta: Delta,
    pub(super) user: Option<crate::TreeEntry>,
    pub(super) findings: Vec<Finding>,
    pub(super) verdict: Verdict,
    /// The bytes and mode, where both were merged.
    pub(super) merged: Option<(Vec<u8>, u32)>,
    /// Whether it was asked for, or only is what something that was stands in.
    pub(super) asked: bool,
}

impl Decided {
    pub(super) fn done(&self) -> bool {
        matches!(self.verdict, Verdict::Apply | Verdict::Merge)
    }
}

/// What drift means: the whole is refused, or the path left out.
pub(super) fn drifted(on: OnDrift, why: Why) -> Verdict {
    match on {
        OnDrift::Fail | OnDrift::Merge => Verdict::Refused(why),
        OnDrift::Skip | OnDrift::Ours => Verdict::LeftOut(why),
    }
}
