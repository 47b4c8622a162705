use crate::testing::{CANARY, World, is_denied, names};
use rustix::fs::{CWD, Mode, RenameFlags, mkfifoat, renameat_with};
use serde_json::json;
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

#[tokio::test]
async fn files_are_created_with_their_directories_and_overwritten() {
    let w = World::new();
    let made = w.call("write_file", json!({"path": "x/y/z.txt", "content": "é\n"})).await;
    assert!(!made.is_error, "{made:?}");
    assert!(made.all_text().contains("created, 3 bytes"), "{made:?}");
    let again = w.call("write_file", json!({"path": w.path("ws/x/y/z.txt"), "content": "2"})).await;
    assert_eq!(again.structured.unwrap()["created"], false);
    assert_eq!(fs::read_to_string(w.root.join("ws/x/y/z.txt")).unwrap(), "2");
    assert_eq!(names(&w.root.join("ws/x/y")), ["z.txt"]);
    w.assert_canaries();
}

#[tokio::test]
async fn what_the_policy_does_not_grant_is_denied_and_leaves_nothing() {
    let w = World::new();
    for path in [
        "keep/kept.txt",
        "keep/new",
        "keep",
        ".env",
        "../outside/canary",
        "../outside/new/deep/x",
        "../ws-secret/x",
        "../ro/r.txt",
        "../ro/new",
        "../single/sibling.txt",
        "../single/new",
        "sub/../keep/x",
        "/etc/cordon-test",
    ] {
        let answer = w.call("write_file", json!({"path": path, "content": "x"})).await;
        assert!(is_denied(&answer), "{path}: {answer:?}");
    }
    w.assert_canaries();
    assert_eq!(names(&w.root.join("ro")), ["out", "r.txt"]);
    assert_eq!(names(&w.root.join("single")), ["one.txt", "sibling.txt"]);
}

#[tokio::test]
async fn links_are_followed_only_to_files_that_may_be_written() {
    let w = World::new();
    let ws = w.root.join("ws");
    symlink(w.root.join("outside/canary"), ws.join("out")).unwrap();
    symlink(w.root.join("outside/none"), ws.join("dangling-out")).unwrap();
    symlink("nothing", ws.join("dangling")).unwrap();
    symlink(w.root.join("outside"), ws.join("dir")).unwrap();
    symlink("a.txt", ws.join("in")).unwrap();
    symlink("keep", ws.join("k")).unwrap();
    for path in ["out", "dir/new", "dir/canary", "dir/a/b", "k/kept.txt", "k/new"] {
        assert!(is_denied(&w.call("write_file", json!({"path": path, "content": "x"})).await), "{path}");
    }
    assert!(is_denied(&w.call("write_file", json!({"path": "dangling-out", "content": "x"})).await));
    let dangling = w.call("write_file", json!({"path": "dangling", "content": "x"})).await;
    assert!(dangling.is_error && dangling.all_text().contains("not followed"), "{dangling:?}");
    assert!(w.call("write_file", json!({"path": "dangling/x", "content": "x"})).await.is_error);
    assert!(!w.call("write_file", json!({"path": "in", "content": "new"})).await.is_error);
    assert!(fs::symlink_metadata(ws.join("in")).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(ws.join("a.txt")).unwrap(), "new");
    assert!(!names(&ws).iter().any(|n| n == "nothing" || n.ends_with(".tmp")));
    w.assert_canaries();
}

#[tokio::test]
async fn hard_links_are_broken_and_never_written_through() {
    let w = World::new();
    fs::hard_link(w.root.join("outside/canary"), w.root.join("ws/hard")).unwrap();
    let answer = w.call("write_file", json!({"path": "hard", "content": "mine"})).await;
    assert!(!answer.is_error, "{answer:?}");
    assert_eq!(fs::read_to_string(w.root.join("ws/hard")).unwrap(), "mine");
    w.assert_canaries();
    // Where only the file itself is granted it can only be written in place.
    fs::hard_link(w.root.join("single/one.txt"), w.root.join("outside2")).unwrap();
    let answer = w.call("write_file", json!({"path": "../single/one.txt", "content": "mine"})).await;
    assert!(answer.is_error && answer.all_text().contains("hard links"), "{answer:?}");
    assert_eq!(fs::read_to_string(w.root.join("outside2")).unwrap(), "alone");
}

