//! Being called by a guest that cannot be called: in gVisor no socket that is bound inside is
//! seen here. The socket stands in a directory that the sandbox has read-only. Everybody inside
//! may call; the first caller, before anything of the agent's runs, is the guest and gets a
//! key, and every later one has to bring it. Kept of the key is its hash alone.

use super::{Guest, connect};
use crate::{Identity, SandboxError, directory::Directory};
use hyper_util::rt::TokioIo;
use std::{io, path::Path, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::{Mutex, Semaphore, mpsc},
    task::JoinHandle,
};

/// In the sandbox's directory.
const SOCKET: &str = "daemon.sock";
const NEW: u8 = 0;
const AGAIN: u8 = 1;
const KEY: usize = 32;
/// Callers that are heard at once, and for how long.
const CALLERS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(5);

/// What a guest's calls are known by. The key itself goes to the guest and is then forgotten.
pub(crate) struct Key {
    secret: [u8; KEY],
}

impl Key {
    pub(crate) fn new() -> Self {
        // Two random ids: the operating system's randomness, 244 bits of it.
        let halves = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()].map(uuid::Uuid::into_bytes);
        let mut secret = [0; KEY];
        for (to, from) in secret.chunks_mut(16).zip(halves) {
            to.copy_from_slice(&from);
        }
        Self { secret }
    }

    /// What is kept of it.
    pub(crate) fn hash(&self) -> String {
        blake3::hash(&self.secret).to_hex().to_string()
    }
}

/// Where one guest calls. Nobody is heard any more when it is dropped.
#[derive(Debug)]
pub(crate) struct Line {
    hearing: JoinHandle<()>,
    callers: Mutex<mpsc::Receiver<UnixStream>>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.hearing.abort();
    }
}

impl Line {
    /// Listens in the sandbox's directory. With a key it is given to the first caller; without
    /// one, everybody has to bring that of this hash.
    pub(crate) fn listen(
        directory: &Path,
        identity: Identity,
        key: Option<Key>,
        hash: &str,
    ) -> Result<Self, SandboxError> {
        let listener = crate::egress::listen(&Directory::open(directory)?, SOCKET, identity)?;
        let expected = blake3::Hash::from_hex(hash).map_err(|error| {
            SandboxError::io("read the guest's key of", directory)(io::Error::other(error))
        })?;
        let (sender, callers) = mpsc::channel(CALLERS);
        let door = Arc::new(Door { expected, key: Mutex::new(key), sender });
        Ok(Self { hearing: tokio::spawn(hear(listener, door)), callers: Mutex::new(callers) })
    }

    async fn next(&self) -> io::Result<UnixStream> {
        let gone = || io::Error::new(io::ErrorKind::NotConnected, "nobody listens for the guest any more");
        self.callers.lock().await.recv().await.ok_or_else(gone)
    }
}

struct Door {
    expected: blake3::Hash,
    key: Mutex<Option<Key>>,
    sender: mpsc::Sender<UnixStream>,
}

async fn hear(listener: UnixListener, door: Arc<Door>) {
    let heard = Arc::new(Semaphore::new(CALLERS));
    loop {
        let Ok(permit) = Arc::clone(&heard).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // No descriptor is free: waiting costs nothing, looping would.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let door = Arc::clone(&door);
        tokio::spawn(async move {
            // Whoever is no guest of ours is hung up on, and there is nobody to tell.
            if let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, door.admit(stream)).await {
                let _ = door.sender.try_send(stream);
            }
            drop(permit);
        });
    }
}

impl Door {
    async fn admit(&self, mut stream: UnixStream) -> io::Result<UnixStream> {
        let refused = || io::Error::from(io::ErrorKind::PermissionDenied);
        match stream.read_u8().await? {
            NEW => {
                let key = self.key.lock().await.take().ok_or_else(refused)?;
                stream.write_all(&key.secret).await?;
            }
            AGAIN => {
                let mut brought = [0; KEY];
                stream.read_exact(&mut brought).await?;
                // Hashes are compared in constant time.
                if blake3::hash(&brought) != self.expected {
                    return Err(refused());
                }
            }
            _ => return Err(refused()),
        }
        Ok(stream)
    }
}

impl Guest {
    /// The guest that calls on `line`, waiting up to `limit` for its first call.
    pub(crate) async fn called(sandbox: &str, line: Line, limit: Duration) -> Result<Self, SandboxError> {
        let why = |why: String| SandboxError::Guest { sandbox: sandbox.to_owned(), why };
        let first = tokio::time::timeout(limit, line.next()).await;
        let first = first
            .map_err(|_| {
                why(format!(
                    "it did not call within {} s; the runtime has to let the sandbox open sockets of the host \
                     (`--host-uds=open`, in older releases `--fsgofer-host-uds`)",
                    limit.as_secs()
                ))
            })?
            .map_err(|error| why(error.to_string()))?;
        let (line, mut first) = (Arc::new(line), Some(first));
        let connector = tower::service_fn(move |_: tonic::transport::Uri| {
            let (line, ready) = (Arc::clone(&line), first.take());
            async move {
                let stream = match ready {
                    Some(stream) => stream,
                    None => line.next().await?,
                };
                Ok::<_, io::Error>(TokioIo::new(stream))
            }
        });
        let channel = connect::endpoint()
            .connect_with_connector(connector)
            .await
            .map_err(|error| why(format!("its call broke off: {error}")))?;
        Ok(connect::guest(sandbox, channel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity { uid: rustix::process::getuid().as_raw(), gid: rustix::process::getgid().as_raw() }
    }

    async fn call(directory: &Path, said: &[u8]) -> UnixStream {
        let mut stream = UnixStream::connect(directory.join(SOCKET)).await.unwrap();
        stream.write_all(said).await.unwrap();
        stream
    }

    async fn is_hung_up_on(mut stream: UnixStream) -> bool {
        matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_))
    }

    #[tokio::test]
    async fn only_the_first_caller_gets_the_key_and_only_its_holder_comes_again() {
        let state = tempfile::tempdir().unwrap();
        let directory = crate::directory::create(state.path(), "s1", identity()).unwrap();
        let key = Key::new();
        let hash = key.hash();
        let line = Line::listen(&directory, identity(), Some(key), &hash).unwrap();
        let mut guest = call(&directory, &[NEW]).await;
        let mut given = [0; KEY];
        guest.read_exact(&mut given).await.unwrap();
        line.next().await.unwrap();
        for said in [vec![NEW], vec![9], [&[AGAIN][..], &[0; KEY]].concat()] {
            assert!(is_hung_up_on(call(&directory, &said).await).await, "{said:?}");
        }
        // A daemon that starts again gives out no key to anybody.
        drop(line);
        let line = Line::listen(&directory, identity(), None, &hash).unwrap();
        assert!(is_hung_up_on(call(&directory, &[NEW]).await).await);
        let mut guest = call(&directory, &[&[AGAIN][..], &given].concat()).await;
        let mut stream = line.next().await.unwrap();
        stream.write_all(b"x").await.unwrap();
        assert_eq!(guest.read_u8().await.unwrap(), b'x');
    }

    #[test]
    fn two_keys_differ() {
        assert_ne!(Key::new().hash(), Key::new().hash());
    }
}
