//! Terminals of programs in sandboxes, as a person sees them: the real client in tmux.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::{Event, Outcome, RunState, event::Kind};
use cordon_tests::{
    harness::{
        Cli, Host, KEY, LIMIT, More, Tmux, User, Where, agent_text, need_image, processes_mentioning,
        skipped, summary, wait_until,
    },
    provider::{Call, Provider, Script, Turn, When},
};
use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

fn shell_agent(host: &Host, ws: &Path) -> std::path::PathBuf {
    let text = format!(
        "agents:\n  - id: sh\n    backend:\n      type: command\n      command: [/bin/bash, --norc, --noprofile, -i]\n      cwd: {}\n      command_line_execution_mode: local\n      env:\n        PROMPT_COMMAND: \"PS1='inside> '\"\n",
        ws.display()
    );
    host.agent_file("shell.yaml", &text)
}

fn signal(signal: &str, pid: &str) {
    assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
}

async fn only_events(host: &Host) -> Vec<Event> {
    let mut api = host.api().await;
    let run = api.only_run().await;
    api.events(&run.id, false).await
}

async fn ended(host: &Host, outcome: Outcome) {
    let mut api = host.api().await;
    let run = api.only_run().await;
    let _ = api.wait_for(&run.id, |e| matches!(e.kind, Some(Kind::RunEnded(_)))).await;
    let run = api.only_run().await;
    assert_eq!((run.state(), run.outcome()), (RunState::Ended, outcome));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_has_a_whole_terminal_and_outlives_whoever_looks() {
    let host = Host::start();
    let file = shell_agent(&host, &host.tree("ws"));
    let file = file.to_str().unwrap();
    let tmux = Tmux::new(&host);
    tmux.open("one", 100, 30);
    tmux.line("one", "stty -a > before");
    tmux.line("one", &format!("cordon attach {file}; echo code=$?"));
    tmux.shows("one", "inside>");
    // A terminal of its own, of the right size, with signals.
    tmux.line("one", "test -t 0 -a -t 1 -a -t 2 && echo a-$((40+2))-terminal; stty size; echo $TERM");
    let screen = tmux.shows("one", "xterm-256color");
    assert!(screen.contains("a-42-terminal") && screen.contains("30 100"), "{screen}");
    tmux.line("one", "sleep 1000; echo status=$?");
    let busy = |screen: &str| screen.contains("sleep 1000;");
    tmux.until("one", "the command", busy);
    let sleeping = wait_until(LIMIT, || {
        !processes_mentioning("sleep\u{0}1000").is_empty() || !processes_mentioning("sleep 1000").is_empty()
    });
    assert!(sleeping, "sleep never ran");
    tmux.keys("one", &["C-c"]);
    tmux.line("one", "echo after-$((1+1))");
    tmux.shows("one", "after-2");
    tmux.run(&["resize-window", "-t", "one", "-x", "77", "-y", "22"]);
    tmux.line("one", "stty size");
    tmux.shows("one", "22 77");
    // Colours, and the other screen.
    tmux.line("one", "printf '\\e[?1049h\\e[H\\e[1;31mred-text\\e[0m plain'; read x; printf '\\e[?1049l'");
    tmux.until("one", "the other screen", |screen| screen.starts_with("red-text plain"));
    tmux.detach("one");
    // What was on the person's own screen of before is there again.
    assert!(tmux.screen("one").contains("after-2"));
    tmux.line("one", "clear; stty -a > after; cmp before after && echo as-before");
    // The size is another now.
    tmux.line(
        "one",
        "sed -i 's/rows [0-9]*; columns [0-9]*//' before after; cmp before after && echo as-$((0))-before",
    );
    tmux.shows("one", "as-0-before");
    tmux.line("one", &format!("cordon attach {file}; echo code=$?"));
    tmux.until("one", "the other screen", |screen| screen.starts_with("red-text plain"));
    let coloured = tmux.run(&["capture-pane", "-p", "-e", "-t", "one"]);
    assert!(
        coloured.contains("\x1b[1m\x1b[31mred-text") || coloured.contains("\x1b[1;31mred-text"),
        "{coloured:?}"
    );
    tmux.keys("one", &["Enter"]);
    tmux.shows("one", "after-2");
    // Its end is the run's.
    tmux.line("one", "exit 7");
    tmux.shows("one", "code=7");
    ended(&host, Outcome::AgentFailed).await;
    let events = only_events(&host).await;
    let viewers: Vec<_> = events
        .iter()
        .filter_map(|e| match &e.kind {
            Some(Kind::Viewer(v)) => Some((v.viewer, v.what.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(viewers[..4], [(1, "joined"), (1, "writes"), (1, "left"), (2, "joined")], "{viewers:?}");
    assert!(!format!("{events:?}").contains("red-text"), "the screen is in the journal");
    let code = events.iter().find_map(|e| match &e.kind {
        Some(Kind::ProcessExited(exited)) => exited.code,
        _ => None,
    });
    assert_eq!(code, Some(7));
    let left: Vec<_> = fs::read_dir(host.path("state/runs")).unwrap().collect();
    assert_eq!(left.len(), 1);
    assert!(!left[0].as_ref().unwrap().path().join("terminal-0").try_exists().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_cannot_make_the_persons_terminal_do_what_it_must_not() {
    let host = Host::start();
    let file = shell_agent(&host, &host.tree("ws"));
    let tmux = Tmux::new(&host);
    tmux.open("one", 80, 24);
    tmux.run(&["set-option", "-s", "set-clipboard", "on"]);
    tmux.line("one", &format!("cordon attach {}", file.display()));
    tmux.shows("one", "inside>");
    let clipboard = "printf '\\e]52;c;cGxhbnRlZA==\\a'; echo don''e";
    tmux.line("one", clipboard);
    tmux.shows("one", "\ndone");
    assert!(!tmux.run(&["show-buffer"]).contains("planted"), "the clipboard was written");
    // A question is answered to the program alone, also with nobody there.
    tmux.line("one", "printf '\\e[5;9H\\e[6n'; IFS= read -rs -d R x; echo; echo \"at=${x#*[}\"");
    tmux.shows("one", "at=5;9");
    tmux.detach("one");
    // The same is let through to whoever asks for it.
    tmux.line("one", &format!("cordon attach --raw {}", file.display()));
    tmux.line("one", "clear");
    tmux.line("one", clipboard);
    tmux.shows("one", "\ndone");
    let written = wait_until(LIMIT, || tmux.run(&["show-buffer"]).contains("planted"));
    assert!(written, "--raw does not let everything through: the test above proves nothing");
    let id = host.api().await.only_run().await.id;
    let _ = host.cordon(["stop", &id]).expect_code(0);
    ended(&host, Outcome::Cancelled).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_that_stands_still_holds_nobody_up() {
    let host = Host::start();
    let file = shell_agent(&host, &host.tree("ws"));
    let file = file.display();
    let tmux = Tmux::new(&host);
    tmux.open("writer", 80, 24);
    tmux.line("writer", &format!("cordon attach {file}"));
    tmux.shows("writer", "inside>");
    tmux.open("watcher", 80, 24);
    // The shell takes no notice of a client that is stopped.
    tmux.line("watcher", "set +m");
    tmux.line("watcher", &format!("cordon attach --watch {file}"));
    tmux.shows("watcher", "inside>");
    let watcher = tmux.client("watcher");
    signal("-STOP", &watcher);
    let memory = || {
        let status = fs::read_to_string(format!("/proc/{}/status", host.daemon_pid())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = memory();
    tmux.line("writer", "clear; seq 1 1000000; echo all-$((1+1))-told");
    tmux.shows("writer", "all-2-told");
    let grown = memory().saturating_sub(before);
    assert!(grown < 32 << 10, "the daemon grew by {grown} KiB");
    signal("-CONT", &watcher);
    tmux.shows("watcher", "all-2-told");
    // The watcher types for nobody, and is not asked to leave when the writer is killed.
    tmux.line("watcher", "echo from-the-watcher");
    signal("-KILL", &tmux.client("writer"));
    tmux.line("writer", "reset; stty sane");
    tmux.line("writer", &format!("cordon attach --write {file}"));
    tmux.line("writer", "clear; echo again-$((1+1))");
    let screen = tmux.shows("watcher", "again-2");
    assert!(!screen.contains("from-the-watcher"));
    // Taken over.
    tmux.open("taker", 80, 24);
    tmux.line("taker", &format!("cordon attach --write {file}; echo code=$?"));
    tmux.shows("taker", "terminal-taken");
    tmux.line("taker", &format!("clear; cordon attach --take {file}"));
    tmux.shows("taker", "again-2");
    tmux.line("taker", "echo taken-$((1+1))");
    tmux.shows("writer", "taken-2");
    tmux.line("writer", "echo not-any-more");
    tmux.line("taker", "echo last-$((1+1))");
    assert!(!tmux.shows("taker", "last-2").contains("not-any-more"));
    // A client that is told to end brings its terminal back.
    signal("-TERM", &tmux.client("taker"));
    tmux.shows("taker", "outside>");
    tmux.line("taker", "stty -a | grep -o ' echo '");
    tmux.until("taker", "an ordinary terminal", |screen| screen.lines().any(|l| l.trim() == "echo"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_outlives_the_daemon() {
    let mut host = Host::start();
    let file = shell_agent(&host, &host.tree("ws"));
    let id = {
        let tmux = Tmux::new(&host);
        tmux.open("one", 90, 20);
        tmux.line("one", &format!("cordon attach {}", file.display()));
        tmux.shows("one", "inside>");
        // More than the guest keeps for a daemon that does not come back.
        tmux.line("one", "clear; seq 1 200000; printf '\\e[1;32mgreen\\e[0m %s\\n' be''fore");
        tmux.shows("one", "green before");
        host.api().await.only_run().await.id
    };
    host.kill_daemon();
    host.start_daemon();
    let tmux = Tmux::new(&host);
    tmux.open("two", 90, 20);
    tmux.line("two", &format!("cordon attach {id}; echo code=$?"));
    tmux.shows("two", "green before");
    assert!(tmux.run(&["capture-pane", "-p", "-e", "-t", "two"]).contains("\x1b[32m"));
    tmux.line("two", "stty size; echo still-$((1+1))");
    assert!(tmux.shows("two", "still-2").contains("20 90"));
    tmux.line("two", "exit");
    tmux.shows("two", "code=0");
    ended(&host, Outcome::Success).await;
}

/// What a person is asked before anything else: the words, and the key that answers.
struct Question {
    words: &'static str,
    key: &'static str,
}

/// What a person does with one of the CLIs.
async fn works(cli: Cli, place: Where, ready: &str) {
    asked(cli, place, More::default(), None, ready).await;
}

async fn asked(cli: Cli, place: Where, more: More<'_>, question: Option<Question>, ready: &str) {
    if skipped("clis") || place == Where::Docker && skipped("docker") {
        return;
    }
    if place == Where::Docker {
        need_image(cli.image());
    }
    let mut host = Host::with_clis(User::Tester);
    host.start_daemon();
    let ws = host.tree("ws");
    let turns = vec![
        Turn { calls: vec![Call::Shell("echo from-the-agent > hello.txt".into())], ..Turn::default() },
        Turn::text("The-file-is-made."),
    ];
    let script = Script {
        turns: vec![Turn::text("Something-else.")],
        when: vec![When { contains: "make a file".into(), turns }],
        ..Script::default()
    };
    let provider = Provider::start(script).await.unwrap();
    let text = agent_text(cli, place, &provider.base_url(), &ws, more);
    let file = host.agent_file("a.yaml", &text);
    let attach = format!("cordon attach {}; echo code=$?", file.display());
    let tmux = Tmux::new(&host);
    tmux.open("one", 100, 30);
    tmux.line("one", &attach);
    if let Some(Question { words, key }) = question {
        let screen = tmux.until("one", "the question", |s| s.contains(words) || s.contains(ready));
        assert!(screen.contains(words), "it did not ask: {screen}");
        tmux.keys("one", &[key]);
    }
    let screen = tmux.shows("one", ready);
    assert!(!screen.contains("trust the files"), "{screen}");
    tmux.types("one", "make a file");
    tmux.shows("one", "make a file");
    tmux.keys("one", &["Enter"]);
    tmux.shows("one", "The-file-is-made.");
    assert_eq!(fs::read_to_string(ws.join("hello.txt")).unwrap(), "from-the-agent\n");
    assert!(provider.keys().iter().all(|key| key == KEY), "{:?}", provider.keys());
    tmux.types("one", "half a sentence");
    tmux.shows("one", "half a sentence");
    // The first one ends the turn where the program has not quite ended it by itself.
    let mut pressed = None::<Instant>;
    tmux.until("one", "what Ctrl-C did", |screen| {
        let typed = screen.contains("half a sentence");
        if typed && pressed.is_none_or(|at| at.elapsed() > Duration::from_secs(5)) {
            tmux.keys("one", &["C-c"]);
            pressed = Some(Instant::now());
        }
        !typed
    });
    tmux.detach("one");
    tmux.line("one", "clear");
    tmux.until("one", "an empty screen", |screen| !screen.contains("The-file-is-made."));
    tmux.line("one", &attach);
    tmux.shows("one", "The-file-is-made.");
    tmux.run(&["resize-window", "-t", "one", "-x", "72", "-y", "24"]);
    tmux.types("one", "typed after the resize");
    tmux.shows("one", "typed after the resize");
    // Somebody else looks, and types for nobody.
    tmux.open("two", 72, 24);
    tmux.line("two", &format!("{attach} # second"));
    tmux.shows("two", "typed after the resize");
    tmux.types("two", "from-the-watcher");
    tmux.types("one", " and-more");
    let screen = tmux.shows("two", "and-more");
    assert!(!screen.contains("from-the-watcher"), "{screen}");
    signal("-KILL", &tmux.client("one"));
    let mut api = host.api().await;
    let run = api.only_run().await;
    assert_eq!(run.state(), RunState::Running);
    let listed = host.cordon(["ps"]).expect_code(0).stdout;
    assert!(listed.contains("(terminal)"), "{listed}");
    let _ = host.cordon(["stop", &run.id]).expect_code(0);
    tmux.shows("two", "code=");
    ended(&host, Outcome::Cancelled).await;
    let events = only_events(&host).await;
    assert!(!format!("{events:?}").contains(KEY), "the key is in the journal");
    assert!(summary(&events).summary.unwrap().files.iter().any(|f| f.path.ends_with(b"hello.txt")));
    assert!(!host.log().contains(KEY));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codex_in_the_local_wall() {
    works(Cli::Codex, Where::Local, "Ask Codex").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claude_code_in_docker() {
    works(Cli::ClaudeCode, Where::Docker, "bypass permissions on").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gemini_in_the_local_wall() {
    works(Cli::GeminiCli, Where::Local, "Type your message").await;
}

/// What trust brings with it (hooks, servers, plugins of the repository) this program has no other
/// switch for: without a word in the agent file, the person decides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copilot_in_the_local_wall_asks_the_person_whether_to_trust_the_repository() {
    let question = Question { words: "trust the files", key: "1" };
    asked(Cli::Copilot, Where::Local, More::default(), Some(question), "/ commands").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copilot_in_docker_asks_nothing_where_the_agent_file_trusts_the_repository() {
    let more = More { backend: "      trust_repository: true\n", file: "" };
    asked(Cli::Copilot, Where::Docker, more, None, "/ commands").await;
}
