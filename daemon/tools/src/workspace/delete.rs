//! delete_file: a file, a link, or a directory with all that is in it.

use super::deleting::{self, Deleted};
use crate::{
    Answer, ToolError,
    error::shown,
    files::write_place::kernel,
    registry::{Call, Tool},
};
use cordon_policy::Operation;
use rustix::{fs::AtFlags, fs::unlinkat, io::Errno};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Delete {
    /// Absolute, or relative to the workspace. A link is deleted itself, not what it leads to.
    path: String,
    /// Delete a directory with all that is in it.
    #[serde(default)]
    recursive: bool,
}

pub(super) fn tools() -> Vec<Tool> {
    vec![Tool::file(
        "delete_file",
        "Delete a file, a link, or (with recursive) a directory and everything in it. A directory that contains \
         something protected is refused as a whole.",
        |call, arguments| delete(call, &arguments),
    )]
}

fn delete(call: &Call, asked: &Delete) -> Result<Answer, ToolError> {
    let name = shown(&asked.path);
    let failed = |errno| kernel(Operation::Delete, &asked.path, errno);
    let spot = call.resolver().spot(asked.path.trim_end_matches('/'), Operation::Delete)?;
    let found = spot.look().map_err(failed)?.ok_or_else(|| ToolError::NotFound(name.clone()))?;
    let kind = if found.is_directory() { "directory" } else { "file" };
    let deleted = if found.is_directory() && !asked.recursive {
        unlinkat(&spot.parent, &spot.name, AtFlags::REMOVEDIR).map_err(|errno| match errno {
            Errno::NOTEMPTY => {
                let why = "it is a directory that is not empty: say recursive to delete all that is in it";
                ToolError::Unsuitable(name.clone(), why.to_owned())
            }
            errno => failed(errno),
        })?;
        Deleted { files: 0, directories: 1 }
    } else {
        deleting::check(call, &found, &asked.path)?;
        let (deleted, done) = deleting::remove(call, &spot, found);
        done.map_err(|error| partly(&deleted, error))?;
        deleted
    };
    let text = match kind {
        "file" => format!("Deleted {name}"),
        _ => format!("Deleted {name}: {} files, {} directories", deleted.files, deleted.directories),
    };
    Ok(Answer::text(text).with(json!({
        "success": true,
        "operation": "delete",
        "details": {
            "type": kind,
            "path": asked.path,
            "file_count": deleted.files,
            "directory_count": deleted.directories,
        },
    })))
}

/// What was done before the error is said with it.
fn partly(deleted: &Deleted, error: ToolError) -> ToolError {
    match deleted {
        Deleted { files: 0, directories: 0 } => error,
        Deleted { files, directories } => ToolError::Failed(format!(
            "{error}; {files} files and {directories} directories in it were deleted before that"
        )),
    }
}
