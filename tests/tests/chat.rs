//! Conversations: the real client in tmux and without a terminal, with the real programs, against
//! the scripted provider.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::{Outcome, Run};
use cordon_tests::{
    harness::{Cli, Host, KEY, LIMIT, More, Ran, Tmux, User, Where, agent_text, skipped, wait_until},
    provider::{Provider, Script, Turn, When},
};
use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

fn host() -> Host {
    let mut host = Host::with_clis(User::Tester);
    host.start_daemon();
    host
}

fn when(contains: &str, turns: impl Into<Vec<Turn>>) -> When {
    When { contains: contains.to_owned(), turns: turns.into() }
}

async fn provider(when: Vec<When>) -> Provider {
    Provider::start(Script { when, ..Script::default() }).await.unwrap()
}

fn agent(host: &Host, cli: Cli, provider: &Provider, ws: &Path) -> PathBuf {
    let text = agent_text(cli, Where::Local, &provider.base_url(), ws, More::default());
    host.agent_file("a.yaml", &text)
}

/// What each request to the provider holds, after the first ones.
fn asked(provider: &Provider, after: usize) -> Vec<String> {
    provider.requests().into_iter().skip(after).map(|r| r.body.to_string()).collect()
}

async fn runs(host: &Host) -> Vec<Run> {
    let mut runs = host.api().await.list().await;
    runs.sort_by_key(|r| r.started_unix_ms);
    runs
}

/// Without a terminal.
fn piped(host: &Host, args: &[&str], said: &str) -> Ran {
    let mut command = host.command("cordon");
    command.arg("chat").args(args).env("PLANTED_KEY", KEY);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(said.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: out.status.code().unwrap_or(-1), stdout: text(&out.stdout), stderr: text(&out.stderr) }
}

