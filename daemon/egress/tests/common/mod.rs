//! A proxy on a real unix socket, in front of a network that each test makes up:
//! names lead where the test says, and public addresses are local listeners.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use async_trait::async_trait;
use cordon_egress::{EgressPolicy, Grant, Network, ProxyLimits, serve_with};
use cordon_policy::Denial;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::mpsc,
    task::JoinHandle,
};

pub const PUBLIC: &str = "8.8.8.8";

/// A test that hangs must fail, and say where.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(20), future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen"),
    }
}

#[derive(Default)]
pub struct Fake {
    names: Mutex<HashMap<String, VecDeque<Vec<IpAddr>>>>,
    routes: Mutex<HashMap<SocketAddr, SocketAddr>>,
    own: Mutex<HashSet<IpAddr>>,
    pub asked: Mutex<Vec<String>>,
    pub dialled: Mutex<Vec<SocketAddr>>,
}

impl Fake {
    /// The answers of a name, in order; the last one repeats.
    pub fn name(&self, name: &str, answers: &[&[&str]]) {
        let answers = answers.iter().map(|a| a.iter().map(|t| t.parse().unwrap()).collect()).collect();
        self.names.lock().unwrap().insert(name.to_owned(), answers);
    }

    /// A public address that is really this listener.
    pub fn route(&self, public: &str, local: SocketAddr) {
        self.routes.lock().unwrap().insert(public.parse().unwrap(), local);
    }

    pub fn own(&self, address: &str) {
        self.own.lock().unwrap().insert(address.parse().unwrap());
    }

    pub fn dialled(&self) -> Vec<String> {
        self.dialled.lock().unwrap().iter().map(ToString::to_string).collect()
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl Network for Fake {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.lock().unwrap().push(name.to_owned());
        if name == "silent.test" {
            std::future::pending::<()>().await;
        }
        let mut names = self.names.lock().unwrap();
        let answers = names.get_mut(name).ok_or_else(|| io::Error::other("no such name"))?;
        if answers.len() > 1 { Ok(answers.pop_front().unwrap()) } else { Ok(answers[0].clone()) }
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        self.dialled.lock().unwrap().push(address);
        let local = self.routes.lock().unwrap().get(&address).copied();
        TcpStream::connect(local.ok_or(io::ErrorKind::ConnectionRefused)?).await
    }

    fn is_own(&self, address: IpAddr) -> bool {
        self.own.lock().unwrap().contains(&address)
    }
}

pub struct Proxy {
    directory: tempfile::TempDir,
    pub network: Arc<Fake>,
    pub refusals: mpsc::Receiver<Denial>,
    pub task: JoinHandle<()>,
}

pub fn policy(allow: &[&str], grants: &[(&str, u16)]) -> EgressPolicy {
    EgressPolicy {
        allow: allow.iter().map(|r| r.parse().unwrap()).collect(),
        grants: grants.iter().map(|(h, p)| Grant { host: (*h).to_owned(), port: *p }).collect(),
    }
}

impl Proxy {
    pub fn start(policy: EgressPolicy) -> Self {
        Self::with(policy, ProxyLimits::default())
    }

    pub fn with(policy: EgressPolicy, limits: ProxyLimits) -> Self {
        let network = Arc::new(Fake::default());
        let (directory, listener) = socket();
        let (sender, refusals) = mpsc::channel(64);
        let task = tokio::spawn(serve_with(listener, policy, sender, network.clone(), limits));
        Self { directory, network, refusals, task }
    }

    pub async fn open(&self) -> UnixStream {
        UnixStream::connect(self.directory.path().join("s")).await.unwrap()
    }

    /// Sends a request and reads until the proxy closes.
    pub async fn ask(&self, request: impl AsRef<[u8]>) -> String {
        let mut stream = self.open().await;
        // A proxy that answers before it has read all may close first.
        let _ = stream.write_all(request.as_ref()).await;
        let mut answer = Vec::new();
        let _ = soon("an answer", stream.read_to_end(&mut answer)).await;
        String::from_utf8(answer).unwrap()
    }

    /// CONNECT, and all of the answer to a refused one.
    pub async fn connect(&self, target: &str) -> String {
        self.ask(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n")).await
    }

    /// GET in absolute form, and all of the answer.
    pub async fn get(&self, authority: &str) -> String {
        let host = authority.rsplit('@').next().unwrap();
        self.ask(format!("GET http://{authority}/x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
            .await
    }

    /// A tunnel that was allowed.
    pub async fn tunnel(&self, target: &str) -> UnixStream {
        let mut stream = self.open().await;
        stream.write_all(format!("CONNECT {target} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
        let head = head(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        stream
    }
}

pub fn socket() -> (tempfile::TempDir, UnixListener) {
    let directory = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(directory.path().join("s")).unwrap();
    (directory, listener)
}

/// Reads up to the end of a head and not beyond.
pub async fn head(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("a head", stream.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// A server that gives every connection's bytes back, ends included.
pub async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

/// A server that answers each request with the same bytes, and tells what it got:
/// the head, and a body of `content-length`.
pub async fn answering(answer: &'static str) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = head(&mut stream).await;
            let length = request
                .lines()
                .find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned))
                .map_or(0, |l| l.parse().unwrap());
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            request.push_str(&String::from_utf8(body).unwrap());
            sender.send(request).unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, receiver)
}
