use super::super::{testing::*, *};
use super::MAX_TOKENS;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const P: Protocol = Protocol::Messages;

/// Thoughts, words and two calls, as the documentation shows them, interleaved.
fn golden() -> Vec<Value> {
    vec![
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x",
            "content": [], "stop_reason": null, "stop_sequence": null,
            "usage": {"input_tokens": 25, "cache_creation_input_tokens": 5, "cache_read_input_tokens": 20, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
        json!({"type": "ping"}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Let me lööök"}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "EqQBCg=="}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "I will "}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "read. 😀"}}),
        json!({"type": "content_block_stop", "index": 1}),
        json!({"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "toolu_1", "name": "read_file", "input": {}, "caller": {"type": "direct"}}}),
        json!({"type": "content_block_start", "index": 3, "content_block": {"type": "tool_use", "id": "toolu_2", "name": "list", "input": {}}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": ""}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{\"path\": \"a"}}),
        json!({"type": "content_block_stop", "index": 3}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": ".txt\"}"}}),
        json!({"type": "content_block_stop", "index": 2}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"output_tokens": 89, "output_tokens_details": {"thinking_tokens": 9}}}),
        json!({"type": "message_stop"}),
    ]
}

fn with_stop(reason: &str) -> Vec<Value> {
    let mut events = golden();
    let delta = events.len() - 2;
    events[delta]["delta"]["stop_reason"] = json!(reason);
    events
}

#[test]
fn a_stream_becomes_an_answer() {
    let heard = hear(P, [&sse(&golden())[..]]);
    assert_eq!(heard.text(), "I will read. 😀");
    let answer = heard.answer();
    assert_eq!((answer.model.as_str(), answer.id.as_str(), &answer.stop), ("claude-x", "msg_1", &Stop::End));
    assert_eq!(
        answer.usage,
        Usage { input: 50, cached: 20, cache_written: 5, output: 89, reasoning: 9, cost_micros: None }
    );
    assert_eq!(heard.whole_calls(), [("read_file", "{\"path\": \"a.txt\"}"), ("list", "{}")]);
    let begun = heard.events.iter().filter(|e| matches!(e, Event::CallBegin { .. })).count();
    assert_eq!(begun, 2);
    assert!(heard.events.contains(&Event::CallEnd { index: 1, broken: None }));
}

#[test]
fn an_answer_goes_back_as_it_came() {
    let heard = hear(P, [&sse(&golden())[..]]);
    let calls = heard.calls();
    let mut items = vec![user("Read a.txt")];
    items.extend(heard.answer().items.clone());
    items.extend([result_of(calls[0], "A"), result_of(calls[1], "B"), user("and?")]);
    let body = body_of(P, items, |_| {});
    assert_eq!(
        body["messages"],
        json!([
            {"role": "user", "content": [{"type": "text", "text": "Read a.txt"}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Let me lööök", "signature": "EqQBCg=="},
                {"type": "text", "text": "I will read. 😀"},
                {"type": "tool_use", "id": "toolu_1", "name": "read_file", "input": {"path": "a.txt"}, "caller": {"type": "direct"}},
                {"type": "tool_use", "id": "toolu_2", "name": "list", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "A"}]},
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": [{"type": "text", "text": "B"}]},
                {"type": "text", "text": "and?"},
            ]},
        ])
    );
    assert_eq!(body["tools"][0]["input_schema"]["type"], "object");
    assert_eq!((&body["system"], &body["max_tokens"]), (&json!("Be brief."), &json!(MAX_TOKENS)));
}

#[test]
fn what_was_sealed_for_another_model_stays_away() {
    let heard = hear(P, [&sse(&golden())[..]]);
    let body = body_of(P, heard.answer().items.clone(), |s| s.model = "other".to_owned());
    let types: Vec<_> =
        body["messages"][0]["content"].as_array().unwrap().iter().map(|b| &b["type"]).collect();
    assert_eq!(types, ["text", "tool_use", "tool_use"]);
}

#[test]
fn a_stream_may_be_cut_anywhere() {
    let stream = sse(&golden());
    assert_cut_anywhere(P, &stream);
    assert_no_answer_before_the_end(P, &stream, b"data: {\"type\":\"message_stop\"}");
}

#[test]
fn a_call_that_was_cut_off_is_none() {
    let mut events = with_stop("max_tokens");
    events.remove(15);
    let heard = hear(P, [&sse(&events)[..]]);
    assert_eq!(heard.answer().stop, Stop::Length);
    assert_eq!(heard.whole_calls(), []);
    let Written::Broken(broken) = &heard.calls()[0].arguments else { panic!("{heard:?}") };
    assert_eq!(broken.wrote, "{\"path\": \"a");
    let body = body_of(P, heard.answer().items.clone(), |_| {});
    assert_eq!(body["messages"][0]["content"][2]["input"], json!({}));
}

#[test]
fn a_refused_answer_has_no_calls() {
    for (reason, stop) in
        [("refusal", Stop::Refused("refusal".to_owned())), ("new_one", Stop::Other("new_one".to_owned()))]
    {
        let heard = hear(P, [&sse(&with_stop(reason))[..]]);
        assert_eq!(heard.answer().stop, stop);
        assert_eq!(heard.whole_calls(), []);
    }
}

