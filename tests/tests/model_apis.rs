//! Agents whose model is reached through an API: every type of them in both walls, against the
//! scripted provider.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::{Event, Outcome, Run, event::Kind};
use cordon_tests::{
    harness::{
        Host, Ran, User, containers_of, denials, messages, need_image, processes_mentioning, skipped,
        summary, wait_until,
    },
    provider::{Call, Failure, Provider, Script, Turn, When},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{fs, path::Path, time::Duration};

const KEY: &str = "planted-key-0123456789-abcdefghij";

/// Every type, with what its URL ends in.
const TYPES: [(&str, &str); 13] = [
    ("openai", "/v1"),
    ("claude", ""),
    ("gemini", "/v1beta"),
    ("grok", "/v1"),
    ("azure_openai", ""),
    ("zai", "/v1"),
    ("lmstudio", "/v1"),
    ("vllm", "/v1"),
    ("sglang", "/v1"),
    ("chatcompletion", "/v1"),
    ("openrouter", "/v1"),
    ("groq", "/v1"),
    ("together", "/v1"),
];

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

/// Looks, is refused, repairs and tries.
fn repair(ws: &Path, outside: &Path) -> Vec<Turn> {
    let program = ws.join("sum.sh").display().to_string();
    vec![
        says("I look.", vec![Call::Read(program.clone()), Call::Read(outside.display().to_string())]),
        says(
            "I mend it.",
            vec![Call::Edit {
                path: program,
                old: "echo $(($1 - $2))".to_owned(),
                new: "echo $(($1 + $2))".to_owned(),
            }],
        ),
        says("I try it.", vec![Call::Shell("bash sum.sh 2 3 > tried.txt".to_owned())]),
        says("It adds now.", Vec::new()),
    ]
}

/// Every place of Cordon's and the agent's in which a key must not be.
fn nothing_has_the_key(host: &Host, ws: &Path) {
    for place in [host.path("state"), ws.to_path_buf()] {
        let found = std::process::Command::new("grep").arg("-rlaF").arg(KEY).arg(&place).output().unwrap();
        let found = String::from_utf8_lossy(&found.stdout).into_owned();
        assert!(found.is_empty(), "the key is in {found}");
    }
    assert!(!host.log().contains(KEY));
}

async fn repairs(kind: (&str, &str), wall: &str) {
    let host = Host::start_as(User::Tester);
    let ws = host.tree("ws");
    host.put(&ws.join("sum.sh"), "echo $(($1 - $2))\n");
    let outside = host.path("outside.txt");
    fs::write(&outside, "canary-7781").unwrap();
    let provider =
        Provider::start(Script { turns: repair(&ws, &outside), ..Script::default() }).await.unwrap();
    let text = file(&host, &[agent("helper", kind, &provider, &ws, "")]);
    let name = kind.0;
    let ran = cordon(&host, &["run", &text, "--wall", wall, "repair the sum"]);
    assert_eq!(ran.code, 0, "{name} {wall}: {}\n{}\n{}", ran.stdout, ran.stderr, host.log());
    assert_eq!(fs::read_to_string(ws.join("tried.txt")).unwrap(), "5\n", "{name}");
    let (_, events) = last(&host).await;
    assert_eq!(messages(&events).last().map(String::as_str), Some("It adds now."), "{name}");
    let denied = denials(&events);
    assert_eq!(denied.len(), 1, "{name} {wall}: {denied:#?}");
    assert!(!denied[0].rule.is_empty(), "{denied:#?}");
    // The model was told by which rule, in the result of its own call, and went on.
    let requests = provider.requests();
    assert_eq!(requests.len(), 4, "{name}");
    let told = requests[1].body.to_string();
    assert!(told.contains("denied by guest") && !told.contains("canary-7781"), "{name}: {told}");
    // The key came where it belongs, and is nowhere else.
    for request in &requests {
        assert_eq!(request.key.as_deref(), Some(KEY), "{name}");
        assert!(!request.path.contains(KEY) && !request.body.to_string().contains(KEY), "{name}");
    }
    nothing_has_the_key(&host, &ws);
    let used = summary(&events).summary.unwrap().usage.unwrap();
    assert!(used.input_tokens > 0 && used.output_tokens > 0, "{name}: {used:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_repairs_a_project_behind_the_local_wall() {
    for kind in TYPES {
        repairs(kind, "local").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_protocol_repairs_a_project_in_docker() {
    if skipped("docker") {
        return;
    }
    need_image("cordon/base");
    for kind in [TYPES[0], TYPES[1], TYPES[2], TYPES[9]] {
        repairs(kind, "docker").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_goes_on_after_its_run_and_after_the_daemon() {
    for kind in [TYPES[0], TYPES[1], TYPES[2], TYPES[9]] {
        let mut host = Host::start_as(User::Tester);
        let ws = host.tree("ws");
        let shell = |text: &str, command: &str| says(text, vec![Call::Shell(command.to_owned())]);
        let when = |contains: &str, turns| When { contains: contains.to_owned(), turns };
        let script = Script {
            when: vec![
                when(
                    "second-task",
                    vec![shell("More.", "echo two >> made.txt"), says("Second done.", vec![])],
                ),
                when("first-task", vec![shell("Begin.", "echo one > made.txt"), says("First done.", vec![])]),
            ],
            ..Script::default()
        };
        let provider = Provider::start(script).await.unwrap();
        let text = file(&host, &[agent("helper", kind, &provider, &ws, "")]);
        let _ = cordon(&host, &["run", &text, "first-task"]).expect_code(0);
        let (first, _) = last(&host).await;
        host.kill_daemon();
        host.start_daemon();
        let _ = cordon(&host, &["run", "--resume", &first.id, "second-task"]).expect_code(0);
        // An earlier run may go: what was said is in the later one.
        let (second, _) = last(&host).await;
        let _ = cordon(&host, &["run", "--resume", &second.id, "third"]).expect_code(0);
        assert_eq!(fs::read_to_string(ws.join("made.txt")).unwrap(), "one\ntwo\n", "{}", kind.0);
        let requests = provider.requests();
        let last = requests.last().unwrap().body.to_string();
        for said in ["first-task", "Begin.", "First done.", "second-task", "More.", "Second done.", "third"] {
            assert_eq!(last.matches(said).count(), 1, "{}: {said} in {last}", kind.0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_and_an_unknown_model_are_a_clear_error_at_once() {
    for (failure, words) in [(Failure::Refuse, "key"), (Failure::UnknownModel, "model")] {
        let host = Host::start_as(User::Tester);
        let ws = host.tree("ws");
        let script = Script { failure: Some(failure), ..Script::default() };
        let provider = Provider::start(script).await.unwrap();
        let text = file(&host, &[agent("helper", TYPES[0], &provider, &ws, "")]);
        let ran = cordon(&host, &["run", &text, "x"]).expect_code(1);
        assert!(ran.stdout.contains(words), "{}", ran.stdout);
        assert_eq!(provider.requests().len(), 1, "nobody asks twice with a wrong key");
        nothing_has_the_key(&host, &ws);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_fails_for_ever_is_asked_again_and_the_turn_ends_in_time() {
    for failure in [Failure::RateLimit, Failure::ServerError, Failure::Hang] {
        let host = Host::start_as(User::Tester);
        let ws = host.tree("ws");
        let script = Script { failure: Some(failure), ..Script::default() };
        let provider = Provider::start(script).await.unwrap();
        let text = file(&host, &[agent("helper", TYPES[1], &provider, &ws, "      timeout: 3\n")]);
        let ran = cordon(&host, &["run", &text, "x"]);
        let (run, events) = last(&host).await;
        assert!(
            matches!(run.outcome(), Outcome::TimedOut | Outcome::AgentFailed),
            "{failure:?}: {}",
            ran.stdout
        );
        let tried = events.iter().any(|e| matches!(e.kind, Some(Kind::Retry(_))));
        assert_eq!(tried, failure != Failure::Hang, "{failure:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_interrupts_does_not_wait_and_nothing_is_left() {
    let host = Host::start_as(User::Tester);
    let ws = host.tree("ws");
    let turns = vec![says("Slowly.", vec![Call::Shell("touch started; exec sleep 360921".to_owned())])];
    let provider = Provider::start(Script { turns, ..Script::default() }).await.unwrap();
    let text = file(&host, &[agent("helper", TYPES[2], &provider, &ws, "")]);
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
async fn a_daemon_that_is_killed_leaves_a_broken_turn_from_which_to_go_on() {
    let mut walls = vec!["local"];
    if !skipped("docker") {
        need_image("cordon/base");
        walls.push("docker");
    }
    for wall in walls {
        let mut host = Host::start_as(User::Tester);
        let ws = host.tree("ws");
        let turns = vec![says("Working.", vec![Call::Shell("touch started; exec sleep 360922".to_owned())])];
        let provider = Provider::start(Script { turns, ..Script::default() }).await.unwrap();
        let text = file(&host, &[agent("helper", TYPES[9], &provider, &ws, "")]);
        let mut command = host.command("cordon");
        let ran = host
            .finish(command.args(["run", &text, "--wall", wall, "--detach", "x"]).env("PLANTED_KEY", KEY));
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(wait_until(Duration::from_secs(60), || ws.join("started").is_file()), "{}", host.log());
        let run = host.api().await.only_run().await;
        host.kill_daemon();
        host.start_daemon();
        let events = host.api().await.events(&run.id, true).await;
        assert_eq!(summary(&events).outcome(), Outcome::Broken, "{wall}");
        assert!(processes_mentioning("sleep 360922").is_empty(), "{wall}");
        assert!(wall == "local" || containers_of(&run.id).is_empty());
        let ran = cordon(&host, &["run", "--resume", &run.id, "go on"]);
        assert_eq!(ran.code, 0, "{wall}: {}\n{}", ran.stdout, ran.stderr);
        let said = provider.requests().last().unwrap().body.to_string();
        assert!(said.contains("Working.") && said.contains("was interrupted"), "{wall}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_work_side_by_side_and_one_that_fails_stops_nobody() {
    let host = Host::start_as(User::Tester);
    let good = Provider::start(Script {
        turns: vec![says("I make it.", vec![Call::Shell("echo made > made.txt".to_owned())])],
        ..Script::default()
    })
    .await
    .unwrap();
    let bad = Script { failure: Some(Failure::Refuse), ..Script::default() };
    let bad = Provider::start(bad).await.unwrap();
    let trees = [host.tree("one"), host.tree("two"), host.tree("three")];
    let text = file(
        &host,
        &[
            agent("one", TYPES[0], &good, &trees[0], ""),
            agent("two", TYPES[1], &bad, &trees[1], ""),
            agent("three", TYPES[2], &good, &trees[2], ""),
        ],
    );
    let _ = cordon(&host, &["run", &text, "make it"]).expect_code(1);
    for tree in [&trees[0], &trees[2]] {
        assert_eq!(fs::read_to_string(tree.join("made.txt")).unwrap(), "made\n");
    }
    let (run, _) = last(&host).await;
    let outcome = |id: &str| run.agents.iter().find(|a| a.id == id).unwrap().outcome();
    assert_eq!(outcome("one"), Outcome::Success);
    assert_eq!(outcome("two"), Outcome::AgentFailed);
    assert_eq!(outcome("three"), Outcome::Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_the_agent_file_end_a_turn_by_their_name() {
    for (key, words) in [("max_turns: 2", "max_turns"), ("max_tokens_total: 150", "max_tokens_total")] {
        let host = Host::start_as(User::Tester);
        let ws = host.tree("ws");
        let again = || says("Again.", vec![Call::Shell("true".to_owned())]);
        let turns = (0..9).map(|_| again()).collect();
        let provider = Provider::start(Script { turns, ..Script::default() }).await.unwrap();
        let text = file(&host, &[agent("helper", TYPES[0], &provider, &ws, &format!("      {key}\n"))]);
        let ran = cordon(&host, &["run", &text, "x"]).expect_code(1);
        assert!(ran.stdout.contains(words), "{}", ran.stdout);
        assert_eq!(provider.requests().len(), 2, "{key}");
    }
    let host = Host::start_as(User::Tester);
    let ws = host.tree("ws");
    let provider = Provider::start(Script::default()).await.unwrap();
    let text = file(&host, &[agent("helper", TYPES[0], &provider, &ws, "      max_cost_usd: 1\n")]);
    let ran = cordon(&host, &["run", &text, "x"]);
    assert!(ran.code != 0 && ran.stdout.contains("nobody knows what"), "{}\n{}", ran.stdout, ran.stderr);
    assert!(provider.requests().is_empty(), "nothing is asked that cannot be paid for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_looks_at_what_the_agent_may_read_and_at_nothing_else() {
    let host = Host::start_as(User::Tester);
    let ws = host.tree("ws");
    host.put(&ws.join("p.png"), b"\x89PNG\r\n\x1a\nrest");
    let outside = host.path("q.png");
    fs::write(&outside, b"\x89PNG\r\n\x1a\ncanary").unwrap();
    let look = |path: &Path| Call::Tool {
        name: "understand_image".to_owned(),
        arguments: serde_json::json!({ "path": path, "prompt": "what-colour" }),
    };
    let turns = vec![says("I look.", vec![look(&ws.join("p.png")), look(&outside)])];
    let provider = Provider::start(Script { turns, ..Script::default() }).await.unwrap();
    let more = "      enable_multimodal_tools: true\n";
    let text = file(&host, &[agent("helper", TYPES[1], &provider, &ws, more)]);
    let _ = cordon(&host, &["run", &text, "x"]).expect_code(0);
    let (_, events) = last(&host).await;
    assert_eq!(denials(&events).len(), 1);
    let requests = provider.requests();
    let looked: Vec<_> = requests.iter().filter(|r| r.body.to_string().contains("image/png")).collect();
    assert_eq!(looked.len(), 1, "the picture went to the model once, and to nobody else");
    assert!(looked[0].body.to_string().contains("what-colour"));
}
