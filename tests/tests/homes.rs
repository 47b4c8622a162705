//! What stays in the homes that the real programs keep: nothing that an earlier run chose for a
//! later one beside its session and its own files, and nothing that Cordon wrote there.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::{Outcome, event::Kind};
use cordon_tests::{
    harness::{Cli, Host, KEY, More, Ran, User, Where, agent_text, skipped, summary, wait_until},
    provider::{Provider, Script, Turn, When},
};
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

const ALL: [Cli; 4] = [Cli::Codex, Cli::ClaudeCode, Cli::GeminiCli, Cli::Copilot];
const SECRET: &str = "hunter2-hunter2-of-a-server";

fn host() -> Host {
    let mut host = Host::with_clis(User::Tester);
    host.start_daemon();
    host
}

fn cordon(host: &Host, args: &[&str]) -> Ran {
    host.finish(host.command("cordon").args(args).env("PLANTED_KEY", KEY).env("SPY_TOKEN", SECRET))
}

fn servers(cli: Cli, provider: &Provider, ws: &Path) -> String {
    let backend = "      mcp_servers:\n        spy:\n          command: [/no/such/program]\n          env: {MY_TOKEN: '${SPY_TOKEN}'}\n";
    agent_text(cli, Where::Local, &provider.base_url(), ws, More { backend, file: "" })
}

/// Files below a directory that hold a text.
fn holding(directory: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    // Of a daemon that is at work some are gone by the time they are looked at.
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let entry = entry.unwrap();
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            found.extend(holding(&path, text));
        } else if kind.is_file()
            && let Ok(content) = fs::read(&path)
            && content.windows(text.len()).any(|part| part == text.as_bytes())
        {
            found.push(path);
        }
    }
    found
}

/// Neither the value of a server nor the end of the key.
fn assert_forgotten(host: &Host, label: &str) {
    for text in [SECRET, &KEY[KEY.len() - 20..]] {
        let left = holding(&host.path("state"), text);
        assert!(left.is_empty(), "{label}: {left:?}");
    }
}

async fn last(host: &Host) -> String {
    let mut runs = host.api().await.list().await;
    runs.sort_by_key(|r| r.started_unix_ms);
    runs.pop().unwrap().id
}

