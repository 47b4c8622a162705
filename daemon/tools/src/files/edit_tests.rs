use crate::testing::{World, is_denied, names};
use serde_json::json;
use std::{fs, os::unix::fs::symlink};

#[tokio::test]
async fn edits_are_done_and_shown() {
    let w = World::new();
    let edits = json!([{"oldText": "two", "newText": "2"}, {"oldText": "2\nthree", "newText": "2\n3"}]);
    let dry = w.call("edit_file", json!({"path": "a.txt", "edits": edits, "dryRun": true})).await;
    assert!(dry.all_text().starts_with("```diff\nIndex: a.txt\n"), "{dry:?}");
    assert!(dry.all_text().contains("-two\n-three\n+2\n+3\n"), "{dry:?}");
    assert_eq!(fs::read_to_string(w.root.join("ws/a.txt")).unwrap(), "one\ntwo\nthree\n");
    let done = w.call("edit_file", json!({"path": "a.txt", "edits": edits})).await;
    assert_eq!(done.pieces, dry.pieces);
    assert_eq!(fs::read_to_string(w.root.join("ws/a.txt")).unwrap(), "one\n2\n3\n");
}

#[tokio::test]
async fn all_or_nothing() {
    let w = World::new();
    let edits = json!([{"oldText": "two", "newText": "2"}, {"oldText": "nothing", "newText": "x"}]);
    let answer = w.call("edit_file", json!({"path": "a.txt", "edits": edits})).await;
    assert!(answer.is_error && answer.all_text().contains("edit 2 of 2"), "{answer:?}");
    assert_eq!(fs::read_to_string(w.root.join("ws/a.txt")).unwrap(), "one\ntwo\nthree\n");
    let twice =
        w.call("edit_file", json!({"path": "a.txt", "edits": [{"oldText": "t", "newText": ""}]})).await;
    assert!(twice.all_text().contains("matches 2 times"), "{twice:?}");
}

#[tokio::test]
async fn only_what_may_be_written_and_is_text() {
    let w = World::new();
    symlink(w.root.join("outside/canary"), w.root.join("ws/l")).unwrap();
    fs::write(w.root.join("ws/binary"), b"ok \xff").unwrap();
    let edits = json!([{"oldText": "a", "newText": "x"}]);
    for path in ["keep/kept.txt", ".env", "l", "../ro/r.txt", "../outside/canary", "../single/sibling.txt"] {
        let answer = w.call("edit_file", json!({"path": path, "edits": edits})).await;
        assert!(is_denied(&answer), "{path}: {answer:?}");
    }
    let dry = w.call("edit_file", json!({"path": "../ro/r.txt", "dryRun": true, "edits": edits})).await;
    assert!(!dry.is_error, "{dry:?}");
    for (path, dry) in [(".env", true), ("l", true)] {
        let answer = w.call("edit_file", json!({"path": path, "edits": edits, "dryRun": dry})).await;
        assert!(is_denied(&answer), "{path}: {answer:?}");
    }
    let binary = w.call("edit_file", json!({"path": "binary", "edits": edits})).await;
    assert!(binary.all_text().contains("byte 3"), "{binary:?}");
    w.assert_canaries();
}

#[tokio::test]
async fn large_files_are_edited_and_their_diffs_cut() {
    let w = World::with(|table| table.result_bytes = 4096);
    let mut text: String = (0..1_500_000).map(|n| format!("line number {n} of many, many lines\n")).collect();
    text.push_str("the end\n");
    assert!(text.len() > 50_000_000);
    fs::write(w.root.join("ws/big"), &text).unwrap();
    let edits = json!([{"oldText": "number 0 of", "newText": "number zero of"}, {"oldText": "the end", "newText": "an end"}]);
    let answer = w.call("edit_file", json!({"path": "big", "edits": edits})).await;
    assert!(!answer.is_error && answer.all_text().len() < 6000, "{answer:?}");
    let after = fs::read_to_string(w.root.join("ws/big")).unwrap();
    assert!(after.starts_with("line number zero of many") && after.ends_with("an end\n"));
    assert_eq!(after.len(), text.len() + 2);
    assert!(!names(&w.root.join("ws")).iter().any(|n| n.ends_with(".tmp")));
}
