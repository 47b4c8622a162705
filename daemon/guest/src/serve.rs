//! The guest at work: its sockets, its calls, its end.

use crate::{
    call::{self, Connection},
    confine::Confinement,
    egress, probe,
    process::{
        reaper::{self, is_first},
        table::Table,
    },
    refusals::Refusals,
    service::Service,
    settings::Settings,
    terminate::Terminations,
};
use cordon_proto::guest::guest_server::GuestServer;
use rustix::{
    fs::Mode,
    process::{Signal, umask},
};
use std::{
    io,
    net::{Ipv4Addr, TcpListener},
    os::unix::net::UnixListener,
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::UnixStream,
    signal::unix::{SignalKind, signal},
    sync::{Mutex, mpsc, watch},
};
use tokio_stream::wrappers::ReceiverStream;

/// How long processes may take to end when they are asked to.
const GRACE: Duration = Duration::from_secs(2);
/// How long the last answers may take.
const FAREWELL: Duration = Duration::from_millis(200);
const STREAM_WINDOW: u32 = 256 << 10;
/// Large, so that streams that are not read do not hold up the others.
const CONNECTION_WINDOW: u32 = 16 << 20;
const STREAMS: u32 = 1024;

/// Whom the guest answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peers {
    /// Processes outside of its PID namespace: the daemon. An agent's processes have
    /// the same user id, but a number in here.
    Outside,
    /// Anyone: for tests, which have no namespace.
    #[cfg(test)]
    Any,
}

/// What was bound before the guest confined itself.
#[derive(Debug)]
pub(crate) struct Listeners {
    /// None: this guest calls.
    guest: Option<UnixListener>,
    proxy: Option<TcpListener>,
    forwards: Vec<(TcpListener, String)>,
}

/// Binds the guest's socket and the loopback ports that lead to egress.
pub(crate) fn bind(settings: &Settings) -> io::Result<Listeners> {
    let path = settings.directory.join("guest.sock");
    let bound = || bind_socket(&path).map_err(|error| named(&path.display().to_string(), error));
    let guest = if settings.call { None } else { Some(bound()?) };
    let forwards = settings.forwards.iter();
    let forwards: io::Result<_> =
        forwards.map(|(port, target)| Ok((bind_port(*port)?, target.clone()))).collect();
    Ok(Listeners { guest, proxy: settings.proxy_port.map(bind_port).transpose()?, forwards: forwards? })
}

fn named(what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("bind {what}: {error}"))
}

fn bind_socket(path: &Path) -> io::Result<UnixListener> {
    // Left by an earlier life of the same container.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let before = umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    umask(before);
    let listener = listener?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn bind_port(port: u16) -> io::Result<TcpListener> {
    let address = (Ipv4Addr::LOCALHOST, port);
    let bound = TcpListener::bind(address).map_err(|error| named(&format!("127.0.0.1:{port}"), error))?;
    bound.set_nonblocking(true)?;
    Ok(bound)
}

/// Serves until it is told to end; then nothing of the sandbox runs any more.
pub(crate) fn run(
    settings: Settings,
    confinement: Confinement,
    listeners: Listeners,
    peers: Peers,
    refusals: Arc<Refusals>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_keep_alive(Duration::from_secs(1))
        .build()?;
    runtime.block_on(serve(settings, confinement, listeners, peers, refusals))
}

pub(crate) async fn serve(
    settings: Settings,
    confinement: Confinement,
    listeners: Listeners,
    peers: Peers,
    refusals: Arc<Refusals>,
) -> io::Result<()> {
    let terminations = Terminations::new()?;
    let table = Arc::new(Table::new(settings.clone()));
    let reaping = tokio::spawn(reaper::run(Arc::clone(&table), signal(SignalKind::child())?));
    let tunnels = egress::start(&settings, listeners.proxy, listeners.forwards)?;
    let (connections, incoming) = mpsc::channel(4);
    let accepting = match listeners.guest {
        Some(guest) => tokio::spawn(accept(tokio::net::UnixListener::from_std(guest)?, peers, connections)),
        None => tokio::spawn(call::keep_calling(settings.directory.clone(), connections)),
    };
    let shutdown = watch::Sender::new(false);
    let mut asked = shutdown.subscribe();
    let service = Service {
        settings,
        confinement,
        table: Arc::clone(&table),
        shutdown,
        probing: Mutex::new(()),
        refusals,
    };
    let server = tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS)
        .add_service(GuestServer::new(service).max_decoding_message_size(probe::MOST_ASKED))
        .serve_with_incoming(ReceiverStream::new(incoming));
    let mut server = tokio::spawn(server);
    let result = tokio::select! {
        told = terminations.outside() => told,
        _ = asked.wait_for(|asked| *asked) => Ok(()),
        ended = &mut server => Err(io::Error::other(format!("the server ended: {ended:?}"))),
    };
    end_all(&table).await;
    // The last events are on their way out of this process.
    let _ = tokio::time::timeout(FAREWELL, &mut server).await;
    for task in [accepting.abort_handle(), reaping.abort_handle(), server.abort_handle()] {
        task.abort();
    }
    tunnels.iter().for_each(tokio::task::AbortHandle::abort);
    result
}

/// Asks every process to end, and ends those that do not.
async fn end_all(table: &Table) {
    table.signal_everyone(Signal::TERM);
    let gone = async {
        while !table.population().iter().all(|stat| stat.zombie) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(GRACE, gone).await.is_err() {
        table.signal_everyone(Signal::KILL);
    }
}

async fn accept(
    listener: tokio::net::UnixListener,
    peers: Peers,
    connections: mpsc::Sender<io::Result<Connection>>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if is_welcome(&stream, peers) && connections.send(Ok(stream.into())).await.is_err() {
                    return;
                }
            }
            // No descriptor is free: waiting costs nothing, looping would.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn is_welcome(stream: &UnixStream, peers: Peers) -> bool {
    match peers {
        // The kernel says 0 for a process that has no number in this namespace. When
        // this process is not the first one there is no namespace to tell by.
        Peers::Outside => is_first() && stream.peer_cred().is_ok_and(|peer| peer.pid() == Some(0)),
        #[cfg(test)]
        Peers::Any => true,
    }
}
