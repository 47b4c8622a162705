//! The four real programs in a repository that wants to configure them: nothing of it takes
//! effect, unless the agent file trusts the repository.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "hostile/plant.rs"]
mod plant;

use cordon_proto::v1::{Event, event::Kind};
use cordon_tests::{
    harness::{Host, Ran, User, claude, codex, copilot, copilot_cache, gemini, need_image, node, skipped},
    provider::{Provider, Script, Turn},
};
use plant::{Hostile, MARKER, VARIABLE};
use std::{fs, path::Path};

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

/// A daemon that finds the real programs on its PATH, as a user's would.
fn host() -> Host {
    let mut host = Host::without_daemon(User::Tester);
    let programs = host.path("programs");
    fs::create_dir(&programs).unwrap();
    for (name, program) in [
        ("codex", codex()),
        ("claude", claude()),
        ("gemini", gemini()),
        ("node", node()),
        ("copilot", copilot()),
    ] {
        std::os::unix::fs::symlink(program, programs.join(name)).unwrap();
    }
    fs::create_dir(host.path("home/.cache")).unwrap();
    std::os::unix::fs::symlink(copilot_cache(), host.path("home/.cache/copilot")).unwrap();
    host.set_env("PATH", &format!("{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", programs.display()));
    host.start_daemon();
    host
}

fn agent(cli: Cli, wall: Wall, base_url: &str, cwd: &Path, more: &str) -> String {
    let (kind, model, suffix) = match cli {
        Cli::Codex => ("codex", "scripted-model", "/v1"),
        Cli::Claude => ("claude_code", "scripted-model", ""),
        Cli::Gemini => ("gemini_cli", "gemini-2.5-pro", ""),
        Cli::Copilot => ("copilot", "scripted-model", "/v1"),
    };
    let wall = match wall {
        Wall::Local => "command_line_execution_mode: local".to_owned(),
        Wall::Docker => {
            "command_line_execution_mode: docker\n      command_line_docker_network_mode: bridge".to_owned()
        }
    };
    format!(
        "agents:\n  - id: coder\n    backend:\n      type: {kind}\n      model: {model}\n      base_url: {base_url}{suffix}\n      api_key: ${{PLANTED_KEY}}\n      cwd: {}\n      {wall}\n{more}",
        cwd.display()
    )
}

fn run(host: &Host, text: &str, prompt: &str) -> Ran {
    let file = host.agent_file("a.yaml", text);
    host.finish(host.command("cordon").args(["run", file.to_str().unwrap(), prompt]).env("PLANTED_KEY", KEY))
}

async fn last_events(host: &Host) -> Vec<Event> {
    let mut api = host.api().await;
    let mut runs = api.list().await;
    runs.sort_by_key(|r| r.started_unix_ms);
    let run = runs.pop().unwrap();
    api.events(&run.id, false).await
}

/// What the repository achieved with one run.
#[derive(Debug)]
struct Achieved {
    hits: Vec<String>,
    /// Requests to places that only the repository names.
    asked: Vec<String>,
    /// Its markers in what the model was shown.
    shown: Vec<String>,
    /// What the agent's own shell printed.
    shell: String,
    /// Everything that went to the model.
    requests: String,
}

