//! LiteLLM's proxy between us and the scripted provider: an implementation of all the dialects that is not ours. It
//! takes each of them from its clients, and asks in each of them.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod asking;

use asking::{
    Model, asked, calls,
    conversation::{WORDS, arguments, look},
    text,
};
use cordon_backends::api::{ApiError, FailureKind, Stop, Usage};
use cordon_proto::v1::{Outcome, event::Kind};
use cordon_tests::{
    harness::{Host, messages, skipped, summary},
    provider::{self, Call, Failure, Provider, Script, Shape, Turn, When},
};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

/// Each dialect of ours, the path below which the proxy has it, and how the proxy is asked to ask the provider.
const DIALECTS: &[(&str, &str)] =
    &[("chatcompletion", "/v1"), ("openai", "/v1"), ("claude", ""), ("gemini", "/v1beta")];
const UPSTREAM: &[&str] = &["chat", "responses", "messages", "generate"];
/// Words of a prompt, and how the provider then is broken.
const REFUSALS: &[(&str, Failure)] = &[
    ("refuse it", Failure::Refuse),
    ("too often", Failure::RateLimitBare),
    ("too long", Failure::TooLong),
    ("out of order", Failure::ServerError),
    ("break it", Failure::InStream),
];
const KEY: &str = "sk-planted-key";

/// The proxy, and where it is. It ends with its standard input.
struct Proxy {
    base: String,
    _child: Child,
    dir: tempfile::TempDir,
}

impl Proxy {
    async fn before(provider: &Provider) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let packages: PathBuf = root.join("../build/peers/litellm");
        assert!(
            packages.is_dir(),
            "{packages:?} is not there: run `make test`, or put `litellm` into CORDON_TEST_SKIP"
        );
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let mut command = Command::new("/usr/bin/python3");
        command.arg(root.join("assets/models/litellm_proxy.py")).arg(provider.base_url()).arg(dir.path());
        command.env_clear().env("PYTHONPATH", packages).env("PATH", "/usr/bin:/bin");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut base = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut base).await.unwrap();
        let mut proxy = Self { base: base.trim().to_owned(), _child: child, dir };
        assert!(proxy.base.starts_with("http://"), "it does not start: {}", proxy.log());
        proxy.base = proxy.base.trim().to_owned();
        proxy
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    fn model(&self, kind: &str, path: &str, upstream: &str) -> Model {
        let mut model = Model::new(kind, &format!("{}{path}", self.base));
        model.settings.model = upstream.to_owned();
        model.key = KEY.to_owned();
        model
    }
}

fn when(contains: &str, turns: Vec<Turn>) -> When {
    When { contains: contains.to_owned(), turns }
}

fn scripted() -> Script {
    let usage = provider::Usage { input: 1234, cached: 200, output: 56, reasoning: 7 };
    let first = Turn { text: WORDS.to_owned(), usage, ..Turn::calls([look(0), look(1)]) };
    let nothing = Call::Tool { name: "note".to_owned(), arguments: json!({}) };
    let fails = |(words, failure): &(&str, Failure)| when(words, vec![Turn::text("x").failing(*failure, 0)]);
    Script {
        turns: vec![first, Turn::calls([nothing]), Turn::text("Done: ü.")],
        when: REFUSALS.iter().map(fails).collect(),
        shape: Shape { delta: 7, chunk: 61, ..Shape::default() },
        strict: true,
        ..Script::default()
    }
}

/// What it makes of generateContent for another dialect knows no calls' ids and counts no tokens.
fn is_whole(kind: &str, upstream: &str) -> bool {
    kind != "gemini" || upstream == "generate"
}

