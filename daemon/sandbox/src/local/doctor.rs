#![allow(unsafe_code)]

//! Tries every primitive of this wall for real: first each by itself, to name what is
//! missing, and then a whole sandbox.

use super::{LANDLOCK_MIN_ABI, LocalWall, cgroup::Controller, is_root};
use crate::{HostCheck, Identity, Labels, Network, SandboxError, SandboxSpec, ToolSettings, Wall};
use cordon_policy::{Limits, Policy};
use nix::{libc, sched::CloneFlags};
use std::{fs, io, os::unix::process::CommandExt as _, process::Command};
use tokio::sync::mpsc;

/// `nobody`, as whom a trial runs when the daemon is root.
const NOBODY: u32 = 65_534;

pub(super) async fn doctor(wall: &LocalWall) -> Vec<HostCheck> {
    let mut checks = vec![guest(wall), namespaces(wall), landlock(), seccomp()];
    checks.extend(limits(wall));
    checks.push(identity());
    checks.push(forks(wall).await);
    checks.push(trial(wall).await);
    checks
}

fn check(name: &str, state: &'static str, found: impl Into<String>, fix: &str) -> HostCheck {
    HostCheck { name: format!("local: {name}"), state, found: found.into(), fix: fix.to_owned() }
}

fn guest(wall: &LocalWall) -> HostCheck {
    match wall.host() {
        Ok(host) => check("guest", "ok", host.guest.display().to_string(), ""),
        Err(SandboxError::Unavailable { why, fix, .. }) => check("guest", "missing", why, &fix),
        Err(error) => check("guest", "missing", error.to_string(), "name the guest's file with --guest"),
    }
}

/// The guest's own first step, in a process that then does nothing.
fn namespaces(wall: &LocalWall) -> HostCheck {
    let name = if is_root() { "namespaces" } else { "user namespaces" };
    let Ok(host) = wall.host() else {
        return check(name, "missing", "not tried: there is no guest to try it with", "see the guest above");
    };
    let mut flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWCGROUP;
    flags.set(CloneFlags::CLONE_NEWUSER, !is_root());
    let mut command = Command::new(&host.guest);
    command.arg("--version").env_clear().stdout(std::process::Stdio::null());
    // SAFETY: between fork and exec this makes one system call, and touches no memory that
    // another thread could have left locked.
    unsafe { command.pre_exec(move || nix::sched::unshare(flags).map_err(io::Error::from)) };
    // As the only process of a PID namespace that never forks it needs no init.
    match command.status() {
        Ok(status) if status.success() => check(name, "ok", "made and left", ""),
        Ok(status) => check(name, "missing", format!("the guest ended with {status}"), "rebuild the guest"),
        Err(e) => check(name, "missing", e.to_string(), namespace_fix()),
    }
}

fn namespace_fix() -> &'static str {
    let is = |file: &str, value: &str| fs::read_to_string(file).is_ok_and(|text| text.trim() == value);
    if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0, an AppArmor profile for cordond, or run it as root"
    } else if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        "sysctl kernel.unprivileged_userns_clone=1, or run cordond as root"
    } else if is("/proc/sys/user/max_user_namespaces", "0") {
        "sysctl user.max_user_namespaces=10000, or run cordond as root"
    } else {
        "run cordond as root on the host, or where a container's seccomp profile allows unshare"
    }
}

fn landlock() -> HostCheck {
    // SAFETY: with the version flag the call takes a null pointer and a size of 0 and
    // only returns a number.
    let abi = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<libc::c_void>(), 0usize, 1u32)
    };
    if abi < libc::c_long::from(LANDLOCK_MIN_ABI) {
        let why = io::Error::last_os_error().to_string();
        return check("Landlock", "missing", why, "boot a kernel from 5.13 on with lsm=...,landlock");
    }
    let found = format!("ABI {abi}");
    match abi {
        ..3 => check("Landlock", "limited", found, "a kernel from 6.2 on also covers truncation and moves"),
        3..9 => check("Landlock", "ok", found, ""),
        _ => check("Landlock", "ok", format!("{found}, path sockets included"), ""),
    }
}

