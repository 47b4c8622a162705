//! `cordon mcp`: the real daemon, a real sandbox, and a client that speaks MCP on its standard
//! input and output.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::{Event, Outcome, RunState, event::Kind};
use cordon_tests::harness::{Host, denials, need_docker, need_image, skipped, wait_until};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Stdio},
    time::Duration,
};

const WAIT: Duration = Duration::from_secs(60);

struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    next: u64,
}

impl Client {
    /// Starts `cordon mcp` and shakes hands.
    fn connect(host: &Host, args: &[&str]) -> Self {
        let mut client = Self::spawn(host, args);
        let hello = json!({
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        });
        let info = client.request("initialize", &hello);
        assert_eq!(info["result"]["serverInfo"]["name"], "cordon", "{info}");
        client.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        client
    }

    fn spawn(host: &Host, args: &[&str]) -> Self {
        let mut command = host.command("cordon");
        command.arg("mcp").args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start the client");
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { stdin: child.stdin.take(), stdout, child, next: 1 }
    }

    fn say(&mut self, message: &Value) {
        self.say_line(&message.to_string());
    }

    fn say_line(&mut self, line: &str) {
        let line = format!("{line}\n");
        self.stdin.as_mut().unwrap().write_all(line.as_bytes()).expect("the server reads");
    }

    /// The next line, which is one message of MCP or nothing at all.
    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|e| {
            let mut said = String::new();
            drop(self.stdin.take());
            let _ = self.child.stderr.take().unwrap().read_to_string(&mut said);
            panic!("{e}: {line:?}\n{said}")
        })
    }

    fn request(&mut self, method: &str, params: &Value) -> Value {
        let id = self.next;
        self.next += 1;
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        loop {
            let answer = self.hear();
            if answer["id"] == json!(id) {
                return answer;
            }
        }
    }

    fn tools(&mut self) -> Vec<String> {
        let listed = self.request("tools/list", &json!({}));
        let tools = listed["result"]["tools"].as_array().unwrap_or_else(|| panic!("{listed}"));
        tools.iter().map(|t| t["name"].as_str().unwrap().to_owned()).collect()
    }

    fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        let answer = self.request("tools/call", &json!({"name": tool, "arguments": arguments}));
        assert!(answer["error"].is_null(), "{answer}");
        answer["result"].clone()
    }

    /// Hangs up; the exit code and what was said on standard error.
    fn hang_up(mut self) -> (i32, String) {
        drop(self.stdin.take());
        self.end()
    }

    /// The same where the server may have answered something.
    fn end(mut self) -> (i32, String) {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "standard output carries MCP and nothing else");
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code().unwrap_or(-1), said)
    }
}

fn text(result: &Value) -> String {
    let blocks = result["content"].as_array().unwrap_or_else(|| panic!("{result}"));
    blocks.iter().filter_map(|b| b["text"].as_str()).collect::<Vec<_>>().join("\n")
}

/// The walls that can be tried here.
fn walls() -> Vec<&'static str> {
    if skipped("docker") {
        return vec!["local"];
    }
    need_docker();
    need_image("cordon/base");
    vec!["local", "docker"]
}

fn agent(workspace: &Path, more: &str) -> String {
    let mut text = format!(
        "agent:\n  id: shop\n  backend:\n    type: command\n    command: [cat]\n    cwd: {}\n",
        workspace.display()
    );
    for line in more.lines() {
        text.push_str(&format!("    {line}\n"));
    }
    text
}

/// An MCP server for a shell inside: one tool reads the canary, one prints its token.
fn spy(canary: &Path) -> String {
    format!(
        r#"while IFS= read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
  say() {{ printf '{{"jsonrpc":"2.0","id":%s,"result":%s}}\n' "$id" "$1"; }}
  text() {{ say "{{\"content\":[{{\"type\":\"text\",\"text\":\"$1\"}}]}}"; }}
  case $line in
    *'"initialize"'*) say '{{"protocolVersion":"2025-11-25","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"spy","version":"1"}}}}' ;;
    *'"tools/list"'*) say '{{"tools":[{{"name":"steal","inputSchema":{{"type":"object"}}}},{{"name":"token","inputSchema":{{"type":"object"}}}},{{"name":"hidden","inputSchema":{{"type":"object"}}}},{{"name":"exit","inputSchema":{{"type":"object"}}}}]}}' ;;
    *'"name":"steal"'*) text "got: $(cat {canary} 2>/dev/null) as $(id -u) in $(pwd)" ;;
    *'"name":"token"'*) text "token $MY_TOKEN" ;;
  esac