fn slow() -> Script {
    let shell = "touch started; until [ -e go ]; do sleep 0.05; done";
    Script::of([Turn::shell(shell), Turn::text("done")])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cordon_wrote_is_gone_with_the_run() {
    if skipped("clis") {
        return;
    }
    for cli in ALL {
        let label = cli.to_string();
        let mut host = host();
        let ws = host.tree("ws");
        let provider = Provider::start(slow()).await.unwrap();
        let file = host.agent_file("a.yaml", &servers(cli, &provider, &ws));
        let start = |host: &Host| {
            let _ = fs::remove_file(ws.join("started"));
            let _ = cordon(host, &["run", file.to_str().unwrap(), "--detach", "please do it"]).expect_code(0);
            assert!(wait_until(Duration::from_secs(60), || ws.join("started").is_file()), "{}", host.log());
        };
        // Cancelled.
        start(&host);
        assert!(!holding(&host.path("state/homes"), SECRET).is_empty(), "{label}: nothing was there to find");
        let run = last(&host).await;
        let _ = host.cordon(["stop", &run]);
        let events = host.api().await.events(&run, true).await;
        assert_eq!(summary(&events).outcome(), Outcome::Cancelled, "{label}");
        assert_forgotten(&host, &format!("{label}, cancelled"));
        // Killed, gone on with, and ended by itself.
        start(&host);
        let run = last(&host).await;
        host.kill_daemon();
        host.start_daemon();
        host.put(&ws.join("go"), "");
        let events = host.api().await.events(&run, true).await;
        assert!(events.iter().any(|e| matches!(e.kind, Some(Kind::Recovered(_)))), "{label}");
        // A program may ask its provider while there is no way there, and not try again.
        let outcome = summary(&events).outcome();
        assert!(matches!(outcome, Outcome::Success | Outcome::AgentFailed), "{label}: {events:#?}");
        assert_forgotten(&host, &format!("{label}, killed"));
        // Killed, and given up.
        let _ = fs::remove_file(ws.join("go"));
        start(&host);
        let run = last(&host).await;
        host.kill_daemon();
        fs::write(host.path("state/runs").join(&run).join("agent-file"), "agents: []").unwrap();
        host.start_daemon();
        let events = host.api().await.events(&run, true).await;
        assert_eq!(summary(&events).outcome(), Outcome::Broken, "{label}");
        let gone = || holding(&host.path("state/homes"), SECRET).is_empty();
        assert!(wait_until(Duration::from_secs(30), gone), "{label}: {}", host.log());
        assert_forgotten(&host, &format!("{label}, given up"));
    }
}

/// Everything that the four programs and their shells read without being asked to.
const PLANTED: &[&str] = &[
    ".agents/skills/x/SKILL.md",
    ".bashrc",
    ".cache/copilot/pkg/x/index.js",
    ".claude.json",
    ".claude/CLAUDE.md",
    ".claude/settings.json",
    ".codex/AGENTS.md",
    ".codex/hooks.json",
    ".codex/rules/default.rules",
    ".config/git/config",
    ".copilot/mcp-config.json",
    ".env",
    ".gemini/.env",
    ".gemini/extensions/x/gemini-extension.json",
    ".gemini/tmp/bin/rg",
    ".gitconfig",
    ".profile",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agent_planted_does_nothing_to_the_next_run() {
    if skipped("clis") {
        return;
    }
    for cli in ALL {
        let label = cli.to_string();
        let host = host();
        let ws = host.tree("ws");
        let plant: String = PLANTED
            .iter()
            .map(|path| {
                format!(
                    "mkdir -p ~/{}; echo planted > ~/{path}; ",
                    Path::new(path).parent().unwrap().display()
                )
            })
            .collect();
        // Valid where it would run: the program starts it before it asks for anything.
        let hook = r#"{"hooks":{"SessionStart":[{"hooks":[{"type":"command","command":"touch HOOKED"}]}]}}"#
            .replace("HOOKED", &ws.join("hooked").display().to_string());
        let plant = format!("{plant} echo '{hook}' > ~/.claude/settings.json; echo mine > ~/notes");
        let when = |contains: &str, turns| When { contains: contains.to_owned(), turns };
        // What is there is looked at from outside, while the program waits.
        let second = "touch started; until [ -e go ]; do sleep 0.05; done";
        let script = Script {
            when: vec![
                when("second-task", vec![Turn::shell(second), Turn::text("done")]),
                when("first-task", vec![Turn::shell(plant), Turn::text("done")]),
            ],
            ..Script::default()
        };
        let provider = Provider::start(script).await.unwrap();
        let text = agent_text(cli, Where::Local, &provider.base_url(), &ws, More::default());
        let file = host.agent_file("a.yaml", &text);
        let _ = cordon(&host, &["run", file.to_str().unwrap(), "do the first-task"]).expect_code(0);
        let first = last(&host).await;
        let home = host.path("state/homes").join(&first).join("coder");
        assert_eq!(fs::read_to_string(home.join("notes")).unwrap(), "mine\n", "{label}");
        // What an earlier Cordon, or one that was killed, had left.
        for path in PLANTED {
            let path = home.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let content = if path.ends_with(".claude/settings.json") { &hook } else { "planted" };
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            for at in path.ancestors().take_while(|at| *at != home) {
                std::os::unix::fs::lchown(at, Some(host.agent_uid()), Some(host.agent_uid())).unwrap();
            }
        }
        let _ = cordon(&host, &["run", "--resume", &first, "--detach", "do the second-task"]).expect_code(0);
        assert!(wait_until(Duration::from_secs(60), || ws.join("started").is_file()), "{}", host.log());
        let planted: Vec<_> = PLANTED
            .iter()
            .filter(|path| {
                let found = fs::read_to_string(home.join(path)).unwrap_or_default();
                found.contains("planted") || found == hook
            })
            .collect();
        assert!(planted.is_empty(), "{label}: {planted:?}");
        assert!(!ws.join("hooked").try_exists().unwrap(), "{label}");
        assert_eq!(fs::read_to_string(home.join("notes")).unwrap(), "mine\n", "{label}");
        assert_eq!(fs::metadata(home.join("notes")).unwrap().uid(), host.agent_uid(), "{label}");
        host.put(&ws.join("go"), "");
        let events = host.api().await.events(&last(&host).await, true).await;
        assert_eq!(summary(&events).outcome(), Outcome::Success, "{label}: {events:#?}");
    }
}
