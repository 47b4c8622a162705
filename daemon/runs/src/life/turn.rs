//! One turn of one agent: the driver says which process to run, the process's output
//! goes through redaction to the driver, and both into the journal before the guest
//! may forget it.

use super::{
    inside::Inside,
    intake::{Intake, Piece},
    log::Log,
    process::{Ended, Limits, Watch},
};
use crate::{
    journal::{Durability, JournalError},
    logins::Hidden,
    record::End,
};
use cordon_backends::{Driver, ExecPlan, Exit, Step, TurnOutcome};
use cordon_proto::{
    guest as pb,
    v1::{OutputDropped, OutputEvent, ProcessExited, ProcessStarted, TurnEnded, TurnStarted, event::Kind},
};
use cordon_sandbox::{SandboxError, guest::ProcessEvent};
use std::{sync::Arc, time::Instant};

/// Why a turn could not go on, through no fault of the agent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TurnError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error("{0}")]
    Lost(String),
}

/// Everything that moves while a turn runs; passed to a blocking thread and back.
pub(crate) struct Work {
    pub(crate) driver: Box<dyn Driver>,
    pub(crate) intake: Intake,
    pub(crate) log: Log,
}

/// Where to begin.
pub(crate) enum Begin {
    /// With this step.
    Step(Step),
    /// With a process that an earlier daemon started; the plan starts it when the
    /// guest was never told.
    Process { id: String, plan: ExecPlan, fresh: bool },
}

/// One turn.
pub(crate) struct Turn {
    pub(crate) number: u32,
    pub(crate) inside: Arc<dyn Inside>,
    pub(crate) hidden: Arc<Hidden>,
    pub(crate) limits: Limits,
    /// Processes started so far.
    pub(crate) processes: u32,
    pub(crate) started: Instant,
}

impl Turn {
    /// Announces the turn and asks the driver for its first step.
    pub(crate) async fn announce(&self, mut work: Work, backend: &str) -> Result<(Work, Begin), TurnError> {
        let (mut kinds, step) = work.driver.next();
        let argv = match &step {
            Step::Exec(plan) => words(&plan.argv),
            Step::Done(_) => Vec::new(),
        };
        let started = TurnStarted { turn: self.number, backend: backend.to_owned(), argv };
        kinds.insert(0, Kind::TurnStarted(started));
        work.log.tell(kinds, Durability::Now).await?;
        Ok((work, Begin::Step(step)))
    }

    /// Runs the turn to its end, which is journaled.
    pub(crate) async fn run(mut self, mut work: Work, begin: Begin) -> Result<(End, String), TurnError> {
        let (mut step, mut resumed) = match begin {
            Begin::Step(step) => (step, None),
            Begin::Process { id, plan, fresh } => (Step::Exec(plan), Some((id, fresh))),
        };
        let mut forced: Option<(End, String)> = None;
        let mut last_exit: Option<Exit> = None;
        loop {
            match step {
                Step::Done(TurnOutcome { outcome, message }) => {
                    // What Cordon did to the agent is not the agent's doing.
                    let (end, message) = forced.unwrap_or((outcome.into(), message));
                    let ended = TurnEnded {
                        turn: self.number,
                        outcome: cordon_proto::v1::Outcome::from(end).into(),
                        message: message.clone(),
                        exit_code: last_exit.and_then(|e| e.code),
                        wall_ms: millis(self.started),
                    };
                    work.log.tell(vec![Kind::TurnEnded(ended)], Durability::Now).await?;
                    return Ok((end, message));
                }
                Step::Exec(_) if forced.is_some() => {
                    // A backend that goes on after it was stopped does not get to.
                    step = Step::Done(TurnOutcome {
                        outcome: cordon_proto::v1::Outcome::AgentFailed,
                        message: String::new(),
                    });
                }
                Step::Exec(plan) => {
                    let ended = self.process(work, plan, resumed.take()).await?;
                    work = ended.work;
                    forced = ended.forced;
                    last_exit = Some(ended.exit);
                    step = ended.next;
                }
            }
        }
    }

    async fn process(
        &mut self,
        work: Work,
        plan: ExecPlan,
        resumed: Option<(String, bool)>,
    ) -> Result<ProcessEnd, TurnError> {
        let begun = Instant::now();
        let (id, process, stdin) = match resumed {
            Some((id, fresh)) if !fresh || self.inside.knows(&id).await? => {
                let at = work.intake.resume_offset();
                let process = self.inside.attach(&id, at).await?;
                (id, process, None)
            }
            resumed => {
                let id = match resumed {
                    Some((id, _)) => id,
                    None => {
                        self.processes += 1;
                        let id = format!("t{}-{}", self.number, self.processes);
                        let (argv, stdin) = (words(&plan.argv), plan.stdin.is_some());
                        let started = ProcessStarted { process_id: id.clone(), argv, stdin };
                        work.log.tell(vec![Kind::ProcessStarted(started)], Durability::Soon).await?;
                        id
                    }
                };
                let process = self.inside.exec(self.start(&id, &plan)).await?;
                (id, process, plan.stdin)
            }
        };
        let hidden = self.hidden.clone();
        let mut watch = Watch::new(&*self.inside, &self.limits, &id, process);
        watch.feed(stdin);
        let mut work = work;
        let (ended, forced) = loop {
            let batch = match watch.next().await {
                Ok(Some(batch)) => batch,
                Ok(None) => break watch.ended(),
                Err(error) => {
                    // Its last words, also where they look like the beginning of a secret.
                    off_thread(work, |work| {
                        let kinds = work.rest();
                        work.log.write(kinds, Durability::Soon)
                    })
                    .await?;
                    return Err(error);
                }
            };
            work = off_thread(work, move |work| work.digest(&batch)).await?;
            watch.ack(work.intake.resume_offset());
        };
        let exit = exit_of(&ended, forced.as_ref().map(|(end, _)| *end));
        let told = exited_event(&id, &exit, millis(begun));
        let report = exit.clone();
        let (work, next) = off_thread_with(work, move |work| {
            let mut kinds = work.rest();
            kinds.push(Kind::ProcessExited(told));
            kinds.extend(work.driver.exited(&report));
            let (more, next) = work.driver.next();
            kinds.extend(more);
            // The end of one log; the next process begins its own.
            work.intake = Intake::new(hidden, Default::default());
            work.log.write(kinds, Durability::Soon)?;
            Ok(next)
        })
        .await?;
        Ok(ProcessEnd { work, exit, forced, next })
    }

