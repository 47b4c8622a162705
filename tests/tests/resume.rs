//! Runs that go on with an ended one, with the four real programs in both walls, against the
//! scripted provider.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::{Event, Outcome, Run, event::Kind};
use cordon_tests::{
    harness::{
        Host, Ran, User, claude, codex, containers_of, copilot, copilot_cache, gemini, need_image, node,
        skipped, summary, wait_until,
    },
    provider::{Provider, Script, Turn, When},
};
use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
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
        assert!(!home.parent().unwrap().try_exists().unwrap(), "{label}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agent_leaves_in_its_home_leads_nowhere() {
    for (cli, wall) in cases() {
        let label = format!("{cli:?} {wall:?}");
        let host = host();
        let ws = host.tree("ws");
        let outside = host.tree("outside");
        host.put(&outside.join("canary"), "alive");
        let provider = Provider::start(script(
            [Turn::text("set")],
            [Turn::shell("echo ran > ran.txt"), Turn::text("done")],
        ))
        .await
        .unwrap();
        let file = host.agent_file("a.yaml", &agent(cli, wall, &provider.base_url(), &ws));
        let _ = cordon(&host, &["run", file.to_str().unwrap(), "do the first-task"]).expect_code(0);
        let (first, _) = last(&host).await;
        let home = home_of(&host, &first.id);
        // As the agent could have left it, in its name.
        let script = format!(
            "cd {} && for d in .codex .claude .gemini .copilot; do rm -rf $d; ln -s {} $d; done; chmod 0 .",
            home.display(),
            outside.display()
        );
        let done = std::process::Command::new("sh").args(["-ec", &script]).status().unwrap();
        assert!(done.success());
        for name in [".codex", ".claude", ".gemini", ".copilot"] {
            std::os::unix::fs::lchown(home.join(name), Some(host.agent_uid()), Some(host.agent_uid()))
                .unwrap();
        }
        let ran = cordon(&host, &["run", "--resume", &first.id, "do the second-task"]);
        // The conversation went with the directory that it was in; nothing went elsewhere.
        let names: Vec<_> = fs::read_dir(&outside).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["canary"], "{label}: {}", ran.stderr);
        assert_eq!(fs::read(outside.join("canary")).unwrap(), b"alive", "{label}");
        let (second, events) = last(&host).await;
        assert_eq!(second.resumes, first.id, "{label}");
        let cleared =
            events.iter().any(|e| matches!(&e.kind, Some(Kind::Warning(w)) if w.reason == "home-cleared"));
        assert!(cleared, "{label}: {events:?}");
    }
}

