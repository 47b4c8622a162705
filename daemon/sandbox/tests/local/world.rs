//! What the tests of the local wall share: a host tree with a canary, and sandboxes on it.

use cordon_policy::{Access, Denial, Limits, Origin, Policy, Rule, Source};
use cordon_proto::guest as pb;
use cordon_sandbox::{
    Identity, Labels, LocalOptions, LocalWall, Network, PathEntry, PathKind, PathSource, Sandbox,
    SandboxError, SandboxSpec, ToolSettings, Wall as _, guest::ProcessEvent,
};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};
use tempfile::TempDir;
use tokio::sync::mpsc;

pub(crate) struct World {
    place: TempDir,
    wall: LocalWall,
    id: String,
}

/// A test that failed half-way leaves nothing to the next one either.
impl Drop for World {
    fn drop(&mut self) {
        let wall = self.another_wall();
        let cleaning = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(wall.reap("", &[])).unwrap()
        });
        let removed = cleaning.join();
        if !std::thread::panicking() {
            assert_eq!(removed.unwrap(), Vec::<String>::new(), "the test left sandboxes behind");
        }
    }
}

/// Whether a process still does anything: one that only waits to be reaped does not.
pub(crate) fn is_running(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// Output and exit of one command.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: Option<u32>,
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether the environment names this group of tests as one to leave out.
pub(crate) fn skipped(name: &str) -> bool {
    std::env::var("CORDON_TEST_SKIP").is_ok_and(|list| list.split(',').any(|n| n == name))
}

pub(crate) fn guest() -> PathBuf {
    let guest = std::env::var_os("CORDON_GUEST").map(PathBuf::from);
    guest.expect("CORDON_GUEST must name a static guest; how to build it stands on top of tests/local.rs")
}

/// A directory that every user may enter.
pub(crate) fn public_directory() -> TempDir {
    let place = tempfile::Builder::new().prefix("cordon-local-").tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    place
}

pub(crate) fn denials() -> mpsc::Sender<Denial> {
    mpsc::channel(1).0
}

pub(crate) fn entry(path: &Path, access: Access, kind: PathKind) -> PathEntry {
    let source = PathSource::Host(path.to_path_buf());
    PathEntry { path: path.to_path_buf(), source, kind, access, execute: true }
}

impl World {
    /// None when the environment says to leave the local wall out.
    pub(crate) fn new(id: &str) -> Option<Self> {
        if skipped("local") {
            return None;
        }
        let place = public_directory();
        let root = place.path().canonicalize().unwrap();
        for directory in ["state", "project/keep", "project/secrets", "reference"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        for (file, content) in [
            ("canary", "CANARY"),
            ("project/keep/file", "kept"),
            ("project/.env", "TOKEN"),
            ("project/secrets/key", "KEY"),
            ("project/held", ""),
            ("reference/file", "referred"),
        ] {
            fs::write(root.join(file), content).unwrap();
        }
        let world =
            Self { wall: LocalWall::new(options(&root)), place, id: format!("{id}p{}", std::process::id()) };
        if is_root() {
            let Identity { uid, gid } = world.identity();
            let owned = [
                "project",
                "project/keep",
                "project/keep/file",
                "project/.env",
                "project/secrets",
                "reference",
            ];
            for path in owned {
                std::os::unix::fs::chown(root.join(path), Some(uid), Some(gid)).unwrap();
            }
        }
        Some(world)
    }

    pub(crate) fn identity(&self) -> Identity {
        if is_root() {
            return Identity { uid: 12_345, gid: 12_346 };
        }
        Identity { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
    }

    fn root(&self) -> PathBuf {
        self.place.path().canonicalize().unwrap()
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root().join("state")
    }

    pub(crate) fn project(&self) -> PathBuf {
        self.root().join("project")
    }

    pub(crate) fn reference(&self) -> PathBuf {
        self.root().join("reference")
    }

    pub(crate) fn canary(&self) -> PathBuf {
        self.root().join("canary")
    }

    pub(crate) fn wall(&self) -> &LocalWall {
        &self.wall
    }

    /// As a restarted daemon would have it.
    pub(crate) fn another_wall(&self) -> LocalWall {
        LocalWall::new(options(&self.root()))
    }

    /// A writable project with a protected child, two masks and a held name, and a
    /// read-only reference.
    pub(crate) fn spec(&self) -> SandboxSpec {
        let project = self.project();
        let empty = |name: &str, kind| PathEntry {
            source: PathSource::Empty,
            ..entry(&project.join(name), Access::None, kind)
        };
        let paths = vec![
            entry(&project, Access::Write, PathKind::Directory),
            empty(".env", PathKind::File),
            empty("held", PathKind::File),
            entry(&project.join("keep"), Access::Read, PathKind::Directory),
            empty("secrets", PathKind::Directory),
            entry(&self.reference(), Access::Read, PathKind::Directory),
        ];
        SandboxSpec {
            id: self.id.clone(),
            labels: Labels {
                run: "r".into(),
                agent: "a".into(),
                owner: self.identity().uid,
                daemon: "d".into(),
            },
            identity: self.identity(),
            policy: policy_of(&paths),
            paths,
            home: "/home/agent".into(),
            seeds: Vec::new(),
            env: Vec::new(),
            network: Network::Isolated,
            egress: None,
            forwards: Vec::new(),
            limits: Limits::default(),
            image: None,
            sudo: false,
            runtime: cordon_sandbox::Runtime::default(),
            packages: cordon_sandbox::Packages::default(),
            tools: ToolSettings::default(),
            canaries: vec![self.canary()],
        }
    }

    pub(crate) async fn create(&self, spec: &SandboxSpec) -> Result<Sandbox, SandboxError> {
        self.wall.create(spec, &|_| Ok(()), denials()).await
    }

    pub(crate) async fn destroy(&self, sandbox: &Sandbox) {
        self.wall.destroy(&sandbox.record).await.unwrap();
    }

    /// Processes of this world's sandboxes that are still there.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let wanted = format!("cordon-guest/{}", self.id);
        // A process that ended has no command line any more.
        fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
            .map(|line| String::from_utf8_lossy(&line).into_owned())
            .filter(|line| line.starts_with(&wanted))
            .collect()
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

fn options(root: &Path) -> LocalOptions {
    LocalOptions { state: root.join("state"), guest: guest() }
}

/// Runs a shell command inside.
pub(crate) async fn run(sandbox: &Sandbox, command: &str) -> Done {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let start = pb::Start {
        process_id: format!("p{number}"),
        argv: vec!["/bin/bash".into(), "-c".into(), command.to_owned().into()],
        cwd: "/".into(),
        timeout_ms: 60_000,
        ..pb::Start::default()
    };
    let mut process = sandbox.guest.exec(start).await.unwrap();
    let mut done = Done::default();
    while let Some(event) = process.events.recv().await {
        match event {
            ProcessEvent::Output { stream, data, .. } => {
                let text = String::from_utf8_lossy(&data);
                match stream {
                    pb::Stream::Stderr => done.stderr.push_str(&text),
                    _ => done.stdout.push_str(&text),
                }
            }
            ProcessEvent::Exited(exited) => done.code = exited.code,
            ProcessEvent::Started { .. } => {}
            other => panic!("{command}: {other:?}"),
        }
    }
    done
}
