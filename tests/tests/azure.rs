//! The two CLIs that reach Azure's deployments, against the scripted provider: path, query and header are Azure's.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::Outcome;
use cordon_tests::{
    harness::{Cli, Host, KEY, User, Where, need_image, processes_mentioning, skipped, summary},
    provider::{Provider, Script, Turn},
};
use std::fs;

const VERSION: &str = "2025-04-01-preview";

/// A program, its place, and whether the agent file names a version of the API.
const CASES: &[(Cli, Where, bool)] = &[
    (Cli::Codex, Where::Local, true),
    (Cli::Codex, Where::Local, false),
    (Cli::Codex, Where::Docker, true),
    (Cli::Copilot, Where::Local, true),
    (Cli::Copilot, Where::Local, false),
    (Cli::Copilot, Where::Docker, true),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_is_asked_as_azure_wants_it() {
    if skipped("clis") {
        return;
    }
    let mut host = Host::with_clis(User::Tester);
    host.start_daemon();
    for (at, (cli, place, has_version)) in CASES.iter().enumerate() {
        if *place == Where::Docker {
            if skipped("docker") {
                continue;
            }
            need_image(cli.image());
        }
        let label = format!("{cli} {place} {has_version}");
        let ws = host.tree(&format!("ws{at}"));
        let turns = [Turn::shell("env > seen.txt; echo it-works > note.txt"), Turn::text("Noted.")];
        let provider = Provider::start(Script::of(turns)).await.unwrap();
        let deployment = match cli {
            Cli::Codex => "azure_deployment: our-deployment",
            _ => "deployment_name: our-deployment\n      model: gpt-5-mini",
        };
        let version = if *has_version { format!("      api_version: {VERSION}\n") } else { String::new() };
        let text = format!(
            "agents:\n  - id: coder\n    backend:\n      type: {}\n      provider: azure\n      azure_endpoint: {}\n      \
             {deployment}\n{version}      api_key: ${{AZURE_OPENAI_API_KEY}}\n      cwd: {}\n{}",
            cli.backend(),
            provider.base_url(),
            ws.display(),
            place.keys(),
        );
        let file = host.agent_file("a.yaml", &text);
        let mut command = host.command("cordon");
        command.args(["run", file.to_str().unwrap(), "note it"]).env("AZURE_OPENAI_API_KEY", KEY);
        let ran = host.finish(&mut command);
        let mut api = host.api().await;
        let run = api.list().await.into_iter().max_by_key(|r| r.started_unix_ms).unwrap();
        let events = api.events(&run.id, true).await;
        let asked = provider.requests();
        let paths: Vec<_> = asked.iter().map(|r| (&r.method, &r.path)).collect();
        assert_eq!(
            summary(&events).outcome(),
            Outcome::Success,
            "{label} {paths:?} {}{}",
            ran.stdout,
            ran.stderr
        );
        assert_eq!(fs::read_to_string(ws.join("note.txt")).unwrap(), "it-works\n", "{label}");
        assert!(asked.len() >= 2, "{label} {paths:?}");
        for request in &asked {
            let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
            assert!(path.starts_with("/openai/"), "{label} {paths:?}");
            if *has_version {
                assert_eq!(query, format!("api-version={VERSION}"), "{label} {paths:?}");
            } else {
                assert!(path.starts_with("/openai/v1/"), "{label} {paths:?}");
            }
            assert_eq!(request.header("api-key"), Some(KEY), "{label} {:?}", request.headers);
            assert_eq!(request.header("authorization"), None, "{label} {:?}", request.headers);
            let named =
                path.contains("/deployments/our-deployment/") || request.body["model"] == "our-deployment";
            assert!(named || request.method == "GET", "{label} {path} {}", request.body["model"]);
        }
        assert_eq!(provider.keys(), [KEY], "{label}");
        let seen = fs::read_to_string(ws.join("seen.txt")).unwrap();
        assert!(!seen.contains(KEY), "{label}: the shell has the key");
        assert!(!format!("{}{}{events:?}", ran.stdout, ran.stderr).contains(KEY), "{label}");
        assert!(processes_mentioning(KEY).is_empty(), "{label}");
    }
}
