//! A daemon for the client's tests: it says what it was told to say, and remembers what it was asked.

// Each test program uses its part.
#![allow(dead_code)]

pub mod logins;
pub mod terminal;
pub mod trees;

use cordon_proto::v1::{
    agents_server::{Agents, AgentsServer},
    changes_server::ChangesServer,
    images_server::{Images, ImagesServer},
    logins_server::LoginsServer,
    run_exec_request::Message as ExecRequest,
    run_exec_response::{ExecExit, Message as ExecAnswer},
    runs_server::{Runs, RunsServer},
    snapshots_server::SnapshotsServer,
    system_server::{System, SystemServer},
    workspaces_server::WorkspacesServer,
    *,
};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    pin::Pin,
    process::Output,
    sync::{Arc, Mutex},
};
use tokio::{net::UnixListener, sync::Notify};
use tokio_stream::{Stream, StreamExt as _, wrappers::UnixListenerStream};
use tonic::{Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt as _};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[derive(Default)]
pub struct State {
    pub version: String,
    pub events: Vec<Event>,
    /// The first watch breaks after so many events.
    pub break_after: Option<usize>,
    /// The run goes on until it is stopped.
    pub endless: bool,
    pub problems: Vec<Problem>,
    pub variables: Vec<String>,
    pub asked_validate: Vec<AgentFile>,
    pub asked_start: Vec<StartRunRequest>,
    pub asked_watch: Vec<WatchRunRequest>,
    pub asked_stop: Vec<StopRunRequest>,
    pub asked_exec: Vec<run_exec_request::Open>,
    pub asked_mcp: Vec<run_mcp_request::Open>,
    /// What a difference reads, instead of something evil; empty: there is none.
    pub diff: Option<String>,
    /// What the agent changed, and what it will be found to have changed while it is applied.
    pub changes: Vec<PlannedChange>,
    pub changes_meanwhile: Option<Vec<PlannedChange>>,
    /// Of an agent file.
    pub agents: Vec<String>,
    pub faulty: bool,
    pub asked_diff_run: Vec<DiffRunRequest>,
    pub asked_diff: Vec<DiffRequest>,
    pub asked_plan: Vec<PlanApplyRequest>,
    pub asked_apply: Vec<ApplyRequest>,
    pub asked_list: Vec<ListSnapshotsRequest>,
    pub asked_restore: Vec<RestoreRequest>,
    pub asked_remove: Vec<RemoveSnapshotsRequest>,
    pub asked_import: Vec<ImportRequest>,
    pub asked_push: Vec<PushSnapshotsRequest>,
    pub asked_collect: Vec<CollectGarbageRequest>,
    pub asked_tree: Vec<ListTreeRequest>,
    pub asked_login: Vec<login_request::Open>,
    pub kept_keys: Vec<KeepKeyRequest>,
    /// How many requests to start are answered as if the connection broke.
    pub refuse_starts: usize,
}

#[derive(Clone, Default)]
pub struct Double {
    pub state: Arc<Mutex<State>>,
    stopped: Arc<Notify>,
}

/// A double that listens, and a directory for the test.
pub struct Host {
    pub double: Double,
    pub dir: tempfile::TempDir,
}

impl Host {
    pub fn new(state: State) -> Self {
        let double = Double { state: Arc::new(Mutex::new(state)), stopped: Arc::default() };
        let host = Self { double, dir: tempfile::tempdir().unwrap() };
        let listener = UnixListener::bind(host.socket()).unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(RunsServer::new(host.double.clone()))
            .add_service(AgentsServer::new(host.double.clone()))
            .add_service(ImagesServer::new(host.double.clone()))
            .add_service(SystemServer::new(host.double.clone()))
            .add_service(SnapshotsServer::new(host.double.clone()))
            .add_service(ChangesServer::new(host.double.clone()))
            .add_service(WorkspacesServer::new(host.double.clone()))
            .add_service(LoginsServer::new(host.double.clone()))
            .serve_with_incoming(UnixListenerStream::new(listener));
        tokio::spawn(server);
        host
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    pub fn command(&self) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_cordon"));
        command.env_clear().env("CORDON_SOCKET", self.socket()).current_dir(self.path()).kill_on_drop(true);
        command
    }

