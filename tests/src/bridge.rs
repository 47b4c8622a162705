//! MCP's conformance suite speaks HTTP, and the server that it is to test speaks lines on
//! its standard streams: this stands between. It adds nothing and understands next to
//! nothing, so that every verdict is the server's.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    process::Stdio,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    process::{Child, ChildStdin, Command},
    sync::oneshot,
    task::JoinHandle,
};

const SESSION: &str = "mcp-session-id";

/// A bridge that runs; dropping it ends it and its servers.
#[derive(Debug)]
pub struct Bridge {
    /// Where it listens.
    pub url: String,
    task: JoinHandle<()>,
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A server of one session.
struct Server {
    stdin: tokio::sync::Mutex<ChildStdin>,
    waiting: Arc<Mutex<HashMap<String, oneshot::Sender<String>>>>,
    _child: Child,
}

#[derive(Default)]
struct Sessions {
    argv: Vec<String>,
    running: Mutex<HashMap<String, Arc<Server>>>,
}

impl Bridge {
    /// Starts a bridge that runs `argv` once for every session.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(argv: Vec<String>) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let url = format!("http://{}/mcp", listener.local_addr()?);
        let sessions = Arc::new(Sessions { argv, running: Mutex::default() });
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sessions = sessions.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let sessions = sessions.clone();
                        async move { Ok::<_, Infallible>(sessions.answer(request).await) }
                    });
                    let io = TokioIo::new(stream);
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
                });
            }
        });
        Ok(Self { url, task })
    }
}

impl Server {
    fn start(argv: &[String]) -> io::Result<Self> {
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("no pipes"));
        };
        let waiting = Arc::<Mutex<HashMap<String, oneshot::Sender<String>>>>::default();
        let answered = waiting.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let id = serde_json::from_str::<Value>(&line).map(|message| message["id"].to_string());
                let waiter = id.ok().and_then(|id| answered.lock().unwrap().remove(&id));
                if let Some(waiter) = waiter {
                    let _ = waiter.send(line);
                }
            }
            // Whoever still waits is told that the server is gone.
            answered.lock().unwrap().clear();
        });
        Ok(Self { stdin: tokio::sync::Mutex::new(stdin), waiting, _child: child })
    }

    async fn ask(&self, message: &Value) -> Option<String> {
        let answer = message.get("id").filter(|_| message.get("method").is_some()).map(|id| {
            let (send, receive) = oneshot::channel();
            self.waiting.lock().unwrap().insert(id.to_string(), send);
            receive
        });
        let line = format!("{message}\n");
        self.stdin.lock().await.write_all(line.as_bytes()).await.ok()?;
        match answer {
            Some(answer) => answer.await.ok(),
            None => Some(String::new()),
        }
    }
}

impl Sessions {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if !is_local(&request) {
            return answer(StatusCode::FORBIDDEN, String::new(), None);
        }
        let session = request.headers().get(SESSION).and_then(|id| id.to_str().ok()).map(str::to_owned);
        match *request.method() {
            Method::POST => self.post(session, request).await,
            Method::DELETE => {
                self.running.lock().unwrap().remove(&session.unwrap_or_default());
                answer(StatusCode::OK, String::new(), None)
            }
            // The server says nothing unasked, so there is no stream to open.
            _ => answer(StatusCode::METHOD_NOT_ALLOWED, String::new(), None),
        }
    }

    async fn post(&self, session: Option<String>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let Ok(body) = request.into_body().collect().await else {
            return answer(StatusCode::BAD_REQUEST, String::new(), None);
        };
        let Ok(message) = serde_json::from_slice::<Value>(&body.to_bytes()) else {
            return answer(StatusCode::BAD_REQUEST, String::new(), None);
        };
        let (id, server) = match session {
            Some(id) => {
                let Some(server) = self.running.lock().unwrap().get(&id).cloned() else {
                    return answer(StatusCode::NOT_FOUND, String::new(), None);
                };
                (id, server)
            }
            None => match Server::start(&self.argv) {
                Ok(server) => {
                    let mut running = self.running.lock().unwrap();
                    let id = format!("session-{}", running.len());
                    let server = Arc::new(server);
                    running.insert(id.clone(), server.clone());
                    (id, server)
                }
                Err(error) => return answer(StatusCode::BAD_GATEWAY, error.to_string(), None),
            },
        };
        match server.ask(&message).await {
            Some(line) if line.is_empty() => answer(StatusCode::ACCEPTED, line, Some(&id)),
            Some(line) => answer(StatusCode::OK, line, Some(&id)),
            None => answer(StatusCode::BAD_GATEWAY, "the server has ended".to_owned(), Some(&id)),
        }
    }
}

/// A page of some other site that a browser shows here comes with that site's name.
fn is_local(request: &Request<Incoming>) -> bool {
    let local = |name: &str| {
        let host = name.trim_start_matches("http://");
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        host == "127.0.0.1" || host == "localhost"
    };
    ["host", "origin"]
        .iter()
        .filter_map(|name| request.headers().get(*name))
        .all(|value| value.to_str().is_ok_and(local))
}

fn answer(status: StatusCode, body: String, session: Option<&str>) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(status).header("content-type", "application/json");
    if let Some(session) = session {
        response = response.header(SESSION, session);
    }
    response.body(Full::new(Bytes::from(body))).unwrap()
}
