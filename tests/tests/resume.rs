//! Runs that go on with an ended one, with the four real programs in both walls, against the
//! scripted provider.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::{Event, Run, event::Kind};
use cordon_tests::{
    harness::{
        Host, Ran, User, claude, codex, containers_of, copilot, copilot_cache, gemini, need_image, node,
        skipped, summary,
    },
    provider::{Provider, Script, Turn, When},
};
use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

const KEY: &str = "planted-key-0123456789-abcdefghij";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Cli {
    Codex,
    Claude,
    Gemini,
    Copilot,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Wall {
    Local,
    Docker,
}

fn cases() -> Vec<(Cli, Wall)> {
    let all = [Cli::Codex, Cli::Claude, Cli::Gemini, Cli::Copilot];
    let every = [Wall::Local, Wall::Docker].into_iter().flat_map(|wall| all.map(|cli| (cli, wall)));
    let cases: Vec<_> =
        every.filter(|(_, wall)| !(skipped("clis") || *wall == Wall::Docker && skipped("docker"))).collect();
    for (cli, _) in cases.iter().filter(|(_, wall)| *wall == Wall::Docker) {
        need_image(match cli {
            Cli::Codex => "cordon/codex",
            Cli::Claude => "cordon/claude-code",
            Cli::Gemini => "cordon/gemini-cli",
            Cli::Copilot => "cordon/copilot",
        });
    }
    cases
}

/// A daemon that finds the real programs on its PATH, as a user's would.
fn host() -> Host {
    let mut host = Host::without_daemon(User::Tester);
    let programs = host.path("programs");
    fs::create_dir(&programs).unwrap();
    if !skipped("clis") {
        let found = [
            ("codex", codex()),
            ("claude", claude()),
            ("gemini", gemini()),
            ("node", node()),
            ("copilot", copilot()),
        ];
        for (name, program) in found {
            std::os::unix::fs::symlink(program, programs.join(name)).unwrap();
        }
        fs::create_dir(host.path("home/.cache")).unwrap();
        std::os::unix::fs::symlink(copilot_cache(), host.path("home/.cache/copilot")).unwrap();
    }
    host.set_env("PATH", &format!("{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", programs.display()));
    host.start_daemon();
    host
}

fn agent(cli: Cli, wall: Wall, base_url: &str, cwd: &Path) -> String {
    let (kind, model, suffix) = match cli {
        Cli::Codex => ("codex", "scripted-model", "/v1"),
        Cli::Claude => ("claude_code", "scripted-model", ""),
        Cli::Gemini => ("gemini-cli", "gemini-2.5-pro", ""),
        Cli::Copilot => ("copilot", "scripted-model", "/v1"),
    };
    let wall = match wall {
        Wall::Local => "command_line_execution_mode: local".to_owned(),
        Wall::Docker => {
            "command_line_execution_mode: docker\n      command_line_docker_network_mode: bridge".to_owned()
        }
    };
    format!(
        "agents:\n  - id: coder\n    system_message: Be brief.\n    backend:\n      type: {kind}\n      model: {model}\n      base_url: {base_url}{suffix}\n      api_key: ${{PLANTED_KEY}}\n      cwd: {}\n      {wall}\n",
        cwd.display()
    )
}

fn script(first: impl Into<Vec<Turn>>, second: impl Into<Vec<Turn>>) -> Script {
    let when = |contains: &str, turns| When { contains: contains.to_owned(), turns };
    Script {
        when: vec![when("second-task", second.into()), when("first-task", first.into())],
        ..Script::default()
    }
}

fn cordon(host: &Host, args: &[&str]) -> Ran {
    host.finish(host.command("cordon").args(args).env("PLANTED_KEY", KEY))
}

async fn runs(host: &Host) -> Vec<Run> {
    let mut runs = host.api().await.list().await;
    runs.sort_by_key(|r| r.started_unix_ms);
    runs
}

async fn last(host: &Host) -> (Run, Vec<Event>) {
    let run = runs(host).await.pop().unwrap();
    let events = host.api().await.events(&run.id, false).await;
    (run, events)
}

/// Input, cached and output tokens of a run.
fn usage(events: &[Event]) -> (u64, u64, u64) {
    let usage = summary(events).summary.unwrap().usage.unwrap();
    (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens)
}

fn session(events: &[Event]) -> Option<String> {
    let id = |e: &Event| match &e.kind {
        Some(Kind::Session(session)) => Some(session.id.clone()),
        _ => None,
    };
    events.iter().filter_map(id).last()
}

fn home_of(host: &Host, run: &str) -> PathBuf {
    host.path("state/homes").join(run).join("coder")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_task_goes_on_with_the_first_ones_conversation() {
    for (cli, wall) in cases() {
        let label = format!("{cli:?} {wall:?}");
        let mut host = host();
        let ws = host.tree("ws");
        let script = script(
            [Turn::shell("echo one > one.txt; echo kept > ~/kept"), Turn::text("answer-of-the-first")],
            [Turn::shell("cat ~/kept one.txt > two.txt"), Turn::text("answer-of-the-second")],
        );
        let provider = Provider::start(script).await.unwrap();
        let file = host.agent_file("a.yaml", &agent(cli, wall, &provider.base_url(), &ws));
        let _ = cordon(&host, &["run", file.to_str().unwrap(), "do the first-task"]).expect_code(0);
        let (first, events) = last(&host).await;
        let (used, id) = (usage(&events), session(&events));
        assert!(id.is_some(), "{label}: no session was told");
        assert!(containers_of(&first.id).is_empty(), "{label}");
        // Another daemon, and another sandbox.
        host.kill_daemon();
        host.start_daemon();
        let asked = provider.requests().len();
        let _ = cordon(&host, &["run", "--resume", &first.id[..12], "do the second-task"]).expect_code(0);
        let (second, events) = last(&host).await;
        assert_eq!(second.resumes, first.id, "{label}");
        assert_eq!(second.agents[0].workspace, first.agents[0].workspace, "{label}");
        assert_eq!(session(&events), id, "{label}");
        let requests: Vec<_> =
            provider.requests().into_iter().skip(asked).map(|r| r.body.to_string()).collect();
        let told = |text: &str| requests.iter().any(|r| r.contains("second-task") && r.contains(text));
        for text in ["first-task", "answer-of-the-first", "one.txt"] {
            assert!(told(text), "{label}: the program did not go on with {text:?}: {requests:?}");
        }
        assert_eq!(fs::read_to_string(ws.join("two.txt")).unwrap(), "kept\none\n", "{label}");
        let started = events.iter().find_map(|e| match &e.kind {
            Some(Kind::TurnStarted(started)) => Some(started.turn),
            _ => None,
        });
        assert_eq!(started, Some(2), "{label}");
        // Two requests each time: the program's own count of the whole session is not shown.
        assert_eq!(usage(&events), used, "{label}");
        let home = home_of(&host, &first.id);
        assert_eq!(fs::metadata(&home).unwrap().mode() & 0o7777, 0o700, "{label}");
        assert_eq!(fs::metadata(&home).unwrap().uid(), host.agent_uid(), "{label}");
        // The home goes with the last run of the line.
        let _ = cordon(&host, &["rm", &first.id]).expect_code(0);
        assert!(home.is_dir(), "{label}");
        let _ = cordon(&host, &["rm", &second.id]).expect_code(0);
        assert!(!home.parent().unwrap().exists(), "{label}");
    }
}
