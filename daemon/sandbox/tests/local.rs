//! The local wall, with real sandboxes. Needs a static guest, named by `CORDON_GUEST`:
//!
//! ```text
//! RUSTFLAGS="-C target-feature=+crt-static" cargo build -p cordon-guest --target x86_64-unknown-linux-gnu
//! CORDON_GUEST=target/x86_64-unknown-linux-gnu/debug/cordon-guest cargo test -p cordon-sandbox --test local
//! ```
//!
//! Every test runs as whoever runs it. Root's run starts all of them once more as an
//! ordinary user, whose sandboxes are made with user namespaces.

// Helpers of tests are no tests to the lint.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "local/world.rs"]
mod world;

use cordon_policy::{Access, Limits};
use cordon_sandbox::{Network, PathKind, SandboxError, SandboxSpec, Wall as _, WallRecord};
use std::{fs, os::unix::process::CommandExt as _, process::Command};
use world::{World, is_root, skipped};

#[tokio::test]
async fn a_program_runs_and_its_output_and_exit_code_come_back() {
    let Some(world) = World::new("a1") else { return };
    let sandbox = world.create(&world.spec()).await.unwrap();
    let done = world::run(&sandbox, "echo out; echo err >&2; exit 7").await;
    assert_eq!((done.stdout.as_str(), done.stderr.as_str(), done.code), ("out\n", "err\n", Some(7)));
    let who = world::run(&sandbox, "id -u; id -g; hostname; pwd; umask").await;
    let identity = world.identity();
    assert_eq!(who.stdout, format!("{}\n{}\nsandbox\n/\n0022\n", identity.uid, identity.gid));
    assert!(sandbox.findings.iter().all(|f| f.ok) && sandbox.findings.len() > 50);
    world.destroy(&sandbox).await;
}

#[tokio::test]
async fn nothing_outside_the_policy_can_be_read() {
    let Some(world) = World::new("a2") else { return };
    let sandbox = world.create(&world.spec()).await.unwrap();
    let canary = world.canary();
    for path in [canary.to_str().unwrap(), "/etc/shadow", "/etc/ssh", "/root", "/var", "/home/other", "/sys"]
    {
        let done = world::run(&sandbox, &format!("cat {path} 2>/dev/null || ls {path}")).await;
        assert_ne!(done.code, Some(0), "{path} can be read: {}", done.stdout);
        assert_eq!(done.stdout, "", "{path}");
    }
    // Neither by another process's root or directory, nor by a descriptor that was left open.
    let around = "cat /proc/1/root/etc/shadow /proc/1/cwd/etc/shadow; ls /proc/1/fd/; cat /proc/1/environ; \
                  for fd in /proc/self/fd/*; do n=${fd##*/}; [ $n -gt 2 ] && readlink $fd; done";
    let done = world::run(&sandbox, around).await;
    assert!(
        !done.stdout.contains("root:") && !done.stdout.contains(world.state().to_str().unwrap()),
        "{done:?}"
    );
    world.destroy(&sandbox).await;
}

#[tokio::test]
async fn writing_works_where_it_is_granted_and_nowhere_else() {
    let Some(world) = World::new("a3") else { return };
    let sandbox = world.create(&world.spec()).await.unwrap();
    let project = world.project();
    let p = project.display();
    let ok = world::run(
        &sandbox,
        &format!("echo new > {p}/new && echo x > /tmp/x && echo y > ~/y && cat {p}/new"),
    )
    .await;
    assert_eq!((ok.stdout.as_str(), ok.code), ("new\n", Some(0)), "{ok:?}");
    assert_eq!(fs::read(project.join("new")).unwrap(), b"new\n");
    let refused = [
        format!("echo bad > {p}/keep/file"),
        format!("echo bad > {p}/keep/other"),
        format!("rm -rf {p}/keep"),
        format!("mv {p}/keep {p}/away"),
        format!("ln {p}/keep/file {p}/link"),
        format!("truncate -s 0 {p}/keep/file"),
        format!("chmod 777 {p}/keep/file"),
        format!("echo bad > {p}/held"),
        format!("mv {p}/new {p}/held"),
        format!("rm {p}/held"),
        format!("touch {}/x", world.reference().display()),
        "echo bad > /etc/passwd".to_owned(),
        "touch /x /usr/x /run/x /dev/x /proc/sys/kernel/hostname".to_owned(),
        "touch /run/cordon/x".to_owned(),
        "echo bad > /run/cordon-guest".to_owned(),
        "echo c > /proc/sysrq-trigger".to_owned(),
        "mknod /tmp/disk b 8 0".to_owned(),
    ];
    for command in refused {
        let done = world::run(&sandbox, &command).await;
        assert_ne!(done.code, Some(0), "{command}");
    }
    assert_eq!(fs::read(project.join("keep/file")).unwrap(), b"kept");
    assert_eq!(fs::read_dir(project.join("keep")).unwrap().count(), 1);
    let read = world::run(&sandbox, &format!("cat {p}/keep/file {}/file", world.reference().display())).await;
    assert_eq!(read.stdout, "keptreferred");
    world.destroy(&sandbox).await;
}

