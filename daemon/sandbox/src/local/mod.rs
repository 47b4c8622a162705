//! The local wall: a guest in namespaces of its own on this machine, with a view that has
//! the policy's trees and nothing else, Landlock with the same rules, and a system call
//! filter. As root the sandbox runs as the owner; as an ordinary user everything belongs to
//! a user namespace and the sandbox runs as that user.

mod binary;
mod cgroup;
mod doctor;
mod hierarchy;
mod launch;
mod process;
mod system;
mod view;

use crate::{
    EgressRecord, HostCheck, Network, Sandbox, SandboxError, SandboxRecord, SandboxSpec, Wall, WallKind,
    WallRecord, boot,
    directory::{self, Directory},
    egress,
    guest::Guest,
    verdict,
};
use cgroup::Cgroups;
use cordon_policy::Denial;
use cordon_proto::guest as pb;
use process::Held;
use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};
use tokio::sync::mpsc;

/// The kernel feature that this wall does not do without. The view is what makes a tree
/// read-only; Landlock is the second lock on the same door, so its first version will do.
const LANDLOCK_MIN_ABI: u32 = 1;
/// An empty directory on which every view is assembled, each in its own mount namespace.
const ROOT: &str = "root";
const REATTACHED_WITHIN: Duration = Duration::from_secs(5);

/// What the wall has to know of its daemon.
#[derive(Clone, Debug)]
pub struct LocalOptions {
    /// The daemon's state directory.
    pub state: PathBuf,
    /// The guest's executable: static.
    pub guest: PathBuf,
}

/// The wall whose sandboxes are processes on this machine.
#[derive(Debug)]
pub struct LocalWall {
    options: LocalOptions,
    host: OnceLock<Host>,
    // Being made at this moment: a reaper must not take them for leftovers.
    making: Mutex<HashSet<String>>,
}

/// What was looked at once.
#[derive(Debug)]
struct Host {
    /// Without links, as the guest needs them.
    state: PathBuf,
    guest: PathBuf,
    cgroups: Cgroups,
}

impl LocalWall {
    /// A wall for the daemon of this state directory. Nothing is looked at yet: what is
    /// missing is an error when a sandbox is asked for.
    #[must_use]
    pub fn new(options: LocalOptions) -> Self {
        Self { options, host: OnceLock::new(), making: Mutex::default() }
    }

    fn host(&self) -> Result<&Host, SandboxError> {
        if let Some(host) = self.host.get() {
            return Ok(host);
        }
        let real = |path: &Path| path.canonicalize().map_err(SandboxError::io("find", path));
        let (state, guest) = (real(&self.options.state)?, real(&self.options.guest)?);
        binary::check(&guest)?;
        let root = state.join(ROOT);
        match std::fs::create_dir(&root) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(SandboxError::io("make the directory", root)(e));
            }
            _ => {}
        }
        Ok(self.host.get_or_init(|| Host { state, guest, cgroups: Cgroups::discover() }))
    }

    fn being_made(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        // The set is whole after every step.
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn make(
        &self,
        host: &Host,
        spec: &SandboxSpec,
        made: cgroup::Made,
        mut record: SandboxRecord,
        remember: &(dyn for<'r> Fn(&'r SandboxRecord) -> io::Result<()> + Send + Sync),
        denials: mpsc::Sender<Denial>,
    ) -> Result<Sandbox, SandboxError> {
        let privileged = is_root();
        let mut message = boot::boot(spec);
        message.landlock_min_abi = LANDLOCK_MIN_ABI;
        if !made.limits_processes
            && let Some(rlimits) = &mut message.rlimits
        {
            rlimits.processes = spec.limits.pids;
        }
        message.local = Some(pb::LocalView {
            mounts: view::mounts(spec, &record.directory, &host.guest)?,
            hostname: view::HOSTNAME.to_owned(),
            user_namespace: !privileged,
            root: boot::bytes(&host.state.join(ROOT)),
            own_network: true,
            // Joined from here, see below.
            cgroup_procs: Vec::new(),
        });
        let keep = |record: &SandboxRecord| {
            remember(record).map_err(SandboxError::io("remember the sandbox", &record.id))
        };
        let egress = egress::start(spec, &record.directory, denials.clone())?;
        // Should anything below fail, the proxy ends with this.
        let proxy = Proxy(egress);
        let launched = launch::launch(&host.guest, &message).await?;
        let pid = launched.pid;
        if let WallRecord::Local { pid: known, start_time, .. } = &mut record.wall {
            (*known, *start_time) = (pid, launched.start_time);
        }
        if let Err(error) = keep(&record) {
            end(pid, Some(launched.start_time), &record.id).await?;
            return Err(error);
        }
        // Joining a group waits for the kernel's other processors, longer than all the rest
        // takes. It goes on beside it: until this returns nothing of the agent's has started.
        let joining = cgroup::join(made.procs().collect(), pid);
        let ready = async {
            launched.confined(&spec.id).await?;
            let guest = Guest::connect(&spec.id, &record.directory, Some(pid)).await?;
            let (findings, probe) = verdict::verify(&guest, spec, WallKind::Local).await?;
            crate::calls::watch(&guest, denials);
            Ok::<_, SandboxError>((guest, findings, probe))
        };
        let (joined, ready) = tokio::join!(joining, ready);
        match ready.and_then(|ready| joined.map(|()| ready)) {
            Ok((guest, findings, probe)) => Ok(Sandbox {
                guest,
                findings,
                probe: Some(probe),
                warnings: warnings(made.warnings, privileged),
                egress: proxy.keep(),
                record,
            }),
            Err(error) => {
                if let WallRecord::Local { start_time, .. } = record.wall {
                    end(pid, Some(start_time), &record.id).await?;
                }
                Err(error)
            }
        }
    }

    /// Ends and removes everything that a sandbox of this name has, in the order in which it
    /// can be found again should this daemon end half-way: its directory goes last.
    async fn discard(&self, id: &str, directory: &Path, known: Known) -> Result<(), SandboxError> {
        match known.process {
            Some((pid, start_time)) => end(pid, Some(start_time), id).await?,
            None => {
                for pid in process::find(id)? {
                    end(pid, process::start_time(pid).ok().flatten(), id).await?;
                }
            }
        }
        cgroup::remove(&known.cgroups).await?;
        directory::remove(directory)
    }
}

