use super::{
    AbortOnDrop, Life,
    denials::tell_denials,
    intake::{Covered, Intake},
    log::Log,
    process::{Limits, after},
    rebuild::At,
    tools::Link,
    turn::{Begin, Turn, TurnError, Work},
};
use crate::{
    error::RunError,
    journal::{Durability, JournalError},
    logins::{self, Hidden, LoginTrouble},
    plan::Planned,
    record::{End, State, TurnRecord},
};
use cordon_backends::{Driver, Redactor, backend};
use cordon_policy::Denial;
use cordon_proto::v1::{ProbeFinding, SandboxReady, WarningEvent, event::Kind};
use cordon_sandbox::{Sandbox, SandboxError, SandboxRecord, Wall};
use cordon_snapshots::Index;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// How often, and how far apart, a wall that is not there is asked again after a restart.
const REATTACH: (u32, Duration) = (10, Duration::from_secs(3));

/// One agent of a run in progress.
pub(crate) struct Agent {
    pub(crate) index: usize,
    pub(crate) planned: Planned,
    /// Which turn it is, and in which session.
    pub(crate) turn: TurnRecord,
    /// What must not be shown of it.
    pub(crate) hidden: Arc<Hidden>,
    pub(crate) log: Log,
    pub(crate) resume: Option<Resume>,
    /// The client that the agent's tools are for, where no backend drives it.
    pub(crate) link: Mutex<Option<Link>>,
    /// Where its program has one, for a person.
    pub(crate) terminal: Option<std::sync::Arc<super::Terminal>>,
    /// A driver on its way, for one turn.
    pub(crate) driver: Mutex<Option<Recovered>>,
    /// Of every watched tree, before the agent's first instruction, where it could not
    /// be kept on the disk.
    pub(crate) before: Mutex<Vec<Option<Index>>>,
    /// Snapshots that an earlier daemon told of.
    pub(crate) told: BTreeSet<String>,
}

/// What a restarted daemon goes on with.
pub(crate) enum Resume {
    /// The sandbox was ready; a driver may be there too.
    Sandbox(Box<SandboxRecord>),
    /// Its turn had ended.
    Over(End),
    /// It cannot go on.
    Lost(String),
}

/// A driver that was told the journal again.
pub(crate) struct Recovered {
    pub(crate) driver: Box<dyn Driver>,
    pub(crate) covered: Covered,
    pub(crate) processes: u32,
    pub(crate) at: At,
}

/// A sandbox in which the agent may begin.
pub(super) struct Ready {
    pub(super) sandbox: Sandbox,
    pub(super) denials: AbortOnDrop<()>,
}

/// Why an agent could not begin or go on.
#[derive(Debug)]
pub(super) enum Trouble {
    Cancelled,
    TimedOut,
    Sandbox(SandboxError),
    Journal(JournalError),
    Backend(String),
    /// Its home holds more than it may.
    HomeFull(String),
    /// Its login does not hold.
    Login(LoginTrouble),
    /// The agent's trees cannot be kept.
    Keep(RunError),
    Lost(String),
    /// Whoever uses the tools does not speak the protocol.
    Client(String),
}

impl From<SandboxError> for Trouble {
    fn from(error: SandboxError) -> Self {
        Self::Sandbox(error)
    }
}