#[tokio::test]
async fn masked_paths_are_empty_and_stay_so() {
    let Some(world) = World::new("a4") else { return };
    let sandbox = world.create(&world.spec()).await.unwrap();
    let p = world.project();
    let p = p.display();
    let file = world::run(&sandbox, &format!("cat {p}/.env; chmod 600 {p}/.env; cat {p}/.env")).await;
    assert!(file.code != Some(0) && file.stdout.is_empty(), "{file:?}");
    let directory = world::run(&sandbox, &format!("ls -A {p}/secrets")).await;
    assert_eq!((directory.stdout.as_str(), directory.code), ("", Some(0)), "{directory:?}");
    let write = world::run(&sandbox, &format!("touch {p}/secrets/x")).await;
    assert_ne!(write.code, Some(0));
    world.destroy(&sandbox).await;
    assert_eq!(fs::read(world.project().join(".env")).unwrap(), b"TOKEN");
}

#[tokio::test]
async fn there_is_no_network_and_no_other_process() {
    let Some(world) = World::new("a5") else { return };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let sandbox = world.create(&world.spec()).await.unwrap();
    let connect = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
    assert_ne!(world::run(&sandbox, &connect).await.code, Some(0), "a port of the host answers");
    assert_ne!(world::run(&sandbox, "exec 3<>/dev/tcp/1.1.1.1/53").await.code, Some(0));
    let pids = world::run(&sandbox, "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done").await;
    assert!(pids.stdout.lines().count() <= 4, "{pids:?}");
    let still = world::run(&sandbox, "kill -9 1; kill -INT 1; echo alive").await;
    assert_eq!(still.stdout, "alive\n");
    let still = world::run(&sandbox, "echo alive").await;
    assert_eq!(still.stdout, "alive\n", "the guest was killed from inside");
    world.destroy(&sandbox).await;
}

#[tokio::test]
async fn system_calls_that_escape_are_refused() {
    let Some(world) = World::new("a6") else { return };
    let sandbox = world.create(&world.spec()).await.unwrap();
    for command in [
        "unshare -U true",
        "unshare -m true",
        "mount -t tmpfs none /tmp",
        "umount /tmp",
        "chroot / true",
        "nsenter -t 1 -m true",
        "setarch -R true",
    ] {
        let done = world::run(&sandbox, command).await;
        assert!(done.code.is_some_and(|c| c != 0), "{command}: {done:?}");
    }
    let status = world::run(&sandbox, "grep -E '^(Cap|NoNewPrivs|Seccomp)' /proc/self/status").await;
    for line in status.stdout.lines() {
        let value = line.split_whitespace().last().unwrap();
        match line.split(':').next().unwrap() {
            "NoNewPrivs" => assert_eq!(value, "1"),
            "Seccomp" => assert_eq!(value, "2"),
            "Seccomp_filters" => assert!(value.parse::<u32>().unwrap() >= 2),
            _ => assert_eq!(u64::from_str_radix(value, 16), Ok(0), "{line}"),
        }
    }
    world.destroy(&sandbox).await;
}

#[tokio::test]
async fn ordinary_tools_work() {
    let Some(world) = World::new("a7") else { return };
    let sandbox = world.create(&world.spec()).await.unwrap();
    let command = "set -e; cd ~; git init -q r; cd r; git config user.email a@b; git config user.name a; \
                   echo x > f; git add f; git commit -qm c; git log --oneline | wc -l; \
                   bash -c 'cat <(echo sub)'; printf '#!/bin/sh\\necho ran\\n' > /tmp/s; chmod +x /tmp/s; /tmp/s; \
                   (echo piped | cat) & wait; script -qc 'tty >/dev/null && echo pty' /dev/null";
    let done = world::run(&sandbox, command).await;
    assert_eq!(done.stdout.replace('\r', ""), "1\nsub\nran\npiped\npty\n", "{done:?}");
    world.destroy(&sandbox).await;
}

#[tokio::test]
async fn limits_hold() {
    let Some(world) = World::new("a8") else { return };
    let limits = Limits { pids: 40, open_files: 64, tmp_bytes: 1 << 20, ..Limits::default() };
    let sandbox = world.create(&SandboxSpec { limits, ..world.spec() }).await.unwrap();
    let files = world::run(&sandbox, "ulimit -n; ulimit -c").await;
    assert_eq!(files.stdout, "64\n0\n");
    let full = world::run(&sandbox, "head -c 2000000 /dev/zero > /tmp/big").await;
    assert_ne!(full.code, Some(0));
    let bomb = world::run(&sandbox, "exec sh -c 'for i in $(seq 100); do sleep 30 & done'").await;
    assert!(bomb.stderr.contains("fork") || bomb.code != Some(0), "100 processes were started: {bomb:?}");
    world.destroy(&sandbox).await;
}

