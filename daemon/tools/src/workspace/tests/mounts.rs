//! What is mounted over a name, as walls do with single files and protected children.

use crate::testing::World;
use rustix::mount::{MountFlags, UnmountFlags, mount as mount_new, mount_bind, unmount};
use serde_json::json;
use std::{fs, path::PathBuf};

struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

fn skipped() -> bool {
    std::env::var("CORDON_TEST_SKIP").is_ok_and(|names| names.split(',').any(|name| name == "root"))
}

/// None where this machine's tests do without mounts.
fn mount(from: PathBuf, to: PathBuf) -> Option<Mounted> {
    if skipped() {
        return None;
    }
    mount_bind(&from, &to).expect("a bind mount needs root; CORDON_TEST_SKIP=root does without");
    Some(Mounted(to))
}

#[tokio::test]
async fn a_mounted_file_is_written_in_place() {
    let w = World::new();
    fs::write(w.root.join("below"), "old").unwrap();
    let Some(_mounted) = mount(w.root.join("below"), w.root.join("ws/a.txt")) else { return };
    let written = w.call("write_file", json!({"path": "a.txt", "content": "new"})).await;
    assert_eq!(written.structured.as_ref().unwrap()["in_place"], true, "{written:?}");
    let edits = json!([{"oldText": "new", "newText": "newer"}]);
    let edited = w.call("edit_file", json!({"path": "a.txt", "edits": edits})).await;
    assert!(!edited.is_error, "{edited:?}");
    let over = json!({"source_path": "sub/b.rs", "destination_path": "a.txt", "overwrite": true});
    assert!(!w.call("copy_file", over).await.is_error);
    assert_eq!(fs::read_to_string(w.root.join("below")).unwrap(), "fn b() {}\n");
    for (tool, arguments) in [
        ("delete_file", json!({"path": "a.txt"})),
        ("move_file", json!({"source": "a.txt", "destination": "b.txt"})),
    ] {
        let answer = w.call(tool, arguments).await;
        assert!(answer.is_error && answer.all_text().contains("busy"), "{tool}: {answer:?}");
    }
    w.assert_canaries();
}

#[tokio::test]
async fn a_full_disk_costs_nothing_of_what_was_there() {
    if skipped() {
        return;
    }
    let w = World::new();
    let single = w.root.join("single");
    mount_new("tmpfs", &single, "tmpfs", MountFlags::empty(), c"size=1m").expect("a mount needs root");
    let mounted = Mounted(single.clone());
    let old = "line\n".repeat(20_000);
    fs::write(single.join("one.txt"), &old).unwrap();
    fs::write(w.root.join("ws/large"), "x".repeat(2 << 20)).unwrap();
    let one = w.path("single/one.txt");
    let edits = json!([{"oldText": old, "newText": "y".repeat(2 << 20)}]);
    for (tool, arguments) in [
        ("write_file", json!({"path": one, "content": "x".repeat(2 << 20)})),
        ("edit_file", json!({"path": one, "edits": edits})),
        ("copy_file", json!({"source_path": "large", "destination_path": one, "overwrite": true})),
    ] {
        let answer = w.call(tool, arguments).await;
        assert!(answer.is_error && answer.all_text().contains("as it was"), "{tool}: {answer:?}");
        assert!(answer.all_text().contains("space"), "{tool}: {answer:?}");
        assert_eq!(fs::read_to_string(single.join("one.txt")).unwrap(), old, "{tool}");
    }
    assert_eq!(crate::testing::names(&single), ["one.txt"]);
    drop(mounted);
    w.assert_canaries();
}

#[tokio::test]
async fn a_tree_with_a_mount_in_it_is_refused_before_anything_is_deleted() {
    let w = World::new();
    fs::create_dir(w.root.join("ws/sub/mounted")).unwrap();
    let Some(_mounted) = mount(w.root.join("outside"), w.root.join("ws/sub/mounted")) else { return };
    let deleted = w.call("delete_file", json!({"path": "sub", "recursive": true})).await;
    assert!(deleted.is_error && deleted.all_text().contains("mounted there"), "{deleted:?}");
    let over = json!({"source_path": "../ro/out", "destination_path": "sub", "overwrite": true});
    assert!(w.call("copy_file", over).await.all_text().contains("mounted there"));
    assert!(w.root.join("ws/sub/b.rs").is_file() && w.root.join("ws/sub/deep/c.rs").is_file());
    w.assert_canaries();
}
