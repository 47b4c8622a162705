//! What a restarted daemon makes of a journal: where each agent stands, and its
//! driver, told again what it was told before.

use super::{intake::Covered, log::Tally, turn::exit_from};
use crate::{
    journal::{Journal, JournalError},
    record::End,
};
use cordon_backends::{Driver, ExecPlan, Step};
use cordon_proto::v1::{Event, event::Kind};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Where an agent stands, as its journal tells.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    pub(crate) sandbox_ready: bool,
    /// Sequence number of the start of the last turn.
    pub(crate) turn_started: Option<u64>,
    pub(crate) turn_ended: Option<(End, String)>,
    /// Names of snapshots.
    pub(crate) kept: BTreeSet<String>,
}

/// Where every agent stands, and whether the run has ended.
#[derive(Debug, Default)]
pub(crate) struct Overview {
    pub(crate) agents: BTreeMap<String, Standing>,
    pub(crate) ended: Option<End>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) last_ms: i64,
}

impl Overview {
    /// Looks at the next event.
    pub(crate) fn see(&mut self, event: Event) {
        self.last_ms = event.time_unix_ms;
        let Some(kind) = event.kind else { return };
        if let Kind::RunEnded(ended) = &kind {
            self.ended = Some(ended.outcome().into());
        }
        self.tally.count(&event.agent, &kind);
        if event.agent.is_empty() {
            return;
        }
        let standing = self.agents.entry(event.agent).or_default();
        match kind {
            Kind::SnapshotTaken(taken) => {
                standing.kept.insert(taken.snapshot_id);
            }
            Kind::SandboxReady(_) => standing.sandbox_ready = true,
            Kind::TurnStarted(_) => {
                standing.turn_started = Some(event.seq);
                standing.turn_ended = None;
            }
            Kind::TurnEnded(ended) => {
                standing.turn_ended = Some((ended.outcome().into(), ended.message));
            }
            _ => {}
        }
    }
}

/// A driver on its way to where it was.
pub(crate) struct Replayed {
    pub(crate) driver: Box<dyn Driver>,
    step: Step,
    running: Option<String>,
    pub(crate) covered: Covered,
    pub(crate) processes: u32,
}

/// Where a driver stood when the journal ended.
pub(crate) enum At {
    /// Its next step was never begun.
    Step(Step),
    /// This process was, or was about to be, started.
    Process { id: String, plan: ExecPlan, fresh: bool },
}

impl Replayed {
    /// A new driver; its first events are in the journal already.
    pub(crate) fn new(mut driver: Box<dyn Driver>) -> Self {
        let (_, step) = driver.next();
        Self { driver, step, running: None, covered: Covered::default(), processes: 0 }
    }

    /// Tells the driver again what an event of its agent says. What it answers is in
    /// the journal already.
    pub(crate) fn see(&mut self, kind: &Kind) {
        match kind {
            Kind::ProcessStarted(started) => {
                self.running = Some(started.process_id.clone());
                self.processes += 1;
                self.covered = Covered::default();
            }
            Kind::Output(output) if self.running.is_some() => {
                self.covered.note(output);
                self.driver.output(output.stream(), &output.data);
            }
            Kind::ProcessExited(exited) if self.running.is_some() => {
                self.running = None;
                self.covered = Covered::default();
                self.driver.exited(&exit_from(exited));
                self.step = self.driver.next().1;
            }
            _ => {}
        }
    }

    pub(crate) fn at(self) -> (Box<dyn Driver>, Covered, u32, At) {
        let at = match (self.running, self.step) {
            (Some(id), Step::Exec(plan)) => {
                let fresh = self.covered == Covered::default();
                At::Process { id, plan, fresh }
            }
            (_, step) => At::Step(step),
        };
        (self.driver, self.covered, self.processes, at)
    }
}

/// Tells every driver its part of the journal again. Blocks.
pub(crate) fn replay(
    journal: &Journal,
    drivers: &mut BTreeMap<String, (u64, Replayed)>,
) -> Result<(), JournalError> {
    let Some(first) = drivers.values().map(|(seq, _)| *seq).min() else { return Ok(()) };
    let end = journal.committed().end;
    let mut reader = journal.reader(first);
    while let Some(events) = reader.frame(end)? {
        for event in events {
            if let Some((since, driver)) = drivers.get_mut(&event.agent)
                && event.seq > *since
                && let Some(kind) = &event.kind
            {
                driver.see(kind);
            }
        }
    }
    Ok(())
}
