//! From a checked agent to a sandbox: canonicalises the roots once, looks at the
//! user's trees, and writes down rules, view, network and limits. Blocking I/O.

mod contexts;
mod credentials;
mod custom;
mod error;
mod guards;
mod linked;
mod network;
mod peers;
mod placeholders;
mod protected;
mod room;
mod rules;
mod staged;
mod workspace;

#[cfg(test)]
mod tests;

pub(crate) use custom::starts_its_own;
pub use error::PlanError;
pub use peers::Peers;
pub use placeholders::remove_placeholders;
pub(crate) use protected::is_secret;
pub(crate) use room::{For as RoomFor, room};
pub use staged::{Held, Staged};
pub use workspace::Workspace;

use cordon_backends::{BackendError, Context, Needs, Variables, backend};
use cordon_config::{Agent, AgentFile, ExecutionMode};
use cordon_policy::{Access, Limits, Policy};
use cordon_sandbox::{
    Identity, Labels, Packages, PathEntry, PathKind, PathSource, Runtime, SandboxSpec, SeedFile,
    ToolSettings, WallKind,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// The private home of every agent, behind every wall.
pub const HOME: &str = "/home/agent";

/// Who agents of root's own runs run as, where no existing workspace says otherwise:
/// the kernel's overflow user, which owns nothing.
pub const UNPRIVILEGED: Identity = Identity { uid: 65_534, gid: 65_534 };

/// What the daemon knows of its host.
#[derive(Clone, Debug)]
pub struct Host {
    /// State directory, canonical.
    pub state: PathBuf,
    /// Identity of the state directory, for labels.
    pub daemon: String,
    /// Directories in which the local wall's programs are looked for.
    pub program_path: Vec<PathBuf>,
}

/// The user that a run belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Home directory, where logins live.
    pub home: PathBuf,
}

/// One agent of one run.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Run id.
    pub run: &'a str,
    /// Its place among the run's agents.
    pub index: usize,
    /// The agent.
    pub agent: &'a Agent,
    /// The file it is from.
    pub file: &'a AgentFile,
    /// Who asks.
    pub owner: &'a Owner,
    /// Values that the client sent.
    pub variables: &'a Variables,
    /// Overrides the file's wall.
    pub wall: Option<WallKind>,
    /// What for.
    pub purpose: Purpose,
    /// The first of the runs that go on one from another, of which this is one: it names the
    /// workspace that Cordon makes and the home that the agent's program keeps. None: the home
    /// goes with the sandbox.
    pub line: Option<&'a str>,
}

/// What a plan is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A sandbox will be made of it.
    Start,
    /// The sandbox stands already, made by an earlier daemon: a login that has expired
    /// meanwhile no longer matters, nor what its agent has made.
    Again,
    /// Somebody only looks at the rules: what this machine or this person lacks to start the
    /// agent is no reason not to tell them.
    Look,
}

/// Everything that is decided about an agent before its sandbox is made.
#[derive(Clone, Debug)]
pub struct Planned {
    /// What the wall is told.
    pub sandbox: SandboxSpec,
    /// What the backend is told.
    pub context: Context,
    /// What the backend said it needs.
    pub needs: Needs,
    /// The rules, shared.
    pub policy: Arc<Policy>,
    /// The agent's tree.
    pub workspace: Workspace,
    /// Empty names that were made in trees of the user's that are mounted directly, to be held;
    /// to be removed at the end with [`remove_placeholders`].
    pub placeholders: Vec<PathBuf>,
    /// Forks that have to stand before the sandbox is made.
    pub staged: Vec<Staged>,
    /// Where the agent sees the others' trees; a directory that has to stand before the sandbox
    /// is made.
    pub peers: Peers,
    /// What the person should know before the run.
    pub warnings: Vec<String>,
    /// Trees that the agent changes directly, the workspace first.
    pub watched: Vec<PathBuf>,
}

