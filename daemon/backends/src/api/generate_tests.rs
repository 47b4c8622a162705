use super::super::{testing::*, *};
use super::UNSIGNED;
use serde_json::{Value, json};

const P: Protocol = Protocol::Generate;

fn chunk(parts: Value) -> Value {
    json!({"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0}],
        "modelVersion": "gemini-x", "responseId": "r1"})
}

/// Thoughts, words and two calls at once, as the documentation shows them.
fn golden() -> Vec<Value> {
    let mut last = chunk(json!([{"text": "", "thoughtSignature": "TEFTVA=="}]));
    last["candidates"][0]["finishReason"] = json!("STOP");
    last["usageMetadata"] = json!({"promptTokenCount": 100, "cachedContentTokenCount": 20, "candidatesTokenCount": 28,
        "thoughtsTokenCount": 12, "totalTokenCount": 140});
    vec![
        chunk(json!([{"text": "I should ", "thought": true}])),
        chunk(json!([{"text": "look.", "thought": true}, {"text": "Reading. "}])),
        chunk(json!([{"text": "😀"}])),
        chunk(json!([
            {"functionCall": {"name": "read_file", "args": {"path": "ü"}, "id": "f1"}, "thoughtSignature": "U0lH"},
            {"functionCall": {"name": "list"}},
        ])),
        last,
    ]
}

#[test]
fn a_stream_becomes_an_answer() {
    let heard = hear(P, [&sse(&golden())[..]]);
    assert_eq!(heard.text(), "Reading. 😀");
    let answer = heard.answer();
    assert_eq!((answer.model.as_str(), answer.id.as_str(), &answer.stop), ("gemini-x", "r1", &Stop::End));
    assert_eq!(
        answer.usage,
        Usage { input: 100, cached: 20, cache_written: 0, output: 40, reasoning: 12, cost_micros: None }
    );
    assert_eq!(heard.whole_calls(), [("read_file", "{\"path\":\"ü\"}"), ("list", "{}")]);
    assert_eq!(heard.calls()[1].id, "call_3_1");
    assert!(matches!(&answer.items[0], Item::Reasoning(r) if r.text == "I should look."));
}

#[test]
fn an_answer_goes_back_as_it_came() {
    let heard = hear(P, [&sse(&golden())[..]]);
    let calls = heard.calls();
    let mut items = vec![user("Read")];
    items.extend(heard.answer().items.clone());
    items.push(result_of(calls[0], "A"));
    items.push(Item::Result(CallResult {
        id: calls[1].id.clone(),
        name: "list".to_owned(),
        parts: vec![
            Part::Text("no".to_owned()),
            Part::Media { mime: "image/png".to_owned(), data: "AA==".to_owned() },
        ],
        failed: true,
    }));
    let body = body_of(P, items, |_| {});
    assert_eq!(
        body["contents"],
        json!([
            {"role": "user", "parts": [{"text": "Read"}]},
            {"role": "model", "parts": [
                {"text": "Reading. 😀"},
                {"functionCall": {"name": "read_file", "args": {"path": "ü"}, "id": "f1"}, "thoughtSignature": "U0lH"},
                {"functionCall": {"name": "list", "args": {}}},
                {"text": "", "thoughtSignature": "TEFTVA=="},
            ]},
            {"role": "user", "parts": [
                {"functionResponse": {"name": "read_file", "response": {"output": "A"}, "id": "f1"}},
                {"functionResponse": {"name": "list", "response": {"error": "no"},
                    "parts": [{"inlineData": {"mimeType": "image/png", "data": "AA=="}}]}},
            ]},
        ])
    );
    assert_eq!(body["systemInstruction"], json!({"parts": [{"text": "Be brief."}]}));
}

#[test]
fn calls_of_another_model_say_that_they_are_unsigned() {
    let heard = hear(P, [&sse(&golden())[..]]);
    let body = body_of(P, heard.answer().items.clone(), |s| s.model = "other".to_owned());
    let parts = &body["contents"][0]["parts"];
    assert_eq!(parts[1]["thoughtSignature"], UNSIGNED);
    assert!(parts[2].get("thoughtSignature").is_none() && parts[1]["functionCall"].get("id").is_none());
    assert_eq!(parts.as_array().unwrap().len(), 3);
}

#[test]
fn a_stream_may_be_cut_anywhere() {
    let stream = sse(&golden());
    assert_cut_anywhere(P, &stream);
    assert_no_answer_before_the_end(P, &stream, b"data: {");
}

#[test]
fn signed_words_stay_apart() {
    let events = [
        chunk(
            json!([{"text": "a"}, {"text": "b", "thoughtSignature": "MQ=="}, {"text": "c"}, {"text": "d"}]),
        ),
        golden().remove(4),
    ];
    let heard = hear(P, [&sse(&events)[..]]);
    let body = body_of(P, heard.answer().items.clone(), |_| {});
    assert_eq!(
        body["contents"][0]["parts"],
        json!([{"text": "a"}, {"text": "b", "thoughtSignature": "MQ=="}, {"text": "cd"}, {"text": "", "thoughtSignature": "TEFTVA=="}])
    );
}