    pub async fn cordon(&self, args: &[&str]) -> Output {
        self.command().args(args).stdin(std::process::Stdio::null()).output().await.unwrap()
    }

    pub fn look<T>(&self, at: impl FnOnce(&mut State) -> T) -> T {
        at(&mut self.double.state.lock().unwrap())
    }
}

/// Standard output, standard error and the exit code.
pub fn text(output: &Output) -> (String, String, i32) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr), output.status.code().unwrap())
}

pub fn event(seq: u64, kind: event::Kind) -> Event {
    Event { seq, time_unix_ms: 1, agent: "a".into(), kind: Some(kind) }
}

pub fn message(seq: u64, text: &str) -> Event {
    event(seq, event::Kind::Message(MessageEvent { text: text.into() }))
}

pub fn ended(seq: u64, outcome: Outcome) -> Event {
    let summary = Some(RunSummary { wall_ms: 5, ..RunSummary::default() });
    event(seq, event::Kind::RunEnded(RunEnded { outcome: outcome.into(), summary }))
}

fn the_run() -> Run {
    Run {
        id: "0199-run".into(),
        state: RunState::Running.into(),
        title: "fix\u{1b}[2J it".into(),
        agents: vec![RunAgent { id: "a".into(), ..RunAgent::default() }],
        ..Run::default()
    }
}

impl Double {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

#[tonic::async_trait]
impl Runs for Double {
    async fn start_run(
        &self,
        request: Request<StartRunRequest>,
    ) -> Result<Response<StartRunResponse>, Status> {
        let mut state = self.state();
        state.asked_start.push(request.into_inner());
        if state.refuse_starts > 0 {
            state.refuse_starts -= 1;
            return Err(Status::unavailable("going away"));
        }
        Ok(Response::new(StartRunResponse { run: Some(the_run()) }))
    }

    async fn get_run(&self, request: Request<GetRunRequest>) -> Result<Response<Run>, Status> {
        let id = request.into_inner().id;
        if !"0199-run".starts_with(&id) {
            let mut details = ErrorDetails::new();
            details
                .set_error_info("no-such-run", "cordon", HashMap::from([("run".to_owned(), id.clone())]))
                .add_help_link("`cordon ps -a` lists the runs", "");
            let message = format!("there is no run {id}");
            return Err(Status::with_error_details(tonic::Code::NotFound, message, details));
        }
        Ok(Response::new(the_run()))
    }

    async fn list_runs(&self, _: Request<ListRunsRequest>) -> Result<Response<ListRunsResponse>, Status> {
        let old = Run { id: "0198-old".into(), state: RunState::Ended.into(), ..the_run() };
        Ok(Response::new(ListRunsResponse { runs: vec![the_run(), old] }))
    }

