use cordon_proto::v1::{
    self as pb, Event, agents_client::AgentsClient, changes_client::ChangesClient, event::Kind,
    runs_client::RunsClient, snapshots_client::SnapshotsClient, system_client::SystemClient,
    workspaces_client::WorkspacesClient,
};
use hyper_util::rt::TokioIo;
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

/// Typed access to a daemon, for what the client's text does not show.
#[derive(Clone, Debug)]
pub struct Api {
    /// Runs.
    pub runs: RunsClient<Channel>,
    /// Agent files.
    pub agents: AgentsClient<Channel>,
    /// The daemon itself.
    pub system: SystemClient<Channel>,
    /// Stored trees.
    pub snapshots: SnapshotsClient<Channel>,
    /// What agents changed.
    pub changes: ChangesClient<Channel>,
    /// Agents' own trees.
    pub workspaces: WorkspacesClient<Channel>,
}

impl Api {
    /// Connects.
    ///
    /// # Panics
    /// When nobody answers.
    pub async fn connect(socket: &Path) -> Self {
        let socket: PathBuf = socket.to_path_buf();
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://cordond")
            .connect_with_connector(connector)
            .await
            .expect("connect to cordond");
        Self {
            runs: RunsClient::new(channel.clone()).max_decoding_message_size(64 << 20),
            agents: AgentsClient::new(channel.clone()),
            system: SystemClient::new(channel.clone()),
            snapshots: SnapshotsClient::new(channel.clone()),
            changes: ChangesClient::new(channel.clone()),
            workspaces: WorkspacesClient::new(channel),
        }
    }

    /// Every run, newest first or last as the daemon has it.
    ///
    /// # Panics
    /// When the call fails.
    pub async fn list(&mut self) -> Vec<pb::Run> {
        self.runs.list_runs(pb::ListRunsRequest {}).await.expect("list runs").into_inner().runs
    }

    /// The only run there is.
    ///
    /// # Panics
    /// When there is none or more.
    pub async fn only_run(&mut self) -> pb::Run {
        let runs = self.list().await;
        assert_eq!(runs.len(), 1, "{runs:?}");
        runs.into_iter().next().expect("one")
    }

    /// Every event of a run; with `follow` until it ends.
    ///
    /// # Panics
    /// When the call fails or a sequence number is missing.
    pub async fn events(&mut self, id: &str, follow: bool) -> Vec<Event> {
        let request = pb::WatchRunRequest { id: id.to_owned(), from_seq: 0, follow };
        let mut stream = self.runs.watch_run(request).await.expect("watch").into_inner();
        let mut events: Vec<Event> = Vec::new();
        while let Some(event) = stream.message().await.expect("watch") {
            assert_eq!(event.seq, events.len() as u64, "the journal has a gap");
            events.push(event);
        }
        events
    }

    /// The snapshots of a run, oldest first.
    ///
    /// # Panics
    /// When the call fails.
    pub async fn snapshots_of(&mut self, run: &str) -> Vec<pb::Snapshot> {
        let request = pb::ListSnapshotsRequest { run: run.to_owned(), agent: String::new() };
        let listed = self.snapshots.list_snapshots(request).await.expect("list snapshots");
        let mut all = listed.into_inner().snapshots;
        all.reverse();
        all
    }

    /// What the agents of a run changed, as text.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn diff_run(&mut self, request: pb::DiffRunRequest) -> Result<String, tonic::Status> {
        let mut stream = self.changes.diff_run(request).await?.into_inner();
        let mut text = Vec::new();
        while let Some(piece) = stream.message().await? {
            text.extend_from_slice(&piece.text);
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// How a snapshot differs from another, or from the tree as it is now.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn diff(&mut self, request: pb::DiffRequest) -> Result<String, tonic::Status> {
        let mut stream = self.snapshots.diff(request).await?.into_inner();
        let mut text = Vec::new();
        while let Some(piece) = stream.message().await? {
            text.extend_from_slice(&piece.text);
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// A file of a workspace or a snapshot.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn read_file(&mut self, name: &str, path: &str) -> Result<Vec<u8>, tonic::Status> {
        let path = path.as_bytes().to_vec().into();
        let request = pb::ReadFileRequest { name: name.to_owned(), path };
        let mut stream = self.workspaces.read_file(request).await?.into_inner();
        let mut all = Vec::new();
        while let Some(piece) = stream.message().await? {
            all.extend_from_slice(&piece.data);
        }
        Ok(all)
    }

    /// The paths in a workspace or a snapshot.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn tree(&mut self, name: &str) -> Result<Vec<String>, tonic::Status> {
        let request = pb::ListTreeRequest { name: name.to_owned(), path: Default::default(), depth: 0 };
        let mut stream = self.workspaces.list_tree(request).await?.into_inner();
        let mut all = Vec::new();
        while let Some(node) = stream.message().await? {
            all.push(String::from_utf8_lossy(&node.path).into_owned());
        }
        all.sort();
        Ok(all)
    }

    /// Waits for the first event that fits.
    ///
    /// # Panics
    /// When the run ends before it comes.
    pub async fn wait_for(&mut self, id: &str, mut fits: impl FnMut(&Event) -> bool) -> Event {
        let request = pb::WatchRunRequest { id: id.to_owned(), from_seq: 0, follow: true };
        let mut stream = self.runs.watch_run(request).await.expect("watch").into_inner();
        while let Some(event) = stream.message().await.expect("watch") {
            if fits(&event) {
                return event;
            }
        }
        panic!("the run ended before the event came");
    }
}

/// The denials among some events.
#[must_use]
pub fn denials(events: &[Event]) -> Vec<pb::Denial> {
    let pick = |e: &Event| match &e.kind {
        Some(Kind::Denial(denial)) => Some(denial.clone()),
        _ => None,
    };
    events.iter().filter_map(pick).collect()
}

/// What the agents said.
#[must_use]
pub fn messages(events: &[Event]) -> Vec<String> {
    let pick = |e: &Event| match &e.kind {
        Some(Kind::Message(message)) => Some(message.text.clone()),
        _ => None,
    };
    events.iter().filter_map(pick).collect()
}

/// The raw output of one stream, put together.
#[must_use]
pub fn output(events: &[Event], stream: pb::OutputStream) -> Vec<u8> {
    let mut all = Vec::new();
    for event in events {
        if let Some(Kind::Output(output)) = &event.kind
            && output.stream() == stream
        {
            all.extend_from_slice(&output.data);
        }
    }
    all
}

/// The end of a run.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn summary(events: &[Event]) -> pb::RunEnded {
    match events.last().and_then(|e| e.kind.clone()) {
        Some(Kind::RunEnded(ended)) => ended,
        other => panic!("the last event is not the end of the run but {other:?}"),
    }
}
