//! A sandbox with nothing of an agent's: a program, the hosts that it needs, and one directory.

use super::{HOME, Host, PlanError, contexts::seen, rules};
use cordon_backends::Room;
use cordon_egress::{EgressPolicy, Grant};
use cordon_policy::{Access, Limits, MountKind, Origin, Policy, Rule, Source};
use cordon_sandbox::{
    Identity, Labels, Network, PathEntry, PathKind, PathSource, SandboxSpec, ToolSettings, WallKind,
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// More mounts than these it does not have.
const MOST_MOUNTS: usize = 64;

/// Whose room it is, and what is in it.
pub(crate) struct For<'a> {
    pub(crate) owner: u32,
    /// In the place of an agent's name.
    pub(crate) what: &'a str,
    pub(crate) identity: Identity,
    pub(crate) wall: WallKind,
    pub(crate) image: Option<String>,
    /// Of the host, to be written at `inside`.
    pub(crate) directory: &'a Path,
    pub(crate) inside: &'a Path,
    pub(crate) limit: Duration,
}

/// The sandbox in which a program deals with its login.
pub(crate) fn room(host: &Host, room: &Room, made: &For<'_>) -> Result<SandboxSpec, PlanError> {
    let home = PathBuf::from(HOME);
    let rule = |path: &Path, access, source| Rule {
        path: path.to_path_buf(),
        access,
        origin: Origin::built_in(source),
    };
    let programs = room.programs.iter().filter(|_| made.wall == WallKind::Local);
    let own = programs.map(|path| rule(path, Access::Read, Source::Program)).chain([rule(
        made.inside,
        Access::Write,
        Source::Credential,
    )]);
    let policy = Policy::new(rules::built_in(&home).into_iter().chain(own))?;
    let fact = |path: &Path| match path == made.inside {
        true => cordon_policy::Fact::Directory,
        false => seen(path),
    };
    let mounts = policy.compile(fact, MOST_MOUNTS).map_err(PlanError::Unenforceable)?;
    let entry = |mount: cordon_policy::Mount<'_>| {
        let is_copy = mount.path == made.inside;
        let outside = if is_copy { made.directory.to_path_buf() } else { mount.path.clone() };
        let (source, access) = match mount.kind {
            MountKind::Hidden => (PathSource::Empty, Access::None),
            MountKind::ReadOnly => (PathSource::Host(outside), Access::Read),
            MountKind::Writable | MountKind::Pin => (PathSource::Host(outside), Access::Write),
        };
        PathEntry {
            source,
            kind: if mount.is_directory { PathKind::Directory } else { PathKind::File },
            access,
            execute: !is_copy,
            path: mount.path,
        }
    };
    let paths = mounts.into_iter().map(entry).collect();
    let grants = room.grant.iter().map(|(host, port)| Grant { host: host.clone(), port: *port });
    let egress = EgressPolicy { allow: room.hosts.clone(), grants: grants.collect() };
    Ok(SandboxSpec {
        id: uuid::Uuid::new_v4().simple().to_string()[..20].to_owned(),
        labels: Labels {
            run: String::new(),
            agent: made.what.to_owned(),
            owner: made.owner,
            daemon: host.daemon.clone(),
        },
        identity: made.identity,
        policy,
        paths,
        tools: ToolSettings { workspace: home.clone(), ..ToolSettings::default() },
        home,
        seeds: room.seeds.clone(),
        env: room.env.clone(),
        network: Network::Isolated,
        egress: Some(egress),
        forwards: room.forward.iter().cloned().collect(),
        limits: Limits { wall_clock: made.limit, ..Limits::default() },
        image: made.image.clone().or_else(|| Some(room.image.to_owned())),
        sudo: false,
        runtime: Default::default(),
        packages: Default::default(),
        canaries: [host.state.join("lock"), host.state.join("runs")].into_iter().collect(),
    })
}
