//! The scripted provider speaks its four protocols, whatever the client does around it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use cordon_tests::provider::{Call, Failure, Provider, Script, Turn, When};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpStream;

async fn send(provider: &Provider, method: &str, path: &str, body: &Value) -> (u16, Bytes) {
    let stream = TcpStream::connect(provider.addr).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", "Bearer planted-key")
        .body(Full::new(Bytes::from(body.to_string())))
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.into_body().collect().await.unwrap().to_bytes())
}

async fn post(provider: &Provider, path: &str, body: &Value) -> Value {
    let (status, bytes) = send(provider, "POST", path, body).await;
    assert_eq!(status, 200);
    serde_json::from_slice(&bytes).unwrap()
}

fn events(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).unwrap();
    text.lines().filter_map(|l| l.strip_prefix("data: ")).map(|d| serde_json::from_str(d).unwrap()).collect()
}

fn script() -> Script {
    Script {
        turns: vec![
            Turn::shell("echo hello"),
            Turn::write("/w/it's.txt", "no newline"),
            Turn::write("/w/b.txt", "a line\n"),
            Turn::text("Finished."),
        ],
        when: vec![When { contains: "other task".into(), turns: vec![Turn::text("Other.")] }],
        ..Script::default()
    }
}

#[tokio::test]
async fn responses_follow_the_script_through_the_tools_that_are_offered() {
    let provider = Provider::start(script()).await.unwrap();
    let tools = json!([
        {"type": "function", "name": "exec_command", "parameters": {"properties": {"cmd": {"type": "string"}}}},
        {"type": "custom", "name": "apply_patch"},
    ]);
    let mut input = vec![
        json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go"}]}),
        json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "<environment_context>"}]}),
    ];
    let mut calls = Vec::new();
    for _ in 0..3 {
        let answer =
            post(&provider, "/v1/responses", &json!({"model": "m", "tools": tools, "input": input})).await;
        let call = answer["output"][0].clone();
        // Asked again, it answers the same: clients retry.
        let again =
            post(&provider, "/responses", &json!({"model": "m", "tools": tools, "input": input})).await;
        assert_eq!(again["output"][0]["arguments"], call["arguments"]);
        assert_ne!(again["output"][0]["call_id"], call["call_id"]);
        input.push(call.clone());
        input.push(json!({"type": "function_call_output", "call_id": call["call_id"], "output": "x"}));
        calls.push(call);
    }
    assert_eq!(calls[0]["arguments"], r#"{"cmd":"echo hello"}"#);
    assert_eq!(calls[1]["arguments"], r#"{"cmd":"printf '%s' 'no newline' > '/w/it'\\''s.txt'"}"#);
    assert_eq!(calls[2]["input"], "*** Begin Patch\n*** Add File: /w/b.txt\n+a line\n*** End Patch\n");
    let (_, stream) =
        send(&provider, "POST", "/v1/responses", &json!({"stream": true, "tools": tools, "input": input}))
            .await;
    let events = events(&stream);
    let kinds: Vec<&str> = events.iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!((kinds[0], *kinds.last().unwrap()), ("response.created", "response.completed"));
    assert_eq!(events.last().unwrap()["response"]["output"][0]["content"][0]["text"], "Finished.");
    // A new message of a person begins again, or something else.
    input.push(json!({"role": "user", "content": "the other task"}));
    let answer = post(&provider, "/v1/responses", &json!({"tools": tools, "input": input})).await;
    assert_eq!(answer["output"][0]["content"][0]["text"], "Other.");
    assert_eq!(provider.keys(), ["planted-key"]);
    assert_eq!(provider.requests().len(), 8);
}

#[tokio::test]
async fn messages_follow_the_script_through_the_tools_that_are_offered() {
    let provider = Provider::start(script()).await.unwrap();
    let tools = json!([{"name": "Bash"}, {"name": "Write"}]);
    let mut messages = vec![json!({"role": "user", "content": "go"})];
    let mut inputs = Vec::new();
    for _ in 0..3 {
        let answer = post(&provider, "/v1/messages", &json!({"tools": tools, "messages": messages})).await;
        assert_eq!(answer["stop_reason"], "tool_use");
        let call = answer["content"][0].clone();
        messages.push(json!({"role": "assistant", "content": [call]}));
        messages.push(json!({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": call["id"], "content": "x"},
            {"type": "text", "text": "not a person"},
        ]}));
        inputs.push((call["name"].clone(), call["input"].clone()));
    }
    assert_eq!(inputs[0].1["command"], "echo hello");
    assert_eq!(inputs[1], (json!("Write"), json!({"file_path": "/w/it's.txt", "content": "no newline"})));
    let (_, stream) = send(
        &provider,
        "POST",
        "/v1/messages?beta=true",
        &json!({"stream": true, "tools": tools, "messages": messages}),
    )
    .await;
    let events = events(&stream);
    assert_eq!(events[1]["type"], "ping");
    assert_eq!(events[3]["delta"]["text"], "Finished.");
    assert_eq!(events.last().unwrap()["type"], "message_stop");
}

