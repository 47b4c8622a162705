//! The client's program against a double of the daemon.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod double;

use cordon_proto::v1::{Outcome, Problem, WarningEvent, event};
use double::{Host, State, ended, event, message, terminal::terminal, text};
use serde_json::Value;
use std::{os::unix::fs::PermissionsExt as _, process::Stdio};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

const MULTI: &str = "agents: []";

fn run_of(events: Vec<cordon_proto::v1::Event>) -> State {
    State { events, ..State::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_tells_the_outcome() {
    for (outcome, code) in [
        (Outcome::Success, 0),
        (Outcome::AgentFailed, 1),
        (Outcome::TimedOut, 1),
        (Outcome::Refused, 3),
        (Outcome::Broken, 4),
        (Outcome::Cancelled, 130),
    ] {
        let host = Host::new(run_of(vec![message(0, "hello\u{1b}[2J"), ended(1, outcome)]));
        host.file("a.yaml", MULTI);
        let (stdout, stderr, found) = text(&host.cordon(&["run", "a.yaml", "task"]).await);
        assert_eq!(found, code, "{outcome:?}: {stdout}{stderr}");
        assert!(stdout.starts_with("| hello\\x1b[2J\ncordon: the run "), "{stdout}");
        assert!(stderr.contains("0199-run"), "{stderr}");
        let (_, _, found) = text(&host.cordon(&["logs", "-f", "0199"]).await);
        assert_eq!(found, code, "logs -f: {outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_watch_goes_on_where_it_stopped() {
    let events = vec![message(3, "one"), message(4, "two"), message(5, "three"), ended(6, Outcome::Success)];
    let host = Host::new(State { events, break_after: Some(2), ..State::default() });
    host.file("a.yaml", MULTI);
    let (stdout, _, code) = text(&host.cordon(&["run", "a.yaml", "task"]).await);
    assert_eq!(code, 0, "{stdout}");
    let said: Vec<_> = stdout.lines().filter(|l| l.starts_with('|')).collect();
    assert_eq!(said, ["| one", "| two", "| three"], "{stdout}");
    assert!(stdout.contains("cordon: the connection to the daemon broke"), "{stdout}");
    let from: Vec<_> = host.look(|s| s.asked_watch.iter().map(|w| w.from_seq).collect());
    assert_eq!(from, [0, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_started_once_however_often_it_is_asked_for() {
    let host = Host::new(State { refuse_starts: 2, ..run_of(vec![ended(0, Outcome::Success)]) });
    host.file("a.yaml", MULTI);
    let (_, stderr, code) =
        text(&host.cordon(&["run", "a.yaml", "--wall", "local", "-a", "a", "task"]).await);
    assert_eq!(code, 0, "{stderr}");
    host.look(|s| {
        assert_eq!(s.asked_start.len(), 3);
        assert!(!s.asked_start[0].idempotency_key.is_empty());
        assert!(s.asked_start.iter().all(|r| r == &s.asked_start[0]));
        let asked = &s.asked_start[0];
        assert_eq!((asked.prompt.as_str(), asked.wall.as_str()), ("task", "local"));
        assert_eq!(asked.agents, ["a"]);
        let file = asked.agent_file.as_ref().unwrap();
        assert_eq!(file.directory, host.dir.path().canonicalize().unwrap().to_str().unwrap());
        assert_eq!(file.content, MULTI);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_are_sent_by_name_and_from_the_nearest_place() {
    let state = State {
        variables: vec!["FROM_ENV".into(), "FROM_FILE".into(), "UNSET".into()],
        ..run_of(vec![ended(0, Outcome::Success)])
    };
    let host = Host::new(state);
    host.file("a.yaml", MULTI);
    host.file(".env", "FROM_ENV=no\nFROM_FILE='a secret'\nNOT_ASKED_FOR=x\nbad line with secret\n");
    let output = host.command().env("FROM_ENV", "yes").args(["run", "a.yaml", "t"]).output().await.unwrap();
    let (stdout, stderr, code) = text(&output);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains(".env:4") && !format!("{stdout}{stderr}").contains("secret"), "{stderr}");
    host.look(|s| {
        let sent = &s.asked_start[0].agent_file.as_ref().unwrap().variables;
        assert_eq!(sent.len(), 2);
        assert_eq!((sent["FROM_ENV"].as_str(), sent["FROM_FILE"].as_str()), ("yes", "a secret"));
        assert!(s.asked_validate[0].variables.is_empty());
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn every_problem_is_printed_and_nothing_is_started() {
    let problem = |line| Problem {
        severity: "error".into(),
        reason: "unknown-key".into(),
        message: "unknown key `x`".into(),
        line,
        column: 3,
        excerpt: "  x: 1\n  ^".into(),
        help: "did you mean `y`?".into(),
        ..Problem::default()
    };
    let host = Host::new(State { problems: vec![problem(1), problem(2)], ..State::default() });
    host.file("a.yaml", MULTI);
    let (stdout, stderr, code) = text(&host.cordon(&["run", "a.yaml", "t"]).await);
    assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
    for words in ["a.yaml:1:3", "a.yaml:2:3", "did you mean", "error: a.yaml has 2 errors"] {
        assert!(stderr.contains(words), "{words:?} is not in {stderr}");
    }
    assert_eq!(host.look(|s| s.asked_start.len()), 0);

    let (stdout, _, code) = text(&host.cordon(&["validate", "a.yaml", "--output", "json"]).await);
    let answer: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, answer["problems"].as_array().unwrap().len()), (1, 2));
    host.look(|s| s.problems.clear());
    let (stdout, _, code) = text(&host.cordon(&["validate", "a.yaml"]).await);
    assert_eq!((code, stdout.as_str()), (0, "a.yaml is valid: 1 agent (a), 0 warnings\n"));
}

/// Reads lines until one holds the words.
async fn line_with(reader: &mut (impl tokio::io::AsyncBufRead + Unpin), words: &str) -> String {
    let mut line = String::new();
    while reader.read_line(&mut line).await.unwrap() > 0 {
        if line.contains(words) {
            return line;
        }
        line.clear();
    }
    panic!("the output ended without {words:?}");
}

fn interrupt(child: &tokio::process::Child) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_interrupt_stops_the_run_and_waits_for_its_end() {
    let host = Host::new(State { endless: true, ..run_of(vec![message(0, "busy")]) });
    host.file("a.yaml", MULTI);
    let mut child = host.command().args(["run", "a.yaml", "t"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    line_with(&mut stdout, "| busy").await;
    interrupt(&child);
    line_with(&mut stdout, "stopping the run; press Ctrl-C again").await;
    line_with(&mut stdout, "the run was cancelled").await;
    assert_eq!(child.wait().await.unwrap().code(), Some(130));
    assert_eq!(host.look(|s| s.asked_stop[0].id.clone()), "0199-run");
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_the_logs_stops_nothing() {
    let host = Host::new(State { endless: true, ..run_of(vec![message(0, "busy")]) });
    let mut child = host
        .command()
        .args(["logs", "-f", "0199-run"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    line_with(&mut BufReader::new(child.stdout.take().unwrap()), "| busy").await;
    interrupt(&child);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    line_with(&mut stderr, "the run goes on; `cordon logs -f 0199-run` watches it").await;
    assert_eq!(child.wait().await.unwrap().code(), Some(130));
    assert_eq!(host.look(|s| s.asked_stop.len()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_gets_its_input_and_gives_its_bytes_and_code() {
    let host = Host::new(State::default());
    let mut child = host
        .command()
        .args(["exec", "-i", "0199", "-a", "a", "--", "say\x1b[2J\n"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"in\xff\x1b").await.unwrap();
    drop(stdin);
    let mut out = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut out).await.unwrap();
    // Not a terminal: exactly what the process printed.
    assert_eq!(out, b"say\x1b[2J\nin\xff\x1b");
    assert_eq!(child.wait().await.unwrap().code(), Some(7));
    host.look(|s| assert!(s.asked_exec[0].stdin && s.asked_exec[0].pty.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_output_carries_mcp_and_nothing_else() {
    let warning = event::Kind::Warning(WarningEvent { reason: "x".into(), message: "odd\u{1b}[2J".into() });
    let events = vec![event(0, warning), ended(1, Outcome::Success)];
    let host = Host::new(State { events, ..State::default() });
    host.file("a.yaml", MULTI);
    let mut child = host
        .command()
        .args(["mcp", "a.yaml", "a", "--wall", "local"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let line = [b"{\"x\":\"\x1b[2J\xff\"}\n".to_vec(), vec![b'y'; 300_000]].concat();
    stdin.write_all(&line).await.unwrap();
    drop(stdin);
    let done = child.wait_with_output().await.unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert!(done.stdout == line, "{} bytes of {}", done.stdout.len(), line.len());
    assert!(said.contains("warning: odd\\x1b[2J") && !said.contains('\u{1b}'), "{said}");
    host.look(|s| {
        assert_eq!((s.asked_mcp[0].agent.as_str(), s.asked_mcp[0].wall.as_str()), ("a", "local"));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_with_a_terminal_gets_its_size_and_every_key() {
    use std::io::{Read as _, Write as _};
    let host = Host::new(State::default());
    let (mut ours, theirs) = terminal(33, 77);
    let before = rustix::termios::tcgetattr(&theirs).unwrap().local_modes;
    let mut child = host
        .command()
        .args(["exec", "-it", "0199", "--", "\x1b[1mready"])
        .stdin(theirs.try_clone().unwrap())
        .stdout(theirs.try_clone().unwrap())
        .spawn()
        .unwrap();
    let mut seen = Vec::new();
    let mut until = |words: &[u8]| {
        while !seen.windows(words.len()).any(|w| w == words) {
            let mut piece = [0; 100];
            let read = ours.read(&mut piece).unwrap();
            seen.extend_from_slice(&piece[..read]);
        }
        ours.write_all(b"\x03key").unwrap();
        std::mem::take(&mut seen)
    };
    // The program's own sequences: it has the terminal.
    until(b"\x1b[1mready");
    // Ctrl-C is a key like any other; the double sends back what it got.
    until(b"\x03key");
    let size = host.look(|s| s.asked_exec[0].pty).unwrap();
    assert_eq!((size.rows, size.columns), (33, 77));
    assert_ne!(rustix::termios::tcgetattr(&theirs).unwrap().local_modes, before);
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(7));
    assert_eq!(rustix::termios::tcgetattr(&theirs).unwrap().local_modes, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_have_a_form_for_programs() {
    let host = Host::new(State::default());
    host.file("a.yaml", MULTI);
    host.file("ca.pem", "PEM");
    for (args, code, pointer, value) in [
        (&["ps"][..], 0, "/0/id", Value::from("0199-run")),
        (&["ps", "-a"], 0, "/1/state", Value::from("ended")),
        (&["explain", "a.yaml", "/etc/shadow"], 0, "/0/path", Value::from("/etc/shadow")),
        (&["doctor"], 1, "/0/state", Value::from("missing")),
        (&["doctor", "--inside", "a.yaml", "--wall", "local"], 3, "/probe/uid", Value::from(7)),
        (&["images", "ls"], 0, "/0/state", Value::from("missing")),
        (&["version"], 0, "/daemon/version", Value::from(env!("CARGO_PKG_VERSION"))),
        (&["stop", "0199"], 0, "/id", Value::from("0199-run")),
    ] {
        let (stdout, stderr, found) = text(&host.cordon(&[args, &["--output", "json"]].concat()).await);
        let document: Value =
            serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{args:?}: {e}: {stderr}"));
        assert_eq!((found, document.pointer(pointer)), (code, Some(&value)), "{args:?}: {stdout}");
        let (stdout, _, found) = text(&host.cordon(args).await);
        assert_eq!(found, code);
        assert!(!stdout.is_empty() && !stdout.contains('\u{1b}'), "{args:?}: {stdout}");
    }
    let (stdout, _, code) = text(&host.cordon(&["images", "build", "base", "--ca", "ca.pem"]).await);
    assert_eq!((code, stdout.as_str()), (0, "base | authority of 3 bytes\\x1b[2J\ncordon: base is ready\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_for_programs_are_one_a_line() {
    let host = Host::new(run_of(vec![message(0, "a\nb\u{9b}"), ended(1, Outcome::AgentFailed)]));
    host.file("a.yaml", MULTI);
    for args in [&["run", "a.yaml", "t", "-o", "json"][..], &["logs", "-f", "0199", "-o", "json"]] {
        let (stdout, _, code) = text(&host.cordon(args).await);
        assert_eq!(code, 1);
        assert!(stdout.is_ascii(), "{stdout}");
        let lines: Vec<Value> = stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines[0]["text"], "a\nb\u{9b}");
        assert_eq!((lines.len(), &lines[1]["outcome"]), (2, &Value::from("agent-failed")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_say_what_to_do() {
    let host = Host::new(State { version: "9.9.9".into(), ..State::default() });
    let (_, stderr, code) = text(&host.cordon(&["logs", "0x"]).await);
    assert_eq!(code, 2);
    for words in ["there is no run 0x", "no-such-run", "`cordon ps -a` lists the runs", "9.9.9"] {
        assert!(stderr.contains(words), "{words:?} is not in {stderr}");
    }
    let (_, stderr, code) = text(&host.cordon(&["rm", "0199"]).await);
    assert_eq!(code, 3, "{stderr}");
    let (_, stderr, code) = text(&host.cordon(&["run", "none.yaml", "t"]).await);
    assert!(code == 2 && stderr.contains("none.yaml"), "{stderr}");
    host.file("a.yaml", MULTI);
    let (_, stderr, code) = text(&host.cordon(&["run", "a.yaml"]).await);
    assert!(code == 2 && stderr.contains("the task is empty"), "{stderr}");
    let (_, stderr, code) = text(&host.cordon(&["exec", "-it", "0199", "--", "sh"]).await);
    assert!(code == 2 && stderr.contains("terminal"), "{stderr}");
}

/// Puts the client, and beside it a daemon that is this shell script, into a directory.
fn installed(dir: &std::path::Path, daemon: Option<&str>) -> std::path::PathBuf {
    let cordon = dir.join("cordon");
    std::fs::copy(env!("CARGO_BIN_EXE_cordon"), &cordon).unwrap();
    if let Some(script) = daemon {
        std::fs::write(dir.join("cordond"), format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(dir.join("cordond"), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    cordon
}

async fn ps_without_daemon(dir: &std::path::Path, cordon: &std::path::Path) -> (String, String, i32) {
    let mut command = tokio::process::Command::new(cordon);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("MY_API_KEY", "secret")
        .env("CORDON_SOCKET", dir.join("run/s"))
        .env("CORDON_STATE_DIR", dir.join("state"))
        .arg("ps");
    text(&command.output().await.unwrap())
}

const DAEMON_WITHOUT_LUCK: &str = r#"echo "$@"; env
read -r pid name state parent group session rest < /proc/$$/stat
[ "$session" = $$ ] && echo leads its session
echo 'no luck' >&2
exit 9"#;

#[tokio::test]
async fn a_daemon_is_looked_for_and_one_that_does_not_start_is_quoted() {
    let dir = tempfile::tempdir().unwrap();
    let cordon = installed(dir.path(), None);
    let (_, stderr, code) = ps_without_daemon(dir.path(), &cordon).await;
    assert!(code == 4 && stderr.contains("no cordond beside this client"), "{stderr}");

    let cordon = installed(dir.path(), Some(DAEMON_WITHOUT_LUCK));
    let (_, stderr, code) = ps_without_daemon(dir.path(), &cordon).await;
    assert_eq!(code, 4, "{stderr}");
    for words in ["starting", "exit status: 9", "no luck", "state/cordond.log"] {
        assert!(stderr.contains(words), "{words:?} is not in {stderr}");
    }
    let log = std::fs::read_to_string(dir.path().join("state/cordond.log")).unwrap();
    let socket = dir.path().join("run/s");
    assert!(log.contains(&format!("--socket {}", socket.display())), "{log}");
    assert!(log.contains("leads its session") && !log.contains("secret"), "{log}");
    let mode = |path: &str| std::fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("run"), mode("state"), mode("state/cordond.log")), (0o700, 0o700, 0o600));

    let mut command = tokio::process::Command::new(&cordon);
    command.env_clear().env("CORDON_SOCKET", dir.path().join("run/s")).args(["--no-start", "ps"]);
    let (_, stderr, code) = text(&command.output().await.unwrap());
    assert!(code == 4 && stderr.contains("cordond --socket"), "{stderr}");
}