#[tokio::test]
async fn destroy_leaves_nothing_and_can_be_repeated() {
    let Some(world) = World::new("a9") else { return };
    let sandbox = world.create(&world.spec()).await.unwrap();
    // Neither a process that left its session nor one that ignores signals survives.
    let left = "setsid sh -c 'trap \"\" TERM HUP INT; sleep 600' >/dev/null 2>&1 & echo started";
    assert_eq!(world::run(&sandbox, left).await.stdout, "started\n");
    world.destroy(&sandbox).await;
    world.wall().destroy(&sandbox.record).await.unwrap();
    let WallRecord::Local { pid, cgroups, .. } = &sandbox.record.wall else { panic!("not a local record") };
    assert!(!world::is_running(*pid));
    assert!(cgroups.iter().all(|c| !fs::exists(c).unwrap()), "{cgroups:?}");
    assert_eq!(cgroups.is_empty(), !is_root(), "{cgroups:?}");
    assert!(!fs::exists(&sandbox.record.directory).unwrap());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(world.state().to_str().unwrap()), "a mount is left on the host");
}

#[tokio::test]
async fn a_restarted_daemon_finds_its_sandbox_and_reaps_the_others() {
    let Some(world) = World::new("b1") else { return };
    let kept = world.create(&world.spec()).await.unwrap();
    let orphan = world
        .create(&SandboxSpec { id: format!("{}orphan", world.spec().id), ..world.spec() })
        .await
        .unwrap();
    let (record, lost) = (kept.record.clone(), orphan.record.clone());
    drop((kept, orphan));
    let after = world.another_wall();
    let again = after.reattach(&record, world::denials()).await.unwrap();
    assert_eq!(world::run(&again, "echo again").await.stdout, "again\n");
    let removed = after.reap("", std::slice::from_ref(&record.id)).await.unwrap();
    assert_eq!(removed, [format!("local sandbox {}orphan", world.spec().id)]);
    let WallRecord::Local { pid, .. } = lost.wall else { panic!("not a local record") };
    assert!(!world::is_running(pid), "an orphan survived");
    assert_eq!(world::run(&again, "echo still").await.stdout, "still\n");
    world.destroy(&again).await;
    let gone = after.reattach(&record, world::denials()).await.unwrap_err();
    assert!(gone.to_string().contains("gone"), "{gone}");
}

#[tokio::test]
async fn what_cannot_be_enforced_is_refused_and_leaves_nothing() {
    let Some(world) = World::new("b2") else { return };
    let good = world.spec();
    let zero = cordon_sandbox::Identity { uid: 0, gid: 0 };
    let refused = [
        SandboxSpec { network: Network::Host, ..good.clone() },
        SandboxSpec { network: Network::Bridge { granted: Vec::new() }, ..good.clone() },
        SandboxSpec { sudo: true, ..good.clone() },
        SandboxSpec { identity: zero, ..good.clone() },
        SandboxSpec { id: "../escape".into(), ..good.clone() },
    ];
    for spec in refused {
        let error = world.create(&spec).await.unwrap_err();
        assert!(error.is_refusal(), "{error}");
    }
    // A path that became a link after it was looked at, and one whose kind changed.
    let mut swapped = good.clone();
    let link = world.project().join("swapped");
    std::os::unix::fs::symlink("/etc", &link).unwrap();
    swapped.paths.push(world::entry(&link, Access::Read, PathKind::Directory));
    let error = world.create(&swapped).await.unwrap_err();
    assert!(error.to_string().contains("symbolic"), "{error}");
    // What the host does not let the sandbox's user write is no promise to keep.
    let mut promised = good.clone();
    promised.paths.push(world::entry(std::path::Path::new("/etc/ssl"), Access::Write, PathKind::Directory));
    let error = world.create(&promised).await.unwrap_err();
    assert!(matches!(error, SandboxError::ProbeDisagrees { .. }), "{error}");
    assert_eq!(fs::read_dir(world.state().join("sandboxes")).unwrap().count(), 0);
    assert!(world.leftovers().is_empty(), "{:?}", world.leftovers());
}

