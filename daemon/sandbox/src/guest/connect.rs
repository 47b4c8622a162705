//! Finding the guest's socket. The sandbox's own processes may be able to replace
//! it, so it is opened without following links and the peer is checked before a
//! byte is sent.

use super::{Guest, MESSAGE_LIMIT};
use crate::SandboxError;
use cordon_proto::guest::guest_client::GuestClient;
use hyper_util::rt::TokioIo;
use rustix::{
    fd::{AsRawFd, OwnedFd},
    fs::{CWD, FileType, Mode, OFlags, fstat, openat},
};
use std::{io, path::Path, sync::Arc, time::Duration};
use tokio::net::UnixStream;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint, Uri};

const SOCKET: &str = "guest.sock";
/// What one process's stream may have under way.
const STREAM_WINDOW: u32 = 256 << 10;
/// Streams share this: large, so that readers who stopped do not stop the others.
const CONNECTION_WINDOW: u32 = 64 << 20;
const POLL: Duration = Duration::from_millis(2);

impl Guest {
    /// Connects to the guest whose sockets are in `directory`, waiting up to ten
    /// seconds for it to listen. See [`Guest::connect_within`].
    ///
    /// # Errors
    /// As there.
    pub async fn connect(
        sandbox: &str,
        directory: &Path,
        expected_pid: Option<i32>,
    ) -> Result<Self, SandboxError> {
        Self::connect_within(sandbox, directory, expected_pid, Duration::from_secs(10)).await
    }

    /// Connects to the guest whose sockets are in `directory`, waiting at most `limit`
    /// for it to listen. With `expected_pid` the listener must be that process, now
    /// and whenever the connection has to be made again.
    ///
    /// # Errors
    /// When nothing listens in time, or something else does.
    pub async fn connect_within(
        sandbox: &str,
        directory: &Path,
        expected_pid: Option<i32>,
        limit: Duration,
    ) -> Result<Self, SandboxError> {
        let deadline = Instant::now() + limit;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(CWD, directory, flags, Mode::empty());
        let opened = opened.map_err(io::Error::from);
        let opened = Arc::new(opened.map_err(SandboxError::io("open the guest's directory", directory))?);
        loop {
            match channel(Arc::clone(&opened), expected_pid).await {
                Ok(channel) => {
                    return Ok(guest(sandbox, channel));
                }
                Err(error) if is_early(&error) && Instant::now() < deadline => {
                    tokio::time::sleep(POLL).await;
                }
                Err(error) => {
                    let why = format!("cannot connect to {SOCKET} in {}: {error}", directory.display());
                    return Err(SandboxError::Guest { sandbox: sandbox.to_owned(), why });
                }
            }
        }
    }
}

/// Not there yet, not listening yet, or too many connections waiting.
fn is_early(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::WouldBlock
    )
}

async fn channel(directory: Arc<OwnedFd>, expected_pid: Option<i32>) -> io::Result<Channel> {
    let first = open(&directory, expected_pid).await?;
    let mut first = Some(first);
    let connector = tower::service_fn(move |_: Uri| {
        let (directory, ready) = (Arc::clone(&directory), first.take());
        async move {
            let stream = match ready {
                Some(stream) => stream,
                None => open(&directory, expected_pid).await?,
            };
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    });
    endpoint().connect_with_connector(connector).await.map_err(io::Error::other)
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::from_static("http://guest")
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
}

pub(super) fn guest(sandbox: &str, channel: Channel) -> Guest {
    let client = GuestClient::new(channel).max_decoding_message_size(MESSAGE_LIMIT);
    Guest { sandbox: sandbox.to_owned(), client }
}

async fn open(directory: &OwnedFd, expected_pid: Option<i32>) -> io::Result<UnixStream> {
    let socket = openat(directory, SOCKET, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&socket)?.st_mode) != FileType::Socket {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a socket"));
    }
    // Through the descriptor: exactly the object just looked at, however long its path.
    let stream = UnixStream::connect(format!("/proc/self/fd/{}", socket.as_raw_fd())).await?;
    if let Some(expected) = expected_pid {
        let found = stream.peer_cred()?.pid();
        if found != Some(expected) {
            let why = format!("process {found:?} listens there, not the guest, which is {expected}");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::{fs::symlink, net::UnixListener};

    async fn failure(directory: &Path, pid: Option<i32>) -> String {
        let limit = Duration::from_millis(20);
        Guest::connect_within("s1", directory, pid, limit).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_link_in_place_of_the_socket_is_not_followed() {
        let outside = tempfile::tempdir().unwrap();
        let inside = tempfile::tempdir().unwrap();
        let _listener = UnixListener::bind(outside.path().join("other.sock")).unwrap();
        symlink(outside.path().join("other.sock"), inside.path().join(SOCKET)).unwrap();
        assert!(failure(inside.path(), None).await.contains("not a socket"));
    }

    #[tokio::test]
    async fn another_listener_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let _listener = UnixListener::bind(directory.path().join(SOCKET)).unwrap();
        assert!(failure(directory.path(), Some(1)).await.contains("not the guest"));
    }

    #[tokio::test]
    async fn nobody_listening_is_an_error_in_time() {
        let directory = tempfile::tempdir().unwrap();
        assert!(failure(directory.path(), None).await.contains("cannot connect"));
    }
}
