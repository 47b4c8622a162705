//! The official clients against the scripted provider, with strict checks of every event: what
//! our own code is tested with is what others take for the real thing. And the other way round:
//! what our own code sends is what their types allow.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod asking;

use asking::conversation::{THOUGHTS, WORDS, arguments, look, model, script};
use cordon_backends::api::{BuiltIn, Choice, Effort, Setting, Verbosity};
use cordon_tests::{
    harness::skipped,
    provider::{Failure, Provider, Script, Shape, Stop, Turn},
};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Stdio};

/// A client's program, and what it has to be told.
const CLIENTS: &[(&str, &str)] = &[
    ("openai", "responses"),
    ("openai", "chat"),
    ("openai", "details"),
    ("openai", "azure"),
    ("anthropic", "messages"),
    ("genai", "generate"),
];

/// Runs one and reads what it says.
async fn client(name: &str, mode: &str, place: &str, way: &str) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sdks = root.join("../build/peers/sdks");
    assert!(sdks.is_dir(), "{sdks:?} is not there: run `make test`, or put `sdks` into CORDON_TEST_SKIP");
    let program = root.join(format!("assets/models/{name}_client.py"));
    let mut command = tokio::process::Command::new("/usr/bin/python3");
    command.arg(&program).args([mode, place, way]).env_clear();
    command.env("PYTHONPATH", sdks).env("PYTHONDONTWRITEBYTECODE", "1").env("PATH", "/usr/bin:/bin");
    let done = command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{name} {mode} {way}: {said}");
    serde_json::from_slice(&done.stdout).unwrap_or_else(|e| panic!("{name} {mode} {way}: {e}: {said}"))
}

