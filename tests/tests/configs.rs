//! Every example agent file is valid as it stands, and runs: as it stands but for the model's address
//! and key, which are the scripted provider's.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::Outcome;
use cordon_tests::{
    harness::{Cli, Host, Index, KEY, Ran, User, messages, need_image, skipped, summary},
    provider::{Provider, Script, Turn, When},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Installs packages when it runs: it has a test of its own.
const INSTALLS: &str = "codex_packages.yaml";
/// Runs in `make quickstart`, with trees made for it.
const QUICKSTART: &str = "quickstart.yaml";
/// Served to an MCP client, in the tests of that.
const SERVED: &str = "mcp.yaml";
/// Needs a Python package: the tests of that backend run it.
const AG2: &str = "ag2.yaml";
/// Of a model API: it runs with those.
const IMAGES: &str = "images.yaml";

/// A copy of the examples, the agent's user's, beside each other as they are.
fn examples(host: &Host) -> Vec<PathBuf> {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    let to = host.path("files/configs");
    let copied = Command::new("cp").arg("-r").arg(&from).arg(&to).status().unwrap();
    assert!(copied.success());
    if rustix::process::geteuid().is_root() {
        let owner = format!("{0}:{0}", host.agent_uid());
        assert!(Command::new("chown").args(["-R", &owner]).arg(&to).status().unwrap().success());
    }
    let mut found: Vec<PathBuf> = [to.clone(), to.join("seed"), to.join("seed/api")]
        .iter()
        .flat_map(|dir| fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()))
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    found.sort();
    found
}

fn of_model_api(file: &Path) -> bool {
    file.ends_with(IMAGES) || file.parent().is_some_and(|dir| dir.ends_with("seed/api"))
}

/// The client, with a login for everybody.
fn client(host: &Host, args: &[&str]) -> Ran {
    let mut command = host.command("cordon");
    for name in ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GH_TOKEN", "AZURE_OPENAI_API_KEY"]
    {
        command.env(name, KEY);
    }
    for name in ["NPM_TOKEN", "GITHUB_TOKEN"] {
        command.env(name, "planted-token-9876543210");
    }
    for name in ["WORKSPACE", "HANDBOOK", "OUTSIDE"] {
        command.env(format!("CORDON_QUICKSTART_{name}"), host.path("files/configs/project"));
    }
    host.finish(command.args(args))
}

fn cli_of(text: &str) -> Option<Cli> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("type: "))?;
    let word = line.split('#').next()?.trim().trim_matches('"');
    Cli::ALL.into_iter().find(|cli| cli.backend() == word.replace('-', "_"))
}

/// The file with the model's address and key in it, and nothing else changed.
fn pointed(text: &str, cli: Cli, address: &str) -> String {
    let mut out = String::new();
    let azure = text.contains("azure_endpoint:");
    for line in text.lines() {
        let indent = &line[..line.len() - line.trim_start().len()];
        match line.trim().split(':').next() {
            Some("base_url" | "api_key") => continue,
            Some("azure_endpoint") => out += &format!("{indent}azure_endpoint: {address}\n"),
            _ => out += &format!("{line}\n"),
        }
        if line.trim().starts_with("type: ") && Some(cli) == cli_of(line) {
            out += &format!("{indent}api_key: ${{OPENAI_API_KEY}}\n");
            if !azure {
                out += &format!("{indent}base_url: {address}{}\n", cli.suffix());
            }
        }
    }
    out
}

#[test]
fn every_example_is_valid_as_it_stands() {
    let mut host = Host::with_clis(User::Tester);
    host.start_daemon();
    let found = examples(&host);
    assert!(found.len() > 20, "{found:?}");
    for file in found {
        let _ = client(&host, &["validate", file.to_str().unwrap()]).expect_code(0);
    }
}

fn script(workspace: &Path) -> Script {
    let mut script = Script::of([
        Turn::shell("echo it-works > note.txt; ls /opt/handbook; env | cut -d= -f1"),
        Turn::text("Noted."),
    ]);
    // With `acceptEdits` nobody is there to allow a command.
    script.when.push(When {
        contains: "edit it".into(),
        turns: vec![Turn::write(workspace.join("note.txt").display().to_string(), "it-works\n")],
    });
    script.when.push(When {
        contains: "use your server".into(),
        turns: vec![
            Turn::mcp("notes", "add", serde_json::json!({"text": "from-the-model"})),
            Turn::text("Noted."),
        ],
    });
    script
}

async fn run_all(wanted: impl Fn(&str) -> bool) {
    let mut host = Host::with_clis(User::Tester);
    host.start_daemon();
    let edited = host.path("state/workspaces/0/claude_workspace");
    let provider = Provider::start(script(&edited)).await.unwrap();
    for file in examples(&host) {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        if of_model_api(&file)
            || [INSTALLS, QUICKSTART, SERVED, AG2].contains(&name.as_str())
            || !wanted(&text)
        {
            continue;
        }
        let cli = cli_of(&text);
        if let Some(cli) = cli {
            if text.contains("docker") {
                need_image(cli.image());
            }
            host.put(&file, pointed(&text, cli, &provider.base_url()));
        }
        let task = match &text {
            text if text.contains("name: \"notes\"") => "use your server",
            text if text.contains("acceptEdits") => "edit it",
            _ => "note it",
        };
        let ran = client(&host, &["run", file.to_str().unwrap(), task]).expect_code(0);
        let mut api = host.api().await;
        let run = api.list().await.into_iter().max_by_key(|r| r.started_unix_ms).unwrap();
        let events = api.events(&run.id, false).await;
        assert_eq!(summary(&events).outcome(), Outcome::Success, "{name}: {}", ran.stdout);
        if cli.is_none() {
            continue;
        }
        let workspace = Path::new(&run.agents[0].workspace);
        if task == "use your server" {
            let notes = fs::read_to_string(workspace.join("notes.txt")).unwrap_or_default();
            assert_eq!(notes, "from-the-model\n", "{name}: {events:?}");
        } else {
            let note = fs::read_to_string(workspace.join("note.txt")).unwrap_or_default();
            assert_eq!(note, "it-works\n", "{name}: {}", ran.stdout);
        }
        if text.contains("/opt/handbook") {
            let told = format!("{events:?}");
            assert!(told.contains("guide.md"), "{name}: a mount is missing: {told}");
            assert!(told.contains("NPM_TOKEN"), "{name}: a variable is missing: {told}");
        }
    }
}

