//! What holds for every protocol, whatever comes.

use super::{testing::*, *};
use proptest::prelude::*;
use serde_json::{Value, json};

const ALL: [Protocol; 4] = [Protocol::Responses, Protocol::Chat, Protocol::Messages, Protocol::Generate];

fn small() -> Limits {
    Limits {
        stream: 64 << 10,
        event: 8 << 10,
        values: 200,
        kept: 4 << 10,
        items: 20,
        calls: 5,
        arguments: 1 << 10,
    }
}

/// Events that write without an end: words, calls, arguments.
fn endless(protocol: Protocol, what: &str, number: usize) -> Value {
    let long = "x".repeat(100);
    match (protocol, what) {
        (Protocol::Responses, "words") => {
            json!({"type": "response.output_text.delta", "output_index": 0, "delta": long})
        }
        (Protocol::Responses, "calls") => {
            json!({"type": "response.output_item.added", "output_index": number, "item": {"type": "function_call", "name": "t", "call_id": "c"}})
        }
        (Protocol::Responses, "parts") => {
            json!({"type": "response.output_item.done", "output_index": number, "item": {"type": "web_search_call"}})
        }
        (Protocol::Responses, _) if number == 0 => endless(protocol, "calls", 0),
        (Protocol::Responses, _) => {
            json!({"type": "response.function_call_arguments.delta", "output_index": 0, "delta": long})
        }
        (Protocol::Chat, "words") => json!({"choices": [{"delta": {"content": long}}]}),
        (Protocol::Chat, "calls") => {
            json!({"choices": [{"delta": {"tool_calls": [{"index": number, "id": "", "function": {"name": "t"}}]}}]})
        }
        (Protocol::Chat, "parts") => {
            json!({"choices": [{"delta": {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}}]})
        }
        (Protocol::Chat, _) => {
            json!({"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "t", "arguments": long}}]}}]})
        }
        (Protocol::Messages, "words" | "arguments") if number == 0 => {
            let kind = if what == "words" { "text" } else { "tool_use" };
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": kind, "id": "a", "name": "t", "input": {}}})
        }
        (Protocol::Messages, "words") => {
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": long}})
        }
        (Protocol::Messages, "calls") => {
            json!({"type": "content_block_start", "index": number, "content_block": {"type": "tool_use", "id": "a", "name": "t"}})
        }
        (Protocol::Messages, "parts") => {
            json!({"type": "content_block_start", "index": number, "content_block": {"type": "redacted_thinking", "data": "x"}})
        }
        (Protocol::Messages, _) => {
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": long}})
        }
        (Protocol::Generate, "words") => json!({"candidates": [{"content": {"parts": [{"text": long}]}}]}),
        (Protocol::Generate, "calls") => {
            json!({"candidates": [{"content": {"parts": [{"functionCall": {"name": "t"}}]}}]})
        }
        (Protocol::Generate, "parts") => {
            json!({"candidates": [{"content": {"parts": [{"text": "", "thoughtSignature": "x"}]}}]})
        }
        (Protocol::Generate, _) => {
            let many = "x".repeat(2 << 10);
            json!({"candidates": [{"content": {"parts": [{"functionCall": {"name": "t", "args": {"a": many}}}]}}]})
        }
    }
}

#[test]
fn whatever_has_no_end_is_refused_by_name() {
    for protocol in ALL {
        for (what, expected) in [
            ("words", "bytes to be kept"),
            ("calls", "tool calls"),
            ("arguments", "bytes in the arguments of a call"),
            ("parts", "parts"),
        ] {
            let pieces: Vec<Vec<u8>> = (0..500).map(|n| sse(&[endless(protocol, what, n)])).collect();
            let heard = hear_within(protocol, small(), pieces.iter().map(Vec::as_slice));
            match heard.end {
                // Thoughts as details are counted by bytes first.
                Err(ApiError::TooMuch { what: refused, .. }) => assert!(
                    refused == expected || (what == "parts" && refused == "bytes to be kept"),
                    "{protocol} {what}: {refused}"
                ),
                other => panic!("{protocol} {what}: {other:?}"),
            }
        }
        let noise: Vec<&[u8]> = vec![b": nothing\n\ndata: {\"type\":\"ping\"}\n\n"; 5000];
        let heard = hear_within(protocol, small(), noise);
        assert!(matches!(heard.end, Err(ApiError::TooMuch { what: "bytes", .. })), "{protocol} {heard:?}");
        let long = format!("data: {}", "x".repeat(10_000));
        let heard = hear_within(protocol, small(), [long.as_bytes()]);
        assert!(matches!(heard.end, Err(ApiError::TooMuch { what: "bytes in one event", .. })), "{heard:?}");
        let wide = format!("data: [{}0]\n\n", "0,".repeat(300));
        let deep = format!("data: {}\n\n", "[".repeat(5000));
        for json in [wide, deep] {
            let heard = hear_within(protocol, small(), [json.as_bytes()]);
            assert!(matches!(heard.end, Err(ApiError::Unreadable { .. })), "{heard:?}");
        }
    }
}

/// 100 MB in one piece of text, and a million calls: refused long before.
#[test]
fn answers_of_any_size_cost_no_more_than_the_limits() {
    let line = vec![b'x'; 1 << 20];
    for protocol in ALL {
        let mut stream = Stream::new(origin(protocol), Limits::default(), 0);
        stream.push(b"data: ", &mut |_| {}).unwrap();
        let sent = (0..100).take_while(|_| stream.push(&line, &mut |_| {}).is_ok()).count();
        assert!(sent <= Limits::default().event >> 20, "{sent}");
        let mut stream = Stream::new(origin(protocol), Limits::default(), 0);
        let calls = (0..1_000_000)
            .take_while(|n| stream.push(&sse(&[endless(protocol, "calls", *n)]), &mut |_| {}).is_ok())
            .count();
        assert_eq!(calls, Limits::default().calls);
    }
}

/// A control character is one byte in memory and six in a journal, which must be able to keep it all.
#[test]
fn what_is_kept_is_weighed_as_the_journal_writes_it() {
    let words = |text: &str| json!({"choices": [{"delta": {"content": text}}]});
    let end = sse(&[json!({"choices": [{"delta": {}, "finish_reason": "stop"}]})]);
    for (piece, fits) in [("\u{1}", 682), ("\"", 2048), ("\n", 2048), ("x", 4096), ("\u{7f}", 4096)] {
        let limits = Limits { event: 1 << 20, stream: 1 << 20, ..small() };
        let events = [sse(&[words(&piece.repeat(fits))]), end.clone()];
        let heard = hear_within(Protocol::Chat, limits, events.iter().map(Vec::as_slice));
        let items = heard.end.unwrap().items;
        let written = serde_json::to_string(&items).unwrap().len();
        assert!((4000..(4 << 10) + 300).contains(&written), "{piece:?} {written}");
        let more = [sse(&[words(&piece.repeat(fits + 1))]), end.clone()];
        let heard = hear_within(Protocol::Chat, limits, more.iter().map(Vec::as_slice));
        assert!(matches!(heard.end, Err(ApiError::TooMuch { what: "bytes to be kept", .. })), "{piece:?}");
    }
}

/// `[],` is three bytes on the wire, and many times that in memory.
#[test]
fn what_goes_back_to_a_provider_is_weighed_with_its_values() {
    let many = vec![json!([]); 10_000];
    for protocol in ALL {
        let event = |n: usize| match protocol {
            Protocol::Responses => {
                json!({"type": "response.output_item.done", "output_index": n, "item": {"type": "web_search_call", "a": many}})
            }
            Protocol::Chat => {
                json!({"choices": [{"delta": {"reasoning_details": [{"type": "x", "index": n, "a": many}]}}]})
            }
            Protocol::Messages => {
                json!({"type": "content_block_start", "index": n, "content_block": {"type": "redacted_thinking", "a": many}})
            }
            Protocol::Generate => json!({"candidates": [{"content": {"parts": [{"executableCode": many}]}}]}),
        };
        let pieces: Vec<Vec<u8>> = (0..60).map(|n| sse(&[event(n)])).collect();
        let heard = hear(protocol, pieces.iter().map(Vec::as_slice));
        assert!(matches!(heard.end, Err(ApiError::TooMuch { what: "bytes to be kept", .. })), "{protocol}");
    }
    let arguments = format!("{{\"a\":{}}}", json!(vec![json!([]); 100_000]));
    let call = |n: usize| json!({"choices": [{"delta": {"tool_calls": [{"index": n, "id": "", "function": {"name": "t", "arguments": arguments}}]}}]});
    let mut pieces: Vec<Vec<u8>> = (0..8).map(|n| sse(&[call(n)])).collect();
    pieces.push(sse(&[json!({"choices": [{"delta": {}, "finish_reason": "stop"}]})]));
    let heard = hear(Protocol::Chat, pieces.iter().map(Vec::as_slice));
    assert!(matches!(heard.end, Err(ApiError::TooMuch { what: "bytes to be kept", .. })));
}

#[test]
fn what_is_no_stream_is_told_by_what_it_is() {
    for protocol in ALL {
        let end = |body: &str| hear(protocol, [body.as_bytes()]).end.unwrap_err();
        assert_eq!(end(""), ApiError::Truncated);
        let page = end("<html><body>Welcome</body></html>");
        assert!(page.to_string().contains("Welcome") && !page.is_retryable(), "{page}");
        let failure = end(r#"{"error":{"message":"no such model","code":"model_not_found"}}"#);
        assert!(matches!(failure, ApiError::Refused(f) if f.kind == FailureKind::NotFound));
        assert!(matches!(end("data: nonsense\n\n"), ApiError::Unreadable { .. }));
        assert!(matches!(end("data: [1]\n\n"), ApiError::Unreadable { .. }));
    }
}

#[test]
fn a_conversation_survives_its_journal() {
    let conversation = Conversation {
        system: "s".to_owned(),
        items: vec![
            user("x"),
            Item::Reasoning(Reasoning {
                text: "t".to_owned(),
                opaque: Some(Opaque { origin: origin(Protocol::Generate), json: json!("sig") }),
            }),
            Item::Call(Call {
                id: "1".to_owned(),
                name: "n".to_owned(),
                arguments: Written::Whole(Arguments::parse("{ \"a\": 1 }".to_owned()).unwrap()),
                opaque: None,
            }),
        ],
    };
    let json = serde_json::to_string(&conversation).unwrap();
    assert_eq!(serde_json::from_str::<Conversation>(&json).unwrap(), conversation);
}

fn word() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<u8>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "{}",
            "{\"a\":1}",
            "{\"a\"",
            "text",
            "tool_use",
            "function_call",
            "stop",
            "STOP",
            "n"
        ])
        .prop_map(Value::from),
        (0u64..3).prop_map(Value::from),
    ]
}

