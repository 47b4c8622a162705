//! move_file.

use super::write_place::kernel;
use crate::{
    Answer, ToolError,
    error::shown,
    registry::{Call, Tool},
    resolve::{Opened, Spot},
    workspace::{
        copying::{Pending, exists},
        deleting,
    },
};
use cordon_policy::Operation;
use rustix::{
    fs::{FileType, RenameFlags, renameat_with},
    io::Errno,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Move {
    /// Absolute, or relative to the workspace. A link is moved itself.
    source: String,
    /// The new path, its name included. Nothing may be there yet.
    destination: String,
}

pub(super) fn tools() -> Vec<Tool> {
    vec![Tool::file(
        "move_file",
        "Move or rename a file or directory. Fails if the destination exists, or if what is moved contains something \
         that the policy protects.",
        |call, arguments| rename(call, &arguments),
    )]
}

fn rename(call: &Call, asked: &Move) -> Result<Answer, ToolError> {
    let resolver = call.resolver();
    let source = resolver.spot(asked.source.trim_end_matches('/'), Operation::Rename)?;
    let destination = resolver.spot(asked.destination.trim_end_matches('/'), Operation::Rename)?;
    let found = source
        .look()
        .map_err(|errno| kernel(Operation::Rename, &asked.source, errno))?
        .ok_or_else(|| ToolError::NotFound(shown(&asked.source)))?;
    if !matches!(found.kind(), FileType::RegularFile | FileType::Directory | FileType::Symlink) {
        let why = "it is a pipe, socket or device, which is not moved".to_owned();
        return Err(ToolError::Unsuitable(shown(&asked.source), why));
    }
    let (from, to) = (&source, &destination);
    let moved = renameat_with(&from.parent, &from.name, &to.parent, &to.name, RenameFlags::NOREPLACE);
    let copied = match moved {
        Ok(()) => false,
        Err(Errno::XDEV) => {
            across(call, from, to, found, asked)?;
            true
        }
        Err(Errno::EXIST) => return Err(exists(&asked.destination)),
        Err(Errno::INVAL) if to.path.starts_with(&from.path) => {
            let why = "a directory cannot be moved into itself".to_owned();
            return Err(ToolError::Unsuitable(shown(&asked.destination), why));
        }
        Err(errno) => return Err(kernel(Operation::Rename, &asked.source, errno)),
    };
    let how = if copied { " (by copying it to another file system, and deleting it here)" } else { "" };
    let text = format!("Successfully moved {} to {}{how}", shown(&asked.source), shown(&asked.destination));
    Ok(Answer::text(text).with(json!({
        "source": asked.source,
        "destination": asked.destination,
        "copied": copied,
    })))
}

/// The kernel does not move between these two: the copy is complete and in place before
/// anything is deleted.
fn across(call: &Call, from: &Spot, to: &Spot, found: Opened, asked: &Move) -> Result<(), ToolError> {
    let again = found.again().map_err(|errno| kernel(Operation::Rename, &asked.source, errno))?;
    deleting::walkable(call, &found, &asked.source)?;
    let (pending, _) = Pending::copy(call, again, to, &asked.destination)?;
    pending.publish(&asked.destination)?;
    let (deleted, done) = deleting::remove_moved(call, from, found);
    done.map_err(|error| {
        ToolError::Failed(format!(
            "{} is complete at {}, but the source could not all be deleted ({} files were): {error}",
            shown(&asked.source),
            shown(&asked.destination),
            deleted.files
        ))
    })
}

#[cfg(test)]
#[path = "moving_tests.rs"]
mod tests;
