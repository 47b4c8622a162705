//! Snapshots and workspaces, against a double of the daemon.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod double;

use cordon_proto::v1::{DiffFormat, Outcome};
use double::{
    Host, State, ended,
    terminal::Dialogue,
    text,
    trees::{EVIL, SHOWN},
};
use serde_json::Value;
use std::{os::unix::fs::PermissionsExt as _, process::Stdio};
use tokio::io::AsyncWriteExt as _;

fn host() -> Host {
    Host::new(State::default())
}

fn talk(host: &Host, args: &[&str]) -> Dialogue {
    let mut command = host.command();
    command.args(args);
    Dialogue::begin(command, 200)
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_has_a_form_for_people_and_one_for_programs() {
    let host = host();
    let evil = Value::from(EVIL);
    for (args, words, pointer, value) in [
        (&["snapshots", "ls", "0199", "a"][..], "3f9a0c0b22de", "/0/label", evil.clone()),
        (&["snapshots", "show", "3f"], "label      x", "/tree", evil.clone()),
        (&["snapshots", "label", "3f", EVIL], "is labelled x", "/label", evil.clone()),
        (&["snapshots", "gc"], "1 snapshot removed, 1.0 kB freed", "/removed/0", evil.clone()),
        (&["snapshots", "gc", "--dry-run"], "would remove x", "/dry_run", true.into()),
        (&["snapshots", "verify"], "2 snapshots, 1 object, 5 B: all of it is whole", "/objects", 1.into()),
        (&["snapshots", "restore", "3f", "--yes"], "what was there is snapshot be40", "/tree", evil.clone()),
        (&["workspaces", "ls"], "cordon", "/0/path", evil.clone()),
        (&["workspaces", "show", "/w"], "made by    cordon", "/agent", evil.clone()),
        (&["workspaces", "tree", "/w"], "-rwxr-xr-x     7 B  src/x", "/0/target", evil.clone()),
    ] {
        let (stdout, stderr, code) = text(&host.cordon(args).await);
        assert_eq!(code, 0, "{args:?}: {stderr}");
        assert!(stdout.contains(words), "{args:?}: {words:?} is not in {stdout}");
        assert!(!stdout.contains(['\u{1b}', '\u{202e}']) && !stdout.contains("\ny"), "{args:?}: {stdout}");
        if args.last() != Some(&"verify") {
            assert!(stdout.contains(SHOWN), "{args:?}: {stdout}");
        }
        let (stdout, _, code) = text(&host.cordon(&[args, &["-o", "json"]].concat()).await);
        let document: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!((code, document.pointer(pointer)), (0, Some(&value)), "{args:?}: {stdout}");
        assert!(!stdout.contains(['\u{1b}', '\u{202e}']), "{args:?}: {stdout}");
    }
    let list = host.look(|s| s.asked_list[0].clone());
    assert_eq!((list.run.as_str(), list.agent.as_str()), ("0199", "a"));

    host.look(|s| s.faulty = true);
    let (stdout, _, code) = text(&host.cordon(&["snapshots", "verify"]).await);
    let fault = format!("fault: {SHOWN}\n  touches {SHOWN}\n");
    assert!(code == 1 && stdout.starts_with(&fault) && stdout.contains(": 1 fault\n"), "{stdout}");
    let (stdout, _, code) = text(&host.cordon(&["snapshots", "verify", "-o", "json"]).await);
    let document: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &document["faults"][0]["touched"][0]), (1, &evil));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_is_what_is_asked() {
    let host = host();
    let args =
        ["snapshots", "gc", "--keep-count", "3", "--keep-days", "2", "--keep-bytes", "1GiB", "--dry-run"];
    host.cordon(&args).await;
    let asked = host.look(|s| s.asked_collect[0]);
    assert_eq!(
        (asked.keep_count, asked.keep_seconds, asked.keep_bytes, asked.dry_run),
        (3, 172_800, 1 << 30, true)
    );
    host.cordon(&["workspaces", "tree", "/w", "src", "--depth", "2"]).await;
    let asked = host.look(|s| s.asked_tree[0].clone());
    assert_eq!((asked.name.as_str(), &asked.path[..], asked.depth), ("/w", &b"src"[..], 2));

    let (stdout, stderr, code) = text(&host.cordon(&["snapshots", "rm", "3f", "4e"]).await);
    assert_eq!((stdout.as_str(), code), ("", 0), "{stderr}");
    let asked = host.look(|s| s.asked_remove[0].clone());
    assert!(asked.ids == ["3f", "4e"] && !asked.idempotency_key.is_empty());

    let (stdout, _, code) =
        text(&host.cordon(&["snapshots", "diff", "3f", "4e", "--name-only", "--", "src"]).await);
    assert_eq!((stdout.as_str(), code), ("M a\n", 0));
    let asked = host.look(|s| s.asked_diff[0].clone());
    assert_eq!((asked.old.as_str(), asked.new.as_str()), ("3f", "4e"));
    assert_eq!((asked.format(), asked.paths), (DiffFormat::NameOnly, vec!["src".into()]));

    let (_, stderr, code) = text(&host.cordon(&["snapshots", "show", "none"]).await);
    assert!(code == 2 && stderr.contains("there is no snapshot none"), "{stderr}");
    let (_, stderr, code) = text(&host.cordon(&["workspaces", "rm", "/mine"]).await);
    assert!(code == 3 && stderr.contains("did not make"), "{stderr}");
    assert_eq!(text(&host.cordon(&["workspaces", "rm", "0199"]).await).2, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_is_asked_about() {
    let host = host();
    let (_, stderr, code) = text(&host.cordon(&["snapshots", "restore", "3f"]).await);
    assert!(code == 2 && stderr.contains("say --yes"), "{stderr}");
    let mut person = talk(&host, &["snapshots", "restore", "3f"]);
    let said = person.answer("kept as a snapshot first. [y/N] ", "n\n");
    assert!(said.contains("M a | +1 -1\n") && said.contains(SHOWN) && !said.contains("\u{1b}[2J"), "{said}");
    assert_eq!(person.end().await.1, 130);
    assert_eq!(host.look(|s| s.asked_restore.len()), 0);
    let mut person = talk(&host, &["snapshots", "restore", "3f"]);
    person.answer("[y/N] ", "y\n");
    let (said, code) = person.end().await;
    assert!(code == 0 && said.contains("`cordon snapshots restore be400c0b22de` brings it back"), "{said}");
    // What was looked at is what is restored, whatever the beginning of its id means by then.
    assert_eq!(host.look(|s| s.asked_restore[0].id.clone()), "3f9a0c0b22de44556677");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_is_a_run_that_begins_with_a_snapshot() {
    let host = Host::new(State { events: vec![ended(0, Outcome::AgentFailed)], ..State::default() });
    host.file("f.yaml", "agents: []");
    let (stdout, stderr, code) = text(&host.cordon(&["snapshots", "fork", "3f", "f.yaml", "again"]).await);
    assert_eq!(code, 1, "{stderr}");
    assert!(stdout.contains("the run failed"), "{stdout}");
    let asked = host.look(|s| s.asked_start.pop().unwrap());
    assert_eq!((asked.prompt.as_str(), asked.agents.as_slice()), ("again", &["a".to_owned()][..]));
    assert_eq!(asked.from_snapshots["a"], "3f9a0c0b22de44556677");

    host.look(|s| s.agents = vec!["one".into(), "two".into()]);
    let (_, stderr, code) = text(&host.cordon(&["snapshots", "fork", "3f", "f.yaml", "t"]).await);
    assert!(code == 2 && stderr.contains("choose one with -a: one, two"), "{stderr}");
    let args = ["snapshots", "fork", "3f", "f.yaml", "t", "-a", "two", "-d", "--wall", "local"];
    let (stdout, _, code) = text(&host.cordon(&args).await);
    assert_eq!((stdout.as_str(), code), ("0199-run\n", 0));
    let asked = host.look(|s| s.asked_start.pop().unwrap());
    assert_eq!(
        (asked.wall.as_str(), asked.from_snapshots.keys().map(String::as_str).collect::<Vec<_>>()),
        ("local", vec!["two"])
    );
    let (_, _, code) = text(&host.cordon(&["snapshots", "fork", "none", "f.yaml", "t", "-a", "one"]).await);
    assert_eq!((code, host.look(|s| s.asked_start.len())), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_written_whole_or_not_at_all() {
    let host = host();
    let path = host.path().join("t.tar");
    let (stdout, stderr, code) = text(&host.cordon(&["snapshots", "export", "3f", "t.tar"]).await);
    assert_eq!((stdout.as_str(), code), ("", 0), "{stderr}");
    assert_eq!(std::fs::read(&path).unwrap(), b"tar\x1b\xffend");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let (_, stderr, code) = text(&host.cordon(&["snapshots", "export", "3f", "t.tar"]).await);
    assert!(code == 2 && stderr.contains("--force replaces it"), "{stderr}");
    let (_, stderr, code) = text(&host.cordon(&["snapshots", "export", "broken", "t.tar", "--force"]).await);
    assert!(code == 4 && stderr.contains("damaged"), "{stderr}");
    // What was there is still there, and nothing else.
    assert_eq!(std::fs::read(&path).unwrap(), b"tar\x1b\xffend");
    let mut names: Vec<_> = std::fs::read_dir(host.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["s", "t.tar"]);

    assert_eq!(host.cordon(&["snapshots", "export", "3f"]).await.stdout, b"tar\x1b\xffend");
    let (said, code) = talk(&host, &["snapshots", "export", "3f", "-"]).end().await;
    assert!(code == 2 && said.contains("not for a terminal"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_sent_in_pieces_and_nothing_is_lost() {
    let host = host();
    let archive: Vec<u8> = (0..700_000_u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(host.path().join("t.tar"), &archive).unwrap();
    let (stdout, stderr, code) =
        text(&host.cordon(&["snapshots", "import", "t.tar", "--label", "old"]).await);
    assert_eq!((stdout.as_str(), code), ("11110c0b22de44556677\n", 0), "{stderr}");
    let mut child = host
        .command()
        .args(["snapshots", "import", "-", "-o", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&archive).await.unwrap();
    drop(stdin);
    let done = child.wait_with_output().await.unwrap();
    let document: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((done.status.code(), &document["kind"]), (Some(0), &Value::from("import")));
    host.look(|s| {
        assert!(s.asked_import.len() == 2 && s.asked_import.iter().all(|i| i.data == archive));
        assert_eq!((s.asked_import[0].label.as_str(), s.asked_import[1].label.as_str()), ("old", ""));
    });
    for (args, words) in [
        (["snapshots", "import", "none.tar"], "none.tar"),
        (["snapshots", "import", "."], "not a regular file"),
        (["snapshots", "import", "/proc/self/mem"], "/proc/self/mem"),
    ] {
        let (_, stderr, code) = text(&host.cordon(&args).await);
        assert!(code == 2 && stderr.contains(words), "{args:?}: {stderr}");
    }
    // The last one could be opened and not read: it was not taken for an empty archive.
    assert_eq!(host.look(|s| s.asked_import.len()), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_go_to_a_bucket_once_and_come_back_by_name() {
    let host = host();
    let (stdout, stderr, code) = text(&host.cordon(&["snapshots", "push", "3f", "4e", "there"]).await);
    assert_eq!((stdout.as_str(), code), ("", 0), "{stderr}");
    assert!(stderr.contains("pushed 2 snapshots, 2.0 kB"), "{stderr}");
    host.look(|s| {
        assert_eq!(s.asked_push.len(), 2);
        assert!(s.asked_push[0] == s.asked_push[1] && !s.asked_push[0].idempotency_key.is_empty());
    });
    let (_, stderr, _) = text(&host.cordon(&["snapshots", "push", "there"]).await);
    assert!(stderr.contains("has all of it already"), "{stderr}");
    let (stdout, _, code) = text(&host.cordon(&["snapshots", "push", "3f", "-o", "json"]).await);
    assert_eq!((stdout.as_str(), code), ("{\"bytes\":1000,\"pushed\":1}\n", 0));
    let (_, stderr, code) = text(&host.cordon(&["snapshots", "push", "nowhere"]).await);
    assert!(code != 0 && stderr.contains("no-bucket") && stderr.contains("--snapshot-bucket"), "{stderr}");

    let (stdout, _, code) = text(&host.cordon(&["snapshots", "fetch", "b0c4"]).await);
    assert_eq!((stdout.as_str(), code), ("22220c0b22de44556677\n", 0));
    let done = host.cordon(&["snapshots", "fetch", "b0c4", "-o", "json"]).await;
    let document: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&document["kind"], &document["parents"][0]), (&"fetch".into(), &"b0c4".into()));

    let (stdout, stderr, code) = text(&host.cordon(&["snapshots", "ls", "--bucket"]).await);
    assert!(code == 0 && stdout.contains("b0c40c0b22de") && stdout.contains(SHOWN), "{stdout}{stderr}");
    assert!(!stdout.contains('\u{1b}'));
    host.look(|s| assert!(s.asked_list.is_empty()));
    host.look(|s| s.faulty = true);
    let (_, stderr, code) = text(&host.cordon(&["snapshots", "ls", "--bucket"]).await);
    assert!(code == 0 && stderr.contains("`cordon snapshots push ID`"), "{stderr}");
    for bad in [&["ls", "--bucket", "0199"][..], &["push"], &["fetch"]] {
        assert_eq!(host.cordon(&[&["snapshots"], bad].concat()).await.status.code(), Some(2), "{bad:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_exact_in_a_pipe_and_harmless_on_a_terminal() {
    let host = host();
    let args = ["workspaces", "cat", "/w", "src/x"];
    assert_eq!(host.cordon(&args).await.stdout, b"of src/x\x1b[2J\xff\n");
    let (said, code) = talk(&host, &args).end().await;
    assert_eq!((said.as_str(), code), ("of src/x\\x1b[2J\\xff\n", 0));
}