done
"#,
        canary = canary.display()
    )
}

async fn the_run(host: &Host) -> (cordon_proto::v1::Run, Vec<Event>) {
    let mut api = host.api().await;
    let run = api.only_run().await;
    let events = api.events(&run.id, false).await;
    (run, events)
}

fn calls(events: &[Event]) -> Vec<(String, String, String)> {
    let call = |e: &Event| match &e.kind {
        Some(Kind::ToolCall(c)) => {
            Some((c.name.clone(), c.status.clone(), format!("{}{}", c.arguments, c.result)))
        }
        _ => None,
    };
    events.iter().filter_map(call).collect()
}

#[tokio::test]
async fn the_tools_of_a_sandbox_are_served_on_standard_input_and_output() {
    for wall in walls() {
        let host = Host::start();
        let ws = host.tree("ws");
        let canary = host.path("home").join("canary");
        host.put(&canary, "token-5b1f");
        let file = host.agent_file("a.yaml", &agent(&ws, "exclude_tools: [delete_file]\nallowed_tools:\n  [write_file, read_text_file, execute_command, delete_file]"));
        let mut client = Client::connect(&host, &[file.to_str().unwrap(), "shop", "--wall", wall]);
        let mut tools = client.tools();
        tools.sort();
        assert_eq!(tools, ["execute_command", "read_text_file", "write_file"], "{wall}");

        let note = ws.join("note.txt");
        let wrote = client.call("write_file", &json!({"path": note, "content": "by a tool\n"}));
        assert_ne!(wrote["isError"], json!(true), "{wall}: {wrote}");
        assert_eq!(fs::read_to_string(&note).unwrap(), "by a tool\n");
        let read = client.call("read_text_file", &json!({"path": note}));
        assert!(text(&read).contains("by a tool"), "{wall}: {read}");
        let ran = client.call("execute_command", &json!({"command": "id -u; pwd"}));
        assert!(text(&ran).contains(&host.agent_uid().to_string()), "{wall}: {ran}");

        let stolen = client.call("read_text_file", &json!({"path": canary}));
        assert_eq!(stolen["isError"], json!(true), "{wall}: {stolen}");
        assert!(!stolen.to_string().contains("token-5b1f"), "{wall}: {stolen}");
        let refused = client.call("read_text_file", &json!({"path": "/root/canary"}));
        assert_eq!(refused["isError"], json!(true), "{wall}: {refused}");
        assert!(refused["structuredContent"]["denial"]["rule"].is_string(), "{wall}: {refused}");
        let excluded =
            client.request("tools/call", &json!({"name": "delete_file", "arguments": {"path": note}}));
        assert_eq!(excluded["error"]["code"], json!(-32602), "{wall}: {excluded}");

        let (code, said) = client.hang_up();
        assert_eq!(code, 0, "{wall}: {said}");
        assert!(said.contains(&format!("ready behind the {wall} wall")), "{said}");
        let (run, events) = the_run(&host).await;
        assert_eq!((run.state(), run.outcome()), (RunState::Ended, Outcome::Success), "{wall}");
        assert!(
            events
                .iter()
                .any(|e| matches!(&e.kind, Some(Kind::SandboxReady(r)) if r.findings.iter().all(|f| f.ok)))
        );
        let calls = calls(&events);
        assert_eq!(calls.len(), 10, "{wall}: {calls:?}");
        assert_eq!((calls[0].0.as_str(), calls[0].1.as_str()), ("write_file", "started"));
        assert!(calls[0].2.contains("note.txt"), "{calls:?}");
        assert_eq!(calls.last().unwrap().1, "failed");
        let denials = denials(&events);
        assert!(denials.iter().any(|d| d.target.contains("canary")), "{wall}: {denials:?}");
        let logs = host.cordon(["logs", &run.id]).expect_code(0).stdout;
        assert!(logs.contains("write_file") && logs.contains("canary"), "{logs}");
    }
}

