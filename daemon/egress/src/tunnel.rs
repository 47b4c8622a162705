use crate::{
    decision::denial,
    hello::{Hello, Seen},
    target::{Host, Target},
};
use bytes::Bytes;
use cordon_policy::Denial;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::{TcpStream, UnixStream},
    time::{Instant, sleep, timeout},
};

/// What one direction of one tunnel holds at most.
const BUFFER: usize = 16 * 1024;
/// TLS: fatal alert, unrecognized_name.
const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// When something last moved on a connection.
#[derive(Debug)]
pub(crate) struct Activity {
    start: Instant,
    last: AtomicU64,
}

impl Activity {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { start: Instant::now(), last: AtomicU64::new(0) })
    }

    fn touch(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// Returns when nothing has moved for so long.
    pub(crate) async fn quiet_for(&self, limit: Duration) {
        loop {
            let quiet =
                self.start.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)));
            match limit.checked_sub(quiet).filter(|left| !left.is_zero()) {
                Some(left) => sleep(left).await,
                None => return,
            }
        }
    }
}

/// The agent's side of a connection, observed.
#[derive(Debug)]
pub(crate) struct Tracked {
    inner: UnixStream,
    activity: Arc<Activity>,
}

impl Tracked {
    pub(crate) fn new(inner: UnixStream, activity: Arc<Activity>) -> Self {
        Self { inner, activity }
    }
}

impl AsyncRead for Tracked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.inner).poll_read(cx, buf));
        self.activity.touch();
        Poll::Ready(read)
    }
}

impl AsyncWrite for Tracked {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, buf));
        self.activity.touch();
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A tunnel that was promised with a 200.
pub(crate) struct Tunnel {
    pub(crate) upgrade: OnUpgrade,
    pub(crate) upstream: TcpStream,
    pub(crate) target: Target,
    /// Whether a TLS server name must agree with the target.
    pub(crate) names_must_agree: bool,
    /// How long a hello may take from its first byte.
    pub(crate) hello_time: Duration,
}

/// How a tunnel ended early.
enum End {
    Refused(Box<Denial>),
    Io,
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        // Either side going away is how tunnels end; there is nobody to tell.
        Self::Io
    }
}

impl Tunnel {
    /// Carries bytes until both sides have ended, one breaks, or a server name disagrees.
    pub(crate) async fn run(mut self) -> Option<Box<Denial>> {
        let upgraded: Upgraded = self.upgrade.await.ok()?;
        let parts = upgraded.downcast::<TokioIo<Tracked>>().ok()?;
        let Tracked { inner: mut client, activity } = parts.io.into_inner();
        let (mut from_client, mut to_client) = client.split();
        let (mut from_upstream, mut to_upstream) = self.upstream.split();
        let up = async {
            if self.names_must_agree {
                let hello =
                    inspect(&mut from_client, parts.read_buf, &self.target, self.hello_time, &activity);
                to_upstream.write_all(&hello.await?).await?;
            } else {
                to_upstream.write_all(&parts.read_buf).await?;
            }
            Ok(pump(&mut from_client, &mut to_upstream, &activity).await?)
        };
        let down = async { Ok(pump(&mut from_upstream, &mut to_client, &activity).await?) };
        match tokio::try_join!(up, down) {
            Err(End::Refused(refused)) => {
                // So that a client says why it failed, and does not just lose its line.
                let _ = to_client.write_all(&ALERT).await;
                let _ = to_client.shutdown().await;
                Some(refused)
            }
            Err(End::Io) | Ok(((), ())) => None,
        }
    }
}

async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    activity: &Activity,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = from.read(&mut buffer).await?;
        activity.touch();
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(buffer.get(..count).unwrap_or_default()).await?;
        activity.touch();
    }
}

/// Reads until it is clear whether a TLS server name disagrees with the target, and
/// gives back what was read. Only the client's direction waits for it.
async fn inspect(
    client: &mut (impl AsyncRead + Unpin),
    early: Bytes,
    target: &Target,
    time: Duration,
    activity: &Activity,
) -> Result<Vec<u8>, End> {
    let refuse = |why: String| End::Refused(Box::new(denial(target.to_string(), why, String::new())));
    let mut hello = Hello::default();
    let mut seen = hello.push(&early);
    let mut buffer = vec![0; 4096];
    let mut deadline = (!early.is_empty()).then(|| Instant::now() + time);
    while seen == Seen::More {
        let left = deadline.map_or(Duration::MAX, |d| d.saturating_duration_since(Instant::now()));
        let count = match timeout(left, client.read(&mut buffer)).await {
            Ok(count) => count?,
            Err(_) => return Err(refuse("the TLS hello did not arrive in time".to_owned())),
        };
        activity.touch();
        if count == 0 {
            break;
        }
        deadline.get_or_insert_with(|| Instant::now() + time);
        seen = hello.push(buffer.get(..count).unwrap_or_default());
    }
    match seen {
        // An end within a hello can hide nothing: no server answers a part of one.
        Seen::More | Seen::Other | Seen::Hello(None) => Ok(hello.into_bytes()),
        Seen::Hello(Some(name)) if Host::parse(&name).as_ref() == Ok(&target.host) => Ok(hello.into_bytes()),
        Seen::Hello(Some(name)) => {
            let name: String = name.chars().take(100).flat_map(char::escape_default).collect();
            Err(refuse(format!("the TLS server name `{name}` is not the host of the CONNECT request")))
        }
        Seen::Broken => Err(refuse("the connection begins like TLS and has no readable hello".to_owned())),
    }
}
