//! A specification for unit tests.

use crate::{Identity, Labels, Network, PathEntry, PathKind, PathSource, SandboxSpec, ToolSettings};
use cordon_policy::{Access, Limits, Policy};

/// A writable tree with a read-only and a masked directory in it.
pub(crate) fn spec() -> SandboxSpec {
    let entry = |path: &str, access, source| PathEntry {
        path: path.into(),
        source,
        kind: PathKind::Directory,
        access,
        execute: false,
    };
    SandboxSpec {
        id: "a1".into(),
        labels: Labels { run: "r".into(), agent: "a".into(), owner: 1000, daemon: "d".into() },
        identity: Identity { uid: 1000, gid: 1000 },
        policy: Policy::default(),
        paths: vec![
            entry("/w", Access::Write, PathSource::Host("/w".into())),
            entry("/w/keep", Access::Read, PathSource::Host("/w/keep".into())),
            entry("/w/none", Access::None, PathSource::Empty),
        ],
        home: "/home/agent".into(),
        seeds: Vec::new(),
        env: Vec::new(),
        network: Network::Isolated,
        egress: None,
        forwards: Vec::new(),
        limits: Limits::default(),
        image: None,
        sudo: false,
        tools: ToolSettings { workspace: "/w".into(), ..ToolSettings::default() },
        canaries: vec!["/root/canary".into()],
    }
}