    fn start(&self, id: &str, plan: &ExecPlan) -> pb::Start {
        use std::os::unix::ffi::OsStrExt as _;
        pb::Start {
            process_id: id.to_owned(),
            argv: plan.argv.iter().map(|a| a.clone().into()).collect(),
            env: plan
                .env
                .iter()
                .map(|(name, value)| pb::EnvVar { name: name.clone(), value: value.clone().into() })
                .collect(),
            cwd: plan.cwd.as_os_str().as_bytes().to_vec().into(),
            pty: None,
            stdin: plan.stdin.is_some(),
            // Only where no daemon is there to do it.
            timeout_ms: self.limits.backstop_ms(),
            kill_on_detach: false,
        }
    }
}

struct ProcessEnd {
    work: Work,
    exit: Exit,
    forced: Option<(End, String)>,
    next: Step,
}

impl Work {
    /// Journals a batch and what the driver makes of it, as one.
    fn digest(&mut self, batch: &[ProcessEvent]) -> Result<(), JournalError> {
        let mut kinds = Vec::new();
        for piece in self.intake.take(batch) {
            match piece {
                Piece::Output(output) => self.tell_driver(output, &mut kinds),
                Piece::Dropped { from, to } => kinds.push(Kind::OutputDropped(OutputDropped { from, to })),
            }
        }
        self.log.write(kinds, Durability::Soon)
    }

    fn tell_driver(&mut self, output: OutputEvent, kinds: &mut Vec<Kind>) {
        let derived = self.driver.output(output.stream(), &output.data);
        kinds.push(Kind::Output(output));
        kinds.extend(derived);
    }

    fn rest(&mut self) -> Vec<Kind> {
        let mut kinds = Vec::new();
        for output in self.intake.finish() {
            self.tell_driver(output, &mut kinds);
        }
        kinds
    }
}

/// Runs what may take long on a thread where that is allowed.
async fn off_thread_with<T: Send + 'static>(
    mut work: Work,
    job: impl FnOnce(&mut Work) -> Result<T, JournalError> + Send + 'static,
) -> Result<(Work, T), TurnError> {
    let done = tokio::task::spawn_blocking(move || {
        let result = job(&mut work);
        (work, result)
    });
    match done.await {
        Ok((work, result)) => Ok((work, result?)),
        Err(_) => Err(TurnError::Lost("the backend's reader failed on what the agent printed".to_owned())),
    }
}

async fn off_thread(
    work: Work,
    job: impl FnOnce(&mut Work) -> Result<(), JournalError> + Send + 'static,
) -> Result<Work, TurnError> {
    off_thread_with(work, job).await.map(|(work, ())| work)
}

fn exit_of(ended: &Ended, forced: Option<End>) -> Exit {
    let cancelled = forced == Some(End::Cancelled);
    let timed_out = forced == Some(End::TimedOut);
    match ended {
        Ended::Exited(exited) => Exit {
            code: exited.code.map(|c| i32::try_from(c).unwrap_or(-1)),
            signal: exited.signal.map(|s| i32::try_from(s).unwrap_or(-1)),
            timed_out: timed_out || exited.timed_out,
            cancelled,
            failed_to_start: None,
        },
        Ended::Failed { errno, step } => Exit {
            code: None,
            signal: None,
            timed_out,
            cancelled,
            failed_to_start: Some((i32::try_from(*errno).unwrap_or(-1), step.clone())),
        },
    }
}

fn exited_event(id: &str, exit: &Exit, wall_ms: u64) -> ProcessExited {
    let (start_errno, start_step) = match &exit.failed_to_start {
        Some((errno, step)) => (Some(*errno), step.clone()),
        None => (None, String::new()),
    };
    ProcessExited {
        process_id: id.to_owned(),
        code: exit.code,
        signal: exit.signal,
        timed_out: exit.timed_out,
        cancelled: exit.cancelled,
        start_errno,
        start_step,
        wall_ms,
    }
}

/// As a driver was told.
pub(crate) fn exit_from(event: &ProcessExited) -> Exit {
    Exit {
        code: event.code,
        signal: event.signal,
        timed_out: event.timed_out,
        cancelled: event.cancelled,
        failed_to_start: event.start_errno.map(|errno| (errno, event.start_step.clone())),
    }
}

fn words(argv: &[Vec<u8>]) -> Vec<String> {
    argv.iter().map(|a| String::from_utf8_lossy(a).into_owned()).collect()
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
