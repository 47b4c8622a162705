use super::*;
use crate::fixture::spec;
use pb::probe_response::{ConnectResult, Descriptor, MountPoint, Namespace, PathResult, SyscallResult};

fn here() -> Here {
    let kinds = ["ipc", "mnt", "net", "pid", "user", "uts"];
    Here { namespaces: kinds.map(|k| (k.to_owned(), 1)).to_vec(), privileged: true, kernel: "6.18.0".into() }
}

/// What an honest guest in a correct sandbox answers.
fn good(request: &ProbeRequest) -> ProbeResponse {
    let path = |path: &bytes::Bytes, operation: &str, errno| PathResult {
        path: path.clone(),
        operation: operation.to_owned(),
        errno,
    };
    let mount = |path: &'static str, options: &str| MountPoint {
        path: path.into(),
        filesystem: "tmpfs".into(),
        options: options.split(',').map(str::to_owned).collect(),
    };
    let mut paths: Vec<_> = request.must_not_read.iter().map(|p| path(p, "read", 2)).collect();
    paths.extend(request.must_read.iter().map(|p| path(p, "read", 0)));
    paths.extend(request.must_not_write.iter().map(|p| path(p, "write", 30)));
    paths.extend(request.must_write.iter().map(|p| path(p, "write", 0)));
    ProbeResponse {
        uid: 1000,
        gid: 1000,
        groups: vec![1000],
        no_new_privs: true,
        seccomp_mode: 2,
        seccomp_filters: 2,
        landlock_abi: 7,
        landlock_enforced: true,
        mounts: vec![
            mount("/", "ro,nosuid,nodev"),
            mount("/w", "rw,nosuid,nodev"),
            mount("/w/keep", "ro,nosuid,nodev"),
            mount("/dev/null", "ro,nosuid"),
        ],
        descriptors: (0..3).map(|number| Descriptor { number, target: "pipe".into() }).collect(),
        addresses: vec!["127.0.0.1".into(), "::1".into()],
        namespaces: here()
            .namespaces
            .into_iter()
            .map(|(kind, inode)| Namespace { kind, inode: inode + 1 })
            .collect(),
        paths,
        connects: request
            .must_not_connect
            .iter()
            .map(|a| ConnectResult { address: a.clone(), connected: false, error: "unreachable".into() })
            .collect(),
        visible_pids: vec![1, 2],
        syscalls: REFUSED.map(|name| SyscallResult { name: name.to_owned(), errno: 1 }).to_vec(),
        ..Default::default()
    }
}

fn differences(change: impl FnOnce(&mut ProbeResponse)) -> Vec<String> {
    let (spec, request) = (spec(), expect::request(&spec()));
    let mut response = good(&request);
    change(&mut response);
    let findings = compare(&spec, WallKind::Local, &here(), &request, &response);
    findings.into_iter().filter(|f| !f.ok).map(|f| f.check).collect()
}

#[test]
fn a_correct_sandbox_agrees() {
    assert_eq!(differences(|_| {}), Vec::<String>::new());
}

