//! Snapshots from one daemon to another, through a bucket of a real S3 server.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1 as pb;
use cordon_tests::harness::{Host, User, need_root, skipped};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

const ID: &str = "the-id-of-a-key-of-the-bucket";
const SECRET: &str = "hunter2-of-the-bucket";

struct Server {
    child: Child,
    home: tempfile::TempDir,
    url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn server() -> Server {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../build/tools/bin/s3s-fs");
    let program = std::env::var_os("CORDON_TEST_S3").map_or(built, PathBuf::from);
    assert!(
        program.is_file(),
        "no S3 server: scripts/setup-tests.sh puts s3s-fs into build/tools, or CORDON_TEST_S3 names one; \
         CORDON_TEST_SKIP=s3 leaves this out"
    );
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join("s3/team")).unwrap();
    let mut child = Command::new(program)
        .args(["--host", "127.0.0.1", "--port", "0", "--access-key", ID, "--secret-key", SECRET])
        .arg(home.path().join("s3"))
        .env("RUST_LOG", "s3s_fs=info")
        .env("NO_COLOR", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = loop {
        let line = lines.next().unwrap().unwrap();
        if let Some((_, url)) = line.split_once("server is running at ") {
            break url.chars().take_while(char::is_ascii_graphic).collect();
        }
    };
    // It would wait for who reads what it says.
    std::thread::spawn(move || lines.for_each(drop));
    Server { child, home, url }
}

impl Server {
    /// A machine of its own whose daemon has the bucket.
    fn host(&self, user: User) -> Host {
        let mut host = Host::without_daemon(user);
        host.set_env("BUCKET_ID", ID);
        host.set_env("BUCKET_SECRET", SECRET);
        host.set_flag(&format!("--snapshot-bucket=s3://team/cordon?endpoint={}", self.url));
        host.set_flag("--snapshot-bucket-key-id=BUCKET_ID");
        host.set_flag("--snapshot-bucket-secret=BUCKET_SECRET");
        host.start_daemon();
        host
    }
}

fn agent(host: &Host, name: &str, cwd: &str, script: &str) -> String {
    let script = serde_json::Value::from(script);
    let text = format!(
        "agents:\n  - id: worker\n    backend:\n      type: command\n      cwd: {cwd}\n      command: [bash, -c, {script}]\n"
    );
    host.agent_file(name, &text).display().to_string()
}

/// Whether a file below a directory holds these bytes.
fn holds(directory: &Path, needle: &str) -> bool {
    let found = Command::new("grep").args(["-rqF", "--", needle]).arg(directory).status().unwrap();
    found.success()
}

#[tokio::test]
async fn work_goes_on_at_another_machine_and_only_its_owner_finds_it() {
    if skipped("s3") {
        return;
    }
    let server = server();
    let (here, there) = (server.host(User::Tester), server.host(User::Tester));
    let ws = here.tree("ws");
    here.put(&ws.join("old"), "one\n");
    let file =
        agent(&here, "a.yaml", &ws.display().to_string(), "echo two >> old; mkdir d; ln -s ../old d/link");
    let _ = here.cordon(["run", &file, "x"]).expect_code(0);
    let kept = here.api().await.snapshots_of("").await;
    let turn = kept.iter().find(|s| s.kind == "turn").unwrap().clone();

    let empty = there.cordon(["snapshots", "ls", "--bucket"]).expect_code(0);
    assert!(empty.stderr.contains("no snapshots of yours"), "{}", empty.stderr);
    // All that are named, or none.
    let _ = here.cordon(["snapshots", "push", &turn.id, "ffffffff"]).expect_code(2);
    let listed = here.cordon(["snapshots", "ls", "--bucket"]).expect_code(0);
    assert!(listed.stderr.contains("no snapshots of yours"), "{}", listed.stderr);
    let pushed = here.cordon(["snapshots", "push", &turn.id[..12]]).expect_code(0);
    assert!(pushed.stderr.contains("pushed 1 snapshot"), "{}", pushed.stderr);
    let again = here.cordon(["snapshots", "push", &turn.id]).expect_code(0);
    assert!(again.stderr.contains("has all of it already"), "{}", again.stderr);

    let mut api = there.api().await;
    let listed = api.snapshots.list_bucket(pb::ListBucketRequest {}).await.unwrap().into_inner().snapshots;
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].id, &listed[0].run), (&turn.id, &turn.run));
    let id = there.cordon(["snapshots", "fetch", &turn.id[..10]]).expect_code(0).stdout.trim().to_owned();
    let same = there.cordon(["snapshots", "fetch", &turn.id]).expect_code(0).stdout.trim().to_owned();
    assert_eq!(same, id);
    let fetched = api.snapshots.get_snapshot(pb::GetSnapshotRequest { id: id.clone() }).await.unwrap();
    let fetched = fetched.into_inner();
    assert_eq!((fetched.kind.as_str(), &fetched.parents), ("fetch", &vec![turn.id.clone()]));
    // What the bucket's record claims of a run here is not believed.
    assert!(fetched.run.is_empty() && fetched.agent.is_empty() && fetched.tree.is_empty());
    assert_eq!(api.read_file(&id, "old").await.unwrap(), b"one\ntwo\n");

    // The same archive at both, and a run that goes on from there.
    for (host, id, name) in [(&here, &turn.id, "h.tar"), (&there, &id, "t.tar")] {
        let _ = host.cordon(["snapshots", "export", id, name]).expect_code(0);
    }
    let archive = |host: &Host, name: &str| fs::read(host.path("files").join(name)).unwrap();
    assert_eq!(archive(&here, "h.tar"), archive(&there, "t.tar"));
    let go_on = agent(&there, "b.yaml", "elsewhere", "cat d/link; echo three >> old");
    let forked = there.cordon(["snapshots", "fork", &id, &go_on, "x"]).expect_code(0);
    assert!(forked.stdout.contains("two"), "{}", forked.stdout);
    let run = api.only_run().await;
    let after = api.snapshots_of(&run.id).await.pop().unwrap();
    assert_eq!(after.kind, "turn");
    assert_eq!(api.read_file(&after.id, "old").await.unwrap(), b"one\ntwo\nthree\n");

    let none = there.cordon(["snapshots", "fetch", "ffffffff"]).expect_code(2);
    assert!(none.stderr.contains("not-in-bucket"), "{}", none.stderr);
    let log = fs::read_to_string(there.path("daemon.log")).unwrap() + &here.log();
    assert!(!log.contains(SECRET) && !log.contains(ID));
    for host in [&here, &there] {
        assert!(!holds(&host.path("state"), SECRET));
        let argv = fs::read_to_string(format!("/proc/{}/cmdline", host.daemon_pid())).unwrap();
        assert!(argv.contains("BUCKET_SECRET") && !argv.contains(SECRET));
    }

    // Another user with the same bucket has a part of his own.
    let uid = rustix::process::geteuid().as_raw();
    assert!(server.home.path().join(format!("s3/team/cordon/{uid}/snapshots/{}", turn.id)).is_file());
    if skipped("root") {
        return;
    }
    need_root();
    let other = server.host(User::Ordinary);
    let listed = other.cordon(["snapshots", "ls", "--bucket"]).expect_code(0);
    assert!(listed.stderr.contains("no snapshots of yours"), "{}", listed.stderr);
    let none = other.cordon(["snapshots", "fetch", &turn.id]).expect_code(2);
    assert!(none.stderr.contains("not-in-bucket"), "{}", none.stderr);
}

#[tokio::test]
async fn without_a_bucket_or_its_keys_it_is_said_how() {
    let host = Host::start();
    for args in [&["ls", "--bucket"][..], &["push", "3f"], &["fetch", "3f"]] {
        let ran = host.cordon([&["snapshots"], args].concat());
        assert!(ran.code != 0 && ran.stderr.contains("no-bucket"), "{}", ran.stderr);
        assert!(ran.stderr.contains("--snapshot-bucket s3://BUCKET/PREFIX"), "{}", ran.stderr);
    }
    let fresh = Host::without_daemon(User::Tester);
    let ran = fresh.finish(fresh.command("cordond").args(["--snapshot-bucket", "s3://team/x"]));
    assert!(ran.code == 1 && ran.stderr.contains("AWS_ACCESS_KEY_ID"), "{}", ran.stderr);
    let keyed = "s3://me:hunter2@team/x";
    let ran = fresh.finish(fresh.command("cordond").args(["--snapshot-bucket", keyed]));
    assert!(ran.code == 1 && !ran.stderr.contains("hunter2"), "{}", ran.stderr);
}
