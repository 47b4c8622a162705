//! MCP servers of the agent file in the hands of the real CLIs: what is offered, called and told, in
//! both walls, against the scripted provider.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::{Event, ToolCallEvent, event::Kind};
use cordon_tests::{
    harness::{Cli, Host, KEY, More, Ran, User, Where, agent_text, has_runtime, need_image, skipped},
    provider::{Provider, Script, Turn},
};
use serde_json::json;
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
};

/// Codex once with a model that it drives through JavaScript, and once with one that it does not know.
const EVERY: [(Cli, Where); 4] = [
    (Cli::Codex, Where::Local),
    (Cli::ClaudeCode, Where::Local),
    (Cli::Codex, Where::Docker),
    (Cli::ClaudeCode, Where::Docker),
];

fn cases() -> Vec<(Cli, Where)> {
    let can = |(_, place): &(Cli, Where)| !(skipped("clis") || *place == Where::Docker && skipped("docker"));
    let cases: Vec<_> = EVERY.into_iter().filter(can).collect();
    for (cli, _) in cases.iter().filter(|(_, place)| *place == Where::Docker) {
        need_image(cli.image());
    }
    cases
}

struct Done {
    ran: Ran,
    events: Vec<Event>,
}

impl Done {
    fn calls(&self) -> Vec<ToolCallEvent> {
        let ended = self.events.iter().filter_map(|e| match &e.kind {
            Some(Kind::ToolCall(call)) if call.status != "started" => Some(call.clone()),
            _ => None,
        });
        ended.collect()
    }

    fn warnings(&self) -> String {
        let told = self.events.iter().filter_map(|e| match &e.kind {
            Some(Kind::Warning(w)) => Some(format!("{}: {}\n", w.reason, w.message)),
            _ => None,
        });
        told.collect()
    }
}

/// Runs an agent with these lines in its backend to the end.
async fn run(host: &Host, cli: Cli, place: Where, provider: &Provider, ws: &Path, lines: &str) -> Done {
    let text = agent_text(cli, place, &provider.base_url(), ws, More { backend: lines, file: "" });
    let file = host.agent_file("a.yaml", &text);
    let mut command = host.command("cordon");
    command.args(["run", file.to_str().unwrap(), "use your tools"]).env("PLANTED_KEY", KEY);
    command.env("SERVER_KEY", "value-of-the-server-key");
    let ran = host.finish(&mut command);
    let mut api = host.api().await;
    let mut runs = api.list().await;
    runs.sort_by_key(|r| r.started_unix_ms);
    let events = api.events(&runs.pop().unwrap().id, false).await;
    Done { ran, events }
}

