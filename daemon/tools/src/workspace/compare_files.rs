//! compare_files.

use crate::{
    Answer, Piece, ToolError,
    error::shown,
    files::{edit_diff::unified, write_place::io_kernel},
    registry::{Call, Tool},
    resolve::Opened,
};
use cordon_policy::Operation;
use rustix::fs::OFlags;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use std::{
    fs::File,
    io::{self, Read},
};

const MOST_BYTES: u64 = 64 << 20;
const MOST_CONTEXT: usize = 1000;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Compare {
    /// Absolute, or relative to the workspace.
    file1: String,
    /// Absolute, or relative to the workspace.
    file2: String,
    /// Unchanged lines shown around each change.
    #[serde(default = "three")]
    context_lines: usize,
}

fn three() -> usize {
    3
}

pub(super) fn tools() -> Vec<Tool> {
    vec![
        Tool::file(
            "compare_files",
            "Compare two files: a unified diff for text, and whether they are identical for anything else.",
            |call, arguments| compare(call, &arguments),
        )
        .reads(),
    ]
}

/// All of a regular file, if it is not too large.
pub(super) fn whole(opened: &Opened, asked: &str, most: u64) -> Result<Vec<u8>, ToolError> {
    let mut bytes = Vec::new();
    file(opened, asked)?
        .take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| io_kernel(Operation::Read, asked, &error))?;
    if bytes.len() as u64 > most {
        let why = format!("it is larger than {} MiB, the most that is compared here", most >> 20);
        return Err(ToolError::Unsuitable(shown(asked), why));
    }
    Ok(bytes)
}

pub(super) fn file(opened: &Opened, asked: &str) -> Result<File, ToolError> {
    if !opened.is_file() {
        return Err(ToolError::Unsuitable(shown(asked), "it is no regular file".to_owned()));
    }
    opened.reopen(OFlags::RDONLY).map_err(|errno| ToolError::Kernel {
        operation: Operation::Read,
        path: shown(asked),
        errno,
    })
}

fn compare(call: &Call, asked: &Compare) -> Result<Answer, ToolError> {
    let read = |path: &str| {
        let opened = call.resolver().open(path, Operation::Read)?;
        Ok::<_, ToolError>((whole(&opened, path, MOST_BYTES)?, opened))
    };
    let ((one, first), (other, second)) = (read(&asked.file1)?, read(&asked.file2)?);
    let (name, name2) = (shown(&asked.file1), shown(&asked.file2));
    let (Ok(text), Ok(text2)) = (str::from_utf8(&one), str::from_utf8(&other)) else {
        let at = one.iter().zip(&other).position(|(a, b)| a != b).unwrap_or(one.len().min(other.len()));
        let identical = one == other;
        let text = if identical {
            format!("{name} and {name2} are identical ({} bytes, not text)", one.len())
        } else {
            format!(
                "{name} ({} bytes) and {name2} ({} bytes) differ from byte {at} on; they are not both text",
                one.len(),
                other.len()
            )
        };
        return Ok(Answer::text(text).with(json!({ "identical": identical, "text": false })));
    };
    let room = call.state.table.result_bytes.saturating_sub(2 << 10).max(1 << 10);
    let diff = unified(text, text2, asked.context_lines.min(MOST_CONTEXT), room);
    if !diff.cut {
        // All that a reader can learn from the files is in the diff or was given by her.
        call.state.files.add(&first);
        call.state.files.add(&second);
    }
    let identical = one == other;
    let said = if identical {
        format!("{name} and {name2} are identical")
    } else {
        format!("--- {name}\n+++ {name2}\n{}", diff.text)
    };
    let mut answer = Answer::text(said);
    answer.pieces.extend(diff.note().map(Piece::Text));
    Ok(answer.with(json!({
        "identical": identical,
        "text": true,
        "added": diff.added,
        "removed": diff.removed,
        "truncated": diff.cut,
    })))
}

/// Whether two readers give the same bytes.
pub(super) fn same(
    mut one: impl Read,
    mut other: impl Read,
    cancelled: impl Fn() -> bool,
) -> io::Result<bool> {
    let (mut a, mut b) = (vec![0; 128 << 10], vec![0; 128 << 10]);
    loop {
        if cancelled() {
            return Err(io::Error::other("cancelled"));
        }
        let (n, m) = (fill(&mut one, &mut a)?, fill(&mut other, &mut b)?);
        if a.get(..n) != b.get(..m) {
            return Ok(false);
        }
        if n == 0 {
            return Ok(true);
        }
    }
}

fn fill(from: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    let mut at = 0;
    while let Some(rest) = into.get_mut(at..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(n) => at += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(at)
}
