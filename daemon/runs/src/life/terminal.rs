//! An agent whose program has a terminal, for a person, instead of a driver that takes a turn.

use super::{
    AbortOnDrop, Life,
    agent::{Agent, Ready, Trouble},
    inside::Inside,
    log::Log,
    process::{Ended, Limits, Watch, after},
};
use crate::{
    journal::Durability,
    record::{End, State},
    store::RunDirectory,
};
use cordon_backends::{ExecPlan, backend};
use cordon_proto::{
    guest as pb,
    v1::{Outcome, ProcessExited, ProcessStarted, TurnEnded, TurnStarted, ViewerEvent, event::Kind},
};
use cordon_sandbox::guest::{ProcessEvent, ProcessInput};
use cordon_terminal::{Happening, Hub, News, Size, pass_input};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::mpsc::{Sender, UnboundedReceiver};

/// The process, as the guest knows it.
const PROCESS: &str = "terminal";
/// So much output stays with the guest before the screen is kept on the disk instead.
const KEPT_INSIDE: u64 = 256 << 10;
/// Nobody who looks at a terminal has to type.
const NEVER: Duration = Duration::from_secs(30 * 24 * 3600);

/// What the program's terminal can do: what comes through to the person's.
const TERM: (&str, &str) = ("TERM", "xterm-256color");
const TRUE_COLOUR: (&str, &str) = ("COLORTERM", "truecolor");
const LOCALE: (&str, &str) = ("LANG", "C.UTF-8");

/// The terminal of one agent.
#[derive(Debug)]
pub(crate) struct Terminal {
    pub(crate) hub: Arc<Hub>,
    news: Mutex<Option<UnboundedReceiver<News>>>,
    true_colour: bool,
    /// What of the program's output the screen has.
    offset: u64,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A run that ended before its program began.
        self.hub.end(None);
    }
}

impl Terminal {
    pub(crate) fn new(size: Size, true_colour: bool) -> Self {
        let (hub, news) = Hub::new(size);
        Self { hub, news: Mutex::new(Some(news)), true_colour, offset: 0 }
    }

    /// As an earlier daemon kept it. Blocks.
    pub(crate) fn load(directory: &RunDirectory, agent: usize) -> Self {
        let saved = directory.read(&name(agent)).ok().and_then(|bytes| Saved::decode(&bytes));
        let Some(saved) = saved else {
            tracing::warn!("the screen of a terminal was not kept; its program paints it again");
            return Self::new(Size::new(24, 80), false);
        };
        let (hub, news) = Hub::load(saved.size, &saved.screen);
        Self { hub, news: Mutex::new(Some(news)), true_colour: saved.true_colour, offset: saved.offset }
    }

    /// Keeps what the screen is at this place of the program's output. Blocks.
    pub(crate) fn keep(
        &self,
        directory: &RunDirectory,
        agent: usize,
        offset: u64,
    ) -> Result<Size, crate::store::StoreError> {
        let (size, screen) = self.hub.save();
        let saved = Saved { offset, size, true_colour: self.true_colour, screen };
        directory.write(&name(agent), &saved.encode())?;
        Ok(size)
    }
}

fn name(agent: usize) -> String {
    format!("terminal-{agent}")
}

/// A screen on the disk: it may hold secrets, and goes with those of the run.
#[derive(Debug, PartialEq, Eq)]
struct Saved {
    offset: u64,
    size: Size,
    true_colour: bool,
    screen: Vec<u8>,
}

const VERSION: u8 = 1;

impl Saved {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, u8::from(self.true_colour)];
        bytes.extend(self.offset.to_le_bytes());
        bytes.extend(self.size.rows.to_le_bytes());
        bytes.extend(self.size.columns.to_le_bytes());
        bytes.extend(&self.screen);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, screen) = bytes.split_first_chunk::<14>()?;
        let [VERSION, colour, rest @ ..] = head else { return None };
        let (offset, rest) = rest.split_first_chunk::<8>()?;
        let (rows, rest) = rest.split_first_chunk::<2>()?;
        let (columns, _) = rest.split_first_chunk::<2>()?;
        Some(Self {
            offset: u64::from_le_bytes(*offset),
            size: Size::new(u16::from_le_bytes(*rows).into(), u16::from_le_bytes(*columns).into()),
            true_colour: *colour == 1,
            screen: screen.to_vec(),
        })
    }
}

