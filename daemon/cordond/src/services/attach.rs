use super::caller::{Caller, agent_file, wall};
use crate::status::{invalid, of_run};
use cordon_proto::v1::{
    Run, RunAttachRequest, RunAttachResponse, TerminalSize,
    run_attach_request::{Message, Open, Role as Asked},
    run_attach_response::{Message as Answer, Place, ProgramEnd},
};
use cordon_runs::{RunError, Runs, StartRequest};
use cordon_terminal::{Role, Size, Told, Viewer, Wish};
use std::{path::PathBuf, sync::Arc};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status, Streaming};

/// Pieces that wait for the connection; what waits for a slow terminal is bounded by what it
/// says it has shown.
const WAITING: usize = 4;
/// Pieces of what is typed that wait for a program that does not read.
const TYPED: usize = 64;
/// What stands where a task would: there is none.
const TITLE: &str = "(terminal)";

type Answers = mpsc::Sender<Result<RunAttachResponse, Status>>;

/// One who looks at a terminal. The run does not end with the stream.
pub(crate) async fn attach(
    runs: &Runs,
    caller: Caller,
    mut requests: Streaming<RunAttachRequest>,
    closing: CancellationToken,
) -> Result<Response<ReceiverStream<Result<RunAttachResponse, Status>>>, Status> {
    let first = requests.message().await?.and_then(|r| r.message);
    let Some(Message::Open(open)) = first else {
        return Err(invalid("no-open", "the first message must open the terminal"));
    };
    let wish = wish(&open, caller);
    let (fresh, true_colour) = (open.fresh, open.true_colour);
    let joined = if open.run_id.is_empty() {
        let request = start(caller, open).await?;
        let runs = runs.clone();
        // A client that hangs up must not leave half an accepted run.
        let joining = tokio::spawn(async move { runs.attach_file(request, wish, fresh, true_colour).await });
        joining.await.map_err(|_| Status::internal("the run could not be accepted"))?
    } else {
        runs.attach_run(caller.uid, &open.run_id, wish).await
    };
    let (run, viewer) = joined.map_err(|e| of_run(&e))?;
    let viewer = Arc::new(viewer);
    let (answers, receiver) = mpsc::channel(WAITING);
    let id = run.id.clone();
    // The queue is new and empty: there is room.
    let _ = answers.try_send(Ok(answer(Answer::Run(run))));
    let (typed, typing) = mpsc::channel(TYPED);
    let reading = tokio::spawn(pass_input(requests, viewer.clone(), typed));
    let writing = tokio::spawn(pass_typed(typing, viewer.clone()));
    let runs = runs.clone();
    tokio::spawn(async move {
        let shown = tokio::select! {
            shown = pass_output(&viewer, &answers) => shown,
            () = closing.cancelled() => {
                // A client that does not read is not waited for.
                let _ = answers.try_send(Err(of_run(&RunError::ShuttingDown)));
                false
            }
        };
        // Both hold the viewer, which leaves with the last of them.
        reading.abort();
        writing.abort();
        drop(viewer);
        if shown {
            let ended = tokio::select! {
                ended = runs.wait(caller.uid, &id) => ended,
                () = answers.closed() => return,
            };
            let last = ended.map(|run: Run| answer(Answer::Run(run))).map_err(|e| of_run(&e));
            let _ = answers.send(last).await;
        }
    });
    Ok(Response::new(ReceiverStream::new(receiver)))
}

fn wish(open: &Open, caller: Caller) -> Wish {
    let role = match open.role() {
        Asked::Unspecified => Role::Any,
        Asked::Watch => Role::Watch,
        Asked::Write => Role::Write,
        Asked::Take => Role::Take,
    };
    Wish { role, size: size(open.size), raw: open.raw, who: caller.uid }
}

pub(super) fn size(size: Option<TerminalSize>) -> Size {
    // A terminal that does not know its size says nothing, or 0.
    let size = size.filter(|s| s.rows > 0 && s.columns > 0);
    size.map_or(Size::new(24, 80), |size| Size::new(size.rows, size.columns))
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
        key: String::new(),
        resume: String::new(),
        owner: caller.owner().await?,
    })
}

fn answer(message: Answer) -> RunAttachResponse {
    RunAttachResponse { message: Some(message) }
}

/// What is typed waits for the program; what the terminal says of itself does not.
async fn pass_input(
    mut requests: Streaming<RunAttachRequest>,
    viewer: Arc<Viewer>,
    typed: mpsc::Sender<bytes::Bytes>,
) {
    while let Ok(Some(request)) = requests.message().await {
        match request.message {
            Some(Message::Input(data)) => {
                if typed.send(data).await.is_err() {
                    return;
                }
            }
            Some(Message::Resize(asked)) => viewer.resize(size(Some(asked))).await,
            Some(Message::Shown(total)) => viewer.shown(total),
            Some(Message::Open(_)) | None => {}
        }
    }
}

async fn pass_typed(mut typed: mpsc::Receiver<bytes::Bytes>, viewer: Arc<Viewer>) {
    while let Some(data) = typed.recv().await {
        viewer.type_in(data).await;
    }
}

/// Until the program ends; false when the client went before.
async fn pass_output(viewer: &Viewer, to: &Answers) -> bool {
    loop {
        let told = tokio::select! {
            told = viewer.next() => told,
            () = to.closed() => return false,
        };
        let message = match told {
            Some(Told::Output(data)) => Answer::Output(data),
            Some(Told::Place(place)) => Answer::Place(Place {
                writes: place.writes,
                size: Some(TerminalSize { rows: place.size.rows.into(), columns: place.size.columns.into() }),
                viewers: u32::try_from(place.viewers).unwrap_or(u32::MAX),
            }),
            None => match viewer.end() {
                Some(end) => {
                    let end = ProgramEnd { code: end.code, failure: end.failure };
                    return to.send(Ok(answer(Answer::ProgramEnd(end)))).await.is_ok();
                }
                None => return true,
            },
        };
        if to.send(Ok(answer(message))).await.is_err() {
            return false;
        }
    }
}