#[test]
fn what_the_service_ran_itself_goes_back_untouched() {
    let ran = json!([{"executableCode": {"language": "PYTHON", "code": "1"}}, {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}]);
    let heard = hear(P, [&sse(&[chunk(ran.clone()), golden().remove(4)])[..]]);
    let parts = body_of(P, heard.answer().items.clone(), |_| {})["contents"][0]["parts"].clone();
    assert_eq!(json!(parts.as_array().unwrap()[..2]), ran);
}

#[test]
fn a_call_that_is_not_whole_is_none() {
    for call in [
        json!({"name": "f", "args": [1]}),
        json!({"name": "f", "args": "{}"}),
        json!({"args": {}}),
        json!({"name": "f", "args": {}, "willContinue": true}),
        json!({"name": "f", "partialArgs": [{"jsonPath": "$.a"}]}),
    ] {
        let events = [chunk(json!([{"functionCall": call}])), golden().remove(4)];
        let heard = hear(P, [&sse(&events)[..]]);
        assert_eq!(heard.whole_calls(), []);
        assert!(matches!(heard.calls()[..], [Call { arguments: Written::Broken(_), .. }]), "{heard:?}");
    }
    let twice = b"data: {\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\",\"args\":{\"p\":1,\"p\":2}}}]},\"finishReason\":\"STOP\"}]}\n\n";
    assert!(matches!(hear(P, [&twice[..]]).end, Err(ApiError::Unreadable { .. })));
}

#[test]
fn an_answer_that_ends_otherwise_says_why() {
    let with = |reason: &str| {
        let mut events = golden();
        events[4]["candidates"][0]["finishReason"] = json!(reason);
        hear(P, [&sse(&events)[..]])
    };
    assert_eq!(with("MAX_TOKENS").answer().stop, Stop::Length);
    for (reason, stop) in [
        ("SAFETY", Stop::Refused("SAFETY".to_owned())),
        ("MALFORMED_FUNCTION_CALL", Stop::Malformed("MALFORMED_FUNCTION_CALL".to_owned())),
        ("NEW", Stop::Other("NEW".to_owned())),
    ] {
        assert_eq!(with(reason).answer().stop, stop);
        assert_eq!(with(reason).whole_calls(), []);
    }
    let blocked = json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 5}});
    let heard = hear(P, [&sse(&[blocked])[..]]);
    assert_eq!(heard.answer().stop, Stop::Refused("PROHIBITED_CONTENT".to_owned()));
}

#[test]
fn failures_are_found_in_streams_and_instead_of_them() {
    let error =
        json!({"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}});
    for body in [
        sse(&[golden().remove(0), error.clone()]),
        error.to_string().into_bytes(),
        format!("[{error}]").into_bytes(),
    ] {
        let heard = hear(P, [&body[..]]);
        let Err(ApiError::Refused(failure)) = heard.end else { panic!("{heard:?}") };
        assert_eq!(failure.kind, FailureKind::Overloaded);
    }
}

#[test]
fn settings_are_written_as_the_api_names_them() {
    let body = body_of(P, vec![user("x")], |s| {
        (s.temperature, s.top_p, s.top_k, s.max_tokens) = (Some(0.5), Some(0.9), Some(40), Some(9000));
        (s.effort, s.summary) = (Some(Effort::Low), Some(Summary::Auto));
        s.safety = vec![("HARM_CATEGORY_HARASSMENT".to_owned(), "BLOCK_NONE".to_owned())];
        s.choice = Choice::Required;
        s.built_in = vec![BuiltIn::Code];
    });
    assert_eq!(
        body["generationConfig"],
        json!({"temperature": 0.5, "topP": 0.9, "topK": 40, "maxOutputTokens": 9000,
            "thinkingConfig": {"thinkingLevel": "LOW", "includeThoughts": true}})
    );
    assert_eq!(
        body["safetySettings"],
        json!([{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}])
    );
    assert_eq!(
        body["toolConfig"],
        json!({"functionCallingConfig": {"mode": "ANY"}, "includeServerSideToolInvocations": true})
    );
    assert_eq!(body["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"]["type"], "object");
    assert_eq!(body["tools"][1], json!({"codeExecution": {}}));
    let plain = body_of(P, vec![user("x")], |s| s.effort = Some(Effort::None));
    assert_eq!(plain["generationConfig"], json!({"thinkingConfig": {"thinkingBudget": 0}}));
    assert!(ask("gemini", vec![user("x")], |s| s.effort = Some(Effort::Max)).is_err());
    let request = ask("gemini", vec![user("x")], |_| {}).unwrap();
    assert_eq!(request.secret.as_ref().unwrap().0, "x-goog-api-key");
    assert!(!request.url.as_str().contains("sk-test"));
}