/// Every word of a text that begins with the marker.
fn markers(text: &str) -> Vec<String> {
    let mut found: Vec<String> = text
        .match_indices(MARKER)
        .map(|(at, _)| {
            let rest = &text[at + MARKER.len()..];
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).unwrap_or(rest.len());
            rest[..end].trim_start_matches('-').to_owned()
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

/// The repository, and the directory in it where the agent works.
async fn attack(cli: Cli, wall: Wall, below: &str, trusted: bool) -> Achieved {
    let host = host();
    let root = host.tree("repository");
    let ws = root.join(below);
    fs::create_dir_all(&ws).unwrap();
    let provider = Provider::start(Script::of([
        Turn::shell("env; echo the-shell-ran"),
        Turn::write(ws.join("written.txt").display().to_string(), "written\n"),
        Turn::text("It is done."),
    ]))
    .await
    .unwrap();
    let hostile = Hostile::plant(&host, &root, &provider.base_url());
    let mut more = String::new();
    if !below.is_empty() {
        more += &format!(
            "      context_paths:\n        - path: {}\n          permission: write\n          write_mode: legacy\n",
            root.display()
        );
    }
    if trusted {
        more += "      trust_repository: true\n";
    }
    let text = agent(cli, wall, &provider.base_url(), &ws, &more);
    let label = format!("{cli:?} {wall:?} {below:?} trusted: {trusted}");
    let ran = run(&host, &text, "please look around");
    let events = last_events(&host).await;
    if !trusted {
        assert_eq!(ran.code, 0, "{label}\n{}\n{}", ran.stdout, ran.stderr);
        assert_eq!(fs::read_to_string(ws.join("written.txt")).unwrap().trim(), "written", "{label}");
    }
    let shell = events.iter().filter_map(|e| match &e.kind {
        Some(Kind::Command(c)) if c.status != "started" => Some(c.output.clone()),
        _ => None,
    });
    let requests = provider.requests();
    let honest = |path: &&str| path.contains("/evil");
    let asked: Vec<_> = requests.iter().map(|r| r.path.as_str()).filter(honest).map(str::to_owned).collect();
    let bodies: String = requests.iter().map(|r| format!("{}\n{}\n", r.path, r.body)).collect();
    let hits = hostile.hits();
    let with_key: Vec<_> = hits.iter().filter(|hit| hostile.environment(hit).contains(KEY)).collect();
    assert!(trusted || with_key.is_empty(), "{label}: {with_key:?} had the key");
    Achieved { hits, asked, shown: markers(&bodies), shell: shell.collect(), requests: bodies }
}

async fn is_inert(cli: Cli, wall: Wall, below: &str) {
    let got = attack(cli, wall, below, false).await;
    let label = format!("{cli:?} {wall:?} {below:?}");
    assert!(got.hits.is_empty(), "{label}: {:?} ran", got.hits);
    assert!(got.asked.is_empty(), "{label}: {:?} was asked", got.asked);
    assert!(got.shell.contains("the-shell-ran"), "{label}: {}", got.shell);
    assert!(!got.shell.contains(VARIABLE), "{label}: {VARIABLE} in {}", got.shell);
    // Of Claude Code the shell has what the program itself has.
    for name in [KEY, "API_KEY"] {
        assert!(cli == Cli::Claude || !got.shell.contains(name), "{label}: {name} in {}", got.shell);
    }
    // What an agent, a skill or a command is said to be for are words, as AGENTS.md is.
    let words = |name: &&String| ["-skill", "-agent", "-command"].iter().any(|end| name.ends_with(end));
    let shown: Vec<_> = got.shown.iter().filter(|name| !words(name)).collect();
    assert!(shown.is_empty(), "{label}: {shown:?} was shown to the model");
    // The instructions of a repository are what nobody may miss.
    let instructions = match cli {
        Cli::Codex => "AGENTS.md",
        Cli::Copilot => "copilot-instructions.md",
        Cli::Claude => "CLAUDE.md",
        Cli::Gemini => "GEMINI.md",
    };
    let read = got.requests.contains(&format!("WORDS-of-{instructions}"));
    assert!(read, "{label}: {instructions} was not read");
}

fn walls(cli: Cli) -> Vec<Wall> {
    if skipped("clis") {
        return Vec::new();
    }
    if skipped("docker") {
        return vec![Wall::Local];
    }
    need_image(match cli {
        Cli::Codex => "cordon/codex",
        Cli::Claude => "cordon/claude-code",
        Cli::Gemini => "cordon/gemini-cli",
        Cli::Copilot => "cordon/copilot",
    });
    vec![Wall::Local, Wall::Docker]
}

async fn everywhere(cli: Cli) {
    for wall in walls(cli) {
        is_inert(cli, wall, "").await;
        is_inert(cli, wall, "packages/one").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_configures_no_codex() {
    everywhere(Cli::Codex).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_configures_no_claude() {
    everywhere(Cli::Claude).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_configures_no_gemini() {
    everywhere(Cli::Gemini).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_configures_no_copilot() {
    everywhere(Cli::Copilot).await;
}

/// The same repository is honoured where the agent file says so: no trap is there in vain.
async fn trusted(cli: Cli, expected: &[&str]) {
    if skipped("clis") {
        return;
    }
    let got = attack(cli, Wall::Local, "", true).await;
    for hit in expected {
        assert!(got.hits.iter().any(|h| h == hit), "{cli:?}: {hit} is not among {got:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_repository_is_honoured() {
    trusted(Cli::Gemini, &["gemini-discovery", "gemini-telemetry"]).await;
    trusted(Cli::Codex, &["codex-mcp"]).await;
    trusted(Cli::Claude, &["claude-SessionStart", "claude-local-apiKeyHelper", "dot-mcp"]).await;
    trusted(Cli::Copilot, &["copilot-hooks-preToolUse", "copilot-sessionStart", "dot-mcp"]).await;
}
