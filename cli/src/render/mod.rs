//! Shows a run's events to a person.
//!
//! Cordon's own lines begin with `cordon: `; everything that an agent, a program or a model said stands
//! behind a mark: `|` what it said and printed, `~` what it thought, `$` what it runs, `!` standard error.

mod agent;
mod event;
mod summary;
pub(crate) mod table;
mod trees;

use crate::{neutral, screen::Screen};
use agent::AgentView;
use cordon_proto::v1::{Denial, Event, Outcome, RunSummary};
use std::{
    collections::BTreeMap,
    io::{self, Write},
    time::Instant,
};

/// Different denials that are kept for the summary.
const MAX_DENIALS: usize = 100;

/// What is known of the run so far.
pub(crate) struct Renderer {
    raw: bool,
    many: bool,
    agents: BTreeMap<String, AgentView>,
    denials: Vec<(String, Denial, u64)>,
    denials_left_out: u64,
    /// Of something long that goes on now.
    progress: Option<String>,
    /// When something was heard.
    last: Instant,
    /// Set by the run's last event.
    pub(crate) outcome: Option<Outcome>,
    pub(crate) next_seq: u64,
}

impl Renderer {
    /// `many`: whether lines need to say which agent they are from.
    pub(crate) fn new(raw: bool, many: bool) -> Self {
        Self {
            raw,
            many,
            agents: BTreeMap::new(),
            denials: Vec::new(),
            denials_left_out: 0,
            progress: None,
            last: Instant::now(),
            outcome: None,
            next_seq: 0,
        }
    }

    /// One line an agent, for the bottom of a terminal.
    pub(crate) fn status(&self) -> Vec<String> {
        const MOST: usize = 8;
        if let Some(progress) = &self.progress {
            return vec![progress.clone()];
        }
        let busy: Vec<_> = self.agents.iter().filter(|(_, a)| !a.done).collect();
        let quiet = self.last.elapsed().as_secs();
        if busy.is_empty() && self.outcome.is_none() && quiet > 0 {
            // Trees are stored and copied before the first turn and after the last one.
            let doing = if self.agents.is_empty() { "preparing" } else { "storing what is there now" };
            return vec![format!("  {doing} ({quiet} s)")];
        }
        let mut lines: Vec<_> = busy
            .iter()
            .take(MOST)
            .map(|(id, a)| format!("  {}: {}", neutral::word(id), a.status()))
            .collect();
        if busy.len() > MOST {
            lines.push(format!("  and {} more", busy.len() - MOST));
        }
        lines
    }

    pub(crate) fn event(&mut self, event: &Event, screen: &mut Screen<impl Write>) -> io::Result<()> {
        self.next_seq = event.seq.saturating_add(1);
        self.last = Instant::now();
        match &event.kind {
            Some(kind) => self.kind(&event.agent, kind, screen),
            None => Ok(()),
        }
    }

    fn agent(&mut self, id: &str) -> &mut AgentView {
        self.agents.entry(id.to_owned()).or_default()
    }

    /// What stands before the mark of an agent's lines.
    fn who(&self, agent: &str) -> String {
        if self.many && !agent.is_empty() { format!("{} ", neutral::word(agent)) } else { String::new() }
    }

    /// What stands before Cordon's words about an agent.
    fn about(&self, agent: &str) -> String {
        if self.many && !agent.is_empty() { format!("{}: ", neutral::word(agent)) } else { String::new() }
    }

    fn keep_denial(&mut self, agent: &str, denial: &Denial) {
        if let Some((_, _, count)) = self.denials.iter_mut().find(|(a, d, _)| a == agent && d == denial) {
            *count += 1;
        } else if self.denials.len() < MAX_DENIALS {
            self.denials.push((agent.to_owned(), denial.clone(), 1));
        } else {
            self.denials_left_out += 1;
        }
    }

    fn ended(
        &mut self,
        outcome: Outcome,
        summary: Option<&RunSummary>,
        screen: &mut Screen<impl Write>,
    ) -> io::Result<()> {
        self.outcome = Some(outcome);
        for agent in self.agents.values_mut() {
            agent.done = true;
        }
        summary::show(self, outcome, summary, screen)
    }
}

#[cfg(test)]
mod tests;
