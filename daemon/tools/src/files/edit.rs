//! edit_file: replacements in a text file, all of them or none.

use super::{
    edit_apply::{Edit, Text},
    edit_diff::{Unified, unified},
    read::content,
    write::{MOST_BYTES, regular},
    write_place::{How, io_kernel, replace},
};
use crate::{
    Answer, Piece, ToolError,
    error::shown,
    registry::{Call, Tool},
    resolve::Opened,
};
use cordon_policy::Operation;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use std::io::{Read as _, Write as _};

const MOST_EDITS: usize = 1000;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EditFile {
    /// Absolute, or relative to the workspace.
    path: String,
    /// Done one after the other, each on what the ones before it left.
    edits: Vec<Edit>,
    /// Show the changes as a diff, and change nothing.
    #[serde(default, rename = "dryRun")]
    dry_run: bool,
}

pub(super) fn tools() -> Vec<Tool> {
    vec![Tool::file(
        "edit_file",
        "Make edits to a UTF-8 text file: each replaces one piece of text by another, and all are done or none. \
         oldText must match exactly once; where it does not match exactly, lines that differ only in white space \
         at their ends are taken. Returns a git-style diff of the changes.",
        |call, arguments| edit(call, &arguments),
    )]
}

fn edit(call: &Call, asked: &EditFile) -> Result<Answer, ToolError> {
    if asked.edits.len() > MOST_EDITS {
        return Err(ToolError::Arguments(format!("edits: more than {MOST_EDITS} in one call")));
    }
    let operation = if asked.dry_run { Operation::Read } else { Operation::Write };
    let opened = call.resolver().open(&asked.path, operation)?;
    let before = text(&opened, &asked.path)?;
    let mut after = Text::new(before.clone());
    for (n, edit) in asked.edits.iter().enumerate() {
        if call.cancel.is_cancelled() {
            return Err(ToolError::Failed("cancelled; the file is as it was".to_owned()));
        }
        after.apply(edit).map_err(|error| {
            let (name, old) = (shown(&asked.path), excerpt(&edit.old));
            ToolError::Arguments(format!(
                "edit {} of {}: {error}. {name} is as it was. oldText:\n{old}",
                n + 1,
                asked.edits.len()
            ))
        })?;
        if after.plain().len() > MOST_BYTES {
            return Err(too_large(&asked.path));
        }
    }
    let plain = Text::new(before.clone());
    let room = call.state.table.result_bytes.saturating_sub(2 << 10).max(1 << 10);
    let diff = unified(plain.plain(), after.plain(), 3, room);
    let after = after.finish();
    let changed = after != before;
    let mut how = None;
    if changed && !asked.dry_run {
        how = Some(replace(call, &opened, &asked.path, |file| file.write_all(after.as_bytes()))?);
    } else {
        call.state.files.add(&opened);
    }
    let mut answer = Answer::text(fenced(&shown(&asked.path), &diff));
    answer.pieces.extend(diff.note().map(Piece::Text));
    if !changed {
        answer.pieces.push(Piece::Text("[nothing changes]".to_owned()));
    }
    Ok(answer.with(json!({
        "path": asked.path,
        "edits": asked.edits.len(),
        "added": diff.added,
        "removed": diff.removed,
        "diff_cut": diff.cut,
        "dry_run": asked.dry_run,
        "changed": how.is_some(),
        "in_place": how == Some(How::InPlace),
    })))
}

/// The beginning of a text as it is, for a message.
fn excerpt(text: &str) -> String {
    let mut part: String = text.chars().take(500).collect();
    if part.len() < text.len() {
        part.push_str("...");
    }
    part
}

fn too_large(path: &str) -> ToolError {
    let why = format!("larger than {} MiB, the most that is edited", MOST_BYTES >> 20);
    ToolError::Unsuitable(shown(path), why)
}

/// All of a file that is text.
pub(super) fn text(opened: &Opened, asked: &str) -> Result<String, ToolError> {
    regular(opened, asked)?;
    let mut bytes = Vec::new();
    content(opened, asked)?
        .take(MOST_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| io_kernel(Operation::Read, asked, &error))?;
    if bytes.len() > MOST_BYTES {
        return Err(too_large(asked));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let why =
            format!("it is not UTF-8 text (byte {at} is not part of a character); only such text is edited");
        ToolError::Unsuitable(shown(asked), why)
    })
}

/// A diff between fences that it does not contain.
fn fenced(name: &str, diff: &Unified) -> String {
    let mut fence = "```".to_owned();
    while diff.text.contains(&fence) || name.contains(&fence) {
        fence.push('`');
    }
    let line = "=".repeat(67);
    format!(
        "{fence}diff\nIndex: {name}\n{line}\n--- {name}\toriginal\n+++ {name}\tmodified\n{}{fence}\n\n",
        diff.text
    )
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
