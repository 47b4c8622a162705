//! Servers of the Model Context Protocol, over lines of standard input and output.

use super::{
    Place, Said, block_on,
    wall::{Cell, process_id},
};
use crate::{Attack, Call, Run, World};
use cordon_proto::guest as pb;
use cordon_sandbox::guest::{Process, ProcessEvent, ProcessInput};
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// The tool that runs programs, of servers that have one.
const COMMAND: &str = "execute_command";

/// A server that answers.
pub(super) struct Server {
    // Before the cell, so that it is let go first.
    pipe: Pipe,
    _cell: Option<Cell>,
    tools: Vec<String>,
    next: u64,
}

enum Pipe {
    Host { child: Child, input: ChildStdin, output: BufReader<ChildStdout> },
    Inside { process: Process, pending: Vec<u8> },
}

impl Pipe {
    fn say(&mut self, mut line: Vec<u8>) {
        line.push(b'\n');
        match self {
            // A server that is gone is noticed when it does not answer.
            Self::Host { input, .. } => drop(input.write_all(&line)),
            Self::Inside { process, .. } => {
                drop(block_on(process.input.send(ProcessInput::Stdin(line.into()))))
            }
        }
    }

    fn hear(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Host { output, .. } => {
                let mut line = Vec::new();
                (output.read_until(b'\n', &mut line).ok()? > 0).then_some(line)
            }
            Self::Inside { process, pending } => loop {
                if let Some(end) = pending.iter().position(|b| *b == b'\n') {
                    return Some(pending.drain(..=end).collect());
                }
                match block_on(process.events.recv())? {
                    ProcessEvent::Output { stream, offset, data } => {
                        let seen = offset + data.len() as u64;
                        drop(block_on(process.input.send(ProcessInput::Ack(seen))));
                        if stream != pb::Stream::Stderr {
                            pending.extend_from_slice(&data);
                        }
                    }
                    ProcessEvent::Started { .. } => {}
                    _ => return None,
                }
            },
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        if let Self::Host { child, .. } = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Server {
    /// The guest's own tools, in a sandbox of the local wall.
    pub(super) fn ours(world: &World, attack: &Attack) -> Result<Self, String> {
        let cell = Cell::local(world, attack)?;
        let start = pb::Start {
            process_id: process_id(),
            argv: vec!["/run/cordon-guest".into(), "mcp".into()],
            cwd: "/".into(),
            stdin: true,
            ..pb::Start::default()
        };
        let process = block_on(cell.guest().exec(start)).map_err(|error| error.to_string())?;
        Self::begin(Pipe::Inside { process, pending: Vec::new() }, Some(cell))
    }

    /// The reference server, on the workspace and the read-only tree: it knows no access but all of it.
    pub(super) fn npm(world: &World) -> Result<Self, String> {
        let mut command = Command::new(node());
        command.arg(npm_server()).args([world.workspace(), world.read_only()]).current_dir(world.workspace());
        if rustix::process::geteuid().is_root() {
            command.uid(world.uid).gid(world.uid);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| format!("start node: {error}"))?;
        let input = child.stdin.take().ok_or("no standard input")?;
        let output = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        Self::begin(Pipe::Host { child, input, output }, None)
    }

    fn begin(pipe: Pipe, cell: Option<Cell>) -> Result<Self, String> {
        let mut server = Self { pipe, _cell: cell, tools: Vec::new(), next: 0 };
        let who = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "attack", "version": "1"}});
        server.ask("initialize", &who).ok_or("the server does not answer")?;
        server.pipe.say(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string().into());
        let listed = server.ask("tools/list", &json!({})).ok_or("the server lists no tools")?;
        let tools = listed["result"]["tools"].as_array().cloned().unwrap_or_default();
        server.tools = tools.iter().filter_map(|tool| tool["name"].as_str().map(str::to_owned)).collect();
        if server.tools.is_empty() { Err(format!("the server has no tools: {listed}")) } else { Ok(server) }
    }

    fn ask(&mut self, method: &str, params: &Value) -> Option<Value> {
        self.next += 1;
        let id = self.next;
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.pipe.say(request.to_string().into());
        loop {
            let line = self.pipe.hear()?;
            let answer: Value = serde_json::from_slice(&line).ok()?;
            // Requests and notifications of the server are not answered: no attack needs it.
            if answer["id"] == json!(id) {
                return Some(answer);
            }
        }
    }

    fn tool(&mut self, name: &str, arguments: &Value) -> Said {
        match self.ask("tools/call", &json!({"name": name, "arguments": arguments})) {
            Some(answer) => {
                let failed = answer.get("error").is_some() || answer["result"]["isError"] == json!(true);
                let denied = has_denial(&answer["result"]["structuredContent"]);
                Said { bytes: texts(&answer).into(), code: Some(u32::from(failed)), started: true, denied }
            }
            None => Said { bytes: b"\nLOST the server does not answer\n".to_vec(), ..Said::default() },
        }
    }
}

impl Place for Server {
    fn run(&mut self, world: &World, run: &Run) -> Option<Said> {
        if !self.tools.iter().any(|tool| tool == COMMAND) {
            return None;
        }
        let cwd = run.cwd.clone().unwrap_or_else(|| world.workspace());
        let script = format!("{}{}", world.prelude(), run.script);
        let mut said = self.tool(COMMAND, &json!({"command": script, "work_dir": cwd, "timeout": 60}));
        // A directory that was refused: nothing ran.
        said.started &= !(run.may_not_start && said.denied);
        Some(said)
    }

    fn call(&mut self, call: &Call) -> Option<Said> {
        Some(self.tool(call.tool, &call.arguments))
    }
}

/// Whether a typed denial is anywhere in a result for programs.
pub(super) fn has_denial(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.contains_key("denial") || fields.values().any(has_denial),
        Value::Array(items) => items.iter().any(has_denial),
        _ => false,
    }
}

/// Every text in an answer, one a line, however deep: what a model could read of it.
pub(super) fn texts(answer: &Value) -> String {
    use base64::Engine as _;
    match answer {
        // A result that is JSON in a text is read as what it says, and bytes in a text as what they are.
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(inner @ (Value::Object(_) | Value::Array(_))) => texts(&inner),
            _ => match base64::engine::general_purpose::STANDARD.decode(text) {
                Ok(bytes) if bytes.len() > 8 => format!("{text}\n{}\n", String::from_utf8_lossy(&bytes)),
                _ => format!("{text}\n"),
            },
        },
        Value::Array(items) => items.iter().map(texts).collect(),
        Value::Object(fields) => fields.values().map(texts).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => String::new(),
    }
}

/// Where `scripts/setup-tests.sh` puts other people's programs of this protocol.
fn others() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../build/mcp");
    std::env::var_os("CORDON_TEST_MCP").map_or(root, PathBuf::from)
}

fn npm_server() -> PathBuf {
    let path = others().join("node_modules/@modelcontextprotocol/server-filesystem/dist/index.js");
    assert!(path.is_file(), "no {path:?}: run `make test`, or put `mcp` into CORDON_TEST_SKIP");
    path
}

/// The Node that was installed for it, or the system's.
fn node() -> PathBuf {
    let own = others().join("bin/node");
    if own.is_file() { own } else { "node".into() }
}
