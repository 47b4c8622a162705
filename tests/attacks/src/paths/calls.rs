//! One path in every place of every tool where a path goes, the other places innocent.

use crate::{Call, Must};
use serde_json::{Value, json};

/// One call.
pub(crate) fn call(tool: &'static str, arguments: Value, must: Must) -> Call {
    Call { tool, arguments, must }
}

/// Calls that read content or names, in the order in which an enemy would try them.
pub(crate) fn reading(path: &str, must: Must) -> Vec<Call> {
    let calls = [
        ("read_text_file", json!({"path": path})),
        ("read_text_file", json!({"path": path, "head": 1})),
        ("read_text_file", json!({"path": path, "tail": 1})),
        ("read_media_file", json!({"path": path})),
        ("read_multiple_files", json!({"paths": [path]})),
        ("edit_file", json!({"path": path, "edits": [{"oldText": "token", "newText": "t"}], "dryRun": true})),
        ("list_directory", json!({"path": path})),
        ("list_directory_with_sizes", json!({"path": path, "sortBy": "size"})),
        ("directory_tree", json!({"path": path})),
        ("search_files", json!({"path": path, "pattern": "**"})),
        ("get_file_info", json!({"path": path})),
        ("copy_file", json!({"source_path": path, "destination_path": "src/got"})),
        ("copy_files_batch", json!({"source_base_path": path, "destination_base_path": "src/gots"})),
        ("compare_files", json!({"file1": path, "file2": "src/main.rs"})),
        ("compare_files", json!({"file1": "src/main.rs", "file2": path})),
        ("compare_directories", json!({"dir1": path, "dir2": "src", "show_content_diff": true})),
        ("compare_directories", json!({"dir1": "src", "dir2": path, "show_content_diff": true})),
    ];
    calls.map(|(tool, arguments)| call(tool, arguments, must)).into()
}

/// Calls that change what is at a path, or make something there; a link in the last place is followed, or in the way.
pub(crate) fn writing(path: &str, must: Must) -> Vec<Call> {
    let calls = [
        ("write_file", json!({"path": path, "content": "owned"})),
        ("edit_file", json!({"path": path, "edits": [{"oldText": "k", "newText": "owned"}]})),
        ("edit_file", json!({"path": path, "edits": [{"oldText": "token", "newText": "owned"}]})),
        ("create_directory", json!({"path": path})),
        ("copy_file", json!({"source_path": "src/main.rs", "destination_path": path, "overwrite": true})),
        ("copy_file", json!({"source_path": "src", "destination_path": path, "overwrite": true})),
        (
            "copy_files_batch",
            json!({"source_base_path": "src", "destination_base_path": path, "overwrite": true}),
        ),
        ("delete_files_batch", json!({"base_path": path, "include_patterns": ["**", "*"]})),
    ];
    calls.map(|(tool, arguments)| call(tool, arguments, must)).into()
}

/// The same for what may be read: that a directory is there, or none, may be said then.
pub(crate) fn changing(path: &str) -> Vec<Call> {
    let may = |call: &Call| ["create_directory", "delete_files_batch"].contains(&call.tool);
    let calls = writing(path, Must::Deny).into_iter();
    calls.map(|call| if may(&call) { Call { must: Must::Answer, ..call } } else { call }).collect()
}

/// Calls that change the name itself; a link in the last place is what they work on.
pub(crate) fn naming(path: &str, must: Must) -> Vec<Call> {
    let calls = [
        ("move_file", json!({"source": "src/main.rs", "destination": path})),
        ("move_file", json!({"source": "src", "destination": path})),
        ("move_file", json!({"source": path, "destination": "src/moved"})),
        ("delete_file", json!({"path": path})),
        ("delete_file", json!({"path": path, "recursive": true})),
    ];
    calls.map(|(tool, arguments)| call(tool, arguments, must)).into()
}

/// All of them.
pub(crate) fn everywhere(path: &str, must: Must) -> Vec<Call> {
    [reading(path, must), writing(path, must), naming(path, must)].concat()
}

/// For links: what goes through one has to be answered so; the link itself is the agent's own, and gone afterwards.
pub(crate) fn through(link: &str, must: Must) -> Vec<Call> {
    [reading(link, must), writing(link, must), naming(link, Must::Answer)].concat()
}

/// A few calls that read, write, make, move and delete: for paths of which there are many.
pub(crate) fn few(path: &str, must: Must) -> Vec<Call> {
    let calls = [
        ("read_text_file", json!({"path": path})),
        ("list_directory", json!({"path": path})),
        ("write_file", json!({"path": path, "content": "owned"})),
        ("create_directory", json!({"path": format!("{path}/made")})),
        ("copy_file", json!({"source_path": path, "destination_path": "src/got"})),
        ("move_file", json!({"source": "src/main.rs", "destination": path})),
        ("delete_file", json!({"path": path, "recursive": true})),
    ];
    calls.map(|(tool, arguments)| call(tool, arguments, must)).into()
}

/// Proof that the tools work at all: done last, it must be.
pub(crate) fn sound() -> Vec<Call> {
    vec![
        call("write_file", json!({"path": "src/sound", "content": "sound"}), Must::Work),
        call("read_text_file", json!({"path": "src/sound"}), Must::Work),
    ]
}
