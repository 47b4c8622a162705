//! Trees that several agents look at: the same files for all of them, and nobody can change one.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::{Outcome, OutputStream};
use cordon_tests::harness::{Host, User, need_image, need_root, output, skipped, summary, wait_until};
use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

const IMAGE: &str = "debian:bookworm-slim";
const WAIT: Duration = Duration::from_secs(60);
/// More than what is put back sooner than it is linked.
const FILES: usize = 60;

/// Every way to change a file without another name for it, and what the kernel says of each.
const ATTACK: &str = r#"
use strict; use warnings; use Fcntl; use POSIX ();
my ($view, $ws) = @ARGV;
my $f = "$view/agent1/d/f7";
my ($setxattr, $linkat) = (POSIX::uname())[4] eq "x86_64" ? (188, 265) : (5, 37);
sub said { my ($what, $done) = @_; printf "%s=%s\n", $what, $done ? "DONE" : $!+0; }
sub call { my ($what, @args) = @_; my $got = syscall(shift @args, @args); said($what, $got == 0); }
open(my $in, "<", $f) or die "open: $!"; my $text = <$in>; print "read=$text\n";
my $self = "/proc/self/fd/" . fileno($in);
said("write", sysopen(my $a, $f, O_WRONLY));
said("append", sysopen(my $b, $f, O_RDWR | O_APPEND));
said("truncate-open", sysopen(my $c, $f, O_WRONLY | O_TRUNC));
said("reopen", sysopen(my $d, $self, O_RDWR));
said("truncate", truncate($f, 0));
said("chmod", chmod(0777, $f));
said("fchmod", chmod(0777, $in));
said("proc-chmod", chmod(0777, $self));
said("chown", chown($>, $) + 0, $f));
said("utimes", utime(1, 1, $f));
said("futimes", utime(1, 1, $in));
call("setxattr", $setxattr, $f, "user.x", "y", 1, 0);
my $immutable = pack("l", 0x10);
said("flags", ioctl($in, 0x40086602, $immutable));
said("unlink", unlink($f));
said("rename", rename($f, "$view/agent1/d/other"));
said("create", sysopen(my $e, "$view/agent1/d/new", O_WRONLY | O_CREAT));
said("mkdir", mkdir("$view/agent3"));
said("link-in", link("$ws/ready", "$view/agent1/d/over"));
said("rename-out", rename($f, "$ws/moved"));
said("link", link($f, "$ws/linked"));
call("link-fd", $linkat, -100, $self, -100, "$ws/linked", 0x400);
"#;

/// `EROFS`, and `EXDEV` for another name elsewhere.
fn refusals() -> Vec<String> {
    let within = [
        "write",
        "append",
        "truncate-open",
        "reopen",
        "truncate",
        "chmod",
        "fchmod",
        "proc-chmod",
        "chown",
        "utimes",
        "futimes",
        "setxattr",
        "flags",
        "unlink",
        "rename",
        "create",
        "mkdir",
        "link-in",
    ];
    let across = ["rename-out", "link", "link-fd"];
    let rows = within.iter().map(|name| format!("{name}=30"));
    rows.chain(across.iter().map(|name| format!("{name}=18"))).collect()
}

fn agent(id: &str, ws: &Path, script: &str, more: &str) -> String {
    let (cwd, script) = (ws.display(), serde_json::Value::from(script));
    format!(
        "  - id: {id}\n    backend:\n      type: command\n      cwd: {cwd}\n      command: [bash, -c, {script}]\n{more}"
    )
}

/// Waits in the workspace for a word of the test after each step.
fn script(host: &Host, ws: &Path, view: &str) -> String {
    let (ws, state) = (ws.display(), host.path("state").display().to_string());
    format!(
        "v=$(ls -d {view}); touch ready; until [ -e go ]; do sleep 0.05; done; perl attack.pl $v {ws}; \
         [ -e {state}/sealed ] && echo LEAK; [ -e {state}/snapshots ] && echo LEAK; ls $v; \
         cat /proc/self/mountinfo; touch tried; until [ -e end ]; do sleep 0.05; done; cat $v/agent1/d/f7"
    )
}

fn facts(found: &Metadata) -> (u32, u32, u32, i64, i64, u64) {
    (found.mode(), found.uid(), found.gid(), found.mtime(), found.mtime_nsec(), found.size())
}

fn everything_below(directory: &Path) -> Vec<PathBuf> {
    let Ok(listing) = fs::read_dir(directory) else { return Vec::new() };
    listing.map(|entry| entry.unwrap().path()).collect()
}

