//! Custom tools: the user's Python functions, described to an MCP client, and called inside a real
//! sandbox, where they may do what the agent may and nothing else.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::{Outcome, RunState, event::Kind};
use cordon_tests::harness::{Host, need_docker, need_image, skipped};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

const TOOLS: &str = r#"
import os, pathlib, socket
from massgen.tool import ExecutionResult
from massgen.tool._result import TextContent

calls = 0


async def add(x: int, y: int) -> ExecutionResult:
    """Add two numbers.

    Args:
        x: First number
    """
    return ExecutionResult(output_blocks=[TextContent(data=f"the sum is {x + y}")])


def look(path: pathlib.Path, unit: str = "none") -> str:
    """Reads a file."""
    global calls
    calls += 1
    print("a tool may print what it likes")
    try:
        content = path.read_text()
    except OSError as error:
        content = f"{type(error).__name__}"
    return f"{content} [{unit}] as {os.getuid()} in {os.getcwd()} call {calls}"


def write(path: str, text: str):
    with open(path, "w") as file:
        file.write(text)


def reach(host: str, port: int):
    socket.create_connection((host, port), timeout=5)
    return "reached"


def own_file():
    with open(__file__, "a") as file:
        file.write("changed = 1")


def dies():
    os._exit(3)
"#;

struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    next: u64,
}

impl Client {
    fn spawn(host: &Host, file: &Path, wall: &str) -> Self {
        let mut command = host.command("cordon");
        command.arg("mcp").arg(file).args(["--wall", wall]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start the client");
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { stdin: child.stdin.take(), stdout, child, next: 1 }
    }

    fn connect(host: &Host, file: &Path, wall: &str) -> Self {
        let mut client = Self::spawn(host, file, wall);
        let hello = json!({
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        });
        client.request("initialize", &hello);
        client.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        client
    }

    fn say(&mut self, message: &Value) {
        writeln!(self.stdin.as_mut().unwrap(), "{message}").expect("the server reads");
    }

    #[track_caller]
    fn request(&mut self, method: &str, params: &Value) -> Value {
        let id = self.next;
        self.next += 1;
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|e| {
            let mut said = String::new();
            drop(self.stdin.take());
            let _ = self.child.stderr.take().unwrap().read_to_string(&mut said);
            panic!("{e}: {line:?}\n{said}")
        });
        assert_eq!(answer["id"], json!(id), "{answer}");
        answer["result"].clone()
    }

    /// Whether it worked, and what it said.
    #[track_caller]
    fn call(&mut self, tool: &str, arguments: &Value) -> (bool, String) {
        let name = format!("custom_tool__{tool}");
        let result = self.request("tools/call", &json!({"name": name, "arguments": arguments}));
        let blocks = result["content"].as_array().unwrap_or_else(|| panic!("{tool}: {result}"));
        let text: Vec<_> = blocks.iter().filter_map(|b| b["text"].as_str()).collect();
        (result["isError"] != json!(true), text.join("\n"))
    }

    /// Hangs up; the exit code and what was said on standard error.
    fn end(mut self) -> (i32, String) {
        drop(self.stdin.take());
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code().unwrap_or(-1), said)
    }
}

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

const ALL: &str = "custom_tools:\n  - path: tools/mine.py\n    function: [add, look, write, reach, own_file, dies]\n    category: mine\n    preset_args: [{}, {unit: metres}, {}, {}, {}, {}]\nexclude_tools: [custom_tool__nothing]";

