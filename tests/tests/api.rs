//! Agents whose backend is a model API, end to end: the real daemon, a real sandbox, and the
//! scripted provider, which takes nothing that the real services refuse.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::{Event, Outcome, Run, RunEnded, event::Kind};
use cordon_tests::{
    harness::{
        Host, KEY, Ran, Where, denials, messages, need_docker, need_image, processes_mentioning, skipped,
        summary, wait_until,
    },
    provider::{Call, Failure, Provider, Script, Shape, Turn, Usage, When},
};
use serde_json::json;
use std::{fs, path::Path, time::Duration};

/// Every backend type: where it wants its provider, and what else its file says.
const TYPES: &[(&str, &str, &str)] = &[
    ("openai", "/v1", "      reasoning:\n        effort: high\n        summary: auto\n"),
    ("claude", "", "      reasoning:\n        effort: high\n"),
    ("gemini", "/v1beta", ""),
    ("azure_openai", "", ""),
    ("grok", "/v1", ""),
    ("zai", "/api/paas/v4", ""),
    ("lmstudio", "/v1", ""),
    ("inference", "/v1", ""),
    ("vllm", "/v1", ""),
    ("sglang", "/v1", ""),
    ("chatcompletion", "/v1", ""),
    ("openrouter", "/api/v1", ""),
];

/// One for each protocol.
const PROTOCOLS: &[&str] = &["openai", "claude", "gemini", "chatcompletion"];

const REPAIRED: &str = "#!/usr/bin/env bash\nset -euo pipefail\nawk -F, 'NR > 1 { sum[$2] += $3 } END { for (c in sum) \
                        printf \"%s %.2f\\n\", c, sum[c] }' \"$1\" | sort -k2,2nr\n";

struct More<'a> {
    place: Where,
    backend: &'a str,
}

const LOCAL: More<'_> = More { place: Where::Local, backend: "" };

/// The lines of one agent; its key is `${PLANTED_KEY}`.
fn agent(id: &str, kind: &str, provider: &Provider, ws: &Path, more: &More<'_>) -> String {
    let (_, suffix, keys) = TYPES.iter().find(|(name, ..)| *name == kind).unwrap();
    let (base, ws, wall, more) = (provider.base_url(), ws.display(), more.place.keys(), more.backend);
    format!(
        "  - id: {id}\n    backend:\n      type: {kind}\n      model: scripted-model\n      base_url: {base}{suffix}\n      \
         api_key: ${{PLANTED_KEY}}\n      cwd: {ws}\n{wall}{keys}{more}"
    )
}

struct Done {
    ran: Ran,
    run: Run,
    events: Vec<Event>,
}

impl Done {
    fn expect(&self, outcome: Outcome) -> &Self {
        let said = format!("{}{}", self.ran.stdout, self.ran.stderr);
        assert_eq!(self.ended().outcome(), outcome, "{said}\n{:?}", self.events);
        self
    }

    fn ended(&self) -> RunEnded {
        summary(&self.events)
    }

    fn said(&self) -> String {
        format!("{}{}{:?}", self.ran.stdout, self.ran.stderr, self.events)
    }
}

async fn last(host: &Host) -> (Run, Vec<Event>) {
    let mut api = host.api().await;
    let run = api.list().await.into_iter().max_by_key(|r| r.started_unix_ms).unwrap();
    let events = api.events(&run.id, true).await;
    (run, events)
}

async fn run(host: &Host, agents: &str, more: &[&str]) -> Done {
    let file = host.agent_file("a.yaml", &format!("agents:\n{agents}"));
    let mut command = host.command("cordon");
    command.arg("run").args(more).arg(file).arg("repair it").env("PLANTED_KEY", KEY);
    let ran = host.finish(&mut command);
    let (run, events) = last(host).await;
    Done { ran, run, events }
}

fn project(host: &Host, name: &str) -> std::path::PathBuf {
    let ws = host.tree(name);
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/quickstart/project");
    for file in ["report.sh", "test.sh", "expenses.csv"] {
        host.put(&ws.join(file), fs::read(from.join(file)).unwrap());
    }
    ws
}

fn tool(name: &str, arguments: serde_json::Value) -> Call {
    Call::Tool { name: name.to_owned(), arguments }
}

/// What the provider was asked last.
fn last_asked(provider: &Provider) -> String {
    provider.requests().last().unwrap().body.to_string()
}

/// No place that outlives a request has the key.
fn keeps_its_key(host: &Host, done: &Done, provider: &Provider) {
    assert_eq!(provider.keys(), [KEY]);
    let asked = provider.requests();
    assert!(asked.iter().all(|r| !r.path.contains(KEY) && !r.body.to_string().contains(KEY)));
    assert!(!done.said().contains(KEY) && !host.log().contains(KEY));
    let found =
        std::process::Command::new("grep").args(["-rlaF", KEY]).arg(host.path("state")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "the key is in the daemon's state");
    assert!(processes_mentioning(KEY).is_empty());
}

