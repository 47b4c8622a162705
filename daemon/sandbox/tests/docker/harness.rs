use cordon_policy::{Access, Limits, Origin, Policy, Rule, Source};
use cordon_proto::guest as pb;
use cordon_sandbox::{
    DockerOptions, DockerWall, Identity, Labels, Network, PathEntry, PathKind, PathSource, Sandbox,
    SandboxError, SandboxSpec, ToolSettings, Wall, guest::ProcessEvent,
};
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};
use tokio::sync::mpsc;

pub(crate) const IMAGE: &str = "debian:bookworm-slim";
pub(crate) const UID: u32 = 4242;

/// Whether a test is to be left out by the tester's word. Without it, a test that
/// cannot run fails.
pub(crate) fn skipped() -> bool {
    is_named("docker")
}

/// Whether CORDON_TEST_SKIP names this.
pub(crate) fn is_named(what: &str) -> bool {
    let skip = std::env::var("CORDON_TEST_SKIP").unwrap_or_default();
    skip.split(',').any(|name| name == what)
}

/// Ends a test that the tester left out.
#[macro_export]
macro_rules! needs_docker {
    () => {
        if $crate::harness::skipped() {
            eprintln!("left out: CORDON_TEST_SKIP names docker");
            return;
        }
    };
}

/// Ends a test in gVisor that the tester left out.
#[macro_export]
macro_rules! needs_runsc {
    () => {
        $crate::needs_docker!();
        if $crate::harness::is_named("runsc") {
            eprintln!("left out: CORDON_TEST_SKIP names runsc");
            return;
        }
    };
}

fn guest() -> PathBuf {
    if let Some(path) = std::env::var_os("CORDON_GUEST") {
        return path.into();
    }
    let built = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/x86_64-unknown-linux-gnu/guest/cordon-guest");
    assert!(
        built.is_file(),
        "there is no guest at {}: set CORDON_GUEST, or leave out docker",
        built.display()
    );
    built
}

/// A daemon's state, a workspace, and the wall.
pub(crate) struct Fixture {
    pub(crate) wall: DockerWall,
    pub(crate) root: PathBuf,
    pub(crate) daemon: String,
    _keep: tempfile::TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(None, "")
    }

    /// With a piece of a name that all paths have in them.
    pub(crate) fn named(odd: &str) -> Self {
        Self::with(None, odd)
    }

    pub(crate) fn with(docker_host: Option<String>, odd: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let keep = tempfile::Builder::new().prefix("cordon-docker-").tempdir().unwrap();
        let root = keep.path().canonicalize().unwrap().join(format!("r{odd}"));
        for name in ["", "state", "work"] {
            std::fs::create_dir(root.join(name)).unwrap();
        }
        std::os::unix::fs::chown(root.join("work"), Some(UID), Some(UID)).unwrap();
        // The guest lies where every user can get at it.
        let guest_copy = root.join("cordon-guest");
        std::fs::copy(guest(), &guest_copy).unwrap();
        let daemon = format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let options = DockerOptions {
            state: root.join("state"),
            guest: guest_copy,
            docker_host,
            allow_host_network: false,
        };
        Self { wall: DockerWall::connect(options), root, daemon, _keep: keep }
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    pub(crate) fn spec(&self, id: &str) -> SandboxSpec {
        let paths = vec![host(&self.work(), Access::Write, PathKind::Directory)];
        SandboxSpec {
            id: id.to_owned(),
            labels: Labels {
                run: "run1".to_owned(),
                agent: "agent_a".to_owned(),
                owner: UID,
                daemon: self.daemon.clone(),
            },
            identity: Identity { uid: UID, gid: UID },
            policy: policy_of(&paths),
            paths,
            home: "/home/agent".into(),
            seeds: Vec::new(),
            env: Vec::new(),
            network: Network::Isolated,
            egress: None,
            forwards: Vec::new(),
            limits: Limits { memory_bytes: 256 << 20, pids: 64, tmp_bytes: 16 << 20, ..Limits::default() },
            image: Some(IMAGE.to_owned()),
            sudo: false,
            runtime: cordon_sandbox::Runtime::default(),
            packages: cordon_sandbox::Packages::default(),
            tools: ToolSettings::default(),
            canaries: vec!["/root/.bashrc".into()],
        }
    }

    pub(crate) async fn create(&self, spec: &SandboxSpec) -> Result<Sandbox, SandboxError> {
        let (denials, _) = mpsc::channel(16);
        self.wall.create(spec, &|_| Ok(()), denials).await
    }

    /// What is left on the engine and in the packet filter of this daemon.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let label = format!("label=cordon.daemon={}", self.daemon);
        let mut left = Vec::new();
        for arguments in [["ps", "-aq", "--filter", &label], ["network", "ls", "-q", "--filter"]] {
            let mut command = Command::new("docker");
            command.args(arguments);
            if arguments[0] == "network" {
                command.arg(&label);
            }
            left.extend(output(&mut command).lines().map(str::to_owned));
        }
        left
    }
}