    type WatchRunStream = Answers<Event>;
    async fn watch_run(&self, request: Request<WatchRunRequest>) -> Result<Response<Answers<Event>>, Status> {
        let request = request.into_inner();
        let mut state = self.state();
        state.asked_watch.push(request.clone());
        let events: Vec<_> =
            state.events.iter().filter(|e| e.seq >= request.from_seq).cloned().map(Ok).collect();
        if let Some(most) = state.break_after.take() {
            let broken = tokio_stream::once(Err(Status::unavailable("the daemon goes away")));
            return Ok(Response::new(Box::pin(tokio_stream::iter(events).take(most).chain(broken))));
        }
        if state.endless && request.follow {
            let stopped = self.stopped.clone();
            let (send, end) = tokio::sync::mpsc::channel(1);
            tokio::spawn(async move {
                stopped.notified().await;
                let _ = send.send(Ok(ended(100, Outcome::Cancelled))).await;
            });
            let end = tokio_stream::wrappers::ReceiverStream::new(end);
            return Ok(Response::new(Box::pin(tokio_stream::iter(events).chain(end))));
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(events))))
    }

    async fn stop_run(&self, request: Request<StopRunRequest>) -> Result<Response<StopRunResponse>, Status> {
        self.state().asked_stop.push(request.into_inner());
        self.stopped.notify_one();
        Ok(Response::new(StopRunResponse { run: Some(the_run()) }))
    }

    async fn get_run_file(&self, _: Request<GetRunFileRequest>) -> Result<Response<AgentFile>, Status> {
        Ok(Response::new(AgentFile { name: "a.yaml".into(), directory: "/".into(), ..AgentFile::default() }))
    }

    async fn remove_run(&self, _: Request<RemoveRunRequest>) -> Result<Response<RemoveRunResponse>, Status> {
        Err(Status::failed_precondition("the run has not ended"))
    }

    type ExecStream = Answers<RunExecResponse>;
    /// Says its arguments, then gives back what it is given, and ends with 7.
    async fn exec(
        &self,
        request: Request<Streaming<RunExecRequest>>,
    ) -> Result<Response<Answers<RunExecResponse>>, Status> {
        let mut requests = request.into_inner();
        let Some(ExecRequest::Open(open)) = requests.message().await?.and_then(|m| m.message) else {
            return Err(Status::invalid_argument("the first message is not Open"));
        };
        self.state().asked_exec.push(open.clone());
        let (send, answers) = tokio::sync::mpsc::channel(16);
        tokio::spawn(async move {
            let say = |data: Vec<u8>| RunExecResponse {
                message: Some(ExecAnswer::Output(OutputEvent {
                    data: data.into(),
                    ..OutputEvent::default()
                })),
            };
            let _ = send.send(Ok(say(open.argv.concat()))).await;
            while let Ok(Some(RunExecRequest { message: Some(ExecRequest::Stdin(data)) })) =
                requests.message().await
            {
                let _ = send.send(Ok(say(data.to_vec()))).await;
            }
            let exit = ExecAnswer::Exit(ExecExit { code: 7, failure: String::new() });
            let _ = send.send(Ok(RunExecResponse { message: Some(exit) })).await;
        });
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(answers))))
    }

    type AttachStream = Answers<RunAttachResponse>;
    async fn attach(
        &self,
        _: Request<Streaming<RunAttachRequest>>,
    ) -> Result<Response<Answers<RunAttachResponse>>, Status> {
        Err(Status::failed_precondition("the run has no terminal"))
    }

    type McpStream = Answers<RunMcpResponse>;
    /// Gives back what it is given, and ends the run with the stream.
    async fn mcp(
        &self,
        request: Request<Streaming<RunMcpRequest>>,
    ) -> Result<Response<Answers<RunMcpResponse>>, Status> {
        use run_mcp_request::Message as Said;
        use run_mcp_response::Message as Told;
        let mut requests = request.into_inner();
        let Some(Said::Open(open)) = requests.message().await?.and_then(|m| m.message) else {
            return Err(Status::invalid_argument("the first message is not Open"));
        };
        self.state().asked_mcp.push(open);
        let (send, answers) = tokio::sync::mpsc::channel(16);
        tokio::spawn(async move {
            let tell = |message| Ok(RunMcpResponse { message: Some(message) });
            let _ = send.send(tell(Told::Run(the_run()))).await;
            while let Ok(Some(RunMcpRequest { message: Some(Said::Data(data)) })) = requests.message().await {
                let _ = send.send(tell(Told::Data(data))).await;
            }
            let ended = Run { state: RunState::Ended.into(), outcome: Outcome::Success.into(), ..the_run() };
            let _ = send.send(tell(Told::Run(ended))).await;
        });
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(answers))))
    }
}

#[tonic::async_trait]
impl Agents for Double {
    async fn validate(
        &self,
        request: Request<ValidateRequest>,
    ) -> Result<Response<ValidateResponse>, Status> {
        let mut state = self.state();
        state.asked_validate.push(request.into_inner().agent_file.unwrap_or_default());
        Ok(Response::new(ValidateResponse {
            valid: !state.problems.iter().any(|p| p.severity == "error"),
            problems: state.problems.clone(),
            variables: state.variables.clone(),
            agents: if state.agents.is_empty() { vec!["a".into()] } else { state.agents.clone() },
            models: Vec::new(),
        }))
    }

