//! The socket: bound privately, and only for this user and root.

use crate::error::StartError;
use nix::unistd::Uid;
use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{UnixListener, UnixStream},
};
use tokio_stream::{Stream, wrappers::UnixListenerStream};
use tonic::transport::server::{Connected, UdsConnectInfo};

/// Binds the socket. Whoever holds the state directory's lock may replace a stale one;
/// a socket that somebody answers on is left alone.
pub(crate) fn bind(path: &Path) -> Result<UnixListener, StartError> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(StartError::Invalid(format!(
                    "another daemon answers on {path:?}. Stop it, or choose another --socket"
                )));
            }
            fs::remove_file(path).map_err(StartError::io("remove the stale socket", path))?;
        }
        Ok(_) => {
            return Err(StartError::Invalid(format!(
                "{path:?} is there and is no socket. Remove it, or choose another --socket"
            )));
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(StartError::io("look at", path)(e)),
    }
    // The umask makes it private from the first moment; this says so once more.
    let listener = UnixListener::bind(path).map_err(StartError::io("bind", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(StartError::io("close", path))?;
    Ok(listener)
}

/// Connections of this user and of root; all others are dropped unread.
pub(crate) fn incoming(
    listener: UnixListener,
    clients: Arc<AtomicUsize>,
) -> impl Stream<Item = io::Result<Client>> {
    use tokio_stream::StreamExt as _;
    let own = Uid::effective().as_raw();
    UnixListenerStream::new(listener).filter_map(move |stream| {
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => return Some(Err(error)),
        };
        match stream.peer_cred() {
            Ok(peer) if peer.uid() == own || peer.uid() == 0 => {
                clients.fetch_add(1, Ordering::Relaxed);
                Some(Ok(Client { stream, clients: clients.clone() }))
            }
            Ok(peer) => {
                tracing::warn!(uid = peer.uid(), "a connection of another user was refused");
                None
            }
            Err(error) => {
                tracing::warn!(%error, "a connection without credentials was refused");
                None
            }
        }
    })
}

/// One connection, counted while it is open.
#[derive(Debug)]
pub(crate) struct Client {
    stream: UnixStream,
    clients: Arc<AtomicUsize>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connected for Client {
    type ConnectInfo = UdsConnectInfo;

    fn connect_info(&self) -> UdsConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Client {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Client {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let first = bind(&path).unwrap();
        assert!(bind(&path).unwrap_err().to_string().contains("another daemon answers"));
        drop(first);
        let _second = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_file_in_the_way_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        fs::write(&path, "precious").unwrap();
        assert!(bind(&path).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }
}