fn history(host: &Host) -> PathBuf {
    host.path("home/.local/state/cordon/chat-history")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_on_a_terminal() {
    if skipped("clis") {
        return;
    }
    for cli in [Cli::Codex, Cli::ClaudeCode] {
        let host = host();
        let ws = host.tree("ws");
        let script = vec![
            when("second line", [Turn::text("answer-to-two-lines")]),
            when("what-is-it", [Turn::shell("cat one.txt"), Turn::text("it-is-one")]),
            when("make-it", [Turn::shell("echo one > one.txt"), Turn::text("made-it")]),
            when("pasted", [Turn::text("answer-to-paste")]),
        ];
        let provider = provider(script).await;
        let file = agent(&host, cli, &provider, &ws);
        let tmux = Tmux::new(&host);
        tmux.open("one", 100, 40);
        tmux.line("one", &format!("cordon chat {}; echo code=$?", file.display()));
        tmux.shows("one", "chat with coder");
        tmux.shows("one", "you>");
        tmux.line("one", "please make-it");
        tmux.until("one", "an answer", |s| s.contains("| made-it") && s.trim_end().ends_with("you>"));
        assert_eq!(fs::read_to_string(ws.join("one.txt")).unwrap(), "one\n", "{cli}");
        let before = provider.requests().len();
        tmux.line("one", "and what-is-it");
        let screen = tmux.shows("one", "| it-is-one");
        assert!(!screen.contains("sandbox ready"), "{screen}");
        let told = asked(&provider, before);
        assert!(told.iter().any(|r| r.contains("made-it") && r.contains("what-is-it")), "{cli}: {told:?}");
        // Two ways to begin another line, and a paste that stays one message.
        tmux.until("one", "a prompt", |s| s.trim_end().ends_with("you>"));
        tmux.types("one", "first line\\");
        tmux.keys("one", &["Enter"]);
        tmux.types("one", "second line");
        tmux.keys("one", &["M-Enter"]);
        tmux.line("one", "third line");
        tmux.shows("one", "| answer-to-two-lines");
        let last = asked(&provider, 0).pop().unwrap();
        assert!(last.contains(r"first line\nsecond line\nthird line"), "{cli}: {}", tmux.screen("one"));
        tmux.until("one", "a prompt", |s| s.trim_end().ends_with("you>"));
        tmux.run(&["set-buffer", "one pasted\nof two \u{7}lines"]);
        tmux.run(&["paste-buffer", "-p", "-t", "one"]);
        tmux.shows("one", "of two ?lines");
        tmux.keys("one", &["Enter"]);
        tmux.shows("one", "| answer-to-paste");
        tmux.shows("one", "holds 1 character that do");
        // Words of Cordon's own.
        tmux.until("one", "a prompt", |s| s.trim_end().ends_with("you>"));
        tmux.line("one", "/usage");
        tmux.shows("one", "4 turns; tokens:");
        tmux.line("one", "/helpp");
        tmux.shows("one", "/helpp is no command here");
        // Ctrl-C throws away what was typed; twice at an empty prompt it leaves.
        tmux.types("one", "never mind");
        tmux.shows("one", "you> never mind");
        tmux.keys("one", &["C-c"]);
        tmux.until("one", "a prompt", |s| s.trim_end().ends_with("you>"));
        tmux.keys("one", &["C-c"]);
        tmux.shows("one", "press Ctrl-C again");
        tmux.keys("one", &["C-c"]);
        let screen = tmux.shows("one", "code=0");
        assert!(screen.contains("goes on with this chat"), "{screen}");
        // The terminal is as before.
        tmux.line("one", "stty -a | grep -o ' echo '");
        tmux.until("one", "an ordinary terminal", |s| s.lines().any(|l| l.trim() == "echo"));
        let all = runs(&host).await;
        assert_eq!(all.len(), 4, "{cli}");
        assert!(all.windows(2).all(|pair| pair[1].resumes == pair[0].id), "{cli}: {all:?}");
        let kept = fs::read_to_string(history(&host)).unwrap();
        assert_eq!(kept.lines().next(), Some(r#""please make-it""#), "{kept}");
        assert!(kept.contains(r"first line\nsecond line\nthird line") && !kept.contains("never mind"));
        assert_eq!(fs::metadata(history(&host)).unwrap().permissions().mode() & 0o7777, 0o600);
        // Another chat goes on with it, and offers what was typed.
        tmux.line("one", &format!("clear; cordon chat --resume {}; echo code=$?", all[3].id));
        tmux.shows("one", "going on with run");
        tmux.shows("one", "you>");
        tmux.keys("one", &["Up"]);
        tmux.shows("one", "you> /helpp");
        tmux.keys("one", &["C-u"]);
        tmux.line("one", "so what-is-it");
        tmux.shows("one", "| it-is-one");
        tmux.until("one", "a prompt", |s| s.trim_end().ends_with("you>"));
        let last = asked(&provider, 0).pop().unwrap();
        assert!(last.contains("answer-to-paste") && last.contains("made-it"), "{cli}: {last}");
        tmux.keys("one", &["C-d"]);
        tmux.shows("one", "code=0");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_ends_the_turn_and_keeps_the_conversation() {
    if skipped("clis") {
        return;
    }
    let host = host();
    let ws = host.tree("ws");
    let wait = "touch started; until [ -e never ]; do sleep 0.05; done";
    let script = vec![
        when("then what", [Turn::text("this-instead")]),
        when("wait for it", [Turn::shell(wait), Turn::text("never-said")]),
        when("hello", [Turn::text("hello-yourself")]),
    ];
    let provider = provider(script).await;
    let file = agent(&host, Cli::Codex, &provider, &ws);
    let tmux = Tmux::new(&host);
    tmux.open("one", 100, 40);
    tmux.line("one", &format!("cordon chat {}; echo code=$?", file.display()));
    tmux.shows("one", "you>");
    tmux.line("one", "hello");
    tmux.until("one", "an answer", |s| s.contains("| hello-yourself") && s.trim_end().ends_with("you>"));
    tmux.line("one", "wait for it");
    assert!(wait_until(LIMIT, || ws.join("started").is_file()), "{}", tmux.screen("one"));
    tmux.keys("one", &["C-c"]);
    tmux.until("one", "a prompt", |s| s.contains("interrupted;") && s.trim_end().ends_with("you>"));
    tmux.line("one", "then what");
    tmux.until("one", "an answer", |s| s.contains("| this-instead") && s.trim_end().ends_with("you>"));
    let last = asked(&provider, 0).pop().unwrap();
    for text in ["hello-yourself", "wait for it", "then what"] {
        assert!(last.contains(text), "{text} is not in {last}");
    }
    let outcomes: Vec<_> = runs(&host).await.iter().map(Run::outcome).collect();
    assert_eq!(outcomes, [Outcome::Success, Outcome::Cancelled, Outcome::Success]);
    // What is typed while an agent works is there at the next prompt.
    fs::remove_file(ws.join("started")).unwrap();
    tmux.line("one", "wait for it again");
    assert!(wait_until(LIMIT, || ws.join("started").is_file()), "{}", tmux.screen("one"));
    tmux.line("one", "/usage");
    host.put(&ws.join("never"), "");
    tmux.shows("one", "4 turns; tokens:");
    // A client that is told to end brings its terminal back.
    let client = tmux.client("one");
    assert!(std::process::Command::new("kill").args(["-TERM", &client]).status().unwrap().success());
    tmux.shows("one", "code=130");
    tmux.line("one", "stty -a | grep -o ' echo '");
    tmux.until("one", "an ordinary terminal", |s| s.lines().any(|l| l.trim() == "echo"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_terminal_each_line_is_a_message() {
    if skipped("clis") {
        return;
    }
    let host = host();
    let ws = host.tree("ws");
    let script = vec![
        when("second", [Turn::text("the-second\u{1b}]52;c;eA==\u{7}\ncordon: all is well")]),
        when("first", [Turn::text("the-first")]),
    ];
    let provider = provider(script).await;
    let file = agent(&host, Cli::ClaudeCode, &provider, &ws);
    let file = file.to_str().unwrap();
    let ran = piped(&host, &[file], "the first\n\n  \nthe /second\n").expect_code(0);
    assert!(ran.stdout.contains("| the-first\n"), "{}", ran.stdout);
    // What a model says stays behind its mark and commands nothing.
    assert!(
        ran.stdout.contains("| the-second\\x1b]52;c;eA==\\x07\n| cordon: all is well\n"),
        "{}",
        ran.stdout
    );
    assert!(!ran.stdout.contains(['\u{1b}', '\u{7}']) && !ran.stdout.contains("you>"), "{}", ran.stdout);
    assert!(asked(&provider, 0).pop().unwrap().contains("the-first"));
    assert!(!history(&host).try_exists().unwrap());
    let all = runs(&host).await;
    assert_eq!((all.len(), all[1].resumes.as_str()), (2, all[0].id.as_str()));
    // JSON has the events of both turns.
    let ran = piped(&host, &["--resume", &all[1].id, "-o", "json"], "first\nsecond\n").expect_code(0);
    let kinds: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ends: Vec<_> = kinds.iter().filter(|e| e["kind"] == "run_ended").collect();
    assert_eq!(ends.len(), 2, "{}", ran.stdout);
    assert!(ends.iter().all(|e| e["outcome"] == "success"));
    // Nothing to say is no mistake; what cannot be said is one.
    let _ = piped(&host, &[file], "").expect_code(0);
    let _ = piped(&host, &["no-such-file.yaml"], "x\n").expect_code(2);
    let ran = piped(&host, &[file, "-a", "nobody"], "x\n").expect_code(2);
    assert!(ran.stderr.contains("there is no agent nobody; choose of: coder"), "{}", ran.stderr);
    let ran = piped(&host, &["--resume", &all[0].id], "x\n");
    assert_ne!(ran.code, 0);
    assert!(ran.stderr.contains("has gone on with it already"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_turn_that_fails_ends_a_conversation_without_a_terminal() {
    let host = Host::start();
    let text = "agents:\n  - id: one\n    backend:\n      type: command\n      command_line_execution_mode: local\n      command: [bash, -c, 'echo said >> lines; test $(wc -l < lines) -lt 2']\n";
    let file = host.agent_file("a.yaml", text);
    let ran = piped(&host, &[file.to_str().unwrap()], "a\nb\nc\n").expect_code(1);
    assert_eq!(runs(&host).await.len(), 2, "{ran:?}");
    assert!(ran.stdout.contains("cordon: the turn failed;"), "{}", ran.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_agent_answers_and_one_that_fails_stops_nobody() {
    let host = Host::start();
    let agent = |id: &str, script: &str| {
        format!(
            "  - id: {id}\n    backend:\n      type: command\n      command_line_execution_mode: local\n      command: [bash, -c, '{script}']\n"
        )
    };
    let text =
        format!("agents:\n{}{}", agent("good", "echo fine; touch made"), agent("bad", "echo broken; exit 3"));
    let file = host.agent_file("a.yaml", &text);
    // The same in a run: a row for each.
    let ran = host.cordon(["run", file.to_str().unwrap(), "go", "-o", "json"]).expect_code(1);
    let end: serde_json::Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    let row = |n: usize| {
        let row = &end["summary"]["agents"][n];
        [&row["id"], &row["outcome"], &row["turns"], &row["files_changed"]].map(ToString::to_string).join(" ")
    };
    assert_eq!([row(0), row(1)], [r#""good" "success" 1 1"#, r#""bad" "agent-failed" 1 0"#], "{end}");
    let ran = host.cordon(["run", file.to_str().unwrap(), "go"]).expect_code(1);
    assert!(ran.stdout.contains("cordon: AGENT  OUTCOME       TURNS"), "{}", ran.stdout);
    let tmux = Tmux::new(&host);
    tmux.open("one", 100, 40);
    tmux.line("one", &format!("cordon chat {}; echo code=$?", file.display()));
    tmux.shows("one", "chat with good, bad");
    tmux.line("one", "go");
    let answered = |s: &str| s.contains("the turn failed;") && s.trim_end().ends_with("you>");
    let screen = tmux.until("one", "both", answered);
    assert!(screen.contains("good | fine") && screen.contains("bad | broken"), "{screen}");
    tmux.line("one", "/agents");
    let screen = tmux.shows("one", "agent-failed");
    assert!(screen.lines().any(|l| l.starts_with("good ") && l.contains("success")), "{screen}");
    tmux.line("one", "/quit");
    tmux.shows("one", "code=0");
    tmux.line("one", &format!("clear; cordon chat {} -a good --no-history; echo code=$?", file.display()));
    tmux.shows("one", "chat with good");
    tmux.line("one", "go");
    tmux.shows("one", "| fine");
    tmux.until("one", "a prompt", |s| s.trim_end().ends_with("you>"));
    tmux.keys("one", &["C-d"]);
    tmux.shows("one", "code=0");
    assert_eq!(runs(&host).await.pop().unwrap().agents.len(), 1);
    assert_eq!(fs::read_to_string(history(&host)).unwrap().lines().count(), 3, "kept although not wanted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_that_cannot_be_private_is_none() {
    let host = Host::start();
    let text = "agents:\n  - id: one\n    backend:\n      type: command\n      command_line_execution_mode: local\n      command: [bash, -c, 'echo fine']\n";
    let file = host.agent_file("a.yaml", text);
    let place = history(&host);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::set_permissions(place.parent().unwrap(), fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::symlink(host.path("elsewhere"), &place).unwrap();
    let tmux = Tmux::new(&host);
    tmux.open("one", 100, 40);
    tmux.line("one", &format!("cordon chat {}; echo code=$?", file.display()));
    tmux.shows("one", "no history is kept");
    tmux.line("one", "go");
    tmux.shows("one", "| fine");
    assert!(!host.path("elsewhere").try_exists().unwrap());
}
