//! What is at a name changes between two looks at it: an enemy exchanges a directory and a link as fast as the kernel can.

use super::{
    calls::{call, sound},
    script::script,
};
use crate::{Attack, Call, Enforcer, Must, World, world::open_up};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;
use std::{fs, os::unix::fs::symlink};

/// Directories and files of the agent's own below `ws/flip`, each with a link out beside it, and exchanged with it for ever.
pub fn flip(world: &World) {
    let top = world.path("ws/flip");
    fs::create_dir_all(top.join("dir/deep")).unwrap();
    fs::create_dir_all(top.join("tree/sub")).unwrap();
    for name in ["dir/file", "dir/deep/file", "leaf", "tree/sub/file", "secret"] {
        fs::write(top.join(name), "k own\n").unwrap();
    }
    symlink(world.outside(), top.join("dir.link")).unwrap();
    symlink(world.canary(), top.join("leaf.link")).unwrap();
    symlink(world.outside(), top.join("tree/sub.link")).unwrap();
    symlink(world.path("ws/hidden"), top.join("secret.link")).unwrap();
    open_up(&top, world.uid);
    let pairs =
        ["dir", "leaf", "tree/sub", "secret"].map(|name| (top.join(name), top.join(format!("{name}.link"))));
    world.meanwhile(move || {
        for (one, other) in &pairs {
            let _ = renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE);
        }
    });
}

/// Calls that an enemy makes meanwhile; the number tells one round from the next.
#[must_use]
pub fn round(n: usize) -> Vec<Call> {
    let edits = json!([{"oldText": "k", "newText": "kk"}]);
    let copy = |from: &str, to: &str| json!({"source_path": from, "destination_path": to, "overwrite": true});
    let mut calls = vec![
        ("write_file", json!({"path": "flip/dir/canary", "content": "k owned\n"})),
        ("write_file", json!({"path": "flip/dir/file", "content": "k own\n"})),
        ("write_file", json!({"path": format!("flip/dir/new{n}/file"), "content": "x"})),
        ("write_file", json!({"path": "flip/leaf", "content": "k own\n"})),
        ("edit_file", json!({"path": "flip/leaf", "edits": edits})),
        (
            "edit_file",
            json!({"path": "flip/dir/canary", "edits": [{"oldText": "token", "newText": "owned"}]}),
        ),
        ("create_directory", json!({"path": format!("flip/dir/made{n}/er")})),
        ("read_text_file", json!({"path": "flip/dir/canary"})),
        ("read_text_file", json!({"path": "flip/leaf"})),
        ("read_text_file", json!({"path": "flip/secret"})),
        ("read_media_file", json!({"path": "flip/leaf"})),
        ("read_multiple_files", json!({"paths": ["flip/leaf", "flip/dir/canary", "flip/secret"]})),
        ("list_directory", json!({"path": "flip/dir"})),
        ("get_file_info", json!({"path": "flip/dir/canary"})),
        ("move_file", json!({"source": "src/sound", "destination": format!("flip/dir/moved{n}")})),
        ("move_file", json!({"source": "flip/dir/canary", "destination": format!("src/canary{n}")})),
        ("move_file", json!({"source": format!("flip/dir/moved{n}"), "destination": "src/sound"})),
        ("copy_file", copy("flip/dir/canary", "src/got")),
        ("copy_file", copy("src/main.rs", "flip/dir/canary")),
        ("copy_file", copy("flip/leaf", "src/got")),
        ("copy_file", copy("flip/secret", "src/got")),
        ("copy_file", copy("src/main.rs", "flip/leaf")),
        ("compare_files", json!({"file1": "flip/leaf", "file2": "flip/dir/canary"})),
        ("delete_file", json!({"path": "flip/dir/canary"})),
        ("delete_file", json!({"path": format!("flip/dir/new{n}"), "recursive": true})),
    ];
    if n.is_multiple_of(4) {
        calls.extend([
            ("copy_file", copy("flip/tree", "src/tree")),
            ("copy_files_batch", json!({"source_base_path": "flip/tree", "destination_base_path": "src/batch", "overwrite": true})),
            ("copy_files_batch", json!({"source_base_path": "src", "destination_base_path": "flip/tree/sub", "overwrite": true})),
            ("delete_files_batch", json!({"base_path": "flip/tree/sub"})),
            ("delete_files_batch", json!({"base_path": "flip/tree", "include_patterns": ["*canary", "*inner", "sub/*"]})),
            ("search_files", json!({"path": "flip/tree", "pattern": "**"})),
            ("directory_tree", json!({"path": "flip/tree"})),
            ("compare_directories", json!({"dir1": "flip/tree", "dir2": "src/tree", "show_content_diff": true})),
            ("delete_file", json!({"path": "flip/dir/deep", "recursive": true})),
        ]);
    }
    calls.into_iter().map(|(tool, arguments)| call(tool, arguments, Must::Answer)).collect()
}

/// FS-04.
pub const ATTACK: Attack = Attack {
    id: "FS-04",
    what: "exchange a directory or file with a link to outside while tools and programs work on its name",
    prepare: flip,
    runs: |_| {
        script(
            r#"
mkdir -p own/dir; ln -s "$OUTSIDE" own/link; ln -s "$PWD/keep" own/keep; ln -s "$PWD/hidden" own/leaf
timeout 3 perl -e 'while (1) { syscall 316, -100, "own/dir\0", -100, "own/link\0", 2; syscall 316, -100, "own/dir\0", -100, "own/keep\0", 2 }' &
for n in $(seq 60); do
  cat own/dir/canary own/dir/file flip/dir/canary flip/leaf own/leaf; echo owned > own/dir/canary; echo owned > own/dir/file
  echo owned > flip/dir/canary; echo owned > "flip/dir/new$n"; echo x > x; mv -f x own/dir/file; rm -rf own/dir/canary own/dir/inner; cp -r flip src/got; rm -rf src/got
done 2>/dev/null
wait
"#,
        )
    },
    calls: |_| {
        let mut calls = sound();
        calls.extend((0..60).flat_map(round));
        calls
    },
    // Whether a server that checks and then uses loses a race is luck, and a table of luck is none.
    spared: |enforcer| {
        (enforcer == Enforcer::NpmServer).then_some("checks a name and then uses it: luck decides")
    },
    ..Attack::NONE
};
