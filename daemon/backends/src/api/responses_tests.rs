use super::super::{testing::*, *};
use proptest::prelude::*;
use serde_json::{Value, json};

const P: Protocol = Protocol::Responses;

fn thought() -> Value {
    json!({"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "I should look."}],
        "encrypted_content": "gAAAAAB="})
}

fn call(number: u64, arguments: &str) -> Value {
    json!({"id": format!("fc_{number}"), "type": "function_call", "status": "completed", "name": "read_file",
        "call_id": format!("call_{number}"), "arguments": arguments})
}

/// Thoughts, words and two calls at once, as the documentation shows them.
fn golden() -> Vec<Value> {
    let response = |status: &str| json!({"id": "resp_1", "object": "response", "model": "gpt-x", "status": status, "output": []});
    let mut started = [call(1, ""), call(2, "")];
    started.iter_mut().for_each(|c| c["status"] = json!("in_progress"));
    let [first, second] = started;
    let words = json!({"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "phase": "commentary",
        "content": [{"type": "output_text", "text": "Reading. 😀", "annotations": []}]});
    let mut done = response("completed");
    done["output"] = json!([thought(), words, call(1, "{\"path\":\"ü\"}"), call(2, "{\"path\":\"b\"}")]);
    done["usage"] = json!({"input_tokens": 100, "input_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 3},
        "output_tokens": 40, "output_tokens_details": {"reasoning_tokens": 12}, "total_tokens": 140});
    let arguments = |index: u64, delta: &str| json!({"type": "response.function_call_arguments.delta", "item_id": "x", "output_index": index, "delta": delta});
    let all = |index: u64, text: &str| json!({"type": "response.function_call_arguments.done", "item_id": "x", "output_index": index, "arguments": text});
    vec![
        json!({"type": "response.created", "response": response("in_progress")}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"id": "rs_1", "type": "reasoning", "summary": []}}),
        json!({"type": "response.reasoning_summary_part.added", "output_index": 0, "summary_index": 0, "part": {"type": "summary_text", "text": ""}}),
        json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "I should look."}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": thought()}),
        json!({"type": "response.output_item.added", "output_index": 1, "item": {"id": "msg_1", "type": "message", "role": "assistant", "content": []}}),
        json!({"type": "response.content_part.added", "output_index": 1, "content_index": 0, "part": {"type": "output_text", "text": "", "annotations": []}}),
        json!({"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": "Reading", "obfuscation": "x"}),
        json!({"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": ". 😀"}),
        json!({"type": "response.output_text.done", "output_index": 1, "content_index": 0, "text": "Reading. 😀"}),
        json!({"type": "response.content_part.done", "output_index": 1, "content_index": 0, "part": words["content"][0]}),
        json!({"type": "response.output_item.done", "output_index": 1, "item": words}),
        json!({"type": "response.output_item.added", "output_index": 2, "item": first}),
        json!({"type": "response.output_item.added", "output_index": 3, "item": second}),
        arguments(2, "{\"path\":"),
        arguments(3, "{\"path\":\"b\"}"),
        arguments(2, "\"ü\"}"),
        all(3, "{\"path\":\"b\"}"),
        all(2, "{\"path\":\"ü\"}"),
        json!({"type": "response.output_item.done", "output_index": 3, "item": call(2, "{\"path\":\"b\"}")}),
        json!({"type": "response.output_item.done", "output_index": 2, "item": call(1, "{\"path\":\"ü\"}")}),
        json!({"type": "response.completed", "response": done}),
    ]
}

#[test]
fn a_stream_becomes_an_answer() {
    let heard = hear(P, [&sse(&golden())[..]]);
    assert_eq!(heard.text(), "Reading. 😀");
    let answer = heard.answer();
    assert_eq!((answer.model.as_str(), answer.id.as_str(), &answer.stop), ("gpt-x", "resp_1", &Stop::End));
    assert_eq!(
        answer.usage,
        Usage { input: 100, cached: 20, cache_written: 3, output: 40, reasoning: 12, cost_micros: None }
    );
    assert_eq!(heard.whole_calls(), [("read_file", "{\"path\":\"ü\"}"), ("read_file", "{\"path\":\"b\"}")]);
}

