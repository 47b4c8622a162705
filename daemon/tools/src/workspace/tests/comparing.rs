use crate::testing::{CANARY, World, is_denied};
use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::json;
use std::{fs, os::unix::fs::symlink};

#[tokio::test]
async fn files_are_compared() {
    let w = World::new();
    let ws = w.root.join("ws");
    fs::write(ws.join("b.txt"), "one\n2\nthree\n").unwrap();
    let differ =
        w.call("compare_files", json!({"file1": "a.txt", "file2": "b.txt", "context_lines": 0})).await;
    assert_eq!(differ.all_text(), "--- a.txt\n+++ b.txt\n@@ -2 +2 @@\n-two\n+2\n");
    assert_eq!(differ.structured.unwrap()["added"], 1);
    let same = w.call("compare_files", json!({"file1": "a.txt", "file2": "./a.txt"})).await;
    assert_eq!(same.structured.unwrap()["identical"], true);
    fs::write(ws.join("binary"), b"one\n\xff").unwrap();
    let binary = w.call("compare_files", json!({"file1": "a.txt", "file2": "binary"})).await;
    assert!(binary.all_text().contains("from byte 4 on"), "{binary:?}");
    mkfifoat(CWD, ws.join("fifo"), Mode::RWXU).unwrap();
    symlink(w.root.join("outside/canary"), ws.join("l")).unwrap();
    for path in ["fifo", "sub", ".env", "l", "../outside/canary", "../single/sibling.txt"] {
        for (file1, file2) in [("a.txt", path), (path, "a.txt")] {
            let answer = w.call("compare_files", json!({"file1": file1, "file2": file2})).await;
            assert!(answer.is_error && !answer.all_text().contains(CANARY), "{path}: {answer:?}");
            assert!(is_denied(&answer) || ["fifo", "sub"].contains(&path), "{path}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn trees_are_compared_by_content_all_the_way_down() {
    let w = World::new();
    let ws = w.root.join("ws");
    assert!(!w.call("copy_file", json!({"source_path": "sub", "destination_path": "two"})).await.is_error);
    let same = w.call("compare_directories", json!({"dir1": "sub", "dir2": "two"})).await;
    assert_eq!(same.structured.as_ref().unwrap()["same"], true, "{same:?}");
    // The same size and time, and a link that leads where the file is.
    fs::write(ws.join("two/deep/c.rs"), "fn d() {}\n").unwrap();
    symlink("b.rs", ws.join("two/x")).unwrap();
    fs::write(ws.join("sub/x"), "fn b() {}\n").unwrap();
    symlink("one", ws.join("sub/link")).unwrap();
    symlink("other", ws.join("two/link")).unwrap();
    fs::create_dir(ws.join("sub/only")).unwrap();
    fs::write(ws.join("two/new"), "").unwrap();
    let arguments = json!({"dir1": "sub", "dir2": "two", "show_content_diff": true});
    let answer = w.call("compare_directories", arguments).await;
    let value = answer.structured.clone().unwrap();
    assert_eq!(value["different"], json!(["link", "x (file and link)", "deep/c.rs"]));
    assert_eq!(value["only_in_dir1"], json!(["only/"]));
    assert_eq!(value["only_in_dir2"], json!(["new"]));
    assert_eq!(value["identical"], 1);
    assert!(answer.all_text().contains("-fn c() {}\n+fn d() {}\n"), "{answer:?}");
}

#[tokio::test]
async fn what_is_hidden_is_not_compared() {
    let w = World::new();
    fs::write(w.root.join("ro/out/.env"), CANARY).unwrap();
    let arguments = json!({"dir1": ".", "dir2": "../ro/out", "show_content_diff": true});
    let answer = w.call("compare_directories", arguments).await;
    assert!(!answer.all_text().contains(CANARY), "{answer:?}");
    assert!(
        answer.structured.as_ref().unwrap()["errors"][0].as_str().unwrap().starts_with(".env"),
        "{answer:?}"
    );
    for (dir1, dir2) in [("../outside", "."), (".", "../outside"), ("../single", "."), (".", "a.txt")] {
        assert!(w.call("compare_directories", json!({"dir1": dir1, "dir2": dir2})).await.is_error);
    }
    for name in ["one", "two"] {
        let file = fs::File::create(w.root.join("ro/out").join(name)).unwrap();
        file.set_len(1 << 40).unwrap();
    }
    fs::create_dir(w.root.join("ro/out/big")).unwrap();
    fs::File::create(w.root.join("ro/out/big/one")).unwrap().set_len(1 << 40).unwrap();
    let answer = w.call("compare_directories", json!({"dir1": "../ro/out", "dir2": "../ro/out/big"})).await;
    assert!(answer.all_text().contains("not compared, it is larger than 1 GiB"), "{answer:?}");
}