/// Plans one agent. Makes the workspace where it is Cordon's own, and placeholders in
/// context paths that are mounted directly; touches nothing else.
///
/// # Errors
/// When a path, a login or a setting is missing or must not be used, with the fix.
pub fn plan(host: &Host, request: &Request<'_>) -> Result<Planned, PlanError> {
    let agent = request.agent;
    let wall = request.wall.unwrap_or(match agent.mode {
        ExecutionMode::Docker => WallKind::Docker,
        ExecutionMode::Local => WallKind::Local,
    });
    let workspace = workspace::resolve(host, request)?;
    let home = PathBuf::from(HOME);
    let mut context = Context {
        agent: agent.clone(),
        wall,
        workspace: workspace.path.clone(),
        home: home.clone(),
        owner_home: request.owner.home.clone(),
        logins: cordon_logins::Store::new(&host.state).of(request.owner.uid),
        variables: request.variables.clone(),
        program_path: host.program_path.clone(),
    };
    let custom = custom::prepare(&mut context, request.purpose)?;
    let mut needs = match backend(agent.backend).needs(&context) {
        Err(BackendError::NoLogin { .. } | BackendError::UnusableLogin { .. })
            if request.purpose != Purpose::Start =>
        {
            Needs::default()
        }
        Err(BackendError::NoProgram { .. }) if request.purpose == Purpose::Look => Needs::default(),
        needs => needs?,
    };
    custom.join(&mut needs);
    let network = network::choose(agent, wall, &needs)?;

    let mut placeholders = placeholders::Made::default();
    let mut view = contexts::View::new(host, request, &workspace);
    view.add_roots(&agent.context_paths)?;
    let peers = peers::resolve(host, request, &view.roots)?;
    storage(request, &view.roots)?;
    view.add_peers(&peers);
    view.guard(&mut placeholders)?;
    view.add_backend(&needs, wall, workspace.identity)?;
    view.add_custom_tools(&context)?;
    view.add_credentials(&needs, workspace.identity)?;
    view.narrow_linked()?;
    let contexts::Built { rules, watched, sources, warnings: said } = view.build();
    let mut warnings = network.warnings;
    warnings.extend(said);
    warnings.extend(needs.warnings.clone());
    if agent.docker.sudo && wall == WallKind::Docker {
        warnings.push("the sudo image is a weaker wall: the agent can become root inside".to_owned());
    }

    let policy = Policy::new(rules::built_in(&home).into_iter().chain(rules))?;
    let mut paths = sources.view(&policy)?;
    if let Some(kept) = workspace::home(host, request, workspace.identity)? {
        let (path, source, kind) = (home.clone(), PathSource::Host(kept), PathKind::Directory);
        paths.insert(0, PathEntry { path, source, kind, access: Access::Write, execute: true });
    }
    let staged = sources.staged(&policy);
    let canaries = canaries(host, request.owner, &policy);
    let defaults = Limits::default();
    let sandbox = SandboxSpec {
        id: uuid::Uuid::new_v4().simple().to_string()[..20].to_owned(),
        labels: Labels {
            run: request.run.to_owned(),
            agent: agent.id.clone(),
            owner: request.owner.uid,
            daemon: host.daemon.clone(),
        },
        identity: workspace.identity,
        policy: policy.clone(),
        paths,
        home,
        seeds: needs.seeds.iter().cloned().chain(login_link(&needs)).collect(),
        env: needs.env.iter().cloned().chain(agent.env.clone()).collect(),
        network: network.mode,
        egress: network.egress,
        forwards: needs.forward.iter().chain(&needs.forwards).cloned().collect(),
        limits: Limits {
            memory_bytes: agent.docker.memory_bytes.unwrap_or(defaults.memory_bytes),
            cpus: agent.docker.cpus.unwrap_or(defaults.cpus),
            wall_clock: request.file.timeouts.run.saturating_add(Duration::from_secs(120)),
            ..defaults
        },
        image: agent.docker.image.clone().or_else(|| needs.image.clone()),
        sudo: agent.docker.sudo,
        runtime: match agent.docker.runtime {
            cordon_config::Runtime::Default => Runtime::Engine,
            cordon_config::Runtime::Runsc => Runtime::Gvisor,
        },
        packages: Packages {
            system: agent.docker.packages.system.clone(),
            python: agent.docker.packages.python.clone(),
            npm: agent.docker.packages.npm.clone(),
        },
        tools: ToolSettings {
            workspace: workspace.path.clone(),
            read_before_delete: agent.tools.read_before_delete,
            allowed_commands: agent.tools.allowed_commands.clone(),
            blocked_commands: agent.tools.blocked_commands.clone(),
            only_writing_file_tools: agent.tools.only_writing_file_tools,
            ..ToolSettings::default()
        },
        canaries,
    };
    Ok(Planned {
        sandbox,
        context,
        needs,
        policy: Arc::new(policy),
        workspace,
        placeholders: placeholders.keep(),
        staged,
        peers,
        warnings,
        watched,
    })
}

/// Leads from where the program looks for its login to where that stands: a file that is mounted
/// stays the one that it was, in a directory it is always the newest.
fn login_link(needs: &Needs) -> Option<SeedFile> {
    let kept = needs.kept?;
    Some(SeedFile::link(kept.kind.personal.into(), &kept.inside().join(kept.kind.file)))
}

/// Snapshots are nobody's to see: not in a tree of an agent's, and not around one.
fn storage(request: &Request<'_>, roots: &[contexts::Root<'_>]) -> Result<(), PlanError> {
    let Some(store) = request.file.snapshot_storage.as_ref().filter(|path| path.is_absolute()) else {
        return Ok(());
    };
    // What is not there is an error of whoever opens the store.
    let store = store.canonicalize().unwrap_or_else(|_| store.clone());
    match roots.iter().find(|root| store.starts_with(&root.path) || root.path.starts_with(&store)) {
        Some(root) => Err(PlanError::path(
            "snapshot_storage",
            store,
            format!("it is, holds or lies in {:?}, which is an agent's", root.path),
            "Name a directory outside the agents' trees, or use a relative path",
        )),
        None => Ok(()),
    }
}

impl Planned {
    /// Whether what the agent does at a path is done in a fork.
    #[must_use]
    pub fn is_staged(&self, path: &Path) -> bool {
        let innermost =
            self.staged.iter().filter(|s| path.starts_with(&s.path)).max_by_key(|s| s.path.as_os_str().len());
        innermost.is_some_and(|staged| {
            let left_out = |relative: &PathBuf| path.starts_with(staged.path.join(relative));
            !staged.leave_out.iter().any(left_out)
        })
    }
}

/// Things of this host that no agent may read, for the probe to try: only those that
/// the policy really refuses.
fn canaries(host: &Host, owner: &Owner, policy: &Policy) -> Vec<PathBuf> {
    let home = [
        ".ssh",
        ".gnupg",
        ".aws",
        ".netrc",
        ".codex/auth.json",
        ".claude/.credentials.json",
        ".bash_history",
    ];
    [host.state.join("lock"), host.state.join("runs"), PathBuf::from("/var/run/docker.sock")]
        .into_iter()
        .chain(home.iter().map(|name| owner.home.join(name)))
        .chain(["/etc/shadow", "/root/.ssh"].map(PathBuf::from))
        .filter(|path| !policy.decide(path, cordon_policy::Operation::Read).is_allowed())
        .collect()
}
