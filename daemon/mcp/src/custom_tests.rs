//! The program itself, with this machine's Python.

use super::*;
use cordon_config::Secret;
use proptest::prelude::*;
use serde_json::json;
use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    time::Instant,
};

const SYSTEM_PYTHON: &str = "/usr/bin/python3";

fn tests(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/custom/tests").join(name)
}

fn tool(file: &Path, function: &str) -> CustomTool {
    CustomTool {
        code: ToolCode::File(file.to_path_buf()),
        function: Some(function.to_owned()),
        name: None,
        description: None,
        preset: Map::new(),
        secrets: Vec::<Secret>::new(),
        place: cordon_policy::Place { file: "agent.yaml".to_owned(), line: 1, column: 1 },
    }
}

/// The program, spoken to as a client does.
struct Program {
    child: Child,
    input: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
    number: u64,
}

impl Program {
    fn start(tools: &[CustomTool], call_seconds: f64) -> Self {
        let config = custom_tools_config(tools, Path::new("/work-space"));
        let mut config: Value = serde_json::from_str(&config).unwrap();
        config["call_seconds"] = call_seconds.into();
        config["load_seconds"] = 20.into();
        let mut command = Command::new(SYSTEM_PYTHON);
        command.args(["-c", CUSTOM_TOOLS_PROGRAM]).env(CUSTOM_TOOLS_VARIABLE, config.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).current_dir("/");
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (said, lines) = mpsc::channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| said.send(line)));
        Self { child, input, lines, number: 0 }
    }

    fn line(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    fn send(&mut self, method: &str, params: &Value) -> u64 {
        self.number += 1;
        let request = json!({"jsonrpc": "2.0", "id": self.number, "method": method, "params": params});
        self.line(&request.to_string());
        self.number
    }

    /// The next message, which must be a well-formed answer.
    #[track_caller]
    fn answer(&self) -> Value {
        let line = self.lines.recv_timeout(Duration::from_secs(60)).expect("an answer");
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:.200}"));
        assert_eq!(answer["jsonrpc"], "2.0", "{answer}");
        assert!(answer["id"].is_u64(), "{answer}");
        assert!(answer["result"].is_object() != answer["error"].is_object(), "{answer}");
        answer
    }

    #[track_caller]
    fn ask(&mut self, method: &str, params: &Value) -> Value {
        let id = self.send(method, params);
        let answer = self.answer();
        assert_eq!(answer["id"], id, "{method} {params}: {answer}");
        answer["result"].clone()
    }

    #[track_caller]
    fn initialize(&mut self) -> Value {
        self.ask("initialize", &json!({"protocolVersion": "2025-06-18"}))
    }

    #[track_caller]
    fn call(&mut self, tool: &str, arguments: &Value) -> (bool, String) {
        let name = format!("custom_tool__{tool}");
        said(&self.ask("tools/call", &json!({"name": name, "arguments": arguments})))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether it worked, and the text.
#[track_caller]
fn said(result: &Value) -> (bool, String) {
    let blocks = result["content"].as_array().unwrap();
    let text = blocks.iter().map(|b| b["text"].as_str().unwrap_or("[other]")).collect::<Vec<_>>();
    (result["isError"] == false, text.join("\n"))
}

#[test]
fn functions_are_described_by_signature_and_docstring() {
    let file = tests("described.py");
    let mut tools: Vec<_> = ["google", "numpy", "rest", "loose", "bound"].map(|f| tool(&file, f)).into();
    tools[4].preset = json!({"limit": 5}).as_object().unwrap().clone();
    tools[3].description = Some("Takes anything.".to_owned());
    tools[3].name = Some("anything".to_owned());
    let mut program = Program::start(&tools, 20.0);
    assert_eq!(program.initialize()["protocolVersion"], "2025-06-18");
    let listed = program.ask("tools/list", &json!({}));
    let expected = json!([
        {"name": "custom_tool__google", "description": "Counts words.\n\nIt does so slowly.", "inputSchema": {
            "type": "object", "required": ["text"], "properties": {
                "text": {"type": "string", "description": "What is looked at, on two lines."},
                "count": {"type": "integer", "default": 3, "description": "How often."},
                "ratio": {"type": "number", "default": 0.5},
                "exact": {"type": "boolean", "default": false}}}},
        {"name": "custom_tool__numpy", "description": "Paints.", "inputSchema": {
            "type": "object", "required": ["color", "points"], "properties": {
                "color": {"type": "string", "enum": ["red", "blue"], "description": "One of two."},
                "points": {"type": "array", "description": "Where to paint.", "items": {
                    "type": "object", "required": ["x"], "properties": {
                        "x": {"type": "integer"}, "y": {"type": "number", "default": 2.0}}}},
                "where": {"type": "string"}}}},
        {"name": "custom_tool__rest", "description": "Sorts.", "inputSchema": {
            "type": "object", "required": ["kind", "path", "both"], "properties": {
                "kind": {"type": "string", "enum": ["a", "b"], "description": "The kind."},
                "path": {"type": "string", "description": "A file of the workspace."},
                "both": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
                "pair": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2,
                    "default": [1, 2]}}}},
        {"name": "custom_tool__anything", "description": "Takes anything.", "inputSchema": {
            "type": "object", "required": ["anything"], "additionalProperties": true, "properties": {
                "anything": {},
                "table": {"type": "object", "additionalProperties": {"type": "integer"}},
                "options": {"type": "object", "properties": {"deep": {"type": "boolean"}}}}}},
        {"name": "custom_tool__bound", "description": "Looks up.", "inputSchema": {
            "type": "object", "required": ["query"], "properties": {
                "query": {"type": "string"}, "unit": {"type": "string", "default": "m"}}}},
    ]);
    for (found, expected) in listed["tools"].as_array().unwrap().iter().zip(expected.as_array().unwrap()) {
        assert_eq!(found, expected, "{found:#}");
    }
    assert_eq!(listed["tools"].as_array().unwrap().len(), 5);
}

