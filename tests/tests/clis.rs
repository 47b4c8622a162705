//! The four real CLIs where the matrix does not look: with the proxy as the only way out, and with more
//! text than anybody writes.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::OutputStream;
use cordon_tests::{
    harness::{Cli, Host, KEY, More, Ran, User, Where, agent_text, need_image, output, skipped},
    provider::{Failure, Provider, Script, Turn},
};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    process::{Command, Stdio},
};

fn host() -> Host {
    let mut host = Host::with_clis(User::Tester);
    host.start_daemon();
    host
}

fn run(host: &Host, text: &str, task: &str, input: Stdio) -> Ran {
    let file = host.agent_file("a.yaml", text);
    let mut client = host.command("cordon");
    host.finish(client.args(["run", file.to_str().unwrap(), task]).stdin(input).env("PLANTED_KEY", KEY))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_works_through_the_proxy_alone() {
    if skipped("clis") || skipped("docker") {
        return;
    }
    // An address of this machine that is no loopback: inside it is reached by the proxy or not at all.
    let found = Command::new("docker")
        .args(["network", "inspect", "bridge", "-f", "{{(index .IPAM.Config 0).Subnet}}"])
        .output()
        .unwrap();
    let subnet = String::from_utf8_lossy(&found.stdout).into_owned();
    let (network, _) = subnet.trim().split_once('/').unwrap();
    let [a, b, c, _] = network.parse::<Ipv4Addr>().unwrap().octets();
    // The engine's own end of a network is its first address.
    let gateway = IpAddr::from([a, b, c, 1]);
    for (cli, at) in Cli::ALL.into_iter().flat_map(|cli| [(cli, Where::Local), (cli, Where::Docker)]) {
        if at == Where::Docker {
            need_image(cli.image());
        }
        let host = host();
        let ws = host.tree("ws");
        let turns = [Turn::shell("cat /proc/net/dev | tail -n +3 > net.txt"), Turn::text("It is done.")];
        let provider = Provider::listen(Script::of(turns), (gateway, 0).into(), None).await.unwrap();
        let more = More { backend: "      egress:\n        allow: []\n", file: "" };
        let text = agent_text(cli, at, &provider.base_url(), &ws, more);
        let _ = run(&host, &text, "please do it", Stdio::null()).expect_code(0);
        assert_eq!(provider.keys(), [KEY], "{cli} {at}");
        let devices = fs::read_to_string(ws.join("net.txt")).unwrap();
        assert!(devices.lines().all(|l| l.trim_start().starts_with("lo:")), "{cli} {at}: {devices}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_huge_event_line_and_a_huge_prompt_do_not_end_the_turn() {
    if skipped("clis") {
        return;
    }
    for cli in [Cli::Codex, Cli::ClaudeCode] {
        let host = host();
        let ws = host.tree("ws");
        let mut script = Script::of([Turn::shell("echo ok > hello.txt")]);
        // Claude Code itself drops at its end what the pipe has not taken: 1 MiB is what it can hold.
        let size = if cli == Cli::Codex { 100 << 20 } else { 400 << 10 };
        script.failure = Some(Failure::Huge(size));
        script.failure_from = 1;
        let provider = Provider::start(script).await.unwrap();
        let prompt = host.path("files").join("prompt.txt");
        fs::write(&prompt, format!("{} the-end-of-the-prompt", "word ".repeat(200_000))).unwrap();
        let text = agent_text(cli, Where::Local, &provider.base_url(), &ws, More::default());
        let _ = run(&host, &text, "-", fs::File::open(&prompt).unwrap().into()).expect_code(0);
        assert!(provider.requests().iter().any(|r| r.body.to_string().contains("the-end-of-the-prompt")));
        assert!(ws.join("hello.txt").is_file());
        let mut api = host.api().await;
        let run = api.only_run().await;
        let events = api.events(&run.id, false).await;
        assert!(output(&events, OutputStream::Stdout).len() > size, "the raw line is in the journal, whole");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_named_by_its_path_runs_though_it_is_on_no_search_path() {
    if skipped("clis") {
        return;
    }
    for cli in Cli::ALL {
        let host = host();
        let ws = host.tree("ws");
        let link = host.path("programs").join(cli.program());
        let program = fs::canonicalize(&link).unwrap();
        fs::remove_file(&link).unwrap();
        let turns = [Turn::shell("echo from-the-agent > hello.txt"), Turn::text("It is done.")];
        let provider = Provider::start(Script::of(turns)).await.unwrap();
        let named = |path: &str| {
            let more = format!("      cli_path: {path}\n");
            let more = More { backend: &more, file: "" };
            agent_text(cli, Where::Local, &provider.base_url(), &ws, more)
        };
        let ran = run(&host, &named("/nowhere/program"), "x", Stdio::null());
        assert!(ran.code != 0 && ran.stderr.contains("/nowhere/program"), "{cli}: {}", ran.stderr);
        let _ = run(&host, &named(program.to_str().unwrap()), "x", Stdio::null()).expect_code(0);
        assert_eq!(fs::read_to_string(ws.join("hello.txt")).unwrap(), "from-the-agent\n", "{cli}");
    }
}