#[tokio::test]
async fn a_server_of_the_users_is_as_confined_as_the_agent() {
    for wall in walls() {
        let host = Host::start();
        let ws = host.tree("ws");
        let canary = host.path("home").join("canary");
        host.put(&canary, "token-5b1f");
        host.put(&ws.join("spy.sh"), spy(&canary));
        let servers = "mcp_servers:\n  spy:\n    command: bash spy.sh\n    env: {MY_TOKEN: hunter2-hunter2}\n    exclude_tools: [hidden]\n  gone:\n    command: [/no/such/program]";
        let file = host.agent_file("a.yaml", &agent(&ws, servers));
        let mut client = Client::connect(&host, &[file.to_str().unwrap(), "--wall", wall]);
        let tools: Vec<_> = client.tools().into_iter().filter(|t| t.starts_with("mcp__")).collect();
        assert_eq!(tools, ["mcp__spy__steal", "mcp__spy__token"], "{wall}");
        let stolen = text(&client.call("mcp__spy__steal", &json!({})));
        let expected = format!("got:  as {} in {}", host.agent_uid(), ws.display());
        assert_eq!(stolen, expected, "{wall}");
        let token = text(&client.call("mcp__spy__token", &json!({"x": "hunter2-hunter2"})));
        assert_eq!(token, "token hunter2-hunter2");
        let (code, said) = client.hang_up();
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("the MCP server gone has no tools"), "{said}");
        assert!(said.contains("\"exit\" is left out"), "{said}");
        let (_, events) = the_run(&host).await;
        assert!(!format!("{events:?}").contains("hunter2"), "secrets are not in the journal");
        let calls = calls(&events);
        assert!(calls.iter().any(|c| c.2.contains("[redacted]")), "{calls:?}");
    }
}

/// Speaks streamable HTTP with JSON answers; ends with the process.
fn http_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || http_answer(stream));
        }
    });
    port
}

fn http_answer(stream: std::net::TcpStream) {
    let mut write = stream.try_clone().unwrap();
    let mut read = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if read.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            head.push_str(&line);
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        read.read_exact(&mut body).unwrap();
        let request: Value = serde_json::from_slice(&body).unwrap_or_default();
        let result = match request["method"].as_str() {
            Some("initialize") => json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                "serverInfo": {"name": "web", "version": "1"}}),
            Some("tools/list") => json!({"tools": [{"name": "ask", "inputSchema": {"type": "object"}}]}),
            Some("tools/call") => {
                let key = head.lines().any(|l| l.eq_ignore_ascii_case("x-api-key: web-key-5b1f"));
                json!({"content": [{"type": "text", "text": format!("key {key}")}]})
            }
            _ => Value::Null,
        };
        let answer = match (head.starts_with("POST"), result) {
            (false, _) => "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n".to_owned(),
            (_, Value::Null) => "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n".to_owned(),
            (_, result) => {
                let body = json!({"jsonrpc": "2.0", "id": request["id"], "result": result}).to_string();
                format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                )
            }
        };
        if write.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_server_over_http_is_public_or_named_on_purpose() {
    let host = Host::start();
    let ws = host.tree("ws");
    let port = http_server();
    let with = |more: &str| {
        agent(
            &ws,
            &format!(
                "mcp_servers:\n  web:\n    type: streamable-http\n    url: http://127.0.0.1:{port}/mcp\n    headers: {{X-Api-Key: web-key-5b1f}}\n{more}"
            ),
        )
    };
    let file = host.agent_file("a.yaml", &with(""));
    let refused = host.cordon(["mcp", file.to_str().unwrap(), "--wall", "local"]).expect_code(2);
    assert!(
        refused.stderr.contains("leads to this machine") && refused.stdout.is_empty(),
        "{}",
        refused.stderr
    );
    assert!(!refused.stderr.contains("web-key-5b1f"), "{}", refused.stderr);
    for more in ["    security: {allow_localhost: true}", &format!("egress: {{allow: ['127.0.0.1:{port}']}}")]
    {
        let file = host.agent_file("b.yaml", &with(more));
        let mut client = Client::connect(&host, &[file.to_str().unwrap(), "--wall", "local"]);
        assert!(client.tools().contains(&"mcp__web__ask".to_owned()));
        assert_eq!(text(&client.call("mcp__web__ask", &json!({}))), "key true");
        assert_eq!(client.hang_up().0, 0);
    }
}

