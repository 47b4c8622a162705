use crate::testing::{World, is_denied, names};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use std::{fs, os::unix::fs::symlink};

#[tokio::test]
async fn bytes_are_written_and_nothing_is_overwritten_unasked() {
    let w = World::new();
    let bytes = [0_u8, 0xff, b'\n', 7];
    let data = STANDARD.encode(bytes);
    let path = "made/p.png";
    let looked = w.call("write_media_file", json!({"path": path})).await;
    assert!(!looked.is_error, "{looked:?}");
    assert!(!w.root.join("ws/made").try_exists().unwrap(), "looking leaves nothing");
    let made = w.call("write_media_file", json!({"path": path, "data": data})).await;
    assert!(!made.is_error, "{made:?}");
    assert_eq!(fs::read(w.root.join("ws/made/p.png")).unwrap(), bytes);
    for data in [None, Some(&data)] {
        let again = w.call("write_media_file", json!({"path": path, "data": data})).await;
        assert!(again.is_error && again.all_text().contains("`overwrite`"), "{again:?}");
    }
    let over = json!({"path": path, "data": "YQ==", "overwrite": true});
    assert!(!w.call("write_media_file", over).await.is_error);
    assert_eq!(fs::read(w.root.join("ws/made/p.png")).unwrap(), b"a");
    for data in ["?", "YQ", "YR=="] {
        assert!(w.call("write_media_file", json!({"path": "x", "data": data})).await.is_error, "{data}");
    }
    assert_eq!(names(&w.root.join("ws/made")), ["p.png"]);
}

#[tokio::test]
async fn looking_and_writing_are_denied_alike() {
    let w = World::new();
    let ws = w.root.join("ws");
    symlink(w.root.join("outside/canary"), ws.join("out")).unwrap();
    symlink(w.root.join("outside"), ws.join("dir")).unwrap();
    symlink("nothing", ws.join("dangling")).unwrap();
    for path in [
        "keep/new.png",
        "keep/kept.txt",
        "../outside/x/y.png",
        "../ro/new.png",
        "out",
        "dir/new.png",
        "/etc/x.png",
    ] {
        for data in [None, Some("YQ==")] {
            let asked = json!({"path": path, "data": data, "overwrite": true});
            let answer = w.call("write_media_file", asked).await;
            assert!(is_denied(&answer), "{path} {data:?}: {answer:?}");
        }
    }
    for path in ["dangling", "sub", "", "sub/"] {
        for data in [None, Some("YQ==")] {
            let asked = json!({"path": path, "data": data, "overwrite": true});
            assert!(w.call("write_media_file", asked).await.is_error, "{path} {data:?}");
        }
    }
    w.assert_canaries();
}

#[tokio::test]
async fn it_is_not_listed() {
    let w = World::new();
    assert!(w.call("write_media_file", json!({"path": "p.png"})).await.structured.is_none());
    assert!(w.tools.list().iter().all(|tool| tool.name != "write_media_file"));
}
