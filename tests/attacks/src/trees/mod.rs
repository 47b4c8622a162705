//! Trees that an enemy made, and what of ours looks at them: a daemon that is root takes snapshots of them, compares them, brings
//! them into a user's tree, puts trees back and carries them as archives. Nothing around may be touched, read or run, and
//! each ends in bounded time.

mod attacks;
mod grounds;
mod ops;

pub use attacks::all;
pub use grounds::{Grounds, USER};
pub use ops::Op;
use std::{fmt, time::Duration};

/// A tree made by an enemy.
#[derive(Clone, Copy, Debug)]
pub struct TreeAttack {
    /// As in the list of attacks.
    pub id: &'static str,
    /// Of the test.
    pub name: &'static str,
    /// What it does, for a reader of the table.
    pub what: &'static str,
    /// Made in the agent's tree before anybody looks.
    pub plant: fn(&Grounds),
    /// Done to the user's tree once it was looked at and before it is changed.
    pub meddle: fn(&Grounds),
    /// Paths that may never pass for data.
    pub marked: &'static [&'static str],
    /// It may be refused as a whole; otherwise it has to be done.
    pub refusable: bool,
    /// How long any one may take.
    pub within: Duration,
    /// What is wrong afterwards, beside what the grounds themselves look after.
    pub look: fn(&Grounds) -> Vec<String>,
    /// Why an operation cannot be attacked like this.
    pub spared: fn(Op) -> bool,
}

impl TreeAttack {
    /// One with nothing in it: to be completed with `..TreeAttack::NONE`.
    pub const NONE: Self = Self {
        id: "",
        name: "",
        what: "",
        plant: |_| {},
        meddle: |_| {},
        marked: &[],
        refusable: false,
        within: Duration::from_secs(20),
        look: |_| Vec::new(),
        spared: |_| false,
    };
}

/// What became of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing happened that must not.
    Survived,
    /// What did.
    Failed(Vec<String>),
    /// It cannot be attacked like this.
    NotApplicable,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Survived => "survived",
            Self::Failed(_) => "failed",
            Self::NotApplicable => "n.a.",
        })
    }
}

/// Tries one attack on one operation.
#[must_use]
pub fn attempt(attack: &TreeAttack, op: Op) -> Fate {
    if (attack.spared)(op) {
        return Fate::NotApplicable;
    }
    let wrong = ops::run(attack, op);
    if wrong.is_empty() { Fate::Survived } else { Fate::Failed(wrong) }
}

/// Fails where an attack is not survived.
///
/// # Panics
/// Then.
pub fn survive(attack: &TreeAttack, op: Op) {
    if let Fate::Failed(wrong) = attempt(attack, op) {
        panic!("{} {} against {op}: {wrong:#?}", attack.id, attack.name);
    }
}

/// Makes a test for each attack and each operation.
#[macro_export]
macro_rules! tested_trees {
    ($($name:ident,)*) => {
        $(mod $name {
            use $crate::trees::{Op, all, survive};

            fn attack(op: Op) {
                let all = all();
                survive(all.iter().find(|attack| attack.name == stringify!($name)).expect("an attack"), op);
            }

            #[test]
            fn snapshot() {
                attack(Op::Snapshot);
            }

            #[test]
            fn diff() {
                attack(Op::Diff);
            }

            #[test]
            fn apply() {
                attack(Op::Apply);
            }

            #[test]
            fn restore() {
                attack(Op::Restore);
            }

            #[test]
            fn archive() {
                attack(Op::Archive);
            }
        })*

        #[test]
        fn every_attack_has_its_tests() {
            let tested = std::collections::BTreeSet::from([$(stringify!($name)),*]);
            let listed: std::collections::BTreeSet<_> = $crate::trees::all().iter().map(|attack| attack.name).collect();
            assert_eq!(tested, listed);
        }
    };
}
