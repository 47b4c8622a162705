use crate::{
    Answer, Piece,
    testing::{CANARY, World, is_denied},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{fs, os::unix::fs::symlink};

async fn read(world: &World, arguments: Value) -> Answer {
    world.call("read_text_file", arguments).await
}

#[tokio::test]
async fn head_tail_and_offset() {
    let w = World::new();
    for (arguments, expected) in [
        (json!({"path": "a.txt"}), "one\ntwo\nthree\n"),
        (json!({"path": "a.txt", "head": 2}), "one\ntwo\n"),
        (json!({"path": "a.txt", "head": 0}), ""),
        (json!({"path": "a.txt", "tail": 1}), "three\n"),
        (json!({"path": "a.txt", "tail": 2}), "two\nthree\n"),
        (json!({"path": "a.txt", "tail": 9}), "one\ntwo\nthree\n"),
        (json!({"path": "a.txt", "offset": 4}), "two\nthree\n"),
        (json!({"path": "a.txt", "offset": 400}), ""),
    ] {
        let answer = read(&w, arguments.clone()).await;
        assert!(!answer.is_error, "{answer:?}");
        assert_eq!(answer.pieces.len(), 1, "{arguments}: {answer:?}");
        assert_eq!(answer.all_text(), expected, "{arguments}");
    }
    assert!(read(&w, json!({"path": "a.txt", "head": 1, "tail": 1})).await.is_error);
}

#[tokio::test]
async fn a_long_file_is_cut_and_can_be_read_on() {
    let w = World::with(|table| table.result_bytes = 1000);
    let text: String = (0..2000).map(|n| format!("zeile {n} ä\n")).collect();
    fs::write(w.root.join("ws/long"), &text).unwrap();
    let mut got = String::new();
    let mut offset = 0;
    loop {
        let answer = read(&w, json!({"path": "long", "offset": offset})).await;
        let Piece::Text(part) = &answer.pieces[0] else { panic!("{answer:?}") };
        assert!(part.len() <= 1000);
        got.push_str(part);
        let structured = answer.structured.unwrap();
        assert_eq!(structured["lossy"], false);
        offset = structured["to"].as_u64().unwrap();
        if offset == structured["size"].as_u64().unwrap() {
            break;
        }
        assert!(matches!(&answer.pieces[1], Piece::Text(note) if note.contains(&format!("offset {offset}"))));
    }
    assert_eq!(got, text);
}

#[tokio::test]
async fn fifty_megabytes_are_no_trouble() {
    let w = World::new();
    let line = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n";
    fs::write(w.root.join("ws/big"), line.repeat(50 << 14)).unwrap();
    let answer = read(&w, json!({"path": "big", "tail": 3})).await;
    assert_eq!(answer.all_text(), line.repeat(3));
    let answer = read(&w, json!({"path": "big"})).await;
    assert!(answer.all_text().len() < 200 << 10);
}

#[tokio::test]
async fn what_is_outside_is_denied_however_it_is_spelt() {
    let w = World::new();
    symlink(w.root.join("outside"), w.root.join("ws/way")).unwrap();
    symlink(w.root.join("outside/canary"), w.root.join("ws/leaf")).unwrap();
    symlink("/proc/self/root", w.root.join("ws/magic")).unwrap();
    let magic = format!("magic{}", w.path("outside/canary"));
    for path in [
        "../ws-secret/x",
        "../outside/canary",
        "way/canary",
        "leaf",
        ".env",
        "sub/../.env",
        "./.env",
        &w.path("ws-secret/x"),
        &w.path("single/sibling.txt"),
        &magic,
        &format!("/proc/self/root{}", w.path("outside/canary")),
        &format!("/proc/self/cwd/../..{}", w.path("outside/canary")),
    ] {
        for tool in ["read_text_file", "read_media_file", "get_file_info"] {
            let answer = w.call(tool, json!({"path": path})).await;
            assert!(answer.is_error, "{tool} {path}: {answer:?}");
            assert!(!format!("{answer:?}").contains(CANARY), "{tool} {path}");
        }
    }
    assert!(is_denied(&read(&w, json!({"path": "leaf"})).await));
    let many = w.call("read_multiple_files", json!({"paths": ["leaf", "a.txt", ".env"]})).await;
    assert!(!many.is_error && many.all_text().contains("three") && !many.all_text().contains(CANARY));
}

#[tokio::test]
async fn nothing_that_blocks_or_acts_is_read() {
    let w = World::new();
    let fifo = w.root.join("ws/fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(w.root.join("ws/socket")).unwrap();
    for path in ["fifo", "socket", "sub"] {
        assert!(read(&w, json!({"path": path})).await.is_error, "{path}");
    }
    fs::write(w.root.join("ws/binary"), b"\x7fELF\0\0").unwrap();
    assert!(read(&w, json!({"path": "binary"})).await.all_text().contains("read_media_file"));
    fs::write(w.root.join("ws/latin"), b"caf\xe9\n").unwrap();
    let answer = read(&w, json!({"path": "latin"})).await;
    assert!(answer.all_text().contains("not all of it is UTF-8"), "{answer:?}");
}

#[tokio::test]
async fn media_have_their_type() {
    let w = World::new();
    fs::write(w.root.join("ws/p.PNG"), b"\x89PNG").unwrap();
    let answer = w.call("read_media_file", json!({"path": "p.PNG"})).await;
    assert_eq!(answer.pieces, [Piece::Image { data: b"\x89PNG".to_vec(), mime: "image/png" }]);
    let sparse = fs::File::create(w.root.join("ws/huge.wav")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    assert!(w.call("read_media_file", json!({"path": "huge.wav"})).await.is_error);
}

#[tokio::test]
async fn arguments_that_make_no_sense_are_answers() {
    let w = World::new();
    let long = "x/".repeat(512 << 10);
    for arguments in [
        json!({}),
        json!({"path": 7}),
        json!({"path": "a.txt", "depth": 1}),
        json!({"path": "a\u{0}b"}),
        json!({"path": ""}),
        json!({"path": long}),
        json!({"path": "a.txt", "head": -1}),
        json!({"path": format!("{}/x", "n".repeat(256))}),
    ] {
        let answer = read(&w, arguments).await;
        assert!(answer.is_error && answer.all_text().len() < 2000, "{}", answer.all_text());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn head_and_tail_are_those_of_the_lines(text in "[a-zäß\\n]{0,300}", count in 0u64..20, most in 600usize..900) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let w = World::with(|table| table.result_bytes = most);
        fs::write(w.root.join("ws/t"), &text).unwrap();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let n = usize::try_from(count).unwrap();
        let head: String = lines.iter().take(n).copied().collect();
        let tail: String = lines.iter().skip(lines.len().saturating_sub(n)).copied().collect();
        for (key, expected) in [("head", head), ("tail", tail)] {
            let answer = runtime.block_on(read(&w, json!({"path": "t", key: count})));
            prop_assert_eq!(answer.all_text(), expected, "{} {}", key, count);
        }
    }
}
