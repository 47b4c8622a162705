//! Watching a run: `cordon run` and `cordon logs`.

use super::waiting::Waiting;
use crate::{
    args::{Logs, Output},
    error::CliError,
    exit::Exit,
    json, neutral,
    render::Renderer,
    screen::{Screen, Tint},
    session::Session,
    signals::Signals,
    watch::{self, Told},
};
use cordon_proto::v1::{Event, GetRunRequest, Outcome, Run, event::Kind};
use std::{
    future::Future,
    io::{BufWriter, ErrorKind, Stdout},
    pin::Pin,
    time::Duration,
};
use tokio::signal::unix::SignalKind;
use tonic::Code;

/// Events shown before the screen is flushed and signals are looked at.
const BATCH: usize = 256;
const REDRAW: Duration = Duration::from_millis(500);
/// Between two requests to stop, while no daemon answers them.
const ASK_AGAIN: Duration = Duration::from_millis(200);

pub(crate) struct Show {
    pub(crate) from: u64,
    pub(crate) follow: bool,
    pub(crate) output: Output,
}

type StopCall = Pin<Box<dyn Future<Output = Result<(), CliError>> + Send>>;

/// What Ctrl-C does.
pub(crate) struct Interrupts {
    stop: Option<Box<dyn Fn() -> StopCall + Send>>,
}

impl Interrupts {
    /// The first one stops the run, the second one leaves it to the daemon.
    pub(crate) fn stopping<F>(stop: impl Fn() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), CliError>> + Send + 'static,
    {
        Self { stop: Some(Box::new(move || Box::pin(stop()))) }
    }

    /// The first one ends the watching; the run does not notice.
    pub(crate) fn leaving() -> Self {
        Self { stop: None }
    }
}

pub(crate) async fn logs(session: &Session, args: Logs, output: Output) -> Result<Exit, CliError> {
    let run = session.runs().get_run(GetRunRequest { id: args.run }).await?.into_inner();
    let show_as = Show { from: args.from, follow: args.follow, output };
    let mut renderer = Renderer::new(args.raw, run.agents.len() > 1).with_reasoning(args.reasoning);
    let seen = show(session, &run, &mut renderer, show_as, Interrupts::leaving()).await?;
    Ok(if args.follow { seen.exit } else { Exit::Success })
}

/// How a watch ended.
pub(crate) struct Seen {
    pub(crate) exit: Exit,
    /// Of the run, when its end was seen.
    pub(crate) outcome: Option<Outcome>,
    /// Changes to the person's trees, which are as they were.
    pub(crate) waiting: bool,
}

impl Seen {
    /// The run goes on.
    fn left(exit: Exit) -> Self {
        Self { exit, outcome: None, waiting: false }
    }
}

