//! Control groups of one sandbox: version 1 where a controller has a hierarchy of its own,
//! else version 2 where it is delegated to this daemon. What neither has cannot be limited,
//! and that is said.

use super::{hierarchy::hierarchies, process::Held};
use crate::SandboxError;
use cordon_policy::Limits;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const PREFIX: &str = "cordon-";
/// Where the daemon itself goes, so that its group may have groups below it.
const OWN_LEAF: &str = "cordond";
const PERIOD_US: u64 = 100_000;
/// The kernel lets go of a group a moment after its last process.
const EMPTY_WITHIN: Duration = Duration::from_secs(10);

/// What can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Controller {
    Memory,
    Pids,
    Cpu,
}

impl Controller {
    pub(super) const ALL: [Self; 3] = [Self::Memory, Self::Pids, Self::Cpu];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
        }
    }
}

/// Where this daemon may make groups.
#[derive(Debug, Default)]
pub(super) struct Cgroups {
    /// Version 1: one directory for each controller.
    v1: Vec<(Controller, PathBuf)>,
    /// Version 2: one directory, and the controllers it passes on.
    v2: Option<(PathBuf, Vec<Controller>)>,
    /// Why the others cannot be used.
    missing: Vec<(Controller, String)>,
}

/// The groups of one sandbox.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) directories: Vec<PathBuf>,
    pub(super) limits_processes: bool,
    pub(super) warnings: Vec<String>,
}

impl Made {
    /// The files that the sandbox's processes are written to.
    pub(super) fn procs(&self) -> impl Iterator<Item = PathBuf> {
        self.directories.iter().map(|directory| directory.join("cgroup.procs"))
    }
}

impl Cgroups {
    /// Looks at what this host has and may be used. With version 2 this moves the daemon
    /// into a group of its own, when only that makes room for others.
    pub(super) fn discover() -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let hierarchies = hierarchies(&mounts, &own);
        let mut found = Self::default();
        let mut rest = Vec::new();
        for controller in Controller::ALL {
            let v1 = hierarchies.iter().find(|h| h.controllers.iter().any(|c| c == controller.name()));
            match v1.map(|h| usable(&h.directory).map(|()| h.directory.clone())) {
                Some(Ok(directory)) => found.v1.push((controller, directory)),
                Some(Err(why)) => found.missing.push((controller, why)),
                None => rest.push(controller),
            }
        }
        if rest.is_empty() {
            return found;
        }
        match hierarchies.iter().find(|h| h.controllers.is_empty()) {
            None => found.missing.extend(rest.iter().map(|c| (*c, "no control group has it".to_owned()))),
            Some(h) => {
                let base = if h.directory.ends_with(OWN_LEAF) {
                    h.directory.parent().unwrap_or(&h.directory)
                } else {
                    &h.directory
                };
                let (passed_on, why): (Vec<_>, Vec<_>) =
                    rest.iter().map(|c| (*c, pass_on(base, *c))).partition(|(_, result)| result.is_ok());
                if !passed_on.is_empty() {
                    found.v2 = Some((base.to_path_buf(), passed_on.iter().map(|(c, _)| *c).collect()));
                }
                found.missing.extend(why.into_iter().filter_map(|(c, result)| Some((c, result.err()?))));
            }
        }
        found
    }

    /// The version and place by which something is limited, or why it is not.
    pub(super) fn state(&self, controller: Controller) -> Result<String, String> {
        if let Some((_, directory)) = self.v1.iter().find(|(c, _)| *c == controller) {
            return Ok(format!("version 1, below {}", directory.display()));
        }
        if let Some((directory, list)) = &self.v2
            && list.contains(&controller)
        {
            return Ok(format!("version 2, below {}", directory.display()));
        }
        let missing = self.missing.iter().find(|(c, _)| *c == controller);
        Err(missing.map_or_else(|| "not found".to_owned(), |(_, why)| why.clone()))
    }

    /// Makes the groups of a sandbox and sets its limits.
    pub(super) fn create(&self, id: &str, limits: &Limits) -> Result<Made, SandboxError> {
        let mut made = Made::default();
        let result = self.fill(id, limits, &mut made);
        if result.is_err() {
            // Nothing has joined them: they are empty.
            for directory in &made.directories {
                let _ = fs::remove_dir(directory);
            }
        }
        result.map(|()| made)
    }

    fn fill(&self, id: &str, limits: &Limits, made: &mut Made) -> Result<(), SandboxError> {
        let group = |base: &Path, made: &mut Made| -> Result<PathBuf, SandboxError> {
            let directory = base.join(format!("{PREFIX}{id}"));
            // Controllers of version 1 may share a hierarchy.
            if !made.directories.contains(&directory) {
                fs::create_dir(&directory).map_err(SandboxError::io("make the control group", &directory))?;
                made.directories.push(directory.clone());
            }
            Ok(directory)
        };
        for (controller, base) in &self.v1 {
            let directory = group(base, made)?;
            for (file, value, optional) in settings_v1(*controller, limits) {
                set(&directory.join(file), &value, optional)?;
            }
        }
        if let Some((base, controllers)) = &self.v2 {
            let directory = group(base, made)?;
            for (file, value, optional) in controllers.iter().flat_map(|c| settings_v2(*c, limits)) {
                set(&directory.join(file), &value, optional)?;
            }
        }
        made.limits_processes = self.state(Controller::Pids).is_ok();
        for (controller, why) in &self.missing {
            made.warnings.push(match controller {
                Controller::Pids => format!("processes are limited per user id and not per sandbox: {why}"),
                other => format!("{} cannot be limited: {why}", other.name()),
            });
        }
        Ok(())
    }

    /// The groups that a sandbox of this name has now.
    pub(super) fn of(&self, id: &str) -> Vec<PathBuf> {
        let bases = self.v1.iter().map(|(_, base)| base).chain(self.v2.iter().map(|(base, _)| base));
        let mut found: Vec<PathBuf> = bases
            .map(|base| base.join(format!("{PREFIX}{id}")))
            .filter(|directory| directory.try_exists().unwrap_or(false))
            .collect();
        found.dedup();
        found
    }
}

