//! Somebody in the sandbox changes a tree while tools work on it.

use crate::testing::{World, names};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;
use std::{
    fs,
    os::unix::fs::symlink,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Inside of a tree a directory and a link that leads out change places all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_walk_is_led_out_of_its_tree() {
    let w = World::new();
    let outside = w.root.join("outside");
    fs::create_dir(outside.join("below")).unwrap();
    fs::write(outside.join("below/file"), "canary").unwrap();
    // Made elsewhere and then moved: the test must not be led out itself.
    let fresh = || {
        let (stage, tree) = (w.root.join("ws/stage"), w.root.join("ws/tree"));
        fs::create_dir_all(stage.join("d/below")).unwrap();
        fs::write(stage.join("d/below/file"), "mine").unwrap();
        symlink(&outside, stage.join("l")).unwrap();
        while tree.try_exists().unwrap() {
            let _ = fs::remove_dir_all(&tree);
        }
        fs::rename(&stage, &tree).unwrap();
    };
    fresh();
    let stop = Arc::new(AtomicBool::new(false));
    let (a, b) = (w.root.join("ws/tree/d"), w.root.join("ws/tree/l"));
    let flip = std::thread::spawn({
        let stop = stop.clone();
        move || {
            let mut n = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                // Fails while one of them is deleted.
                n += u64::from(renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).is_ok());
            }
            n
        }
    });
    let mut copied = 0;
    for n in 0..250 {
        let copy = w.call("copy_file", json!({"source_path": "tree", "destination_path": "copy"})).await;
        copied += usize::from(!copy.is_error);
        for name in ["copy/d/below/file", "copy/l/below/file", "copy/d/canary", "copy/l/canary"] {
            let path = w.root.join("ws").join(name);
            let real = path.parent().unwrap().canonicalize().unwrap_or_default();
            if !real.starts_with(&outside) {
                assert_ne!(fs::read_to_string(path).ok().as_deref(), Some("canary"), "{name}");
            }
        }
        let batch = json!({"source_base_path": "copy", "destination_base_path": "tree", "overwrite": true});
        let _ = w.call("copy_files_batch", batch).await;
        let _ = w
            .call(
                "delete_files_batch",
                json!({"base_path": "tree", "include_patterns": ["*file", "*canary"]}),
            )
            .await;
        let _ = w.call("delete_file", json!({"path": "copy", "recursive": true})).await;
        if n % 3 == 0 {
            let _ = w.call("delete_file", json!({"path": "tree", "recursive": true})).await;
        }
        fresh();
    }
    stop.store(true, Ordering::Relaxed);
    let flips = flip.join().unwrap();
    assert!(copied > 10 && flips > 100, "{copied} copies, {flips} flips");
    assert_eq!(names(&outside), ["below", "canary"]);
    assert_eq!(fs::read_to_string(outside.join("below/file")).unwrap(), "canary");
    fs::remove_dir_all(outside.join("below")).unwrap();
    w.assert_canaries();
    assert!(!names(&w.root.join("ws")).iter().any(|n| n.ends_with(".tmp")));
}
