use super::{inside::Inside, turn::TurnError};
use crate::record::End;
use bytes::Bytes;
use cordon_proto::guest as pb;
use cordon_sandbox::guest::{Process, ProcessEvent, ProcessInput};
use std::time::Duration;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

/// How many events are taken at once: with their size, what one append holds.
const BATCH: usize = 32;
/// A killed process that is not gone by then is the wall's business.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// Longest wait for the guest to deliver a signal.
const SIGNAL_WITHIN: Duration = Duration::from_secs(2);
/// A person who cancels does not wait longer than this.
const CANCEL_GRACE: Duration = Duration::from_secs(5);
/// After a turn's deadline the guest ends a process by itself so much later, where no
/// daemon did.
const BACKSTOP: Duration = Duration::from_secs(30);

const SIGTERM: u32 = 15;
const SIGKILL: u32 = 9;

/// What ends a process early.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) stop: CancellationToken,
    pub(crate) deadline: Instant,
    /// What passed when the deadline passed, in words.
    pub(crate) deadline_of: String,
    pub(crate) idle: Duration,
    pub(crate) grace: Duration,
}

impl Limits {
    pub(crate) fn backstop_ms(&self) -> u64 {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let all = left.saturating_add(self.grace).saturating_add(BACKSTOP);
        u64::try_from(all.as_millis()).unwrap_or(u64::MAX)
    }
}

/// How a process ended.
#[derive(Debug)]
pub(crate) enum Ended {
    Exited(pb::Exited),
    Failed { errno: u32, step: String },
}

enum Stage {
    Running,
    /// Asked to end; killed at the given time.
    Asked(Instant),
    /// Killed; given up at the given time.
    Killed(Instant),
}

enum Found {
    Stop,
    Late,
    Events(usize),
}

/// Watches one process: gathers its events and enforces the limits.
pub(crate) struct Watch<'a> {
    inside: &'a dyn Inside,
    limits: &'a Limits,
    id: &'a str,
    events: mpsc::Receiver<ProcessEvent>,
    input: mpsc::Sender<ProcessInput>,
    feeder: Option<JoinHandle<()>>,
    idle_until: Instant,
    stage: Stage,
    forced: Option<(End, String)>,
    ack: Option<u64>,
    ended: Option<Ended>,
    lost: Option<String>,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if let Some(feeder) = &self.feeder {
            feeder.abort();
        }
    }
}

impl<'a> Watch<'a> {
    pub(crate) fn new(inside: &'a dyn Inside, limits: &'a Limits, id: &'a str, process: Process) -> Self {
        Self {
            inside,
            limits,
            id,
            events: process.events,
            input: process.input,
            feeder: None,
            idle_until: after(limits.idle),
            stage: Stage::Running,
            forced: None,
            ack: None,
            ended: None,
            lost: None,
        }
    }

    /// Standard input, as fast as the process takes it.
    pub(crate) fn feed(&mut self, stdin: Option<Vec<u8>>) {
        let Some(stdin) = stdin else { return };
        let input = self.input.clone();
        self.feeder = Some(tokio::spawn(async move {
            let mut rest = Bytes::from(stdin);
            while !rest.is_empty() {
                let piece = rest.split_to(rest.len().min(64 << 10));
                // The process may be gone, or have closed its input: that is its right.
                if input.send(ProcessInput::Stdin(piece)).await.is_err() {
                    return;
                }
            }
            let _ = input.send(ProcessInput::StdinEof).await;
        }));
    }

    /// Lets the guest forget what the journal has.
    pub(crate) fn ack(&mut self, offset: u64) {
        self.ack = match self.input.try_send(ProcessInput::Ack(offset)) {
            Err(mpsc::error::TrySendError::Full(_)) => Some(offset),
            _ => None,
        };
    }

    /// How it ended, after [`Watch::next`] answered none.
    pub(crate) fn ended(&mut self) -> (Ended, Option<(End, String)>) {
        let ended = self.ended.take().unwrap_or(Ended::Failed { errno: 0, step: "wait".to_owned() });
        (ended, self.forced.take())
    }

