use super::{
    Failure, Recorded, Script, Shape, Turn,
    body::{self, Answer, End, json_answer, written},
    completions::{self, Dialect},
    conversation::{Position, Serial},
    failure, generate, making, messages,
    record::Recorder,
    responses, thoughts,
};
use http_body_util::{BodyExt as _, Limited};
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header::UPGRADE, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{net::TcpListener, task::JoinSet};

/// More than any client sends.
const BODY_LIMIT: usize = 256 << 20;
/// Of a flood each event has so much text.
const WAVE: usize = 16 << 10;

/// A script, and what was played of it that a request alone does not tell.
#[derive(Debug)]
pub(super) struct Play {
    script: Script,
    failed: Mutex<HashMap<(String, usize), usize>>,
}

impl Play {
    pub(super) fn new(script: Script) -> Self {
        Self { script, failed: Mutex::default() }
    }

    /// How the provider is broken for this request.
    fn failure(&self, position: &Position, turn: &Turn) -> Option<Failure> {
        let Some(failure) = turn.failure else { return self.script.failure_at(position.turn) };
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let times = failed.entry((position.prompt.clone(), position.turn)).or_default();
        *times += 1;
        (turn.fails == 0 || *times <= turn.fails).then_some(failure)
    }
}

/// Serves until it is aborted; the connections end with it.
pub(super) async fn run(listener: TcpListener, play: Arc<Play>, recorder: Arc<Recorder>) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => continue,
            },
            Some(_) = connections.join_next() => continue,
        };
        // Pieces are to arrive as they were cut.
        let _ = stream.set_nodelay(true);
        let (play, recorder) = (play.clone(), recorder.clone());
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let (play, recorder) = (play.clone(), recorder.clone());
                async move { Ok::<_, Infallible>(handle(request, &play, &recorder).await) }
            });
            // A client that goes away is no event worth telling.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn handle(request: Request<Incoming>, play: &Play, recorder: &Recorder) -> Answer {
    let (parts, body) = request.into_parts();
    let body = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return plain(400, "the body could not be read"),
    };
    let recorded = Recorded::new(&parts, &body);
    let body = recorded.body.clone();
    if let Err(e) = recorder.add(recorded) {
        return plain(500, &format!("the request could not be recorded: {e}"));
    }
    let whole = parts.uri.path();
    let dialect = Dialect::of(whole);
    let path = service(whole);
    if parts.method == Method::POST
        && let Some(ordered) = making::ordered(path, &body)
    {
        return making::answer(ordered, &body, &play.script.making).await;
    }
    let ask = |protocol| Ask { protocol, dialect, request: &body };
    match (&parts.method, path) {
        (&Method::GET, "/responses") if parts.headers.contains_key(UPGRADE) => {
            plain(426, "no web socket here; use POST")
        }
        (&Method::HEAD, _) => Response::default(),
        (&Method::GET, "/models") => json_answer(&json!({
            "object": "list", "data": [{"id": "scripted-model", "object": "model", "owned_by": "scripted"}],
        })),
        (&Method::POST, "/responses") => ask(Protocol::Responses).answer(play).await,
        (&Method::POST, "/messages") => {
            if play.script.strict && !parts.headers.contains_key("anthropic-version") {
                return failure::error(
                    Protocol::Messages,
                    400,
                    false,
                    "anthropic-version: header is required",
                );
            }
            ask(Protocol::Messages).answer(play).await
        }
        (&Method::POST, "/messages/count_tokens") => json_answer(&json!({"input_tokens": 100})),
        (&Method::POST, "/chat/completions") => ask(Protocol::Completions).answer(play).await,
        (&Method::POST, path) if generate::target(path).is_some() => gemini(play, path, &body).await,
        _ => plain(404, "the scripted provider has nothing here"),
    }
}

