//! `cordon attach`: the terminal interface of an agent's program.

use crate::{
    agent_file,
    args::{Attach, Global, WallName},
    error::CliError,
    exit::Exit,
    neutral,
    screen::stdout_is_terminal,
    session::Session,
    terminal::{Down, Left, Up, converse, window},
};
use cordon_proto::v1::{
    Run, RunAttachRequest, RunAttachResponse, TerminalSize,
    run_attach_request::{Message, Open, Role},
    run_attach_response::{Message as Answer, ProgramEnd},
};
use std::{
    io::{self, IsTerminal as _},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::Streaming;

/// Messages under way to and from the daemon.
const WAITING: usize = 16;

/// What is known of the run by now.
#[derive(Default)]
struct Known {
    run: Option<Run>,
    end: Option<ProgramEnd>,
    /// The connection broke.
    lost: bool,
}

type Shared = Arc<Mutex<Known>>;

pub(crate) async fn attach(global: &Global, args: Attach) -> Result<Exit, CliError> {
    if !(io::stdin().is_terminal() && stdout_is_terminal()) {
        return Err(CliError::Input(
            "`cordon attach` needs a terminal on standard input and output; `cordon run` needs none"
                .to_owned(),
        ));
    }
    if std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb") {
        return Err(CliError::Input("this terminal (TERM) cannot show an interface".to_owned()));
    }
    let is_file = is_file(&args.target);
    if is_file {
        agent_file::read(&args.target)?;
    }
    let session = Session::open(global).await?;
    let open = open(&session, &args, is_file).await?;
    let fresh = open.agent_file.is_some();
    let (send, requests) = mpsc::channel(WAITING);
    // The queue is new and empty: there is room.
    let _ = send.try_send(RunAttachRequest { message: Some(Message::Open(open)) });
    if fresh {
        eprintln!("cordon: making the sandbox");
    }
    let mut answers = session.runs().attach(ReceiverStream::new(requests)).await?.into_inner();
    let known = Shared::default();
    // Until there is something to show, the terminal stays the person's.
    let Some(first) = first(&mut answers, &known).await? else { return Ok(after(&known, Left::Ended)) };
    let (up, typed) = mpsc::channel(WAITING);
    let (tell, down) = mpsc::channel(WAITING);
    let passing = tokio::spawn(pass_up(typed, send));
    let telling = tokio::spawn(pass_down(first, answers, known.clone(), tell));
    let left = converse(args.detach_keys, args.raw, up, down).await;
    telling.abort();
    passing.abort();
    Ok(after(&known, left?))
}

/// A name that leads to a file is one; all else may be a run.
fn is_file(target: &Path) -> bool {
    let looks_like_id = target.to_str().is_some_and(|t| {
        (4..=32).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())
    });
    !looks_like_id || target.try_exists().unwrap_or(true)
}

async fn open(session: &Session, args: &Attach, is_file: bool) -> Result<Open, CliError> {
    let size = window();
    let role = match args {
        Attach { watch: true, .. } => Role::Watch,
        Attach { write: true, .. } => Role::Write,
        Attach { take: true, .. } => Role::Take,
        _ => Role::Unspecified,
    };
    let file = if is_file { Some(agent_file::check(session, &args.target).await?.0) } else { None };
    let run_id = if is_file { String::new() } else { args.target.display().to_string() };
    let true_colour =
        std::env::var("COLORTERM").is_ok_and(|term| matches!(term.as_str(), "truecolor" | "24bit"));
    Ok(Open {
        agent_file: file,
        run_id,
        agent: args.agent.clone().unwrap_or_default(),
        wall: WallName::word(args.wall),
        size: Some(TerminalSize { rows: size.rows, columns: size.columns }),
        role: role.into(),
        raw: args.raw,
        fresh: args.new,
        true_colour,
    })
}

