use super::expect;
use crate::{Finding, Network, SandboxSpec, WallKind, boot};
use cordon_proto::guest::{self as pb, ProbeRequest, ProbeResponse};
use std::{
    ffi::OsStr,
    net::IpAddr,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::Path,
};

/// A freshly started sandbox has the guest, an init perhaps, and the probe.
const MOST_PROCESSES: usize = 16;
/// Characters of a guest's answer that are shown.
const SHOWN: usize = 120;
/// What an unmapped group looks like inside a user namespace.
const OVERFLOW_GROUP: u32 = 65_534;

/// Refused for every agent.
const REFUSED: [&str; 36] = [
    "ptrace",
    "process_vm_readv",
    "pidfd_getfd",
    "mount",
    "umount2",
    "open_tree",
    "move_mount",
    "fsopen",
    "mount_setattr",
    "pivot_root",
    "chroot",
    "unshare(CLONE_NEWUSER)",
    "unshare(CLONE_NEWNS)",
    "clone(CLONE_NEWUSER)",
    "clone3",
    "setns",
    "bpf",
    "keyctl",
    "add_key",
    "io_uring_setup",
    "userfaultfd",
    "perf_event_open",
    "fanotify_init",
    "open_by_handle_at",
    "kexec_load",
    "finit_module",
    "reboot",
    "syslog",
    "ioctl(TIOCSTI)",
    "ioctl(TIOCSTI, high bits)",
    "personality(ADDR_NO_RANDOMIZE)",
    "socket(AF_PACKET)",
    "socket(AF_VSOCK)",
    "socket(AF_ALG)",
    "socket(NETLINK_AUDIT)",
    "socket(SOCK_RAW)",
];

/// Refused by the engine alone, as with the sudo image.
const REFUSED_BY_ENGINE: [&str; 10] = [
    "mount",
    "umount2",
    "pivot_root",
    "bpf",
    "keyctl",
    "add_key",
    "open_by_handle_at",
    "kexec_load",
    "finit_module",
    "reboot",
];

/// This daemon, as far as a sandbox must differ from it.
#[derive(Debug, Default)]
pub(super) struct Here {
    namespaces: Vec<(String, u64)>,
    privileged: bool,
    kernel: String,
}

impl Here {
    pub(super) fn look() -> Self {
        let inode = |kind: &str| Some(std::fs::metadata(Path::new("/proc/self/ns").join(kind)).ok()?.ino());
        let kinds = ["ipc", "mnt", "net", "pid", "user", "uts"];
        Self {
            namespaces: kinds.into_iter().filter_map(|k| Some((k.to_owned(), inode(k)?))).collect(),
            privileged: rustix::process::geteuid().is_root(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        }
    }
}

/// One finding for each thing that was looked at.
pub(super) fn compare(
    spec: &SandboxSpec,
    kind: WallKind,
    here: &Here,
    request: &ProbeRequest,
    response: &ProbeResponse,
) -> Vec<Finding> {
    let mut report = Report(Vec::new());
    identity(&mut report, spec, kind, here, response);
    privileges(&mut report, spec, kind, response);
    separation(&mut report, response);
    if boot::is_gvisor(spec) {
        kernel(&mut report, here, response);
    } else {
        namespaces(&mut report, spec, kind, here, response);
    }
    mounts(&mut report, spec, kind, response);
    network(&mut report, spec, request, response);
    paths(&mut report, request, response);
    report.0
}

struct Report(Vec<Finding>);

impl Report {
    fn add(
        &mut self,
        check: impl Into<String>,
        expected: impl Into<String>,
        found: impl AsRef<str>,
        ok: bool,
    ) {
        let found = found.as_ref();
        let mut shown: String = found.chars().take(SHOWN).flat_map(char::escape_debug).collect();
        if found.chars().nth(SHOWN).is_some() {
            shown.push_str("...");
        }
        self.0.push(Finding { check: check.into(), expected: expected.into(), found: shown, ok });
    }

