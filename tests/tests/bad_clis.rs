//! What can be wrong with an agent CLI, its login, its image and its model: each a clear error that says
//! what to do, the run ended, and nothing left behind.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::{Event, Outcome, RunEnded, event::Kind};
use cordon_tests::{
    harness::{
        Cli, Host, KEY, More, Ran, User, Where, agent_text, containers_of, need_image, need_root,
        networks_of, processes_mentioning, skipped, summary, wait_until,
    },
    provider::{Failure, Provider, Script},
};
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command, time::Duration};

/// Where the bad program stands in for Codex.
const FAKE: &str = "cordon-test/fake-codex";
const DEAD: &str = "http://127.0.0.1:9";

fn walls() -> Vec<Where> {
    if skipped("docker") { vec![Where::Local] } else { vec![Where::Local, Where::Docker] }
}

fn run(host: &Host, text: &str, task: &str) -> Ran {
    let file = host.agent_file("a.yaml", text);
    let mut client = host.command("cordon");
    host.finish(client.args(["run", file.to_str().unwrap(), task]).env("PLANTED_KEY", KEY))
}

fn said(ran: &Ran) -> String {
    format!("{}{}", ran.stdout, ran.stderr)
}

/// Refused before anything started, in words that say all of this.
#[track_caller]
fn refused(ran: &Ran, words: &[&str]) {
    let said = said(ran);
    assert!([1, 2, 3].contains(&ran.code), "{}: {said}", ran.code);
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
    assert!(!said.contains("turn 1"), "something started: {said}");
}

fn without(key: &str, text: &str) -> String {
    text.lines().filter(|l| !l.contains(key)).map(|l| format!("{l}\n")).collect()
}

fn clis() -> Vec<Cli> {
    if skipped("clis") { Vec::new() } else { Cli::ALL.to_vec() }
}

#[test]
fn without_a_login_nothing_starts_and_every_way_to_have_one_is_named() {
    let mut host = Host::with_clis(User::Tester);
    host.start_daemon();
    let ws = host.tree("ws");
    for (cli, at) in clis().into_iter().flat_map(|cli| walls().into_iter().map(move |at| (cli, at))) {
        let names: &[&str] = match cli {
            Cli::Codex => &["OPENAI_API_KEY", ".codex/auth.json"],
            Cli::ClaudeCode => &["CLAUDE_CODE_API_KEY", "ANTHROPIC_API_KEY", ".claude/.credentials.json"],
            Cli::GeminiCli => &["GEMINI_API_KEY", "GOOGLE_API_KEY", ".gemini/oauth_creds.json"],
            Cli::Copilot => &["COPILOT_GITHUB_TOKEN", "GH_TOKEN", ".copilot/config.json"],
        };
        // The vendor's own endpoint: nothing is asked of it, because nothing starts.
        let text = agent_text(cli, at, DEAD, &ws, More::default());
        refused(&run(&host, &without("api_key", &without("base_url", &text)), "x"), names);
    }
}

#[test]
fn an_expired_login_is_refused_with_what_to_do() {
    if skipped("clis") {
        return;
    }
    let mut host = Host::with_clis(User::Tester);
    host.start_daemon();
    let ws = host.tree("ws");
    fs::create_dir_all(host.path("home/.codex")).unwrap();
    // A login whose access token is past its time, and which cannot be renewed: header.{"exp":1}.signature
    fs::write(
        host.path("home/.codex/auth.json"),
        r#"{"tokens":{"access_token":"eyJhbGciOiJub25lIn0.eyJleHAiOjF9.c2ln","id_token":"x"}}"#,
    )
    .unwrap();
    let text = agent_text(Cli::Codex, Where::Local, DEAD, &ws, More::default());
    let ran = run(&host, &without("api_key", &without("base_url", &text)), "x");
    refused(&ran, &["expired", "codex login"]);
}

