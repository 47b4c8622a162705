use cordon_policy::{Access, Limits, Origin, Policy, Rule, Source};
use cordon_proto::guest::Start;
use cordon_sandbox::{
    Identity, Labels, Network, PathEntry, PathKind, PathSource, Sandbox, SandboxSpec, ToolSettings, Wall,
    guest::ProcessEvent,
};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Who agents run as here.
pub(crate) const IDENTITY: Identity = Identity { uid: 65_534, gid: 65_534 };

/// The image of every container here.
pub(crate) const IMAGE: &str = "debian:bookworm-slim";

/// A sandbox with one workspace and no network.
pub(crate) fn spec(id: &str, workspace: &Path, image: Option<&str>) -> SandboxSpec {
    let rule =
        |path: &str, access, source| Rule { path: path.into(), access, origin: Origin::built_in(source) };
    SandboxSpec {
        id: id.to_owned(),
        labels: Labels { run: "bench".into(), agent: "bench".into(), owner: 0, daemon: "bench".into() },
        identity: IDENTITY,
        // As a run's: what the wall makes itself, and the workspace.
        policy: Policy::new(
            ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/proc", "/dev"]
                .map(|path| rule(path, Access::Read, Source::System))
                .into_iter()
                .chain([
                    rule("/etc/shadow", Access::None, Source::Secret),
                    rule("/tmp", Access::Write, Source::Temporary),
                    rule("/home/agent", Access::Write, Source::Home),
                    rule(workspace.to_str().unwrap(), Access::Write, Source::Workspace),
                ]),
        )
        .unwrap(),
        paths: vec![PathEntry {
            path: workspace.to_path_buf(),
            source: PathSource::Host(workspace.to_path_buf()),
            kind: PathKind::Directory,
            access: Access::Write,
            execute: true,
        }],
        home: PathBuf::from("/home/agent"),
        seeds: Vec::new(),
        env: Vec::new(),
        network: Network::Isolated,
        egress: None,
        forwards: Vec::new(),
        limits: Limits::default(),
        image: image.map(str::to_owned),
        sudo: false,
        runtime: cordon_sandbox::Runtime::default(),
        packages: cordon_sandbox::Packages::default(),
        tools: ToolSettings::default(),
        canaries: Vec::new(),
    }
}

/// Makes a sandbox with a wall.
pub(crate) async fn create(wall: &dyn Wall, spec: &SandboxSpec) -> Sandbox {
    let (denials, _) = tokio::sync::mpsc::channel(16);
    wall.create(spec, &|_| Ok(()), denials).await.unwrap_or_else(|e| panic!("{e}"))
}

/// Runs a program in a sandbox; how long until its first byte.
pub(crate) async fn first_byte(sandbox: &Sandbox, id: &str, argv: &[&str], from: Instant) -> Duration {
    let start = Start {
        process_id: id.to_owned(),
        argv: argv.iter().map(|a| a.as_bytes().to_vec().into()).collect(),
        cwd: b"/tmp".to_vec().into(),
        ..Start::default()
    };
    let mut process = sandbox.guest.exec(start).await.unwrap_or_else(|e| panic!("{e}"));
    let mut first = None;
    while let Some(event) = process.events.recv().await {
        match event {
            ProcessEvent::Output { .. } => {
                first.get_or_insert_with(|| from.elapsed());
            }
            ProcessEvent::Exited(_) => break,
            ProcessEvent::Started { .. } | ProcessEvent::Dropped { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    first.expect("some output")
}

/// Runs a host program; how long until its first byte.
pub(crate) fn spawn_first_byte(command: &mut Command) -> Duration {
    use std::io::Read as _;
    let from = Instant::now();
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut byte = [0];
    child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let took = from.elapsed();
    child.wait().unwrap();
    took
}