impl Agent {
    /// Runs the program on its terminal until it ends.
    pub(super) async fn host_terminal(
        &self,
        life: &Life,
        ready: Ready,
        terminal: &Arc<Terminal>,
    ) -> Result<(End, String), Trouble> {
        let hosted = self.host_inside(life, &ready, terminal).await;
        drop(ready.denials);
        match hosted {
            // A guest that ended by itself says why, and that is the better reason.
            Err(Trouble::Lost(why)) => {
                let words = cordon_sandbox::guest::last_words(&ready.sandbox.record.directory);
                Err(Trouble::Lost(words.unwrap_or(why)))
            }
            other => other,
        }
    }

    async fn host_inside(
        &self,
        life: &Life,
        ready: &Ready,
        terminal: &Arc<Terminal>,
    ) -> Result<(End, String), Trouble> {
        let begun = Instant::now();
        let guest = &ready.sandbox.guest;
        let limits = self.terminal_limits(life);
        let news = terminal.news.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _telling = news.map(|news| AbortOnDrop(tokio::spawn(tell(self.log.clone(), news))));
        let again = self.is_resumed() && guest.knows(PROCESS).await?;
        let process = if again {
            guest.attach(PROCESS, terminal.offset).await?
        } else {
            let plan = self.terminal_plan().map_err(Trouble::Backend)?;
            self.keep_screen(life, terminal, 0).await?;
            let argv: Vec<String> =
                plan.argv.iter().map(|a| String::from_utf8_lossy(a).into_owned()).collect();
            let backend = self.planned.context.agent.backend.name().to_owned();
            let process_id = PROCESS.to_owned();
            let kinds = vec![
                Kind::TurnStarted(TurnStarted { turn: 1, backend, argv: argv.clone() }),
                Kind::ProcessStarted(ProcessStarted { process_id, argv, stdin: true }),
            ];
            self.log.tell(kinds, Durability::Now).await?;
            guest.exec(start(&plan, terminal, &limits)).await?
        };
        self.set_state(life, State::Running).await;
        terminal.hub.begin();
        if again {
            // What changed between the last kept screen and the end of the earlier daemon, the
            // size perhaps, is on nobody's record.
            terminal.hub.repaint();
        }
        let (hub, input) = (terminal.hub.clone(), process.input.clone());
        let _typing = AbortOnDrop(tokio::spawn({
            let (hub, input) = (hub.clone(), input.clone());
            async move { pass_input(&hub, input).await }
        }));
        let mut watch = Watch::new(guest, &limits, PROCESS, process);
        let (mut next, mut kept, mut size) = (terminal.offset, terminal.offset, hub.size());
        while let Some(batch) = watch.next().await? {
            for event in batch {
                match event {
                    ProcessEvent::Output { offset, data, .. } => {
                        hub.feed(&data);
                        next = offset.saturating_add(data.len() as u64);
                    }
                    ProcessEvent::Dropped { to, .. } => {
                        next = to;
                        hub.repaint();
                    }
                    _ => {}
                }
            }
            // Only what is kept here may be forgotten there.
            if next.saturating_sub(kept) >= KEPT_INSIDE || size != hub.size() {
                size = self.keep_screen(life, terminal, next).await?;
                kept = next;
                acknowledge(&input, kept);
            }
        }
        let (ended, forced) = watch.ended();
        // What nobody saw is of no use any more.
        acknowledge(&input, next);
        self.told_end(terminal, &ended, forced, begun).await
    }

    fn terminal_plan(&self) -> Result<ExecPlan, String> {
        let context = &self.planned.context;
        backend(context.agent.backend).attach(context, self.backend_turn("")).map_err(|e| e.to_string())
    }

    /// A person decides when it is over: turns and silence have no limit.
    fn terminal_limits(&self, life: &Life) -> Limits {
        let wall = self.planned.sandbox.limits.wall_clock;
        let sandbox = (after(wall), format!("the sandbox is older than {} s", wall.as_secs()));
        let run = (life.deadline, life.run_limit_words());
        let (deadline, deadline_of) = if sandbox.0 < run.0 { sandbox } else { run };
        Limits { stop: life.stop.clone(), deadline, deadline_of, idle: NEVER, grace: life.grace }
    }

