use crate::{
    args::Exec,
    error::CliError,
    exit::Exit,
    filter::{Filter, Printer},
    neutral,
    screen::stdout_is_terminal,
    session::Session,
    terminal::{RawMode, window},
};
use cordon_proto::v1::{
    OutputEvent, OutputStream, RunExecRequest, RunExecResponse,
    run_exec_request::{Message, Open, StdinEof},
    run_exec_response::Message as Answer,
};
use std::{
    io::{self, IsTerminal as _, Read as _},
    os::unix::ffi::OsStringExt as _,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Pieces of input that may wait for the daemon.
const WAITING: usize = 16;
const PIECE: usize = 32 << 10;

pub(crate) async fn exec(session: &Session, args: Exec) -> Result<Exit, CliError> {
    if args.tty && !(io::stdin().is_terminal() && stdout_is_terminal()) {
        return Err(CliError::Input(
            "-t needs a terminal on standard input and output; leave it out".to_owned(),
        ));
    }
    let (send, requests) = mpsc::channel(WAITING);
    let open = Open {
        run_id: args.run,
        agent: args.agent,
        argv: args.argv.into_iter().map(|a| a.into_vec().into()).collect(),
        stdin: args.interactive,
        pty: args.tty.then(window),
    };
    put(&send, Message::Open(open)).await;
    let answers = session.runs().exec(ReceiverStream::new(requests)).await?.into_inner();
    // Restores the terminal when it is dropped, whatever happened.
    let raw = if args.tty { Some(RawMode::enter().map_err(CliError::Terminal)?) } else { None };
    if args.interactive {
        let send = send.clone();
        // A blocking read cannot be cancelled: the thread ends with the process.
        std::thread::spawn(move || pass_input(&send));
    }
    let exit = pass_output(answers, &send, args.tty).await;
    drop(raw);
    exit
}

async fn put(send: &mpsc::Sender<RunExecRequest>, message: Message) {
    // A closed channel means that the call is over; its answer tells why.
    let _ = send.send(RunExecRequest { message: Some(message) }).await;
}

fn pass_input(send: &mpsc::Sender<RunExecRequest>) {
    let mut stdin = io::stdin().lock();
    let mut piece = vec![0; PIECE];
    loop {
        let message = match stdin.read(&mut piece) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Ok(0) | Err(_) => Message::StdinEof(StdinEof {}),
            Ok(read) => Message::Stdin(piece[..read].to_vec().into()),
        };
        let last = matches!(message, Message::StdinEof(_));
        if send.blocking_send(RunExecRequest { message: Some(message) }).is_err() || last {
            return;
        }
    }
}

async fn pass_output(
    mut answers: Streaming<RunExecResponse>,
    send: &mpsc::Sender<RunExecRequest>,
    tty: bool,
) -> Result<Exit, CliError> {
    let listen = |kind| signal(kind).map_err(CliError::Terminal);
    let mut resized = listen(SignalKind::window_change())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    let quiet = |foreign: bool| foreign.then(Filter::text);
    let mut out = Printer::new(io::stdout(), quiet(!tty && stdout_is_terminal()));
    let mut err = Printer::new(io::stderr(), quiet(!tty && io::stderr().is_terminal()));
    loop {
        tokio::select! {
            answer = answers.message() => match answer?.and_then(|a| a.message) {
                Some(Answer::Output(output)) => {
                    if is_stderr(&output) { err.print(&output.data)? } else { out.print(&output.data)? }
                }
                Some(Answer::Exit(exit)) => {
                    out.finish()?;
                    err.finish()?;
                    if !exit.failure.is_empty() {
                        eprintln!("cordon: {}\r", neutral::word(&exit.failure));
                    }
                    return Ok(Exit::Process(u8::try_from(exit.code).unwrap_or(u8::MAX)));
                }
                None => return Err(CliError::Lost {
                    run: "of the process".to_owned(),
                    why: "the stream ended before the process did".to_owned(),
                }),
            },
            _ = resized.recv(), if tty => put(send, Message::Resize(window())).await,
            _ = interrupt.recv() => put(send, Message::Signal(nix::libc::SIGINT.unsigned_abs())).await,
            _ = terminate.recv() => put(send, Message::Signal(nix::libc::SIGTERM.unsigned_abs())).await,
            _ = hangup.recv() => put(send, Message::Signal(nix::libc::SIGHUP.unsigned_abs())).await,
        }
    }
}

fn is_stderr(output: &OutputEvent) -> bool {
    output.stream() == OutputStream::Stderr
}
