//! Reading files.

use crate::{
    Answer, Piece, ToolError,
    error::shown,
    registry::{Call, Tool},
    resolve::Opened,
};
use cordon_policy::Operation;
use rustix::{fs::OFlags, io::Errno};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::FileExt as _,
};

/// Larger pictures and sounds help no model.
const MEDIA_BYTES: u64 = 16 << 20;
/// As many files in one call.
const MOST_PATHS: usize = 1000;
const BLOCK: usize = 64 << 10;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReadText {
    /// Absolute, or relative to the workspace.
    path: String,
    /// If provided, returns only the first N lines of the file.
    head: Option<u64>,
    /// If provided, returns only the last N lines of the file.
    tail: Option<u64>,
    /// Byte at which to begin: a result that was cut says where to read on.
    offset: Option<u64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReadMedia {
    /// Absolute, or relative to the workspace.
    path: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReadMany {
    /// Files to read, absolute or relative to the workspace.
    paths: Vec<String>,
}

pub(super) fn tools() -> Vec<Tool> {
    vec![
        Tool::file(
            "read_text_file",
            "Read a file as text. `head` and `tail` give the first or last N lines only. A result that is too \
             long is cut, and says with which `offset` to read on.",
            |call, arguments| read_text(call, &arguments),
        )
        .reads(),
        Tool::file(
            "read_media_file",
            "Read an image, a sound or any other binary file. Returns its bytes in base64 with the media type.",
            |call, arguments| read_media(call, &arguments),
        )
        .reads(),
        Tool::file(
            "read_multiple_files",
            "Read several text files at once. Each file's content follows its path; a file that cannot be \
             read says why and does not stop the others.",
            |call, arguments| read_many(call, &arguments),
        )
        .reads(),
    ]
}

/// A part of a file as text.
#[derive(Debug)]
struct Part {
    text: String,
    /// Bytes of the file before the part, and where it ends.
    from: u64,
    to: u64,
    size: u64,
    lossy: bool,
}

fn read_text(call: &Call, asked: &ReadText) -> Result<Answer, ToolError> {
    if [asked.head, asked.tail, asked.offset].iter().flatten().count() > 1 {
        return Err(ToolError::Arguments("give one of head, tail and offset, not several".to_owned()));
    }
    let part = part(call, asked, call.state.table.result_bytes)?;
    let mut notes = Vec::new();
    if asked.tail.is_some() && part.from > 0 && lines(&part.text) < asked.tail.unwrap_or_default() {
        notes.push(format!("these are the last {} bytes of {}", part.to - part.from, part.size));
    } else if asked.tail.is_none() && part.to < part.size && !is_head(asked, &part) {
        notes.push(format!(
            "cut: bytes {} to {} of {}; read on with offset {}",
            part.from, part.to, part.size, part.to
        ));
    }
    if part.lossy {
        notes.push("not all of it is UTF-8: other bytes are shown as \u{fffd}".to_owned());
    }
    let structured = json!({ "from": part.from, "to": part.to, "size": part.size, "lossy": part.lossy });
    let mut answer = Answer::text(part.text).with(structured);
    answer.pieces.extend((!notes.is_empty()).then(|| Piece::Text(format!("[{}]", notes.join("; ")))));
    Ok(answer)
}

/// Whether the part is all that was asked for: so many lines from the beginning.
fn is_head(asked: &ReadText, part: &Part) -> bool {
    asked.head.is_some_and(|head| lines(&part.text) >= head)
}

fn lines(text: &str) -> u64 {
    let breaks = text.bytes().filter(|b| *b == b'\n').count() as u64;
    breaks + u64::from(!text.is_empty() && !text.ends_with('\n'))
}

fn part(call: &Call, asked: &ReadText, most: usize) -> Result<Part, ToolError> {
    let opened = call.resolver().open(&asked.path, Operation::Read)?;
    let file = content(&opened, &asked.path)?;
    let failed = |error: io::Error| kernel(&asked.path, &error);
    let size = file.metadata().map_err(failed)?.len();
    let (from, bytes) = match asked {
        ReadText { tail: Some(tail), .. } => last(&file, size, *tail, most).map_err(failed)?,
        ReadText { head: Some(head), .. } => (0, first(&file, *head, most).map_err(failed)?),
        ReadText { offset, .. } => {
            let from = offset.unwrap_or(0);
            let mut bytes = Vec::new();
            let mut file = &file;
            file.seek(SeekFrom::Start(from)).map_err(failed)?;
            file.take(most as u64).read_to_end(&mut bytes).map_err(failed)?;
            (from.min(size), bytes)
        }
    };
    if from == 0 && bytes.iter().take(8 << 10).any(|b| *b == 0) {
        let why = "it is not text (it has NUL bytes); use read_media_file".to_owned();
        return Err(ToolError::Unsuitable(shown(&asked.path), why));
    }
    call.state.files.add(&opened);
    let whole = from + bytes.len() as u64 >= size;
    let bytes = if whole { &bytes[..] } else { whole_characters(&bytes) };
    let text = String::from_utf8_lossy(bytes);
    let lossy = matches!(text, std::borrow::Cow::Owned(_));
    Ok(Part { text: text.into_owned(), from, to: from + bytes.len() as u64, size, lossy })
}

/// Without the beginning of a character that was cut.
fn whole_characters(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.get(..error.valid_up_to()).unwrap_or(bytes),
        _ => bytes,
    }
}

fn first(mut file: &File, lines: u64, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut block = vec![0; BLOCK];
    let mut left = lines;
    while left > 0 && bytes.len() < most {
        let wanted = BLOCK.min(most - bytes.len());
        let got = file.read(block.get_mut(..wanted).unwrap_or_default())?;
        let Some(read) = block.get(..got).filter(|read| !read.is_empty()) else { break };
        let end = read
            .iter()
            .enumerate()
            .filter(|(_, b)| **b == b'\n')
            .nth(usize::try_from(left - 1).unwrap_or(usize::MAX))
            .map(|(n, _)| n + 1);
        left -= read.iter().take(end.unwrap_or(got)).filter(|b| **b == b'\n').count() as u64;
        bytes.extend_from_slice(read.get(..end.unwrap_or(got)).unwrap_or(read));
    }
    Ok(bytes)
}

/// The last lines, read from the end in blocks.
fn last(file: &File, size: u64, lines: u64, most: usize) -> io::Result<(u64, Vec<u8>)> {
    let mut bytes: Vec<u8> = Vec::new();
    let mut at = size;
    if lines == 0 {
        return Ok((size, bytes));
    }
    while at > 0 && bytes.len() < most {
        let step = (BLOCK.min(most - bytes.len()) as u64).min(at);
        let mut block = vec![0; usize::try_from(step).unwrap_or(BLOCK)];
        file.read_exact_at(&mut block, at - step)?;
        at -= step;
        block.extend_from_slice(&bytes);
        bytes = block;
        // The break that ends the last line belongs to it.
        let body = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let nth = usize::try_from(lines - 1).unwrap_or(usize::MAX);
        let start = body.iter().enumerate().rev().filter(|(_, b)| **b == b'\n').nth(nth).map(|(n, _)| n + 1);
        if let Some(start) = start {
            let rest = bytes.split_off(start);
            return Ok((at + start as u64, rest));
        }
    }
    Ok((at, bytes))
}

fn read_media(call: &Call, asked: &ReadMedia) -> Result<Answer, ToolError> {
    let opened = call.resolver().open(&asked.path, Operation::Read)?;
    let file = content(&opened, &asked.path)?;
    let mut data = Vec::new();
    file.take(MEDIA_BYTES + 1).read_to_end(&mut data).map_err(|error| kernel(&asked.path, &error))?;
    if data.len() as u64 > MEDIA_BYTES {
        let why = format!("it is larger than {} MiB, the most that one result may hold", MEDIA_BYTES >> 20);
        return Err(ToolError::Unsuitable(shown(&asked.path), why));
    }
    call.state.files.add(&opened);
    let mime = media_type(&opened.path);
    let structured = json!({ "mimeType": mime, "bytes": data.len() });
    let path = opened.path.to_string_lossy().into_owned();
    let piece = match mime.split('/').next() {
        Some("image") => Piece::Image { data, mime },
        Some("audio") => Piece::Audio { data, mime },
        _ => Piece::Blob { data, mime, path },
    };
    Ok(Answer { pieces: vec![piece], structured: Some(structured), is_error: false })
}

fn media_type(path: &std::path::Path) -> &'static str {
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    match extension.as_deref() {
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("gif") => "image/gif",
        Some("webp") => "image/webp",
        Some("bmp") => "image/bmp",
        Some("svg") => "image/svg+xml",
        Some("mp3") => "audio/mpeg",
        Some("wav") => "audio/wav",
        Some("ogg") => "audio/ogg",
        Some("flac") => "audio/flac",
        _ => "application/octet-stream",
    }
}