/// Objects with the names that the protocols use, in any arrangement.
fn event() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "index",
        "output_index",
        "delta",
        "content_block",
        "item",
        "response",
        "choices",
        "candidates",
        "content",
        "parts",
        "functionCall",
        "args",
        "function",
        "arguments",
        "name",
        "id",
        "call_id",
        "tool_calls",
        "text",
        "thinking",
        "signature",
        "partial_json",
        "error",
        "usage",
        "output",
        "status",
        "thoughtSignature",
        "finish_reason",
        "finishReason",
        "stop_reason",
        "message",
        "reasoning_details",
        "summary",
        "type",
    ]);
    let kinds = prop::sample::select(vec![
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "response.output_item.added",
        "response.output_item.done",
        "response.completed",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "text_delta",
        "response.output_text.delta",
        "response.incomplete",
        "response.reasoning_summary_part.added",
        "error",
    ]);
    let node = word().prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(names.clone(), inner, 0..5)
                .prop_map(|m| Value::Object(m.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    });
    (kinds, node).prop_map(|(kind, mut node)| {
        if node.is_object() {
            node["type"] = json!(kind);
        }
        node
    })
}

fn sound(heard: &Heard) -> bool {
    let Ok(answer) = &heard.end else { return true };
    let ids: Vec<&str> = answer
        .items
        .iter()
        .filter_map(|i| if let Item::Call(c) = i { Some(c.id.as_str()) } else { None })
        .collect();
    let distinct: std::collections::HashSet<&&str> = ids.iter().collect();
    heard.whole_calls().iter().all(|(name, arguments)| {
        !name.is_empty() && serde_json::from_str::<serde_json::Map<String, Value>>(arguments).is_ok()
    }) && distinct.len() == ids.len()
        && ids.iter().all(|id| !id.is_empty())
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_never_call(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for protocol in ALL {
            let heard = hear(protocol, [&bytes[..], b"\n\ndata: {", &bytes[..]]);
            prop_assert!(heard.end.is_err() && heard.whole_calls().is_empty());
        }
    }

    #[test]
    fn arbitrary_events_never_panic_and_never_make_half_a_call(
        events in prop::collection::vec(event(), 0..8), chunk in 1usize..50,
    ) {
        let stream = sse(&events);
        for protocol in ALL {
            let heard = hear(protocol, [&stream[..]]);
            prop_assert!(sound(&heard), "{:?}", heard);
            prop_assert_eq!(&hear(protocol, stream.chunks(chunk)), &heard);
        }
    }

    /// What was called is what goes back, in every protocol.
    #[test]
    fn calls_go_back_as_they_are(
        arguments in prop::collection::btree_map("\\PC{0,6}", "\\PC{0,12}", 0..4), id in "[a-z0-9_]{1,12}",
    ) {
        let text = json!(arguments).to_string();
        let call = Call {
            id: id.clone(),
            name: "t".to_owned(),
            arguments: Written::Whole(Arguments::parse(text.clone()).unwrap()),
            opaque: None,
        };
        let items = vec![user("x"), Item::Call(call.clone()), result_of(&call, "done")];
        let body = |protocol| body_of(protocol, items.clone(), |_| {});
        prop_assert_eq!(&body(Protocol::Responses)["input"][1]["arguments"], &json!(text));
        prop_assert_eq!(&body(Protocol::Responses)["input"][2]["call_id"], &json!(id));
        let chat = &body(Protocol::Chat)["messages"];
        prop_assert_eq!(&chat[2]["tool_calls"][0]["function"]["arguments"], &json!(text));
        prop_assert_eq!(&chat[3]["tool_call_id"], &json!(id));
        let messages = &body(Protocol::Messages)["messages"];
        prop_assert_eq!(&messages[1]["content"][0]["input"], &json!(arguments));
        prop_assert_eq!(&messages[2]["content"][0]["tool_use_id"], &json!(id));
        let generate = &body(Protocol::Generate)["contents"];
        prop_assert_eq!(&generate[1]["parts"][0]["functionCall"]["args"], &json!(arguments));
    }
}