#[tokio::test]
async fn a_view_that_differs_from_its_policy_starts_nothing() {
    let Some(world) = World::new("b8") else { return };
    let right = world.spec();
    let project = world.project();
    let cases = [
        (".env", "rule none at", "read allowed", None),
        ("keep", "rule read at", "write allowed", Some(Access::Write)),
        ("", "rule write at", "write refused", Some(Access::Read)),
    ];
    for (name, rule, difference, access) in cases {
        let mut wrong = right.clone();
        let path = if name.is_empty() { project.clone() } else { project.join(name) };
        match access {
            Some(access) => {
                wrong.paths.iter_mut().filter(|e| e.path == path).for_each(|e| e.access = access);
            }
            None => wrong.paths.retain(|e| e.path != path),
        }
        let error = world.create(&wrong).await.unwrap_err();
        assert!(error.is_refusal(), "{error}");
        let error = error.to_string();
        assert!(error.contains(rule) && error.contains(difference), "{error}");
        assert!(error.contains("(context path, built in)"), "{error}");
    }
    // The probe made names and gave them up again.
    let mut left: Vec<_> = fs::read_dir(&project).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".env", "held", "keep", "secrets"]);
    assert_eq!(fs::read(project.join("keep/file")).unwrap(), b"kept");
    assert!(world.leftovers().is_empty(), "{:?}", world.leftovers());
}

#[tokio::test]
async fn a_refused_system_call_is_told_once_with_its_program() {
    let Some(world) = World::new("b9") else { return };
    let (denials, mut told) = tokio::sync::mpsc::channel(16);
    let sandbox = world.wall().create(&world.spec(), &|_| Ok(()), denials).await.unwrap();
    // Many times, from many processes at once: the kernel asks for each, and each is answered.
    let flood = "for i in 1 2 3 4; do (for n in $(seq 50); do unshare -U true 2>&1; done) & done; wait; true";
    let done = world::run(&sandbox, flood).await;
    assert_eq!(done.stdout.matches("Operation not permitted").count(), 200, "{done:?}");
    let denial = told.recv().await.unwrap();
    assert_eq!(
        denial.to_string(),
        "system call unshare (namespaces 0x10000000) by unshare denied by seccomp: unshare (namespaces \
         0x10000000) is refused to every agent"
    );
    // The probe tried everything, and nothing of that is told.
    world::run(&sandbox, "unshare -m true; kill -9 -1").await;
    assert!(told.recv().await.unwrap().target.starts_with("unshare (namespaces 0x20000) by unshare"));
    let still = world::run(&sandbox, "unshare -U true 2>&1; true").await;
    assert!(still.stdout.contains("Operation not permitted"), "{still:?}");
    // Whoever listens later hears what is new, and only that.
    drop(told);
    let (denials, mut told) = tokio::sync::mpsc::channel(16);
    let again = world.another_wall().reattach(&sandbox.record, denials).await.unwrap();
    world::run(&again, "unshare -U true; unshare -u true").await;
    assert!(told.recv().await.unwrap().target.starts_with("unshare (namespaces 0x4000000)"));
    assert!(told.try_recv().is_err());
    world.destroy(&sandbox).await;
}

#[tokio::test]
async fn a_daemon_that_forgot_the_process_still_ends_it() {
    let Some(world) = World::new("b3") else { return };
    let sandbox = world.create(&world.spec()).await.unwrap();
    let mut forgot = sandbox.record.clone();
    let WallRecord::Local { pid, start_time, .. } = &mut forgot.wall else { panic!("not a local record") };
    let real = std::mem::take(pid);
    *start_time = 0;
    world.wall().destroy(&forgot).await.unwrap();
    assert!(!world::is_running(real));
}

#[tokio::test]
async fn the_doctor_tries_everything() {
    let Some(world) = World::new("b4") else { return };
    let checks = world.wall().doctor().await;
    for name in ["guest", "namespaces", "Landlock", "filter", "whole sandbox"] {
        let found = checks.iter().find(|c| c.name.contains(name)).unwrap();
        assert_eq!(found.state, "ok", "{found:?}");
    }
    assert_eq!(checks.iter().any(|c| c.state != "ok"), !is_root(), "{checks:?}");
}

/// Root's run starts everything again as `nobody`.
#[test]
fn everything_holds_for_an_ordinary_user_too() {
    if !is_root() || skipped("ordinary-user") {
        return;
    }
    let guest = world::guest();
    let place = world::public_directory();
    let copy = place.path().join("cordon-guest");
    fs::copy(guest, &copy).unwrap();
    let tests = place.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &tests).unwrap();
    let done = Command::new(&tests)
        .args(["--skip", "everything_holds_for_an_ordinary_user_too", "--test-threads", "2"])
        .env("CORDON_GUEST", &copy)
        .env("TMPDIR", "/tmp")
        .current_dir("/")
        .uid(65_534)
        .gid(65_534)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success() && said.contains("test result: ok. 1"),
        "{said}\n{}",
        String::from_utf8_lossy(&done.stderr)
    );
}
