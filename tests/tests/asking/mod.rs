//! Asks a model with nothing but the protocols' code and a connection: no retries, no limits
//! but those of the protocols.
#![allow(dead_code, reason = "not every test file uses all of it")]

pub(crate) mod conversation;

use bytes::Bytes;
use cordon_backends::api::{
    Answer, ApiError, Call, CallResult, Conversation, Endpoint, Event, Failure, Item, Limits, Part, Settings,
    Stream, Tool, Written, provider, request,
};
use cordon_config::Secret;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::time::SystemTime;
use tokio::net::TcpStream;

/// A model at some place.
pub(crate) struct Model {
    endpoint: Endpoint,
    pub(crate) settings: Settings,
    pub(crate) tools: Vec<Tool>,
    pub(crate) key: String,
}

/// What came of asking once.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) answer: Result<Answer, ApiError>,
    pub(crate) events: Vec<Event>,
    /// Bytes of the body that were read.
    pub(crate) read: usize,
}

impl Model {
    pub(crate) fn new(kind: &str, base_url: &str) -> Self {
        let provider = provider(kind).unwrap_or_else(|| panic!("no provider {kind}"));
        let endpoint = Endpoint::new(provider, Some(base_url), None).unwrap();
        let settings = Settings { model: "scripted-model".to_owned(), ..Settings::default() };
        Self { endpoint, settings, tools: vec![tool("look"), tool("note")], key: "planted-key".to_owned() }
    }

    pub(crate) async fn ask(&self, conversation: &Conversation) -> Heard {
        let key = Secret::new(self.key.clone());
        let asked = request(&self.endpoint, Some(&key), conversation, &self.tools, &self.settings).unwrap();
        let (host, port) = self.endpoint.host();
        let stream = TcpStream::connect((host, port)).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let path = &asked.url[url::Position::BeforePath..url::Position::AfterQuery];
        let mut http = hyper::Request::post(path).header("host", format!("{host}:{port}"));
        for (name, value) in &asked.headers {
            http = http.header(*name, value);
        }
        let (name, secret) = asked.secret.as_ref().unwrap();
        http = http.header(*name, secret.reveal());
        let answered =
            sender.send_request(http.body(Full::new(Bytes::from(asked.body))).unwrap()).await.unwrap();
        let (parts, mut body) = answered.into_parts();
        let mut heard = Heard { answer: Err(ApiError::Truncated), events: Vec::new(), read: 0 };
        if !parts.status.is_success() {
            let body = body.collect().await.unwrap().to_bytes();
            let header = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok());
            let failure = Failure::of_response(parts.status.as_u16(), &header, &body, SystemTime::now());
            heard.answer = Err(ApiError::Refused(Box::new(failure)));
            return heard;
        }
        let origin = self.endpoint.origin(&self.settings.model);
        let serial = conversation.items.len() as u64;
        let mut stream = Stream::new(origin, Limits::default(), serial);
        while let Some(frame) = body.frame().await {
            // A connection that breaks is an answer that does.
            let Ok(frame) = frame else { return heard };
            let Ok(data) = frame.into_data() else { continue };
            heard.read += data.len();
            if let Err(error) = stream.push(&data, &mut |event| heard.events.push(event)) {
                heard.answer = Err(error);
                return heard;
            }
        }
        heard.answer = stream.finish(&mut |event| heard.events.push(event));
        heard
    }

    /// Asks until there is an answer without calls; each call is answered with its own arguments.
    pub(crate) async fn converse(&self, conversation: &mut Conversation) -> Vec<Answer> {
        let mut answers = Vec::new();
        loop {
            assert!(answers.len() < 10, "it never ends: {answers:?}");
            let heard = self.ask(conversation).await;
            let answer = heard.answer.unwrap_or_else(|e| panic!("{e}\n{conversation:?}"));
            conversation.items.extend(answer.items.iter().cloned());
            let calls: Vec<Call> = conversation.unanswered().into_iter().cloned().collect();
            conversation.items.extend(calls.iter().map(echo));
            answers.push(answer);
            if calls.is_empty() {
                return answers;
            }
        }
    }
}

pub(crate) fn asked(text: &str) -> Conversation {
    Conversation {
        system: "Be brief.".to_owned(),
        items: vec![Item::User(vec![Part::Text(text.to_owned())])],
    }
}

pub(crate) fn tool(name: &str) -> Tool {
    Tool {
        name: name.to_owned(),
        description: format!("The tool {name}."),
        parameters: json!({"type": "object", "properties": {"path": {"type": "string"}}}),
    }
}

fn echo(call: &Call) -> Item {
    match &call.arguments {
        Written::Whole(arguments) => Item::Result(CallResult {
            id: call.id.clone(),
            name: call.name.clone(),
            parts: vec![Part::Text(format!("{} got {}", call.name, arguments.text()))],
            failed: false,
        }),
        Written::Broken(broken) => call.failed(&broken.why),
    }
}

impl Heard {
    /// The words as they came.
    pub(crate) fn said(&self) -> String {
        let words =
            self.events.iter().filter_map(|e| if let Event::Text(t) = e { Some(t.as_str()) } else { None });
        words.collect()
    }
}

pub(crate) fn text(answer: &Answer) -> String {
    let words =
        answer.items.iter().filter_map(|i| if let Item::Text(t) = i { Some(t.text.as_str()) } else { None });
    words.collect()
}

pub(crate) fn thoughts(answer: &Answer) -> String {
    let words = answer
        .items
        .iter()
        .filter_map(|i| if let Item::Reasoning(t) = i { Some(t.text.as_str()) } else { None });
    words.collect()
}

/// Name and arguments of the calls that may be carried out.
pub(crate) fn calls(answer: &Answer) -> Vec<(String, Value)> {
    let whole = answer.items.iter().filter_map(|i| match i {
        Item::Call(Call { name, arguments: Written::Whole(a), .. }) => {
            Some((name.clone(), Value::Object(a.object().clone())))
        }
        _ => None,
    });
    whole.collect()
}
