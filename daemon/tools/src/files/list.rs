//! Looking at directories and what is in them.

use super::walk::{self, Entry, entries};
use crate::{
    Answer, Piece, ToolError,
    error::shown,
    registry::{Call, Tool},
    resolve::Opened,
};
use cordon_policy::{Access, Operation, Source};
use rustix::fs::{AtFlags, statat};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

/// A tree is told as deep as this.
const TREE_DEPTH: usize = 64;
/// Entries that one tree or search tells.
const MOST_TOLD: usize = 20_000;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct List {
    /// Absolute, or relative to the workspace.
    path: String,
    /// Entries to leave out at the beginning: a result that was cut says how many.
    #[serde(default)]
    offset: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum SortBy {
    #[default]
    Name,
    Size,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListSizes {
    /// Absolute, or relative to the workspace.
    path: String,
    /// Sort entries by name or size.
    #[serde(default, rename = "sortBy")]
    sort_by: SortBy,
    /// Entries to leave out at the beginning: a result that was cut says how many.
    #[serde(default)]
    offset: usize,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Tree {
    /// Absolute, or relative to the workspace.
    path: String,
    /// Glob patterns of paths (relative to `path`) to leave out.
    #[serde(default, rename = "excludePatterns")]
    exclude: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Search {
    /// Where to begin, absolute or relative to the workspace.
    path: String,
    /// Glob on the path relative to `path`: `*.rs` for that directory, `**/*.rs` for all below.
    pattern: String,
    /// Glob patterns of paths to leave out.
    #[serde(default, rename = "excludePatterns")]
    exclude: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Info {
    /// Absolute, or relative to the workspace.
    path: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

pub(super) fn tools() -> Vec<Tool> {
    vec![
        Tool::file(
            "list_directory",
            "List a directory: [DIR], [FILE] or [LINK] before each name, [DENIED] where the policy hides what is there.",
            |call, arguments: List| list(call, &arguments.path, arguments.offset),
        )
        .reads(),
        Tool::file(
            "list_directory_with_sizes",
            "List a directory with the sizes of its files, sorted by name or size.",
            |call, arguments: ListSizes| list_sizes(call, &arguments),
        )
        .reads(),
        Tool::file(
            "directory_tree",
            "A directory and all below it as JSON: name, type, and children for directories.",
            |call, arguments: Tree| tree(call, &arguments),
        )
        .reads(),
        Tool::file(
            "search_files",
            "Find files and directories by a glob pattern, below a directory. Links are not followed.",
            |call, arguments: Search| search(call, &arguments),
        )
        .reads(),
        Tool::file(
            "get_file_info",
            "Size, times, kind and permissions of a file or directory.",
            |call, arguments: Info| info(call, &arguments),
        )
        .reads(),
        Tool::file(
            "list_allowed_directories",
            "The directories and files that may be used here, and whether they may be written.",
            |call, _: Nothing| Ok(allowed(call)),
        )
        .reads(),
    ]
}

fn directory(call: &Call, path: &str) -> Result<Opened, ToolError> {
    let opened = call.resolver().open(path, Operation::List)?;
    if opened.is_directory() {
        Ok(opened)
    } else {
        Err(ToolError::Unsuitable(shown(path), "it is not a directory".to_owned()))
    }
}

/// Lines within the bound of a result, and how many there are.
fn page(call: &Call, lines: impl Iterator<Item = String>, total: usize, offset: usize) -> Answer {
    let most = call.state.table.result_bytes;
    let mut text = String::new();
    let mut told = 0;
    for line in lines.skip(offset) {
        if told > 0 && text.len() + line.len() + 1 > most {
            break;
        }
        if told > 0 {
            text.push('\n');
        }
        text.push_str(&line);
        told += 1;
    }
    let next = offset + told;
    let mut answer = Answer::text(text).with(json!({ "entries": told, "offset": offset, "total": total }));
    if next < total {
        let note = format!("[entries {offset} to {next} of {total}; go on with offset {next}]");
        answer.pieces.push(Piece::Text(note));
    }
    answer
}

fn list(call: &Call, path: &str, offset: usize) -> Result<Answer, ToolError> {
    let found = entries(call.resolver(), &directory(call, path)?)?;
    let lines = found.iter().map(|e| format!("[{}] {}", e.word(), shown(&e.name.to_string_lossy())));
    Ok(page(call, lines, found.len(), offset))
}

fn list_sizes(call: &Call, asked: &ListSizes) -> Result<Answer, ToolError> {
    let directory = directory(call, &asked.path)?;
    let size = |entry: Entry| {
        let stat = entry
            .readable
            .then(|| statat(directory.fd(), &entry.name, AtFlags::SYMLINK_NOFOLLOW).ok())
            .flatten();
        let size = stat.and_then(|s| u64::try_from(s.st_size).ok()).filter(|_| !entry.is_directory());
        (entry, size)
    };
    let mut found: Vec<_> = entries(call.resolver(), &directory)?.into_iter().map(size).collect();
    if asked.sort_by == SortBy::Size {
        found.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    }
    let directories = found.iter().filter(|(e, _)| e.is_directory()).count();
    let total: u64 = found.iter().filter_map(|(_, size)| *size).sum();
    let lines = found.iter().map(|(entry, bytes)| {
        let name = shown(&entry.name.to_string_lossy());
        let bytes = bytes.map(human).unwrap_or_default();
        format!("[{}] {name:<40} {bytes:>10}", entry.word()).trim_end().to_owned()
    });
    let mut answer = page(call, lines, found.len(), asked.offset);
    let files = found.len() - directories;
    answer.pieces.push(Piece::Text(format!(
        "Total: {files} files, {directories} directories\nCombined size: {}",
        human(total)
    )));
    Ok(answer)
}

fn human(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KB", "MB", "GB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.2} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.2} TB")
}

fn globs(patterns: &[String]) -> Result<globset::GlobSet, ToolError> {
    let mut set = globset::GlobSetBuilder::new();
    for pattern in patterns {
        set.add(glob(pattern)?);
    }
    set.build().map_err(|error| ToolError::Arguments(format!("patterns: {error}")))
}

fn glob(pattern: &str) -> Result<globset::Glob, ToolError> {
    globset::GlobBuilder::new(pattern)
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .map_err(|error| ToolError::Arguments(format!("pattern {}: {}", shown(pattern), error.kind())))
}

/// As the reference server leaves out: a plain name anywhere, a pattern where it matches.
fn excludes(patterns: &[String]) -> Result<globset::GlobSet, ToolError> {
    let wide = patterns.iter().flat_map(|p| [p.clone(), format!("**/{p}"), format!("**/{p}/**")]);
    globs(&wide.collect::<Vec<_>>())
}

fn tree(call: &Call, asked: &Tree) -> Result<Answer, ToolError> {
    let root = directory(call, &asked.path)?;
    let exclude = excludes(&asked.exclude)?;
    let most = call.state.table.result_bytes;
    let mut children: HashMap<PathBuf, Vec<Value>> = HashMap::new();
    let mut order: Vec<(PathBuf, usize)> = Vec::new();
    let (mut told, mut bytes, mut cut) = (0, 0, false);
    let skipped = walk::walk(call, &root, |path, entry| {
        if exclude.is_match(path) {
            return Some(false);
        }
        let name = entry.name.to_string_lossy();
        bytes += name.len() + 40 + 4 * path.components().count();
        told += 1;
        if told > MOST_TOLD || bytes > most {
            cut = true;
            return None;
        }
        let kind = match entry.word() {
            "DIR" => "directory",
            "FILE" => "file",
            "LINK" => "link",
            "DENIED" => "denied",
            _ => "special",
        };
        let deep = path.components().count() >= TREE_DEPTH;
        cut |= deep && entry.is_directory();
        let above = path.parent().unwrap_or(Path::new("")).to_path_buf();
        let beside = children.entry(above).or_default();
        if kind == "directory" {
            order.push((path.to_path_buf(), beside.len()));
        }
        beside.push(json!({ "name": name, "type": kind }));
        Some(!deep)
    })?;
    // Children before parents: deepest first, as the walk went level by level.
    for (path, place) in order.iter().rev() {
        let own = children.remove(path).unwrap_or_default();
        let above = children.get_mut(path.parent().unwrap_or(Path::new("")));
        if let Some(entry) = above.and_then(|list| list.get_mut(*place)) {
            entry["children"] = Value::Array(own);
        }
    }
    let top = Value::Array(children.remove(Path::new("")).unwrap_or_default());
    let text = serde_json::to_string_pretty(&top).map_err(|e| ToolError::Failed(e.to_string()))?;
    let mut answer = Answer::text(text).with(json!({ "truncated": cut, "skipped": skipped.names }));
    if cut {
        answer.pieces.push(Piece::Text(
            "[cut: the tree is too large for one result; ask for a directory in it]".to_owned(),
        ));
    }
    if skipped.count > 0 {
        answer.pieces.push(Piece::Text(format!(
            "[{} not looked into: {}]",
            skipped.count,
            skipped.names.join(", ")
        )));
    }
    Ok(answer)
}

fn search(call: &Call, asked: &Search) -> Result<Answer, ToolError> {
    let root = directory(call, &asked.path)?;
    let wanted = glob(&asked.pattern)?.compile_matcher();
    let exclude = excludes(&asked.exclude)?;
    let most = call.state.table.result_bytes;
    let mut found: Vec<String> = Vec::new();
    let (mut bytes, mut cut) = (0, false);
    let skipped = walk::walk(call, &root, |path, entry| {
        if exclude.is_match(path) {
            return Some(false);
        }
        if entry.readable && wanted.is_match(path) {
            let line = shown(&root.path.join(path).to_string_lossy());
            bytes += line.len() + 1;
            if found.len() >= MOST_TOLD || bytes > most {
                cut = true;
                return None;
            }
            found.push(line);
        }
        Some(true)
    })?;
    let structured = json!({ "matches": found.len(), "truncated": cut, "skipped": skipped.names });
    let text = if found.is_empty() { "No matches found".to_owned() } else { found.join("\n") };
    let mut answer = Answer::text(text).with(structured);
    if cut {
        answer
            .pieces
            .push(Piece::Text("[cut: there are more matches; use a narrower pattern or path]".to_owned()));
    }
    if skipped.count > 0 {
        answer.pieces.push(Piece::Text(format!(
            "[{} not looked into: {}]",
            skipped.count,
            skipped.names.join(", ")
        )));
    }
    Ok(answer)
}

fn info(call: &Call, asked: &Info) -> Result<Answer, ToolError> {
    let opened = call.resolver().open(&asked.path, Operation::Read)?;
    let stat = &opened.stat;
    let kind = match opened.kind() {
        rustix::fs::FileType::Directory => "directory",
        rustix::fs::FileType::RegularFile => "file",
        _ => "special",
    };
    let mode = format!("{:o}", stat.st_mode & 0o7777);
    let structured = json!({
        "path": opened.path.to_string_lossy(),
        "size": stat.st_size,
        "kind": kind,
        "isDirectory": opened.is_directory(),
        "isFile": opened.is_file(),
        "permissions": mode,
        "links": stat.st_nlink,
        "modified": stat.st_mtime,
        "accessed": stat.st_atime,
        "changed": stat.st_ctime,
    });
    let lines = structured.as_object().into_iter().flatten().map(|(key, value)| match value {
        Value::String(text) => format!("{key}: {}", shown(text)),
        other => format!("{key}: {other}"),
    });
    Ok(Answer::text(lines.collect::<Vec<_>>().join("\n")).with(structured))
}

/// What a person would call the places of this sandbox: not the system, and nothing hidden.
fn allowed(call: &Call) -> Answer {
    let table = &call.state.table;
    let mut rows = Vec::new();
    for rule in table.policy.rules() {
        let own = !matches!(rule.origin.source, Source::System | Source::Program | Source::Credential);
        if own && rule.access > Access::None {
            rows.push((rule.path.to_string_lossy().into_owned(), rule.access.to_string()));
        }
    }
    let lines = rows.iter().map(|(path, access)| format!("{} ({access})", shown(path)));
    let text = format!("Allowed directories:\n{}", lines.collect::<Vec<_>>().join("\n"));
    let places: Vec<_> =
        rows.iter().map(|(path, access)| json!({ "path": path, "access": access })).collect();
    Answer::text(text).with(json!({ "places": places, "workspace": table.workspace.to_string_lossy() }))
}

#[cfg(test)]
#[path = "list_tests.rs"]
mod tests;