/// Three tools; the last word of an answer is the server's variable.
const STDIO: &str = r#"      mcp_servers:
        clock:
          command: [bash, -c]
          args:
            - |
              echo "$PWD" > server-started.txt
              while IFS= read -r line; do
                id=$(sed -n 's/.*"id":\([0-9]*\).*/\1/p' <<< "$line")
                case $line in
                  *'"initialize"'*) result='{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"clock","version":"1"}}' ;;
                  *'"tools/list"'*) result='{"tools":[{"name":"now","description":"What time it is.","inputSchema":{"type":"object","properties":{"zone":{"type":"string"}}}},{"name":"alarm","description":"Rings.","inputSchema":{"type":"object"}},{"name":"hidden","description":"Not-offered.","inputSchema":{"type":"object"}}]}' ;;
                  *'"tools/call"'*'"alarm"'*) echo rung > rung.txt; result='{"content":[{"type":"text","text":"it rang"}]}' ;;
                  *'"tools/call"'*) result='{"content":[{"type":"text","text":"it is tick-47'$((10+1))' for '$(id -u)' '$SERVER_KEY'"}]}' ;;
                  *) continue ;;
                esac
                printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$result"
              done
          cwd: sub
          env: {SERVER_KEY: "${SERVER_KEY}"}
          timeout: 20
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_inside_serves_and_its_filters_hold() {
    for (cli, place) in cases() {
        let mut host = Host::with_clis(User::Tester);
        host.start_daemon();
        let ws = host.tree("ws");
        let sub = host.tree("ws/sub");
        let provider = Provider::start(Script::of([
            Turn::mcp("clock", "now", json!({"zone": "UTC"})),
            Turn::mcp("clock", "alarm", json!({})),
            Turn::text("It was told the time."),
        ]))
        .await
        .unwrap();
        let lines = format!(
            "{STDIO}          exclude_tools: [hidden]\n      allowed_tools: [mcp__clock__now, hidden]\n"
        );
        let done = run(&host, cli, place, &provider, &ws, &lines).await;
        let label = format!("{cli} {place}\n{}\n{}", done.ran.stdout, done.ran.stderr);
        assert_eq!(done.ran.code, 0, "{label}");
        let calls = done.calls();
        let now =
            calls.iter().find(|c| c.name.contains("now")).unwrap_or_else(|| panic!("{label}\n{calls:?}"));
        assert_eq!(now.status, "completed", "{label}\n{now:?}");
        assert!(now.result.contains(&format!("tick-4711 for {}", host.agent_uid())), "{label}\n{now:?}");
        let told = provider.requests().iter().map(|r| r.body.to_string()).collect::<String>();
        assert!(told.contains("tick-4711"), "{label}: the model was not told");
        assert!(!told.contains("Not-offered."), "{label}: an excluded tool is offered");
        // Whether or not the program lists the tool: it is not called.
        assert!(!sub.join("rung.txt").try_exists().unwrap(), "{label}: a tool ran that is not allowed");
        let started = fs::read_to_string(sub.join("server-started.txt")).unwrap();
        assert_eq!(started.trim(), sub.display().to_string(), "{label}");
        // The server's key is in nobody's sight but the server's.
        let seen = format!("{:?}{}{}", done.events, done.ran.stdout, done.ran.stderr);
        assert!(!seen.contains("value-of-the-server-key"), "{label}");
        assert!(!done.warnings().contains("mcp-"), "{label}\n{}", done.warnings());
    }
}

/// A server over HTTP on this machine's loopback, which keeps what it is asked.
fn web_server() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let kept = kept.clone();
            std::thread::spawn(move || while answer(&stream, &kept).is_some() {});
        }
    });
    (port, seen)
}

