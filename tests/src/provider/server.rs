use super::{
    Failure, Recorded, Script, Turn, completions, conversation::Serial, generate, messages, record::Recorder,
    responses,
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, RETRY_AFTER, UPGRADE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::{net::TcpListener, task::JoinSet};

/// More than any client sends.
const BODY_LIMIT: usize = 256 << 20;

type Answer = Response<Full<Bytes>>;

/// Serves until it is aborted; the connections end with it.
pub(super) async fn run(listener: TcpListener, script: Arc<Script>, recorder: Arc<Recorder>) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => continue,
            },
            Some(_) = connections.join_next() => continue,
        };
        let (script, recorder) = (script.clone(), recorder.clone());
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let (script, recorder) = (script.clone(), recorder.clone());
                async move { Ok::<_, Infallible>(handle(request, &script, &recorder).await) }
            });
            // A client that goes away is no event worth telling.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn handle(request: Request<Incoming>, script: &Script, recorder: &Recorder) -> Answer {
    let (parts, body) = request.into_parts();
    let body = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return error(StatusCode::BAD_REQUEST, "the body could not be read"),
    };
    let recorded = Recorded::new(&parts, &body);
    let body = recorded.body.clone();
    if let Err(e) = recorder.add(recorded) {
        return error(StatusCode::INTERNAL_SERVER_ERROR, &format!("the request could not be recorded: {e}"));
    }
    let path = parts.uri.path();
    let path = azure(path);
    let path = path.strip_prefix("/v1").filter(|rest| rest.starts_with('/')).unwrap_or(path);
    match (&parts.method, path) {
        (&Method::GET, "/responses") if parts.headers.contains_key(UPGRADE) => {
            error(StatusCode::UPGRADE_REQUIRED, "no web socket here; use POST")
        }
        (&Method::HEAD, _) => Answer::default(),
        (&Method::GET, "/models") => json_answer(&json!({
            "object": "list", "data": [{"id": "scripted-model", "object": "model", "owned_by": "scripted"}],
        })),
        (&Method::POST, "/responses") => model(script, Protocol::Responses, &body).await,
        (&Method::POST, "/messages") => model(script, Protocol::Messages, &body).await,
        (&Method::POST, "/messages/count_tokens") => json_answer(&json!({"input_tokens": 100})),
        (&Method::POST, "/chat/completions") => model(script, Protocol::Completions, &body).await,
        (&Method::POST, path) if generate::target(path).is_some() => gemini(script, path, &body).await,
        _ => error(StatusCode::NOT_FOUND, "the scripted provider has nothing here"),
    }
}

/// Azure has the same below `/openai`, with the name of a deployment in its older form.
fn azure(path: &str) -> &str {
    let Some(rest) = path.strip_prefix("/openai").filter(|rest| rest.starts_with('/')) else { return path };
    let Some(rest) = rest.strip_prefix("/deployments/") else { return rest };
    rest.find('/').map_or(rest, |at| &rest[at..])
}

#[derive(Clone, Copy)]
enum Protocol {
    Responses,
    Messages,
    Completions,
    Gemini,
}

async fn gemini(script: &Script, path: &str, body: &Value) -> Answer {
    let (name, method) = generate::target(path).unwrap_or_default();
    if method == "countTokens" {
        return json_answer(&json!({"totalTokens": 100}));
    }
    // Where the others say it in the body, this one says it in the path.
    let mut request = body.clone();
    request["model"] = json!(name);
    request["stream"] = json!(method == "streamGenerateContent");
    let answer = model(script, Protocol::Gemini, &request).await;
    if answer.status().is_success() {
        return answer;
    }
    // Its clients look for the number in the body.
    let status = answer.status();
    let told = answer.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let told: Value = serde_json::from_slice(&told).unwrap_or_default();
    let word = status.canonical_reason().unwrap_or_default().to_ascii_uppercase().replace(' ', "_");
    let error =
        json!({"error": {"code": status.as_u16(), "message": told["error"]["message"], "status": word}});
    let mut shaped = json_answer(&error);
    *shaped.status_mut() = status;
    shaped
}