    /// The next batch of output; none after the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<ProcessEvent>>, TurnError> {
        let mut batch = Vec::new();
        while self.ended.is_none() {
            let deadline = match self.stage {
                Stage::Running => self.limits.deadline.min(self.idle_until),
                Stage::Asked(at) | Stage::Killed(at) => at,
            };
            let running = matches!(self.stage, Stage::Running);
            // Limits first: a process that never stops printing must not outrun them.
            let found = tokio::select! {
                biased;
                () = self.limits.stop.cancelled(), if running => Found::Stop,
                () = sleep_until(deadline) => Found::Late,
                permit = self.input.reserve(), if self.ack.is_some() => {
                    if let (Ok(permit), Some(offset)) = (permit, self.ack.take()) {
                        permit.send(ProcessInput::Ack(offset));
                    }
                    continue;
                }
                taken = self.events.recv_many(&mut batch, BATCH) => Found::Events(taken),
            };
            match found {
                Found::Stop => self.ask(End::Cancelled, "the run was cancelled".to_owned()).await,
                Found::Late => self.late().await?,
                Found::Events(0) => {
                    let why = self.lost.take().unwrap_or_else(|| "its stream ended".to_owned());
                    return Err(TurnError::Lost(format!("the guest is gone: {why}")));
                }
                Found::Events(_) => {
                    self.sort(&mut batch);
                    if !batch.is_empty() {
                        self.idle_until = after(self.limits.idle);
                        return Ok(Some(batch));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Takes out what is no output. What came before the end is still told: the next
    /// call finds the stream closed.
    fn sort(&mut self, batch: &mut Vec<ProcessEvent>) {
        batch.retain_mut(|event| match event {
            ProcessEvent::Output { .. } | ProcessEvent::Dropped { .. } => true,
            ProcessEvent::Started { .. } => false,
            ProcessEvent::Exited(exited) => {
                if exited.timed_out && self.forced.is_none() {
                    self.forced = Some((End::TimedOut, self.limits.deadline_of.clone()));
                }
                self.ended = Some(Ended::Exited(*exited));
                false
            }
            ProcessEvent::Failed { errno, step } => {
                self.ended = Some(Ended::Failed { errno: *errno, step: std::mem::take(step) });
                false
            }
            ProcessEvent::Lost(why) => {
                self.lost = Some(std::mem::take(why));
                false
            }
        });
    }

    /// A limit passed.
    async fn late(&mut self) -> Result<(), TurnError> {
        match self.stage {
            Stage::Running if Instant::now() >= self.limits.deadline => {
                self.ask(End::TimedOut, self.limits.deadline_of.clone()).await;
            }
            // It printed: nobody had the time to take it.
            Stage::Running if !self.events.is_empty() => self.idle_until = after(self.limits.idle),
            Stage::Running => {
                let idle = self.limits.idle.as_secs();
                let why = format!("the agent printed nothing for {idle} s (idle_timeout_seconds)");
                self.ask(End::TimedOut, why).await;
            }
            Stage::Asked(_) => {
                self.stage = Stage::Killed(after(GONE_WITHIN));
                self.signal(SIGKILL, true).await;
            }
            Stage::Killed(_) => {
                let why = format!("the process {} did not end when it was killed", self.id);
                return Err(TurnError::Lost(why));
            }
        }
        Ok(())
    }

    async fn ask(&mut self, end: End, why: String) {
        let grace = match end {
            End::Cancelled => self.limits.grace.min(CANCEL_GRACE),
            _ => self.limits.grace,
        };
        self.forced = Some((end, why));
        self.stage = Stage::Asked(after(grace));
        self.signal(SIGTERM, false).await;
    }

    async fn signal(&self, signal: u32, stragglers: bool) {
        // A guest that cannot deliver it is given up when the next limit passes.
        match timeout(SIGNAL_WITHIN, self.inside.signal(self.id, signal, stragglers)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(process = self.id, signal, %error, "signal not delivered"),
            Err(_) => tracing::debug!(process = self.id, signal, "signal not delivered in time"),
        }
    }
}

/// From now on; far away when it cannot be counted.
pub(crate) fn after(duration: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(duration).unwrap_or(now + Duration::from_secs(10 * 365 * 86_400))
}