/// The path below that under which a service has everything: `/v1`, `/api/v1`, `/api/paas/v4`, or
/// Azure's `/openai`, with the name of a deployment in its older form.
fn service(path: &str) -> &str {
    let below = |prefix: &str| path.strip_prefix(prefix).filter(|rest| rest.starts_with('/'));
    if let Some(rest) = below("/openai/deployments") {
        let name = rest.trim_start_matches('/');
        return name.find('/').map_or(rest, |at| &name[at..]);
    }
    let prefixes = ["/openai/v1", "/openai", "/api/v1", "/api/paas/v4", "/v1"];
    prefixes.into_iter().find_map(below).unwrap_or(path)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Responses,
    Messages,
    Completions,
    Gemini,
}

async fn gemini(play: &Play, path: &str, body: &Value) -> Answer {
    let (name, method) = generate::target(path).unwrap_or_default();
    if method == "countTokens" {
        return json_answer(&json!({"totalTokens": 100}));
    }
    // Where the others say it in the body, this one says it in the path.
    let mut request = generate::named(body);
    request["model"] = json!(name);
    request["stream"] = json!(method == "streamGenerateContent");
    Ask { protocol: Protocol::Gemini, dialect: Dialect::Silent, request: &request }.answer(play).await
}

/// A request for an answer of the model.
struct Ask<'a> {
    protocol: Protocol,
    dialect: Dialect,
    request: &'a Value,
}

