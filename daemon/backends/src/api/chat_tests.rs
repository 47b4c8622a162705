use super::super::{testing::*, *};
use proptest::prelude::*;
use serde_json::{Value, json};

const P: Protocol = Protocol::Chat;

fn chunk(delta: Value) -> Value {
    json!({"id": "gen-1", "object": "chat.completion.chunk", "created": 1, "model": "vendor/m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

fn finish(reason: &str) -> Value {
    let mut chunk = chunk(json!({}));
    chunk["choices"][0]["finish_reason"] = json!(reason);
    chunk
}

fn piece(index: u64, id: Option<&str>, name: Option<&str>, arguments: &str) -> Value {
    let mut call = json!({"index": index, "type": "function", "function": {"arguments": arguments}});
    if let Some(id) = id {
        call["id"] = json!(id);
    }
    if let Some(name) = name {
        call["function"]["name"] = json!(name);
    }
    chunk(json!({"tool_calls": [call]}))
}

fn stream(events: &[Value]) -> Vec<u8> {
    let mut out = b": OPENROUTER PROCESSING\n\n".to_vec();
    out.extend(sse(events));
    out.extend(b"data: [DONE]\n\n");
    out
}

/// Thoughts, words and two calls at once, as OpenRouter sends them.
fn golden() -> Vec<Value> {
    let detail = |key: &str, value: &str| {
        json!({"reasoning": if key == "text" { value } else { "" }, "content": "",
        "reasoning_details": [{"type": "reasoning.text", key: value, "format": "anthropic-claude-v1", "index": 0}]})
    };
    let mut usage = json!({"id": "gen-1", "model": "vendor/m", "choices": []});
    usage["usage"] = json!({"prompt_tokens": 100, "completion_tokens": 40, "total_tokens": 140, "cost": 0.0012345,
        "prompt_tokens_details": {"cached_tokens": 20}, "completion_tokens_details": {"reasoning_tokens": 12}});
    vec![
        chunk(json!({"role": "assistant", "content": ""})),
        chunk(detail("text", "I should ")),
        chunk(detail("text", "look.")),
        chunk(detail("signature", "c2ln")),
        chunk(json!({"content": "Reading. ", "reasoning": null})),
        chunk(json!({"content": "😀"})),
        piece(0, Some("call_1"), Some("read_file"), ""),
        piece(1, Some("call_2"), Some("list"), ""),
        piece(0, None, None, "{\"path\":"),
        piece(0, None, None, "\"ü\"}"),
        finish("tool_calls"),
        usage,
    ]
}

#[test]
fn a_stream_becomes_an_answer() {
    let heard = hear(P, [&stream(&golden())[..]]);
    assert_eq!(heard.text(), "Reading. 😀");
    let answer = heard.answer();
    assert_eq!((answer.model.as_str(), answer.id.as_str(), &answer.stop), ("vendor/m", "gen-1", &Stop::End));
    let cost_micros = Some(1235);
    assert_eq!(
        answer.usage,
        Usage { input: 100, cached: 20, cache_written: 0, output: 40, reasoning: 12, cost_micros }
    );
    assert_eq!(heard.whole_calls(), [("read_file", "{\"path\":\"ü\"}"), ("list", "{}")]);
}

#[test]
fn an_answer_goes_back_as_it_came() {
    let heard = hear(P, [&stream(&golden())[..]]);
    let calls = heard.calls();
    let mut items = vec![user("Read")];
    items.extend(heard.answer().items.clone());
    items.extend([result_of(calls[0], "A"), result_of(calls[1], "B")]);
    let body = body_of(P, items, |_| {});
    assert_eq!(
        body["messages"],
        json!([
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Read"},
            {"role": "assistant", "content": "Reading. 😀",
                "reasoning_details": [{"type": "reasoning.text", "text": "I should look.", "signature": "c2ln",
                    "format": "anthropic-claude-v1", "index": 0}],
                "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "read_file", "arguments": "{\"path\":\"ü\"}"}},
                    {"id": "call_2", "type": "function", "function": {"name": "list", "arguments": "{}"}},
                ]},
            {"role": "tool", "tool_call_id": "call_1", "content": "A"},
            {"role": "tool", "tool_call_id": "call_2", "content": "B"},
        ])
    );
    assert_eq!(body["usage"], json!({"include": true}));
}

#[test]
fn plain_thoughts_go_back_within_their_turn_only() {
    let events = [
        chunk(json!({"reasoning_content": "hm"})),
        piece(0, Some("c"), Some("list"), "{}"),
        finish("tool_calls"),
    ];
    let heard = hear(P, [&stream(&events)[..]]);
    let mut items = vec![user("x")];
    items.extend(heard.answer().items.clone());
    items.push(result_of(heard.calls()[0], "A"));
    let body = body_of(P, items.clone(), |_| {});
    assert_eq!(body["messages"][2]["reasoning_content"], "hm");
    items.push(user("next"));
    assert!(body_of(P, items, |_| {})["messages"][2].get("reasoning_content").is_none());
}

#[test]
fn a_stream_may_be_cut_anywhere() {
    let stream = stream(&golden());
    assert_cut_anywhere(P, &stream);
    assert_no_answer_before_the_end(P, &stream, b"data: {\"choices\":[{\"delta\":{},");
}

#[test]
fn servers_that_number_calls_in_their_own_way_are_understood() {
    let no_index = |mut event: Value| {
        event["choices"][0]["delta"]["tool_calls"][0].as_object_mut().unwrap().remove("index");
        event
    };
    let all = |n: &str| format!("{{\"n\":{n}}}");
    for events in [
        // One index for all.
        vec![piece(0, Some("a"), Some("t"), &all("1")), piece(0, Some("b"), Some("t"), &all("2"))],
        // None at all.
        vec![
            no_index(piece(0, Some("a"), Some("t"), &all("1"))),
            no_index(piece(0, Some("b"), Some("t"), &all("2"))),
        ],
        // Name and id with every piece.
        vec![
            piece(0, Some("a"), Some("t"), "{\"n\":"),
            piece(1, Some("b"), Some("t"), "{\"n\":"),
            piece(0, Some("a"), Some("t"), "1}"),
            piece(1, Some("b"), Some("t"), "2}"),
        ],
        // A fresh id with every piece.
        vec![
            piece(0, Some("a"), Some("t"), "{\"n\":"),
            piece(0, Some("x"), None, "1}"),
            piece(1, Some("b"), Some("t"), "{\"n\":"),
            piece(1, Some("y"), None, "2}"),
        ],
        // No ids.
        vec![piece(0, None, Some("t"), &all("1")), piece(1, None, Some("t"), &all("2"))],
    ] {
        let mut events = events;
        events.push(finish("stop"));
        let heard = hear(P, [&stream(&events)[..]]);
        assert_eq!(heard.whole_calls(), [("t", "{\"n\":1}"), ("t", "{\"n\":2}")], "{events:?}");
        assert_ne!(heard.calls()[0].id, heard.calls()[1].id);
    }
}

#[test]
fn two_calls_never_become_one() {
    for events in [
        vec![piece(0, Some("a"), Some("read"), "{}"), piece(0, None, Some("delete"), "")],
        vec![piece(0, Some("a"), Some("read"), "{\"p\":1}"), piece(0, None, None, "{\"p\":2}")],
        vec![piece(0, Some("a"), None, "{}")],
        vec![piece(0, None, None, "{}")],
    ] {
        let mut events = events;
        events.push(finish("tool_calls"));
        let heard = hear(P, [&stream(&events)[..]]);
        assert_eq!(heard.whole_calls(), [], "{events:?}");
        assert!(heard.events.iter().any(|e| matches!(e, Event::CallEnd { broken: Some(_), .. })));
    }
}

#[test]
fn equal_ids_are_made_to_differ() {
    let events =
        [piece(0, Some("a"), Some("t"), "{}"), piece(1, Some("a"), Some("t"), "{}"), finish("tool_calls")];
    let heard = hear(P, [&stream(&events)[..]]);
    assert_eq!(heard.calls().iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), ["a", "call_3_1"]);
}