/// The repair of the quickstart, three denials on the way, and a look for the key from inside.
async fn repairs(host: &Host, kind: &str, more: &More<'_>) {
    let name = format!("{kind}-{}", more.place);
    let ws = project(host, &name);
    let outside = host.tree(&format!("outside-{name}"));
    host.put(&outside.join("secret.txt"), "not to be changed\n");
    let (secret, outside) = (outside.join("secret.txt"), outside.display());
    let reads = format!(
        "{}      context_paths:\n        - path: {outside}\n          permission: read\n",
        more.backend
    );
    let more = &More { place: more.place, backend: &reads };
    let look = "cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'; env";
    let turns = vec![
        Turn { text: "I will see what fails.".into(), ..Turn::calls([Call::Shell("bash test.sh".into())]) }
            .thinking("The tests come first.\nThen the rest."),
        Turn::calls([
            Call::Write { path: format!("{}/report.sh", ws.display()), content: REPAIRED.into() },
            tool("write_file", json!({"path": "/usr/left-behind", "content": "x"})),
            tool("write_file", json!({"path": format!("{outside}/secret.txt"), "content": "x"})),
        ])
        .thinking("It overwrites."),
        Turn::calls([Call::Shell("bash test.sh; echo code=$?".into()), Call::Shell(look.into())]),
        Turn::text("Repaired."),
    ];
    let shape = Shape { delta: 5, interleave: true, chunk: 301, pause_ms: 0 };
    let script = Script { turns, shape, strict: true, ..Script::default() };
    let provider = Provider::start(script).await.unwrap();
    let done = run(host, &agent("coder", kind, &provider, &ws, more), &[]).await;
    done.expect(Outcome::Success);
    assert_eq!(fs::read_to_string(ws.join("report.sh")).unwrap(), REPAIRED, "{name}");
    let said = messages(&done.events).concat();
    assert!(said.contains("I will see what fails.") && said.contains("Repaired."), "{name}: {said}");
    // What the tools answered is what the model was told, and a denial says which rule it was.
    let asked: Vec<String> =
        provider.requests().into_iter().filter(|r| r.method == "POST").map(|r| r.body.to_string()).collect();
    assert_eq!(asked.len(), 4, "{name}: {asked:?}");
    assert!(asked[1].contains("FAIL  the first entry counts"), "{name}: {}", asked[1]);
    assert!(asked[3].contains("ok    the largest comes first") && asked[3].contains("code=0"), "{name}");
    let denied = denials(&done.events);
    assert!(denied.len() >= 2, "{name}: {denied:?}");
    assert_eq!(fs::read_to_string(secret).unwrap(), "not to be changed\n");
    for denial in &denied {
        assert!(
            !denial.rule.is_empty() && asked[2].contains(&denial.rule),
            "{name}: {denial:?} {}",
            asked[2]
        );
    }
    keeps_its_key(host, &done, &provider);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_backend_repairs_the_project_behind_the_local_wall() {
    let host = Host::start();
    for (kind, ..) in TYPES {
        repairs(&host, kind, &LOCAL).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_backend_repairs_the_project_in_docker() {
    if skipped("docker") {
        return;
    }
    need_docker();
    need_image("debian:bookworm-slim");
    let host = Host::start();
    for (kind, ..) in TYPES {
        let image = "      command_line_docker_image: debian:bookworm-slim\n";
        repairs(&host, kind, &More { place: Where::Docker, backend: image }).await;
    }
}

/// A turn that makes a file: nothing of an answer that broke may do so.
fn harmful(failure: Failure, times: usize) -> Turn {
    Turn { text: "Words.".repeat(20), ..Turn::shell("echo made > made.txt") }.failing(failure, times)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_mended_ends_the_run_with_the_reason() {
    let host = Host::start();
    let elsewhere = Provider::start(Script::default()).await.unwrap();
    let cases = [
        (Failure::Refuse, "did not accept the key"),
        (Failure::UnknownModel, "has no such model"),
        (Failure::BadRequest, "did not accept the request"),
        (Failure::Redirect(elsewhere.addr.port()), "wants the request elsewhere"),
        (Failure::Huge(100 << 20), "was refused"),
        (Failure::Flood(100 << 20), "was refused"),
    ];
    for kind in PROTOCOLS {
        for (failure, reason) in cases {
            let ws = host.tree("ws");
            let provider = Provider::start(Script::of([harmful(failure, 0)])).await.unwrap();
            let done = run(&host, &agent("coder", kind, &provider, &ws, &LOCAL), &[]).await;
            done.expect(Outcome::AgentFailed);
            assert!(done.said().contains(reason), "{kind} {failure:?}: {}", done.said());
            assert_eq!(provider.requests().len(), 1, "{kind} {failure:?}: it was asked again");
            assert!(!ws.join("made.txt").try_exists().unwrap());
            keeps_its_key(&host, &done, &provider);
        }
    }
    assert!(elsewhere.requests().is_empty(), "the key went to another place");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_is_waited_for_and_carried_out_once() {
    let host = Host::start();
    let cases = [
        Failure::RateLimit,
        Failure::RateLimitBare,
        Failure::ServerError,
        Failure::Overloaded,
        Failure::InStream,
        Failure::Truncated,
        Failure::Reset,
        Failure::Garbage,
    ];
    for kind in PROTOCOLS {
        let ws = host.tree(&format!("ws-{kind}"));
        let turns = cases.map(|f| {
            Turn { text: "Words.".repeat(20), ..Turn::shell("echo once >> made.txt") }.failing(f, 1)
        });
        let provider = Provider::start(Script { strict: true, ..Script::of(turns) }).await.unwrap();
        let done = run(&host, &agent("coder", kind, &provider, &ws, &LOCAL), &[]).await;
        done.expect(Outcome::Success);
        assert_eq!(fs::read_to_string(ws.join("made.txt")).unwrap(), "once\n".repeat(cases.len()), "{kind}");
        assert_eq!(provider.requests().len(), 2 * cases.len() + 1, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_provider_is_left_at_the_deadline() {
    let host = Host::start();
    for failure in [Failure::Hang, Failure::Drip(50)] {
        let ws = host.tree("ws");
        let provider = Provider::start(Script::failing(failure)).await.unwrap();
        let more = More { place: Where::Local, backend: "      timeout: 3\n" };
        let done = run(&host, &agent("coder", "openai", &provider, &ws, &more), &[]).await;
        assert!(
            [Outcome::TimedOut, Outcome::AgentFailed].contains(&done.ended().outcome()),
            "{failure:?}: {}",
            done.said()
        );
        assert!(processes_mentioning(&ws.display().to_string()).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_run_asks_no_more() {
    let host = Host::start();
    for failure in [Failure::Hang, Failure::Drip(50)] {
        let ws = host.tree("ws");
        let provider = Provider::start(Script::failing(failure)).await.unwrap();
        let text = agent("coder", "claude", &provider, &ws, &LOCAL);
        let file = host.agent_file("a.yaml", &format!("agents:\n{text}"));
        let mut command = host.command("cordon");
        command.args(["run", "--detach"]).arg(file).arg("go").env("PLANTED_KEY", KEY);
        let _ = host.finish(&mut command).expect_code(0);
        provider.wait_for(|r| r.method == "POST").await;
        let run = host.api().await.list().await.into_iter().max_by_key(|r| r.started_unix_ms).unwrap();
        let _ = host.cordon(["stop", &run.id]).expect_code(0);
        let (_, events) = last(&host).await;
        assert_eq!(summary(&events).outcome(), Outcome::Cancelled);
        assert_eq!(provider.requests().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_is_kept() {
    let host = Host::start();
    let ws = host.tree("ws");
    let usage = Usage { input: 400, cached: 0, output: 200, reasoning: 0 };
    let turns = vec![Turn { usage, ..Turn::shell("echo more >> made.txt") }; 20];
    for (key, rounds) in [("max_tokens_total: 1500", 3), ("max_turns: 4", 4)] {
        let provider = Provider::start(Script::of(turns.clone())).await.unwrap();
        let lines = format!("      {key}\n");
        let more = More { place: Where::Local, backend: &lines };
        let done = run(&host, &agent("coder", "gemini", &provider, &ws, &more), &[]).await;
        done.expect(Outcome::AgentFailed);
        assert!(done.said().contains(key.split(':').next().unwrap()), "{}", done.said());
        assert_eq!(provider.requests().len(), rounds, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_of_the_agent_file_reach_the_tools() {
    let host = Host::start();
    let ws = host.tree("ws");
    let turns = vec![Turn::shell("printf %s \"$STAGE\" > made.txt"), Turn::text("done")];
    let provider = Provider::start(Script::of(turns)).await.unwrap();
    let more = More { place: Where::Local, backend: "      env: {STAGE: \"a $HOME b\"}\n" };
    let done = run(&host, &agent("coder", "openai", &provider, &ws, &more), &[]).await;
    done.expect(Outcome::Success);
    // As it is written: no shell has read it on the way.
    assert_eq!(fs::read_to_string(ws.join("made.txt")).unwrap(), "a $HOME b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resumed_conversation_has_all_that_was_said() {
    let host = Host::start();
    for kind in PROTOCOLS {
        let ws = host.tree(&format!("ws-{kind}"));
        let first = vec![Turn::shell("echo one > one.txt").thinking("Sealed."), Turn::text("first-answer")];
        let second = vec![Turn::shell("cat one.txt"), Turn::text("second-answer")];
        let when = |contains: &str, turns| When { contains: contains.to_owned(), turns };
        let script = Script {
            when: vec![when("repair it", first), when("and then", second)],
            strict: true,
            ..Script::default()
        };
        let provider = Provider::start(script).await.unwrap();
        let done = run(&host, &agent("coder", kind, &provider, &ws, &LOCAL), &[]).await;
        done.expect(Outcome::Success);
        let mut command = host.command("cordon");
        command.args(["run", "--resume", &done.run.id, "and then"]).env("PLANTED_KEY", KEY);
        let ran = host.finish(&mut command);
        let (_, events) = last(&host).await;
        assert_eq!(summary(&events).outcome(), Outcome::Success, "{kind}: {}{}", ran.stdout, ran.stderr);
        assert!(messages(&events).concat().contains("second-answer"), "{kind}");
        let asked = last_asked(&provider);
        assert!(asked.contains("first-answer") && asked.contains("and then"), "{kind}: {asked}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_several_fails_and_the_others_go_on() {
    let host = Host::start();
    let broken = Provider::start(Script::failing(Failure::Refuse)).await.unwrap();
    let mut agents = String::new();
    let mut sound = Vec::new();
    for kind in PROTOCOLS {
        let provider =
            Provider::start(Script::of([Turn::shell(format!("echo {kind} > made.txt"))])).await.unwrap();
        let ws = host.tree(&format!("ws-{kind}"));
        agents += &agent(kind, kind, &provider, &ws, &LOCAL);
        sound.push((kind, provider, ws));
    }
    agents += &agent("unlucky", "grok", &broken, &host.tree("ws-unlucky"), &LOCAL);
    let done = run(&host, &agents, &[]).await;
    done.expect(Outcome::AgentFailed);
    for (kind, provider, ws) in &sound {
        assert_eq!(fs::read_to_string(ws.join("made.txt")).unwrap(), format!("{kind}\n"));
        assert_eq!(provider.requests().len(), 2, "{kind}");
    }
    assert!(done.said().contains("did not accept the key"), "{}", done.said());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_daemon_leaves_a_conversation_that_goes_on() {
    let mut host = Host::start();
    let ws = host.tree("ws");
    let when = |contains: &str, turns| When { contains: contains.to_owned(), turns };
    let first = vec![Turn::shell("echo one > one.txt"), harmful(Failure::Hang, 0)];
    let script = Script {
        when: vec![when("repair it", first), when("and then", vec![Turn::text("still-here")])],
        strict: true,
        ..Script::default()
    };
    let provider = Provider::start(script).await.unwrap();
    let text = agent("coder", "openai", &provider, &ws, &LOCAL);
    let file = host.agent_file("a.yaml", &format!("agents:\n{text}"));
    let mut command = host.command("cordon");
    command.args(["run", "--detach"]).arg(file).arg("repair it").env("PLANTED_KEY", KEY);
    let _ = host.finish(&mut command).expect_code(0);
    provider.wait_for(|r| r.body.to_string().contains("function_call_output")).await;
    host.kill_daemon();
    host.start_daemon();
    let (run, events) = last(&host).await;
    assert_eq!(summary(&events).outcome(), Outcome::Broken, "{events:?}");
    assert!(events.iter().any(|e| matches!(e.kind, Some(Kind::Recovered(_)))), "{events:?}");
    let shown = host.finish(host.command("cordon").args(["logs", &run.id])).stdout;
    assert!(shown.contains(&format!("`cordon run --resume {} \"go on\"`", run.id)), "{shown}");
    let nobody = || processes_mentioning(&ws.display().to_string()).is_empty();
    assert!(wait_until(Duration::from_secs(20), nobody));
    let mut command = host.command("cordon");
    command.args(["run", "--resume", &run.id, "and then"]).env("PLANTED_KEY", KEY);
    let ran = host.finish(&mut command);
    let (run, events) = last(&host).await;
    assert_eq!(summary(&events).outcome(), Outcome::Success, "{}{}", ran.stdout, ran.stderr);
    assert!(messages(&events).concat().contains("still-here"));
    let asked = last_asked(&provider);
    assert!(asked.contains("one.txt") && asked.contains("repair it"), "{asked}");
    keeps_its_key(&host, &Done { ran, run, events }, &provider);
}