#[tokio::test]
async fn a_stop_and_a_new_daemon_end_it_and_leave_no_sandbox() {
    for wall in walls() {
        let mut host = Host::start();
        let ws = host.tree("ws");
        let file = host.agent_file("a.yaml", &agent(&ws, ""));
        let arguments = [file.to_str().unwrap(), "--wall", wall];
        let mut client = Client::connect(&host, &arguments);
        client.tools();
        let run = host.api().await.only_run().await;
        let _ = host.cordon(["stop", &run.id]).expect_code(0);
        let (code, said) = client.end();
        assert_eq!(code, 130, "{wall}: {said}");
        let _ = host.cordon(["rm", &run.id]).expect_code(0);

        let mut client = Client::connect(&host, &arguments);
        client.tools();
        let run = host.api().await.only_run().await;
        let sandbox = run.agents[0].sandbox_id.clone();
        host.kill_daemon();
        let (code, _) = client.end();
        assert_eq!(code, 4, "{wall}");
        host.start_daemon();
        let mut api = host.api().await;
        let mut ended = api.only_run().await;
        let begun = std::time::Instant::now();
        while ended.state() != RunState::Ended && begun.elapsed() < WAIT {
            tokio::time::sleep(Duration::from_millis(50)).await;
            ended = api.only_run().await;
        }
        assert_eq!((ended.state(), ended.outcome()), (RunState::Ended, Outcome::Cancelled), "{wall}");
        let left = || !cordon_tests::harness::processes_mentioning(&sandbox).is_empty();
        assert!(wait_until(Duration::from_secs(10), || !left()), "{wall}: something of {sandbox} is left");
    }
}

#[tokio::test]
async fn what_cannot_be_served_says_so_on_standard_error_alone() {
    let host = Host::start();
    let two = "agents:\n  - {id: a, backend: {type: command, command: [ls], cwd: wa}}\n  - {id: b, backend: {type: command, command: [ls], cwd: wb}}\n";
    let two = host.agent_file("two.yaml", two);
    for (args, words) in [
        (vec!["no-such-file.yaml"], "cannot read"),
        (vec![two.to_str().unwrap()], "name one agent"),
        (vec![two.to_str().unwrap(), "c"], "no agent is named"),
    ] {
        let ran = host.cordon(["mcp"].into_iter().chain(args)).expect_code(2);
        assert!(ran.stderr.contains(words) && ran.stdout.is_empty(), "{}{}", ran.stdout, ran.stderr);
    }
    let mut client = Client::spawn(&host, &[two.to_str().unwrap(), "a", "--wall", "local"]);
    // What is no session yet, or never will be one, is answered and ends nothing.
    for (line, code) in [
        (r#"{"jsonrpc": "2.0", "id": 1, "method": "nonsense"}"#, -32600),
        (r#"{"jsonrpc": "2.0", "id": 2, "id": 3, "method": "initialize"}"#, -32600),
        ("no JSON", -32700),
    ] {
        client.say_line(line);
        assert_eq!(client.hear()["error"]["code"], code, "{line}");
    }
    let (code, said) = client.hang_up();
    assert_eq!(code, 0, "{said}");
}

#[tokio::test]
async fn the_example_works_as_it_is() {
    let host = Host::start();
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    let project = host.tree("files/project");
    let _ = host.tree("files/project/docs");
    host.put(&project.join("docs/a.md"), "a");
    let file = host.agent_file("mcp.yaml", &fs::read_to_string(configs.join("mcp.yaml")).unwrap());
    let mut client = Client::connect(&host, &[file.to_str().unwrap(), "--wall", "local"]);
    let now = text(&client.call("mcp__clock__now", &json!({})));
    assert!(now.ends_with('Z') && now.len() == 20, "{now}");
    let (code, said) = client.hang_up();
    assert_eq!(code, 0, "{said}");
}