impl Drop for Fixture {
    // A test that failed leaves nothing either.
    fn drop(&mut self) {
        let daemon = self.daemon.clone();
        let options = DockerOptions {
            state: self.root.join("state"),
            guest: PathBuf::new(),
            docker_host: None,
            allow_host_network: false,
        };
        let reap = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(DockerWall::connect(options).reap(&daemon, &[]))
        };
        if let Ok(Err(error)) = std::thread::spawn(reap).join() {
            eprintln!("leftovers of {} could not be removed: {error}", self.daemon);
        }
    }
}

/// The rules that a view was made from, and those that every sandbox has.
pub(crate) fn policy_of(paths: &[PathEntry]) -> Policy {
    let rule = |path: &Path, access, source| Rule {
        path: path.to_path_buf(),
        access,
        origin: Origin::built_in(source),
    };
    let built_in = [
        ("/usr", Access::Read, Source::System),
        ("/bin", Access::Read, Source::System),
        ("/lib32", Access::Read, Source::System),
        ("/etc", Access::Read, Source::System),
        ("/etc/shadow", Access::None, Source::Secret),
        ("/proc", Access::Read, Source::System),
        ("/dev", Access::Write, Source::System),
        ("/tmp", Access::Write, Source::Temporary),
        ("/home/agent", Access::Write, Source::Home),
    ];
    let built_in = built_in.map(|(path, access, source)| rule(Path::new(path), access, source));
    let granted = paths.iter().map(|entry| rule(&entry.path, entry.access, Source::ContextPath));
    Policy::new(built_in.into_iter().chain(granted)).unwrap()
}

pub(crate) fn host(path: &Path, access: Access, kind: PathKind) -> PathEntry {
    let source = match access {
        Access::None => PathSource::Empty,
        _ => PathSource::Host(path.to_path_buf()),
    };
    PathEntry { path: path.to_path_buf(), source, kind, access, execute: access == Access::Write }
}

pub(crate) fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Every rule of the packet filter, both families.
pub(crate) fn rules() -> String {
    let v4 = output(Command::new("/usr/sbin/iptables").args(["-w", "-S"]));
    v4 + &output(Command::new("/usr/sbin/ip6tables").args(["-w", "-S"]))
}

/// What a command inside printed, and its exit code.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<u32>,
    pub(crate) text: String,
}

pub(crate) async fn bash(sandbox: &Sandbox, script: &str) -> Outcome {
    let start = pb::Start {
        process_id: format!("p{}", std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos()),
        argv: ["/bin/bash", "-c", script].map(|s| s.as_bytes().to_vec().into()).to_vec(),
        cwd: b"/tmp"[..].into(),
        timeout_ms: 30_000,
        ..pb::Start::default()
    };
    let mut process = sandbox.guest.exec(start).await.unwrap();
    let mut text = Vec::new();
    let limit = Duration::from_secs(40);
    while let Some(event) = tokio::time::timeout(limit, process.events.recv()).await.unwrap() {
        match event {
            ProcessEvent::Output { data, .. } => text.extend_from_slice(&data),
            ProcessEvent::Exited(exited) => {
                return Outcome { code: exited.code, text: String::from_utf8_lossy(&text).into_owned() };
            }
            ProcessEvent::Started { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    panic!("the stream ended without an exit");
}
