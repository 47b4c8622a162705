use crate::{
    args::{OnShutdown, Serve},
    error::StartError,
    places::Places,
    services::{
        About, AgentsService, ChangesService, ImagesService, LoginsService, REQUEST_LIMIT, RunsService,
        SnapshotsService, SystemService, WorkspacesService,
    },
    socket,
    walls::HostWalls,
};
use cordon_backends::LoginServers;
use cordon_proto::v1::{
    agents_server::AgentsServer, changes_server::ChangesServer, images_server::ImagesServer,
    logins_server::LoginsServer, runs_server::RunsServer, snapshots_server::SnapshotsServer,
    system_server::SystemServer, workspaces_server::WorkspacesServer,
};
use cordon_runs::{Options, Runs, plan::Host};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{OnceCell, mpsc, watch},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

/// Clients that still watch when the daemon ends are waited for no longer than this.
const GOODBYE: Duration = Duration::from_secs(2);

/// Serves until it is told to end.
pub(crate) async fn serve(args: Serve, places: Places) -> Result<(), StartError> {
    let walls = Arc::new(HostWalls::new(&places, args.docker_host.clone(), args.allow_host_network));
    let options = Options {
        host: Host {
            state: places.state.clone(),
            daemon: places.daemon.clone(),
            program_path: places.program_path.clone(),
        },
        journal_limit: args.journal_limit << 20,
        home_limit: args.home_limit << 20,
        snapshot_quota: args.snapshot_quota,
        bucket: args.bucket()?,
        login_servers: LoginServers {
            codex: args.codex_token_server.clone(),
            copilot: args.copilot_host.clone(),
        },
    };
    let runs =
        Runs::open(options, walls.clone()).map_err(StartError::io("open the runs in", &places.state))?;
    let listener = socket::bind(&places.socket)?;
    let clients = Arc::new(AtomicUsize::new(0));
    let (asked, mut asks) = mpsc::channel(1);
    let about =
        About { state: places.state.clone(), socket: places.socket.clone(), guest: places.guest.clone() };
    let system =
        SystemService { runs: runs.clone(), walls, about, shutdown: asked, guest_version: OnceCell::new() };

    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<RunsServer<RunsService>>().await;
    health.set_serving::<SnapshotsServer<SnapshotsService>>().await;
    health.set_serving::<ChangesServer<ChangesService>>().await;
    health.set_serving::<WorkspacesServer<WorkspacesService>>().await;
    health.set_serving::<LoginsServer<LoginsService>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(cordon_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|e| StartError::Invalid(format!("the protocol's own description is unusable: {e}")))?;

    let closing = CancellationToken::new();
    let (end, mut ended) = watch::channel(false);
    let server = Server::builder()
        // Output flows in pieces of 64 KiB: room for a few of them at once.
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .add_service(health_service)
        .add_service(reflection)
        .add_service(
            RunsServer::new(RunsService { runs: runs.clone(), closing: closing.clone() })
                .max_decoding_message_size(REQUEST_LIMIT),
        )
        .add_service(
            AgentsServer::new(AgentsService { runs: runs.clone() }).max_decoding_message_size(REQUEST_LIMIT),
        )
        .add_service(
            SnapshotsServer::new(SnapshotsService { runs: runs.clone() })
                .max_decoding_message_size(REQUEST_LIMIT),
        )
        .add_service(
            ChangesServer::new(ChangesService { runs: runs.clone() })
                .max_decoding_message_size(REQUEST_LIMIT),
        )
        .add_service(
            WorkspacesServer::new(WorkspacesService { runs: runs.clone() })
                .max_decoding_message_size(REQUEST_LIMIT),
        )
        .add_service(
            ImagesServer::new(ImagesService { docker_host: args.docker_host.clone() })
                .max_decoding_message_size(REQUEST_LIMIT),
        )
        .add_service(
            LoginsServer::new(LoginsService { runs: runs.clone() }).max_decoding_message_size(REQUEST_LIMIT),
        )
        .add_service(SystemServer::new(system).max_decoding_message_size(REQUEST_LIMIT))
        .serve_with_incoming_shutdown(socket::incoming(listener, clients.clone()), async move {
            // The sender lives in this function.
            let _ = ended.wait_for(|ended| *ended).await;
        });
    let mut server = tokio::spawn(server);
    tracing::info!(socket = ?places.socket, state = ?places.state, pid = std::process::id(), "ready");
    let recovering = tokio::spawn({
        let runs = runs.clone();
        async move { runs.recover().await }
    });

    let stop_runs = tokio::select! {
        stop = told(&mut asks, args.on_shutdown)? => stop,
        () = idle(&runs, &clients, args.idle_exit) => {
            tracing::info!("nobody needs this daemon any more");
            false
        }
        served = &mut server => {
            match served {
                Ok(result) => result?,
                Err(error) => return Err(StartError::Invalid(format!("the server failed: {error}"))),
            }
            args.on_shutdown == OnShutdown::Stop
        }
    };
    tracing::info!(stop_runs, "shutting down");
    recovering.abort();
    runs.shutdown(stop_runs).await;
    if !stop_runs {
        closing.cancel();
    }
    end.send_replace(true);
    if tokio::time::timeout(GOODBYE, &mut server).await.is_err() {
        server.abort();
    }
    // Not there any more for the next client. A new daemon's is not touched: it needs
    // the lock that this one still holds.
    if let Err(error) = std::fs::remove_file(&places.socket) {
        tracing::debug!(%error, "the socket was not removed");
    }
    tracing::info!("ended");
    Ok(())
}

/// Waits for a signal or a request; whether running agents are to be ended.
fn told(
    asks: &mut mpsc::Receiver<bool>,
    on_shutdown: OnShutdown,
) -> Result<impl Future<Output = bool> + '_, StartError> {
    let listen = |kind| signal(kind).map_err(StartError::io("listen for signals in", "/proc/self"));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => on_shutdown == OnShutdown::Stop,
            _ = interrupt.recv() => on_shutdown == OnShutdown::Stop,
            Some(stop) = asks.recv() => stop,
        }
    })
}

/// Ends when nobody has used the daemon for so many seconds.
async fn idle(runs: &Runs, clients: &AtomicUsize, after: Option<u64>) {
    let Some(after) = after else { return std::future::pending().await };
    let mut quiet = 0;
    while quiet < after {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let busy = runs.active() > 0 || clients.load(Ordering::Relaxed) > 0;
        quiet = if busy { 0 } else { quiet + 1 };
    }
}
