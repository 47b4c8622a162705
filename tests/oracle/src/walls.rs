//! The kernel's verdict behind either wall.

use crate::{
    operation::Attempt,
    script::{self, Outcome},
    world::{UID, World},
};
use bytes::Bytes;
use cordon_policy::Limits;
use cordon_proto::guest as pb;
use cordon_sandbox::{
    Identity, Labels, Network, Sandbox, SandboxSpec, ToolSettings, Wall,
    guest::{ProcessEvent, ProcessInput},
};
use std::path::PathBuf;
use tokio::sync::mpsc;

/// The static guest that the environment names.
#[must_use]
pub fn guest() -> PathBuf {
    let guest = std::env::var_os("CORDON_GUEST").map(PathBuf::from);
    guest.expect("CORDON_GUEST must name a static guest: `make guest` builds one")
}

/// Whether the environment leaves a group of tests out.
#[must_use]
pub fn skipped(name: &str) -> bool {
    std::env::var("CORDON_TEST_SKIP").is_ok_and(|list| list.split(',').any(|n| n == name))
}

/// What a wall is told of a world.
#[must_use]
pub fn spec(world: &World, id: &str, daemon: &str, image: Option<&str>) -> SandboxSpec {
    let me =
        || Identity { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
    let identity = if rustix::process::geteuid().is_root() { Identity { uid: UID, gid: UID } } else { me() };
    SandboxSpec {
        id: id.to_owned(),
        labels: Labels {
            run: "oracle".into(),
            agent: "a".into(),
            owner: identity.uid,
            daemon: daemon.into(),
        },
        identity,
        policy: world.policy.clone(),
        paths: world.view(),
        home: "/home/agent".into(),
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
        tools: ToolSettings { workspace: world.rules[0].0.clone(), ..ToolSettings::default() },
        canaries: vec![world.root.join("outside/canary")],
    }
}

/// Makes a sandbox, tries everything in it, and ends it.
pub async fn ask(wall: &dyn Wall, spec: &SandboxSpec, attempts: &[Attempt]) -> Result<Vec<Outcome>, String> {
    let (denials, _keep) = mpsc::channel(64);
    let sandbox = wall.create(spec, &|_| Ok(()), denials).await.map_err(|e| e.to_string())?;
    let output = run(&sandbox, script::input(attempts)).await;
    wall.destroy(&sandbox.record).await.map_err(|e| e.to_string())?;
    Ok(script::outcomes(&output?))
}

async fn run(sandbox: &Sandbox, input: String) -> Result<String, String> {
    let start = pb::Start {
        process_id: "oracle".to_owned(),
        argv: ["perl", "-e", script::PERL].iter().map(|a| Bytes::from(a.as_bytes().to_vec())).collect(),
        cwd: "/tmp".into(),
        stdin: true,
        timeout_ms: 120_000,
        ..pb::Start::default()
    };
    let mut process = sandbox.guest.exec(start).await.map_err(|e| e.to_string())?;
    process.input.send(ProcessInput::Stdin(input.into())).await.map_err(|e| e.to_string())?;
    process.input.send(ProcessInput::StdinEof).await.map_err(|e| e.to_string())?;
    let mut output = Vec::new();
    while let Some(event) = process.events.recv().await {
        match event {
            ProcessEvent::Output { stream: pb::Stream::Stdout, data, .. } => output.extend_from_slice(&data),
            ProcessEvent::Exited(exit) if exit.code == Some(0) => {
                return String::from_utf8(output).map_err(|e| e.to_string());
            }
            ProcessEvent::Exited(_) | ProcessEvent::Failed { .. } | ProcessEvent::Lost(_) => {
                return Err(format!("the script ended early: {event:?}"));
            }
            _ => {}
        }
    }
    Err("the guest told no end".to_owned())
}
