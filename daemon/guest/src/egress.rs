//! The way out: loopback ports whose bytes are carried over the sandbox's socket to
//! the daemon, which decides where they may go.

use crate::settings::Settings;
use std::{
    io,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional_with_sizes},
    net::{TcpStream, UnixStream},
    sync::Semaphore,
    task::AbortHandle,
};

/// Connections under way at once, over all ports.
const TUNNELS: usize = 512;
const BUFFER: usize = 16 << 10;
/// The largest answer to a CONNECT.
const HEAD: usize = 8 << 10;
/// How long that answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a client of the proxy is told when the daemon is away.
const AWAY: &[u8] = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nContent-Length: 43\r\n\
    Connection: close\r\n\r\nthe sandbox's egress proxy is not reachable";

/// Starts carrying.
pub(crate) fn start(
    settings: &Settings,
    proxy: Option<TcpListener>,
    forwards: Vec<(TcpListener, String)>,
) -> io::Result<Vec<AbortHandle>> {
    let permits = Arc::new(Semaphore::new(TUNNELS));
    let socket = settings.directory.join("egress.sock");
    let all = proxy.into_iter().map(|listener| (listener, None));
    let all = all.chain(forwards.into_iter().map(|(listener, target)| (listener, Some(target))));
    all.map(|(listener, target)| {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let task = tokio::spawn(listen(listener, socket.clone(), target, Arc::clone(&permits)));
        Ok(task.abort_handle())
    })
    .collect()
}

async fn listen(
    listener: tokio::net::TcpListener,
    socket: PathBuf,
    target: Option<String>,
    permits: Arc<Semaphore>,
) {
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let Ok((client, _)) = listener.accept().await else {
            // No descriptor is free: waiting costs nothing, looping would.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (socket, target) = (socket.clone(), target.clone());
        tokio::spawn(async move {
            // Either side's end is this connection's end; there is nobody to tell.
            let _ = match target {
                Some(target) => forward(client, &socket, &target).await,
                None => relay(client, &socket).await,
            };
            drop(permit);
        });
    }
}

async fn relay(mut client: TcpStream, socket: &Path) -> io::Result<()> {
    match UnixStream::connect(socket).await {
        Ok(daemon) => carry(client, daemon).await,
        Err(error) => {
            client.write_all(AWAY).await?;
            Err(error)
        }
    }
}

async fn forward(mut client: TcpStream, socket: &Path, target: &str) -> io::Result<()> {
    let mut daemon = UnixStream::connect(socket).await?;
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    daemon.write_all(request.as_bytes()).await?;
    let early = tokio::time::timeout(PATIENCE, answer(&mut daemon)).await??;
    client.write_all(&early).await?;
    carry(client, daemon).await
}

/// Reads the head of the answer; gives back what came after it.
async fn answer(daemon: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(1024);
    loop {
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            let early = head.split_off(end + 4);
            let granted = head.starts_with(b"HTTP/1.1 200 ") || head.starts_with(b"HTTP/1.0 200 ");
            return if granted { Ok(early) } else { Err(io::ErrorKind::PermissionDenied.into()) };
        }
        if head.len() >= HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut piece = [0; 1024];
        let count = daemon.read(&mut piece).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&piece[..count]);
    }
}

async fn carry(mut client: TcpStream, mut daemon: UnixStream) -> io::Result<()> {
    // An end on one side is passed on as such: the other direction goes on.
    copy_bidirectional_with_sizes(&mut client, &mut daemon, BUFFER, BUFFER).await.map(drop)
}