fn expected_usage(kind: &str, upstream: &str) -> Usage {
    // Anthropic counts what was cached apart, and its thoughts have no place in another's answer.
    let input = if upstream == "messages" { 1434 } else { 1234 };
    let reasoning = if kind == "claude" && upstream != "messages" { 0 } else { 7 };
    Usage { input, cached: 200, output: 56, reasoning, ..Usage::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_dialect_comes_through_into_every_other() {
    if skipped("litellm") {
        return;
    }
    let provider = Provider::start(scripted()).await.unwrap();
    let proxy = Proxy::before(&provider).await;
    for (kind, path) in DIALECTS {
        for upstream in UPSTREAM {
            let model = proxy.model(kind, path, upstream);
            let looks = (0..2).map(|n| ("look".to_owned(), arguments(n))).collect();
            if is_whole(kind, upstream) {
                let answers = model.converse(&mut asked("go")).await;
                let said: Vec<String> = answers.iter().map(text).collect();
                assert_eq!(said, [WORDS, "", "Done: ü."], "{kind} {upstream}");
                let called: Vec<_> = answers.iter().map(calls).collect();
                let note = vec![("note".to_owned(), json!({}))];
                assert_eq!(called, [looks, note, vec![]], "{kind} {upstream}");
                assert!(answers.iter().all(|a| a.stop == Stop::End), "{kind} {upstream} {answers:?}");
                assert_eq!(answers[0].usage, expected_usage(kind, upstream), "{kind} {upstream}");
            } else {
                let heard = model.ask(&asked("go")).await;
                assert_eq!(heard.said(), WORDS, "{kind} {upstream}");
                let answer = heard.answer.unwrap();
                assert_eq!((calls(&answer), answer.stop), (looks, Stop::End), "{kind} {upstream}");
            }
            for (words, failure) in REFUSALS {
                let error = model.ask(&asked(words)).await.answer.unwrap_err();
                let ApiError::Refused(refused) = &error else { panic!("{kind} {upstream} {words}: {error}") };
                let kinds: &[FailureKind] = match failure {
                    // It has other words for some of them there.
                    _ if !is_whole(kind, upstream) => continue,
                    Failure::Refuse => &[FailureKind::Auth],
                    Failure::RateLimitBare => &[FailureKind::RateLimit],
                    Failure::TooLong => &[FailureKind::ContextTooLong],
                    _ => &[FailureKind::Server, FailureKind::Overloaded],
                };
                assert!(kinds.contains(&refused.kind), "{kind} {upstream} {words}: {refused:?}");
                let passes = !matches!(failure, Failure::Refuse | Failure::TooLong);
                assert_eq!(error.is_retryable(), passes, "{kind} {upstream} {words}: {error}");
            }
        }
    }
    assert_eq!(provider.keys(), ["upstream-key"], "its own key goes to the proxy, and no further");
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_of_every_dialect_work_through_it() {
    if skipped("litellm") {
        return;
    }
    let mut host = Host::start();
    host.set_env("PLANTED_KEY", KEY);
    let ways =
        [("chatcompletion", "messages"), ("openai", "chat"), ("claude", "responses"), ("gemini", "generate")];
    let work = |turn: &str| {
        let tool = |name: &str, arguments| Call::Tool { name: name.to_owned(), arguments };
        let write = |file: &str| tool("write_file", json!({"path": file, "content": format!("{turn} ü\n")}));
        vec![
            Turn::calls([write("one.txt"), write("two.txt")]),
            Turn::calls([tool(
                "execute_command",
                json!({"command": "cat one.txt two.txt > three.txt; cat three.txt"}),
            )]),
            Turn::text("It is done."),
        ]
    };
    let mut later = work("later");
    later[0] = later[0].clone().failing(Failure::RateLimit, 1);
    let refused = vec![Turn::text("x").failing(Failure::Refuse, 0)];
    let script = Script {
        when: vec![when("later", later), when("refuse it", refused)],
        turns: work("now"),
        ..scripted()
    };
    let provider = Provider::start(script).await.unwrap();
    let proxy = Proxy::before(&provider).await;
    let agent = |(kind, upstream): &(&str, &str)| {
        let (_, path) = DIALECTS.iter().find(|(name, _)| name == kind).unwrap();
        let ws = host.tree(&format!("ws-{kind}"));
        format!(
            "  - id: {kind}\n    backend:\n      type: {kind}\n      model: {upstream}\n      base_url: {}{path}\n      \
             api_key: ${{PLANTED_KEY}}\n      cwd: {}\n",
            proxy.base,
            ws.display()
        )
    };
    let all: String = ways.iter().map(agent).collect();
    let all = host.agent_file("all.yaml", &format!("agents:\n{all}"));
    let one = host.agent_file("one.yaml", &format!("agents:\n{}", agent(&ways[0])));
    let mut api = host.api().await;
    let mut seen = Vec::new();
    for (file, prompt, code) in [(&all, "do it now", 0), (&one, "do it later", 0), (&one, "refuse it", 1)] {
        let ran = host.cordon(["run", file.to_str().unwrap(), prompt]).expect_code(code);
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(KEY));
        let run = api.list().await.into_iter().find(|r| !seen.contains(&r.id)).unwrap();
        let events = api.events(&run.id, true).await;
        seen.push(run.id);
        let ended = summary(&events);
        if code != 0 {
            assert_eq!(ended.outcome(), Outcome::AgentFailed, "{ended:?}");
            let told = &ended.summary.unwrap().agents[0].message;
            assert!(told.contains("401") && told.contains("key"), "{told}");
            continue;
        }
        assert_eq!(ended.outcome(), Outcome::Success, "{events:?}");
        let agents = ended.summary.unwrap().agents;
        let word = if prompt.ends_with("now") { "now" } else { "later" };
        assert_eq!(messages(&events).iter().filter(|m| m.contains("It is done.")).count(), agents.len());
        for agent in &agents {
            // Three answers, of 100 tokens each; Anthropic counts 20 that were cached apart.
            let input = if agent.id == "chatcompletion" { 360 } else { 300 };
            assert_eq!(
                agent.usage.as_ref().map(|u| (u.input_tokens, u.output_tokens)),
                Some((input, 30)),
                "{agent:?}"
            );
            let three =
                std::fs::read_to_string(host.path(&format!("ws-{}", agent.id)).join("three.txt")).unwrap();
            assert_eq!(three, format!("{word} ü\n{word} ü\n"), "{}", agent.id);
        }
        let retried = events.iter().filter(|e| matches!(e.kind, Some(Kind::Retry(_)))).count();
        assert_eq!(retried, usize::from(word == "later"), "{events:?}");
    }
    assert_eq!(provider.keys(), ["upstream-key"]);
}