#[tokio::test]
async fn functions_of_the_users_are_tools_that_may_what_the_agent_may() {
    for wall in walls() {
        let host = Host::start();
        let ws = host.tree("ws");
        let canary = host.path("home").join("canary");
        host.put(&canary, "token-5b1f");
        host.put(&ws.join("note.txt"), "a note");
        let file = host.agent_file("a.yaml", &agent(&ws, ALL));
        let tools = file.with_file_name("tools");
        fs::create_dir_all(&tools).unwrap();
        host.give(&tools);
        host.put(&tools.join("mine.py"), TOOLS);
        host.put(&tools.join("beside.txt"), "beside");

        let mut client = Client::connect(&host, &file, wall);
        let listed = client.request("tools/list", &json!({}));
        let listed = listed["tools"].as_array().unwrap();
        let find =
            |name: &str| listed.iter().find(|t| t["name"] == name).unwrap_or_else(|| panic!("{listed:?}"));
        let add = find("custom_tool__add");
        assert_eq!(add["description"], "Add two numbers.", "{wall}");
        let x = json!({"type": "integer", "description": "First number"});
        assert_eq!(add["inputSchema"]["properties"]["x"], x, "{wall}");
        let look = &find("custom_tool__look")["inputSchema"]["properties"];
        assert!(look["unit"].is_null() && look["path"]["type"] == "string", "{wall}: {look}");
        find("execute_command");

        assert_eq!(client.call("add", &json!({"x": 2, "y": 3})), (true, "the sum is 5".to_owned()), "{wall}");
        let uid = host.agent_uid();
        let expected = format!("a note [metres] as {uid} in {} call 1", ws.display());
        assert_eq!(client.call("look", &json!({"path": ws.join("note.txt")})), (true, expected), "{wall}");
        // What the policy does not name is not there: neither the user's files nor what lies beside the tool.
        for hidden in [canary.clone(), tools.join("beside.txt"), file.clone(), "/etc/shadow".into()] {
            let (_, text) = client.call("look", &json!({"path": hidden}));
            assert!(
                !text.contains("token-5b1f") && !text.contains("root:") && !text.contains("beside ["),
                "{wall}: {text}"
            );
            assert!(text.contains("Error"), "{wall}: {hidden:?}: {text}");
        }
        // Its own file it may read, at the same path, and not change.
        let (worked, text) = client.call("look", &json!({"path": tools.join("mine.py")}));
        assert!(worked && text.contains("Add two numbers"), "{wall}: {text}");
        let (worked, text) = client.call("own_file", &json!({}));
        assert!(!worked && text.contains("Error"), "{wall}: {text}");
        assert_eq!(fs::read_to_string(tools.join("mine.py")).unwrap(), TOOLS, "{wall}");
        // It writes where the agent may, and nowhere else.
        let (worked, _) = client.call("write", &json!({"path": ws.join("made.txt"), "text": "made"}));
        assert!(worked && fs::read_to_string(ws.join("made.txt")).unwrap() == "made", "{wall}");
        // Beside its file lies nothing of the host's, whatever is written there.
        client.call("write", &json!({"path": tools.join("new.py"), "text": "x"}));
        assert!(!tools.join("new.py").try_exists().unwrap(), "{wall}");
        assert!(!client.call("write", &json!({"path": "/etc/new.py", "text": "x"})).0, "{wall}");
        // No network.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (worked, text) = client.call("reach", &json!({"host": "127.0.0.1", "port": port}));
        assert!(!worked && !text.contains("reached\n"), "{wall}: {text}");
        // One that ends its process takes nobody with it; what it remembered is gone.
        let (worked, text) = client.call("dies", &json!({}));
        assert!(!worked && text.contains("exit code 3"), "{wall}: {text}");
        let (_, text) = client.call("look", &json!({"path": ws.join("note.txt")}));
        assert!(text.ends_with("call 1"), "{wall}: {text}");

        let (code, said) = client.end();
        assert_eq!(code, 0, "{wall}: {said}");
        let mut api = host.api().await;
        let run = api.only_run().await;
        assert_eq!((run.state(), run.outcome()), (RunState::Ended, Outcome::Success), "{wall}");
        let events = api.events(&run.id, false).await;
        let calls = events
            .iter()
            .filter(|e| matches!(&e.kind, Some(Kind::ToolCall(c)) if c.name == "custom_tool__add"));
        assert_eq!(calls.count(), 2, "{wall}: started and completed");

        let explained =
            host.cordon(["explain", file.to_str().unwrap(), tools.join("mine.py").to_str().unwrap()]);
        let explained = explained.expect_code(0).stdout;
        assert!(explained.contains("custom tool") && explained.contains("a.yaml"), "{wall}: {explained}");
    }
}

/// Nothing begins with a tool that is not there.
#[tokio::test]
async fn a_tool_that_cannot_be_loaded_is_an_error_before_anything_begins() {
    for wall in walls() {
        let host = Host::start();
        let ws = host.tree("ws");
        let file = host.agent_file("a.yaml", &agent(&ws, "custom_tools: [{path: broken.py, function: f}]"));
        host.put(&file.with_file_name("broken.py"), "import no_such_module_anywhere\ndef f(): pass\n");
        let (code, said) = Client::spawn(&host, &file, wall).end();
        assert!(code != 0 && said.contains("no_such_module_anywhere"), "{wall}: {code} {said}");

        let python = "custom_tools: [{path: broken.py, function: f}]\ncustom_tools_python: /no/such/python3";
        let file = host.agent_file("b.yaml", &agent(&ws, python));
        let (code, said) = Client::spawn(&host, &file, wall).end();
        assert!(code != 0 && said.contains("/no/such/python3"), "{wall}: {code} {said}");
    }
}

/// A virtual environment is what its tools see, behind the local wall.
#[tokio::test]
async fn a_virtual_environment_brings_its_packages() {
    let host = Host::start();
    let ws = host.tree("ws");
    let venv = host.path("venv");
    let made = Command::new("/usr/bin/python3").args(["-m", "venv", "--without-pip"]).arg(&venv).status();
    assert!(made.unwrap().success());
    let site = fs::read_dir(venv.join("lib")).unwrap().next().unwrap().unwrap().path().join("site-packages");
    fs::write(site.join("only_here.py"), "ANSWER = 42\n").unwrap();
    host.give(&venv);
    let text = format!(
        "custom_tools: [{{path: t.py, function: f}}]\ncustom_tools_python: {}",
        venv.join("bin/python3").display()
    );
    let file = host.agent_file("a.yaml", &agent(&ws, &text));
    host.put(&file.with_file_name("t.py"), "import only_here\ndef f(): return only_here.ANSWER\n");
    let mut client = Client::connect(&host, &file, "local");
    assert_eq!(client.call("f", &json!({})), (true, "42".to_owned()));
    let (code, said) = client.end();
    assert_eq!(code, 0, "{said}");
}