/// What is known of a sandbox's making.
struct Known {
    process: Option<(i32, u64)>,
    cgroups: Vec<PathBuf>,
}

impl Known {
    fn of(record: &SandboxRecord) -> Result<Self, SandboxError> {
        match &record.wall {
            WallRecord::Local { pid, start_time, cgroups } => {
                Ok(Self { process: (*pid > 0).then_some((*pid, *start_time)), cgroups: cgroups.clone() })
            }
            WallRecord::Docker { .. } => Err(SandboxError::Guest {
                sandbox: record.id.clone(),
                why: "it is not a sandbox of the local wall".to_owned(),
            }),
        }
    }
}

#[async_trait::async_trait]
impl Wall for LocalWall {
    fn kind(&self) -> WallKind {
        WallKind::Local
    }

    async fn create(
        &self,
        spec: &SandboxSpec,
        remember: &(dyn for<'r> Fn(&'r SandboxRecord) -> io::Result<()> + Send + Sync),
        denials: mpsc::Sender<Denial>,
    ) -> Result<Sandbox, SandboxError> {
        check(spec)?;
        let host = self.host()?;
        self.being_made().insert(spec.id.clone());
        let _making = Making { wall: self, id: &spec.id };
        let directory = directory::create(&host.state, &spec.id, spec.identity)?;
        let made = match host.cgroups.create(&spec.id, &spec.limits) {
            Ok(made) => made,
            Err(error) => {
                directory::remove(&directory)?;
                return Err(error);
            }
        };
        let cgroups = made.directories.clone();
        let record = SandboxRecord {
            id: spec.id.clone(),
            labels: spec.labels.clone(),
            identity: spec.identity,
            directory: directory.clone(),
            wall: WallRecord::Local { pid: 0, start_time: 0, cgroups: cgroups.clone() },
            egress: spec.egress.as_ref().map(EgressRecord::from),
        };
        let result = match remember(&record) {
            Ok(()) => self.make(host, spec, made, record, remember, denials).await,
            Err(error) => Err(SandboxError::io("remember the sandbox", &spec.id)(error)),
        };
        if result.is_err() {
            let known = Known { process: None, cgroups };
            if let Err(error) = self.discard(&spec.id, &directory, known).await {
                tracing::warn!(sandbox = %spec.id, %error, "a sandbox that failed could not be removed whole");
            }
        }
        result
    }

    async fn reattach(
        &self,
        record: &SandboxRecord,
        denials: mpsc::Sender<Denial>,
    ) -> Result<Sandbox, SandboxError> {
        let gone = || SandboxError::Guest {
            sandbox: record.id.clone(),
            why: "its first process is gone; destroy the sandbox".to_owned(),
        };
        let (pid, start_time) = Known::of(record)?.process.ok_or_else(gone)?;
        let running = match Held::new(pid, Some(start_time)) {
            Ok(Some(held)) => held.is_running(),
            Ok(None) => Ok(false),
            Err(error) => Err(error),
        };
        if !running.map_err(SandboxError::io("look at the guest of", &record.id))? {
            return Err(gone());
        }
        let proxy = Proxy(egress::restart(record, denials.clone())?);
        let guest =
            Guest::connect_within(&record.id, &record.directory, Some(pid), REATTACHED_WITHIN).await?;
        guest.hello().await?;
        crate::calls::watch(&guest, denials);
        Ok(Sandbox {
            record: record.clone(),
            guest,
            findings: Vec::new(),
            probe: None,
            warnings: Vec::new(),
            egress: proxy.keep(),
        })
    }

    async fn destroy(&self, record: &SandboxRecord) -> Result<(), SandboxError> {
        self.discard(&record.id, &record.directory, Known::of(record)?).await
    }

    async fn reap(&self, _daemon: &str, known: &[String]) -> Result<Vec<String>, SandboxError> {
        // Everything of this wall is found through the state directory, which is this
        // daemon's alone: no label is needed to tell it from another's.
        let host = self.host()?;
        let mut removed = Vec::new();
        for id in Directory::list(&host.state)? {
            if known.contains(&id) || self.being_made().contains(&id) {
                continue;
            }
            let cgroups = host.cgroups.of(&id);
            let path = Directory::path_of(&host.state, &id);
            self.discard(&id, &path, Known { process: None, cgroups }).await?;
            removed.push(format!("local sandbox {id}"));
        }
        Ok(removed)
    }

    async fn doctor(&self) -> Vec<HostCheck> {
        doctor::doctor(self).await
    }
}

