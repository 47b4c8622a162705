//! A whole turn of each real CLI, with a shell command in it, against a model that answers at once: the
//! program bare, in plain `docker run`, and in Cordon's two walls.

use crate::report::Report;
use cordon_proto::v1::event::Kind;
use cordon_tests::{
    harness::{
        Cli, Host, KEY, More, User, Where, agent_text, claude, codex, copilot, copilot_cache, gemini,
        need_image, node,
    },
    provider::{Provider, Script, Turn},
};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const PROMPT: &str = "do it";

async fn provider(at: IpAddr) -> Provider {
    let script = Script::of([Turn::shell("echo from-the-agent > hello.txt"), Turn::text("It is done.")]);
    Provider::listen(script, (at, 0).into(), None).await.unwrap()
}

/// The engine's own end of its default network, which a plain container reaches.
fn gateway() -> IpAddr {
    let out = Command::new("docker")
        .args(["network", "inspect", "bridge", "-f", "{{(index .IPAM.Config 0).Subnet}}"])
        .output()
        .unwrap();
    let subnet = String::from_utf8_lossy(&out.stdout).into_owned();
    let (network, _) = subnet.trim().split_once('/').unwrap();
    let [a, b, c, _] = network.parse::<Ipv4Addr>().unwrap().octets();
    IpAddr::from([a, b, c, 1])
}

