use super::{Body, Delta, Limits, Tag, What, body, shown, shown_line};
use crate::{NodeKind, TreeEntry, TreeError, TreeSource};
use std::io::{self, Write};

/// How a difference is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Render {
    /// With colours of a terminal.
    pub color: bool,
    /// At most so many bytes; none: no bound. What is left out is said.
    pub bytes: Option<usize>,
}

/// A difference could not be written.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A tree could not be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The output could not be written.
    #[error("cannot write the difference: {0}")]
    Output(#[from] io::Error),
}

const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const CYAN: &str = "\x1b[36m";

struct Out<'a> {
    to: &'a mut dyn Write,
    color: bool,
    left: usize,
}

impl Out<'_> {
    /// False: there is no room for the line.
    fn line(&mut self, color: &str, text: &str) -> io::Result<bool> {
        if text.len() >= self.left {
            self.left = 0;
            return Ok(false);
        }
        self.left -= text.len() + 1;
        if self.color && !color.is_empty() {
            writeln!(self.to, "{color}{text}\x1b[0m")?;
        } else {
            writeln!(self.to, "{text}")?;
        }
        Ok(true)
    }
}

/// Writes differences as a unified diff. Names and lines are shown with everything escaped that
/// acts on a terminal or hides: it is for people, and for `patch` where there is nothing to hide.
///
/// # Errors
/// When a tree cannot be read or the output not written.
pub fn unified(
    out: &mut dyn Write,
    deltas: &[Delta],
    old: &dyn TreeSource,
    new: &dyn TreeSource,
    limits: &Limits,
    render: Render,
) -> Result<(), RenderError> {
    let mut to = Out { to: out, color: render.color, left: render.bytes.unwrap_or(usize::MAX) };
    for (n, delta) in deltas.iter().enumerate() {
        let body = body(delta, old, new, limits)?;
        let whole = one(&mut to, delta, &body)?;
        if !whole {
            writeln!(to.to, "... not all is shown: {} of {} paths remain", deltas.len() - n, deltas.len())?;
            return Ok(());
        }
    }
    Ok(())
}

fn one(out: &mut Out<'_>, delta: &Delta, body: &Body) -> io::Result<bool> {
    let (from, path) = (shown(delta.old_path()), shown(&delta.path));
    let mut head = vec![format!("diff a/{from} b/{path}")];
    head.extend(facts(delta));
    for text in &head {
        if !out.line(BOLD, text)? {
            return Ok(false);
        }
    }
    match body {
        Body::None => Ok(true),
        Body::Binary(old, new) => out.line("", &format!("binary: {old} -> {new} bytes")),
        Body::Large(old, new) => out.line("", &format!("too large to be shown: {old} -> {new} bytes")),
        Body::Text { hunks, cut, .. } => {
            let side = |there: bool, letter: char, name: &str| {
                if there { format!("{letter}/{name}") } else { "/dev/null".to_owned() }
            };
            let heads = [
                format!("--- {}", side(delta.old.is_some(), 'a', &from)),
                format!("+++ {}", side(delta.new.is_some(), 'b', &path)),
            ];
            for text in heads {
                if !out.line(BOLD, &text)? {
                    return Ok(false);
                }
            }
            for hunk in hunks {
                if !self::hunk(out, hunk)? {
                    return Ok(false);
                }
            }
            if *cut { out.line("", "... this file differs in more lines than are shown") } else { Ok(true) }
        }
    }
}

fn hunk(out: &mut Out<'_>, hunk: &super::Hunk) -> io::Result<bool> {
    let range = |start, lines| if lines == 1 { format!("{start}") } else { format!("{start},{lines}") };
    let (old, new) = (range(hunk.old_start, hunk.old_lines), range(hunk.new_start, hunk.new_lines));
    if !out.line(CYAN, &format!("@@ -{old} +{new} @@"))? {
        return Ok(false);
    }
    for line in &hunk.lines {
        let (sign, color) = match line.tag {
            Tag::Context => (' ', ""),
            Tag::Removed => ('-', RED),
            Tag::Added => ('+', GREEN),
        };
        if !out.line(color, &format!("{sign}{}", shown_line(&line.bytes)))?
            || (!line.ended && !out.line("", "\\ No newline at end of file")?)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn named(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::Directory => "directory",
        NodeKind::File => "file",
        NodeKind::Symlink => "link",
    }
}

fn facts(delta: &Delta) -> Vec<String> {
    let describe = |e: &TreeEntry| format!("{} mode {:04o}", named(e.kind), e.mode);
    let mut facts = Vec::new();
    match (&delta.what, &delta.old, &delta.new) {
        (What::Renamed { from, alike }, ..) => {
            facts.push(format!("renamed from {} ({alike}% the same)", shown(from)));
        }
        (What::Added, _, Some(new)) => facts.push(format!("new {}", describe(new))),
        (What::Removed, Some(old), _) => facts.push(format!("removed {}", describe(old))),
        (What::Type, Some(old), Some(new)) => {
            facts.push(format!("{} became {}", describe(old), describe(new)));
        }
        _ => {}
    }
    if let (Some(old), Some(new)) = (&delta.old, &delta.new)
        && old.mode != new.mode
        && old.kind == new.kind
        && old.kind != NodeKind::Symlink
    {
        facts.push(format!("mode {:04o} -> {:04o}", old.mode, new.mode));
    }
    if delta.unread {
        facts.push("too large to be compared: it may be the same".to_owned());
    }
    facts
}

/// The letter that stands for what happened.
pub(super) fn letter(what: &What) -> char {
    match what {
        What::Added => 'A',
        What::Removed => 'D',
        What::Modified => 'M',
        What::Mode => 'm',
        What::Type => 'T',
        What::Renamed { .. } => 'R',
    }
}

/// Writes each path with a letter for what happened: added, deleted, modified, mode, type,
/// renamed.
///
/// # Errors
/// When the output cannot be written.
pub fn name_only(out: &mut dyn Write, deltas: &[Delta]) -> io::Result<()> {
    for delta in deltas {
        let letter = letter(&delta.what);
        match &delta.what {
            What::Renamed { from, .. } => {
                writeln!(out, "{letter} {} -> {}", shown(from), shown(&delta.path))?;
            }
            _ => writeln!(out, "{letter} {}", shown(&delta.path))?,
        }
    }
    Ok(())
}

/// Writes how much changed in each path and altogether.
///
/// # Errors
/// When a tree cannot be read or the output not written.
pub fn stat(
    out: &mut dyn Write,
    deltas: &[Delta],
    old: &dyn TreeSource,
    new: &dyn TreeSource,
    limits: &Limits,
) -> Result<(), RenderError> {
    let (mut plus, mut minus) = (0, 0);
    for delta in deltas {
        let counts = match body(delta, old, new, limits)? {
            Body::None => String::new(),
            Body::Binary(old, new) => format!(" | binary {old} -> {new} bytes"),
            Body::Large(old, new) => format!(" | large {old} -> {new} bytes"),
            Body::Text { added, removed, .. } => {
                plus += added;
                minus += removed;
                format!(" | +{added} -{removed}")
            }
        };
        writeln!(out, "{} {}{counts}", letter(&delta.what), shown(&delta.path))?;
    }
    let noun = if deltas.len() == 1 { "path" } else { "paths" };
    writeln!(out, "{} {noun} changed, {plus} lines added, {minus} removed", deltas.len())?;
    Ok(())
}
