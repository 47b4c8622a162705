//! Differences as data for programs: nothing is escaped here, what is no text is hexadecimal.

use super::{Body, Delta, Limits, Tag, What, body};
use crate::{Content, NodeKind, TreeEntry, TreeError, TreeSource};
use serde::Serialize;

/// Bytes: as text where they are text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Spelled {
    /// They are UTF-8.
    Text(String),
    /// They are not.
    Bytes {
        /// Hexadecimal.
        hex: String,
    },
}

impl From<&[u8]> for Spelled {
    fn from(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Bytes { hex: hex(bytes) },
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing to a string does not fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// All differences.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Of this form; it grows by addition.
    pub version: u32,
    /// In the order of their paths.
    pub changes: Vec<ReportChange>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReportChange {
    /// Where it stands, or stood.
    pub path: Spelled,
    /// `added`, `removed`, `modified`, `mode`, `type` or `renamed`.
    pub change: &'static str,
    /// Where it was renamed from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Spelled>,
    /// How much of a renamed file is the same, in per cent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alike: Option<u8>,
    /// Before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<ReportSide>,
    /// Now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<ReportSide>,
    /// Too large to be compared: it may be the same.
    pub unread: bool,
    /// Not text.
    pub binary: bool,
    /// Too large to be shown.
    pub large: bool,
    /// Changed lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<ReportText>,
}

/// An entry before or now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReportSide {
    /// `directory`, `file` or `link`.
    pub kind: &'static str,
    /// Permission bits, octal.
    pub mode: String,
    /// Bytes.
    pub size: u64,
    /// Where a link points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Spelled>,
}

/// Changed lines of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReportText {
    /// Lines added.
    pub added: usize,
    /// Lines removed.
    pub removed: usize,
    /// There are more hunks than these.
    pub cut: bool,
    /// Where they stand.
    pub hunks: Vec<ReportHunk>,
}

/// Lines that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReportHunk {
    /// First line before, from 1.
    pub old_start: usize,
    /// Lines before.
    pub old_lines: usize,
    /// First line now, from 1.
    pub new_start: usize,
    /// Lines now.
    pub new_lines: usize,
    /// The lines.
    pub lines: Vec<ReportLine>,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReportLine {
    /// ` `, `-` or `+`.
    pub tag: char,
    /// Without its newline.
    pub text: Spelled,
    /// Whether a newline ends it.
    pub ended: bool,
}

/// Differences with their lines.
///
/// # Errors
/// When a tree cannot be read.
pub fn report(
    deltas: &[Delta],
    old: &dyn TreeSource,
    new: &dyn TreeSource,
    limits: &Limits,
) -> Result<Report, TreeError> {
    let change = |delta| Ok(one(delta, body(delta, old, new, limits)?));
    Ok(Report { version: 1, changes: deltas.iter().map(change).collect::<Result<_, TreeError>>()? })
}

fn one(delta: &Delta, body: Body) -> ReportChange {
    let (from, alike) = match &delta.what {
        What::Renamed { from, alike } => (Some(Spelled::from(from.as_slice())), Some(*alike)),
        _ => (None, None),
    };
    ReportChange {
        path: delta.path.as_slice().into(),
        change: match delta.what {
            What::Added => "added",
            What::Removed => "removed",
            What::Modified => "modified",
            What::Mode => "mode",
            What::Type => "type",
            What::Renamed { .. } => "renamed",
        },
        from,
        alike,
        old: delta.old.as_ref().map(side),
        new: delta.new.as_ref().map(side),
        unread: delta.unread,
        binary: matches!(body, Body::Binary(..)),
        large: matches!(body, Body::Large(..)),
        text: match body {
            Body::Text { hunks, added, removed, cut } => {
                Some(ReportText { added, removed, cut, hunks: hunks.into_iter().map(hunk).collect() })
            }
            _ => None,
        },
    }
}

fn side(entry: &TreeEntry) -> ReportSide {
    ReportSide {
        kind: match entry.kind {
            NodeKind::Directory => "directory",
            NodeKind::File => "file",
            NodeKind::Symlink => "link",
        },
        mode: format!("{:04o}", entry.mode),
        size: entry.size,
        target: match &entry.content {
            Content::Target(target) => Some(target.as_slice().into()),
            _ => None,
        },
    }
}

fn hunk(hunk: super::Hunk) -> ReportHunk {
    let line = |line: super::Line| ReportLine {
        tag: match line.tag {
            Tag::Context => ' ',
            Tag::Removed => '-',
            Tag::Added => '+',
        },
        text: line.bytes.as_slice().into(),
        ended: line.ended,
    };
    ReportHunk {
        old_start: hunk.old_start,
        old_lines: hunk.old_lines,
        new_start: hunk.new_start,
        new_lines: hunk.new_lines,
        lines: hunk.lines.into_iter().map(line).collect(),
    }
}