#[tokio::test]
async fn a_single_file_is_written_in_place_and_its_siblings_stay() {
    let w = World::new();
    let inode = fs::metadata(w.root.join("single/one.txt")).unwrap().ino();
    let answer = w.call("write_file", json!({"path": "../single/one.txt", "content": "n"})).await;
    assert_eq!(answer.structured.unwrap()["in_place"], true);
    assert_eq!(fs::read_to_string(w.root.join("single/one.txt")).unwrap(), "n");
    assert_eq!(fs::metadata(w.root.join("single/one.txt")).unwrap().ino(), inode);
    assert_eq!(names(&w.root.join("single")), ["one.txt", "sibling.txt"]);
    w.assert_canaries();
}

#[tokio::test]
async fn modes_stay_but_for_setuid() {
    let w = World::new();
    let path = w.root.join("ws/a.txt");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o6750)).unwrap();
    assert!(!w.call("write_file", json!({"path": "a.txt", "content": "x"})).await.is_error);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o750);
}

#[tokio::test]
async fn what_is_no_file_is_refused_and_nothing_hangs() {
    let w = World::new();
    mkfifoat(CWD, w.root.join("ws/fifo"), Mode::RWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(w.root.join("ws/socket")).unwrap();
    for path in ["fifo", "socket", "sub", ".", "a.txt/x", "new/", "x\0y", "", "sub/..", "no/../x"] {
        let answer = w.call("write_file", json!({"path": path, "content": "x"})).await;
        assert!(answer.is_error, "{path:?}: {answer:?}");
    }
    assert!(!w.root.join("ws/no").try_exists().unwrap());
    let big = "x".repeat((64 << 20) + 1);
    assert!(w.call("write_file", json!({"path": "big", "content": big})).await.is_error);
    let odd = w.call("write_file", json!({"path": "a.txt", "content": "", "mode": 1})).await;
    assert!(odd.is_error && odd.all_text().contains("unknown field"), "{odd:?}");
}

/// A directory and a link that leads out change places all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_race_of_directory_and_link_never_writes_outside() {
    let w = World::new();
    let (a, b) = (w.root.join("ws/sub"), w.root.join("ws/swap"));
    symlink(w.root.join("outside"), &b).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let flip = std::thread::spawn({
        let stop = stop.clone();
        move || {
            let mut n = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).unwrap();
                n += 1;
            }
            n
        }
    });
    let mut written = 0;
    for n in 0..3000 {
        let name = ["canary", "new", "deep/x", "d1/d2/x"][n % 4];
        let answer = w.call("write_file", json!({"path": format!("sub/{name}"), "content": "evil"})).await;
        written += usize::from(!answer.is_error);
        let _ = w.call("create_directory", json!({"path": format!("sub/made{}", n % 7)})).await;
        let _ = w
            .call(
                "copy_file",
                json!({"source_path": "a.txt", "destination_path": "sub/canary", "overwrite": true}),
            )
            .await;
        let _ = w.call("delete_file", json!({"path": "sub/canary"})).await;
        let _ = w.call("move_file", json!({"source": "sub/new", "destination": "sub/canary"})).await;
    }
    stop.store(true, Ordering::Relaxed);
    let flips = flip.join().unwrap();
    assert!(written > 100 && flips > 1000, "{written} writes, {flips} flips");
    w.assert_canaries();
    assert_eq!(fs::read_to_string(w.root.join("outside/canary")).unwrap(), CANARY);
    for directory in ["ws", "ws/sub", "ws/swap"] {
        assert!(!names(&w.root.join(directory)).iter().any(|n| n.ends_with(".tmp")), "{directory}");
    }
}