    fn same(&mut self, check: &str, expected: impl ToString, found: impl ToString) {
        let (expected, found) = (expected.to_string(), found.to_string());
        let ok = expected == found;
        self.add(check, expected, found, ok);
    }
}

fn identity(report: &mut Report, spec: &SandboxSpec, kind: WallKind, here: &Here, response: &ProbeResponse) {
    report.same("user id", spec.identity.uid, response.uid);
    report.same("group id", spec.identity.gid, response.gid);
    // An ordinary user cannot drop groups; inside they have no name and no number.
    let unmapped = kind == WallKind::Local && !here.privileged;
    let allowed = |g: &u32| *g == spec.identity.gid || (unmapped && *g == OVERFLOW_GROUP);
    let ok = response.groups.iter().all(allowed);
    report.add("supplementary groups", "none", format!("{:?}", response.groups), ok);
}

fn privileges(report: &mut Report, spec: &SandboxSpec, kind: WallKind, response: &ProbeResponse) {
    let sets = [
        ("inheritable", response.cap_inheritable),
        ("permitted", response.cap_permitted),
        ("effective", response.cap_effective),
        ("bounding", response.cap_bounding),
        ("ambient", response.cap_ambient),
    ];
    for (name, found) in sets.into_iter().filter(|(name, _)| !(spec.sudo && *name == "bounding")) {
        // gVisor has no ambient set, and so tells of none.
        if name == "ambient" && boot::is_gvisor(spec) && found == u64::MAX {
            report.add("ambient capabilities", "none, or no such set", "no such set", true);
            continue;
        }
        report.same(&format!("{name} capabilities"), "0x0", format!("{found:#x}"));
    }
    if !spec.sudo {
        report.same("no_new_privs", true, response.no_new_privs);
    }
    report.same("system call filter mode", 2, response.seccomp_mode);
    let landlock = format!("enforced {}, ABI {}", response.landlock_enforced, response.landlock_abi);
    match kind {
        WallKind::Local => {
            let ok = response.landlock_enforced && response.landlock_abi > 0;
            report.add("Landlock", "enforced", landlock, ok);
        }
        WallKind::Docker if boot::is_gvisor(spec) => {
            report.add("Landlock", "none: gVisor's own kernel is the boundary", landlock, true);
        }
        WallKind::Docker => report.add("Landlock", "enforced where the kernel has it", landlock, true),
    }
    let refused: &[&str] = if spec.sudo { &REFUSED_BY_ENGINE } else { &REFUSED };
    for name in refused {
        let result = response.syscalls.iter().find(|s| s.name == *name);
        let errno = result.and_then(|s| i32::try_from(s.errno).ok());
        // EPERM, EACCES, ENOSYS; and of gVisor, which has few kinds of sockets, that it has none
        // such: EPROTONOSUPPORT, ESOCKTNOSUPPORT, EAFNOSUPPORT.
        let kind = boot::is_gvisor(spec) && name.starts_with("socket(");
        let ok = matches!(errno, Some(1 | 13 | 38)) || (kind && matches!(errno, Some(93 | 94 | 97)));
        report.add(format!("system call {name}"), "refused", word(errno), ok);
    }
}

fn word(errno: Option<i32>) -> String {
    match errno {
        None => "no answer".to_owned(),
        Some(0) => "allowed".to_owned(),
        Some(errno) => std::io::Error::from_raw_os_error(errno).to_string(),
    }
}

fn separation(report: &mut Report, response: &ProbeResponse) {
    let extra: Vec<String> = response
        .descriptors
        .iter()
        .filter(|d| d.number > 2)
        .map(|d| format!("{} ({})", d.number, String::from_utf8_lossy(&d.target)))
        .collect();
    report.add("descriptors of a new process", "0, 1 and 2", extra.join(", "), extra.is_empty());
    let count = response.visible_pids.len();
    let ok = count <= MOST_PROCESSES && response.visible_pids.contains(&1);
    report.add("visible processes", "the sandbox's own", format!("{count} processes"), ok);
}

/// gVisor shows few namespaces, with numbers of its own. That it is gVisor which runs is what
/// counts: were it this machine's kernel after all, it would have this machine's release.
fn kernel(report: &mut Report, here: &Here, response: &ProbeResponse) {
    let ok = !response.kernel.is_empty() && response.kernel != here.kernel;
    report.add("kernel", format!("not {}, the host's", here.kernel), &response.kernel, ok);
}

fn namespaces(
    report: &mut Report,
    spec: &SandboxSpec,
    kind: WallKind,
    here: &Here,
    response: &ProbeResponse,
) {
    for (name, inode) in &here.namespaces {
        let needed = match name.as_str() {
            "net" => spec.network != Network::Host,
            "user" => kind == WallKind::Local && !here.privileged,
            _ => true,
        };
        if needed {
            let found = response.namespaces.iter().find(|n| n.kind == *name).map(|n| n.inode);
            let ok = found.is_some_and(|found| found != *inode);
            let found = found.map_or_else(|| "no answer".to_owned(), |i| i.to_string());
            report.add(format!("{name} namespace"), format!("not {inode}, the host's"), found, ok);
        }
    }
}

fn mounts(report: &mut Report, spec: &SandboxSpec, kind: WallKind, response: &ProbeResponse) {
    let root = response.mounts.iter().any(|m| m.path.as_ref() == b"/");
    report.add("mounts", "a root", format!("{} mounts", response.mounts.len()), root);
    for mount in &response.mounts {
        let path = Path::new(OsStr::from_bytes(&mount.path));
        let has = |option: &str| mount.options.iter().any(|o| o == option);
        let mut missing = Vec::new();
        match kind {
            WallKind::Local => {
                if !has("nosuid") {
                    missing.push("nosuid");
                }
                // The few devices of a sandbox's /dev are mounts of their own.
                if !has("nodev") && !path.starts_with("/dev") {
                    missing.push("nodev");
                }
                if !has("ro") && !expect::is_writable(spec, path) {
                    missing.push("ro");
                }
            }
            // The engine has mounts of its own; ours, and the root, are as they were asked for.
            WallKind::Docker => {
                let ours = spec.paths.iter().any(|e| e.path == path);
                let read = ours && !expect::is_writable(spec, path);
                if !has("ro") && (read || (path == Path::new("/") && !spec.sudo)) {
                    missing.push("ro");
                }
            }
        }
        if !missing.is_empty() {
            let check = format!("mount {}", shown(&mount.path));
            report.add(check, missing.join(","), mount.options.join(","), false);
        }
    }
}

pub(super) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(SHOWN).flat_map(char::escape_debug).collect()
}