/// How a person would run it unattended: arguments, environment, and files of its home.
struct Recipe {
    arguments: Vec<String>,
    env: Vec<(&'static str, String)>,
    files: Vec<(&'static str, String)>,
}

fn recipe(cli: Cli, base: &str, home: &str) -> Recipe {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let model = cli.model();
    match cli {
        Cli::Codex => Recipe {
            arguments: words(&format!(
                "exec --json --skip-git-repo-check --dangerously-bypass-approvals-and-sandbox --color=never --model={model} -"
            )),
            env: vec![("CODEX_HOME", format!("{home}/.codex")), ("CODEX_API_KEY", KEY.into())],
            files: vec![(
                ".codex/config.toml",
                format!(
                    "model_provider = \"s\"\ncheck_for_update_on_startup = false\n[model_providers.s]\nname = \"s\"\nbase_url = \"{base}/v1\"\nwire_api = \"responses\"\nenv_key = \"CODEX_API_KEY\"\n[analytics]\nenabled = false\n[features]\nplugins = false\n"
                ),
            )],
        },
        Cli::ClaudeCode => Recipe {
            arguments: words(&format!(
                "-p --output-format=stream-json --verbose --dangerously-skip-permissions --model={model}"
            )),
            env: vec![
                ("ANTHROPIC_BASE_URL", base.into()),
                ("ANTHROPIC_API_KEY", KEY.into()),
                ("IS_SANDBOX", "1".into()),
                ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1".into()),
            ],
            files: Vec::new(),
        },
        Cli::GeminiCli => Recipe {
            arguments: words(&format!("--output-format=stream-json --yolo --model={model}")),
            env: vec![
                ("GEMINI_API_KEY", KEY.into()),
                ("GOOGLE_GEMINI_BASE_URL", base.into()),
                ("GEMINI_CLI_NO_RELAUNCH", "true".into()),
            ],
            files: vec![(
                ".gemini/settings.json",
                r#"{"security":{"auth":{"selectedType":"gemini-api-key"},"folderTrust":{"enabled":false}},"privacy":{"usageStatisticsEnabled":false},"telemetry":{"enabled":false}}"#.into(),
            )],
        },
        Cli::Copilot => Recipe {
            arguments: [words(&format!(
                "--output-format json --yolo --no-ask-user --model {model} -p"
            )), vec![PROMPT.to_owned()]].concat(),
            env: vec![
                ("COPILOT_PROVIDER_BASE_URL", format!("{base}/v1")),
                ("COPILOT_PROVIDER_API_KEY", KEY.into()),
                ("COPILOT_MODEL", model.into()),
                ("COPILOT_OFFLINE", "true".into()),
                ("COPILOT_AUTO_UPDATE", "false".into()),
            ],
            files: Vec::new(),
        },
    }
}

/// Runs a prepared program with the prompt on its standard input.
fn timed(command: &mut Command, prompt: &Path, ws: &Path, what: &str) -> Duration {
    let _ = fs::remove_file(ws.join("hello.txt"));
    let from = Instant::now();
    let out = command
        .stdin(fs::File::open(prompt).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let took = from.elapsed();
    let said =
        || format!("{}\n{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && ws.join("hello.txt").is_file(), "{what}: {}", said());
    took
}

fn write_home(home: &Path, files: &[(&str, String)]) {
    for (name, content) in files {
        let path = home.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

fn program(cli: Cli) -> Vec<String> {
    let path = |p: std::path::PathBuf| p.display().to_string();
    match cli {
        Cli::Codex => vec![path(codex())],
        Cli::ClaudeCode => vec![path(claude())],
        Cli::GeminiCli => vec![path(node()), path(gemini())],
        Cli::Copilot => vec![path(copilot())],
    }
}

fn bare(cli: Cli, base: &str, dir: &Path, prompt: &Path) -> Duration {
    let (home, ws) = (dir.join("home"), dir.join("ws"));
    let recipe = recipe(cli, base, &home.display().to_string());
    // A home of each time, as each run of Cordon has.
    let _ = fs::remove_dir_all(&home);
    fs::create_dir_all(&home).unwrap();
    fs::create_dir_all(&ws).unwrap();
    write_home(&home, &recipe.files);
    let argv = program(cli);
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).args(recipe.arguments).current_dir(&ws).env_clear();
    command.env("PATH", "/usr/bin:/bin").env("HOME", &home).envs(recipe.env);
    command.env("COPILOT_PKG_CACHE_HOME", copilot_cache());
    timed(&mut command, prompt, &ws, "bare")
}

/// A network for one container, as every sandbox of Cordon has: what is shared reaches others.
const NETWORK: &str = "cordon-bench-own";

fn engine(arguments: &[&str]) {
    let out = Command::new("docker").args(arguments).output().unwrap();
    assert!(out.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
}

fn docker_with_network(cli: Cli, base: &str, dir: &Path, prompt: &Path) -> Duration {
    let from = Instant::now();
    engine(&["network", "create", NETWORK]);
    let made = from.elapsed();
    let ran = plain_docker(cli, base, dir, prompt, NETWORK);
    let from = Instant::now();
    engine(&["network", "rm", NETWORK]);
    made + ran + from.elapsed()
}

fn plain_docker(cli: Cli, base: &str, dir: &Path, prompt: &Path, network: &str) -> Duration {
    let ws = dir.join("docker-ws");
    fs::create_dir_all(&ws).unwrap();
    std::os::unix::fs::chown(&ws, Some(65_534), Some(65_534)).unwrap();
    let home = "/home/agent";
    let recipe = recipe(cli, base, home);
    let seeds = dir.join("seeds").join(cli.program());
    write_home(&seeds, &recipe.files);
    let mut command = Command::new("docker");
    command.args([
        "run",
        "--rm",
        "-i",
        "--init",
        "--network",
        network,
        "--user",
        "65534:65534",
        "--cap-drop",
        "ALL",
    ]);
    command.args(["--security-opt", "no-new-privileges", "--read-only", "--log-driver", "none"]);
    command.args(["--memory", "4g", "--cpus", "2", "--pids-limit", "1024", "--tmpfs", "/tmp:exec"]);
    command.args(["--tmpfs", "/home/agent:exec,uid=65534,gid=65534", "--env", "HOME=/home/agent"]);
    for (name, _) in &recipe.files {
        command.arg("--volume").arg(format!("{}:{home}/{name}", seeds.join(name).display()));
    }
    if let Some((name, _)) = recipe.files.first() {
        // What the engine makes on the way to a seed is root's: the directory must be the agent's.
        let parent = Path::new(name).parent().unwrap().display().to_string();
        command.arg("--tmpfs").arg(format!("{home}/{parent}:exec,uid=65534,gid=65534"));
    }
    command.arg("--volume").arg(format!("{0}:{0}", ws.display())).arg("--workdir").arg(&ws);
    for (name, value) in recipe.env {
        command.arg("--env").arg(format!("{name}={value}"));
    }
    command.arg(cli.image()).arg(cli.program()).args(recipe.arguments);
    timed(&mut command, prompt, &ws, "docker run")
}

/// The whole of `cordon run`, and of it the turn alone.
async fn cordon(host: &Host, cli: Cli, at: Where, base: &str, round: usize) -> (Duration, Duration) {
    let ws = host.tree(&format!("ws-{}-{at}", cli.program()));
    let _ = fs::remove_file(ws.join("hello.txt"));
    let name = format!("{}-{at}-{round}.yaml", cli.program());
    let file = host.agent_file(&name, &agent_text(cli, at, base, &ws, More::default()));
    let mut client = host.command("cordon");
    client.args(["run", file.to_str().unwrap(), PROMPT]).env("PLANTED_KEY", KEY);
    let from = Instant::now();
    let ran = host.finish(&mut client).expect_code(0);
    let took = from.elapsed();
    assert!(ws.join("hello.txt").is_file(), "{}", ran.stdout);
    let mut api = host.api().await;
    let run = api.list().await.into_iter().max_by_key(|r| r.started_unix_ms).unwrap();
    let turn = api.events(&run.id, false).await.into_iter().find_map(|e| match e.kind {
        Some(Kind::TurnEnded(turn)) => Some(Duration::from_millis(turn.wall_ms)),
        _ => None,
    });
    (took, turn.expect("a turn"))
}

/// Every CLI, everything in the same rounds.
pub(crate) async fn all(report: &mut Report, rounds: usize) {
    for cli in Cli::ALL {
        need_image(cli.image());
    }
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let prompt = dir.path().join("prompt");
    fs::write(&prompt, PROMPT).unwrap();
    let mut host = Host::with_clis(User::Tester);
    host.start_daemon();
    let near = provider(Ipv4Addr::LOCALHOST.into()).await;
    let across = provider(gateway()).await;
    // The first of each reads its program from the disk.
    for round in 0..=rounds {
        for cli in Cli::ALL {
            let row = format!("turn of {cli}");
            let mut add = |case: &str, took: Duration| {
                if round > 0 {
                    report.time(&row, case, took);
                }
            };
            add("bare", bare(cli, &near.base_url(), dir.path(), &prompt));
            let (whole, turn) = cordon(&host, cli, Where::Local, &near.base_url(), round).await;
            add("cordon, local, the sandbox being there", turn);
            add("cordon run, local, from nothing", whole);
            add(
                "docker run, same image and options",
                plain_docker(cli, &across.base_url(), dir.path(), &prompt, "bridge"),
            );
            add(
                "docker run, and a network of its own",
                docker_with_network(cli, &across.base_url(), dir.path(), &prompt),
            );
            let (whole, turn) = cordon(&host, cli, Where::Docker, &near.base_url(), round).await;
            add("cordon, docker, the container being there", turn);
            add("cordon run, docker, from nothing", whole);
        }
    }
}