/// Moves a process, with all its threads, into groups.
pub(super) async fn join(files: Vec<PathBuf>, pid: i32) -> Result<(), SandboxError> {
    let write = move || {
        files.iter().try_for_each(|file| {
            set(file, &pid.to_string(), false).map_err(|error| match error {
                SandboxError::Io { path, source, .. } => {
                    SandboxError::Io { step: "join the control group", path, source }
                }
                other => other,
            })
        })
    };
    tokio::task::spawn_blocking(write)
        .await
        .map_err(io::Error::other)
        .map_err(SandboxError::io("join the control groups as", pid.to_string()))?
}

/// Removes groups, with whatever process is still in them.
pub(super) async fn remove(directories: &[PathBuf]) -> Result<(), SandboxError> {
    for directory in directories {
        let until = Instant::now() + EMPTY_WITHIN;
        loop {
            match fs::remove_dir(directory) {
                Ok(()) => break,
                Err(e) if e.kind() == io::ErrorKind::NotFound => break,
                Err(e)
                    if e.raw_os_error() == Some(rustix::io::Errno::BUSY.raw_os_error())
                        && Instant::now() < until =>
                {
                    end_processes(directory).await?
                }
                Err(e) => return Err(SandboxError::io("remove the control group", directory)(e)),
            }
        }
    }
    Ok(())
}

async fn end_processes(directory: &Path) -> Result<(), SandboxError> {
    let failed = || SandboxError::io("end the processes of the control group", directory);
    let text = match fs::read_to_string(directory.join("cgroup.procs")) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(failed()(e)),
    };
    let pids: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    for pid in &pids {
        if let Some(held) = Held::new(*pid, None).map_err(failed())? {
            held.end().await.map_err(failed())?;
        }
    }
    if pids.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

fn settings_v1(controller: Controller, limits: &Limits) -> Vec<(&'static str, String, bool)> {
    match controller {
        Controller::Memory => vec![
            ("memory.limit_in_bytes", limits.memory_bytes.to_string(), false),
            // Memory and swap together; not there when swap is not accounted for.
            ("memory.memsw.limit_in_bytes", limits.memory_bytes.to_string(), true),
        ],
        Controller::Pids => vec![("pids.max", limits.pids.to_string(), false)],
        Controller::Cpu => vec![
            ("cpu.cfs_period_us", PERIOD_US.to_string(), false),
            ("cpu.cfs_quota_us", quota(limits).to_string(), false),
        ],
    }
}

fn settings_v2(controller: Controller, limits: &Limits) -> Vec<(&'static str, String, bool)> {
    match controller {
        Controller::Memory => vec![
            ("memory.max", limits.memory_bytes.to_string(), false),
            ("memory.swap.max", "0".to_owned(), true),
        ],
        Controller::Pids => vec![("pids.max", limits.pids.to_string(), false)],
        Controller::Cpu => vec![("cpu.max", format!("{} {PERIOD_US}", quota(limits)), false)],
    }
}

/// The kernel takes no quota below one millisecond.
fn quota(limits: &Limits) -> u64 {
    // A processor count is small and not negative: nothing is lost but the fraction.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let microseconds = (limits.cpus.max(0.0) * 1e5) as u64;
    microseconds.max(1000)
}

fn set(file: &Path, value: &str, optional: bool) -> Result<(), SandboxError> {
    match fs::OpenOptions::new()
        .write(true)
        .open(file)
        .and_then(|mut f| io::Write::write_all(&mut f, value.as_bytes()))
    {
        Err(e) if optional && e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(SandboxError::io("set the limit", file)),
    }
}

/// Whether groups can be made here.
fn usable(directory: &Path) -> Result<(), String> {
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
        .map_err(|e| format!("{}: {e}", directory.display()))
}

fn pass_on(base: &Path, controller: Controller) -> Result<(), String> {
    usable(base)?;
    let has = |file: &str| {
        let text = fs::read_to_string(base.join(file)).unwrap_or_default();
        text.split_whitespace().any(|name| name == controller.name())
    };
    if has("cgroup.subtree_control") {
        return Ok(());
    }
    if !has("cgroup.controllers") {
        return Err(format!("{} is not delegated to {}", controller.name(), base.display()));
    }
    let file = base.join("cgroup.subtree_control");
    let enable = || fs::write(&file, format!("+{}", controller.name()));
    let result = match enable() {
        // A group with processes passes nothing on: this daemon makes room, once.
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::BUSY.raw_os_error()) => {
            let leaf = base.join(OWN_LEAF);
            match fs::create_dir(&leaf) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
                _ => fs::write(leaf.join("cgroup.procs"), "0").and_then(|()| enable()),
            }
        }
        other => other,
    };
    result.map_err(|e| format!("{}: {e}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_in_the_kernels_units() {
        let limits = Limits { cpus: 1.5, memory_bytes: 1 << 20, pids: 7, ..Limits::default() };
        assert_eq!(settings_v2(Controller::Cpu, &limits)[0].1, "150000 100000");
        assert_eq!(settings_v1(Controller::Memory, &limits)[0].1, "1048576");
        assert_eq!(quota(&Limits { cpus: 0.0, ..limits }), 1000);
    }
}
