//! `cordon mcp`: an MCP server on standard input and output, which the daemon answers.

use super::again::new_key;
use crate::{
    agent_file,
    args::{Global, Mcp, WallName},
    error::CliError,
    exit::Exit,
    neutral,
    session::Session,
    watch::{self, Told},
};
use cordon_proto::v1::{
    Run, RunMcpRequest, RunMcpResponse, StopRunRequest,
    event::Kind,
    run_mcp_request::{Message, Open},
    run_mcp_response::Message as Answer,
};
use std::io::{self, Read as _, Write as _};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Pieces of input that may wait for the daemon.
const WAITING: usize = 16;
const PIECE: usize = 64 << 10;

pub(crate) async fn mcp(global: &Global, args: Mcp) -> Result<Exit, CliError> {
    agent_file::read(&args.file)?;
    let session = Session::open(global).await?;
    let file = agent_file::check(&session, &args.file).await?.0;
    let (send, requests) = mpsc::channel(WAITING);
    let open = Open {
        agent_file: Some(file),
        agent: args.agent.unwrap_or_default(),
        wall: WallName::word(args.wall),
    };
    let first = RunMcpRequest { message: Some(Message::Open(open)) };
    // The queue is new and empty: there is room.
    let _ = send.try_send(first);
    let answers = session.runs().mcp(ReceiverStream::new(requests)).await?.into_inner();
    // A blocking read cannot be cancelled: the thread ends with the process.
    std::thread::spawn(move || pass_input(&send));
    pass_output(&session, answers).await
}

/// Until the end of standard input, which ends the stream.
fn pass_input(send: &mpsc::Sender<RunMcpRequest>) {
    let mut stdin = io::stdin().lock();
    let mut piece = vec![0; PIECE];
    loop {
        let data = match stdin.read(&mut piece) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Ok(0) | Err(_) => return,
            Ok(read) => piece[..read].to_vec().into(),
        };
        if send.blocking_send(RunMcpRequest { message: Some(Message::Data(data)) }).is_err() {
            return;
        }
    }
}

/// Standard output carries MCP and nothing else.
async fn pass_output(session: &Session, mut answers: Streaming<RunMcpResponse>) -> Result<Exit, CliError> {
    let listen = |kind| signal(kind).map_err(CliError::Terminal);
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    let mut out = io::stdout();
    let mut run: Option<Run> = None;
    let mut saying: Option<JoinHandle<()>> = None;
    let mut asked = false;
    loop {
        let stop = tokio::select! {
            answer = answers.message() => {
                match answer?.and_then(|a| a.message) {
                    Some(Answer::Run(news)) => {
                        if saying.is_none() {
                            eprintln!("cordon: run {}", neutral::word(&news.id));
                            saying = Some(tokio::spawn(say(session.clone(), news.id.clone())));
                        }
                        run = Some(news);
                    }
                    Some(Answer::Data(data)) => {
                        out.write_all(&data)?;
                        out.flush()?;
                    }
                    None => break,
                }
                false
            }
            _ = interrupt.recv() => true,
            _ = terminate.recv() => true,
            _ = hangup.recv() => true,
        };
        if stop && asked {
            return Ok(Exit::Cancelled);
        }
        if let (true, Some(run)) = (stop, &run) {
            asked = true;
            let request = StopRunRequest { id: run.id.clone(), idempotency_key: new_key() };
            let mut runs = session.runs();
            // The end of the stream tells whether it did.
            tokio::spawn(async move { runs.stop_run(request).await });
        }
    }
    if let Some(saying) = saying {
        let _ = saying.await;
    }
    Ok(run.map_or(Exit::Daemon, |run| Exit::of(run.outcome())))
}

/// What a person should know, on standard error.
async fn say(session: Session, run: String) {
    let mut told = watch::watch(&session, &run, 0, true);
    while let Some(told) = told.recv().await {
        let line = match told {
            Told::Event(event) => match event.kind {
                Some(Kind::SandboxReady(e)) => {
                    format!("cordon: ready behind the {} wall, {} ms", neutral::word(&e.wall), e.ready_ms)
                }
                Some(Kind::Warning(e)) => format!("warning: {}", neutral::word(&e.message)),
                Some(Kind::Error(e)) => format!("error: {}", neutral::word(&e.message)),
                Some(Kind::Denial(e)) => format!(
                    "denied: {} {}: {}",
                    neutral::word(&e.operation),
                    neutral::word(&e.target),
                    neutral::word(&e.rule)
                ),
                _ => continue,
            },
            Told::Notice(text) => format!("cordon: {}", neutral::word(&text)),
            Told::Failed(_) => return,
        };
        eprintln!("{line}");
    }
}
