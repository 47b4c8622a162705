//! What an agent whose model is reached through an API lets other models look at, what planning offers,
//! where large results go, and what an interrupt leaves.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::{Event, Outcome, Run, event::Kind};
use cordon_tests::{
    harness::{Host, Ran, User, denials, need_docker, need_image, processes_mentioning, skipped, wait_until},
    provider::{Call, Failure, MP3, Making, PNG, Provider, Recorded, SAMPLES, Script, Turn},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;
use std::{path::Path, time::Duration};

const KEY: &str = "planted-key-0123456789-abcdefghij";

fn agent(id: &str, kind: (&str, &str), provider: &Provider, cwd: &Path, more: &str) -> String {
    let base_url = provider.base_url();
    let (kind, end) = kind;
    let cwd = cwd.display();
    format!(
        "  - id: {id}\n    system_message: Be brief.\n    backend:\n      type: {kind}\n      model: scripted-model\n      base_url: {base_url}{end}\n      api_key: ${{PLANTED_KEY}}\n      cwd: {cwd}\n{more}"
    )
}

fn file(host: &Host, agents: &[String]) -> String {
    host.agent_file("a.yaml", &format!("agents:\n{}", agents.concat())).display().to_string()
}

fn cordon(host: &Host, args: &[&str]) -> Ran {
    host.finish(host.command("cordon").args(args).env("PLANTED_KEY", KEY))
}

async fn last(host: &Host) -> (Run, Vec<Event>) {
    let mut runs = host.api().await.list().await;
    runs.sort_by_key(|r| r.started_unix_ms);
    let run = runs.pop().unwrap();
    let events = host.api().await.events(&run.id, false).await;
    (run, events)
}

fn says(text: &str, calls: Vec<Call>) -> Turn {
    Turn { text: text.to_owned(), calls, ..Turn::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_interrupts_does_not_wait_and_nothing_is_left() {
    let host = Host::start_as(User::Tester);
    let ws = host.tree("ws");
    let turns = vec![says("Slowly.", vec![Call::Shell("touch started; exec sleep 360921".to_owned())])];
    let provider = Provider::start(Script { turns, ..Script::default() }).await.unwrap();
    let text = file(&host, &[agent("helper", ("gemini", "/v1beta"), &provider, &ws, "")]);
    let mut client =
        host.command("cordon").args(["run", &text, "x"]).env("PLANTED_KEY", KEY).spawn().unwrap();
    assert!(wait_until(Duration::from_secs(60), || ws.join("started").is_file()), "{}", host.log());
    kill(Pid::from_raw(i32::try_from(client.id()).unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(client.wait().unwrap().code(), Some(130));
    assert!(processes_mentioning("sleep 360921").is_empty());
    let (run, _) = last(&host).await;
    assert_eq!(run.outcome(), Outcome::Cancelled);
    // What was said stays: the call has an answer, and the next turn goes on.
    let _ = cordon(&host, &["run", "--resume", &run.id, "go on"]).expect_code(0);
    let said = provider.requests().last().unwrap().body.to_string();
    assert!(said.contains("the turn was stopped"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_looks_at_what_the_agent_may_read_and_at_nothing_else() {
    let host = Host::start_as(User::Tester);
    let ws = host.tree("ws");
    host.put(&ws.join("p.png"), b"\x89PNG\r\n\x1a\nrest");
    // Nobody inside sees whether it is there.
    let outside = Path::new("/root/q.png");
    let look = |path: &Path| Call::Tool {
        name: "understand_image".to_owned(),
        arguments: serde_json::json!({ "path": path, "prompt": "what-colour" }),
    };
    let turns = vec![says("I look.", vec![look(&ws.join("p.png")), look(outside)])];
    let provider = Provider::start(Script { turns, ..Script::default() }).await.unwrap();
    let more = "      enable_multimodal_tools: true\n      exclude_tools: [understand_file]\n";
    let text = file(&host, &[agent("helper", ("claude", ""), &provider, &ws, more)]);
    let _ = cordon(&host, &["run", &text, "x"]).expect_code(0);
    let (_, events) = last(&host).await;
    assert_eq!(denials(&events).len(), 1);
    let requests = provider.requests();
    let looked: Vec<_> = requests.iter().filter(|r| r.body.to_string().contains("image/png")).collect();
    assert_eq!(looked.len(), 1, "the picture went to the model once, and to nobody else");
    assert!(looked[0].body.to_string().contains("what-colour"));
    let offered = requests[0].body["tools"].to_string();
    assert!(offered.contains("understand_image") && !offered.contains("understand_file"), "{offered}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_result_of_the_users_function_lies_in_the_workspace() {
    let host = Host::start_as(User::Tester);
    let ws = host.tree("ws");
    host.put(
        &host.path("files/many.py"),
        "def many(n: int) -> str:\n    \"\"\"Many lines.\"\"\"\n    return 'a line\\n' * n + 'the end'\n",
    );
    let many =
        Call::Tool { name: "custom_tool__many".to_owned(), arguments: serde_json::json!({ "n": 40_000 }) };
    let turns = vec![says("I ask.", vec![many])];
    let provider = Provider::start(Script { turns, ..Script::default() }).await.unwrap();
    let more =
        "      custom_tools:\n        - name: many\n          path: many.py\n          function: many\n";
    let text = file(&host, &[agent("helper", ("openai", "/v1"), &provider, &ws, more)]);
    let ran = cordon(&host, &["run", &text, "x"]);
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    let told = provider.requests()[1].body.to_string();
    assert!(told.len() < 60_000 && told.contains("the end"), "{} bytes: {told:.2000}", told.len());
    let kept: Vec<_> =
        std::fs::read_dir(ws.join(".tool_results")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(kept.len(), 1);
    assert!(told.contains(&kept[0].display().to_string()), "the model has its place: {told:.2000}");
    assert!(std::fs::read_to_string(&kept[0]).unwrap().len() > 250_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn planning_looks_and_changes_nothing() {
    let host = Host::start_as(User::Tester);
    let ws = host.tree("ws");
    host.put(&ws.join("a.txt"), "as it is\n");
    let tool = |name: &str, arguments| Call::Tool { name: name.to_owned(), arguments };
    let path = ws.join("a.txt").display().to_string();
    let turns = vec![says(
        "I plan.",
        vec![
            tool("read_text_file", serde_json::json!({ "path": path })),
            tool("write_file", serde_json::json!({ "path": path, "content": "other" })),
            tool("execute_command", serde_json::json!({ "command": "rm a.txt" })),
        ],
    )];
    let provider = Provider::start(Script { turns, ..Script::default() }).await.unwrap();
    let agents = agent("helper", ("claude", ""), &provider, &ws, "");
    let text = format!("agents:\n{agents}orchestrator:\n  coordination:\n    enable_planning_mode: true\n");
    let text = host.agent_file("a.yaml", &text).display().to_string();
    let _ = cordon(&host, &["run", &text, "x"]).expect_code(0);
    assert_eq!(std::fs::read_to_string(ws.join("a.txt")).unwrap(), "as it is\n");
    let requests = provider.requests();
    let offered = requests[0].body["tools"].to_string();
    assert!(offered.contains("read_text_file") && !offered.contains("write_file"), "{offered}");
    let told = requests[1].body.to_string();
    assert!(told.contains("as it is"), "{told}");
    assert_eq!(told.matches("planning mode is active, and nothing").count(), 2, "{told}");
}

const DOCKER: &str =
    "      command_line_execution_mode: docker\n      command_line_docker_image: debian:bookworm-slim\n";

fn generate(arguments: serde_json::Value) -> Call {
    Call::Tool { name: "generate_media".to_owned(), arguments }
}

/// A run of one agent whose model asks for these things, one after the other.
struct Made {
    ran: Ran,
    events: Vec<Event>,
    provider: Provider,
}

impl Made {
    /// What the model was told of its calls, at last.
    fn told(&self) -> String {
        let asked = |r: &&Recorded| r.method == "POST" && !ordered(r);
        self.provider.requests().iter().rfind(asked).unwrap().body.to_string()
    }

    fn orders(&self) -> Vec<Recorded> {
        self.provider.requests().into_iter().filter(ordered).collect()
    }
}

/// Whether a request is an order of a picture or a sound, and no conversation.
fn ordered(request: &Recorded) -> bool {
    ["/images/generations", "/audio/speech"].iter().any(|end| request.path.ends_with(end))
        || request.body["generationConfig"]["responseModalities"].is_array()
        || request.body["modalities"].is_array()
}

async fn making(host: &Host, kind: (&str, &str), more: &str, making: Making, calls: Vec<Call>) -> Made {
    let ws = host.path("ws");
    let turns = calls.into_iter().map(|call| says("I ask.", vec![call])).collect();
    let provider = Provider::start(Script { turns, making, ..Script::default() }).await.unwrap();
    let text = file(host, &[agent("painter", kind, &provider, &ws, more)]);
    let ran = cordon(host, &["run", &text, "x"]);
    let (_, events) = last(host).await;
    let made = Made { ran, events, provider };
    // The key is where it belongs, and nowhere else.
    let said = format!("{} {} {:?} {}", made.ran.stdout, made.ran.stderr, made.events, host.log());
    assert!(!said.contains(KEY), "{said}");
    for request in made.provider.requests().iter().filter(|r| r.method == "POST") {
        assert_eq!(request.key.as_deref(), Some(KEY), "{}", request.path);
        assert!(!request.path.contains(KEY) && !request.body.to_string().contains(KEY), "{request:?}");
    }
    made
}

async fn makes_and_refuses(more: &str) {
    let host = Host::start_as(User::Tester);
    let ws = host.tree("ws");
    host.put(&ws.join("there.png"), b"as it is");
    let on = format!("{more}      enable_image_generation: true\n");
    for (kind, end) in [("openai", "/v1"), ("gemini", "/v1beta"), ("grok", "/v1"), ("openrouter", "/api/v1")]
    {
        let name = format!("{kind}.png");
        let calls = vec![
            generate(json!({"mode": "image", "prompt": "a fox", "path": name})),
            // Nobody inside may write there, and what is there stays.
            generate(json!({"mode": "image", "prompt": "a fox", "path": "/root/q.png"})),
            generate(json!({"mode": "image", "prompt": "a fox", "path": "/usr/share/q.png"})),
            generate(json!({"mode": "image", "prompt": "a fox", "path": "there.png"})),
        ];
        let made = making(&host, (kind, end), &on, Making::Made, calls).await;
        assert_eq!(made.ran.code, 0, "{kind}: {}\n{}", made.ran.stdout, made.ran.stderr);
        assert_eq!(std::fs::read(ws.join(&name)).unwrap(), PNG, "{kind}");
        assert_eq!(std::fs::read(ws.join("there.png")).unwrap(), b"as it is");
        let told = made.told();
        for words in [&format!("Wrote {name}: image/png, {} bytes", PNG.len()), "`overwrite` is not true"] {
            assert!(told.contains(words), "{kind} {words}: {told}");
        }
        // What is denied is denied before it is paid for, and names its rule.
        assert_eq!(made.orders().len(), 1, "{kind}: {:?}", made.orders());
        let denied = denials(&made.events);
        assert_eq!(denied.len(), 2, "{kind}: {denied:?}");
        assert!(denied.iter().all(|d| told.contains(&d.rule)), "{kind}: {denied:?} {told}");
        let used = |e: &&Event| matches!(&e.kind, Some(Kind::Usage(u)) if u.output_tokens > 1000);
        let cost = made.events.iter().find(used).map(|e| e.kind.clone());
        if kind != "grok" {
            let Some(Some(Kind::Usage(usage))) = cost else { panic!("{kind}: no usage") };
            assert!(usage.cost_usd.is_some_and(|c| (0.03..0.2).contains(&c)), "{kind}: {usage:?}");
        }
        let called = |e: &Event| matches!(&e.kind, Some(Kind::ToolCall(c)) if c.name == "generate_media" && c.status == "completed");
        assert_eq!(made.events.iter().filter(|e| called(e)).count(), 1, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_put_into_the_workspace_where_the_policy_lets_them() {
    makes_and_refuses("").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_put_into_the_workspace_in_docker() {
    if skipped("docker") {
        return;
    }
    need_docker();
    need_image("debian:bookworm-slim");
    makes_and_refuses(DOCKER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_spoken_into_the_workspace() {
    let host = Host::start_as(User::Tester);
    let ws = host.tree("ws");
    let on = "      enable_audio_generation: true\n";
    let say = |more: serde_json::Value| {
        let mut arguments = json!({"mode": "audio", "prompt": "Good morning."});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        generate(arguments)
    };
    let calls = vec![say(json!({"path": "a.mp3", "voice": "verse"})), say(json!({"storage_path": "sounds"}))];
    let made = making(&host, ("openai", "/v1"), on, Making::Made, calls).await;
    assert_eq!(made.ran.code, 0, "{}\n{}", made.ran.stdout, made.ran.stderr);
    assert_eq!(std::fs::read(ws.join("a.mp3")).unwrap(), MP3);
    assert_eq!(std::fs::read_dir(ws.join("sounds")).unwrap().count(), 1);
    assert_eq!(made.orders()[0].body["voice"], "verse");
    let calls = vec![say(json!({"path": "b.wav"}))];
    let made = making(&host, ("gemini", "/v1beta"), on, Making::Made, calls).await;
    assert_eq!(made.ran.code, 0, "{}\n{}", made.ran.stdout, made.ran.stderr);
    let sound = std::fs::read(ws.join("b.wav")).unwrap();
    assert!(sound.starts_with(b"RIFF") && sound.ends_with(SAMPLES), "{sound:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_hostile_becomes_a_file() {
    let host = Host::start_as(User::Tester);
    let ws = host.tree("ws");
    let elsewhere = Provider::start(Script::default()).await.unwrap();
    let on = "      enable_image_generation: true\n";
    let key = format!("{{\"error\": {{\"message\": \"{KEY}\"}}}}");
    for (answer, words) in [
        (Making::Bytes(b"#!/bin/sh\nrm -rf /\n".to_vec()), "no image that is known"),
        (Making::Huge(200 << 20), "has more than"),
        (Making::Body("{\"data\": [{\"b64_json\": \"".to_owned()), "cannot be read"),
        (Making::Body("{\"data\": {\"b64_json\": \"AAAA\"}}".to_owned()), "no image in it"),
        (Making::Body("[".repeat(100_000)), "cannot be read"),
        (Making::Body("{\"data\": [{\"url\": \"http://127.0.0.1/p.png\"}]}".to_owned()), "no image in it"),
        (Making::Body(key), "[redacted]"),
        (Making::Redirect(format!("{}/elsewhere", elsewhere.base_url())), "where the key must not go"),
        (Making::Fails(Failure::Quota), "nothing left to bill"),
    ] {
        let calls = vec![generate(json!({"mode": "image", "prompt": "a fox", "path": "p.png"}))];
        let made = making(&host, ("openai", "/v1"), on, answer, calls).await;
        // The model is told, and the run goes on.
        assert_eq!(made.ran.code, 0, "{words}: {}\n{}", made.ran.stdout, made.ran.stderr);
        let told = made.told();
        assert!(told.contains(words), "{words}: {told}");
        assert_eq!(made.orders().len(), 1, "{words}: what was answered is paid for");
        assert!(!ws.join("p.png").try_exists().unwrap(), "{words}");
    }
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_planning_and_limits_hold_for_what_is_made() {
    let host = Host::start_as(User::Tester);
    let ws = host.tree("ws");
    let fox = |path: &str| generate(json!({"mode": "image", "prompt": "a fox", "path": path}));
    let on = "      enable_image_generation: true\n      exclude_tools: [generate_media]\n";
    let made = making(&host, ("openai", "/v1"), on, Making::Made, vec![fox("a.png")]).await;
    assert!(
        made.orders().is_empty()
            && !made.provider.requests()[0].body["tools"].to_string().contains("generate_media")
    );
    // Planning changes nothing and spends nothing.
    let turns = vec![says("I ask.", vec![fox("a.png")])];
    let provider = Provider::start(Script { turns, ..Script::default() }).await.unwrap();
    let agents = agent("painter", ("openai", "/v1"), &provider, &ws, "      enable_image_generation: true\n");
    let text = format!("agents:\n{agents}orchestrator:\n  coordination:\n    enable_planning_mode: true\n");
    let text = host.agent_file("plan.yaml", &text).display().to_string();
    let _ = cordon(&host, &["run", &text, "x"]).expect_code(0);
    assert!(!provider.requests().iter().any(ordered));
    assert!(
        provider.requests().last().unwrap().body.to_string().contains("planning mode is active, and nothing")
    );
    // The first one costs 0.125 dollars; no other is ordered when it is spent.
    let on = "      enable_image_generation: true\n      max_tokens_total: 4000\n";
    let turns = vec![says("I ask.", vec![fox("a.png"), fox("b.png"), fox("c.png")])];
    let provider = Provider::start(Script { turns, ..Script::default() }).await.unwrap();
    let text = file(&host, &[agent("painter", ("openai", "/v1"), &provider, &ws, on)]);
    let ran = cordon(&host, &["run", &text, "x"]);
    assert_ne!(ran.code, 0, "{}", ran.stdout);
    assert!(
        ran.stdout.contains("max_tokens_total") || ran.stderr.contains("max_tokens_total"),
        "{}\n{}",
        ran.stdout,
        ran.stderr
    );
    assert_eq!(provider.requests().iter().filter(|r| ordered(r)).count(), 1);
    assert_eq!(std::fs::read_dir(&ws).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_interrupts_waits_for_no_picture() {
    let host = Host::start_as(User::Tester);
    let ws = host.tree("ws");
    let turns = vec![says("I ask.", vec![generate(json!({"mode": "image", "prompt": "a fox"}))])];
    let provider =
        Provider::start(Script { turns, making: Making::Hangs, ..Script::default() }).await.unwrap();
    let on = "      enable_image_generation: true\n";
    let text = file(&host, &[agent("painter", ("openai", "/v1"), &provider, &ws, on)]);
    let mut client =
        host.command("cordon").args(["run", &text, "x"]).env("PLANTED_KEY", KEY).spawn().unwrap();
    let ordered = provider.wait_for(|r| r.path.ends_with("/images/generations"));
    let _ = tokio::time::timeout(Duration::from_secs(60), ordered).await.expect("it was ordered");
    kill(Pid::from_raw(i32::try_from(client.id()).unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(client.wait().unwrap().code(), Some(130));
    assert_eq!(std::fs::read_dir(&ws).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_looks_is_asked_what_it_is_first() {
    let host = Host::start_as(User::Tester);
    let ws = host.tree("ws");
    host.put(&ws.join("p.png"), PNG);
    let look = Call::Tool { name: "understand_image".to_owned(), arguments: json!({"path": "p.png"}) };
    let turns = vec![says("I look.", vec![look])];
    let provider = Provider::start(Script { turns, ..Script::default() }).await.unwrap();
    let port = provider.addr.port();
    // It names no model: its server says which it has.
    let more = format!(
        "      enable_multimodal_tools: true\n      multimodal_config: {{image: {{backend: lmstudio}}}}\n      port: {port}\n"
    );
    let base = agent("helper", ("lmstudio", "/v1"), &provider, &ws, &more);
    let base: String = base.lines().filter(|l| !l.contains("base_url")).map(|l| format!("{l}\n")).collect();
    let text = file(&host, &[base]);
    let ran = cordon(&host, &["run", &text, "x"]);
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    let looked: Vec<Recorded> =
        provider.requests().into_iter().filter(|r| r.body.to_string().contains("image_url")).collect();
    assert_eq!(looked.len(), 1);
    assert_eq!(looked[0].body["model"], "scripted-model");
}