/// Says what is going on until the terminal begins; none when it never does.
async fn first(
    answers: &mut Streaming<RunAttachResponse>,
    known: &Shared,
) -> Result<Option<Vec<u8>>, CliError> {
    loop {
        let Some(answer) = answers.message().await? else { return Ok(None) };
        match answer.message {
            Some(Answer::Output(data)) => return Ok(Some(data.to_vec())),
            Some(Answer::Place(place)) if !place.writes => {
                eprintln!("cordon: watching; somebody else writes (`--take` takes over)");
            }
            Some(message) => {
                if let Answer::Run(run) = &message
                    && known.lock().unwrap_or_else(PoisonError::into_inner).run.is_none()
                {
                    eprintln!("cordon: run {}", neutral::word(&run.id));
                }
                note(known, message);
            }
            None => {}
        }
    }
}

fn note(known: &Shared, message: Answer) {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    match message {
        Answer::Run(run) => known.run = Some(run),
        Answer::ProgramEnd(end) => known.end = Some(end),
        Answer::Output(_) | Answer::Place(_) => {}
    }
}

async fn pass_up(mut typed: mpsc::Receiver<Up>, to: mpsc::Sender<RunAttachRequest>) {
    while let Some(up) = typed.recv().await {
        let message = match up {
            Up::Typed(data) => Message::Input(data.into()),
            Up::Resize { rows, columns } => Message::Resize(TerminalSize { rows, columns }),
            Up::Shown(total) => Message::Shown(total),
        };
        if to.send(RunAttachRequest { message: Some(message) }).await.is_err() {
            return;
        }
    }
}

async fn pass_down(
    first: Vec<u8>,
    mut answers: Streaming<RunAttachResponse>,
    known: Shared,
    to: mpsc::Sender<Result<Down, CliError>>,
) {
    if to.send(Ok(Down::Output(first))).await.is_err() {
        return;
    }
    loop {
        let down = match answers.next().await {
            Some(Ok(answer)) => match answer.message {
                Some(Answer::Output(data)) => Ok(Down::Output(data.to_vec())),
                Some(message) => {
                    let ended = matches!(message, Answer::ProgramEnd(_));
                    note(&known, message);
                    if !ended {
                        continue;
                    }
                    Ok(Down::End)
                }
                None => continue,
            },
            // The daemon went: what it does not say itself is said by what is known.
            Some(Err(status)) if status.code() == tonic::Code::Unavailable || !is_told(&status) => {
                known.lock().unwrap_or_else(PoisonError::into_inner).lost = true;
                Ok(Down::End)
            }
            Some(Err(status)) => Err(status.into()),
            None => Ok(Down::End),
        };
        let last = !matches!(down, Ok(Down::Output(_)));
        if to.send(down).await.is_err() || last {
            return;
        }
    }
}

/// Whether the daemon itself says so: it always gives a reason.
fn is_told(status: &tonic::Status) -> bool {
    use tonic_types::StatusExt as _;
    status.get_details_error_info().is_some()
}

/// What stays on the person's screen.
fn after(known: &Shared, left: Left) -> Exit {
    let known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let run = known.run.as_ref().map(|run| neutral::word(&run.id)).unwrap_or_default();
    match (left, &known.end) {
        (Left::Ended, Some(end)) => {
            if !end.failure.is_empty() {
                eprintln!("cordon: {}", neutral::word(&end.failure));
            }
            Exit::Process(u8::try_from(end.code).unwrap_or(u8::MAX))
        }
        (Left::Ended, None) if known.lost => {
            eprintln!("cordon: lost the daemon; run {run} may go on: `cordon attach {run}` comes back to it");
            Exit::Daemon
        }
        (Left::Ended, None) => {
            let outcome = known.run.as_ref().map(Run::outcome);
            eprintln!("cordon: run {run} ended without its program; see `cordon logs {run}`");
            outcome.map_or(Exit::Daemon, Exit::of)
        }
        (Left::Detached, _) => {
            eprintln!("cordon: left run {run}, which goes on; `cordon attach {run}` comes back to it");
            Exit::Success
        }
        (Left::Hangup, _) => {
            eprintln!("cordon: left run {run}, which goes on");
            Exit::Cancelled
        }
    }
}