fn expected(way: &str) -> Value {
    let stops = match way {
        "responses" => ["completed"; 3],
        "messages" => ["tool_use", "tool_use", "end_turn"],
        "generate" => ["STOP"; 3],
        _ => ["tool_calls", "tool_calls", "stop"],
    };
    let usage = |input: u64, cached: u64, output: u64, thoughts: u64| match way {
        "messages" => json!([input, cached, output]),
        "generate" => json!([input, cached, output - thoughts, thoughts]),
        _ => json!([input, cached, output, thoughts]),
    };
    let looks: Vec<Value> = (0..3).map(|n| json!(["look", arguments(n)])).collect();
    let thoughts = |shown: &'static str| if way == "azure" { "" } else { shown };
    let turn = |at: usize, said: &str, shown: &str, calls: Value, usage: Value| json!({"said": said, "thoughts": shown, "calls": calls, "stop": stops[at], "usage": usage});
    json!([
        turn(0, WORDS, thoughts(THOUGHTS), json!(looks), usage(1234, 200, 56, 7)),
        turn(1, "", "", json!([["note", {}]]), usage(100, 20, 10, 0)),
        turn(2, "Done: ü.", thoughts("Enough."), json!([]), usage(100, 20, 10, 0)),
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_clients_hold_the_whole_conversation() {
    if skipped("sdks") {
        return;
    }
    for shape in [Shape::default(), Shape { delta: 2, interleave: true, chunk: 61, pause_ms: 0 }] {
        for (name, way) in CLIENTS {
            let provider = Provider::start(script(shape.clone())).await.unwrap();
            let told = client(name, "converse", &provider.base_url(), way).await;
            assert_eq!(told, expected(way), "{name} {way} {shape:?}");
            assert_eq!(provider.requests().len(), 3, "{name} {way}");
            assert_eq!(provider.keys(), ["planted-key"], "{name} {way}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_try_again_what_fails_for_a_while() {
    if skipped("sdks") {
        return;
    }
    for failure in [Failure::RateLimit, Failure::Overloaded] {
        for (name, way) in [("openai", "responses"), ("anthropic", "messages"), ("genai", "generate")] {
            let script = Script::of([Turn::calls([look(0)]).failing(failure, 2)]);
            let provider = Provider::start(script).await.unwrap();
            let told = client(name, "retry", &provider.base_url(), way).await;
            assert_eq!(told[0]["calls"], json!([["look", arguments(0)]]), "{name} {failure:?}");
            assert_eq!(provider.requests().len(), 4, "{name} {failure:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_know_each_failure_by_its_own_name() {
    if skipped("sdks") {
        return;
    }
    let expected = [
        (Failure::Refuse, ["AuthenticationError", "AuthenticationError", "ClientError"], Some([401; 3])),
        (Failure::UnknownModel, ["NotFoundError", "NotFoundError", "ClientError"], Some([404; 3])),
        (Failure::TooLong, ["BadRequestError", "BadRequestError", "ClientError"], Some([400; 3])),
        (Failure::RateLimitBare, ["RateLimitError", "RateLimitError", "ClientError"], Some([429; 3])),
        (Failure::ServerError, ["InternalServerError", "InternalServerError", "ServerError"], Some([500; 3])),
        (
            Failure::Overloaded,
            ["InternalServerError", "OverloadedError", "ServerError"],
            Some([503, 529, 503]),
        ),
        (Failure::InStream, ["", "APIStatusError", "ServerError"], None),
        (Failure::Truncated, ["", "", ""], None),
        (Failure::Reset, ["", "", ""], None),
    ];
    for (failure, names, statuses) in expected {
        let turn = Turn { text: WORDS.repeat(4), ..Turn::calls([look(0)]) };
        let provider = Provider::start(Script::of([turn.failing(failure, 0)])).await.unwrap();
        for (at, (client_of, way)) in
            [("openai", "responses"), ("anthropic", "messages"), ("genai", "generate")]
                .into_iter()
                .enumerate()
        {
            let told = client(client_of, "fail", &provider.base_url(), way).await;
            assert!(told["error"].is_array(), "{client_of} took {failure:?} for an answer");
            let kinds = told["error"].as_array().unwrap();
            assert!(
                names[at].is_empty() || kinds.iter().any(|k| k == names[at]),
                "{client_of} {failure:?} {told}"
            );
            if let Some(statuses) = statuses {
                assert_eq!(told["status"], statuses[at], "{client_of} {failure:?} {told}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_know_why_an_answer_ends() {
    if skipped("sdks") {
        return;
    }
    for (stop, words) in [
        (Stop::Length, ["max_output_tokens", "length", "max_tokens", "MAX_TOKENS"]),
        (Stop::Refusal, ["completed", "content_filter", "refusal", "SAFETY"]),
    ] {
        let turn = Turn { stop: Some(stop), ..Turn::text("No.") };
        let provider = Provider::start(Script::of([turn])).await.unwrap();
        let clients =
            [("openai", "responses"), ("openai", "chat"), ("anthropic", "messages"), ("genai", "generate")];
        for ((name, way), word) in clients.into_iter().zip(words) {
            let told = client(name, "converse", &provider.base_url(), way).await;
            assert_eq!((&told[0]["stop"], &told[0]["said"]), (&json!(word), &json!("No.")), "{name} {way}");
        }
    }
}

/// Whatever an agent file can ask for is something that the official types know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_is_what_their_types_allow() {
    if skipped("sdks") {
        return;
    }
    let ways = [
        ("openai", "/v1", "openai", "responses"),
        ("azure_openai", "", "openai", "chat"),
        ("claude", "", "anthropic", "messages"),
        ("gemini", "/v1beta", "genai", "generate"),
    ];
    for (kind, path, name, way) in ways {
        let provider = Provider::start(script(Shape::default())).await.unwrap();
        let mut model = model(kind, path, &provider);
        model.converse(&mut asking::asked("go")).await;
        let takes = |setting| cordon_backends::api::provider(kind).unwrap().takes(setting);
        let settings = &mut model.settings;
        (settings.temperature, settings.top_p, settings.max_tokens) = (Some(0.5), Some(0.9), Some(4000));
        settings.top_k = takes(Setting::TopK).then_some(5);
        settings.effort = takes(Setting::Effort).then_some(Effort::Low);
        settings.verbosity = takes(Setting::Verbosity).then_some(Verbosity::Low);
        if takes(Setting::Safety) {
            settings.safety = vec![("HARM_CATEGORY_HARASSMENT".to_owned(), "BLOCK_ONLY_HIGH".to_owned())];
        }
        if takes(Setting::Code) {
            settings.built_in.push(BuiltIn::Code);
        }
        if takes(Setting::WebSearch) {
            settings.built_in.push(BuiltIn::WebSearch {
                engine: None,
                max_results: None,
                context: None,
                prompt: None,
            });
        }
        for choice in [Choice::Auto, Choice::None, Choice::Required] {
            (model.settings.choice, model.settings.one_call) = (choice, true);
            model.ask(&asking::asked("go")).await.answer.unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("bodies");
        let bodies: String = provider.requests().iter().map(|r| format!("{}\n", r.body)).collect();
        fs::write(&file, &bodies).unwrap();
        let lost = client(name, "validate", file.to_str().unwrap(), way).await;
        // Its newest models take none of these, and its types do not have them any more: who sets them
        // asks for a model that does.
        let older = if kind == "claude" { json!([".temperature", ".top_k", ".top_p"]) } else { json!([]) };
        let strange: Vec<&Value> =
            lost.as_array().unwrap().iter().filter(|l| **l != json!([]) && **l != older).collect();
        assert_eq!(lost.as_array().unwrap().len(), 6, "{kind}");
        assert!(strange.is_empty(), "{kind}: {strange:?}\n{bodies}");
    }
}