fn seccomp() -> HostCheck {
    let file = "/proc/sys/kernel/seccomp/actions_avail";
    match fs::read_to_string(file) {
        Ok(text)
            if ["errno", "kill_process", "allow"]
                .iter()
                .all(|a| text.split_whitespace().any(|w| w == *a)) =>
        {
            check("system call filter", "ok", text.trim(), "")
        }
        Ok(text) => check("system call filter", "missing", text.trim(), "boot a kernel from 4.14 on"),
        Err(e) => check(
            "system call filter",
            "missing",
            format!("{file}: {e}"),
            "boot a kernel with seccomp filters",
        ),
    }
}

fn limits(wall: &LocalWall) -> Vec<HostCheck> {
    let Ok(host) = wall.host() else { return Vec::new() };
    Controller::ALL
        .into_iter()
        .map(|controller| {
            let name = format!("limit of {}", controller.name());
            let fix = "run cordond as root, or in a systemd unit with Delegate=yes";
            match host.cgroups.state(controller) {
                Ok(found) => check(&name, "ok", found, ""),
                Err(why) if controller == Controller::Pids => {
                    check(&name, "limited", format!("per user id by rlimit: {why}"), fix)
                }
                Err(why) => check(&name, "missing", why, fix),
            }
        })
        .collect()
}

fn identity() -> HostCheck {
    if is_root() {
        check("identity", "ok", "root: every sandbox runs as its owner", "")
    } else {
        let found = "an ordinary user: every sandbox runs as the daemon's own user and keeps its groups";
        check("identity", "limited", found, "run cordond as root to serve several users")
    }
}

/// How private copies of writable context paths are made in this state directory.
async fn forks(wall: &LocalWall) -> HostCheck {
    let forks = wall.options.state.join("forks");
    // Of a tree beside it. Whether one of the user's can be forked so is tried when it is.
    let look = move || {
        let state = forks.parent().unwrap_or(&forks);
        let real = state.canonicalize().map_err(|e| format!("{}: {e}", state.display()))?;
        cordon_forks::look_around(&real.join("forks")).map_err(|e| e.to_string())
    };
    let name = "forks".to_owned();
    let (state, found, fix) = match tokio::task::spawn_blocking(look).await {
        Ok(Ok(found)) => match found.method {
            cordon_forks::Method::Overlay => ("ok", "overlay: a fork costs one mount".to_owned(), ""),
            cordon_forks::Method::Reflink => {
                ("ok", "reflink: a fork costs a walk and no bytes".to_owned(), "")
            }
            cordon_forks::Method::Copy => (
                "limited",
                format!("copy: every writable context path is copied before a run ({})", found.why),
                "run cordond as root, or put its state directory on btrfs or xfs, where the trees are",
            ),
        },
        Ok(Err(why)) => ("missing", why, "choose another --state-dir"),
        Err(_) => ("missing", "the trial ended early".to_owned(), "look at the daemon's log"),
    };
    HostCheck { name, state, found, fix: fix.to_owned() }
}

async fn trial(wall: &LocalWall) -> HostCheck {
    let identity = if is_root() {
        Identity { uid: NOBODY, gid: NOBODY }
    } else {
        Identity { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
    };
    let spec = SandboxSpec {
        id: format!("doctor{}", std::process::id()),
        labels: Labels {
            run: "doctor".to_owned(),
            agent: "doctor".to_owned(),
            owner: identity.uid,
            daemon: String::new(),
        },
        identity,
        policy: Policy::default(),
        paths: Vec::new(),
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
        tools: ToolSettings::default(),
        canaries: vec!["/root".into()],
    };
    let name = "a whole sandbox";
    let (denials, _) = mpsc::channel(1);
    match wall.create(&spec, &|_| Ok(()), denials).await {
        Ok(sandbox) => match wall.destroy(&sandbox.record).await {
            Ok(()) => {
                let found = format!("made, probed ({} findings agree) and removed", sandbox.findings.len());
                check(name, "ok", found, "")
            }
            Err(error) => check(name, "limited", error.to_string(), "remove what is named here by hand"),
        },
        Err(error) => check(name, "missing", error.to_string(), "see the lines above"),
    }
}