impl From<JournalError> for Trouble {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

impl From<RunError> for Trouble {
    fn from(error: RunError) -> Self {
        Self::Keep(error)
    }
}

impl From<TurnError> for Trouble {
    fn from(error: TurnError) -> Self {
        match error {
            TurnError::Journal(e) => Self::Journal(e),
            TurnError::Sandbox(e) => Self::Sandbox(e),
            TurnError::Lost(why) => Self::Lost(why),
        }
    }
}

impl Agent {
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.resume, Some(Resume::Over(_) | Resume::Lost(_)))
    }

    pub(crate) fn is_resumed(&self) -> bool {
        self.resume.is_some()
    }

    /// Whether an earlier daemon began the turn.
    pub(super) fn has_begun(&self) -> bool {
        self.driver.lock().unwrap_or_else(std::sync::PoisonError::into_inner).is_some()
    }

    /// Makes the sandbox, or finds it again.
    pub(super) async fn prepare(&self, life: &Life) -> Result<Ready, Trouble> {
        let begun = Instant::now();
        let made = tokio::select! {
            biased;
            () = life.stop.cancelled(), if self.resume.is_none() => return Err(Trouble::Cancelled),
            () = tokio::time::sleep_until(life.deadline), if self.resume.is_none() => {
                return Err(Trouble::TimedOut);
            }
            made = self.sandbox(life) => made,
        };
        let ready = made?;
        let ready_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        if self.resume.is_none() {
            let mut kinds: Vec<Kind> = ready.sandbox.warnings.iter().map(|w| warning("weaker", w)).collect();
            kinds.push(Kind::SandboxReady(SandboxReady {
                sandbox_id: ready.sandbox.record.id.clone(),
                wall: ready.sandbox.record.kind().to_string(),
                findings: ready.sandbox.findings.iter().map(finding).collect(),
                ready_ms,
            }));
            self.log.tell(kinds, Durability::Soon).await?;
        }
        self.check_custom_tools(&ready).await?;
        if let Some(live) = &mut *life.entry.live() {
            live.guests.insert(self.planned.sandbox.labels.agent.clone(), ready.sandbox.guest.clone());
        }
        Ok(ready)
    }

    async fn sandbox(&self, life: &Life) -> Result<Ready, Trouble> {
        self.fresh_login(life).await?;
        let wall = life.shared.walls.wall(self.planned.context.wall).await;
        let (sender, refusals) = mpsc::channel(64);
        let denials = AbortOnDrop(tokio::spawn(tell_denials(
            self.log.clone(),
            Redactor::new(&self.hidden.all()),
            refusals,
        )));
        let sandbox = match &self.resume {
            Some(Resume::Sandbox(record)) => self.reattach(life, record, sender).await?,
            _ => {
                self.fill_workspace(life).await?;
                self.fork_trees(life).await?;
                // Before the probe of the sandbox tries its hand in them.
                self.keep_base(life, false).await?;
                self.index_before(life).await?;
                let entry = life.entry.clone();
                let index = self.index;
                let remember = move |record: &SandboxRecord| {
                    entry
                        .update_agent(index, |a| a.sandbox = Some(record.clone()))
                        .map_err(crate::store::StoreError::into_io)
                };
                let wall = wall?;
                self.provide(&*wall).await?;
                self.clear_home(life).await?;
                let create = wall.create(&self.planned.sandbox, &remember, sender);
                let create = async { create.await.map_err(Trouble::from) };
                // The sandbox is made meanwhile: no base snapshot of what is staged sees into it.
                tokio::try_join!(create, self.keep_base(life, true))?.0
            }
        };
        Ok(Ready { sandbox, denials })
    }

    async fn reattach(
        &self,
        life: &Life,
        record: &SandboxRecord,
        denials: mpsc::Sender<Denial>,
    ) -> Result<Sandbox, Trouble> {
        let (tries, apart) = REATTACH;
        let mut tried = 1;
        loop {
            let found = match life.shared.walls.wall(record.kind()).await {
                Ok(wall) => wall.reattach(record, denials.clone()).await,
                Err(error) => Err(error),
            };
            match found {
                // The engine itself may still be starting.
                Err(SandboxError::Unavailable { .. }) if tried < tries => {
                    tried += 1;
                    tokio::time::sleep(apart).await;
                }
                Err(error) => {
                    let why =
                        format!("after the daemon was restarted, the sandbox was not found again: {error}");
                    return Err(Trouble::Lost(why));
                }
                Ok(sandbox) => return Ok(sandbox),
            }
        }
    }

    /// What watched trees of which no snapshots are taken look like before anyone could change
    /// them.
    async fn index_before(&self, life: &Life) -> Result<(), Trouble> {
        let (trees, directory, agent) = (self.unkept(&life.entry), life.entry.directory.clone(), self.index);
        // Cordon's own: they are not there before, and not there after.
        let held: Vec<std::path::PathBuf> = life
            .entry
            .update(false, |r| r.agents.iter().flat_map(|a| a.placeholders.clone()).collect())
            .unwrap_or_default();
        let indexed = tokio::task::spawn_blocking(move || {
            let mut told = Vec::new();
            let mut found = Vec::new();
            for (n, tree) in trees.iter().enumerate() {
                match cordon_snapshots::index(tree) {
                    Ok(mut index) => {
                        for own in held.iter().filter_map(|path| path.strip_prefix(tree).ok()) {
                            index.entries.remove(own.as_os_str().as_encoded_bytes());
                        }
                        // On the disk it costs no memory and outlives the daemon.
                        let kept = directory.write(&index_name(agent, n), &index.encode());
                        if let Err(error) = &kept {
                            told.push(warning("index", &error.to_string()));
                        }
                        found.push(kept.err().map(|_| index));
                    }
                    Err(error) => {
                        let text = format!("changes there will not be listed: {error}");
                        told.push(warning("index", &text));
                        found.push(None);
                    }
                }
            }
            (told, found)
        });
        let (told, found) =
            indexed.await.map_err(|_| Trouble::Lost("the workspace could not be looked at".to_owned()))?;
        self.log.tell(told, Durability::Soon).await?;
        *self.before.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = found;
        Ok(())
    }

    /// The agent's turn, to its end.
    pub(super) async fn turn(&self, life: &Life, ready: Ready) -> Result<(End, String), Trouble> {
        let ended = self.turn_inside(life, &ready).await;
        drop(ready.denials);
        ended
    }

    async fn turn_inside(&self, life: &Life, ready: &Ready) -> Result<(End, String), Trouble> {
        let (deadline, deadline_of) = self.deadline(life);
        let recovered = self.driver.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let mut turn = Turn {
            number: self.turn.number,
            inside: Arc::new(ready.sandbox.guest.clone()),
            hidden: self.hidden.clone(),
            limits: Limits {
                stop: life.stop.clone(),
                deadline,
                deadline_of,
                idle: life.idle,
                grace: life.grace,
            },
            processes: 0,
            started: Instant::now(),
        };
        let work = |driver, covered| Work {
            driver,
            intake: Intake::new(self.hidden.clone(), covered),
            log: self.log.clone(),
        };
        let (work, begin) = match recovered {
            Some(mut recovered) => {
                if let At::Step(cordon_backends::Step::Done(over)) = &mut recovered.at
                    && self.is_asked()
                {
                    over.message = format!(
                        "the daemon was restarted while the model was asked. What was said is kept; go on with \
                         `cordon run --resume {} \"go on\"`",
                        life.entry.id
                    );
                }
                turn.processes = recovered.processes;
                let begin = match recovered.at {
                    At::Step(step) => Begin::Step(step),
                    At::Process { id, plan, fresh } => Begin::Process { id, plan, fresh },
                };
                (work(recovered.driver, recovered.covered), begin)
            }
            None => {
                self.offers_what_works(ready).await?;
                let driver = self.new_driver(&life.prompt).map_err(Trouble::Backend)?;
                let name = self.planned.context.agent.backend.name();
                turn.announce(work(driver, Covered::default()), name).await?
            }
        };
        self.set_state(life, State::Running).await;
        let ended = tokio::select! {
            ended = turn.run(work, begin) => ended,
            trouble = self.keep_login(life) => return Err(trouble),
        };
        match ended {
            // A guest that ended by itself says why, and that is the better reason.
            Err(TurnError::Lost(why)) => Err(Trouble::Lost(
                cordon_sandbox::guest::last_words(&ready.sandbox.record.directory).unwrap_or(why),
            )),
            other => Ok(other?),
        }
    }

    /// Sees to it that its login holds, before anything of its begins.
    async fn fresh_login(&self, life: &Life) -> Result<(), Trouble> {
        let Some(user) = logins::User::of(&self.planned) else { return Ok(()) };
        life.shared.logins.join(&user, &self.hidden);
        let fresh = logins::fresh(&life.shared, &user).await.map_err(Trouble::Login)?;
        let (hidden, secrets) = (self.hidden.clone(), fresh.facts.secrets);
        let added = tokio::task::spawn_blocking(move || hidden.add(&secrets)).await;
        match added {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                return Err(Trouble::Lost(format!("the login's values cannot be kept: {error}")));
            }
            Err(_) => return Err(Trouble::Lost("the login's values cannot be kept".to_owned())),
        }
        if let Some(behind) = fresh.behind {
            self.log.tell(vec![warning(behind.reason(), &behind.to_string())], Durability::Soon).await?;
        }
        Ok(())
    }

    /// Renews its login whenever that is due; ends when there is none any more that holds.
    async fn keep_login(&self, life: &Life) -> Trouble {
        let Some(user) = logins::User::of(&self.planned) else { return std::future::pending().await };
        let mut behind = false;
        loop {
            let again = match logins::fresh(&life.shared, &user).await {
                Ok(fresh) => {
                    if let Some(trouble) = fresh.behind.filter(|_| !behind) {
                        behind = true;
                        let told = vec![warning(trouble.reason(), &trouble.to_string())];
                        if let Err(error) = self.log.tell(told, Durability::Soon).await {
                            return error.into();
                        }
                    }
                    fresh.again
                }
                Err(trouble) => return Trouble::Login(trouble),
            };
            tokio::time::sleep(again).await;
        }
    }

    fn new_driver(&self, prompt: &str) -> Result<Box<dyn Driver>, String> {
        let context = &self.planned.context;
        let driver = backend(context.agent.backend).turn(context, self.backend_turn(prompt));
        driver.map(|driver| self.explained(driver)).map_err(|e| e.to_string())
    }

    /// The driver of a turn that an earlier daemon began.
    pub(crate) fn old_driver(&self, prompt: &str) -> Box<dyn Driver> {
        let context = &self.planned.context;
        self.explained(backend(context.agent.backend).recover(context, self.backend_turn(prompt)))
    }

    /// The rules behind failures that the kernel made and a program reports.
    fn explained(&self, driver: Box<dyn Driver>) -> Box<dyn Driver> {
        let context = &self.planned.context;
        let raw = context.agent.backend == cordon_config::BackendKind::Command;
        let driver = cordon_backends::checked(driver, context, self.turn.given.is_some());
        cordon_backends::explained(driver, self.planned.policy.clone(), &context.workspace, raw)
    }

    pub(super) fn backend_turn(&self, prompt: &str) -> cordon_backends::Turn {
        cordon_backends::Turn {
            number: self.turn.number,
            prompt: prompt.to_owned(),
            session: self.turn.given.clone(),
            new_session: self.turn.fresh.clone(),
            counted: self.turn.counted.into(),
            policy: self.planned.policy.clone(),
        }
    }

    pub(super) fn deadline(&self, life: &Life) -> (tokio::time::Instant, String) {
        let wall = self.planned.sandbox.limits.wall_clock;
        let mut soonest = (life.deadline, life.run_limit_words());
        let sandbox = (after(wall), format!("the sandbox is older than {} s", wall.as_secs()));
        let own = self.planned.context.agent.program.timeout;
        let limit = life.turn_limit.into_iter().chain(own).min();
        let turn =
            limit.map(|limit| (after(limit), format!("the turn took longer than {} s", limit.as_secs())));
        for one in [Some(sandbox), turn].into_iter().flatten() {
            if one.0 < soonest.0 {
                soonest = one;
            }
        }
        soonest
    }

    pub(super) async fn set_state(&self, life: &Life, state: State) {
        self.change(life, move |a| a.state = state).await;
    }

    pub(super) async fn set_end(&self, life: &Life, end: End) {
        self.change(life, move |a| {
            a.state = State::Ended;
            a.end = Some(end);
        })
        .await;
    }

    pub(super) async fn change(
        &self,
        life: &Life,
        change: impl FnOnce(&mut crate::record::AgentRecord) + Send + 'static,
    ) {
        let (entry, index) = (life.entry.clone(), self.index);
        let kept = tokio::task::spawn_blocking(move || entry.update_agent(index, change));
        if let Ok(Err(error)) = kept.await {
            tracing::warn!(run = life.entry.id, %error, "the run's record was not kept");
        }
    }
}

pub(crate) fn index_name(agent: usize, tree: usize) -> String {
    format!("index-{agent}-{tree}")
}

pub(crate) fn warning(reason: &str, message: &str) -> Kind {
    Kind::Warning(WarningEvent { reason: reason.to_owned(), message: message.to_owned() })
}

pub(crate) fn finding(finding: &cordon_sandbox::Finding) -> ProbeFinding {
    ProbeFinding {
        check: finding.check.clone(),
        expected: finding.expected.clone(),
        found: finding.found.clone(),
        ok: finding.ok,
    }
}

/// Ends a sandbox, trying a second time when the first one fails.
pub(super) async fn destroy(wall: &dyn Wall, record: &SandboxRecord) -> Result<(), SandboxError> {
    match wall.destroy(record).await {
        Ok(()) => Ok(()),
        Err(first) => {
            tracing::warn!(sandbox = record.id, error = %first, "a sandbox did not end; trying again");
            tokio::time::sleep(Duration::from_secs(1)).await;
            wall.destroy(record).await
        }
    }
}
