//! Planning mode: what a model may use that only looks.

/// Tools of the sandbox that change nothing, whatever they are given.
const LOOKING: [&str; 14] = [
    "read_file",
    "read_text_file",
    "read_media_file",
    "read_multiple_files",
    "list_directory",
    "list_directory_with_sizes",
    "directory_tree",
    "search_files",
    "get_file_info",
    "list_allowed_directories",
    "compare_files",
    "compare_directories",
    "understand_image",
    "understand_file",
];

/// Whether a tool of Cordon's own only looks. What a tool of somebody else does nobody knows.
pub(crate) fn only_looks(own: &str) -> bool {
    LOOKING.contains(&own)
}

/// What a model is told that calls something else all the same.
pub(crate) const REFUSED: &str = "Refused: planning mode is active, and nothing is changed. \
     Say what you would do instead.";

/// What a model is told before it begins.
pub(crate) const WORDS: &str = "Planning mode is active: you can look at everything and change nothing. \
     Answer with a plan of what you would do.";
