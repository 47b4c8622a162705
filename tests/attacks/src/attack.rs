use crate::{Enforcer, World};
use std::path::PathBuf;

/// Something an enemy does inside. Everything is a function of the world, so that one value serves every test.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    /// As in the list of attacks, for instance "KX-06".
    pub id: &'static str,
    /// Which of those with this id, for instance `terminal_injection`.
    pub name: &'static str,
    /// What it does, for a reader of the table.
    pub what: &'static str,
    /// Done outside before the place is made.
    pub prepare: fn(&World),
    /// What is run inside, by enforcers that run programs.
    pub runs: fn(&World) -> Vec<Run>,
    /// Which tools are called, of enforcers that serve tools.
    pub calls: fn(&World) -> Vec<Call>,
    /// Changes to the place of one of our own walls.
    pub tune: fn(&World, &mut cordon_sandbox::SandboxSpec),
    /// What is wrong outside afterwards, beside what the world itself looks after.
    pub look: fn(&World) -> Vec<String>,
    /// Why an enforcer cannot be attacked like this.
    pub spared: fn(Enforcer) -> Option<&'static str>,
    /// System calls of which a refusal must have been told to the daemon, by name. An engine's own filter tells nobody, and
    /// comes first.
    pub told: fn(Enforcer) -> &'static [&'static str],
    /// What is known to be open here, as SECURITY.md says: the evidence, word by word. Anything else than exactly this fails.
    pub known: fn(Enforcer) -> &'static [&'static str],
}

impl Attack {
    /// One with nothing in it: to be completed with `..Attack::NONE`.
    pub const NONE: Self = Self {
        id: "",
        name: "",
        what: "",
        prepare: |_| {},
        runs: |_| Vec::new(),
        calls: |_| Vec::new(),
        tune: |_, _| {},
        look: |_| Vec::new(),
        spared: |_| None,
        told: |_| &[],
        known: |_| &[],
    };
}

/// One program run inside.
#[derive(Clone, Debug)]
pub struct Run {
    /// A bash script. It may use the variables and functions of the prelude (see `World::prelude`), says `GOT what` where it
    /// was given something that it must not have, and ends with `DONE`, so that a script that broke is not taken for a wall
    /// that held.
    pub script: String,
    /// Where; none: the workspace.
    pub cwd: Option<PathBuf>,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Whether it may be ended before it says `DONE`: by a limit or a signal of its own making.
    pub may_die: bool,
    /// Whether a working directory may be refused altogether.
    pub may_not_start: bool,
}

impl Run {
    /// A script in the workspace.
    #[must_use]
    pub fn script(text: impl Into<String>) -> Self {
        Self { script: text.into(), cwd: None, terminal: false, may_die: false, may_not_start: false }
    }

    /// The same, but it need not live to its end.
    #[must_use]
    pub fn dying(self) -> Self {
        Self { may_die: true, ..self }
    }

    /// The same, somewhere else; that may be refused.
    #[must_use]
    pub fn at(self, cwd: impl Into<PathBuf>) -> Self {
        Self { cwd: Some(cwd.into()), may_not_start: true, ..self }
    }
}

/// One tool call, by the names and arguments of the reference filesystem server.
#[derive(Clone, Debug)]
pub struct Call {
    /// Tool.
    pub tool: &'static str,
    /// Arguments.
    pub arguments: serde_json::Value,
    /// What our own tools must answer.
    pub must: Must,
}

/// What our own tools must answer to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Must {
    /// Anything: the canary alone judges.
    Answer,
    /// That it was done: the attack around it would prove nothing otherwise.
    Work,
    /// That it was not done, for whatever reason.
    Fail,
    /// That the policy refused it, typed.
    Deny,
}

impl Must {
    /// Whether an answer is what it must be.
    #[must_use]
    pub fn holds(self, said: &crate::Said) -> bool {
        let failed = said.code != Some(0);
        match self {
            Self::Answer => said.started,
            Self::Work => said.started && !failed,
            Self::Fail => said.started && failed,
            Self::Deny => said.started && failed && said.denied,
        }
    }
}
