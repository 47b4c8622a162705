//! write_file: a whole file at once.

use super::write_place::{How, create, replace};
use crate::{
    Answer, ToolError,
    error::shown,
    registry::{Call, Tool},
    resolve::Opened,
};
use cordon_policy::Operation;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use std::io::Write as _;

/// The most that one call writes, bytes.
pub(super) const MOST_BYTES: usize = 64 << 20;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Write {
    /// Absolute, or relative to the workspace. Missing directories are made.
    path: String,
    /// The whole content of the file.
    content: String,
}

pub(super) fn tools() -> Vec<Tool> {
    vec![Tool::file(
        "write_file",
        "Create a new file, or completely overwrite an existing one, with the given content. Missing parent \
         directories are created. An existing file is replaced at once or not at all.",
        |call, arguments| write(call, &arguments),
    )]
}

fn write(call: &Call, asked: &Write) -> Result<Answer, ToolError> {
    let bytes = asked.content.len();
    if bytes > MOST_BYTES {
        let most = MOST_BYTES >> 20;
        return Err(ToolError::Arguments(format!(
            "content: {bytes} bytes are more than one call writes ({most} MiB); write it in parts with execute_command"
        )));
    }
    let how = match call.resolver().open(&asked.path, Operation::Write) {
        Ok(opened) => {
            regular(&opened, &asked.path)?;
            replace(call, &opened, &asked.path, |file| file.write_all(asked.content.as_bytes()))?
        }
        Err(ToolError::NotFound(_)) => new(call, asked)?,
        Err(error) => return Err(error),
    };
    let done = match how {
        How::Created => "created",
        How::Replaced => "overwritten",
        How::InPlace => "overwritten in place",
    };
    let text = format!("Successfully wrote to {} ({done}, {bytes} bytes)", shown(&asked.path));
    Ok(Answer::text(text).with(json!({
        "path": asked.path,
        "created": how == How::Created,
        "in_place": how == How::InPlace,
        "bytes": bytes,
    })))
}

fn new(call: &Call, asked: &Write) -> Result<How, ToolError> {
    let (spot, made) = call.resolver().spot_made(&asked.path, Operation::Create)?;
    let written = match spot.look() {
        Ok(None) => create(call, &spot, &asked.path, |file| file.write_all(asked.content.as_bytes())),
        Ok(Some(_)) => Err(ToolError::Unsuitable(
            shown(&asked.path),
            "it is a link to something that does not exist; such a link is not followed".to_owned(),
        )),
        Err(errno) => Err(super::write_place::kernel(Operation::Create, &asked.path, errno)),
    };
    match written {
        Ok(()) => Ok(How::Created),
        Err(error) => {
            made.undo();
            Err(error)
        }
    }
}

/// Refuses what would block, act, or is no file.
pub(super) fn regular(opened: &Opened, asked: &str) -> Result<(), ToolError> {
    if opened.is_file() {
        return Ok(());
    }
    let what = if opened.is_directory() {
        "it is a directory"
    } else {
        "it is no regular file (a pipe, socket or device)"
    };
    Err(ToolError::Unsuitable(shown(asked), what.to_owned()))
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
