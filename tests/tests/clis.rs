//! The real Codex and the real Claude Code in both walls, against the scripted provider.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::{Event, Outcome, OutputStream, event::Kind};
use cordon_tests::{
    harness::{
        Host, Ran, claude, codex, denials, messages, need_image, output, processes_mentioning, skipped,
        summary,
    },
    provider::{Failure, Provider, Script, Turn},
};
use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

const KEY: &str = "planted-key-0123456789-abcdefghij";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Cli {
    Codex,
    Claude,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Wall {
    Local,
    Docker,
}

const EVERY: [(Cli, Wall); 4] = [
    (Cli::Codex, Wall::Local),
    (Cli::Claude, Wall::Local),
    (Cli::Codex, Wall::Docker),
    (Cli::Claude, Wall::Docker),
];

fn cases() -> Vec<(Cli, Wall)> {
    let cases: Vec<_> = EVERY
        .into_iter()
        .filter(|(_, wall)| !(skipped("clis") || *wall == Wall::Docker && skipped("docker")))
        .collect();
    for (cli, wall) in &cases {
        if *wall == Wall::Docker {
            need_image(if *cli == Cli::Codex { "cordon/codex" } else { "cordon/claude-code" });
        }
    }
    cases
}

/// A daemon that finds the real programs on its PATH, as a user's would.
fn host() -> Host {
    let mut host = Host::without_daemon(cordon_tests::harness::User::Tester);
    let programs = host.path("programs");
    fs::create_dir(&programs).unwrap();
    if !skipped("clis") {
        std::os::unix::fs::symlink(codex(), programs.join("codex")).unwrap();
        std::os::unix::fs::symlink(claude(), programs.join("claude")).unwrap();
    }
    host.set_env("PATH", &format!("{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", programs.display()));
    host
}

fn agent(cli: Cli, wall: Wall, base_url: &str, cwd: &Path) -> String {
    let (kind, suffix) = match cli {
        Cli::Codex => ("codex", "/v1"),
        Cli::Claude => ("claude_code", ""),
    };
    let wall = match wall {
        Wall::Local => "command_line_execution_mode: local".to_owned(),
        Wall::Docker => {
            "command_line_execution_mode: docker\n      command_line_docker_network_mode: bridge".to_owned()
        }
    };
    format!(
        "agents:\n  - id: coder\n    system_message: Be brief.\n    backend:\n      type: {kind}\n      model: scripted-model\n      base_url: {base_url}{suffix}\n      cwd: {}\n      {wall}\n",
        cwd.display()
    )
}

fn run(host: &Host, name: &str, text: &str, prompt: &str) -> Ran {
    let file = host.agent_file(name, text);
    host.finish(
        host.command("cordon")
            .args(["run", file.to_str().unwrap(), prompt])
            .env("OPENAI_API_KEY", KEY)
            .env("ANTHROPIC_API_KEY", KEY),
    )
}

async fn last_events(host: &Host) -> Vec<Event> {
    let mut api = host.api().await;
    let mut runs = api.list().await;
    runs.sort_by_key(|r| r.started_unix_ms);
    let run = runs.pop().unwrap();
    api.events(&run.id, false).await
}

/// No file below a directory holds the text.
fn assert_nowhere(dir: &Path, text: &str) {
    let found = std::process::Command::new("grep").args(["-rlF", "--", text]).arg(dir).output().unwrap();
    assert!(found.stdout.is_empty(), "{text} is in {}", String::from_utf8_lossy(&found.stdout));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_works_and_its_wall_holds() {
    for (cli, wall) in cases() {
        let mut host = host();
        host.start_daemon();
        let ws = host.tree("ws");
        let other = host.tree("other-agents-workspace");
        host.put(&other.join("plan"), "token-other");
        let canary = host.path("home").join("canary");
        host.put(&canary, "token-home");
        let tries = format!(
            "cat /etc/shadow; cat {}; cat {}/plan; env | grep -c ^CORDON_; id -u",
            canary.display(),
            other.display()
        );
        let provider = Provider::start(Script::of([
            Turn::shell("echo from-the-agent > hello.txt"),
            Turn::shell(tries),
            Turn::write(ws.join("written.txt").display().to_string(), "written\n"),
            Turn::text("It is done."),
        ]))
        .await
        .unwrap();
        let ran = run(&host, "a.yaml", &agent(cli, wall, &provider.base_url(), &ws), "please do it");
        let ran = ran.expect_code(0);
        let events = last_events(&host).await;
        let label = format!("{cli:?} {wall:?}");

        assert_eq!(fs::read_to_string(ws.join("hello.txt")).unwrap(), "from-the-agent\n", "{label}");
        assert_eq!(fs::metadata(ws.join("hello.txt")).unwrap().uid(), host.agent_uid(), "{label}");
        assert_eq!(fs::read_to_string(ws.join("written.txt")).unwrap().trim(), "written", "{label}");
        assert!(ran.stdout.contains("It is done."), "{label}: {}", ran.stdout);
        assert!(messages(&events).iter().any(|m| m.contains("It is done.")), "{label}");
        let commands: Vec<_> = events
            .iter()
            .filter_map(|e| match &e.kind {
                Some(Kind::Command(c)) if c.status != "started" => Some(c.clone()),
                _ => None,
            })
            .collect();
        assert!(
            commands.iter().any(|c| c.command.contains("hello.txt") && c.exit_code.unwrap_or(0) == 0),
            "{label}: {commands:?}"
        );
        let everything = format!("{events:?}");
        for token in ["token-home", "token-other", "root:*", "root:$"] {
            assert!(!everything.contains(token), "{label}: {token} was read");
        }
        assert!(
            commands.iter().any(|c| c.output.contains(&host.agent_uid().to_string())),
            "{label}: the agent runs as somebody else: {commands:?}"
        );
        let ended = summary(&events);
        assert_eq!(ended.outcome(), Outcome::Success, "{label}");
        assert!(ended.summary.unwrap().usage.unwrap().output_tokens > 0, "{label}");

        assert_eq!(provider.keys(), [KEY], "{label}: the provider saw the key");
        let asked = provider.requests().iter().any(|r| r.body.to_string().contains("please do it"));
        assert!(asked, "{label}: the prompt arrived");
        assert!(!everything.contains(KEY), "{label}: the key is in the journal");
        assert_nowhere(&host.path("state"), KEY);
        assert_nowhere(&ws, KEY);
        assert!(!host.log().contains(KEY), "{label}: the key is in the log");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_works_through_the_proxy_alone() {
    if skipped("docker") {
        return;
    }
    // An address of this machine that is no loopback: inside it is reached by the proxy or not at all.
    let found = std::process::Command::new("docker")
        .args(["network", "inspect", "bridge", "-f", "{{(index .IPAM.Config 0).Subnet}}"])
        .output()
        .unwrap();
    let subnet = String::from_utf8_lossy(&found.stdout).into_owned();
    let (network, _) = subnet.trim().split_once('/').unwrap();
    let [a, b, c, _] = network.parse::<std::net::Ipv4Addr>().unwrap().octets();
    // The engine's own end of a network is its first address.
    let gateway = std::net::IpAddr::from([a, b, c, 1]);
    for (cli, wall) in cases() {
        let mut host = host();
        host.start_daemon();
        let ws = host.tree("ws");
        let turns = [
            Turn::shell("ls /sys/class/net 2>/dev/null; cat /proc/net/dev | tail -n +3 > net.txt"),
            Turn::text("It is done."),
        ];
        let provider = Provider::listen(Script::of(turns), (gateway, 0).into(), None).await.unwrap();
        let text = agent(cli, wall, &provider.base_url(), &ws) + "      egress:\n        allow: []\n";
        let _ = run(&host, "a.yaml", &text, "please do it").expect_code(0);
        assert_eq!(provider.keys(), [KEY], "{cli:?} {wall:?}");
        let devices = fs::read_to_string(ws.join("net.txt")).unwrap();
        assert!(devices.lines().all(|l| l.trim_start().starts_with("lo:")), "{cli:?} {wall:?}: {devices}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_provider_is_a_failed_agent_and_never_a_hang() {
    for (cli, wall) in cases() {
        if wall == Wall::Docker {
            continue;
        }
        for failure in [Failure::Refuse, Failure::RateLimit, Failure::Garbage, Failure::Hang] {
            let mut host = host();
            host.start_daemon();
            let ws = host.tree("ws");
            let provider = Provider::start(Script::failing(failure)).await.unwrap();
            let text = agent(cli, wall, &provider.base_url(), &ws)
                + "timeout_settings:\n  idle_timeout_seconds: 8\n  round_timeout_grace_seconds: 2\n  orchestrator_timeout_seconds: 60\n";
            let ran = run(&host, "a.yaml", &text, "x");
            assert_eq!(ran.code, 1, "{cli:?} {failure:?}\n{}\n{}", ran.stdout, ran.stderr);
            let events = last_events(&host).await;
            let ended = summary(&events);
            assert!(
                matches!(ended.outcome(), Outcome::AgentFailed | Outcome::TimedOut),
                "{cli:?} {failure:?}: {:?}",
                ended.outcome()
            );
            assert!(processes_mentioning(&ws.display().to_string()).is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_refuses_connections_ends_the_run() {
    for (cli, wall) in cases() {
        if wall == Wall::Docker {
            continue;
        }
        let mut host = host();
        host.start_daemon();
        let ws = host.tree("ws");
        let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let text = agent(cli, wall, &format!("http://{dead}"), &ws)
            + "timeout_settings:\n  idle_timeout_seconds: 20\n  orchestrator_timeout_seconds: 90\n";
        let ran = run(&host, "a.yaml", &text, "x");
        assert_eq!(ran.code, 1, "{cli:?}\n{}\n{}", ran.stdout, ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_huge_event_line_and_a_huge_prompt_do_not_end_the_turn() {
    for (cli, wall) in cases() {
        if wall == Wall::Docker {
            continue;
        }
        let mut host = host();
        host.start_daemon();
        let ws = host.tree("ws");
        let mut script = Script::of([Turn::shell("echo ok > hello.txt")]);
        // Claude Code itself drops at its end what the pipe has not taken: 1 MiB is what it can hold.
        let size = if cli == Cli::Codex { 100 << 20 } else { 400 << 10 };
        script.failure = Some(Failure::Huge(size));
        script.failure_from = 1;
        let provider = Provider::start(script).await.unwrap();
        let text = agent(cli, wall, &provider.base_url(), &ws);
        let file = host.agent_file("a.yaml", &text);
        let prompt = host.path("files").join("prompt.txt");
        fs::write(&prompt, format!("{} the-end-of-the-prompt", "word ".repeat(200_000))).unwrap();
        let ran = host.finish(
            host.command("cordon")
                .args(["run", file.to_str().unwrap(), "-"])
                .stdin(fs::File::open(&prompt).unwrap())
                .env("OPENAI_API_KEY", KEY)
                .env("ANTHROPIC_API_KEY", KEY),
        );
        let _ = ran.expect_code(0);
        assert!(provider.requests().iter().any(|r| r.body.to_string().contains("the-end-of-the-prompt")));
        assert!(ws.join("hello.txt").is_file());
        let events = last_events(&host).await;
        assert!(output(&events, OutputStream::Stdout).len() > size, "the raw line is in the journal, whole");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_or_stale_login_is_refused_before_anything_starts() {
    if skipped("clis") {
        return;
    }
    let mut host = host();
    host.start_daemon();
    let ws = host.tree("ws");
    for (cli, names) in [
        (Cli::Codex, ["OPENAI_API_KEY", ".codex/auth.json"]),
        (Cli::Claude, ["ANTHROPIC_API_KEY", ".claude/.credentials.json"]),
    ] {
        // The vendor's own endpoint: nothing is asked of it, because nothing starts.
        let text = agent(cli, Wall::Local, "URL", &ws);
        let text: String =
            text.lines().filter(|l| !l.contains("base_url")).map(|l| format!("{l}\n")).collect();
        let file = host.agent_file("a.yaml", &text);
        let ran = host.cordon(["run", file.to_str().unwrap(), "x"]);
        assert_ne!(ran.code, 0);
        for name in names {
            assert!(
                ran.stderr.contains(name) || ran.stdout.contains(name),
                "{name}: {}{}",
                ran.stdout,
                ran.stderr
            );
        }
    }
    // A login whose access token is past its time: header.{"exp":1}.signature
    let auth = host.path("home").join(".codex/auth.json");
    fs::create_dir(host.path("home/.codex")).unwrap();
    fs::write(
        &auth,
        r#"{"tokens":{"access_token":"eyJhbGciOiJub25lIn0.eyJleHAiOjF9.c2ln","refresh_token":"rt-planted","id_token":"x"}}"#,
    )
    .unwrap();
    let text = agent(Cli::Codex, Wall::Local, "URL", &ws);
    let text: String = text.lines().filter(|l| !l.contains("base_url")).map(|l| format!("{l}\n")).collect();
    let file = host.agent_file("a.yaml", &text);
    let ran = host.cordon(["run", file.to_str().unwrap(), "x"]);
    assert_ne!(ran.code, 0);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(said.contains("expired") && said.contains("codex login"), "{said}");
    assert!(!said.contains("rt-planted"));
    assert!(denials(&[]).is_empty());
}