    async fn schema(&self, _: Request<SchemaRequest>) -> Result<Response<SchemaResponse>, Status> {
        Ok(Response::new(SchemaResponse { json: "{\"type\":\"object\"}".into() }))
    }

    async fn list_backends(
        &self,
        _: Request<ListBackendsRequest>,
    ) -> Result<Response<ListBackendsResponse>, Status> {
        let codex = BackendInfo { r#type: "codex".into(), kind: "program".into(), ..BackendInfo::default() };
        Ok(Response::new(ListBackendsResponse { backends: vec![codex] }))
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        let row = |path: &String| ExplainRow {
            agent: "a".into(),
            path: path.clone(),
            access: "none".into(),
            rule: "no rule allows this path".into(),
            origin: "built in".into(),
            layer: "mount view".into(),
            ..ExplainRow::default()
        };
        Ok(Response::new(ExplainResponse { rows: request.into_inner().paths.iter().map(row).collect() }))
    }
}

#[tonic::async_trait]
impl Images for Double {
    async fn list_images(
        &self,
        _: Request<ListImagesRequest>,
    ) -> Result<Response<ListImagesResponse>, Status> {
        let missing = Image { name: "cordon/base".into(), state: "missing".into(), ..Image::default() };
        let present = Image {
            name: "cordon/codex:latest".into(),
            state: "present".into(),
            id: "sha256:0123456789abcdef".into(),
            size_bytes: 760_000_000,
            versions: [("codex".to_owned(), "1.2.3".to_owned())].into(),
            unpinned: vec!["codex".into()],
            used_by: vec!["run1/a\u{1b}[2J".into()],
            used_by_others: 2,
            ..Image::default()
        };
        Ok(Response::new(ListImagesResponse { images: vec![missing, present] }))
    }

    async fn prune_images(
        &self,
        _: Request<PruneImagesRequest>,
    ) -> Result<Response<PruneImagesResponse>, Status> {
        Ok(Response::new(PruneImagesResponse { removed: vec!["cordon/derived:1".into()] }))
    }

    type BuildImageStream = Answers<BuildImageResponse>;
    async fn build_image(
        &self,
        request: Request<BuildImageRequest>,
    ) -> Result<Response<Answers<BuildImageResponse>>, Status> {
        let request = request.into_inner();
        let line = format!("authority of {} bytes\u{1b}[2J\n", request.ca_certificate.len());
        let lines = [
            Ok(BuildImageResponse { image: "base".into(), line, done: false }),
            Ok(BuildImageResponse { image: "base".into(), line: String::new(), done: true }),
        ];
        Ok(Response::new(Box::pin(tokio_stream::iter(lines))))
    }
}

#[tonic::async_trait]
impl System for Double {
    async fn version(&self, _: Request<VersionRequest>) -> Result<Response<VersionResponse>, Status> {
        let version = self.state().version.clone();
        let version = if version.is_empty() { env!("CARGO_PKG_VERSION").to_owned() } else { version };
        Ok(Response::new(VersionResponse { version, ..VersionResponse::default() }))
    }

    async fn doctor(&self, _: Request<DoctorRequest>) -> Result<Response<DoctorResponse>, Status> {
        let check =
            DoctorCheck { name: "landlock".into(), state: "missing".into(), ..DoctorCheck::default() };
        Ok(Response::new(DoctorResponse { checks: vec![check] }))
    }

    async fn doctor_inside(
        &self,
        request: Request<DoctorInsideRequest>,
    ) -> Result<Response<DoctorInsideResponse>, Status> {
        let finding = |ok| ProbeFinding { check: "shadow".into(), ok, ..ProbeFinding::default() };
        Ok(Response::new(DoctorInsideResponse {
            agent: "a".into(),
            wall: request.into_inner().wall,
            findings: vec![finding(true), finding(false)],
            probe_json: "{\"uid\":7}".into(),
        }))
    }

    async fn shutdown(&self, _: Request<ShutdownRequest>) -> Result<Response<ShutdownResponse>, Status> {
        Ok(Response::new(ShutdownResponse {}))
    }
}
