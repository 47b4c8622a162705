//! Streams of all protocols, and what has to hold for every one of them.

use super::*;
use serde_json::Value;

/// Everything that a stream said, and how it ended.
#[derive(Debug, PartialEq)]
pub(super) struct Heard {
    pub(super) events: Vec<Event>,
    pub(super) end: Result<Answer, ApiError>,
}

impl Heard {
    pub(super) fn answer(&self) -> &Answer {
        self.end.as_ref().unwrap()
    }

    pub(super) fn text(&self) -> String {
        self.events
            .iter()
            .filter_map(|e| if let Event::Text(t) = e { Some(t.as_str()) } else { None })
            .collect()
    }

    pub(super) fn calls(&self) -> Vec<&Call> {
        let items = self.answer().items.iter();
        items.filter_map(|i| if let Item::Call(c) = i { Some(c) } else { None }).collect()
    }

    /// Name and arguments of the calls that are some.
    pub(super) fn whole_calls(&self) -> Vec<(&str, &str)> {
        let calls = self.end.iter().flat_map(|a| &a.items);
        calls
            .filter_map(|i| match i {
                Item::Call(Call { name, arguments: Written::Whole(a), .. }) => {
                    Some((name.as_str(), a.text()))
                }
                _ => None,
            })
            .collect()
    }
}

pub(super) fn hear<'a>(protocol: Protocol, pieces: impl IntoIterator<Item = &'a [u8]>) -> Heard {
    hear_within(protocol, Limits::default(), pieces)
}

pub(super) fn hear_within<'a>(
    protocol: Protocol,
    limits: Limits,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Heard {
    let mut events = Vec::new();
    let mut stream = Stream::new(origin(protocol), limits, 3);
    let mut each = |event| events.push(event);
    for piece in pieces {
        if let Err(error) = stream.push(piece, &mut each) {
            assert_eq!(stream.finish(&mut each), Err(error.clone()));
            return Heard { events, end: Err(error) };
        }
    }
    let end = stream.finish(&mut each);
    Heard { events, end }
}

pub(super) fn origin(protocol: Protocol) -> Origin {
    let provider = match protocol {
        Protocol::Responses => "openai",
        Protocol::Chat => "openrouter",
        Protocol::Messages => "claude",
        Protocol::Generate => "gemini",
    };
    Origin { protocol, provider: provider.to_owned(), model: "m".to_owned() }
}

/// A stream of events as their provider writes them.
pub(super) fn sse(events: &[Value]) -> Vec<u8> {
    let mut out = String::new();
    for event in events {
        if let Some(name) = event["type"].as_str() {
            out.push_str(&format!("event: {name}\n"));
        }
        out.push_str(&format!("data: {event}\n\n"));
    }
    out.into_bytes()
}

/// The body that a provider would get for this conversation.
pub(super) fn body_of(protocol: Protocol, items: Vec<Item>, change: impl FnOnce(&mut Settings)) -> Value {
    let request = ask(origin(protocol).provider.as_str(), items, change).unwrap();
    serde_json::from_slice(&request.body).unwrap()
}

pub(super) fn ask(
    name: &str,
    items: Vec<Item>,
    change: impl FnOnce(&mut Settings),
) -> Result<Request, RequestError> {
    let base = (name == "azure_openai").then_some("https://r.openai.azure.com");
    let endpoint = Endpoint::new(provider(name).unwrap(), base, None)?;
    let mut settings = Settings { model: "m".to_owned(), ..Settings::default() };
    change(&mut settings);
    let mut conversation = Conversation { system: "Be brief.".to_owned(), items };
    conversation.answer_rest("not asked");
    let key = cordon_config::Secret::new("sk-test-key-1".to_owned());
    request(&endpoint, Some(&key), &conversation, &[tool()], &settings)
}

pub(super) fn tool() -> Tool {
    Tool {
        name: "read_file".to_owned(),
        description: "Reads a file.".to_owned(),
        parameters: serde_json::json!({"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}),
    }
}

pub(super) fn user(text: &str) -> Item {
    Item::User(vec![Part::Text(text.to_owned())])
}

pub(super) fn result_of(call: &Call, text: &str) -> Item {
    Item::Result(CallResult {
        id: call.id.clone(),
        name: call.name.clone(),
        parts: vec![Part::Text(text.to_owned())],
        failed: false,
    })
}

/// Cut in two, and every byte alone, a stream says the same as the whole.
pub(super) fn assert_cut_anywhere(protocol: Protocol, stream: &[u8]) {
    let whole = hear(protocol, [stream]);
    for cut in (0..=stream.len()).step_by(3) {
        assert_eq!(hear(protocol, [&stream[..cut], &stream[cut..]]), whole, "cut at {cut}");
    }
    assert_eq!(hear(protocol, stream.chunks(1)), whole);
}

/// A stream that ends early has no answer, wherever it ends before its last event.
pub(super) fn assert_no_answer_before_the_end(protocol: Protocol, stream: &[u8], last: &[u8]) {
    let end = stream.windows(last.len()).rposition(|w| w == last).unwrap();
    for cut in (0..end).rev().step_by(3) {
        let heard = hear(protocol, [&stream[..cut]]);
        assert!(heard.end.is_err(), "cut at {cut}: {heard:?}");
    }
}