#[test]
fn an_answer_goes_back_as_it_came() {
    let heard = hear(P, [&sse(&golden())[..]]);
    let calls = heard.calls();
    let mut items = vec![user("Read them")];
    items.extend(heard.answer().items.clone());
    items.extend([result_of(calls[0], "A"), result_of(calls[1], "B")]);
    let body = body_of(P, items, |_| {});
    assert_eq!(
        body["input"],
        json!([
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Read them"}]},
            thought(),
            {"type": "message", "role": "assistant", "phase": "commentary", "content": "Reading. 😀"},
            {"type": "function_call", "call_id": "call_1", "name": "read_file", "arguments": "{\"path\":\"ü\"}"},
            {"type": "function_call", "call_id": "call_2", "name": "read_file", "arguments": "{\"path\":\"b\"}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "A"},
            {"type": "function_call_output", "call_id": "call_2", "output": "B"},
        ])
    );
    assert_eq!((&body["store"], &body["include"]), (&json!(false), &json!(["reasoning.encrypted_content"])));
    assert_eq!(body["tools"][0]["type"], "function");
}

#[test]
fn a_stream_may_be_cut_anywhere() {
    let stream = sse(&golden());
    assert_cut_anywhere(P, &stream);
    assert_no_answer_before_the_end(P, &stream, b"data: {\"response\"");
}

#[test]
fn what_is_only_said_at_the_end_is_heard_too() {
    let items: Vec<Value> = golden()
        .iter()
        .filter(|e| e["type"] == "response.output_item.done")
        .map(|e| e["item"].clone())
        .collect();
    let whole = json!({"type": "response.completed", "response": {"id": "r", "model": "m", "output": items}});
    let events: Vec<Value> =
        golden().into_iter().filter(|e| !e["type"].as_str().unwrap().ends_with("delta")).collect();
    for stream in [vec![whole], events] {
        let heard = hear(P, [&sse(&stream)[..]]);
        assert_eq!(heard.text(), "Reading. 😀");
        assert_eq!(heard.whole_calls().len(), 2);
        assert!(matches!(&heard.answer().items[0], Item::Reasoning(r) if r.text == "I should look."));
    }
}

#[test]
fn thoughts_that_could_not_be_looked_up_stay_away() {
    let mut events = golden();
    events[4]["item"]["encrypted_content"] = Value::Null;
    let heard = hear(P, [&sse(&events)[..]]);
    let body = body_of(P, heard.answer().items.clone(), |_| {});
    assert_eq!(body["input"][0]["type"], "message");
}

#[test]
fn a_call_about_which_the_provider_says_two_things_is_none() {
    let broken = |at: usize, change: &dyn Fn(&mut Value)| {
        let mut events = golden();
        change(&mut events[at]);
        let heard = hear(P, [&sse(&events)[..]]);
        assert_eq!(heard.whole_calls(), [("read_file", "{\"path\":\"b\"}")], "{heard:?}");
        match &heard.calls()[0].arguments {
            Written::Broken(Broken { why, .. }) => why.clone(),
            whole => panic!("{whole:?}"),
        }
    };
    assert!(broken(18, &|e| e["arguments"] = json!("{\"path\":\"/\"}")).contains("two different"));
    assert!(broken(20, &|e| e["item"]["arguments"] = json!("{\"path\":\"/\"}")).contains("two different"));
    assert!(broken(20, &|e| e["item"]["name"] = json!("delete")).contains("two names"));
    assert!(broken(20, &|e| e["item"]["status"] = json!("incomplete")).contains("did not finish"));
    assert!(broken(20, &|e| e["type"] = json!("response.unknown")).contains("never finished"));
}

#[test]
fn failures_in_the_middle_are_told_apart() {
    for (event, kind, wait) in [
        (
            json!({"type": "response.failed", "response": {"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "Rate limit reached. Please try again in 1.5s."}}}),
            FailureKind::RateLimit,
            Some(1500),
        ),
        (
            json!({"type": "response.failed", "response": {"error": {"code": "context_length_exceeded", "message": "too long"}}}),
            FailureKind::ContextTooLong,
            None,
        ),
        (
            json!({"type": "error", "code": "server_error", "message": "x", "param": null}),
            FailureKind::Server,
            None,
        ),
        (
            json!({"type": "error", "error": {"type": "invalid_request_error", "code": "invalid_prompt", "message": "x"}}),
            FailureKind::Filtered,
            None,
        ),
        (
            json!({"type": "error", "status": 400, "error": {"type": "invalid_request_error", "message": "x"}}),
            FailureKind::BadRequest,
            None,
        ),
    ] {
        let mut events = golden();
        events.truncate(8);
        events.push(event);
        let heard = hear(P, [&sse(&events)[..]]);
        let Err(ApiError::Refused(failure)) = heard.end else { panic!("{heard:?}") };
        assert_eq!((failure.kind, failure.retry_after.map(|d| d.as_millis())), (kind, wait));
    }
}

#[test]
fn an_answer_that_ends_early_says_why() {
    for (reason, stop) in [
        (json!({"reason": "max_output_tokens"}), Stop::Length),
        (json!({"reason": "content_filter"}), Stop::Refused("content_filter".to_owned())),
        (Value::Null, Stop::Other("incomplete".to_owned())),
    ] {
        let mut events = golden();
        let last = events.len() - 1;
        events[last]["type"] = json!("response.incomplete");
        events[last]["response"]["incomplete_details"] = reason;
        let heard = hear(P, [&sse(&events)[..]]);
        assert_eq!(heard.whole_calls().is_empty(), stop != Stop::Length);
        assert_eq!(heard.answer().stop, stop);
    }
}

#[test]
fn models_that_do_not_think_are_not_asked_for_thoughts() {
    for (model, asked) in [
        ("gpt-5.4", true),
        ("o4-mini", true),
        ("grok-4.20-0309-reasoning", true),
        ("gpt-4o", false),
        ("gpt-4.1-mini", false),
        ("openai/gpt-5-chat-latest", false),
        ("ft:gpt-4o:x", false),
    ] {
        let body = body_of(P, vec![user("x")], |s| s.model = model.to_owned());
        assert_eq!(body.get("include").is_some(), asked, "{model}");
    }
}

#[test]
fn settings_are_written_as_the_api_names_them() {
    let body = body_of(P, vec![user("x")], |s| {
        (s.temperature, s.top_p, s.max_tokens) = (Some(0.5), Some(0.9), Some(9000));
        (s.effort, s.summary, s.verbosity) =
            (Some(Effort::XHigh), Some(Summary::Detailed), Some(Verbosity::Low));
        (s.choice, s.one_call) = (Choice::None, true);
        s.built_in = vec![
            BuiltIn::WebSearch {
                engine: None,
                max_results: None,
                context: Some("low".to_owned()),
                prompt: None,
            },
            BuiltIn::Code,
        ];
    });
    for (key, value) in [
        ("temperature", json!(0.5)),
        ("top_p", json!(0.9)),
        ("max_output_tokens", json!(9000)),
        ("reasoning", json!({"effort": "xhigh", "summary": "detailed"})),
        ("text", json!({"verbosity": "low"})),
        ("tool_choice", json!("none")),
        ("parallel_tool_calls", json!(false)),
        ("instructions", json!("Be brief.")),
    ] {
        assert_eq!(body[key], value, "{key}");
    }
    assert_eq!(body["tools"][1], json!({"type": "web_search", "search_context_size": "low"}));
    assert_eq!(body["tools"][2]["type"], "code_interpreter");
    let error = ask("openai", vec![user("x")], |s| s.top_k = Some(4)).unwrap_err().to_string();
    assert!(
        error.contains("top_k cannot be used with openai") && error.contains("claude, gemini"),
        "{error}"
    );
}

proptest! {
    #[test]
    fn leaving_out_events_never_changes_a_call(left_out in proptest::collection::hash_set(0usize..22, 1..6)) {
        let golden = golden();
        let whole = hear(P, [&sse(&golden)[..]]);
        let events: Vec<Value> = golden.iter().enumerate().filter(|(n, _)| !left_out.contains(n)).map(|(_, e)| e.clone()).collect();
        let heard = hear(P, [&sse(&events)[..]]);
        for call in heard.whole_calls() {
            prop_assert!(whole.whole_calls().contains(&call), "{:?}", call);
        }
    }
}

/// As llama.cpp's server has it: items have ids, and nobody counts them.
#[test]
fn items_without_a_number_are_told_apart_by_their_ids() {
    let call = |id: &str, n: u8, status: &str, arguments: &str| {
        json!({"type": "function_call", "id": format!("fc_{id}"), "call_id": id, "name": "flip",
            "status": status, "arguments": arguments, "n": n})
    };
    let delta = |id: &str, text: &str| json!({"type": "response.function_call_arguments.delta", "item_id": format!("fc_{id}"), "delta": text});
    let events = [
        json!({"type": "response.output_item.added", "item": call("a", 0, "in_progress", "")}),
        json!({"type": "response.output_item.added", "item": call("b", 1, "in_progress", "")}),
        delta("b", "{\"on\":"),
        delta("a", "{}"),
        delta("b", "true}"),
        json!({"type": "response.output_item.done", "item": call("a", 0, "completed", "{}")}),
        json!({"type": "response.output_item.done", "item": call("b", 1, "completed", "{\"on\":true}")}),
        json!({"type": "response.completed", "response": {"id": "r", "model": "m", "output": []}}),
    ];
    let heard = hear(Protocol::Responses, [&sse(&events)[..]]);
    assert_eq!(heard.whole_calls(), [("flip", "{}"), ("flip", "{\"on\":true}")]);
    // And nothing at all that says which.
    let nameless = [json!({"type": "response.output_text.delta", "delta": "x"})];
    assert!(matches!(hear(Protocol::Responses, [&sse(&nameless)[..]]).end, Err(ApiError::Unreadable { .. })));
}
