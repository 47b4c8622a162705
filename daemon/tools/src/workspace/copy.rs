//! copy_file: a file or a whole directory.

use super::{
    copying::{self, Copied, Pending, exists},
    deleting,
};
use crate::{
    Answer, ToolError,
    error::shown,
    files::write_place::{kernel, replace},
    registry::{Call, Tool},
    resolve::{Opened, Spot},
};
use cordon_policy::Operation;
use rustix::fs::OFlags;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Copy {
    /// A file or a directory; absolute, or relative to the workspace.
    source_path: String,
    /// Where the copy will be, its own name included. Missing directories above it are made.
    destination_path: String,
    /// Replace what is there: a file by a file, or a whole directory by a directory. Nothing is merged.
    #[serde(default)]
    overwrite: bool,
}

pub(super) fn tools() -> Vec<Tool> {
    vec![Tool::file(
        "copy_file",
        "Copy a file or a whole directory. The copy appears at once when it is complete, or not at all. Links in a \
         directory are copied as links.",
        |call, arguments| copy(call, &arguments),
    )]
}

/// What became of one copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Created,
    Replaced,
}

fn copy(call: &Call, asked: &Copy) -> Result<Answer, ToolError> {
    let resolver = call.resolver();
    let (from, to) = (&asked.source_path, &asked.destination_path);
    let source = resolver.open(from, Operation::Read)?;
    let kind = if source.is_directory() { "directory" } else { "file" };
    let target = resolver.open(to, Operation::Write);
    // A destination that is refused is told so, whatever lies between it and the source.
    if let Ok(_) | Err(ToolError::NotFound(_)) = target {
        apart(&source, &resolver.plan(to)?.path(), to)?;
    }
    let (copied, outcome) = match target {
        // A file's content goes into a file as every write does.
        Ok(old) if asked.overwrite && source.is_file() && old.is_file() => {
            (over_file(call, &source, &old, to)?, Outcome::Replaced)
        }
        Ok(_) if !asked.overwrite => return Err(exists(to)),
        Ok(_) | Err(ToolError::NotFound(_)) => {
            let (spot, made) = resolver.spot_made(to, Operation::Create)?;
            let placed =
                apart(&source, &spot.path, to).and_then(|()| place(call, source, &spot, asked.overwrite, to));
            match placed {
                Ok(placed) => placed,
                Err(error) => {
                    made.undo();
                    return Err(error);
                }
            }
        }
        Err(error) => return Err(error),
    };
    let text = format!(
        "Copied {kind} {} to {}{}: {}",
        shown(from),
        shown(to),
        if outcome == Outcome::Replaced { " (replaced)" } else { "" },
        counts(&copied)
    );
    Ok(Answer::text(text).with(json!({
        "success": true,
        "operation": "copy",
        "details": {
            "type": kind,
            "source": from,
            "destination": to,
            "size": copied.bytes,
            "file_count": copied.files,
            "directory_count": copied.directories,
            "link_count": copied.links,
            "replaced": outcome == Outcome::Replaced,
        },
    })))
}

pub(crate) fn counts(copied: &Copied) -> String {
    let mut parts = vec![format!("{} files, {} bytes", copied.files, copied.bytes)];
    parts.extend((copied.directories > 0).then(|| format!("{} directories", copied.directories)));
    parts.extend((copied.links > 0).then(|| format!("{} links (copied as links)", copied.links)));
    parts.join(", ")
}

/// Neither end may be in the other.
fn apart(source: &Opened, destination: &std::path::Path, asked: &str) -> Result<(), ToolError> {
    let why = if destination == source.path {
        "it is the source itself"
    } else if source.is_directory() && destination.starts_with(&source.path) {
        "it is inside of the source"
    } else if source.path.starts_with(destination) {
        "the source is inside of it"
    } else {
        return Ok(());
    };
    Err(ToolError::Unsuitable(shown(asked), why.to_owned()))
}

/// Gives a file that is there the content of another.
pub(super) fn over_file(
    call: &Call,
    source: &Opened,
    old: &Opened,
    asked: &str,
) -> Result<Copied, ToolError> {
    if old.is_same(source) {
        let why = "it is the same file as the source (a hard link)".to_owned();
        return Err(ToolError::Unsuitable(shown(asked), why));
    }
    let from = source
        .reopen(OFlags::RDONLY)
        .map_err(|errno| kernel(Operation::Read, &source.path.to_string_lossy(), errno))?;
    let mut bytes = 0;
    replace(call, old, asked, |file| {
        bytes = copying::content(call, &from, file)?;
        Ok(())
    })?;
    Ok(Copied { files: 1, bytes, ..Copied::default() })
}

/// Copies something to a spot that was decided for creating.
pub(super) fn place(
    call: &Call,
    source: Opened,
    spot: &Spot,
    overwrite: bool,
    asked: &str,
) -> Result<(Copied, Outcome), ToolError> {
    let failed = |errno| kernel(Operation::Create, asked, errno);
    let old = spot.look().map_err(failed)?;
    let Some(old) = old else {
        let (pending, copied) = Pending::copy(call, source, spot, asked)?;
        pending.publish(asked)?;
        return Ok((copied, Outcome::Created));
    };
    if !overwrite {
        return Err(exists(asked));
    }
    if old.is_directory() != source.is_directory() {
        let why = "a directory replaces only a directory, and a file only a file";
        return Err(ToolError::Unsuitable(shown(asked), why.to_owned()));
    }
    // Replacing is deleting what was there, with all below it.
    call.resolver().decide(&spot.path, Operation::Delete, asked)?;
    if old.is_directory() {
        deleting::check(call, &old, asked)?;
    }
    let (pending, copied) = Pending::copy(call, source, spot, asked)?;
    pending.publish_over(&old, asked)?;
    Ok((copied, Outcome::Replaced))
}
