//! A server that does what it is told, byte by byte.

use crate::{Ask, AskError, Asks, Client, Model, Patience, Told};
use cordon_backends::api::{
    Answer, Choice, Conversation, Endpoint, Event, Item, Part, RetryPolicy, Settings, Target, provider,
};
use cordon_config::Secret;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};
use tokio_util::sync::CancellationToken;

pub(crate) const KEY: &str = "sk-a-key-that-nobody/may+see";

/// What a server does upon a request, in order.
#[derive(Clone, Debug)]
pub(crate) enum Does {
    Sends(Vec<u8>),
    Waits(Duration),
    /// Says nothing more, and leaves the connection open.
    Hangs,
    /// Sends the same again and again.
    Repeats(Vec<u8>, usize),
    /// Ends the connection.
    Closes,
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) port: u16,
    /// Requests, and on which connection they came.
    heard: Arc<Mutex<Vec<(usize, String)>>>,
    task: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Does the same upon every request.
    pub(crate) async fn always(does: Vec<Does>) -> Self {
        Self::start(move |_, _| does.clone()).await
    }

    /// `script` is given the number of the request, from 0, and its first line.
    pub(crate) async fn start(script: impl Fn(usize, &str) -> Vec<Does> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (script, told) = (Arc::new(script), heard.clone());
        let task = tokio::spawn(async move {
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (script, told) = (script.clone(), told.clone());
                tokio::spawn(async move { serve(stream, connection, &*script, &told).await });
            }
        });
        Self { port, heard, task: task.abort_handle() }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    pub(crate) fn heard(&self) -> Vec<(usize, String)> {
        self.heard.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    script: &(dyn Fn(usize, &str) -> Vec<Does> + Send + Sync),
    told: &Mutex<Vec<(usize, String)>>,
) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut read = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = read.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|l| l.strip_prefix("content-length: "));
        let whole = end + length.map_or(0, |l| l.trim().parse().unwrap());
        while read.len() < whole {
            stream.read_buf(&mut read).await.ok()?;
        }
        let request = String::from_utf8_lossy(&read[..whole]).into_owned();
        read.drain(..whole);
        let line = request.lines().next().unwrap_or_default().to_owned();
        let number = {
            let mut told = told.lock().unwrap();
            told.push((connection, request));
            told.len() - 1
        };
        for does in script(number, &line) {
            match does {
                Does::Sends(bytes) => stream.write_all(&bytes).await.ok()?,
                Does::Waits(time) => tokio::time::sleep(time).await,
                Does::Repeats(bytes, times) => {
                    for _ in 0..times {
                        stream.write_all(&bytes).await.ok()?;
                    }
                }
                Does::Hangs => std::future::pending().await,
                Does::Closes => return None,
            }
        }
    }
}

pub(crate) fn sends(text: &str) -> Does {
    Does::Sends(text.as_bytes().to_vec())
}

/// The head of an answer that ends with the connection.
pub(crate) const OPEN: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

pub(crate) fn chunk(words: &str) -> String {
    let delta =
        serde_json::json!({"id": "1", "model": "m", "choices": [{"index": 0, "delta": {"content": words}}]});
    format!("data: {delta}\n\n")
}

pub(crate) const END: &str = "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

/// A whole answer, with its length.
pub(crate) fn whole(words: &str) -> Vec<Does> {
    answered("200 OK", "content-type: text/event-stream\r\n", &format!("{}{END}", chunk(words)))
}

pub(crate) fn answered(status: &str, headers: &str, body: &str) -> Vec<Does> {
    let length = body.len();
    vec![sends(&format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}"))]
}

/// Tries often, and waits for nothing long.
pub(crate) fn hurried() -> Patience {
    let ms = Duration::from_millis;
    let retry = RetryPolicy { attempts: 3, first: ms(1), longest: ms(5), ..RetryPolicy::default() };
    let long = Duration::from_secs(20);
    Patience { first: long, idle: long, whole: 2 * long, retry }
}

pub(crate) fn model_at(url: &str) -> Model {
    with_client(url, &Client::new().unwrap())
}

pub(crate) fn with_client(url: &str, client: &Client) -> Model {
    let endpoint = Endpoint::new(provider("chatcompletion").unwrap(), Some(url), None).unwrap();
    let settings = Settings { model: "m".to_owned(), ..Settings::default() };
    let target = Target { endpoint, key: Some(Secret::new(KEY.to_owned())), settings };
    Model::new(target, client).with_patience(hurried())
}

/// Everything that was told, and how it ended.
pub(crate) struct Outcome {
    pub(crate) told: Vec<Told>,
    pub(crate) end: Result<Answer, AskError>,
}

impl Outcome {
    /// The words since it was asked last.
    pub(crate) fn text(&self) -> String {
        let again = self.told.iter().rposition(|t| matches!(t, Told::Again { .. })).map_or(0, |at| at + 1);
        let words = |told: &Told| match told {
            Told::Event(Event::Text(text)) => Some(text.clone()),
            _ => None,
        };
        self.told[again..].iter().filter_map(words).collect()
    }

    pub(crate) fn error(&self) -> String {
        self.end.as_ref().unwrap_err().to_string()
    }

    pub(crate) fn again(&self) -> Vec<&str> {
        let why = |told: &'_ Told| matches!(told, Told::Again { .. });
        self.told
            .iter()
            .filter(|t| why(t))
            .map(|t| if let Told::Again { why, .. } = t { why } else { "" })
            .collect()
    }
}

pub(crate) async fn ask(model: &Model) -> Outcome {
    ask_until(model, None, &CancellationToken::new()).await
}

pub(crate) async fn ask_until(
    model: &Model,
    deadline: Option<tokio::time::Instant>,
    cancel: &CancellationToken,
) -> Outcome {
    let conversation = Conversation {
        items: vec![Item::User(vec![Part::Text("hello".to_owned())])],
        ..Conversation::default()
    };
    let ask =
        Ask { conversation: &conversation, tools: &[], choice: Choice::Auto, serial: 1, deadline, cancel };
    let mut told = Vec::new();
    let end = model.ask(ask, &mut |t| told.push(t)).await;
    Outcome { told, end }
}