#[tokio::test]
async fn chat_completions_follow_the_script_through_the_tools_that_are_offered() {
    let provider = Provider::start(script()).await.unwrap();
    let tools = json!([{"type": "function", "function": {"name": "bash"}}, {"type": "function", "function": {"name": "create"}}]);
    let said = "<current_datetime>2026</current_datetime>\n\ngo";
    let mut messages =
        vec![json!({"role": "system", "content": "s"}), json!({"role": "user", "content": said})];
    let mut calls = Vec::new();
    for _ in 0..3 {
        let answer =
            post(&provider, "/v1/chat/completions", &json!({"tools": tools, "messages": messages})).await;
        assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
        let message = answer["choices"][0]["message"].clone();
        let call = message["tool_calls"][0].clone();
        messages.push(message);
        messages.push(json!({"role": "tool", "tool_call_id": call["id"], "content": "x"}));
        let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
        calls.push((call["function"]["name"].clone(), arguments));
    }
    assert_eq!(calls[0].1["command"], "echo hello");
    assert_eq!(calls[1], (json!("create"), json!({"path": "/w/it's.txt", "file_text": "no newline"})));
    let ask = json!({"stream": true, "tools": tools, "messages": messages});
    let (_, stream) = send(&provider, "POST", "/v1/chat/completions", &ask).await;
    let text = std::str::from_utf8(&stream).unwrap();
    let chunks = events(text.strip_suffix("data: [DONE]\n\n").unwrap().as_bytes());
    assert_eq!(chunks[0]["choices"][0]["delta"]["content"], "Finished.");
    assert_eq!(chunks.last().unwrap()["usage"]["prompt_tokens"], 100);
    // The person's words are found behind what the client puts before them.
    messages.push(json!({"role": "user", "content": said.replace("go", "the other task")}));
    let answer =
        post(&provider, "/v1/chat/completions", &json!({"tools": tools, "messages": messages})).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "Other.");
}

#[tokio::test]
async fn generate_content_follows_the_script_through_the_tools_that_are_offered() {
    let provider = Provider::start(script()).await.unwrap();
    let tools = json!([{"functionDeclarations": [
        {"name": "run_shell_command"},
        {"name": "write_file", "parametersJsonSchema": {"properties": {"file_path": {}, "content": {}}}},
    ]}]);
    let model = "/v1beta/models/gemini-x:generateContent";
    let mut contents =
        vec![json!({"role": "user", "parts": [{"text": "<session_context>"}, {"text": "go"}]})];
    let mut calls = Vec::new();
    for _ in 0..3 {
        let answer = post(&provider, model, &json!({"tools": tools, "contents": contents})).await;
        let content = answer["candidates"][0]["content"].clone();
        let call = content["parts"][0]["functionCall"].clone();
        contents.push(content);
        // Not every client sends the ids back.
        let result = json!({"name": call["name"], "response": {"output": "x"}});
        contents.push(json!({"role": "user", "parts": [{"functionResponse": result}]}));
        calls.push((call["name"].clone(), call["args"].clone()));
    }
    assert_eq!(calls[0], (json!("run_shell_command"), json!({"command": "echo hello"})));
    assert_eq!(calls[1], (json!("write_file"), json!({"file_path": "/w/it's.txt", "content": "no newline"})));
    let ask = json!({"tools": tools, "contents": contents});
    let stream = "/v1beta/models/gemini-x:streamGenerateContent?alt=sse";
    let (_, stream) = send(&provider, "POST", stream, &ask).await;
    assert_eq!(events(&stream)[0]["candidates"][0]["content"]["parts"][0]["text"], "Finished.");
    let count = post(&provider, "/v1beta/models/gemini-x:countTokens", &ask).await;
    assert_eq!(count["totalTokens"], 100);
    let broken = Provider::start(Script::failing(Failure::RateLimit)).await.unwrap();
    let (status, body) = send(&broken, "POST", model, &ask).await;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &body["error"]["code"]), (429, &json!(429)));
}