#[test]
fn redacted_thoughts_and_searches_go_back_untouched() {
    let redacted = json!({"type": "redacted_thinking", "data": "EmwKAhgB"});
    let found = json!({"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": [{"encrypted_content": "x"}]});
    let mut events = golden();
    events.truncate(1);
    for (index, block) in [
        redacted.clone(),
        json!({"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {}}),
        found.clone(),
    ]
    .iter()
    .enumerate()
    {
        events.push(json!({"type": "content_block_start", "index": index, "content_block": block}));
        if index == 1 {
            for piece in ["{\"query\":", "\"rust\"}"] {
                events.push(json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": piece}}));
            }
        }
        events.push(json!({"type": "content_block_stop", "index": index}));
    }
    events.push(json!({"type": "message_delta", "delta": {"stop_reason": "pause_turn"}, "usage": {"output_tokens": 1}}));
    events.push(json!({"type": "message_stop"}));
    let heard = hear(P, [&sse(&events)[..]]);
    assert_eq!(heard.answer().stop, Stop::Paused);
    let body = body_of(P, heard.answer().items.clone(), |_| {});
    let used =
        json!({"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "rust"}});
    assert_eq!(body["messages"][0]["content"], json!([redacted, used, found]));
}

#[test]
fn a_failure_in_the_middle_is_one() {
    let mut events = golden();
    events.truncate(8);
    events.push(json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}));
    let heard = hear(P, [&sse(&events)[..]]);
    let Err(ApiError::Refused(failure)) = &heard.end else { panic!("{heard:?}") };
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Overloaded, "Overloaded"));
    assert!(heard.end.as_ref().unwrap_err().is_retryable());
}

#[test]
fn a_muddled_stream_is_refused() {
    let start = |index: u64| json!({"type": "content_block_start", "index": index, "content_block": {"type": "tool_use", "id": "t", "name": "n", "input": {}}});
    let delta = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{}"}});
    let stop = json!({"type": "content_block_stop", "index": 0});
    for events in [
        vec![delta.clone()],
        vec![stop.clone()],
        vec![start(0), start(0)],
        vec![start(0), stop.clone(), start(0)],
        vec![start(0), stop, delta],
        vec![json!({"type": "content_block_start", "content_block": {"type": "text"}})],
    ] {
        let mut stream = events.clone();
        stream.extend(golden().split_off(17));
        let heard = hear(P, [&sse(&stream)[..]]);
        assert!(heard.end.is_err() || heard.whole_calls().is_empty(), "{events:?}: {heard:?}");
    }
}

#[test]
fn settings_are_written_as_the_api_names_them() {
    let body = body_of(P, vec![user("x")], |s| {
        (s.temperature, s.top_p, s.top_k, s.max_tokens) = (Some(0.5), Some(0.9), Some(40), Some(9000));
        (s.effort, s.summary) = (Some(Effort::High), Some(Summary::Auto));
        s.choice = Choice::Required;
        s.one_call = true;
        s.built_in = vec![BuiltIn::Code];
    });
    for (key, value) in [
        ("temperature", json!(0.5)),
        ("top_p", json!(0.9)),
        ("top_k", json!(40)),
        ("max_tokens", json!(9000)),
        ("thinking", json!({"type": "adaptive", "display": "summarized"})),
        ("output_config", json!({"effort": "high"})),
        ("tool_choice", json!({"type": "any", "disable_parallel_tool_use": true})),
    ] {
        assert_eq!(body[key], value, "{key}");
    }
    let budget = body_of(P, vec![user("x")], |s| s.reasoning_tokens = Some(2000));
    assert_eq!(budget["thinking"], json!({"type": "enabled", "budget_tokens": 2000}));
    assert_eq!(budget["max_tokens"], MAX_TOKENS + 2000);
    for bad in [(Some(1000), None), (Some(5000), Some(5000))] {
        let error = ask("claude", vec![user("x")], |s| (s.reasoning_tokens, s.max_tokens) = bad).unwrap_err();
        assert!(error.to_string().contains("reasoning.max_tokens"), "{error}");
    }
    assert!(ask("claude", vec![user("x")], |s| s.verbosity = Some(Verbosity::Low)).is_err());
}

#[test]
fn the_key_is_in_its_header_and_nowhere_else() {
    let request = ask("claude", vec![user("x")], |s| s.built_in = vec![BuiltIn::Code]).unwrap();
    assert_eq!(request.url.as_str(), "https://api.anthropic.com/v1/messages");
    let (name, value) = request.secret.clone().unwrap();
    assert_eq!((name, value.reveal()), ("x-api-key", "sk-test-key-1"));
    assert!(request.headers.contains(&("anthropic-version", "2023-06-01".to_owned())));
    assert!(request.headers.iter().any(|(n, _)| *n == "anthropic-beta"));
    assert!(!format!("{request:?}").contains("sk-test"));
    assert!(!String::from_utf8(request.body).unwrap().contains("sk-test"));
}

proptest! {
    #[test]
    fn changed_streams_never_make_up_a_call(at in 0usize..3000, byte in any::<u8>(), gone in 0usize..40) {
        let mut stream = sse(&golden());
        let at = at % stream.len();
        if gone == 0 { stream[at] = byte } else { stream.drain(at..(at + gone).min(stream.len())); }
        let heard = hear(P, [&stream[..]]);
        for (_, arguments) in heard.whole_calls() {
            prop_assert!(serde_json::from_str::<Map<String, Value>>(arguments).is_ok());
        }
    }
}
