use crate::testing::{CANARY, World, is_denied};
use serde_json::{Value, json};
use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
};

#[tokio::test]
async fn a_directory_is_listed_with_what_the_policy_hides() {
    let w = World::new();
    symlink(w.root.join("outside"), w.root.join("ws/way")).unwrap();
    fs::write(w.root.join("ws").join(OsStr::from_bytes(b"odd\xff\x1b[2J")), "").unwrap();
    let text = w.call("list_directory", json!({"path": "."})).await.all_text();
    for line in ["[FILE] a.txt", "[DIR] sub", "[LINK] way", "[DENIED] .env"] {
        assert!(text.lines().any(|l| l == line), "{line} in {text}");
    }
    assert!(!text.contains('\u{1b}'), "{text:?}");
    for path in ["way", "..", "../outside", "/", &w.path("single")] {
        assert!(is_denied(&w.call("list_directory", json!({"path": path})).await), "{path}");
    }
    assert!(w.call("list_directory", json!({"path": "a.txt"})).await.is_error);
}

#[tokio::test]
async fn sizes_are_told_and_sorted() {
    let w = World::new();
    fs::write(w.root.join("ws/large"), vec![b'x'; 5000]).unwrap();
    let text = w.call("list_directory_with_sizes", json!({"path": ".", "sortBy": "size"})).await.all_text();
    assert!(text.starts_with("[FILE] large"), "{text}");
    assert!(text.contains("4.88 KB") && text.contains("Combined size"), "{text}");
    let bad = w.call("list_directory_with_sizes", json!({"path": ".", "sortBy": "colour"})).await;
    assert!(bad.is_error);
}

#[tokio::test]
async fn many_entries_come_in_pages() {
    let w = World::with(|table| table.result_bytes = 2000);
    fs::create_dir(w.root.join("ws/many")).unwrap();
    for n in 0..1000 {
        fs::write(w.root.join(format!("ws/many/{n:04}")), "").unwrap();
    }
    let (mut offset, mut seen) = (0, 0);
    while offset < 1000 {
        let answer = w.call("list_directory", json!({"path": "many", "offset": offset})).await;
        let told = answer.structured.unwrap()["entries"].as_u64().unwrap();
        seen += told;
        offset += told;
    }
    assert_eq!(seen, 1000);
}

#[tokio::test]
async fn a_tree_is_nested_and_follows_nothing() {
    let w = World::new();
    symlink(w.root.join("outside"), w.root.join("ws/sub/way")).unwrap();
    symlink(".", w.root.join("ws/sub/loop")).unwrap();
    let answer = w.call("directory_tree", json!({"path": "."})).await;
    let tree: Value = serde_json::from_str(&answer.all_text()).unwrap();
    let find = |list: &Value, name: &str| {
        list.as_array().unwrap().iter().find(|e| e["name"] == name).unwrap().clone()
    };
    let sub = find(&tree, "sub");
    assert_eq!(find(&sub["children"], "way")["type"], "link");
    assert_eq!(find(&find(&sub["children"], "deep")["children"], "c.rs")["type"], "file");
    assert_eq!(find(&tree, ".env")["type"], "denied");
    assert!(!answer.all_text().contains("canary"));
    let without = w.call("directory_tree", json!({"path": ".", "excludePatterns": ["sub"]})).await;
    assert!(!without.all_text().contains("deep"));
}

#[tokio::test]
async fn a_deep_tree_ends_somewhere() {
    let w = World::new();
    let mut at =
        rustix::fs::open(w.root.join("ws"), rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
    for _ in 0..3000 {
        rustix::fs::mkdirat(&at, "d", rustix::fs::Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, "d", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
    }
    let answer = w.call("directory_tree", json!({"path": "."})).await;
    assert!(!answer.is_error && answer.structured.unwrap()["truncated"] == true);
    let answer = w.call("search_files", json!({"path": ".", "pattern": "**/nothing"})).await;
    assert!(!answer.is_error, "{answer:?}");
    // What is too deep for a path is said, not forgotten.
    assert!(answer.all_text().contains("not looked into"), "{answer:?}");
}

#[tokio::test]
async fn a_search_finds_what_may_be_read() {
    let w = World::new();
    symlink(w.root.join("outside"), w.root.join("ws/sub/way")).unwrap();
    let search = |pattern: &'static str| w.call("search_files", json!({"path": ".", "pattern": pattern}));
    let text = search("**/*.rs").await.all_text();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains(&w.path("ws/sub/deep/c.rs")));
    assert_eq!(search("*.rs").await.all_text(), "No matches found");
    assert_eq!(search("**/canary").await.all_text(), "No matches found");
    assert_eq!(search("**/.env").await.all_text(), "No matches found");
    assert!(search("[").await.is_error);
    let answer =
        w.call("search_files", json!({"path": ".", "pattern": "**/*.rs", "excludePatterns": ["deep"]})).await;
    assert_eq!(answer.all_text().lines().count(), 1);
}

#[tokio::test]
async fn the_places_are_those_of_the_policy() {
    let w = World::new();
    let text = w.call("list_allowed_directories", json!({})).await.all_text();
    assert!(text.contains(&format!("{} (write)", w.path("ws"))));
    assert!(text.contains(&format!("{} (read)", w.path("ro"))));
    assert!(!text.contains(".env") && !text.contains(CANARY));
    let info = w.call("get_file_info", json!({"path": "a.txt"})).await;
    assert_eq!(info.structured.unwrap()["size"], 14);
}
