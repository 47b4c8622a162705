use crate::testing::{World, is_denied, names};
use cordon_policy::{Access, Origin, Policy, Rule, Source};
use serde_json::json;
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

#[tokio::test]
async fn names_change_and_nothing_is_replaced() {
    let w = World::new();
    let moved = w.call("move_file", json!({"source": "a.txt", "destination": "sub/z.txt"})).await;
    assert!(!moved.is_error, "{moved:?}");
    assert_eq!(fs::read_to_string(w.root.join("ws/sub/z.txt")).unwrap(), "one\ntwo\nthree\n");
    fs::write(w.root.join("ws/x"), "x").unwrap();
    symlink("nothing", w.root.join("ws/dangling")).unwrap();
    for there in ["sub/z.txt", "sub", "dangling", "x"] {
        let answer = w.call("move_file", json!({"source": "x", "destination": there})).await;
        assert!(answer.is_error && answer.all_text().contains("already exists"), "{there}: {answer:?}");
    }
    let inside = w.call("move_file", json!({"source": "sub", "destination": "sub/deep/er"})).await;
    assert!(inside.all_text().contains("into itself"), "{inside:?}");
    let link = w.call("move_file", json!({"source": "dangling", "destination": "still"})).await;
    assert!(!link.is_error && w.root.join("ws/still").is_symlink(), "{link:?}");
    let none = w.call("move_file", json!({"source": "none", "destination": "n"})).await;
    assert!(none.all_text().contains("does not exist"), "{none:?}");
    w.assert_canaries();
}

/// A move is a delete at one end and a create at the other, of all that is below.
#[tokio::test]
async fn both_ends_are_decided_with_all_below() {
    let w = World::new();
    symlink(w.root.join("outside"), w.root.join("ws/l")).unwrap();
    for (source, destination) in [
        ("keep", "kept"),
        ("keep/kept.txt", "kept"),
        (".env", "env"),
        ("a.txt", "keep/a.txt"),
        ("a.txt", "../outside/a"),
        ("a.txt", "l/a"),
        ("l/canary", "stolen"),
        ("../outside/canary", "stolen"),
        ("../ro/r.txt", "r"),
        ("../ro/out", "out"),
        ("../ws", "../ws2"),
        (".", "../x"),
        ("../single/one.txt", "one"),
        ("../single/sibling.txt", "one"),
        ("a.txt", "../single/two"),
    ] {
        let answer = w.call("move_file", json!({"source": source, "destination": destination})).await;
        assert!(answer.is_error, "{source} to {destination}: {answer:?}");
        assert!(is_denied(&answer) || source == ".", "{source} to {destination}: {answer:?}");
    }
    w.assert_canaries();
    assert!(w.root.join("ws/a.txt").is_file() && w.root.join("ro/r.txt").is_file());
}

/// The workspace with a second tree on another file system, which has a protected child.
fn two_file_systems() -> (World, tempfile::TempDir) {
    let other = tempfile::Builder::new().tempdir_in("/dev/shm").unwrap();
    let path = other.path().canonicalize().unwrap();
    let w = World::with(|table| {
        let rule = |path: &Path, access| Rule {
            path: path.to_path_buf(),
            access,
            origin: Origin::built_in(Source::ContextPath),
        };
        let more = [
            rule(&path, Access::Write),
            rule(&path.join("tree/keep"), Access::Read),
            rule(&path.join("to/deep"), Access::Read),
        ];
        table.policy = Policy::new(table.policy.rules().cloned().chain(more)).unwrap();
    });
    (w, other)
}

#[tokio::test]
async fn across_file_systems_it_is_a_copy_and_then_a_delete() {
    let (w, other) = two_file_systems();
    let ws = w.root.join("ws");
    fs::set_permissions(ws.join("sub/deep"), fs::Permissions::from_mode(0o555)).unwrap();
    symlink(w.root.join("outside/canary"), ws.join("sub/l")).unwrap();
    let to = other.path().join("moved");
    let answer = w.call("move_file", json!({"source": "sub", "destination": to})).await;
    assert!(!answer.is_error && answer.all_text().contains("copying"), "{answer:?}");
    assert!(!fs::exists(ws.join("sub")).unwrap());
    assert_eq!(fs::read_to_string(to.join("deep/c.rs")).unwrap(), "fn c() {}\n");
    assert_eq!(fs::metadata(to.join("deep")).unwrap().permissions().mode() & 0o777, 0o555);
    assert_eq!(fs::read_link(to.join("l")).unwrap(), w.root.join("outside/canary"));
    assert_eq!(names(other.path()), ["moved"]);
    w.assert_canaries();
}

#[tokio::test]
async fn across_file_systems_the_rules_are_the_same() {
    let (w, other) = two_file_systems();
    fs::create_dir_all(other.path().join("tree/keep")).unwrap();
    let tree = other.path().join("tree");
    let answer = w.call("move_file", json!({"source": tree, "destination": "here"})).await;
    assert!(is_denied(&answer), "{answer:?}");
    let answer = w.call("move_file", json!({"source": "sub", "destination": other.path().join("to")})).await;
    assert!(is_denied(&answer), "{answer:?}");
    let _socket = std::os::unix::net::UnixListener::bind(w.root.join("ws/sub/deep/socket")).unwrap();
    let answer = w.call("move_file", json!({"source": "sub", "destination": other.path().join("x")})).await;
    assert!(answer.is_error && answer.all_text().contains("not copied"), "{answer:?}");
    assert_eq!(names(other.path()), ["tree"]);
    assert!(w.root.join("ws/sub/b.rs").is_file());
    fs::write(other.path().join("there"), "").unwrap();
    let answer =
        w.call("move_file", json!({"source": "a.txt", "destination": other.path().join("there")})).await;
    assert!(answer.all_text().contains("already exists"), "{answer:?}");
    assert!(w.root.join("ws/a.txt").is_file());
    w.assert_canaries();
}