async fn model(script: &Script, protocol: Protocol, request: &Value) -> Answer {
    let (position, tools) = match protocol {
        Protocol::Responses => (responses::position(request), responses::has_tools(request)),
        Protocol::Messages => (messages::position(request), messages::has_tools(request)),
        Protocol::Completions => (completions::position(request), completions::has_tools(request)),
        Protocol::Gemini => (generate::position(request), generate::has_tools(request)),
    };
    let mut turn =
        if tools { script.turn(&position.prompt, position.turn) } else { Turn::text(Script::ASIDE) };
    let serial = Serial::new(position.turn, unique());
    let stream = request["stream"] == true;
    match script.failure_at(position.turn) {
        None => {}
        Some(Failure::Refuse) => return error(StatusCode::UNAUTHORIZED, "the key is not valid"),
        Some(Failure::UnknownModel) => {
            let model = request["model"].as_str().unwrap_or_default();
            return error(StatusCode::NOT_FOUND, &format!("the model `{model}` does not exist"));
        }
        Some(Failure::ServerError) => return error(StatusCode::INTERNAL_SERVER_ERROR, "out of order"),
        Some(Failure::RateLimit) => {
            let mut answer = error(StatusCode::TOO_MANY_REQUESTS, "too many requests");
            answer.headers_mut().insert(RETRY_AFTER, hyper::header::HeaderValue::from_static("1"));
            return answer;
        }
        Some(Failure::Hang) => std::future::pending().await,
        Some(Failure::Garbage) => {
            let body: &[u8] = b"\xff\xfe{]\0 data: {\"type\": \n\nevent: \xc3\x28\ndata: [[[[\n\n";
            return answer_with("text/event-stream", body.into());
        }
        Some(Failure::Huge(bytes)) => {
            if let (Protocol::Responses, true) = (protocol, stream) {
                return events_answer(&responses::huge(request, &serial.id("resp"), bytes));
            }
            turn = Turn::text("x".repeat(bytes));
        }
    }
    match protocol {
        Protocol::Responses => {
            let id = serial.id("resp");
            let items = responses::items(request, &turn, &serial);
            if stream {
                events_answer(&responses::events(request, &id, &items))
            } else {
                json_answer(&responses::answer(request, &id, "completed", &items))
            }
        }
        Protocol::Messages => {
            let id = serial.id("msg");
            let blocks = messages::blocks(request, &turn, &serial);
            if stream {
                events_answer(&messages::events(request, &id, &blocks))
            } else {
                json_answer(&messages::answer(request, &id, &blocks))
            }
        }
        Protocol::Completions => {
            let id = serial.id("chatcmpl");
            let message = completions::message(request, &turn, &serial);
            if stream {
                let done = std::iter::once("[DONE]".to_owned());
                let chunks = completions::chunks(request, &id, &message).into_iter().map(|c| c.to_string());
                data_answer(chunks.chain(done))
            } else {
                json_answer(&completions::answer(request, &id, &message))
            }
        }
        Protocol::Gemini => {
            let parts = generate::parts(request, &turn, &serial);
            let name = request["model"].as_str().unwrap_or_default();
            let answer = generate::answer(name, &serial.id("resp"), &parts);
            if stream { data_answer([answer.to_string()]) } else { json_answer(&answer) }
        }
    }
}

/// Never the same twice, whichever process asks: sessions outlive a provider.
fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:x}{:x}", since.as_nanos(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn events_answer(events: &[(String, Value)]) -> Answer {
    let text: String = events.iter().map(|(name, data)| format!("event: {name}\ndata: {data}\n\n")).collect();
    answer_with("text/event-stream", text.into())
}

/// Events without a name.
fn data_answer(events: impl IntoIterator<Item = String>) -> Answer {
    let text: String = events.into_iter().map(|data| format!("data: {data}\n\n")).collect();
    answer_with("text/event-stream", text.into())
}

fn json_answer(value: &Value) -> Answer {
    answer_with("application/json", value.to_string().into())
}

fn answer_with(kind: &'static str, body: Bytes) -> Answer {
    let mut answer = Answer::new(Full::new(body));
    answer.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    answer
}

/// An error that both protocols' clients can read.
fn error(status: StatusCode, message: &str) -> Answer {
    let kind = match status {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        StatusCode::NOT_FOUND => "not_found_error",
        _ => "api_error",
    };
    let mut answer =
        json_answer(&json!({"type": "error", "error": {"type": kind, "message": message, "code": kind}}));
    *answer.status_mut() = status;
    answer
}
