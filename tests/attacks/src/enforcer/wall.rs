//! Our own walls, driven as the daemon drives them.

use super::{Place, Said, block_on};
use crate::{Attack, Call, Run, World};
use cordon_policy::{Access, Denial, Limits, Origin, Policy, Rule, Source};
use cordon_proto::guest as pb;
use cordon_sandbox::{
    DockerOptions, DockerWall, Identity, Labels, LocalOptions, LocalWall, Network, PathEntry, PathKind,
    PathSource, Sandbox, SandboxSpec, ToolSettings, Wall, guest::ProcessEvent,
};
use std::{
    os::unix::ffi::OsStrExt as _,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};
use tokio::sync::mpsc;

/// The image that every attack on a container uses: bash, coreutils, util-linux and perl-base are in it.
pub(super) const IMAGE: &str = "debian:bookworm-slim";

/// A sandbox of one of our walls.
#[allow(missing_debug_implementations)]
pub struct Cell {
    wall: Box<dyn Wall>,
    sandbox: Sandbox,
    denials: mpsc::Receiver<Denial>,
}

impl Cell {
    /// A sandbox of the local wall.
    ///
    /// # Errors
    /// When it refuses.
    pub fn local(world: &World, attack: &Attack) -> Result<Self, String> {
        Self::make(Box::new(local(world)), world, attack)
    }

    /// A sandbox of the Docker wall.
    ///
    /// # Errors
    /// When it refuses.
    pub fn docker(world: &World, attack: &Attack) -> Result<Self, String> {
        Self::make(Box::new(docker(world)), world, attack)
    }

    fn make(wall: Box<dyn Wall>, world: &World, attack: &Attack) -> Result<Self, String> {
        let mut spec = spec(world);
        (attack.tune)(world, &mut spec);
        Self::of_spec(wall, spec)
    }

    /// A sandbox of this specification.
    ///
    /// # Errors
    /// When the wall refuses.
    pub fn of_spec(wall: Box<dyn Wall>, mut spec: SandboxSpec) -> Result<Self, String> {
        if spec.image.is_none() && wall.kind() == cordon_sandbox::WallKind::Docker {
            spec.image = Some(IMAGE.to_owned());
        }
        let (denials, told) = mpsc::channel(256);
        let sandbox =
            block_on(wall.create(&spec, &|_| Ok(()), denials)).map_err(|error| error.to_string())?;
        Ok(Self { wall, sandbox, denials: told })
    }

    /// The sandbox.
    #[must_use]
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// The guest inside.
    #[must_use]
    pub fn guest(&self) -> &cordon_sandbox::guest::Guest {
        &self.sandbox.guest
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        let ended = block_on(self.wall.destroy(&self.sandbox.record));
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}

impl Place for Cell {
    fn run(&mut self, world: &World, run: &Run) -> Option<Said> {
        let cwd = run.cwd.clone().unwrap_or_else(|| world.workspace());
        let script = format!("{}{}", world.prelude(), run.script);
        let start = pb::Start {
            process_id: process_id(),
            argv: vec!["/bin/bash".into(), "-c".into(), script.into()],
            cwd: cwd.as_os_str().as_bytes().to_vec().into(),
            pty: run.terminal.then_some(pb::WindowSize { rows: 24, columns: 80 }),
            timeout_ms: 60_000,
            ..pb::Start::default()
        };
        Some(block_on(finish(&self.sandbox, start)))
    }

    fn call(&mut self, _: &Call) -> Option<Said> {
        None
    }