fn local_only(host: &Host, staged: &Path, base_url: &str, key: &str) -> String {
    format!(
        "orchestrator:\n  context_paths:\n    - path: {}\n      permission: write\nagents:\n  - id: coder\n    backend:\n      type: claude_code\n      model: scripted-model\n      base_url: {base_url}\n      api_key: {key}\n      cwd: {}\n      command_line_execution_mode: local\n",
        staged.display(),
        host.tree("ws").display()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staged_work_is_carried_on_and_applied_as_a_whole() {
    if skipped("clis") {
        return;
    }
    for applied_between in [false, true] {
        let host = host();
        let tree = host.tree("project");
        host.put(&tree.join("old.txt"), "old\n");
        host.put(&tree.join("changed.txt"), "before\n");
        let at = tree.display().to_string();
        let script = script(
            [
                Turn::shell(format!(
                    "cd {at} && echo one > one.txt && echo first > changed.txt && rm old.txt"
                )),
                Turn::text("done"),
            ],
            [
                Turn::shell(format!(
                    "cd {at} && ls > seen.txt && cat changed.txt users.txt >> seen.txt; echo two > two.txt"
                )),
                Turn::text("done"),
            ],
        );
        let provider = Provider::start(script).await.unwrap();
        let file =
            host.agent_file("a.yaml", &local_only(&host, &tree, &provider.base_url(), "${PLANTED_KEY}"));
        let _ = cordon(&host, &["run", file.to_str().unwrap(), "do the first-task", "--apply", "never"])
            .expect_code(0);
        let (first, _) = last(&host).await;
        if applied_between {
            let _ = cordon(&host, &["apply", &first.id, "--yes"]).expect_code(0);
        }
        let _ = cordon(&host, &["run", "--resume", &first.id, "do the second-task", "--apply", "never"])
            .expect_code(0);
        let (second, _) = last(&host).await;
        let diff = cordon(&host, &["diff", &second.id]).expect_code(0).stdout;
        assert!(diff.contains("two.txt"), "{diff}");
        let _ = cordon(&host, &["apply", &second.id, "--yes"]).expect_code(0);
        let seen = fs::read_to_string(tree.join("seen.txt")).unwrap();
        let expected = "first\n";
        assert!(
            seen.contains("one.txt\n") && !seen.contains("old.txt\n") && seen.ends_with(expected),
            "{seen}"
        );
        assert_eq!(fs::read_to_string(tree.join("one.txt")).unwrap(), "one\n");
        assert_eq!(fs::read_to_string(tree.join("two.txt")).unwrap(), "two\n");
        assert_eq!(fs::read_to_string(tree.join("changed.txt")).unwrap(), expected);
        assert!(!tree.join("old.txt").try_exists().unwrap());
        assert_eq!(fs::metadata(tree.join("two.txt")).unwrap().uid(), host.agent_uid());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_gone_on_with_is_an_error_that_says_why() {
    if skipped("clis") {
        return;
    }
    let host = host();
    let tree = host.tree("project");
    let slow = vec![Turn::shell("touch started; until [ -e go ]; do sleep 0.05; done"), Turn::text("done")];
    let provider = Provider::start(script([Turn::text("done")], slow)).await.unwrap();
    let refused = |args: &[&str], words: &str| {
        let ran = cordon(&host, args);
        assert_ne!(ran.code, 0, "{args:?}");
        assert!(ran.stderr.contains(words), "{args:?}: {}", ran.stderr);
    };
    refused(&["run", "--resume", "no-such-run", "x"], "there is no run");
    // A key in the file itself is taken out of what is kept.
    let text = local_only(&host, &tree, &provider.base_url(), KEY);
    let file = host.agent_file("a.yaml", &text);
    let file = file.to_str().unwrap();
    let _ = cordon(&host, &["run", file, "do the first-task"]).expect_code(0);
    let (first, _) = last(&host).await;
    refused(&["run", "--resume", &first.id, "x"], "a secret was taken out of its agent file");
    let other = host.agent_file("other.yaml", &text.replace("id: coder", "id: somebody"));
    refused(&["run", other.to_str().unwrap(), "--resume", &first.id, "x"], "is not in the file");
    let other = host.agent_file("type.yaml", &text.replace("claude_code", "codex"));
    refused(&["run", other.to_str().unwrap(), "--resume", &first.id, "x"], "now is of type codex");
    let elsewhere =
        text.replace(&host.tree("ws").display().to_string(), &host.tree("ws2").display().to_string());
    let other = host.agent_file("cwd.yaml", &elsewhere);
    refused(&["run", other.to_str().unwrap(), "--resume", &first.id, "x"], "and now would in");
    // With the file given again it goes on, and the run in between is not gone on with twice.
    let ws = host.tree("ws");
    let mut client = host
        .command("cordon")
        .args(["run", file, "--resume", &first.id, "do the second-task"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    assert!(wait_until(Duration::from_secs(60), || ws.join("started").is_file()), "{}", host.log());
    let (second, _) = {
        let run = runs(&host).await.pop().unwrap();
        (run, ())
    };
    refused(&["run", file, "--resume", &second.id, "x"], "has not ended");
    refused(&["run", file, "--resume", &first.id, "x"], "has gone on with it already");
    host.put(&ws.join("go"), "");
    assert!(client.wait().unwrap().success());
    let _ = cordon(&host, &["rm", &second.id]).expect_code(0);
    refused(&["run", file, "--resume", &first.id, "x"], "was removed since");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_daemon_goes_on_with_a_resumed_turn() {
    if skipped("clis") {
        return;
    }
    let mut host = host();
    let ws = host.tree("ws");
    let slow =
        [Turn::shell("touch started; until [ -e go ]; do sleep 0.05; done"), Turn::text("second-done")];
    let provider = Provider::start(script([Turn::text("first-done")], slow)).await.unwrap();
    let file = host.agent_file("a.yaml", &agent(Cli::Codex, Wall::Local, &provider.base_url(), &ws));
    let _ = cordon(&host, &["run", file.to_str().unwrap(), "do the first-task"]).expect_code(0);
    let (first, events) = last(&host).await;
    let id = session(&events);
    let _ = cordon(&host, &["run", "--resume", &first.id, "--detach", "do the second-task"]).expect_code(0);
    assert!(wait_until(Duration::from_secs(60), || ws.join("started").is_file()), "{}", host.log());
    host.kill_daemon();
    host.put(&ws.join("go"), "");
    host.start_daemon();
    let second = runs(&host).await.pop().unwrap();
    let events = host.api().await.events(&second.id, true).await;
    assert_eq!(summary(&events).outcome(), Outcome::Success, "{events:#?}");
    assert!(events.iter().any(|e| matches!(e.kind, Some(Kind::Recovered(_)))));
    let ended = events.iter().find_map(|e| match &e.kind {
        Some(Kind::TurnEnded(ended)) => Some(ended.turn),
        _ => None,
    });
    assert_eq!((ended, second.resumes.as_str()), (Some(2), first.id.as_str()));
    // Two requests of its own, whatever the thread has used.
    assert_eq!(usage(&events), (200, 40, 20));
    // And the third goes on with both.
    let _ = cordon(&host, &["run", "--resume", &second.id, "the third"]).expect_code(0);
    let (_, events) = last(&host).await;
    assert_eq!((session(&events), usage(&events)), (id, (100, 20, 10)));
    let told = provider.requests().pop().unwrap().body.to_string();
    for text in ["first-done", "second-done", "the third"] {
        assert!(told.contains(text), "{told}");
    }
}

#[tokio::test]
async fn a_program_without_sessions_begins_anew_in_the_same_workspace() {
    let host = Host::start();
    let text = "agents:\n  - id: worker\n    backend:\n      type: command\n      command_line_execution_mode: local\n      command: [bash, -c, 'echo x >> lines; wc -l < lines; ls -A ~ | wc -l; touch ~/left']\n";
    let file = host.agent_file("a.yaml", text);
    let _ = host.cordon(["run", file.to_str().unwrap(), "x"]).expect_code(0);
    let (first, _) = last(&host).await;
    // As a client that has no file sends it.
    let ran = host.cordon(["run", "--resume", &first.id, "x"]).expect_code(0);
    assert!(ran.stdout.contains("has no sessions") || ran.stderr.contains("has no sessions"), "{ran:?}");
    let (second, events) = last(&host).await;
    assert_eq!(second.agents[0].workspace, first.agents[0].workspace);
    let printed =
        String::from_utf8(cordon_tests::harness::output(&events, cordon_proto::v1::OutputStream::Stdout))
            .unwrap();
    assert_eq!(printed, "2\n0\n", "one more line, in a home of its own");
}
