use super::caller::{Caller, agent_file, wall};
use crate::status::{invalid, of_run};
use cordon_proto::v1::{
    Run, RunMcpRequest, RunMcpResponse,
    run_mcp_request::{Message, Open},
    run_mcp_response::Message as Answer,
};
use cordon_runs::{Runs, StartRequest};
use std::path::PathBuf;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};

/// Pieces that wait for a slow client; then the tools wait.
const WAITING: usize = 8;
const PIPE: usize = 256 << 10;
const PIECE: usize = 64 << 10;
/// What stands where a task would: there is none.
const TITLE: &str = "(tools for an MCP client)";

type Answers = mpsc::Sender<Result<RunMcpResponse, Status>>;

/// Bytes of an MCP client, carried to the tools of one agent and back. The run that this
/// makes ends when the client hangs up.
pub(crate) async fn mcp(
    runs: &Runs,
    caller: Caller,
    mut requests: Streaming<RunMcpRequest>,
) -> Result<Response<ReceiverStream<Result<RunMcpResponse, Status>>>, Status> {
    let first = requests.message().await?.and_then(|r| r.message);
    let Some(Message::Open(open)) = first else {
        return Err(invalid("no-open", "the first message must open the tools"));
    };
    let request = start(caller, open).await?;
    let (ours, theirs) = tokio::io::duplex(PIPE);
    // A client that hangs up must not leave half an accepted run.
    let starting = runs.clone();
    let started = tokio::spawn(async move { starting.serve_tools(request, theirs).await }).await;
    let run = started.map_err(|_| Status::internal("the run could not be accepted"))?;
    let run = run.map_err(|e| of_run(&e))?;
    let (answers, receiver) = mpsc::channel(WAITING);
    let id = run.id.clone();
    // The queue is new and empty: there is room.
    let _ = answers.try_send(Ok(answer(Answer::Run(run))));
    let (read, write) = tokio::io::split(ours);
    let passing = tokio::spawn(pass_input(requests, write));
    let runs = runs.clone();
    tokio::spawn(async move {
        pass_output(read, &answers).await;
        // Both halves: so the tools see that nobody is there, whoever hung up first.
        passing.abort();
        let ended = tokio::select! {
            ended = runs.wait(caller.uid, &id) => ended,
            () = answers.closed() => return,
        };
        let last = ended.map(|run: Run| answer(Answer::Run(run))).map_err(|e| of_run(&e));
        let _ = answers.send(last).await;
    });
    Ok(Response::new(ReceiverStream::new(receiver)))
}

async fn start(caller: Caller, open: Open) -> Result<StartRequest, Status> {
    let file = agent_file(open.agent_file)?;
    Ok(StartRequest {
        name: file.name,
        content: file.content.to_vec(),
        directory: PathBuf::from(file.directory),
        variables: file.variables.into_iter().collect(),
        prompt: TITLE.to_owned(),
        agents: Some(open.agent).into_iter().filter(|a| !a.is_empty()).collect(),
        wall: wall(&open.wall)?,
        from_snapshots: Default::default(),
        // A stream cannot be told twice.
        resume: String::new(),
        key: String::new(),
        owner: caller.owner().await?,
    })
}

fn answer(message: Answer) -> RunMcpResponse {
    RunMcpResponse { message: Some(message) }
}

/// Ends with the client's stream, and tells the tools so.
async fn pass_input(mut requests: Streaming<RunMcpRequest>, mut to: WriteHalf<DuplexStream>) {
    while let Ok(Some(request)) = requests.message().await {
        let Some(Message::Data(data)) = request.message else { continue };
        if to.write_all(&data).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

async fn pass_output(mut from: ReadHalf<DuplexStream>, to: &Answers) {
    let mut piece = vec![0; PIECE];
    loop {
        let length = tokio::select! {
            length = from.read(&mut piece) => length.unwrap_or(0),
            () = to.closed() => return,
        };
        if length == 0 {
            return;
        }
        let data = piece.get(..length).unwrap_or_default().to_vec().into();
        if to.send(Ok(answer(Answer::Data(data)))).await.is_err() {
            return;
        }
    }
}
