use super::deep;
use crate::testing::{CANARY, World, is_denied, names};
use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::json;
use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
    },
};

#[tokio::test]
async fn files_and_trees_are_copied() {
    let w = World::new();
    let ws = w.root.join("ws");
    let odd = OsStr::from_bytes(b"odd\xff\n");
    fs::write(ws.join("sub").join(odd), "odd").unwrap();
    fs::create_dir(ws.join("sub/empty")).unwrap();
    fs::set_permissions(ws.join("sub/b.rs"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(ws.join("sub/deep"), fs::Permissions::from_mode(0o500)).unwrap();
    let one =
        w.call("copy_file", json!({"source_path": "a.txt", "destination_path": "new/dir/a2.txt"})).await;
    assert_eq!(one.structured.as_ref().unwrap()["details"]["size"], 14, "{one:?}");
    let tree = w.call("copy_file", json!({"source_path": "sub", "destination_path": "copy"})).await;
    assert_eq!(tree.structured.as_ref().unwrap()["details"]["file_count"], 3, "{tree:?}");
    assert_eq!(fs::read_to_string(ws.join("copy").join(odd)).unwrap(), "odd");
    assert_eq!(fs::read_to_string(ws.join("copy/deep/c.rs")).unwrap(), "fn c() {}\n");
    assert_eq!(fs::metadata(ws.join("copy/b.rs")).unwrap().mode() & 0o7777, 0o751);
    assert_eq!(fs::metadata(ws.join("copy/deep")).unwrap().mode() & 0o777, 0o500);
    assert!(ws.join("copy/empty").is_dir());
    let again = w.call("copy_file", json!({"source_path": "sub", "destination_path": "copy"})).await;
    assert!(again.all_text().contains("already exists"), "{again:?}");
    w.assert_canaries();
}

/// A copied tree appears by a rename: where a rule protects a name in it, nothing may.
#[tokio::test]
async fn no_tree_is_copied_over_a_protected_name() {
    use cordon_policy::{Access, Origin, Policy, Rule, Source};
    let w = World::with(|table| {
        let held = Rule {
            path: table.workspace.join("held/.git"),
            access: Access::Read,
            origin: Origin::built_in(Source::RunsLater),
        };
        table.policy = Policy::new(table.policy.rules().cloned().chain([held])).unwrap();
    });
    let answer = w.call("copy_file", json!({"source_path": "sub", "destination_path": "held"})).await;
    assert!(is_denied(&answer), "{answer:?}");
    assert!(!w.root.join("ws/held").try_exists().unwrap());
    assert_eq!(names(&w.root.join("ws")), [".env", "a.txt", "keep", "sub"]);
}

/// Both paths are decided, and no link leads a copy out.
#[tokio::test]
async fn neither_end_may_be_elsewhere() {
    let w = World::new();
    let ws = w.root.join("ws");
    symlink(w.root.join("outside"), ws.join("out")).unwrap();
    symlink(w.root.join("outside/canary"), ws.join("f")).unwrap();
    for (from, to) in [
        ("../outside/canary", "stolen"),
        ("../outside", "stolen"),
        ("out", "stolen"),
        ("f", "stolen"),
        (".env", "stolen"),
        ("../single/sibling.txt", "stolen"),
        ("../single", "stolen"),
        ("a.txt", "../outside/new"),
        ("a.txt", "../outside/canary"),
        ("a.txt", "out/new"),
        ("a.txt", "out/x/y"),
        ("a.txt", "keep/new"),
        ("a.txt", "keep/kept.txt"),
        ("a.txt", ".env"),
        ("a.txt", "../ro/r.txt"),
        ("a.txt", "f"),
        ("sub", "../ro/new"),
        ("sub", "../single/new"),
        ("sub", "keep"),
    ] {
        for overwrite in [false, true] {
            let arguments = json!({"source_path": from, "destination_path": to, "overwrite": overwrite});
            let answer = w.call("copy_file", arguments).await;
            assert!(is_denied(&answer), "{from} to {to}: {answer:?}");
        }
    }
    w.assert_canaries();
    assert!(!fs::exists(ws.join("stolen")).unwrap());
}

#[tokio::test]
async fn links_in_a_tree_are_copied_as_links() {
    let w = World::new();
    let ws = w.root.join("ws");
    symlink(w.root.join("outside"), ws.join("sub/out")).unwrap();
    symlink("../.env", ws.join("sub/env")).unwrap();
    let answer = w.call("copy_file", json!({"source_path": "sub", "destination_path": "copy"})).await;
    assert_eq!(answer.structured.as_ref().unwrap()["details"]["link_count"], 2, "{answer:?}");
    assert_eq!(fs::read_link(ws.join("copy/out")).unwrap(), w.root.join("outside"));
    assert_eq!(fs::read_link(ws.join("copy/env")).unwrap(), std::path::Path::new("../.env"));
    let arguments = json!({"source_base_path": "sub", "destination_base_path": "batch"});
    let answer = w.call("copy_files_batch", arguments).await;
    assert!(!answer.is_error, "{answer:?}");
    assert!(ws.join("batch/out").is_symlink() && ws.join("batch/env").is_symlink());
    w.assert_canaries();
}

#[tokio::test]
async fn what_is_hidden_in_a_tree_stops_the_copy() {
    let w = World::new();
    let answer = w.call("copy_file", json!({"source_path": ".", "destination_path": "../ro/out/all"})).await;
    assert!(is_denied(&answer) && answer.all_text().contains(".env"), "{answer:?}");
    assert!(names(&w.root.join("ro/out")).is_empty());
    let into = w.call("copy_file", json!({"source_path": "sub", "destination_path": "sub/deep/x/y"})).await;
    assert!(into.all_text().contains("inside of the source"), "{into:?}");
    assert!(!fs::exists(w.root.join("ws/sub/deep/x")).unwrap());
    let over = json!({"source_path": "sub/deep", "destination_path": "sub", "overwrite": true});
    assert!(w.call("copy_file", over).await.all_text().contains("source is inside"));
    mkfifoat(CWD, w.root.join("ws/sub/deep/fifo"), Mode::RWXU).unwrap();
    let answer = w.call("copy_file", json!({"source_path": "sub", "destination_path": "copy"})).await;
    assert!(answer.all_text().contains("not copied"), "{answer:?}");
    assert!(!names(&w.root.join("ws")).iter().any(|n| n.contains("copy") || n.ends_with(".tmp")));
    w.assert_canaries();
}

#[tokio::test]
async fn replacing_is_deleting() {
    let w = World::with(|table| table.read_before_delete = true);
    let ws = w.root.join("ws");
    fs::hard_link(w.root.join("outside/canary"), ws.join("hard")).unwrap();
    let over = |from: &str, to: &str| json!({"source_path": from, "destination_path": to, "overwrite": true});
    assert!(!w.call("copy_file", over("a.txt", "hard")).await.is_error);
    assert_eq!(fs::read_to_string(ws.join("hard")).unwrap(), "one\ntwo\nthree\n");
    for (from, to) in [("a.txt", "sub"), ("sub", "a.txt")] {
        assert!(w.call("copy_file", over(from, to)).await.is_error, "{from} {to}");
    }
    fs::create_dir_all(ws.join("old/x")).unwrap();
    fs::write(ws.join("old/x/unread"), "").unwrap();
    let unread = w.call("copy_file", over("sub", "old")).await;
    assert!(is_denied(&unread) && unread.all_text().contains("unread"), "{unread:?}");
    assert!(!w.call("read_text_file", json!({"path": "old/x/unread"})).await.is_error);
    let done = w.call("copy_file", over("sub", "old")).await;
    assert!(!done.is_error, "{done:?}");
    assert_eq!(names(&ws.join("old")), ["b.rs", "deep"]);
    // `ws` has a protected child and a hidden one.
    let protected = w.call("copy_file", over("../ro/out", "../ws")).await;
    assert!(is_denied(&protected), "{protected:?}");
    assert!(!names(&ws).iter().any(|n| n.ends_with(".tmp")));
    w.assert_canaries();
}

#[tokio::test]
async fn sparse_files_stay_sparse_and_take_no_time() {
    let w = World::new();
    let file = fs::File::create(w.root.join("ws/sparse")).unwrap();
    file.set_len(1 << 40).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"middle", 1 << 39).unwrap();
    let answer = w.call("copy_file", json!({"source_path": "sparse", "destination_path": "copy"})).await;
    assert!(!answer.is_error, "{answer:?}");
    let copy = fs::metadata(w.root.join("ws/copy")).unwrap();
    assert_eq!(copy.len(), 1 << 40);
    assert!(copy.blocks() < 1 << 12, "{} blocks", copy.blocks());
    let mut middle = [0; 6];
    let copy = fs::File::open(w.root.join("ws/copy")).unwrap();
    std::os::unix::fs::FileExt::read_exact_at(&copy, &mut middle, 1 << 39).unwrap();
    assert_eq!(&middle, b"middle");
}

#[tokio::test]
async fn depth_is_no_limit() {
    let w = World::new();
    deep(&w.root.join("ws/sub"), 3_000);
    let answer = w.call("copy_file", json!({"source_path": "sub", "destination_path": "copy"})).await;
    assert_eq!(answer.structured.as_ref().unwrap()["details"]["directory_count"], 3_002, "{answer:?}");
    for path in ["sub", "copy"] {
        let answer = w.call("delete_file", json!({"path": path, "recursive": true})).await;
        assert!(!answer.is_error, "{answer:?}");
        assert!(!fs::exists(w.root.join("ws").join(path)).unwrap());
    }
}

#[tokio::test]
async fn a_batch_says_what_became_of_each() {
    let w = World::new();
    let ws = w.root.join("ws");
    fs::create_dir_all(ws.join("to/sub/deep")).unwrap();
    fs::write(ws.join("to/sub/b.rs"), "mine").unwrap();
    symlink(w.root.join("outside"), ws.join("to/keep")).unwrap();
    fs::create_dir(ws.join("node_modules")).unwrap();
    fs::write(ws.join("node_modules/x"), "").unwrap();
    let arguments = json!({
        "source_base_path": ".", "destination_base_path": "to", "exclude_patterns": ["to", "node_modules", "*.log"],
    });
    let answer = w.call("copy_files_batch", arguments.clone()).await;
    let value = answer.structured.unwrap();
    assert_eq!(value["copied"], json!(["a.txt", "sub/deep/c.rs"]));
    assert_eq!(value["skipped"], json!(["sub/b.rs"]));
    let errors = value["errors"].as_array().unwrap();
    assert_eq!(
        errors.iter().map(|e| e["path"].as_str().unwrap()).collect::<Vec<_>>(),
        [".env", "keep/kept.txt"]
    );
    assert_eq!(fs::read_to_string(ws.join("to/sub/b.rs")).unwrap(), "mine");
    let mut overwrite = arguments;
    overwrite["overwrite"] = json!(true);
    assert_eq!(w.call("copy_files_batch", overwrite).await.structured.unwrap()["summary"]["copied"], 3);
    assert_eq!(fs::read_to_string(ws.join("to/sub/b.rs")).unwrap(), "fn b() {}\n");
    for (from, to) in
        [("../outside", "x"), (".", "../outside/x"), ("sub", "keep"), ("sub", "to/keep"), ("../single", "x")]
    {
        let arguments = json!({"source_base_path": from, "destination_base_path": to, "overwrite": true});
        let answer = w.call("copy_files_batch", arguments).await;
        assert!(is_denied(&answer), "{from} to {to}: {answer:?}");
    }
    // A protected directory in the destination is met entry by entry.
    fs::create_dir_all(w.root.join("ro/out/keep")).unwrap();
    fs::write(w.root.join("ro/out/keep/kept.txt"), CANARY).unwrap();
    let arguments = json!({"source_base_path": "../ro/out", "destination_base_path": ".", "overwrite": true});
    let answer = w.call("copy_files_batch", arguments).await;
    assert!(answer.is_error && answer.all_text().contains("errors 1"), "{answer:?}");
    let into_itself = json!({"source_base_path": "sub", "destination_base_path": "sub/inner", "include_patterns": ["*.rs"]});
    assert_eq!(w.call("copy_files_batch", into_itself).await.structured.unwrap()["summary"]["copied"], 2);
    w.assert_canaries();
}
