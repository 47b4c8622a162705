use crate::{report::Report, spec::spawn_first_byte};
use cordon_policy::{Access, Operation, Origin, Policy, Rule, Source};
use cordon_proto::guest as pb;
use cordon_tests::harness::bin;
use prost::Message as _;
use serde_json::{Value, json};
use std::{
    fs,
    hint::black_box,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

/// A server and the one client that it has.
pub(crate) struct Session {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Session {
    /// The guest's own, for this workspace.
    pub(crate) fn ours(workspace: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::start(&ours(directory.path(), workspace)).0
    }

    /// From nothing to the answer of the handshake.
    fn start(argv: &[String]) -> (Self, Duration) {
        let began = Instant::now();
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{argv:?}: {e}"));
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut session = Self { child, to, from };
        let who = json!({"name": "bench", "version": "1"});
        session.say(&json!({"jsonrpc": "2.0", "id": "hello", "method": "initialize", "params":
            {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": who}}));
        session.hear();
        let took = began.elapsed();
        session.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        (session, took)
    }

    fn say(&mut self, message: &Value) {
        self.to.write_all(format!("{message}\n").as_bytes()).unwrap();
    }

    fn hear(&mut self) {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        assert!(line.contains("\"result\"") && !line.contains("\"isError\":true"), "{line:.500}");
    }

    pub(crate) fn call(&mut self, name: &str, arguments: &Value) -> Duration {
        let began = Instant::now();
        self.ask(name, arguments);
        self.hear();
        began.elapsed()
    }

    fn ask(&mut self, name: &str, arguments: &Value) {
        let params = json!({"name": name, "arguments": arguments});
        // Some peers answer in the order of their own; ids are not looked at here.
        let id = self.to_id();
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}));
    }

    fn to_id(&self) -> u64 {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(1);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    /// Calls a second with sixteen of them always under way.
    fn in_flight(&mut self, calls: usize, name: &str, arguments: &Value) -> f64 {
        let began = Instant::now();
        for _ in 0..16 {
            self.ask(name, arguments);
        }
        for done in 0..calls {
            self.hear();
            if done + 16 < calls {
                self.ask(name, arguments);
            }
        }
        #[allow(clippy::cast_precision_loss)]
        let calls = calls as f64;
        calls / began.elapsed().as_secs_f64()
    }

    pub(crate) fn end(mut self) {
        drop(self.to);
        self.child.wait().unwrap();
    }
}

fn built(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../build").join(name)
}

fn ours(directory: &Path, workspace: &Path) -> Vec<String> {
    let path = |path: &Path| path.as_os_str().as_encoded_bytes().to_vec();
    let rule = pb::TableRule {
        path: path(workspace).into(),
        access: pb::Access::Write.into(),
        source: Source::Workspace.key().to_owned(),
        ..pb::TableRule::default()
    };
    let table =
        pb::ToolTable { rules: vec![rule], workspace: path(workspace).into(), ..pb::ToolTable::default() };
    let file = directory.join("table");
    fs::write(&file, table.encode_to_vec()).unwrap();
    let wrapper = ["bwrap", "--die-with-parent", "--dev-bind", "/", "/", "--tmpfs", "/run", "--ro-bind"];
    let guest = bin().join("cordon-guest");
    let rest = [file.to_str().unwrap(), "/run/cordon-policy", guest.to_str().unwrap(), "mcp"];
    wrapper.iter().chain(&rest).map(|word| (*word).to_owned()).collect()
}

/// The peers that are installed; which are not is said.
fn peers(workspace: &Path) -> Vec<(&'static str, Vec<String>)> {
    let text = |path: &Path| path.display().to_string();
    let server = built("mcp/node_modules/@modelcontextprotocol/server-filesystem/dist/index.js");
    let peers = [
        ("npm server-filesystem", vec![text(&built("mcp/bin/node")), text(&server), text(workspace)]),
        ("rust-mcp-filesystem", vec![text(&built("tools/bin/rust-mcp-filesystem")), text(workspace)]),
    ];
    let is_there = |(name, argv): &(&str, Vec<String>)| {
        let there = Path::new(&argv[0]).is_file();
        if !there {
            eprintln!("{name} is not installed ({}): its cases are left out", argv[0]);
        }
        there
    };
    peers.into_iter().filter(is_there).collect()
}

/// An MCP server on its standard streams.
pub(crate) fn server(report: &mut Report, rounds: usize) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let workspace = root.join("ws");
    fs::create_dir(&workspace).unwrap();
    let file = workspace.join("1k.txt");
    fs::write(&file, "0123456789abcde\n".repeat(64)).unwrap();
    let arguments = json!({"path": file});
    let mut sides = vec![("cordon, bwrap around it", ours(&root, &workspace))];
    sides.extend(peers(&workspace));
    for _ in 0..rounds.min(20) {
        for (name, argv) in &sides {
            let (mut session, took) = Session::start(argv);
            report.time("MCP start to first answer", name, took);
            session.call("read_text_file", &arguments);
            for _ in 0..20 {
                report.time("MCP read of 1 KB", name, session.call("read_text_file", &arguments));
            }
            let speed = session.in_flight(1000, "read_text_file", &arguments);
            report.add("MCP reads of 1 KB, 16 in flight", name, speed, "calls/s");
            session.end();
        }
    }
}

/// `echo hi` by the bash tool and by bash itself.
pub(crate) fn bash(report: &mut Report, rounds: usize) {
    const ROW: &str = "bash tool, echo hi";
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let (mut session, _) = Session::start(&ours(&root, &root));
    let arguments = json!({"command": "echo hi"});
    session.call("execute_command", &arguments);
    for _ in 0..rounds {
        report.time(ROW, "bash -c", spawn_first_byte(Command::new("bash").args(["-c", "echo hi"])));
        report.time(ROW, "bash -lc", spawn_first_byte(Command::new("bash").args(["-lc", "echo hi"])));
        report.time(ROW, "cordon", session.call("execute_command", &arguments));
    }
    session.end();
}

/// One decision by a thousand rules.
pub(crate) fn decision(report: &mut Report, rounds: usize) {
    const LOOKUPS: u32 = 10_000;
    let rule = |n: usize| Rule {
        path: format!("/srv/projects/team{}/project{n}/tree", n % 10).into(),
        access: if n.is_multiple_of(3) { Access::Read } else { Access::Write },
        origin: Origin::built_in(Source::ContextPath),
    };
    let policy = Policy::new((0..1000).map(rule)).unwrap();
    let paths: Vec<PathBuf> = policy.rules().map(|rule| rule.path.join("src/deep/er/module.rs")).collect();
    for _ in 0..rounds {
        for (name, operation) in [("read", Operation::Read), ("delete", Operation::Delete)] {
            let began = Instant::now();
            for path in paths.iter().cycle().take(LOOKUPS as usize) {
                black_box(policy.decide(black_box(path), operation));
            }
            let each = began.elapsed().as_secs_f64() * 1e6 / f64::from(LOOKUPS);
            report.add("path decision, 1,000 rules", name, each, "us");
        }
    }
}