impl Ask<'_> {
    fn model(&self) -> &str {
        self.request["model"].as_str().unwrap_or_default()
    }

    async fn answer(&self, play: &Play) -> Answer {
        let request = self.request;
        let (position, tools) = match self.protocol {
            Protocol::Responses => (responses::position(request), responses::has_tools(request)),
            Protocol::Messages => (messages::position(request), messages::has_tools(request)),
            Protocol::Completions => (completions::position(request), completions::has_tools(request)),
            Protocol::Gemini => (generate::position(request), generate::has_tools(request)),
        };
        if let Err(wrong) = self.check(&play.script, &position) {
            return failure::error(self.protocol, 400, false, &wrong);
        }
        let turn = if tools || play.script.without_tools {
            play.script.turn(&position.prompt, position.turn)
        } else {
            Turn::text(Script::ASIDE)
        };
        let serial = Serial::new(position.turn, unique());
        match play.failure(&position, &turn) {
            None => self.play(&turn, &serial, &play.script.shape, None),
            Some(failure) => self.fail(failure, turn, &serial, &play.script.shape).await,
        }
    }

    fn check(&self, script: &Script, position: &Position) -> Result<(), String> {
        let request = self.request;
        if script.strict {
            match self.protocol {
                Protocol::Responses => responses::check(request)?,
                Protocol::Messages => messages::check(request)?,
                Protocol::Completions => completions::check(request)?,
                Protocol::Gemini => generate::check(request)?,
            }
        }
        thoughts::check(script, position, |turn| match self.protocol {
            Protocol::Responses => responses::sealed(request, turn),
            Protocol::Messages => messages::sealed(request, turn),
            Protocol::Completions => self.dialect.sealed(turn),
            Protocol::Gemini => Some(thoughts::seal(turn)),
        })
    }

    async fn fail(&self, failure: Failure, mut turn: Turn, serial: &Serial, shape: &Shape) -> Answer {
        if let Some(refusal) = failure.refusal(self.protocol, self.model()) {
            return refusal;
        }
        match failure {
            Failure::Garbage => {
                let garbage: &[u8] = b"\xff\xfe{]\0 data: {\"type\": \n\nevent: \xc3\x28\ndata: [[[[\n\n";
                return body::whole("text/event-stream", garbage.into());
            }
            Failure::Drip(pause) => return body::drip(Duration::from_millis(pause)),
            Failure::Huge(bytes)
                if self.protocol == Protocol::Responses && self.request["stream"] == true =>
            {
                let events = responses::huge(self.request, &serial.id("resp"), bytes);
                return body::events(text_of(&events), shape, End::Whole);
            }
            Failure::Huge(bytes) => turn = Turn::text("x".repeat(bytes)),
            Failure::Flood(bytes) => return self.flood(serial, bytes),
            Failure::InStream | Failure::Truncated | Failure::Reset => {
                return self.play(&turn, serial, shape, Some(failure));
            }
            _ => std::future::pending().await,
        }
        self.play(&turn, serial, shape, None)
    }

    /// The events of a text with very many pieces, each made when it is sent.
    fn flood(&self, serial: &Serial, bytes: usize) -> Answer {
        let wave = "x".repeat(WAVE);
        let events = self.events(&Turn::text(wave.clone()), serial, &Shape::default());
        let begins = events.iter().position(|(_, data)| data.to_string().contains(&wave)).unwrap_or_default();
        let mut head = events;
        let mut tail = head.split_off(begins);
        let (name, repeated) = tail.remove(0);
        let repeated = written(&name, &repeated.to_string());
        let ends = tail.into_iter().filter(move |(_, data)| !data.to_string().contains(&wave));
        let write = |(name, data): (String, Value)| written(&name, &data.to_string());
        let waves = std::iter::repeat_n(repeated, bytes / WAVE);
        body::flood(head.into_iter().map(write).chain(waves).chain(ends.map(write)))
    }

    fn events(&self, turn: &Turn, serial: &Serial, shape: &Shape) -> Vec<(String, Value)> {
        let request = self.request;
        let unnamed = |events: Vec<Value>| events.into_iter().map(|e| (String::new(), e)).collect();
        match self.protocol {
            Protocol::Responses => {
                let items = responses::items(request, turn, serial);
                responses::events(request, &serial.id("resp"), turn, &items, shape)
            }
            Protocol::Messages => {
                let blocks = messages::blocks(request, turn, serial);
                messages::events(request, &serial.id("msg"), turn, &blocks, shape)
            }
            Protocol::Completions => {
                let message = completions::message(request, self.dialect, turn, serial);
                unnamed(completions::chunks(request, &serial.id("chatcmpl"), turn, &message, shape))
            }
            Protocol::Gemini => {
                let parts = generate::parts(request, turn, serial);
                unnamed(generate::events(self.model(), &serial.id("resp"), turn, &parts, shape))
            }
        }
    }

    fn play(&self, turn: &Turn, serial: &Serial, shape: &Shape, broken: Option<Failure>) -> Answer {
        if self.request["stream"] != true && broken.is_none() {
            return json_answer(&self.whole(turn, serial));
        }
        let mut events = self.events(turn, serial, shape);
        let mut end = End::Whole;
        match broken {
            Some(Failure::InStream) => {
                events.truncate(events.len().div_ceil(2));
                events.push(failure::in_stream(self.protocol));
            }
            Some(Failure::Truncated) => end = End::Cut,
            Some(Failure::Reset) => end = End::Reset,
            _ => {}
        }
        let mut text = text_of(&events);
        if self.protocol == Protocol::Completions {
            text.push_str("data: [DONE]\n\n");
        }
        body::events(text, shape, end)
    }

    fn whole(&self, turn: &Turn, serial: &Serial) -> Value {
        let request = self.request;
        match self.protocol {
            Protocol::Responses => {
                let items = responses::items(request, turn, serial);
                responses::answer(request, &serial.id("resp"), turn, &items)
            }
            Protocol::Messages => {
                let blocks = messages::blocks(request, turn, serial);
                messages::answer(request, &serial.id("msg"), turn, &blocks)
            }
            Protocol::Completions => {
                let message = completions::message(request, self.dialect, turn, serial);
                completions::answer(request, &serial.id("chatcmpl"), turn, &message)
            }
            Protocol::Gemini => {
                let parts = generate::parts(request, turn, serial);
                generate::answer(self.model(), &serial.id("resp"), turn, &parts)
            }
        }
    }
}

fn text_of(events: &[(String, Value)]) -> String {
    events.iter().map(|(name, data)| written(name, &data.to_string())).collect()
}

/// Never the same twice, whichever process asks: sessions outlive a provider.
fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:x}{:x}", since.as_nanos(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// An error of no protocol.
fn plain(status: u16, message: &str) -> Answer {
    let mut answer = json_answer(&json!({"error": {"message": message}}));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer
}
