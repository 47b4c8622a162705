//! write_media_file: bytes that the daemon had made for the agent. It is not listed: a model writes text
//! with write_file, and not base64.

use super::{
    write::regular,
    write_place::{How, create, kernel, replace},
};
use crate::{
    Answer, ToolError,
    error::shown,
    registry::{Call, Tool},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cordon_policy::Operation;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use std::io::Write as _;

/// The most that one call writes, bytes: with base64 around it, it fits into one message.
const MOST_BYTES: usize = 33 << 20;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WriteMedia {
    /// Absolute, or relative to the workspace. Missing directories are made.
    path: String,
    /// The content in base64; none: only whether it could be written is looked at.
    data: Option<String>,
    /// Whether a file that is there is replaced.
    #[serde(default)]
    overwrite: bool,
}

pub(super) fn tools() -> Vec<Tool> {
    vec![Tool::file(
        "write_media_file",
        "Write bytes, or look whether they could be written.",
        |call, arguments| write(call, &arguments),
    )]
}

fn write(call: &Call, asked: &WriteMedia) -> Result<Answer, ToolError> {
    let Some(data) = &asked.data else { return look(call, asked) };
    let most = || ToolError::Arguments(format!("data: more than one call writes ({} MiB)", MOST_BYTES >> 20));
    if data.len() / 4 * 3 > MOST_BYTES {
        return Err(most());
    }
    let bytes =
        STANDARD.decode(data).map_err(|_| ToolError::Arguments("data: it is no base64".to_owned()))?;
    let how = match call.resolver().open(&asked.path, Operation::Write) {
        Ok(opened) => {
            regular(&opened, &asked.path)?;
            if !asked.overwrite {
                return Err(there(&asked.path));
            }
            replace(call, &opened, &asked.path, |file| file.write_all(&bytes))?
        }
        Err(ToolError::NotFound(_)) => {
            let (spot, made) = call.resolver().spot_made(&asked.path, Operation::Create)?;
            // `create` replaces nothing, a link neither.
            match create(call, &spot, &asked.path, |file| file.write_all(&bytes)) {
                Ok(()) => How::Created,
                Err(error) => {
                    made.undo();
                    return Err(error);
                }
            }
        }
        Err(error) => return Err(error),
    };
    let text = format!("Wrote {} ({} bytes)", shown(&asked.path), bytes.len());
    Ok(Answer::text(text).with(json!({
        "path": asked.path,
        "created": how == How::Created,
        "bytes": bytes.len(),
    })))
}

/// What writing would say, without anything being changed.
fn look(call: &Call, asked: &WriteMedia) -> Result<Answer, ToolError> {
    match call.resolver().open(&asked.path, Operation::Write) {
        Ok(opened) => {
            regular(&opened, &asked.path)?;
            if !asked.overwrite {
                return Err(there(&asked.path));
            }
            call.resolver().decide(&opened.path, Operation::Write, &asked.path)?;
        }
        Err(ToolError::NotFound(_)) => {
            // Directories that writing would make are made, and are gone again.
            let (spot, made) = call.resolver().spot_made(&asked.path, Operation::Create)?;
            let found = spot.look();
            made.undo();
            match found {
                Ok(None) => {}
                Ok(Some(_)) => {
                    let why = "it is a link to something that does not exist; such a link is not followed";
                    return Err(ToolError::Unsuitable(shown(&asked.path), why.to_owned()));
                }
                Err(errno) => return Err(kernel(Operation::Create, &asked.path, errno)),
            }
        }
        Err(error) => return Err(error),
    }
    Ok(Answer::text("It can be written."))
}

fn there(path: &str) -> ToolError {
    let why = "it is there already, and `overwrite` is not true".to_owned();
    ToolError::Unsuitable(shown(path), why)
}

#[cfg(test)]
#[path = "write_media_tests.rs"]
mod tests;