#[test]
fn a_program_that_is_not_installed_is_named_with_what_to_do() {
    if skipped("clis") {
        return;
    }
    let mut host = Host::with_clis(User::Tester);
    host.start_daemon();
    let ws = host.tree("ws");
    for (cli, fix) in [
        (Cli::Codex, "Install Codex"),
        (Cli::ClaudeCode, "Install Claude Code"),
        (Cli::GeminiCli, "Install Gemini CLI"),
        (Cli::Copilot, "Install Copilot CLI"),
    ] {
        fs::remove_file(host.path("programs").join(cli.program())).unwrap();
        let text = agent_text(cli, Where::Local, DEAD, &ws, More::default());
        refused(&run(&host, &text, "x"), &[cli.program(), fix, "docker"]);
    }
}

/// A version that nobody has any more.
const OLD: &str = "0.20.0";

#[test]
fn a_program_that_is_too_old_is_refused_with_what_to_do() {
    // As npm lays it out: on the search path a script, beside it the package with the executable.
    let mut host = Host::without_daemon(User::Tester);
    let modules = host.path("node_modules/@openai");
    let native = modules.join("codex-linux-x64/vendor/any-triple/bin/codex");
    for (path, text) in [
        (modules.join("codex/bin/codex.js"), "#!/usr/bin/env node\n".to_owned()),
        (
            modules.join("codex-linux-x64/package.json"),
            format!("{{\"name\":\"@openai/codex\",\"version\":\"{OLD}-linux-x64\"}}"),
        ),
        (native.clone(), String::new()),
    ] {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    fs::copy(env!("CARGO_BIN_EXE_fake-cli"), &native).unwrap();
    let programs = host.path("programs");
    fs::create_dir(&programs).unwrap();
    std::os::unix::fs::symlink(modules.join("codex/bin/codex.js"), programs.join("codex")).unwrap();
    host.set_env("PATH", &format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", programs.display()));
    host.start_daemon();
    let ws = host.tree("ws");
    let words = [native.to_str().unwrap(), OLD, "or newer", "cli_path", "docker"];
    let text = agent_text(Cli::Codex, Where::Local, DEAD, &ws, More::default());
    refused(&run(&host, &text, "garbage"), &words);
    let path = format!("      cli_path: {}\n", native.display());
    let more = More { backend: &path, file: "" };
    refused(&run(&host, &agent_text(Cli::Codex, Where::Local, DEAD, &ws, more), "garbage"), &words);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_of_an_image_that_is_too_old_gets_no_task() {
    if skipped("docker") {
        return;
    }
    need_image("debian:bookworm-slim");
    const IMAGE: &str = "cordon-test/old-clis";
    let mut host = Host::without_daemon(User::Tester);
    let context = host.path("image");
    fs::create_dir(&context).unwrap();
    // What each of them answered in a version that nobody has any more; anything else is a task.
    for (cli, answer) in [
        (Cli::Codex, "codex-cli 0.20.0"),
        (Cli::ClaudeCode, "1.0.84 (Claude Code)"),
        (Cli::GeminiCli, "0.1.9"),
        (Cli::Copilot, "0.0.340"),
    ] {
        let script = format!("#!/bin/sh\n[ \"$*\" = --version ] && exec echo '{answer}'\nenv > begun\n");
        fs::write(context.join(cli.program()), script).unwrap();
        fs::set_permissions(context.join(cli.program()), fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(
        context.join("Dockerfile"),
        "FROM debian:bookworm-slim\nCOPY codex claude gemini copilot /usr/local/bin/\n",
    )
    .unwrap();
    let built = Command::new("docker").args(["build", "-q", "-t", IMAGE]).arg(&context).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    host.start_daemon();
    let backend = format!("      command_line_docker_image: {IMAGE}\n");
    for cli in Cli::ALL {
        let ws = host.tree("ws");
        let text = agent_text(cli, Where::Docker, DEAD, &ws, More { backend: &backend, file: BOUNDS });
        let ran = run(&host, &text, "x");
        let (ended, events) = last(&host).await;
        assert_eq!((ran.code, ended.outcome()), (1, Outcome::AgentFailed), "{cli}: {}", said(&ran));
        for word in [cli.program(), IMAGE, "or newer", "command_line_docker_image"] {
            assert!(said(&ran).contains(word), "{cli}: {word:?} is not in: {}", said(&ran));
        }
        assert!(!ws.join("begun").try_exists().unwrap(), "{cli}: it was given a task");
        let errors = events
            .iter()
            .filter(|e| matches!(&e.kind, Some(Kind::Error(e)) if e.reason == "program-too-old"));
        assert_eq!(errors.count(), 1, "{cli}");
    }
}

#[test]
fn an_image_without_the_program_is_named_with_what_to_do() {
    if skipped("docker") {
        return;
    }
    const BARE: &str = "debian:bookworm-slim";
    need_image(BARE);
    let mut host = Host::with_clis(User::Tester);
    host.start_daemon();
    let ws = host.tree("ws");
    let image = format!("      command_line_docker_image: {BARE}\n");
    for cli in Cli::ALL {
        let ran =
            run(&host, &agent_text(cli, Where::Docker, DEAD, &ws, More { backend: &image, file: "" }), "x");
        let said = said(&ran);
        assert!(ran.code != 0, "{cli}: {said}");
        for word in [cli.program(), "could not be started", "command_line_docker_image"] {
            assert!(said.contains(word), "{cli}: {word:?} is not in: {said}");
        }
        assert!(processes_mentioning(&ws.display().to_string()).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_does_not_exist_is_told_as_that() {
    let mut host = Host::with_clis(User::Tester);
    host.start_daemon();
    let ws = host.tree("ws");
    for cli in clis() {
        let provider = Provider::start(Script::failing(Failure::UnknownModel)).await.unwrap();
        let text =
            agent_text(cli, Where::Local, &provider.base_url(), &ws, More { backend: "", file: BOUNDS });
        let ran = run(&host, &text, "x");
        let (ended, events) = last(&host).await;
        assert_eq!(ended.outcome(), Outcome::AgentFailed, "{cli}: {}", said(&ran));
        let errors: Vec<_> = events
            .iter()
            .filter_map(|e| if let Some(Kind::Error(e)) = &e.kind { Some(e) } else { None })
            .collect();
        assert!(
            errors.iter().any(|e| e.reason == "not-found" && e.fix.contains("model")),
            "{cli}: {errors:?}"
        );
        assert!(said(&ran).contains("check model"), "{cli}: {}", said(&ran));
        assert!(processes_mentioning(&ws.display().to_string()).is_empty(), "{cli}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_talks_nonsense_or_falls_silent_ends_the_run() {
    let mut host = Host::with_clis(User::Tester);
    host.start_daemon();
    for cli in clis() {
        for failure in [Failure::Garbage, Failure::Hang] {
            let ws = host.tree("ws");
            let provider = Provider::start(Script::failing(failure)).await.unwrap();
            let more = More { backend: "", file: IMPATIENT };
            let ran = run(&host, &agent_text(cli, Where::Local, &provider.base_url(), &ws, more), "x");
            let (ended, _) = last(&host).await;
            let expected = [Outcome::AgentFailed, Outcome::TimedOut];
            assert!(expected.contains(&ended.outcome()), "{cli} {failure:?}: {}", said(&ran));
            assert_eq!(ran.code, 1, "{cli} {failure:?}: {}", said(&ran));
            assert!(processes_mentioning(&ws.display().to_string()).is_empty(), "{cli} {failure:?}");
        }
    }
}

const BOUNDS: &str = "timeout_settings:\n  idle_timeout_seconds: 60\n  round_timeout_grace_seconds: 2\n  orchestrator_timeout_seconds: 120\n";
const IMPATIENT: &str = "timeout_settings:\n  idle_timeout_seconds: 8\n  round_timeout_grace_seconds: 1\n  orchestrator_timeout_seconds: 60\n";

async fn last(host: &Host) -> (RunEnded, Vec<Event>) {
    let mut api = host.api().await;
    let run = api.list().await.into_iter().max_by_key(|r| r.started_unix_ms).unwrap();
    let events = api.events(&run.id, false).await;
    (summary(&events), events)
}

/// A host on which `codex` is a program that behaves as its task says, in both walls.
fn badly_behaved(walls: &[Where]) -> Host {
    let fake = Path::new(env!("CARGO_BIN_EXE_fake-cli"));
    let mut host = Host::without_daemon(User::Tester);
    let programs = host.path("programs");
    fs::create_dir(&programs).unwrap();
    fs::copy(fake, programs.join("codex")).unwrap();
    host.set_env("PATH", &format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", programs.display()));
    if walls.contains(&Where::Docker) {
        need_image("debian:bookworm-slim");
        let context = host.path("image");
        fs::create_dir(&context).unwrap();
        fs::copy(fake, context.join("codex")).unwrap();
        fs::write(context.join("Dockerfile"), "FROM debian:bookworm-slim\nCOPY codex /usr/local/bin/codex\n")
            .unwrap();
        let built = Command::new("docker").args(["build", "-q", "-t", FAKE]).arg(&context).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    }
    host.start_daemon();
    host
}

fn bad_agent(at: Where, cwd: &Path, file: &str) -> String {
    let image = format!("      command_line_docker_image: {FAKE}\n");
    let backend = if at == Where::Docker { image.as_str() } else { "" };
    agent_text(Cli::Codex, at, DEAD, cwd, More { backend, file })
}

/// Runs a task of the bad program to its end, and sees to it that nothing stays.
async fn misbehave(host: &Host, at: Where, task: &str, file: &str) -> (Ran, RunEnded, Vec<Event>) {
    let ws = host.tree(&format!("ws-{task}"));
    let ran = run(host, &bad_agent(at, &ws, file), task);
    let run = host.api().await.list().await.into_iter().max_by_key(|r| r.started_unix_ms);
    let run = run.unwrap_or_else(|| panic!("no run: {}", said(&ran)));
    let ws = ws.display().to_string();
    let gone = wait_until(Duration::from_secs(20), || processes_mentioning(&ws).is_empty());
    assert!(gone, "{at} {task}: left behind: {:?}", processes_mentioning(&ws));
    if at == Where::Docker {
        let gone = wait_until(Duration::from_secs(20), || {
            containers_of(&run.id).is_empty() && networks_of(&run.id).is_empty()
        });
        assert!(gone, "{at} {task}: a container or a network was left behind");
    }
    let (ended, events) = last(host).await;
    (ran, ended, events)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_prints_garbage_is_a_failed_agent_and_its_bytes_are_kept() {
    let walls = walls();
    let host = badly_behaved(&walls);
    for at in walls {
        let (ran, ended, events) = misbehave(&host, at, "garbage", BOUNDS).await;
        let said = said(&ran);
        assert_eq!(ended.outcome(), Outcome::AgentFailed, "{at}: {said}");
        assert!(said.contains("without its success event"), "{at}: {said}");
        assert!(events.iter().any(|e| matches!(e.kind, Some(Kind::Unknown(_)))), "{at}");
        let raw = cordon_tests::harness::output(&events, cordon_proto::v1::OutputStream::Stdout);
        let every: Vec<u8> = (0..=255).collect();
        assert!(
            raw.windows(every.len()).any(|part| part == every) && raw.len() > 3 << 20,
            "{at}: {} bytes",
            raw.len()
        );
        assert!(!ran.stdout.contains('\u{1b}'), "{at}: an escape sequence reached the terminal");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_never_ends_is_ended_and_the_limit_is_named() {
    let walls = walls();
    let host = badly_behaved(&walls);
    let silent = "timeout_settings:\n  idle_timeout_seconds: 2\n  round_timeout_grace_seconds: 1\n";
    let busy = "timeout_settings:\n  initial_round_timeout_seconds: 3\n  idle_timeout_seconds: 60\n  round_timeout_grace_seconds: 1\n";
    for at in walls {
        for (task, bounds, key) in
            [("forever", silent, "idle_timeout_seconds"), ("chatter", busy, "took longer than 3 s")]
        {
            let (ran, ended, _) = misbehave(&host, at, task, bounds).await;
            assert_eq!(ended.outcome(), Outcome::TimedOut, "{at} {task}: {}", said(&ran));
            assert!(said(&ran).contains(key), "{at} {task}: {key} is not in: {}", said(&ran));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_survivor_does_not_survive_and_does_not_hold_the_run() {
    let walls = walls();
    let host = badly_behaved(&walls);
    for at in walls {
        let (ran, ended, _) = misbehave(&host, at, "survivor", BOUNDS).await;
        assert_eq!(ended.outcome(), Outcome::Success, "{at}: {}", said(&ran));
        assert!(host.path("ws-survivor/survived").is_file(), "{at}: there was none");
        fs::remove_file(host.path("ws-survivor/survived")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_fills_the_disk_fails_alone() {
    if skipped("root") {
        return;
    }
    need_root();
    let walls = walls();
    let host = badly_behaved(&walls);
    let ws = host.tree("ws-fill");
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", &format!("size=16m,mode=755,uid={0},gid={0}", host.agent_uid()), "none"])
        .arg(&ws)
        .status();
    assert!(mount.unwrap().success());
    let mut told = Vec::new();
    for at in walls {
        let (ran, ended, _) = misbehave(&host, at, "fill", BOUNDS).await;
        let full = fs::metadata(ws.join("filling")).is_ok_and(|m| m.len() > 8 << 20);
        let _ = fs::remove_file(ws.join("filling"));
        // The daemon and its next run do not suffer.
        let (next, after, _) = misbehave(&host, at, "survivor", BOUNDS).await;
        told.push((at, said(&ran), ended.outcome(), full, said(&next), after.outcome()));
        let _ = fs::remove_file(host.path("ws-survivor/survived"));
    }
    let unmounted = Command::new("umount").arg("-l").arg(&ws).status().unwrap();
    assert!(unmounted.success());
    for (at, said, outcome, full, next, after) in told {
        assert!(full, "{at}: the disk did not fill");
        assert_eq!(outcome, Outcome::AgentFailed, "{at}: {said}");
        assert!(said.contains("No space left"), "{at}: {said}");
        assert_eq!(after, Outcome::Success, "{at}: {next}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_fills_its_home_is_ended_and_told_why() {
    let walls = walls();
    let mut host = badly_behaved(&walls);
    host.kill_daemon();
    host.set_env("CORDON_HOME_LIMIT", "64");
    host.start_daemon();
    for at in walls {
        // It goes on for ever: only the limit ends it before the test does.
        let (ran, ended, events) = misbehave(&host, at, "fill-home", "").await;
        let said = said(&ran);
        assert_eq!(ended.outcome(), Outcome::AgentFailed, "{at}: {said}");
        assert!(said.contains("home holds more than 64 MiB"), "{at}: {said}");
        let full = |e: &Event| matches!(&e.kind, Some(Kind::Error(error)) if error.reason == "home-full");
        assert!(events.iter().any(full), "{at}: {said}");
        let (ran, after, _) = misbehave(&host, at, "survivor", BOUNDS).await;
        assert_eq!(after.outcome(), Outcome::Success, "{at}: {}", self::said(&ran));
        let _ = fs::remove_file(host.path("ws-survivor/survived"));
    }
}