fn network(report: &mut Report, spec: &SandboxSpec, request: &ProbeRequest, response: &ProbeResponse) {
    if boot::is_isolated(spec) {
        let outside: Vec<&str> = response
            .addresses
            .iter()
            .map(String::as_str)
            .filter(|a| !a.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()))
            .collect();
        report.add("addresses", "loopback only", outside.join(", "), outside.is_empty());
        let is_loopback = |line: &str| line.starts_with("lo ") || line.ends_with(" lo");
        let routes: Vec<&str> =
            response.routes.iter().map(String::as_str).filter(|line| !is_loopback(line)).collect();
        report.add("routes", "loopback only", routes.join("; "), routes.is_empty());
    }
    for (addresses, connected) in [(&request.must_not_connect, false), (&request.must_connect, true)] {
        for address in addresses {
            let result = response.connects.iter().find(|c| c.address == *address);
            let found = match result {
                None => "no answer",
                Some(c) if c.connected => "connected",
                Some(c) => c.error.as_str(),
            };
            let ok = result.is_some_and(|c| c.connected == connected);
            let expected = if connected { "connected" } else { "not connected" };
            report.add(format!("connection to {address}"), expected, found, ok);
        }
    }
}

fn paths(report: &mut Report, request: &ProbeRequest, response: &ProbeResponse) {
    let asked = [
        (&request.must_not_read, "read", false),
        (&request.must_read, "read", true),
        (&request.must_not_write, "write", false),
        (&request.must_write, "write", true),
    ];
    for (list, operation, allowed) in asked {
        for path in list {
            let result = response.paths.iter().find(|p| p.path == *path && p.operation == operation);
            let errno = result.and_then(|r: &pb::probe_response::PathResult| i32::try_from(r.errno).ok());
            let ok = errno.is_some_and(|e| (e == 0) == allowed);
            let expected = if allowed { "allowed" } else { "refused" };
            report.add(format!("{operation} {}", shown(path)), expected, word(errno), ok);
        }
    }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