#[tokio::test]
async fn side_requests_do_not_move_the_script() {
    let provider = Provider::start(Script::of([Turn::shell("true")])).await.unwrap();
    let title =
        post(&provider, "/v1/messages", &json!({"messages": [{"role": "user", "content": "title?"}]})).await;
    assert_eq!(title["content"][0]["text"], Script::ASIDE);
    assert_eq!(send(&provider, "HEAD", "/", &json!(null)).await.0, 200);
    assert_eq!(send(&provider, "POST", "/v1/messages/count_tokens", &json!({})).await.0, 200);
    assert_eq!(send(&provider, "GET", "/v1/models", &json!(null)).await.0, 200);
    assert_eq!(send(&provider, "GET", "/v1/nothing", &json!(null)).await.0, 404);
    let seen = provider.wait_for(|r| r.method == "HEAD").await;
    assert_eq!(seen.key.as_deref(), Some("planted-key"));
}

#[tokio::test]
async fn each_failure_is_what_it_says() {
    let ask =
        json!({"stream": true, "tools": [{"name": "Bash"}], "messages": [{"role": "user", "content": "go"}]});
    for (failure, status) in [
        (Failure::Refuse, 401),
        (Failure::RateLimit, 429),
        (Failure::ServerError, 500),
        (Failure::Garbage, 200),
    ] {
        let provider = Provider::start(Script::failing(failure)).await.unwrap();
        for path in ["/v1/messages", "/v1/responses"] {
            let (got, body) = send(&provider, "POST", path, &ask).await;
            assert_eq!(got, status, "{failure:?}");
            assert_eq!(std::str::from_utf8(&body).is_err(), failure == Failure::Garbage);
        }
    }
    let provider = Provider::start(Script::failing(Failure::Huge(1 << 20))).await.unwrap();
    for path in ["/v1/messages", "/v1/responses"] {
        let (_, body) = send(&provider, "POST", path, &ask).await;
        assert!(events(&body).iter().any(|e| e.to_string().len() > 1 << 20));
    }
    let provider = Provider::start(Script::failing(Failure::Hang)).await.unwrap();
    let hung =
        tokio::time::timeout(Duration::from_millis(200), send(&provider, "POST", "/v1/responses", &ask));
    assert!(hung.await.is_err());
    assert_eq!(provider.requests().len(), 1);
}

#[tokio::test]
async fn a_failure_can_begin_later_and_scripts_are_files() {
    let text = r#"{"turns":[{"text":"t","calls":[{"shell":"a"},{"tool":{"name":"mcp__x__y","arguments":{"k":1}}}]}],
        "failure":"refuse","failure_from":1}"#;
    let script: Script = serde_json::from_str(text).unwrap();
    assert_eq!(script.turns[0].calls[0], Call::Shell("a".into()));
    let provider = Provider::start(script).await.unwrap();
    let tools = json!([{"name": "Bash"}]);
    let mut messages = vec![json!({"role": "user", "content": "go"})];
    let answer = post(&provider, "/v1/messages", &json!({"tools": tools, "messages": messages})).await;
    assert_eq!(answer["content"][2]["name"], "mcp__x__y");
    messages.push(json!({"role": "assistant", "content": answer["content"]}));
    messages.push(json!({"role": "user", "content": [{"type": "tool_result", "content": "x"}]}));
    let (status, _) =
        send(&provider, "POST", "/v1/messages", &json!({"tools": tools, "messages": messages})).await;
    assert_eq!(status, 401);
    assert!(serde_json::from_str::<Script>(r#"{"turn":[]}"#).is_err());
}
