//! Shows a run's events to a person.
//!
//! Cordon's own lines begin with `cordon: `; everything that an agent, a program or a model said stands
//! behind a mark: `|` what it said and printed, `~` what it thought, `$` what it runs, `!` standard error.

mod agent;
mod event;
mod live;
mod summary;
pub(crate) mod table;
mod trees;

pub(crate) use summary::usage;

use crate::{
    neutral,
    screen::{Screen, Tint},
};
use agent::AgentView;
use cordon_proto::v1::{Denial, Event, Outcome, RunSummary};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    time::Instant,
};

/// Agents that a status tells of.
const MOST: usize = 8;
/// Different denials that are kept for the summary.
const MAX_DENIALS: usize = 100;

/// What is known of the run so far.
pub(crate) struct Renderer {
    raw: bool,
    many: bool,
    /// What agents tell of their reasoning is shown too.
    reasoning: bool,
    /// A conversation: what repeats itself with every message is left out.
    chat: bool,
    /// Warnings that a conversation has had.
    warned: BTreeSet<String>,
    agents: BTreeMap<String, AgentView>,
    denials: Vec<(String, Denial, u64)>,
    denials_left_out: u64,
    /// Of something long that goes on now.
    progress: Option<String>,
    /// When something was heard.
    last: Instant,
    /// Set by the run's last event.
    pub(crate) outcome: Option<Outcome>,
    /// The same.
    pub(crate) summary: Option<RunSummary>,
    pub(crate) next_seq: u64,
}

impl Renderer {
    /// `many`: whether lines need to say which agent they are from.
    pub(crate) fn new(raw: bool, many: bool) -> Self {
        Self {
            raw,
            many,
            reasoning: false,
            chat: false,
            warned: BTreeSet::new(),
            agents: BTreeMap::new(),
            denials: Vec::new(),
            denials_left_out: 0,
            progress: None,
            last: Instant::now(),
            outcome: None,
            summary: None,
            next_seq: 0,
        }
    }

    pub(crate) fn with_reasoning(self, reasoning: bool) -> Self {
        Self { reasoning, ..self }
    }

    /// For a conversation, in which one run follows another.
    pub(crate) fn chat(many: bool, reasoning: bool) -> Self {
        Self { chat: true, ..Self::new(false, many).with_reasoning(reasoning) }
    }

    /// Another run of the same conversation.
    pub(crate) fn again(self, many: bool) -> Self {
        let Self { raw, reasoning, chat, warned, .. } = self;
        Self { reasoning, chat, warned, ..Self::new(raw, many) }
    }

    /// One line an agent, for the bottom of a terminal: what it is saying, or what it does.
    pub(crate) fn status(&self) -> Vec<(Option<Tint>, String)> {
        let said =
            self.agents.iter().filter_map(|(id, a)| Some((None, self.who(id) + "| " + a.live.line()?)));
        let mut lines: Vec<_> = said.take(MOST).collect();
        lines.extend(self.doings().into_iter().map(|line| (Some(Tint::Dim), line)));
        lines
    }

    fn doings(&self) -> Vec<String> {
        if let Some(progress) = &self.progress {
            return vec![progress.clone()];
        }
        let busy: Vec<_> = self.agents.iter().filter(|(_, a)| !a.done).collect();
        let shown = busy.iter().filter(|(_, a)| a.live.line().is_none());
        let quiet = self.last.elapsed().as_secs();
        if busy.is_empty() && self.outcome.is_none() && quiet > 0 {
            // Trees are stored and copied before the first turn and after the last one.
            let doing = if self.agents.is_empty() { "preparing" } else { "storing what is there now" };
            return vec![format!("  {doing} ({quiet} s)")];
        }
        let mut lines: Vec<_> =
            shown.take(MOST).map(|(id, a)| format!("  {}: {}", neutral::word(id), a.status())).collect();
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
        self.summary = summary.cloned();
        for agent in self.agents.values_mut() {
            agent.done = true;
        }
        if self.chat {
            return summary::line(outcome, summary, screen);
        }
        summary::show(self, outcome, summary, screen)
    }
}

#[cfg(test)]
mod tests;
