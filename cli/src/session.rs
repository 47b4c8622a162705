//! One connection to the daemon.

use crate::{args::Global, error::CliError, launch, progress, socket::Socket};
use cordon_proto::v1::{
    VersionRequest, agents_client::AgentsClient, changes_client::ChangesClient, images_client::ImagesClient,
    logins_client::LoginsClient, runs_client::RunsClient, snapshots_client::SnapshotsClient,
    system_client::SystemClient, workspaces_client::WorkspacesClient,
};
use hyper_util::rt::TokioIo;
use nix::unistd::Uid;
use std::{io, path::PathBuf, time::Duration};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

/// Listings of many runs are large; events are bounded by the daemon.
const MAX_MESSAGE: usize = 64 << 20;

/// A daemon that answered.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    channel: Channel,
    socket: Socket,
    state_dir: Option<PathBuf>,
    start: bool,
}

impl Session {
    /// Connects; starts a daemon of this user's when none answers and that was not forbidden.
    pub(crate) async fn open(global: &Global) -> Result<Self, CliError> {
        let socket = Socket::choose(global.socket.clone())?;
        let session = Self {
            channel: channel(&socket)?,
            socket,
            state_dir: global.state_dir.clone(),
            start: !global.no_start,
        };
        session.ensure(session.start).await?;
        session.compare_versions().await?;
        Ok(session)
    }

    /// Makes sure that somebody trustworthy listens.
    pub(crate) async fn ensure(&self, start: bool) -> Result<(), CliError> {
        self.socket.check_directory()?;
        match dial(&self.socket).await {
            Ok(_) => Ok(()),
            Err(e)
                if start
                    && matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                launch::start(&self.socket, self.state_dir.as_deref()).await
            }
            // Not the system's refusal but the one of `dial`.
            Err(e) if e.raw_os_error().is_none() => {
                Err(CliError::Unsafe { path: self.socket.path.clone(), why: e.to_string() })
            }
            Err(source) => Err(CliError::NoDaemon { socket: self.socket.path.clone(), source }),
        }
    }

    /// The same, after the daemon went away: started again only where that is allowed.
    pub(crate) async fn again(&self) -> Result<(), CliError> {
        self.ensure(self.start).await
    }

    async fn compare_versions(&self) -> Result<(), CliError> {
        let daemon = progress::during("waiting for the daemon", self.system().version(VersionRequest {}))
            .await?
            .into_inner()
            .version;
        if daemon != env!("CARGO_PKG_VERSION") {
            eprintln!(
                "cordon: this client is {} and the daemon is {}; restart the daemon, or use the client that belongs to it",
                env!("CARGO_PKG_VERSION"),
                crate::neutral::word(&daemon)
            );
        }
        Ok(())
    }

    /// Waits until nobody listens any more, or for half a minute.
    pub(crate) async fn gone(&self) {
        let mut looks = 0;
        while looks < 600 && dial(&self.socket).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            looks += 1;
        }
    }

    pub(crate) fn runs(&self) -> RunsClient<Channel> {
        RunsClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    pub(crate) fn agents(&self) -> AgentsClient<Channel> {
        AgentsClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    pub(crate) fn snapshots(&self) -> SnapshotsClient<Channel> {
        SnapshotsClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    pub(crate) fn changes(&self) -> ChangesClient<Channel> {
        ChangesClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    pub(crate) fn workspaces(&self) -> WorkspacesClient<Channel> {
        WorkspacesClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    pub(crate) fn images(&self) -> ImagesClient<Channel> {
        ImagesClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    pub(crate) fn logins(&self) -> LoginsClient<Channel> {
        LoginsClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    pub(crate) fn system(&self) -> SystemClient<Channel> {
        SystemClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }
}

fn channel(socket: &Socket) -> Result<Channel, CliError> {
    let socket = socket.clone();
    // The connector ignores the address; HTTP/2 needs some authority.
    let endpoint = Endpoint::try_from("http://cordond")
        .map_err(|e| CliError::Input(format!("cannot make a connection: {e}")))?
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(8 << 20);
    Ok(endpoint.connect_with_connector_lazy(tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { dial(&socket).await.map(TokioIo::new) }
    })))
}

/// Every connection is checked, the ones made again too.
pub(crate) async fn dial(socket: &Socket) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(&socket.path).await?;
    let listener = stream.peer_cred()?.uid();
    if socket.default && listener != 0 && listener != Uid::effective().as_raw() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("user {listener} listens there, who is neither you nor root"),
        ));
    }
    Ok(stream)
}