#[test]
fn calls_have_the_types_that_functions_ask_for_and_answer_as_text() {
    let file = tests("described.py");
    let names = ["google", "numpy", "rest", "loose", "bound", "pieces", "picture"];
    let mut tools: Vec<_> = names.map(|f| tool(&file, f)).into();
    tools[4].preset = json!({"limit": 5, "unit": "km"}).as_object().unwrap().clone();
    let mut program = Program::start(&tools, 20.0);
    program.initialize();
    let mut works = |tool: &str, arguments: Value, expected: &str| {
        assert_eq!(program.call(tool, &arguments), (true, expected.to_owned()), "{tool}");
    };
    works("google", json!({"text": "a", "count": 2.0, "ratio": 1}), "a 2 1.0 False");
    works("numpy", json!({"color": "red", "points": [{"x": 1}, {"x": 2, "y": 3}]}), "RED [3.0, 5.0] None");
    works("numpy", json!({"color": "BLUE", "points": [], "where": null}), "BLUE [] None");
    works(
        "rest",
        json!({"kind": "b", "path": "a/b", "both": "c"}),
        r#"{"kind": "b", "path": "a/b", "both": "c", "pair": [1, 2]}"#,
    );
    works("loose", json!({"anything": [1], "extra": 2}), r#"[[1], null, null, {"extra": 2}]"#);
    works("bound", json!({"query": "q"}), r#"["q", null, null, "/work-space", 5, "km"]"#);
    works("pieces", json!({"count": 3}), "piece 0\npiece 1\npiece 2");
    works("pieces", json!({"count": 0}), "(no result)");
    works("picture", json!({}), "[other]\ndrawn");
    let mut fails = |tool: &str, arguments: Value, expected: &str| {
        let (worked, text) = program.call(tool, &arguments);
        assert!(!worked && text.contains(expected), "{tool}: {text}");
    };
    fails("google", json!({}), "without text");
    fails("google", json!({"text": 3}), "text: 3 is no str");
    fails("google", json!({"text": "a", "limit": 3}), "no parameter 'limit'");
    fails("numpy", json!({"color": "green", "points": []}), "none of 'red', 'blue'");
    fails("numpy", json!({"color": "red", "points": [{"y": 1}]}), "x");
    fails("bound", json!({"query": "q", "limit": 9}), "no parameter 'limit'");
    let (worked, text) = program.call("pieces", &json!({"count": 10_000_000}));
    assert!(worked && text.ends_with("piece 999\n[what came after that is left out]"), "{text:.300}");
}

#[test]
fn a_tool_that_cannot_be_loaded_is_named_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let good = write("good.py", "from helper import N\ndef f(): return N\n");
    write("helper.py", "N = 7\n");
    let tools = [
        tool(&good, "f"),
        tool(&good, "g"),
        tool(&write("broken.py", "def f(:\n"), "b"),
        tool(&write("exits.py", "import os\nos._exit(5)\n"), "e"),
        tool(&write("leaves.py", "import sys\nsys.exit(5)\n"), "l"),
        tool(&write("imports.py", "import no_such_module_anywhere\n"), "i"),
        tool(&write("positional.py", "def p(a, /): pass\n"), "p"),
        CustomTool { code: ToolCode::BuiltIn, ..tool(&good, "nothing") },
        tool(&dir.path().join("missing.py"), "m"),
    ];
    let mut program = Program::start(&tools, 20.0);
    let instructions = program.initialize()["instructions"].as_str().unwrap().to_owned();
    let told = failures(&instructions);
    for words in [
        "g: ",
        "no function 'g'",
        "b: File",
        "SyntaxError",
        "e: ",
        "exit code 5",
        "l: SystemExit",
        "no_such_module",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let failed: Value = serde_json::from_str(&instructions).unwrap();
    assert_eq!(failed["failed"].as_array().unwrap().len(), 8, "{failed:#}");
    // The others are there.
    assert_eq!(program.call("f", &json!({})), (true, "7".to_owned()));
}

#[test]
fn calls_run_side_by_side_and_a_slow_one_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("slow.py");
    // Nobody of five gets on before all five are there.
    let text = "import threading, asyncio\nseen, five, waiting, all_here = [], threading.Barrier(5), [], None\n\
                def sync():\n    if len(seen) < 5: five.wait()\n    seen.append(1)\n    return len(seen)\n\
                async def later():\n    global all_here\n    all_here = all_here or asyncio.Event()\n    \
                waiting.append(1)\n    if len(waiting) == 5: all_here.set()\n    \
                await all_here.wait()\n    return 'later'\n\
                async def never(): await asyncio.Event().wait()\n";
    std::fs::write(&file, text).unwrap();
    let mut program = Program::start(&["sync", "later", "never"].map(|f| tool(&file, f)), 4.0);
    program.initialize();
    for _ in 0..5 {
        program.send("tools/call", &json!({"name": "custom_tool__sync"}));
        program.send("tools/call", &json!({"name": "custom_tool__later"}));
    }
    let mut found: Vec<String> = (0..10).map(|_| said(&program.answer()["result"]).1).collect();
    found.sort();
    assert_eq!(found, ["1", "2", "3", "4", "5", "later", "later", "later", "later", "later"]);
    let (worked, text) = program.call("never", &json!({}));
    assert!(!worked && text.contains("did not return within 4"), "{text}");
    // What is cancelled is answered by nobody, and what the tools remember is still there.
    let id = program.send("tools/call", &json!({"name": "custom_tool__never"}));
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}});
    program.line(&cancel.to_string());
    assert_eq!(program.call("sync", &json!({})), (true, "6".to_owned()));
}