fn check(spec: &SandboxSpec) -> Result<(), SandboxError> {
    let refused = |rule: &str, why: &str, fix: &str| {
        Err(SandboxError::Unenforceable {
            rule: rule.to_owned(),
            wall: "local",
            why: why.to_owned(),
            fix: fix.to_owned(),
        })
    };
    if !directory::is_id(&spec.id) {
        return refused("the sandbox id", "it is not 1 to 32 of a-z and 0-9", "choose another id");
    }
    if spec.network != Network::Isolated {
        return refused(
            "a network mode other than none",
            "a local sandbox has loopback only",
            "name the hosts it needs under egress, or use the docker wall",
        );
    }
    if spec.sudo {
        return refused("sudo", "nothing inside may gain privileges", "use the docker wall");
    }
    if spec.identity.uid == 0 || spec.identity.gid == 0 {
        return refused("running as root", "an agent is never root", "run it as an ordinary user");
    }
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if !is_root() && (spec.identity.uid, spec.identity.gid) != (uid, gid) {
        return refused(
            "running as another user",
            "this daemon is not root",
            "run the daemon as root, or the agent as the daemon's own user and group",
        );
    }
    Ok(())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn warnings(mut warnings: Vec<String>, privileged: bool) -> Vec<String> {
    if !privileged {
        warnings.push(
            "the daemon is not root: the sandbox runs as the daemon's own user, in a user namespace, and keeps \
             that user's supplementary groups; the view decides which of their files exist inside"
                .to_owned(),
        );
    }
    warnings
}

async fn end(pid: i32, start_time: Option<u64>, id: &str) -> Result<(), SandboxError> {
    let failed = || SandboxError::io("end the guest of", id);
    match Held::new(pid, start_time).map_err(failed())? {
        Some(held) => held.end().await.map_err(failed()),
        None => Ok(()),
    }
}

/// An egress proxy that ends unless it is kept.
struct Proxy(Option<tokio::task::AbortHandle>);

impl Proxy {
    fn keep(mut self) -> Option<tokio::task::AbortHandle> {
        self.0.take()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Ends a sandbox's time as one being made.
struct Making<'a> {
    wall: &'a LocalWall,
    id: &'a str,
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.wall.being_made().remove(self.id);
    }
}
