//! Servers of model APIs that are not ours: llama.cpp's, with a model that the test makes.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod asking;

use asking::{Model, asked, calls, text};
use cordon_backends::api::{ApiError, FailureKind, Item, Stop, Tool};
use cordon_tests::harness::skipped;
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

fn python(group: &str, program: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packages: PathBuf = root.join("../build/peers").join(group);
    assert!(
        packages.is_dir(),
        "{packages:?} is not there: run `make test`, or put `{group}` into CORDON_TEST_SKIP"
    );
    let mut command = Command::new("/usr/bin/python3");
    command.arg(root.join("assets/models").join(program)).env_clear().kill_on_drop(true);
    command.env("PYTHONPATH", packages).env("PYTHONDONTWRITEBYTECODE", "1").env("PATH", "/usr/bin:/bin");
    command
}

/// llama.cpp's server, and where it is. It ends with its standard input.
async fn llama(dir: &Path) -> (Child, String) {
    let file = dir.join("model.gguf");
    let made = python("llama", "llama_model.py").arg(&file).output().await.unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut command = python("llama", "llama_server.py");
    command.arg(&file).stdin(Stdio::piped()).stdout(Stdio::piped());
    let log = std::fs::File::create(dir.join("log")).unwrap();
    let mut server = command.stderr(log).spawn().unwrap();
    let mut place = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut place).await.unwrap();
    let told = || std::fs::read_to_string(dir.join("log")).unwrap();
    assert!(place.starts_with("http://"), "it does not start: {}", told());
    (server, place.trim().to_owned())
}

fn model(kind: &str, base: &str) -> Model {
    let mut model = Model::new(kind, base);
    model.settings.temperature = Some(0.0);
    model.settings.max_tokens = Some(200);
    model.tools = vec![Tool {
        name: "flip".to_owned(),
        description: "Flips the switch.".to_owned(),
        parameters: json!({"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]}),
    }];
    model
}

#[tokio::test]
async fn a_real_server_calls_a_tool_and_goes_on() {
    if skipped("llama") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (_server, base) = llama(dir.path()).await;
    for (kind, path) in [
        ("chatcompletion", "/v1"),
        ("lmstudio", "/v1"),
        ("vllm", "/v1"),
        ("sglang", "/v1"),
        ("openrouter", "/v1"),
        ("claude", ""),
        ("openai", "/v1"),
    ] {
        let model = model(kind, &format!("{base}{path}"));
        let mut conversation = asked("Flip it.");
        let answers = model.converse(&mut conversation).await;
        let flipped = vec![("flip".to_owned(), json!({"on": true}))];
        assert_eq!(answers.iter().map(calls).collect::<Vec<_>>(), [flipped, vec![]], "{kind}");
        assert_eq!(text(&answers[1]), "Flipped it.", "{kind}");
        assert!(answers.iter().all(|a| a.stop == Stop::End && !a.id.is_empty()), "{kind} {answers:?}");
        // The call is one token; what its end counts as differs by protocol.
        assert!(
            answers.iter().all(|a| a.usage.input > 100 && (1..9).contains(&a.usage.output)),
            "{answers:?}"
        );
        let results = conversation.items.iter().filter(|i| matches!(i, Item::Result(_))).count();
        assert_eq!(results, 1, "{kind}");
    }
}

#[tokio::test]
async fn what_a_real_server_refuses_is_known() {
    if skipped("llama") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (_server, base) = llama(dir.path()).await;
    for (kind, path) in [("chatcompletion", "/v1"), ("claude", ""), ("openai", "/v1")] {
        let kind_of = |error: &ApiError| match error {
            ApiError::Refused(failure) => failure.kind,
            other => panic!("{kind} {other}"),
        };
        let long = asked(&"word ".repeat(4000));
        let error = model(kind, &format!("{base}{path}")).ask(&long).await.answer.unwrap_err();
        assert_eq!(kind_of(&error), FailureKind::ContextTooLong, "{kind} {error}");
        let mut stranger = model(kind, &format!("{base}{path}"));
        stranger.key = "another-key".to_owned();
        let error = stranger.ask(&asked("x")).await.answer.unwrap_err();
        assert_eq!(kind_of(&error), FailureKind::Auth, "{kind} {error}");
        let error = model(kind, &format!("{base}/elsewhere")).ask(&asked("x")).await.answer.unwrap_err();
        assert_eq!(kind_of(&error), FailureKind::NotFound, "{kind} {error}");
    }
}
