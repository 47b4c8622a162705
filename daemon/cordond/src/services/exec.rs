use super::caller::Caller;
use crate::status::{invalid, of_run, of_sandbox};
use cordon_proto::{
    guest as pb,
    v1::{
        OutputEvent, OutputStream, RunExecRequest, RunExecResponse,
        run_exec_request::{Message, Open},
        run_exec_response::{ExecExit, Message as Answer},
    },
};
use cordon_runs::Runs;
use cordon_sandbox::guest::{ProcessEvent, ProcessInput};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};

/// Pieces that wait for a slow client; then the process waits.
const WAITING: usize = 8;
const MOST_ARGUMENTS: usize = 4096;

/// A person's own process in a running sandbox. It ends when the person hangs up.
pub(crate) async fn exec(
    runs: &Runs,
    caller: Caller,
    mut requests: Streaming<RunExecRequest>,
) -> Result<Response<ReceiverStream<Result<RunExecResponse, Status>>>, Status> {
    let first = requests.message().await?.and_then(|r| r.message);
    let Some(Message::Open(open)) = first else {
        return Err(invalid("no-open", "the first message must open the process"));
    };
    if open.argv.is_empty() || open.argv.len() > MOST_ARGUMENTS {
        let why = format!("a process has from 1 to {MOST_ARGUMENTS} arguments");
        return Err(invalid("bad-argv", &why));
    }
    let guest = runs.guest(caller.uid, &open.run_id, &open.agent).await.map_err(|e| of_run(&e))?;
    let cwd = runs.directory(caller.uid, &open.run_id, &open.agent).await.map_err(|e| of_run(&e))?;
    let process = guest.exec(start(open, &cwd)).await.map_err(of_sandbox)?;
    let (answers, receiver) = mpsc::channel(WAITING);
    tokio::spawn(pass_output(process.events, process.input.clone(), answers));
    tokio::spawn(pass_input(requests, process.input));
    Ok(Response::new(ReceiverStream::new(receiver)))
}

fn start(open: Open, cwd: &std::path::Path) -> pb::Start {
    use std::os::unix::ffi::OsStrExt as _;
    pb::Start {
        process_id: format!("x{}", uuid::Uuid::now_v7().simple()),
        argv: open.argv,
        env: Vec::new(),
        cwd: cwd.as_os_str().as_bytes().to_vec().into(),
        pty: open.pty.map(|size| pb::WindowSize { rows: size.rows, columns: size.columns }),
        stdin: open.stdin || open.pty.is_some(),
        timeout_ms: 0,
        kill_on_detach: true,
    }
}

async fn pass_input(mut requests: Streaming<RunExecRequest>, to: mpsc::Sender<ProcessInput>) {
    loop {
        let message = tokio::select! {
            message = requests.message() => message,
            () = to.closed() => return,
        };
        let input = match message {
            Ok(Some(request)) => match request.message {
                Some(Message::Stdin(data)) => ProcessInput::Stdin(data),
                Some(Message::StdinEof(_)) => ProcessInput::StdinEof,
                Some(Message::Resize(size)) => {
                    ProcessInput::Resize { rows: size.rows, columns: size.columns }
                }
                Some(Message::Signal(signal)) => ProcessInput::Signal(signal),
                Some(Message::Open(_)) | None => continue,
            },
            // No more input; the answers may go on. A client that is gone closes those, too.
            Ok(None) | Err(_) => return,
        };
        if to.send(input).await.is_err() {
            return;
        }
    }
}

async fn pass_output(
    mut events: mpsc::Receiver<ProcessEvent>,
    input: mpsc::Sender<ProcessInput>,
    to: mpsc::Sender<Result<RunExecResponse, Status>>,
) {
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            // Dropping the events detaches, and that ends the process.
            () = to.closed() => return,
        };
        let (answer, ack) = match event {
            Some(ProcessEvent::Started { .. }) => continue,
            Some(ProcessEvent::Output { stream, offset, data }) => {
                let end_offset = offset + data.len() as u64;
                let stream = match stream {
                    pb::Stream::Stderr => OutputStream::Stderr,
                    _ => OutputStream::Stdout,
                };
                let stream = stream.into();
                let output = OutputEvent { stream, data, offset, end_offset, resume_offset: end_offset };
                (Ok(Answer::Output(output)), Some(end_offset))
            }
            Some(ProcessEvent::Dropped { to, .. }) => {
                tracing::debug!(to, "output of a person's process was dropped");
                continue;
            }
            Some(ProcessEvent::Exited(exited)) => (Ok(Answer::Exit(exit(&exited))), None),
            Some(ProcessEvent::Failed { errno, step }) => {
                let why = nix::errno::Errno::from_raw(i32::try_from(errno).unwrap_or(0)).desc();
                // As shells have it: not found, else not executable.
                let code = if errno == nix::libc::ENOENT.unsigned_abs() { 127 } else { 126 };
                (Ok(Answer::Exit(ExecExit { code, failure: format!("{step}: {why}") })), None)
            }
            Some(ProcessEvent::Lost(why)) => (Err(lost(&why)), None),
            None => (Err(lost("the guest's stream ended")), None),
        };
        let last = ack.is_none();
        let answer = answer.map(|message| RunExecResponse { message: Some(message) });
        if to.send(answer).await.is_err() || last {
            return;
        }
        if let Some(offset) = ack {
            // Only when the client took it; a lost acknowledgement is made up by the next.
            let _ = input.try_send(ProcessInput::Ack(offset));
        }
    }
}

fn exit(exited: &pb::Exited) -> ExecExit {
    let code = match (exited.code, exited.signal) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128_u32.saturating_add(signal),
        (None, None) => 1,
    };
    ExecExit { code, failure: String::new() }
}

fn lost(why: &str) -> Status {
    crate::status::status(tonic::Code::Unavailable, "guest-lost", why, "")
}
