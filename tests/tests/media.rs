//! What an agent whose model is reached through an API lets other models look at, what planning offers,
//! where large results go, and what an interrupt leaves.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::{Event, Outcome, Run};
use cordon_tests::{
    harness::{Host, Ran, User, denials, processes_mentioning, wait_until},
    provider::{Call, Provider, Script, Turn},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
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