/// The file of a model API with the provider's address in it. Which server is an `inference`'s is
/// asked of it, and only `OpenRouter`'s own host has its searches: both are named by type instead.
fn pointed_api(text: &str, provider: &Provider) -> String {
    let address = provider.base_url();
    let text = text
        .replace("type: inference", "type: sglang")
        .replace("type: chatcompletion", "type: openrouter")
        .replace("port: 1234", &format!("port: {}", provider.addr.port()))
        .replace("https://resource.openai.azure.com", &address);
    let mut out = String::new();
    let placed = ["azure_endpoint:", "port:"].iter().any(|key| text.contains(key));
    let end = match text.lines().find_map(|line| line.trim().strip_prefix("type: ")) {
        Some("claude") => "",
        Some("gemini") => "/v1beta",
        _ => "/v1",
    };
    for line in text.lines().filter(|line| !line.trim().starts_with("base_url:")) {
        out += &format!("{line}\n");
        if line.trim().starts_with("type: ") {
            out += "      api_key: ${OPENAI_API_KEY}\n";
            if !placed {
                out += &format!("      base_url: {address}{end}\n");
            }
        }
    }
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_example_of_a_model_api_runs() {
    let mut host = Host::with_clis(User::Tester);
    host.start_daemon();
    let provider = Provider::start(script(Path::new("/nowhere"))).await.unwrap();
    let files: Vec<PathBuf> = examples(&host).into_iter().filter(|file| of_model_api(file)).collect();
    assert!(files.len() >= 10, "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        host.put(&file, pointed_api(&text, &provider));
        let ran = client(&host, &["run", file.to_str().unwrap(), "note it"]);
        assert_eq!(ran.code, 0, "{}: {}\n{}", file.display(), ran.stdout, ran.stderr);
        let run = host.api().await.list().await.into_iter().max_by_key(|r| r.started_unix_ms).unwrap();
        let note =
            fs::read_to_string(Path::new(&run.agents[0].workspace).join("note.txt")).unwrap_or_default();
        assert_eq!(note, "it-works\n", "{}: {}", file.display(), ran.stdout);
    }
}

fn in_docker(text: &str) -> bool {
    text.replace('"', "").contains("execution_mode: docker")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_example_for_the_local_wall_runs() {
    let clis = !skipped("clis");
    run_all(|text| !in_docker(text) && (clis || cli_of(text).is_none())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_example_for_the_docker_wall_runs() {
    if skipped("docker") || skipped("clis") {
        return;
    }
    run_all(in_docker).await;
}

/// Its packages are in indexes that the image has of its own: the real apt and pip install from them, and
/// what stands in for npm tells what it was asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_that_installs_packages_finds_them_all() {
    if skipped("docker") || skipped("clis") {
        return;
    }
    const IMAGE: &str = "cordon-test/codex-packages:latest";
    let mut index = Index::new();
    index.deb("tree", "/usr/bin/tree", "#!/bin/sh\necho the-tree\n");
    index.deb("npm", "/usr/bin/npm", "#!/bin/sh\nmkdir -p /opt/said\nprintf '<%s>' \"$@\" > /opt/said/npm\n");
    index.pip();
    // The newest is not what a lower bound alone would take.
    index.wheel("requests", "2.30.0", "TOLD = 'too-old'\n");
    index.wheel("requests", "2.32.1", "TOLD = 'the-requests'\n");
    index.build(Cli::Codex.image(), IMAGE);

    let mut host = Host::with_clis(User::Tester);
    host.start_daemon();
    let command = "tree > note.txt; python3 -c 'import requests; print(requests.TOLD)' >> note.txt; cat /opt/said/npm >> note.txt";
    let provider = Provider::start(Script::of([Turn::shell(command), Turn::text("Noted.")])).await.unwrap();
    let file = host.path("files/configs/seed").join(INSTALLS);
    assert!(examples(&host).contains(&file));
    let text = pointed(&fs::read_to_string(&file).unwrap(), Cli::Codex, &provider.base_url());
    let key = "      command_line_docker_packages:";
    assert!(text.contains(key), "{text}");
    host.put(&file, text.replace(key, &format!("      command_line_docker_image: {IMAGE}\n{key}")));
    let ran = client(&host, &["run", file.to_str().unwrap(), "note it"]).expect_code(0);
    let mut api = host.api().await;
    let run = api.only_run().await;
    let events = api.events(&run.id, false).await;
    assert!(messages(&events).iter().any(|m| m == "Noted."), "{}", ran.stdout);
    let note = fs::read_to_string(Path::new(&run.agents[0].workspace).join("note.txt")).unwrap();
    let npm = "<install><--global><--no-audit><--no-fund><--><@types/node>";
    assert_eq!(note, format!("the-tree\nthe-requests\n{npm}"));
    let again = client(&host, &["run", file.to_str().unwrap(), "note it"]).expect_code(0);
    assert!(!again.stdout.contains("building image"), "{}", again.stdout);
}
