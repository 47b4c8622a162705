use super::{
    attach,
    caller::{Caller, agent_file, wall},
    exec, mcp,
};
use crate::status::of_run;
use cordon_proto::v1::{self, runs_server};
use cordon_runs::{JournalReader, RunError, Runs, StartRequest};
use std::path::PathBuf;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// Events that wait for a slow client; each has at most one piece of output.
const WAITING: usize = 8;

pub(crate) struct RunsService {
    pub(crate) runs: Runs,
    /// The daemon ends: watchers come back when another one is there.
    pub(crate) closing: CancellationToken,
}

#[tonic::async_trait]
impl runs_server::Runs for RunsService {
    async fn start_run(
        &self,
        request: Request<v1::StartRunRequest>,
    ) -> Result<Response<v1::StartRunResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let file = match request.agent_file {
            // The one that was kept, with these variables.
            file if !request.resume.is_empty() && file.as_ref().is_none_or(|f| f.content.is_empty()) => {
                file.unwrap_or_default()
            }
            file => agent_file(file)?,
        };
        let start = StartRequest {
            name: file.name,
            content: file.content.to_vec(),
            directory: PathBuf::from(file.directory),
            variables: file.variables.into_iter().collect(),
            prompt: request.prompt,
            agents: request.agents,
            wall: wall(&request.wall)?,
            from_snapshots: request.from_snapshots.into_iter().collect(),
            resume: request.resume,
            key: request.idempotency_key,
            owner: caller.owner().await?,
        };
        // A client that hangs up must not leave half an accepted run.
        let runs = self.runs.clone();
        let started = tokio::spawn(async move { runs.start(start).await }).await;
        let run = started.map_err(|_| Status::internal("the run could not be accepted"))?;
        Ok(Response::new(v1::StartRunResponse { run: Some(run.map_err(|e| of_run(&e))?) }))
    }

    async fn get_run(&self, request: Request<v1::GetRunRequest>) -> Result<Response<v1::Run>, Status> {
        let caller = Caller::of(&request)?;
        let run = self.runs.get(caller.uid, &request.into_inner().id).await;
        Ok(Response::new(run.map_err(|e| of_run(&e))?))
    }

    async fn list_runs(
        &self,
        request: Request<v1::ListRunsRequest>,
    ) -> Result<Response<v1::ListRunsResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(v1::ListRunsResponse { runs: self.runs.list(caller.uid).await }))
    }

    type WatchRunStream = ReceiverStream<Result<v1::Event, Status>>;

    async fn watch_run(
        &self,
        request: Request<v1::WatchRunRequest>,
    ) -> Result<Response<Self::WatchRunStream>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let reader = self.runs.watch(caller.uid, &request.id, request.from_seq).await;
        let (events, receiver) = mpsc::channel(WAITING);
        let reader = reader.map_err(|e| of_run(&e))?;
        let closing = self.closing.clone();
        tokio::spawn(async move {
            let gone = events.clone();
            tokio::select! {
                () = send(reader, request.follow, events) => {}
                () = closing.cancelled() => {
                    // A client that does not read is not waited for.
                    let _ = gone.try_send(Err(of_run(&RunError::ShuttingDown)));
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn stop_run(
        &self,
        request: Request<v1::StopRunRequest>,
    ) -> Result<Response<v1::StopRunResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let run = self.runs.stop(caller.uid, &request.id, &request.idempotency_key).await;
        Ok(Response::new(v1::StopRunResponse { run: Some(run.map_err(|e| of_run(&e))?) }))
    }

    async fn remove_run(
        &self,
        request: Request<v1::RemoveRunRequest>,
    ) -> Result<Response<v1::RemoveRunResponse>, Status> {
        let caller = Caller::of(&request)?;
        let v1::RemoveRunRequest { id, idempotency_key, remove_workspace } = request.into_inner();
        let removed = self.runs.remove(caller.uid, &id, &idempotency_key, remove_workspace).await;
        removed.map_err(|e| of_run(&e))?;
        Ok(Response::new(v1::RemoveRunResponse {}))
    }

    async fn get_run_file(
        &self,
        request: Request<v1::GetRunFileRequest>,
    ) -> Result<Response<v1::AgentFile>, Status> {
        let caller = Caller::of(&request)?;
        let file = self.runs.agent_file(caller.owns(), &request.into_inner().id).await;
        Ok(Response::new(file.map_err(|e| of_run(&e))?))
    }

    type ExecStream = ReceiverStream<Result<v1::RunExecResponse, Status>>;

    async fn exec(
        &self,
        request: Request<Streaming<v1::RunExecRequest>>,
    ) -> Result<Response<Self::ExecStream>, Status> {
        let caller = Caller::of(&request)?;
        exec::exec(&self.runs, caller, request.into_inner()).await
    }

    type McpStream = ReceiverStream<Result<v1::RunMcpResponse, Status>>;

    async fn mcp(
        &self,
        request: Request<Streaming<v1::RunMcpRequest>>,
    ) -> Result<Response<Self::McpStream>, Status> {
        let caller = Caller::of(&request)?;
        mcp::mcp(&self.runs, caller, request.into_inner()).await
    }

    type AttachStream = ReceiverStream<Result<v1::RunAttachResponse, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::RunAttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let caller = Caller::of(&request)?;
        attach::attach(&self.runs, caller, request.into_inner(), self.closing.clone()).await
    }
}

async fn send(mut reader: JournalReader, follow: bool, to: mpsc::Sender<Result<v1::Event, Status>>) {
    loop {
        let batch = tokio::select! {
            batch = reader.next(follow) => batch,
            () = to.closed() => return,
        };
        match batch {
            Ok(Some(events)) => {
                for mut event in events {
                    // The daemon's own, and as large as a conversation may be.
                    if let Some(v1::event::Kind::Conversation(said)) = &mut event.kind {
                        said.item.clear();
                    }
                    if to.send(Ok(event)).await.is_err() {
                        return;
                    }
                }
            }
            Ok(None) => return,
            Err(error) => {
                // Nobody is left to be told otherwise.
                let _ = to.send(Err(of_run(&error.into()))).await;
                return;
            }
        }
    }
}
