//! Calling the daemon, where it cannot call: gVisor shows the host no socket that is bound
//! inside. Its directory is read-only here, so nobody inside stands in for the daemon; and
//! whoever calls first, before anything of the agent's runs, gets the key that every later
//! call has to bring. It lives in this process's memory alone.

use std::{
    io,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::UnixStream,
    sync::{mpsc, oneshot},
    time::Instant,
};
use tonic::transport::server::Connected;

/// Where the daemon listens, in the guest's directory.
pub(crate) const SOCKET: &str = "daemon.sock";
/// What a caller says first: whether it asks for a key or brings one.
const NEW: u8 = 0;
const AGAIN: u8 = 1;
const KEY: usize = 32;
/// Between two calls when the daemon is away, or hangs up at once.
const PAUSE: Duration = Duration::from_millis(200);

/// A connection with the daemon, whoever called.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    // Dropped with it: then the next call is due.
    _held: Option<oneshot::Sender<()>>,
}

impl From<UnixStream> for Connection {
    fn from(stream: UnixStream) -> Self {
        Self { stream, _held: None }
    }
}

/// Calls the daemon, and again whenever the connection is gone.
pub(crate) async fn keep_calling(
    directory: std::path::PathBuf,
    connections: mpsc::Sender<io::Result<Connection>>,
) {
    let socket = directory.join(SOCKET);
    let mut key = None;
    loop {
        let begun = Instant::now();
        if let Ok(stream) = call(&socket, &mut key).await {
            let (held, gone) = oneshot::channel();
            if connections.send(Ok(Connection { stream, _held: Some(held) })).await.is_err() {
                return;
            }
            let _ = gone.await;
        }
        tokio::time::sleep_until(begun + PAUSE).await;
    }
}

async fn call(socket: &Path, key: &mut Option<[u8; KEY]>) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket).await?;
    match key {
        Some(known) => {
            stream.write_all(&[AGAIN]).await?;
            stream.write_all(known).await?;
        }
        None => {
            stream.write_all(&[NEW]).await?;
            let mut given = [0; KEY];
            stream.read_exact(&mut given).await?;
            *key = Some(given);
        }
    }
    Ok(stream)
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixListener;

    async fn heard(listener: &UnixListener, answer: &[u8]) -> (UnixStream, Vec<u8>) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut first = vec![0; 1];
        stream.read_exact(&mut first).await.unwrap();
        if first == [AGAIN] {
            first.resize(1 + KEY, 0);
            stream.read_exact(&mut first[1..]).await.unwrap();
        }
        stream.write_all(answer).await.unwrap();
        (stream, first)
    }

    #[tokio::test]
    async fn the_key_of_the_first_call_is_brought_to_every_later_one() {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join(SOCKET)).unwrap();
        let (connections, mut incoming) = mpsc::channel(1);
        let calling = tokio::spawn(keep_calling(directory.path().to_path_buf(), connections));
        let (first, said) = heard(&listener, &[7; KEY]).await;
        assert_eq!(said, [NEW]);
        let mut connection = incoming.recv().await.unwrap().unwrap();
        drop(first);
        assert_eq!(connection.read(&mut [0; 1]).await.unwrap(), 0);
        drop(connection);
        // The daemon starts again, at the same place.
        drop(listener);
        std::fs::remove_file(directory.path().join(SOCKET)).unwrap();
        let listener = UnixListener::bind(directory.path().join(SOCKET)).unwrap();
        let (mut second, said) = heard(&listener, b"x").await;
        assert_eq!(said, [&[AGAIN][..], &[7; KEY]].concat());
        let mut connection = incoming.recv().await.unwrap().unwrap();
        connection.write_all(b"y").await.unwrap();
        let mut got = [0; 1];
        connection.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"x");
        second.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"y");
        calling.abort();
    }
}
