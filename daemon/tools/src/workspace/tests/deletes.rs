use crate::testing::{World, is_denied, names};
use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::json;
use std::{fs, os::unix::fs::symlink};

#[tokio::test]
async fn files_links_and_trees_are_deleted() {
    let w = World::new();
    let ws = w.root.join("ws");
    symlink(w.root.join("outside"), ws.join("sub/out")).unwrap();
    symlink(w.root.join("outside/canary"), ws.join("link")).unwrap();
    mkfifoat(CWD, ws.join("sub/fifo"), Mode::RWXU).unwrap();
    for path in ["a.txt", "link"] {
        assert!(!w.call("delete_file", json!({"path": path})).await.is_error, "{path}");
    }
    let refused = w.call("delete_file", json!({"path": "sub"})).await;
    assert!(refused.all_text().contains("recursive"), "{refused:?}");
    let done = w.call("delete_file", json!({"path": "sub/", "recursive": true})).await;
    assert_eq!(done.structured.as_ref().unwrap()["details"]["file_count"], 4, "{done:?}");
    assert_eq!(names(&ws), [".env", "keep"]);
    assert!(w.call("delete_file", json!({"path": "none"})).await.all_text().contains("does not exist"));
    w.assert_canaries();
}

/// A tree with something protected or hidden in it is refused before anything is deleted.
#[tokio::test]
async fn what_is_protected_protects_what_holds_it() {
    let w = World::new();
    symlink(w.root.join("outside"), w.root.join("ws/l")).unwrap();
    for path in [
        "../ws",
        ".",
        "keep",
        "keep/kept.txt",
        ".env",
        "l/canary",
        "../outside/canary",
        "../outside",
        "../ro",
        "../ro/r.txt",
        "../ro/out",
        "../single/one.txt",
        "../single/sibling.txt",
        "../single",
        "/",
    ] {
        let answer = w.call("delete_file", json!({"path": path, "recursive": true})).await;
        assert!(answer.is_error, "{path}: {answer:?}");
        assert!(is_denied(&answer) || ["/", "."].contains(&path), "{path}: {answer:?}");
    }
    w.assert_canaries();
    assert!(w.root.join("ws/a.txt").is_file() && w.root.join("ro/r.txt").is_file());
}

#[tokio::test]
async fn a_batch_deletes_what_matches_and_may_be_deleted() {
    let w = World::new();
    let ws = w.root.join("ws");
    symlink(w.root.join("outside"), ws.join("out")).unwrap();
    let rs = json!({"base_path": ".", "include_patterns": ["*.rs"], "exclude_patterns": ["sub/deep/*"]});
    let answer = w.call("delete_files_batch", rs).await;
    assert_eq!(answer.structured.unwrap()["deleted"], json!(["sub/b.rs"]));
    let all = w.call("delete_files_batch", json!({"base_path": "."})).await;
    let value = all.structured.unwrap();
    assert_eq!(value["deleted"], json!(["a.txt", "out", "sub/deep/c.rs"]));
    assert_eq!(value["summary"]["errors"], 2, "{value}");
    assert_eq!(names(&ws), [".env", "keep", "sub"]);
    for base in ["../outside", "../single", "../ws-secret"] {
        assert!(is_denied(&w.call("delete_files_batch", json!({"base_path": base})).await), "{base}");
    }
    let ro = w.call("delete_files_batch", json!({"base_path": "../ro"})).await;
    assert!(ro.is_error && w.root.join("ro/r.txt").is_file(), "{ro:?}");
    let bad = w.call("delete_files_batch", json!({"base_path": ".", "include_patterns": ["a{"]})).await;
    assert!(bad.is_error && bad.all_text().contains("include_patterns"), "{bad:?}");
    w.assert_canaries();
}

#[tokio::test]
async fn nothing_is_deleted_unread_where_the_agent_file_says_so() {
    let w = World::with(|table| table.read_before_delete = true);
    let ws = w.root.join("ws");
    let one = w.call("delete_file", json!({"path": "a.txt"})).await;
    assert!(is_denied(&one) && one.all_text().contains("1 file was not read"), "{one:?}");
    for n in 0..5 {
        fs::write(ws.join(format!("sub/f{n}")), "").unwrap();
    }
    fs::create_dir_all(ws.join("sub/node_modules/x")).unwrap();
    fs::write(ws.join("sub/node_modules/x/y.js"), "").unwrap();
    let many = w.call("delete_file", json!({"path": "sub", "recursive": true})).await;
    assert!(is_denied(&many), "{many:?}");
    assert!(many.all_text().contains("7 files") && many.all_text().contains("and 4 more"), "{many:?}");
    // What a denied or a failed call touches is not read, and a directory is no file.
    let _ = w.call("create_directory", json!({"path": "a.txt"})).await;
    let _ =
        w.call("edit_file", json!({"path": "a.txt", "edits": [{"oldText": "none", "newText": ""}]})).await;
    let _ = w.call("move_file", json!({"source": "a.txt", "destination": "sub"})).await;
    assert!(is_denied(&w.call("delete_file", json!({"path": "a.txt"})).await));
    let batch = w.call("delete_files_batch", json!({"base_path": ".", "include_patterns": ["*.txt"]})).await;
    assert!(batch.is_error && ws.join("a.txt").is_file(), "{batch:?}");
    // What a tool made or read may go; what programs make again as well.
    assert!(!w.call("write_file", json!({"path": "mine", "content": ""})).await.is_error);
    assert!(!w.call("delete_file", json!({"path": "mine"})).await.is_error);
    assert!(!w.call("copy_file", json!({"source_path": "sub", "destination_path": "copy"})).await.is_error);
    assert!(!w.call("delete_file", json!({"path": "copy", "recursive": true})).await.is_error);
    assert!(!w.call("read_text_file", json!({"path": "a.txt"})).await.is_error);
    assert!(!w.call("delete_file", json!({"path": "a.txt"})).await.is_error);
    fs::write(ws.join("x.log"), "").unwrap();
    assert!(!w.call("delete_file", json!({"path": "x.log"})).await.is_error);
    w.assert_canaries();
}

#[tokio::test]
async fn wide_trees_are_no_trouble() {
    let w = World::with(|table| table.read_before_delete = true);
    let wide = w.root.join("ws/wide");
    for n in 0..50 {
        fs::create_dir_all(wide.join(n.to_string())).unwrap();
        for m in 0..200 {
            fs::write(wide.join(n.to_string()).join(m.to_string()), "").unwrap();
        }
    }
    let copied = w.call("copy_file", json!({"source_path": "wide", "destination_path": "again"})).await;
    assert_eq!(copied.structured.as_ref().unwrap()["details"]["file_count"], 10_000, "{copied:?}");
    let same = w.call("compare_directories", json!({"dir1": "wide", "dir2": "again"})).await;
    assert_eq!(same.structured.as_ref().unwrap()["identical"], 10_000, "{same:?}");
    let batch = w.call("delete_files_batch", json!({"base_path": "again"})).await;
    assert_eq!(batch.structured.as_ref().unwrap()["summary"]["deleted"], 10_000, "{batch:?}");
    assert!(batch.all_text().len() < 128 << 10, "{}", batch.all_text().len());
    let gone = w.call("delete_file", json!({"path": "again", "recursive": true})).await;
    assert_eq!(gone.structured.as_ref().unwrap()["details"]["directory_count"], 51, "{gone:?}");
}
