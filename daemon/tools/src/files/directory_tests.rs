use crate::testing::{World, is_denied};
use serde_json::json;
use std::{fs, os::unix::fs::symlink};

#[tokio::test]
async fn directories_are_made_and_may_be_there() {
    let w = World::new();
    let made = w.call("create_directory", json!({"path": "p/q/r/"})).await;
    assert_eq!(made.structured.as_ref().unwrap()["created"], 3, "{made:?}");
    assert!(w.root.join("ws/p/q/r").is_dir());
    for path in ["p/q/r", "keep", ".", "/nonexistent/../nonexistent"] {
        let again = w.call("create_directory", json!({"path": path})).await;
        assert_eq!(again.is_error, path.starts_with('/'), "{path}: {again:?}");
    }
}

#[tokio::test]
async fn where_none_may_be_made_none_is() {
    let w = World::new();
    symlink(w.root.join("outside"), w.root.join("ws/l")).unwrap();
    symlink(w.root.join("outside/none"), w.root.join("ws/d")).unwrap();
    for path in
        ["keep/x", "new/../keep/x", "../outside/x", "l/x", "l/x/y", "d", "d/x", "../ro/x", ".env/x", "../x"]
    {
        let answer = w.call("create_directory", json!({"path": path})).await;
        assert!(answer.is_error, "{path}: {answer:?}");
        assert!(is_denied(&answer) || ["new/../keep/x", "d", "d/x"].contains(&path), "{path}: {answer:?}");
    }
    let file = w.call("create_directory", json!({"path": "a.txt"})).await;
    assert!(file.is_error && file.all_text().contains("not a directory"), "{file:?}");
    w.assert_canaries();
}

#[tokio::test]
async fn a_plan_that_fails_half_way_leaves_nothing() {
    let w = World::new();
    let long = "n".repeat(256);
    let answer = w.call("create_directory", json!({"path": format!("one/two/{long}")})).await;
    assert!(answer.is_error, "{answer:?}");
    assert!(!fs::exists(w.root.join("ws/one")).unwrap());
}