#[test]
fn what_is_no_request_is_refused_and_the_end_is_the_end() {
    let mut program = Program::start(&[tool(&tests("described.py"), "google")], 20.0);
    program.initialize();
    for (line, code) in [("{", -32700), ("[]", -32600), (r#"{"jsonrpc":"2.0","id":7,"method":"x"}"#, -32601)]
    {
        program.line(line);
        let line = program.lines.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["error"]["code"], code, "{line}");
    }
    for params in [json!({"name": "nothing"}), json!({"name": "custom_tool__google", "arguments": [1]})] {
        program.send("tools/call", &params);
        assert_eq!(program.answer()["error"]["code"], -32602);
    }
    program.input = None;
    assert!(program.child.wait().unwrap().success());
}

/// What a hostile tool may do; those that hang take as long as a call may.
const DEEDS: [&str; 20] = [
    "prints",
    "exits",
    "leaves",
    "leaves_the_loop",
    "closes",
    "writes",
    "huge",
    "endless",
    "loops",
    "loops_on_the_loop",
    "sleeps",
    "deep",
    "odd",
    "raises",
    "recurses",
    "kills",
    "stops",
    "forks",
    "starts",
    "replaces",
];

fn deeds() -> Vec<CustomTool> {
    let file = tests("hostile.py");
    std::iter::once("good").chain(DEEDS).map(|f| tool(&file, f)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 8, ..ProptestConfig::default() })]

    /// Whatever tools do, every request is answered once, in the protocol, and a good tool works
    /// afterwards.
    #[test]
    fn no_tool_breaks_the_protocol(order in prop::collection::vec(0..DEEDS.len(), 1..5), at_once in any::<bool>()) {
        let mut program = Program::start(&deeds(), 0.6);
        program.initialize();
        let mut open = Vec::new();
        for deed in &order {
            let name = format!("custom_tool__{}", DEEDS[*deed]);
            open.push(program.send("tools/call", &json!({"name": name})));
            if !at_once {
                prop_assert_eq!(program.answer()["id"].as_u64(), open.pop());
            }
        }
        let mut answered: Vec<u64> = open.iter().map(|_| program.answer()["id"].as_u64().unwrap()).collect();
        answered.sort_unstable();
        prop_assert_eq!(answered, open);
        // One that hung is ended after a grace, and takes with it what runs beside it.
        let mut tries = 0;
        while program.call("good", &json!({"n": 1})) != (true, "good 1".to_owned()) {
            tries += 1;
            prop_assert!(tries < 6);
            std::thread::sleep(Duration::from_millis(600));
        }
        prop_assert!(program.lines.try_recv().is_err(), "more was said than was asked for");
    }

    /// Any file at all is loaded or refused, and never takes the server with it.
    #[test]
    fn any_file_is_loaded_or_refused(text in "(import os\n|x = [\\[\\](){}]{0,4}\n|def f(a, b: int = 3):\n  '''[a-z :\n-]{0,30}'''\n|[ -~]{0,20}\n){0,4}") {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("any.py");
        std::fs::write(&file, text).unwrap();
        let mut program = Program::start(&[tool(&file, "f")], 1.0);
        program.initialize();
        let listed = program.ask("tools/list", &json!({}));
        prop_assert!(listed["tools"].as_array().unwrap().len() <= 1);
    }
}

#[test]
fn each_deed_alone_is_survived() {
    for deed in DEEDS {
        let hangs = ["loops", "loops_on_the_loop", "sleeps", "stops", "closes"].contains(&deed);
        let mut program = Program::start(&deeds(), if hangs { 0.6 } else { 15.0 });
        program.initialize();
        let begun = Instant::now();
        let (worked, text) = program.call(deed, &json!({}));
        assert!(text.len() < 9 << 20, "{deed}: {} bytes", text.len());
        assert!(begun.elapsed() < Duration::from_secs(20), "{deed}");
        // One that writes to every descriptor may end its own process, and only that.
        let expected = ["prints", "huge", "endless", "forks", "starts", "odd"].contains(&deed);
        if expected || ["exits", "leaves", "loops", "sleeps", "raises", "kills"].contains(&deed) {
            assert_eq!(worked, expected, "{deed}: {text:.300}");
        }
        // Whatever became of its process, the next call is served.
        let mut tries = 0;
        while program.call("good", &json!({"n": 1})) != (true, "good 1".to_owned()) {
            tries += 1;
            assert!(tries < 6, "{deed}: nothing works after it");
            std::thread::sleep(Duration::from_millis(600));
        }
    }
}