fn read_many(call: &Call, asked: &ReadMany) -> Result<Answer, ToolError> {
    if asked.paths.is_empty() || asked.paths.len() > MOST_PATHS {
        return Err(ToolError::Arguments(format!("paths: give 1 to {MOST_PATHS} paths")));
    }
    let mut left = call.state.table.result_bytes;
    let mut parts = Vec::new();
    let mut rows = Vec::new();
    let mut failed = 0;
    for path in &asked.paths {
        let name = shown(path);
        if left == 0 {
            parts.push(format!("{name}: not read, the result is full; ask for it again"));
            rows.push(json!({ "path": path, "read": false }));
            continue;
        }
        let one = ReadText { path: path.clone(), head: None, tail: None, offset: None };
        match part(call, &one, left) {
            Ok(part) => {
                left = left.saturating_sub(part.text.len());
                let cut = if part.to < part.size {
                    format!(
                        "\n[cut: {} of {} bytes; read on with read_text_file and offset {}]",
                        part.to, part.size, part.to
                    )
                } else {
                    String::new()
                };
                rows.push(json!({ "path": path, "read": true, "to": part.to, "size": part.size }));
                parts.push(format!("{name}:\n{}{cut}", part.text));
            }
            Err(error) => {
                failed += 1;
                let answer = Answer::from(error);
                rows.push(json!({ "path": path, "read": false, "why": answer.structured }));
                parts.push(format!("{name}: Error - {}", answer.all_text()));
            }
        }
    }
    let mut answer = Answer::text(parts.join("\n---\n")).with(json!({ "files": rows }));
    answer.is_error = failed == asked.paths.len();
    Ok(answer)
}

/// A regular file's content; anything else would block or act.
pub(super) fn content(opened: &Opened, asked: &str) -> Result<File, ToolError> {
    opened.reopen(OFlags::RDONLY).map_err(|errno| match errno {
        Errno::ISDIR => ToolError::Unsuitable(shown(asked), "it is a directory".to_owned()),
        Errno::NXIO => ToolError::Unsuitable(shown(asked), "it is no regular file".to_owned()),
        errno => ToolError::Kernel { operation: Operation::Read, path: shown(asked), errno },
    })
}

fn kernel(path: &str, error: &io::Error) -> ToolError {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    ToolError::Kernel { operation: Operation::Read, path: shown(path), errno }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