/// Shows events until the run's end.
pub(crate) async fn show(
    session: &Session,
    run: &Run,
    renderer: &mut Renderer,
    show: Show,
    interrupts: Interrupts,
) -> Result<Seen, CliError> {
    let mut viewer =
        Viewer { screen: Screen::stdout(), renderer, output: show.output, waiting: Waiting::of(run) };
    let id = neutral::word(&run.id);
    let mut signals = Signals::new()?;
    let mut told = watch::watch(session, &run.id, show.from, show.follow);
    let mut stopping: Option<tokio::task::JoinHandle<Result<(), CliError>>> = None;
    let mut asked = false;
    let mut redraw = tokio::time::interval(REDRAW);
    let mut batch = Vec::with_capacity(BATCH);
    let ended = loop {
        tokio::select! {
            count = told.recv_many(&mut batch, BATCH) => {
                let shown = viewer.batch(&mut batch);
                match shown {
                    Err(CliError::Output(e)) if e.kind() == ErrorKind::BrokenPipe => {
                        // Whoever reads has seen enough; that is no reason to end the work.
                        eprintln!("cordon: nobody reads the output any more; `cordon logs -f {id}` watches the run");
                        return Ok(Seen::left(Exit::Success));
                    }
                    other => other?,
                }
                if count == 0 {
                    break true;
                }
            }
            signal = signals.next() => {
                let hangup = signal == SignalKind::hangup();
                let Some(stop) = interrupts.stop.as_ref().filter(|_| !asked && !hangup) else { break false };
                asked = true;
                viewer.say("stopping the run; press Ctrl-C again to leave it to the daemon")?;
                stopping = Some(tokio::spawn(stop()));
            }
            answer = answer_of(&mut stopping) => {
                let again = interrupts.stop.as_ref().filter(|_| answer.as_ref().is_err_and(daemon_is_away));
                if let Some(stop) = again {
                    // A daemon that comes back must not go on with what was asked to end.
                    let call = stop();
                    stopping = Some(tokio::spawn(async move {
                        tokio::time::sleep(ASK_AGAIN).await;
                        call.await
                    }));
                } else if let Err(e) = answer {
                    viewer.say(&format!("the run could not be stopped: {}", neutral::word(&e.to_string())))?;
                    // Ctrl-C may ask once more.
                    asked = false;
                }
            }
            _ = redraw.tick() => viewer.redraw()?,
        }
    };
    viewer.screen.clear_status()?;
    viewer.screen.flush()?;
    if !ended {
        let doing = if asked { "is being stopped" } else { "goes on" };
        eprintln!("cordon: the run {doing}; `cordon logs -f {id}` watches it, `cordon stop {id}` stops it");
        return Ok(Seen::left(Exit::Cancelled));
    }
    let outcome = viewer.renderer.outcome;
    let waiting = viewer.waiting.changed();
    Ok(Seen { exit: outcome.map_or(Exit::Success, Exit::of), outcome, waiting })
}

fn daemon_is_away(error: &CliError) -> bool {
    let CliError::Rpc(status) = error else { return matches!(error, CliError::NoDaemon { .. }) };
    matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Aborted)
}

async fn answer_of(call: &mut Option<tokio::task::JoinHandle<Result<(), CliError>>>) -> Result<(), CliError> {
    let Some(running) = call else { return std::future::pending().await };
    let answer = running.await;
    *call = None;
    answer.unwrap_or_else(|e| Err(CliError::Input(format!("the request to stop broke: {e}"))))
}

struct Viewer<'a> {
    screen: Screen<BufWriter<Stdout>>,
    renderer: &'a mut Renderer,
    output: Output,
    waiting: Waiting,
}

impl Viewer<'_> {
    fn batch(&mut self, batch: &mut Vec<Told>) -> Result<(), CliError> {
        self.screen.look_again();
        for told in batch.drain(..) {
            match told {
                Told::Event(event) => self.event(&event)?,
                Told::Notice(notice) => self.say(&neutral::word(&notice))?,
                Told::Failed(e) => {
                    self.screen.clear_status()?;
                    self.screen.flush()?;
                    return Err(e);
                }
            }
        }
        self.redraw()
    }

    fn event(&mut self, event: &Event) -> Result<(), CliError> {
        self.waiting.event(event);
        if self.output == Output::Table {
            return Ok(self.renderer.event(event, &mut self.screen)?);
        }
        if let Some(Kind::RunEnded(end)) = &event.kind {
            self.renderer.outcome = Some(end.outcome());
        }
        self.screen.raw(json::encode(&json::event(event)).as_bytes())?;
        Ok(self.screen.raw(b"\n")?)
    }

    /// Cordon's own word about the watching: not part of the run, so not of its JSON either.
    fn say(&mut self, text: &str) -> Result<(), CliError> {
        match self.output {
            Output::Table => {
                self.screen.own(Some(Tint::Yellow), text)?;
                self.screen.flush()?;
            }
            Output::Json => eprintln!("cordon: {text}"),
        }
        Ok(())
    }

    fn redraw(&mut self) -> Result<(), CliError> {
        let lines = match self.output {
            Output::Table => self.renderer.status(),
            Output::Json => Vec::new(),
        };
        Ok(self.screen.status(&lines)?)
    }
}