    async fn keep_screen(&self, life: &Life, terminal: &Arc<Terminal>, offset: u64) -> Result<Size, Trouble> {
        let (directory, index, terminal) = (life.entry.directory.clone(), self.index, terminal.clone());
        let kept = tokio::task::spawn_blocking(move || terminal.keep(&directory, index, offset));
        let failed = |why: String| Trouble::Lost(format!("the screen could not be kept: {why}"));
        kept.await.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))
    }

    async fn told_end(
        &self,
        terminal: &Terminal,
        ended: &Ended,
        forced: Option<(End, String)>,
        begun: Instant,
    ) -> Result<(End, String), Trouble> {
        let wall_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut told = ProcessExited { process_id: PROCESS.to_owned(), wall_ms, ..Default::default() };
        let (end, message, shell) = match ended {
            Ended::Exited(exited) => {
                told.code = exited.code.and_then(|code| i32::try_from(code).ok());
                told.signal = exited.signal.and_then(|signal| i32::try_from(signal).ok());
                match (exited.code, exited.signal) {
                    (Some(0), _) => (End::Success, String::new(), 0),
                    (Some(code), _) => {
                        (End::AgentFailed, format!("the program exited with code {code}"), code)
                    }
                    (None, signal) => {
                        let signal = signal.unwrap_or(0);
                        (End::AgentFailed, format!("signal {signal} ended the program"), 128 + signal)
                    }
                }
            }
            Ended::Failed { errno, step } => {
                told.start_errno = i32::try_from(*errno).ok();
                told.start_step = step.clone();
                let error = std::io::Error::from_raw_os_error(i32::try_from(*errno).unwrap_or(0));
                let message = format!("the program could not be started ({step}): {error}");
                (End::Broken, message, 127)
            }
        };
        let failure = if matches!(ended, Ended::Failed { .. }) { message.clone() } else { String::new() };
        let (end, message) = forced.unwrap_or((end, message));
        told.cancelled = end == End::Cancelled;
        told.timed_out = end == End::TimedOut;
        let over = TurnEnded {
            turn: 1,
            outcome: Outcome::from(end).into(),
            message: message.clone(),
            exit_code: told.code,
            wall_ms,
        };
        self.log.tell(vec![Kind::ProcessExited(told), Kind::TurnEnded(over)], Durability::Now).await?;
        terminal.hub.end(Some(cordon_terminal::End { code: shell, failure }));
        Ok((end, message))
    }
}

fn start(plan: &ExecPlan, terminal: &Terminal, limits: &Limits) -> pb::Start {
    use std::os::unix::ffi::OsStrExt as _;
    let size = terminal.hub.size();
    let mut env = plan.env.clone();
    let own = [Some(TERM), Some(LOCALE), terminal.true_colour.then_some(TRUE_COLOUR)];
    for (name, value) in own.into_iter().flatten() {
        // What the agent file says of it stands.
        if !env.iter().any(|(n, _)| n == name) {
            env.push((name.to_owned(), value.as_bytes().to_vec()));
        }
    }
    pb::Start {
        process_id: PROCESS.to_owned(),
        argv: plan.argv.iter().map(|a| a.clone().into()).collect(),
        env: env.into_iter().map(|(name, value)| pb::EnvVar { name, value: value.into() }).collect(),
        cwd: plan.cwd.as_os_str().as_bytes().to_vec().into(),
        pty: Some(pb::WindowSize { rows: size.rows.into(), columns: size.columns.into() }),
        stdin: true,
        // Only where no daemon is there to do it.
        timeout_ms: limits.backstop_ms(),
        kill_on_detach: false,
    }
}

/// One that is lost is made up by the next.
fn acknowledge(input: &Sender<ProcessInput>, offset: u64) {
    let _ = input.try_send(ProcessInput::Ack(offset));
}

/// Who looks, and who writes, is on record.
async fn tell(log: Log, mut news: UnboundedReceiver<News>) {
    while let Some(News { viewer, who, what }) = news.recv().await {
        let what = match what {
            Happening::Joined => "joined",
            Happening::Left => "left",
            Happening::Writes => "writes",
            Happening::Watches => "watches",
        };
        let event = ViewerEvent { viewer, what: what.to_owned(), uid: who };
        if log.tell(vec![Kind::Viewer(event)], Durability::Soon).await.is_err() {
            // Whoever writes next into the journal finds out, too, and ends the run.
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_kept_screen_is_read_back(offset: u64, rows: u16, columns: u16, true_colour: bool, screen: Vec<u8>) {
            let size = Size::new(rows.into(), columns.into());
            let saved = Saved { offset, size, true_colour, screen };
            prop_assert_eq!(Saved::decode(&saved.encode()), Some(saved));
        }

        #[test]
        fn another_file_is_none_or_bounded(bytes: Vec<u8>) {
            if let Some(saved) = Saved::decode(&bytes) {
                prop_assert!(saved.size.rows <= 300 && saved.size.columns <= 600);
            }
        }
    }
}