/// Two agents look at one tree, attack it, and the daemon dies meanwhile.
async fn attacked(mut host: Host, view: &str, more: &str) {
    let (one, two) = (host.tree("first-secret-name"), host.tree("second-secret-name"));
    fs::create_dir(one.join("d")).unwrap();
    (0..FILES).for_each(|n| host.put(&one.join(format!("d/f{n}")), format!("content {n}")));
    for directory in [&one.join("d"), &one] {
        host.give(directory);
    }
    [&one, &two].iter().for_each(|ws| host.put(&ws.join("attack.pl"), ATTACK));
    let agents = [("alpha-id", &one), ("beta-id", &two)];
    let mut text = String::from("agents:\n");
    for (id, ws) in agents {
        text += &agent(id, ws, &script(&host, ws, view), more);
    }
    if view == "/peers" {
        text += "orchestrator:\n  agent_temporary_workspace: /peers\n";
    }
    let path = host.agent_file("a.yaml", &text);
    let _ = host.cordon(["run", path.to_str().unwrap(), "--detach", "x"]).expect_code(0);
    let run = host.api().await.only_run().await;
    let both = |name: &str| wait_until(WAIT, || [&one, &two].iter().all(|ws| ws.join(name).is_file()));
    assert!(both("ready"), "{}", host.log());

    let views = host.path("state/views").join(&run.id);
    let seen = |agent: usize| views.join(format!("{agent}/agent1/d/f7"));
    let sealed = everything_below(&host.path("state/sealed"));
    let [sealed] = sealed.as_slice() else { panic!("not one sealed tree: {sealed:?}") };
    let before = fs::metadata(sealed.join("d/f7")).unwrap();
    for agent in [0, 1] {
        let found = fs::metadata(seen(agent)).unwrap();
        assert_eq!((found.dev(), found.ino()), (before.dev(), before.ino()));
        let directory = |path: &Path| fs::metadata(path.parent().unwrap()).unwrap();
        assert_ne!(directory(&seen(agent)).ino(), directory(&sealed.join("d/f7")).ino());
    }
    assert_eq!((before.nlink(), before.uid()), (3, host.agent_uid()));

    [&one, &two].iter().for_each(|ws| host.put(&ws.join("go"), ""));
    assert!(both("tried"), "{}", host.log());
    let after = fs::metadata(sealed.join("d/f7")).unwrap();
    assert_eq!((facts(&after), after.nlink()), (facts(&before), 3));
    for n in 0..FILES {
        let found = fs::read_to_string(sealed.join(format!("d/f{n}"))).unwrap();
        assert_eq!(found, format!("content {n}"));
    }
    let listed = rustix::fs::listxattr(sealed.join("d/f7"), &mut [0_u8; 4096]);
    assert!(matches!(listed, Ok(0) | Err(rustix::io::Errno::NOTSUP)), "{listed:?}");
    assert_eq!(everything_below(&views.join("0/agent1/d")).len(), FILES);

    // What is sealed is a daemon's own; what agents see outlives it.
    host.kill_daemon();
    host.start_daemon();
    let cleared = wait_until(WAIT, || everything_below(&host.path("state/sealed")).is_empty());
    assert!(cleared, "{}", host.log());
    assert_eq!(fs::read_to_string(seen(1)).unwrap(), "content 7");
    [&one, &two].iter().for_each(|ws| host.put(&ws.join("end"), ""));
    let mut api = host.api().await;
    let events = api.events(&run.id, true).await;
    assert_eq!(summary(&events).outcome(), Outcome::Success, "{events:#?}");
    for (id, other, name) in [("alpha", "beta", "second-secret"), ("beta", "alpha", "first-secret")] {
        let own: Vec<_> = events.iter().filter(|e| e.agent == format!("{id}-id")).cloned().collect();
        let out = String::from_utf8_lossy(&output(&own, OutputStream::Stdout)).into_owned();
        let rows: Vec<_> = out.lines().collect();
        let expected = refusals();
        assert_eq!(rows[0], "read=content 7", "{out}");
        assert_eq!(rows[1..=expected.len()], expected, "{out}");
        assert!(out.contains("\nagent1\nagent2\n") && out.ends_with("content 7"), "{out}");
        for hidden in ["LEAK", "sealed", other, name] {
            assert!(!out.contains(hidden), "{hidden}: {out}");
        }
    }
    let gone = wait_until(WAIT, || everything_below(&host.path("state/views")).is_empty());
    assert!(gone && everything_below(&host.path("state/sealed")).is_empty(), "{}", host.log());
}

#[tokio::test]
async fn agents_share_what_they_see_and_none_can_change_it() {
    attacked(Host::start(), "/peers", "").await;
}

#[tokio::test]
async fn an_ordinary_users_agents_cannot_either() {
    if skipped("root") {
        return;
    }
    need_root();
    let host = Host::start_as(User::Ordinary);
    // Where the view stands when nothing is said of it.
    let view = format!("{}/views/*/*", host.path("state").display());
    attacked(host, &view, "").await;
}

#[tokio::test]
async fn containers_cannot_either() {
    if skipped("docker") {
        return;
    }
    need_image(IMAGE);
    let more =
        format!("      command_line_execution_mode: docker\n      command_line_docker_image: {IMAGE}\n");
    attacked(Host::start(), "/peers", &more).await;
}

#[tokio::test]
async fn what_a_run_showed_goes_with_it_and_not_before() {
    let host = Host::start();
    let ws = host.tree("ws");
    (0..FILES).for_each(|n| host.put(&ws.join(format!("f{n}")), format!("content {n}")));
    let waits = "touch ready; until [ -e end ]; do sleep 0.05; done";
    let agents = [agent("alpha", &ws, waits, ""), agent("beta", &host.tree("other"), "true", "")];
    let path = host.agent_file("a.yaml", &format!("agents:\n{}", agents.concat()));
    let _ = host.cordon(["run", path.to_str().unwrap(), "--detach", "x"]).expect_code(0);
    assert!(wait_until(WAIT, || ws.join("ready").is_file()), "{}", host.log());
    let sealed = everything_below(&host.path("state/sealed"));
    assert_eq!(sealed.len(), 1, "{sealed:?}");
    host.put(&ws.join("end"), "");
    let gone = || everything_below(&host.path("state/sealed")).is_empty();
    assert!(wait_until(WAIT, gone), "{}", host.log());
}