    fn denial(&mut self) -> Option<Denial> {
        let next = self.denials.recv();
        block_on(async { tokio::time::timeout(Duration::from_secs(10), next).await.ok().flatten() })
    }
}

pub(crate) fn process_id() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("p{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn finish(sandbox: &Sandbox, start: pb::Start) -> Said {
    let mut said = Said { started: true, ..Said::default() };
    let mut process = match sandbox.guest.exec(start).await {
        Ok(process) => process,
        Err(error) => return Said { bytes: error.to_string().into(), started: false, ..Said::default() },
    };
    while let Some(event) = process.events.recv().await {
        match event {
            ProcessEvent::Output { data, offset, .. } => {
                said.bytes.extend_from_slice(&data);
                let seen = offset + data.len() as u64;
                let _ = process.input.send(cordon_sandbox::guest::ProcessInput::Ack(seen)).await;
            }
            ProcessEvent::Exited(exited) => said.code = exited.code,
            ProcessEvent::Started { .. } | ProcessEvent::Dropped { .. } => {}
            ProcessEvent::Failed { .. } => said.started = false,
            ProcessEvent::Lost(why) => said.bytes.extend_from_slice(format!("\nLOST {why}\n").as_bytes()),
        }
    }
    said
}

/// The local wall of a world's daemon.
#[must_use]
pub fn local(world: &World) -> LocalWall {
    let guest = world.path("bin/cordon-guest");
    LocalWall::new(LocalOptions { state: world.path("state"), guest })
}

/// The Docker wall of a world's daemon.
#[must_use]
pub fn docker(world: &World) -> DockerWall {
    DockerWall::connect(DockerOptions {
        state: world.path("state"),
        guest: world.path("bin/cordon-guest"),
        docker_host: None,
        allow_host_network: false,
    })
}

/// A socket in the read-only tree that stands there before the sandbox does.
pub(crate) const FOUND_SOCKET: &str = "socket";

/// What the agent of a world gets: see `World` for the trees.
#[must_use]
pub fn spec(world: &World) -> SandboxSpec {
    let (ws, ro) = (world.workspace(), world.read_only());
    let rule = |path: &Path, access, source| Rule {
        path: path.to_path_buf(),
        access,
        origin: Origin { source, place: None },
    };
    let mut rules = vec![
        rule(&ws, Access::Write, Source::Workspace),
        rule(&ws.join("held"), Access::Read, Source::RunsLater),
        rule(&ws.join("hidden"), Access::None, Source::Secret),
        rule(&ws.join("keep"), Access::Read, Source::ProtectedPath),
        rule(&ro, Access::Read, Source::ContextPath),
    ];
    let host = |path: &Path, access, kind| PathEntry {
        path: path.to_path_buf(),
        source: PathSource::Host(path.to_path_buf()),
        kind,
        access,
        execute: true,
    };
    let empty =
        |path: &Path, access| PathEntry { source: PathSource::Empty, ..host(path, access, PathKind::File) };
    let mut paths = vec![
        host(&ws, Access::Write, PathKind::Directory),
        empty(&ws.join("held"), Access::Read),
        empty(&ws.join("hidden"), Access::None),
        host(&ws.join("keep"), Access::Read, PathKind::Directory),
        host(&ro, Access::Read, PathKind::Directory),
    ];
    // As the daemon's plan hides every socket that it finds in a tree.
    let socket = ro.join(FOUND_SOCKET);
    if socket.symlink_metadata().is_ok() {
        rules.push(rule(&socket, Access::None, Source::Socket));
        paths.push(empty(&socket, Access::None));
    }
    SandboxSpec {
        id: world.id().to_owned(),
        labels: Labels {
            run: "run".to_owned(),
            agent: "agent".to_owned(),
            owner: world.uid,
            daemon: format!("attack-{}", world.id()),
        },
        identity: Identity { uid: world.uid, gid: gid(world) },
        policy: Policy::new(rules).expect("rules in normal form"),
        paths,
        home: "/home/agent".into(),
        seeds: Vec::new(),
        env: Vec::new(),
        network: Network::Isolated,
        egress: None,
        forwards: Vec::new(),
        limits: Limits { memory_bytes: 512 << 20, pids: 128, tmp_bytes: 32 << 20, ..Limits::default() },
        image: None,
        sudo: false,
        runtime: cordon_sandbox::Runtime::default(),
        packages: cordon_sandbox::Packages::default(),
        tools: ToolSettings { workspace: ws, ..ToolSettings::default() },
        canaries: vec![world.canary()],
    }
}

/// A path of the host in a place of ours, a file or a directory.
#[must_use]
pub fn entry(path: &Path, access: Access, directory: bool) -> PathEntry {
    let kind = if directory { PathKind::Directory } else { PathKind::File };
    PathEntry {
        path: path.to_path_buf(),
        source: PathSource::Host(path.to_path_buf()),
        kind,
        access,
        execute: true,
    }
}

fn gid(world: &World) -> u32 {
    if rustix::process::geteuid().is_root() { world.uid } else { rustix::process::getegid().as_raw() }
}