#[test]
fn every_single_difference_is_seen() {
    type Change = Box<dyn FnOnce(&mut ProbeResponse)>;
    let changes: Vec<(&str, Change)> = vec![
        ("user id", Box::new(|r| r.uid = 0)),
        ("group id", Box::new(|r| r.gid = 0)),
        ("supplementary groups", Box::new(|r| r.groups.push(999))),
        ("supplementary groups", Box::new(|r| r.groups.push(OVERFLOW_GROUP))),
        ("bounding capabilities", Box::new(|r| r.cap_bounding = 1)),
        ("ambient capabilities", Box::new(|r| r.cap_ambient = 1)),
        ("effective capabilities", Box::new(|r| r.cap_effective = u64::MAX)),
        ("no_new_privs", Box::new(|r| r.no_new_privs = false)),
        ("system call filter mode", Box::new(|r| r.seccomp_mode = 0)),
        ("Landlock", Box::new(|r| r.landlock_enforced = false)),
        ("system call mount", Box::new(|r| r.syscalls.retain(|s| s.name != "mount"))),
        ("system call ptrace", Box::new(|r| r.syscalls[0].errno = 0)),
        // It failed, but not because it was refused.
        ("system call ptrace", Box::new(|r| r.syscalls[0].errno = 22)),
        (
            "descriptors of a new process",
            Box::new(|r| r.descriptors.push(Descriptor { number: 7, target: "/".into() })),
        ),
        ("visible processes", Box::new(|r| r.visible_pids = (1..200).collect())),
        ("visible processes", Box::new(|r| r.visible_pids.clear())),
        (
            "mnt namespace",
            Box::new(|r| {
                r.namespaces.iter_mut().for_each(|n| {
                    if n.kind == "mnt" {
                        n.inode = 1
                    }
                })
            }),
        ),
        ("net namespace", Box::new(|r| r.namespaces.retain(|n| n.kind != "net"))),
        ("mounts", Box::new(|r| r.mounts.remove(0).options.clear())),
        ("mount /", Box::new(|r| r.mounts[0].options = vec!["nosuid".into(), "nodev".into()])),
        ("mount /w", Box::new(|r| r.mounts[1].options = vec!["rw".into(), "nodev".into()])),
        ("mount /w/keep", Box::new(|r| r.mounts[2].options[0] = "rw".into())),
        ("addresses", Box::new(|r| r.addresses.push("10.0.0.2".into()))),
        ("addresses", Box::new(|r| r.addresses.push("unknown".into()))),
        ("routes", Box::new(|r| r.routes.push("eth0 00000000 0100000A".into()))),
        ("connection to 1.1.1.1:443", Box::new(|r| r.connects[1].connected = true)),
        ("connection to 169.254.169.254:80", Box::new(|r| drop(r.connects.remove(0)))),
        ("read /etc/shadow", Box::new(|r| r.paths[0].errno = 0)),
        ("read /root/canary", Box::new(|r| r.paths.retain(|p| p.path.as_ref() != b"/root/canary"))),
        (
            "write /tmp",
            Box::new(|r| {
                r.paths.iter_mut().for_each(|p| {
                    if p.path.as_ref() == b"/tmp" && p.operation == "write" {
                        p.errno = 13;
                    }
                });
            }),
        ),
    ];
    for (expected, change) in changes {
        assert_eq!(differences(change), [expected]);
    }
}

#[test]
fn an_empty_answer_agrees_with_nothing() {
    let (spec, request) = (spec(), expect::request(&spec()));
    let findings = compare(&spec, WallKind::Docker, &here(), &request, &ProbeResponse::default());
    let good = |check: &str| {
        // What is absent in an empty answer, and rightly so.
        check.ends_with("capabilities")
            || ["supplementary groups", "Landlock", "descriptors of a new process", "addresses", "routes"]
                .contains(&check)
    };
    for finding in findings {
        assert_eq!(finding.ok, good(&finding.check), "{}", finding.check);
    }
}

#[test]
fn a_guests_words_are_escaped_and_cut() {
    let mut report = Report(Vec::new());
    report.add("x", "y", format!("\u{1b}]0;evil\u{7}{}", "a".repeat(1000)), false);
    let found = &report.0[0].found;
    assert!(!found.contains('\u{1b}') && found.len() < 200, "{found}");
}

fn in_gvisor(change: impl FnOnce(&mut ProbeResponse)) -> Vec<String> {
    let spec = SandboxSpec { runtime: crate::Runtime::Gvisor, ..spec() };
    let request = expect::request(&spec);
    let mut response = good(&request);
    // As gVisor answers: no Landlock, no ambient set, few namespaces, a release of its own.
    response.landlock_abi = 0;
    response.landlock_enforced = false;
    response.cap_ambient = u64::MAX;
    response.namespaces.clear();
    response.kernel = "4.4.0".into();
    change(&mut response);
    let findings = compare(&spec, WallKind::Docker, &here(), &request, &response);
    findings.into_iter().filter(|f| !f.ok).map(|f| f.check).collect()
}

#[test]
fn gvisor_is_held_to_what_it_has() {
    assert_eq!(in_gvisor(|_| {}), Vec::<String>::new());
    assert_eq!(in_gvisor(|r| r.kernel = "6.18.0".into()), ["kernel"]);
    assert_eq!(in_gvisor(|r| r.kernel.clear()), ["kernel"]);
    assert_eq!(in_gvisor(|r| r.cap_ambient = 1), ["ambient capabilities"]);
    assert_eq!(in_gvisor(|r| r.cap_bounding = u64::MAX), ["bounding capabilities"]);
    assert_eq!(in_gvisor(|r| r.seccomp_mode = 0), ["system call filter mode"]);
    let answer = |name: &'static str, errno| {
        move |r: &mut ProbeResponse| {
            r.syscalls.iter_mut().filter(|s| s.name == name).for_each(|s| s.errno = errno)
        }
    };
    assert_eq!(in_gvisor(answer("socket(SOCK_RAW)", 97)), Vec::<String>::new());
    assert_eq!(in_gvisor(answer("socket(SOCK_RAW)", 0)), ["system call socket(SOCK_RAW)"]);
    assert_eq!(in_gvisor(answer("mount", 97)), ["system call mount"]);
}
