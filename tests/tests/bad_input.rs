//! Everything a person can get wrong: a clear error, the right exit code, nothing lost.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::{Outcome, OutputStream, event::Kind};
use cordon_tests::harness::{Host, need_root, output, skipped, summary, wait_until};
use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    process::Command,
    time::Duration,
};

fn refused(host: &Host, yaml: &str, words: &[&str]) {
    let file = host.agent_file("bad.yaml", yaml);
    for command in [vec!["validate"], vec!["run"]] {
        let mut args: Vec<&str> = command.clone();
        args.push(file.to_str().unwrap());
        if command == ["run"] {
            args.push("task");
        }
        let ran = host.cordon(&args);
        let expected = if command == ["run"] { 2 } else { 1 };
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.code, expected, "{yaml}\n{said}");
        for word in words {
            assert!(said.contains(word), "{word:?} is not in:\n{said}");
        }
    }
}

#[test]
fn mistakes_in_agent_files_are_named_with_their_place() {
    let host = Host::start();
    let one = |backend: &str| format!("agents:\n  - id: a\n    backend:\n{backend}");
    refused(&host, &one("      type: codx\n"), &["codx", "codex", "bad.yaml:4"]);
    refused(&host, &one("      type: uitars\n      model: x\n"), &["uitars", "no backend type"]);
    refused(&host, &one("      type: codex\n"), &["cwd"]);
    refused(
        &host,
        &one(
            "      type: command\n      command: [\"true\"]\n      context_paths:\n        - path: /nowhere/at/all\n",
        ),
        &["/nowhere/at/all", "bad.yaml:7"],
    );
    refused(
        &host,
        "agents:\n  - id: ../x\n    backend: {type: command, command: [\"true\"]}\n",
        &["../x", "bad.yaml:2"],
    );
    for mode in ["none", "bogus"] {
        refused(
            &host,
            &one(&format!(
                "      type: codex\n      cwd: w\n      command_line_execution_mode: docker\n      command_line_docker_network_mode: {mode}\n"
            )),
            &["command_line_docker_network_mode", mode, "bridge"],
        );
    }
    // Every problem at once.
    refused(
        &host,
        "agents:\n  - id: a\n    bakend: {}\n    backend:\n      type: command\n      commnd: [x]\n      api_key: ${NOT_SET_ANYWHERE}\n",
        &["bakend", "commnd", "command", "NOT_SET_ANYWHERE", "bad.yaml:3", "bad.yaml:6", "bad.yaml:7"],
    );
    refused(&host, "agents: [\n", &["bad.yaml"]);
    assert!(host.cordon(["ps", "-a", "--output", "json"]).stdout.len() < 40, "a refused file made a run");
}

#[test]
fn a_file_that_is_not_there_and_a_run_that_is_not_there() {
    let host = Host::start();
    let ran = host.cordon(["run", "/nowhere.yaml", "x"]).expect_code(2);
    assert!(ran.stderr.contains("/nowhere.yaml"));
    let ran = host.cordon(["logs", "0123456789"]).expect_code(2);
    assert!(ran.stderr.contains("0123456789"));
    let _ = host.cordon(["stop", "0123456789"]).expect_code(2);
    let _ = host.cordon(["frobnicate"]).expect_code(2);
}

#[test]
fn no_daemon_is_daemon_trouble_and_none_is_started_when_told_so() {
    let host = Host::without_daemon(cordon_tests::harness::User::Tester);
    let ran = host.cordon(["ps", "--no-start"]).expect_code(4);
    assert!(ran.stderr.contains("cordond"), "{}", ran.stderr);
}

#[test]
fn a_client_without_a_daemon_starts_one_and_says_so() {
    let host = Host::without_daemon(cordon_tests::harness::User::Tester);
    let ran = host.cordon(["version"]).expect_code(0);
    assert!(ran.stderr.contains("cordond"), "{}", ran.stderr);
    let ran = host.cordon(["ps"]).expect_code(0);
    assert!(!ran.stderr.contains("start"), "{}", ran.stderr);
    let _ = host.cordon(["daemon", "stop", "--stop-runs"]).expect_code(0);
}

#[test]
fn docker_that_is_not_there_is_an_error_and_never_the_local_wall() {
    let mut host = Host::without_daemon(cordon_tests::harness::User::Tester);
    host.set_flag("--docker-host");
    host.set_flag("unix:///nowhere/docker.sock");
    host.start_daemon();
    let ws = host.tree("ws");
    let file = host.agent_file(
        "a.yaml",
        &format!(
            "agents:\n  - id: a\n    backend:\n      type: command\n      cwd: {}\n      command: [touch, ran]\n      command_line_execution_mode: docker\n",
            ws.display()
        ),
    );
    let ran = host.cordon(["run", file.to_str().unwrap(), "x"]).expect_code(3);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(said.contains("/nowhere/docker.sock") || said.contains("Docker"), "{said}");
    assert!(!ws.join("ran").is_file(), "it ran without its wall");
}