fn answer(stream: &TcpStream, kept: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = n.trim().parse().ok()?;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8_lossy(&body).into_owned();
    kept.lock().unwrap().push(format!("{head}\n{body}"));
    let asked: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
    let result = match asked["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": asked["params"]["protocolVersion"], "capabilities": {"tools": {}},
            "serverInfo": {"name": "web", "version": "1"},
        }),
        Some("tools/list") => json!({"tools": [
            {"name": "weather", "description": "What the sky does.", "inputSchema": {"type": "object", "properties": {}}},
        ]}),
        Some("tools/call") => json!({"content": [{"type": "text", "text": "it rains over-http"}]}),
        _ => json!({}),
    };
    let answer = match (head.starts_with("POST"), asked["id"].is_null()) {
        (false, _) => "HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n".to_owned(),
        (true, true) => "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned(),
        (true, false) => {
            let text = json!({"jsonrpc": "2.0", "id": asked["id"], "result": result}).to_string();
            format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
                text.len()
            )
        }
    };
    let mut stream = stream;
    stream.write_all(answer.as_bytes()).ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_reached_with_its_header_and_nothing_else_is() {
    for (cli, place) in cases() {
        let mut host = Host::with_clis(User::Tester);
        host.start_daemon();
        let ws = host.tree("ws");
        let (port, seen) = web_server();
        let provider =
            Provider::start(Script::of([Turn::mcp("web", "weather", json!({})), Turn::text("Wet.")]))
                .await
                .unwrap();
        let lines = format!(
            "      mcp_servers:\n        - name: web\n          type: streamable-http\n          \
             url: http://127.0.0.1:{port}/mcp\n          headers: {{X-Server-Key: '${{SERVER_KEY}}'}}\n          \
             security: {{allow_localhost: true}}\n"
        );
        let done = run(&host, cli, place, &provider, &ws, &lines).await;
        let label = format!("{cli} {place}\n{}\n{}", done.ran.stdout, done.ran.stderr);
        assert_eq!(done.ran.code, 0, "{label}");
        let seen = seen.lock().unwrap().clone();
        let call =
            seen.iter().find(|s| s.contains("tools/call")).unwrap_or_else(|| panic!("{label}\n{seen:?}"));
        assert!(
            call.to_ascii_lowercase().contains("x-server-key: value-of-the-server-key"),
            "{label}\n{call}"
        );
        let told = provider.requests().iter().map(|r| r.body.to_string()).collect::<String>();
        assert!(told.contains("over-http"), "{label}: the model was not told");
        assert!(done.calls().iter().any(|c| c.result.contains("over-http")), "{label}\n{:?}", done.calls());
        assert!(!format!("{:?}", done.events).contains("value-of-the-server-key"), "{label}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guests_own_tools_are_a_server_too() {
    for (cli, place) in cases() {
        let mut host = Host::with_clis(User::Tester);
        host.start_daemon();
        let ws = host.tree("ws");
        let path = ws.join("by-cordon.txt").display().to_string();
        let provider = Provider::start(Script::of([
            Turn::mcp("cordon", "write_file", json!({"path": path, "content": "by the guest\n"})),
            Turn::mcp("cordon", "execute_command", json!({"command": "rm -rf nothing"})),
            Turn::text("Written."),
        ]))
        .await
        .unwrap();
        let lines = "      enable_mcp_command_line: true\n      command_line_blocked_commands: ['rm']\n";
        let done = run(&host, cli, place, &provider, &ws, lines).await;
        let label = format!("{cli} {place}\n{}\n{}\n{:?}", done.ran.stdout, done.ran.stderr, done.calls());
        assert_eq!(done.ran.code, 0, "{label}");
        assert_eq!(fs::read_to_string(ws.join("by-cordon.txt")).unwrap(), "by the guest\n", "{label}");
        let calls = done.calls();
        assert!(calls.iter().any(|c| c.name.contains("write_file") && c.status == "completed"), "{label}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_start_is_told_and_hangs_nothing() {
    for (cli, place) in cases() {
        let mut host = Host::with_clis(User::Tester);
        host.start_daemon();
        let ws = host.tree("ws");
        let provider = Provider::start(Script::of([Turn::text("Without it.")])).await.unwrap();
        let lines = "      timeout: 90\n      mcp_servers:\n        broken: {command: [/bin/sh, -c, 'echo no >&2; exit 3'], timeout: 3}\n        \
                     mute: {command: [sleep, '600'], timeout: 2}\n";
        let done = run(&host, cli, place, &provider, &ws, lines).await;
        let label = format!("{cli} {place}\n{}\n{}", done.ran.stdout, done.ran.stderr);
        assert_eq!(done.ran.code, 0, "{label}");
        assert!(done.ran.stdout.contains("Without it."), "{label}");
        let warnings = done.warnings();
        assert!(warnings.contains("broken"), "{label}\n{warnings}");
        // Neither program waits for the one that says nothing, and a short turn does not tell of it.
    }
}

/// Where the kernel inside lacks what the tools need, no agent begins that is offered them; where it
/// does not, they work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_gvisor_the_guests_own_tools_work_or_nothing_begins() {
    if skipped("clis") || skipped("docker") || !has_runtime("runsc") {
        return;
    }
    need_image(Cli::ClaudeCode.image());
    let mut host = Host::with_clis(User::Tester);
    host.start_daemon();
    let ws = host.tree("ws");
    let call = Turn::mcp("cordon", "list_directory", json!({ "path": ws.display().to_string() }));
    let provider = Provider::start(Script::of([call, Turn::text("It is done.")])).await.unwrap();
    let lines = "      enable_mcp_command_line: true\n";
    let done = run(&host, Cli::ClaudeCode, Where::Gvisor, &provider, &ws, lines).await;
    let said = format!("{}{}", done.ran.stdout, done.ran.stderr);
    if done.ran.code == 0 {
        assert!(done.calls().iter().any(|c| c.status == "completed"), "{said}");
        return;
    }
    for words in ["enable_mcp_command_line", "runsc", "openat2", "newer gVisor"] {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
    assert!(!said.contains("turn 1 ("), "it began: {said}");
    assert!(provider.requests().is_empty(), "the model was asked");
}