#[test]
fn a_call_that_was_cut_off_is_none() {
    for arguments in ["", "{\"path\":\"/et"] {
        let events = [piece(0, Some("a"), Some("delete"), arguments), finish("length")];
        let heard = hear(P, [&stream(&events)[..]]);
        assert_eq!(heard.answer().stop, Stop::Length);
        assert!(matches!(&heard.calls()[0].arguments, Written::Broken(_)), "{heard:?}");
    }
    for reason in ["content_filter", "whatever"] {
        let events = [piece(0, Some("a"), Some("delete"), "{}"), finish(reason)];
        assert_eq!(hear(P, [&stream(&events)[..]]).whole_calls(), []);
    }
}

#[test]
fn done_without_a_reason_is_no_answer() {
    let heard = hear(P, [&stream(&golden()[..10])[..]]);
    assert_eq!(heard.end, Err(ApiError::Truncated));
    // A reason without it is one.
    assert!(hear(P, [&sse(&golden())[..]]).end.is_ok());
}

#[test]
fn failures_in_the_middle_are_told_apart() {
    for (event, kind) in [
        (
            json!({"error": {"code": 429, "message": "slow"}, "choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]}),
            FailureKind::RateLimit,
        ),
        (json!({"error": {"code": 502, "message": "Provider disconnected"}}), FailureKind::Server),
        (
            json!({"error": {"message": "The server is overloaded", "type": "server_error", "code": "unavailable"}}),
            FailureKind::Overloaded,
        ),
        (json!({"error": "model crashed"}), FailureKind::Server),
        (finish("error"), FailureKind::Server),
    ] {
        let heard = hear(P, [&stream(&[chunk(json!({"content": "a"})), event])[..]]);
        let Err(ApiError::Refused(failure)) = heard.end else { panic!("{heard:?}") };
        assert_eq!(failure.kind, kind);
    }
}

#[test]
fn every_provider_is_asked_in_its_own_words() {
    let asked = |name: &str, change: &dyn Fn(&mut Settings)| -> Value {
        let request = ask(name, vec![user("x")], change).unwrap();
        serde_json::from_slice(&request.body).unwrap()
    };
    let body = asked("openrouter", &|s| {
        (s.effort, s.reasoning_exclude, s.top_k, s.max_tokens) =
            (Some(Effort::High), Some(true), Some(7), Some(99));
        s.built_in = vec![BuiltIn::WebSearch {
            engine: Some("exa".to_owned()),
            max_results: Some(3),
            context: Some("high".to_owned()),
            prompt: Some("from the web:".to_owned()),
        }];
        (s.one_call, s.reasoning_enabled) = (true, Some(true));
    });
    assert_eq!(body["reasoning"], json!({"effort": "high", "exclude": true, "enabled": true}));
    assert_eq!((&body["top_k"], &body["max_tokens"]), (&json!(7), &json!(99)));
    let plugin = json!({"id": "web", "engine": "exa", "max_results": 3, "search_prompt": "from the web:"});
    assert_eq!(body["plugins"], json!([plugin]));
    assert_eq!(body["web_search_options"], json!({"search_context_size": "high"}));
    assert_eq!(body["parallel_tool_calls"], json!(false));
    assert!(body.get("reasoning_effort").is_none());

    let body = asked("azure_openai", &|s| {
        (s.effort, s.max_tokens, s.verbosity) = (Some(Effort::Low), Some(99), Some(Verbosity::High));
    });
    assert_eq!((&body["reasoning_effort"], &body["max_completion_tokens"]), (&json!("low"), &json!(99)));
    assert_eq!((&body["verbosity"], body.get("max_tokens")), (&json!("high"), None));

    assert_eq!(asked("zai", &|s| s.effort = Some(Effort::None))["thinking"], json!({"type": "disabled"}));
    let thinking = asked("zai", &|s| s.reasoning_enabled = Some(true));
    assert_eq!(thinking["thinking"], json!({"type": "enabled"}));
    let body = asked("sglang", &|s| {
        (s.repetition_penalty, s.separate_reasoning) = (Some(1.1), Some(true));
        s.template = json!({"enable_thinking": false}).as_object().cloned();
    });
    assert_eq!(body["chat_template_kwargs"], json!({"enable_thinking": false}));
    assert_eq!((&body["repetition_penalty"], &body["separate_reasoning"]), (&json!(1.1), &json!(true)));
    assert!(ask("vllm", vec![user("x")], |s| s.separate_reasoning = Some(true)).is_err());
}

#[test]
fn requests_go_where_they_should() {
    let url = |name: &str, base: Option<&str>, model: &str| {
        let endpoint = Endpoint::new(provider(name).unwrap(), base, None).unwrap();
        let settings = Settings { model: model.to_owned(), ..Default::default() };
        let key = cordon_config::Secret::new("k".to_owned());
        let conversation = Conversation::default();
        request(&endpoint, Some(&key), &conversation, &[], &settings).unwrap().url.to_string()
    };
    for (name, base, model, wanted) in [
        ("openai", None, "m", "https://api.openai.com/v1/responses"),
        ("grok", None, "m", "https://api.x.ai/v1/responses"),
        ("zai", None, "m", "https://api.z.ai/api/paas/v4/chat/completions"),
        ("chatcompletion", Some("http://127.0.0.1:9/v1/"), "m", "http://127.0.0.1:9/v1/chat/completions"),
        ("claude", Some("http://h/v1"), "m", "http://h/v1/messages"),
        ("claude", Some("http://h/x/"), "m", "http://h/x/v1/messages"),
        (
            "gemini",
            None,
            "models/g",
            "https://generativelanguage.googleapis.com/v1beta/models/g:streamGenerateContent?alt=sse",
        ),
        (
            "gemini",
            Some("http://h"),
            "a/../b?key=1",
            "http://h/v1beta/models/a%2F..%2Fb%3Fkey=1:streamGenerateContent?alt=sse",
        ),
        (
            "azure_openai",
            Some("https://r.openai.azure.com/"),
            "dep/1",
            "https://r.openai.azure.com/openai/deployments/dep%2F1/chat/completions?api-version=2024-12-01-preview",
        ),
        (
            "azure_openai",
            Some("https://r.openai.azure.com/openai/v1/"),
            "d",
            "https://r.openai.azure.com/openai/v1/chat/completions",
        ),
    ] {
        assert_eq!(url(name, base, model), wanted);
    }
}

#[test]
fn keys_go_to_their_own_place_only() {
    let endpoint = |base: Option<&str>| Endpoint::new(provider("chatcompletion").unwrap(), base, None);
    let variables = |base: &str| endpoint(Some(base)).unwrap().key_variables();
    assert_eq!(variables("https://openrouter.ai/api/v1"), ["OPENROUTER_API_KEY"]);
    assert_eq!(variables("https://api.z.ai/api/paas/v4"), ["ZAI_API_KEY"]);
    assert_eq!(variables("https://openrouter.ai.example/v1"), [""; 0]);
    assert_eq!(variables("http://localhost:1/openrouter.ai"), [""; 0]);
    for bad in [
        "https://user:pw@h/v1",
        "https://h/v1?api_key=x",
        "ftp://h",
        "h:80",
        "https://h/#x",
        "not a url",
        "file:///x",
    ] {
        let error = endpoint(Some(bad)).unwrap_err().to_string();
        assert!(!error.contains("pw") && !error.contains("api_key=x"), "{error}");
    }
    let nowhere = Endpoint::new(provider("azure_openai").unwrap(), None, None).unwrap_err().to_string();
    assert!(nowhere.contains("AZURE_OPENAI_ENDPOINT"), "{nowhere}");
    assert!(endpoint(Some("http://h:8/v1")).unwrap().is_clear());
    assert_eq!(endpoint(Some("http://h:8/v1")).unwrap().host(), ("h", 8));
    assert!(!endpoint(None).unwrap().is_clear());
    for (name, base, key, sent) in [
        ("lmstudio", None, None, Some("Bearer lm-studio")),
        ("vllm", None, Some(" k\n"), Some("Bearer k")),
        ("azure_openai", Some("https://r.openai.azure.com"), Some("k"), Some("k")),
        ("chatcompletion", Some("http://localhost:1/v1"), None, None),
    ] {
        let endpoint = Endpoint::new(provider(name).unwrap(), base, None).unwrap();
        let settings = Settings { model: "m".to_owned(), ..Default::default() };
        let key = key.map(|k| cordon_config::Secret::new(k.to_owned()));
        let request = request(&endpoint, key.as_ref(), &Conversation::default(), &[], &settings);
        assert_eq!(request.unwrap().secret.as_ref().map(|(_, s)| s.reveal()), sent, "{name}");
    }
    let settings = Settings { model: "m".to_owned(), ..Default::default() };
    let openai = Endpoint::new(provider("openai").unwrap(), None, None).unwrap();
    for (key, said) in [(None, "OPENAI_API_KEY"), (Some("k\r\nx: y"), "characters")] {
        let key = key.map(|k: &str| cordon_config::Secret::new(k.to_owned()));
        let request = request(&openai, key.as_ref(), &Conversation::default(), &[], &settings);
        let error = request.unwrap_err().to_string();
        assert!(error.contains(said) && !error.contains("x: y"), "{error}");
    }
}

#[test]
fn pictures_in_results_follow_the_results() {
    let picture = Part::Media { mime: "image/png".to_owned(), data: "AA==".to_owned() };
    let result = |id: &str, parts: Vec<Part>| {
        Item::Result(CallResult { id: id.to_owned(), name: "see".to_owned(), parts, failed: false })
    };
    let call = |id: &str| {
        let arguments = Written::Whole(Arguments::none());
        Item::Call(Call { id: id.to_owned(), name: "see".to_owned(), arguments, opaque: None })
    };
    let (first, second) = (result("a", vec![picture.clone()]), result("b", vec![Part::Text("B".to_owned())]));
    let items = vec![call("a"), call("b"), first, second, user("x")];
    let body = body_of(P, items, |_| {});
    let roles: Vec<_> =
        body["messages"].as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["system", "assistant", "tool", "tool", "user", "user"]);
    assert_eq!(body["messages"][4]["content"][1]["image_url"]["url"], "data:image/png;base64,AA==");
    let video = Item::User(vec![Part::Media { mime: "video/mp4".to_owned(), data: String::new() }]);
    assert!(ask("zai", vec![video], |_| {}).unwrap_err().to_string().contains("video/mp4"));
}

#[test]
fn what_no_provider_takes_is_not_sent() {
    let endpoint = Endpoint::new(provider("lmstudio").unwrap(), None, None).unwrap();
    let settings = Settings { model: "m".to_owned(), ..Default::default() };
    let sent = |items: Vec<Item>, names: &[&str]| {
        let tools: Vec<Tool> = names.iter().map(|n| Tool { name: (*n).to_owned(), ..tool() }).collect();
        let conversation = Conversation { system: String::new(), items };
        request(&endpoint, None, &conversation, &tools, &settings).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(sent(vec![], &["a", "_b-2"]), Ok(()));
    for names in [vec!["a", "a"], vec!["a.b"], vec![""], vec!["1a"], vec!["ä"]] {
        assert!(sent(vec![], &names).unwrap_err().contains("name"), "{names:?}");
    }
    assert!(sent(vec![], &[&"x".repeat(65)]).is_err());
    let heard = hear(P, [&stream(&golden())[..]]);
    assert!(sent(heard.answer().items.clone(), &[]).unwrap_err().contains("has no result"));
}

proptest! {
    #[test]
    fn arguments_may_come_in_any_pieces(text in "\\PC{0,20}", cuts in proptest::collection::vec(0usize..200, 0..10)) {
        let whole = json!({"text": text, "list": [1, {"a": null}]}).to_string();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| whole.floor_char_boundary(c % (whole.len() + 1))).collect();
        cuts.extend([0, whole.len()]);
        cuts.sort_unstable();
        let mut events = vec![piece(0, Some("a"), Some("t"), ""), piece(1, Some("b"), Some("u"), "")];
        for cut in cuts.windows(2) {
            events.push(piece(1, None, None, &whole[cut[0]..cut[1]]));
            events.push(piece(0, None, None, &whole[cut[0]..cut[1]]));
        }
        events.push(finish("tool_calls"));
        let heard = hear(P, [&stream(&events)[..]]);
        prop_assert_eq!(heard.whole_calls(), [("t", whole.as_str()), ("u", whole.as_str())]);
    }
}