#[test]
fn an_image_that_is_not_there_names_how_to_get_it() {
    if skipped("docker") {
        return;
    }
    cordon_tests::harness::need_docker();
    let host = Host::start();
    let file = host.agent_file(
        "a.yaml",
        "agents:\n  - id: a\n    backend:\n      type: command\n      command: [\"true\"]\n      command_line_execution_mode: docker\n      command_line_docker_image: cordon/no-such-image\n",
    );
    let ran = host.cordon(["run", file.to_str().unwrap(), "x"]).expect_code(3);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(said.contains("cordon/no-such-image"), "{said}");
}

#[test]
fn a_program_that_is_not_there_is_said() {
    let host = Host::start();
    let file = host.agent_file(
        "a.yaml",
        "agents:\n  - id: a\n    backend:\n      type: command\n      command: [no-such-program]\n",
    );
    let ran = host.cordon(["run", file.to_str().unwrap(), "x"]);
    assert!([1, 4].contains(&ran.code), "{}", ran.code);
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains("no-such-program"));
}

/// Takes all room but two megabytes.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    let mut written = 0;
    while file.write_all(&[1; 1 << 20]).is_ok() {
        written += 1 << 20;
    }
    file.set_len(written - (2 << 20)).unwrap();
}

#[tokio::test]
async fn a_full_disk_ends_the_run_and_keeps_what_was_written() {
    if skipped("root") {
        return;
    }
    need_root();
    let mut host = Host::without_daemon(cordon_tests::harness::User::Tester);
    let state = host.path("state");
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=700m", "none"]).arg(&state).status().unwrap();
    assert!(mounted.success());
    host.start_daemon();
    let ws = host.tree("ws");
    let file = host.agent_file(
        "a.yaml",
        &format!(
            "agents:\n  - id: a\n    backend:\n      type: command\n      cwd: {}\n      command: [bash, -c, \"echo first; touch started; until [ -e go ]; do sleep 0.05; done; head -c 20000000 /dev/zero | tr '\\\\0' x; sleep 1000\"]\n",
            ws.display()
        ),
    );
    let run = host.cordon(["run", file.to_str().unwrap(), "--detach", "x"]).expect_code(0).stdout;
    assert!(wait_until(Duration::from_secs(60), || ws.join("started").is_file()), "{}", host.log());
    fill(&state.join("fill"));
    host.put(&ws.join("go"), "");
    let ran = host.cordon(["logs", "-f", run.trim()]);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    let mut api = host.api().await;
    let run = api.only_run().await;
    let events = api.events(&run.id, false).await;
    drop(api);
    let first = output(&events, OutputStream::Stdout).starts_with(b"first\n");
    drop(host.cordon(["daemon", "stop", "--stop-runs"]));
    let listed = Command::new("umount").arg("-l").arg(&state).status().unwrap();
    assert!(listed.success());
    assert_eq!(ran.code, 4, "{said}");
    assert_eq!(run.outcome(), Outcome::Broken);
    assert!(said.contains("No space left") || said.contains("space"), "{said}");
    assert!(first, "what was written before is lost");
}

#[tokio::test]
async fn escape_sequences_of_agents_do_not_reach_the_terminal() {
    let host = Host::start();
    let file = host.agent_file(
        "a.yaml",
        "agents:\n  - id: a\n    backend:\n      type: command\n      command: [bash, -c, \"printf '\\\\033]52;c;aGk=\\\\007\\\\033[2Jcordon: run succeeded\\\\r\\\\xc2\\\\x9b31m\\\\n'\"]\n",
    );
    let ran = host.cordon(["run", file.to_str().unwrap(), "x"]).expect_code(0);
    assert!(!ran.stdout.contains('\u{1b}') && !ran.stdout.contains('\u{9b}') && !ran.stdout.contains('\r'));
    assert!(ran.stdout.contains("run succeeded"));
    assert!(
        !ran.stdout.lines().any(|l| l.starts_with("cordon: run succeeded")),
        "an agent's line looks like Cordon's: {}",
        ran.stdout
    );
    let mut api = host.api().await;
    let run = api.only_run().await;
    let events = api.events(&run.id, false).await;
    assert!(
        output(&events, OutputStream::Stdout).contains(&0x1b),
        "the journal keeps the bytes as they were"
    );
    assert_eq!(summary(&events).outcome(), Outcome::Success);
    assert!(events.iter().any(|e| matches!(e.kind, Some(Kind::TurnEnded(_)))));
}

#[test]
fn another_user_cannot_use_the_socket() {
    if skipped("root") {
        return;
    }
    need_root();
    let host = Host::start();
    let stat = fs::metadata(host.socket()).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&stat.permissions()) & 0o777, 0o600);
    let mut command = host.command("cordon");
    std::os::unix::process::CommandExt::uid(&mut command, 54_322);
    let ran = host.finish(command.args(["ps", "--no-start"]));
    assert_eq!(ran.code, 4, "{}{}", ran.stdout, ran.stderr);
}
