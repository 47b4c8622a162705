//! A specification for unit tests.

use crate::{Identity, Labels, Network, PathEntry, PathKind, PathSource, SandboxSpec, ToolSettings};
use cordon_policy::{Access, Limits, Origin, Policy, Rule, Source};

/// A writable tree with a read-only and a masked directory in it.
pub(crate) fn spec() -> SandboxSpec {
    let entry = |path: &str, access, source| PathEntry {
        path: path.into(),
        source,
        kind: PathKind::Directory,
        access,
        execute: false,
    };
    let rule =
        |path: &str, access, source| Rule { path: path.into(), access, origin: Origin::built_in(source) };
    let rules = [
        rule("/w", Access::Write, Source::Workspace),
        rule("/w/keep", Access::Read, Source::ProtectedPath),
        rule("/w/none", Access::None, Source::Secret),
        rule("/home/agent", Access::Write, Source::Home),
    ];
    SandboxSpec {
        id: "a1".into(),
        labels: Labels { run: "r".into(), agent: "a".into(), owner: 1000, daemon: "d".into() },
        identity: Identity { uid: 1000, gid: 1000 },
        policy: Policy::new(rules).unwrap_or_default(),
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
        runtime: crate::Runtime::default(),
        packages: crate::Packages::default(),
        tools: ToolSettings { workspace: "/w".into(), ..ToolSettings::default() },
        canaries: vec!["/root/canary".into()],
    }
}
