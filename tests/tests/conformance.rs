//! Other people's programs against our MCP server: the official conformance suite, the
//! inspector and the Python client.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::guest as pb;
use cordon_tests::{
    bridge::Bridge,
    harness::{bin, processes_mentioning, skipped, wait_until},
};
use prost::Message as _;
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

fn asset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/mcp").join(name)
}

/// What `scripts/setup-tests.sh` put there.
fn installed(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../build/mcp").join(name);
    path.canonicalize()
        .unwrap_or_else(|e| panic!("{path:?} ({e}): run `make test`, or put `mcp` into CORDON_TEST_SKIP"))
}

/// A workspace with the guest's server in it: the very program that sandboxes run, with a
/// table as the daemon writes it, and nothing else between it and its client.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Self { dir };
        fs::create_dir(place.workspace()).unwrap();
        fs::write(place.workspace().join("a.txt"), "hello from the workspace\n").unwrap();
        let rule = pb::TableRule {
            path: bytes(&place.workspace()),
            access: pb::Access::Write.into(),
            source: "workspace".to_owned(),
            ..pb::TableRule::default()
        };
        let table = pb::ToolTable {
            rules: vec![rule],
            workspace: bytes(&place.workspace()),
            ..pb::ToolTable::default()
        };
        fs::write(place.dir.path().join("table"), table.encode_to_vec()).unwrap();
        place
    }

    fn workspace(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join("ws")
    }

    fn server(&self) -> Vec<String> {
        let table = self.dir.path().join("table");
        let guest =
            std::env::var_os("CORDON_GUEST").map_or_else(|| bin().join("cordon-guest"), PathBuf::from);
        let mut argv: Vec<String> =
            ["bwrap", "--die-with-parent", "--dev-bind", "/", "/", "--tmpfs", "/run", "--ro-bind"]
                .map(str::to_owned)
                .into();
        argv.extend([table.display().to_string(), "/run/cordon-policy".to_owned()]);
        argv.extend([guest.display().to_string(), "mcp".to_owned()]);
        argv
    }
}

fn bytes(path: &Path) -> bytes::Bytes {
    path.as_os_str().as_encoded_bytes().to_vec().into()
}

fn run(command: &mut Command) -> Output {
    // Whatever they would like to fetch or report: there is only this machine.
    for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
        command.env_remove(name);
    }
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    eprintln!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_suite_agrees() {
    if skipped("mcp") {
        return;
    }
    let place = Place::new();
    let bridge = Bridge::start(place.server()).await.unwrap();
    let url = bridge.url.clone();
    let results = place.dir.path().join("results");
    let suite = tokio::task::spawn_blocking(move || {
        run(Command::new(installed("bin/node"))
            .arg(installed("node_modules/@modelcontextprotocol/conformance/dist/index.js"))
            .args(["server", "--url", &url, "--suite", "active", "--expected-failures"])
            .arg(asset("expected.yml"))
            .arg("--output-dir")
            .arg(results))
    });
    let out = suite.await.unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "a scenario passed that should not, or did not pass that should");
    for scenario in ["server-initialize", "ping", "tools-list"] {
        assert!(text.contains(scenario), "{scenario} was not run");
    }
}

/// Whether it was content, and what it printed.
fn inspect(place: &Place, arguments: &[&str]) -> (bool, Value) {
    let out = run(Command::new(installed("bin/node"))
        .arg(installed("node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js"))
        .arg("--cli")
        .args(place.server())
        .args(arguments)
        .env("HOME", place.dir.path())
        .current_dir(place.dir.path()));
    (out.status.success(), serde_json::from_slice(&out.stdout).unwrap())
}

#[test]
fn the_inspector_lists_and_calls() {
    if skipped("mcp") {
        return;
    }
    let place = Place::new();
    let (listing, listed) = inspect(&place, &["--method", "tools/list", "--strict"]);
    assert!(listing);
    let tools = listed["tools"].as_array().unwrap();
    for name in ["read_text_file", "write_file", "execute_command"] {
        assert!(tools.iter().any(|tool| tool["name"] == name), "{name} is not listed");
    }
    let call = |path: &str| {
        let path = format!("path={path}");
        inspect(
            &place,
            &["--method", "tools/call", "--tool-name", "read_text_file", "--tool-arg", path.as_str()],
        )
    };
    let (reading, read) = call("a.txt");
    assert!(reading);
    assert!(read["content"][0]["text"].as_str().unwrap().contains("hello from the workspace"));
    // A result that is an error is one to the inspector, and no failure of the protocol.
    let (reading, denied) = call("/etc/passwd");
    assert!(!reading);
    assert_eq!(denied["isError"], true);
    assert!(denied["structuredContent"]["denial"]["rule"].is_string(), "{denied}");
}

#[test]
fn the_python_client_lists_and_calls() {
    if skipped("mcp") {
        return;
    }
    let place = Place::new();
    let out = run(Command::new("/usr/bin/python3")
        .env("PYTHONPATH", installed("python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(asset("client.py"))
        .args(place.server()));
    assert!(out.status.success());
    let seen: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(seen["hello"]["serverInfo"]["name"], "cordon");
    assert!(seen["tools"].as_array().unwrap().iter().any(|name| name == "edit_file"));
    assert!(seen["read"]["content"][0]["text"].as_str().unwrap().contains("hello from the workspace"));
    assert_eq!(seen["denied"]["isError"], true);
}

#[test]
fn the_end_of_the_stream_ends_every_command() {
    let place = Place::new();
    let argv = place.server();
    let mut server = Command::new(&argv[0])
        .args(&argv[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{argv:?}: {e}"));
    let (mut to, from) = (server.stdin.take().unwrap(), server.stdout.take().unwrap());
    let mut from = BufReader::new(from).lines();
    let mut say = |message: Value| to.write_all(format!("{message}\n").as_bytes()).unwrap();
    let who = json!({"name": "test", "version": "1"});
    say(json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params":
        {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": who}}));
    // Named after this test's own directory, so that nobody else's is meant.
    let mark = place.dir.path().join("mark").display().to_string();
    let sleep = format!("bash -c 'sleep 9876; : {mark}'");
    let call = |id: u64, name: &str, command: &str| {
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": {"name": name, "arguments": {"command": command}}})
    };
    // In a session of its own, without a parent, in the background, and one that is waited for.
    say(call(1, "start_background_command", &format!("setsid {sleep} & {sleep}")));
    say(call(2, "execute_command", &sleep));
    for _ in 0..2 {
        from.next().unwrap().unwrap();
    }
    assert!(wait_until(Duration::from_secs(20), || processes_mentioning(&mark).len() >= 3));
    drop(to);
    assert!(server.wait().unwrap().success());
    assert_eq!(processes_mentioning(&mark), Vec::<String>::new(), "something outlived the server");
}
