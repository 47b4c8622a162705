//! compare_directories: two trees, by content.

use super::{
    compare_files::{file, same, whole},
    tree::MOST_ENTRIES,
};
use crate::{
    Answer, Piece, ToolError,
    error::shown,
    files::{edit_diff::unified, write_place::kernel},
    registry::{Call, Tool},
    resolve::Opened,
};
use cordon_policy::Operation;
use rustix::fs::{FileType, readlinkat};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::{BTreeSet, VecDeque},
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// Larger files are not read: their sizes are compared, and that is said.
const MOST_READ: u64 = 1 << 30;
/// Larger files are not shown as a diff.
const MOST_SHOWN: u64 = 1 << 20;
const MOST_NAMED: usize = 1000;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Compare {
    /// Absolute, or relative to the workspace.
    dir1: String,
    /// Absolute, or relative to the workspace.
    dir2: String,
    /// Show what differs in text files as unified diffs.
    #[serde(default)]
    show_content_diff: bool,
}

pub(super) fn tools() -> Vec<Tool> {
    vec![
        Tool::file(
            "compare_directories",
            "Compare two directories with all below them, by content: what is only in one, what differs, what is \
             identical. Links are compared as links.",
            |call, arguments| compare(call, &arguments),
        )
        .reads(),
    ]
}

#[derive(Debug, Default)]
struct Names {
    names: Vec<String>,
    count: usize,
}

impl Names {
    fn add(&mut self, name: String) {
        self.count += 1;
        if self.names.len() < MOST_NAMED {
            self.names.push(name);
        }
    }
}

#[derive(Debug, Default)]
struct Found {
    only1: Names,
    only2: Names,
    different: Names,
    errors: Names,
    identical: usize,
    seen: usize,
    diffs: String,
    diff_cut: bool,
}

fn compare(call: &Call, asked: &Compare) -> Result<Answer, ToolError> {
    let open = |path: &str| {
        let opened = call.resolver().open(path, Operation::List)?;
        if opened.is_directory() {
            return Ok(opened);
        }
        Err(ToolError::Unsuitable(shown(path), "it is not a directory".to_owned()))
    };
    let (one, other) = (open(&asked.dir1)?, open(&asked.dir2)?);
    let mut found = Found::default();
    let mut waiting = VecDeque::from([PathBuf::new()]);
    while let Some(relative) = waiting.pop_front() {
        if call.cancel.is_cancelled() {
            return Err(ToolError::Failed("cancelled".to_owned()));
        }
        let pair = at(call, &one, &relative).and_then(|a| Ok((a, at(call, &other, &relative)?)));
        let listed = pair.and_then(|(a, b)| {
            let first = names(&a, &mut found.seen)?;
            let second = names(&b, &mut found.seen)?;
            Ok((a, b, first, second))
        });
        let (a, b, first, second) = match listed {
            Ok(listed) => listed,
            Err(error) if relative.as_os_str().is_empty() || found.seen > MOST_ENTRIES => return Err(error),
            Err(error) => {
                found.error(&relative, &error);
                continue;
            }
        };
        for name in first.union(&second) {
            let path = relative.join(name);
            let result = match (first.contains(name), second.contains(name)) {
                (true, false) => only(call, &a, name, &path).map(|text| found.only1.add(text)),
                (false, _) => only(call, &b, name, &path).map(|text| found.only2.add(text)),
                (true, true) => both(call, asked, (&a, &b), name, &path, &mut found).map(|deeper| {
                    waiting.extend(deeper.then(|| path.clone()));
                }),
            };
            if let Err(error) = result {
                found.error(&path, &error);
            }
        }
    }
    Ok(found.answer(call, asked))
}

fn at(call: &Call, root: &Opened, relative: &Path) -> Result<Opened, ToolError> {
    if relative.as_os_str().is_empty() {
        return root.again().map_err(|errno| kernel(Operation::List, &root.path.to_string_lossy(), errno));
    }
    call.resolver().below(root, relative, Operation::List)
}

fn names(directory: &Opened, seen: &mut usize) -> Result<BTreeSet<OsString>, ToolError> {
    let failed = |errno| kernel(Operation::List, &directory.path.to_string_lossy(), errno);
    let mut names = BTreeSet::new();
    for entry in directory.list().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        *seen += 1;
        if *seen > MOST_ENTRIES {
            let why = format!("the directories have more than {MOST_ENTRIES} entries: compare parts of them");
            return Err(ToolError::Failed(why));
        }
        names.insert(name.to_owned());
    }
    Ok(names)
}

fn only(call: &Call, directory: &Opened, name: &OsStr, path: &Path) -> Result<String, ToolError> {
    let entry = call.resolver().child(directory, name, Operation::Read)?;
    Ok(told(path, &entry))
}

fn told(path: &Path, entry: &Opened) -> String {
    let name = shown(&path.to_string_lossy());
    if entry.is_directory() { format!("{name}/") } else { name }
}

/// Compares an entry that both have; true: both are directories, to be looked into.
fn both(
    call: &Call,
    asked: &Compare,
    (one, other): (&Opened, &Opened),
    name: &OsStr,
    path: &Path,
    found: &mut Found,
) -> Result<bool, ToolError> {
    let resolver = call.resolver();
    let a = resolver.child(one, name, Operation::Read)?;
    let b = resolver.child(other, name, Operation::Read)?;
    let text = shown(&path.to_string_lossy());
    if a.kind() != b.kind() {
        found.different.add(format!("{text} ({} and {})", word(&a), word(&b)));
        return Ok(false);
    }
    let failed = |errno| kernel(Operation::Read, &path.to_string_lossy(), errno);
    match a.kind() {
        FileType::Directory => return Ok(true),
        FileType::Symlink => {
            let link = |entry: &Opened| readlinkat(entry.fd(), c"", Vec::with_capacity(256)).map_err(failed);
            found.verdict(link(&a)? == link(&b)?, text);
        }
        FileType::RegularFile if a.is_same(&b) => found.verdict(true, text),
        FileType::RegularFile if a.stat.st_size != b.stat.st_size => {
            found.verdict(false, text);
            found.diff(call, asked, &a, &b, path);
        }
        FileType::RegularFile if u64::try_from(a.stat.st_size).unwrap_or(u64::MAX) > MOST_READ => {
            let why = format!(
                "{text}: not compared, it is larger than {} GiB (the sizes are equal)",
                MOST_READ >> 30
            );
            found.errors.add(why);
        }
        FileType::RegularFile => {
            let (first, second) = (file(&a, &text)?, file(&b, &text)?);
            let equal = same(first, second, || call.cancel.is_cancelled())
                .map_err(|error| ToolError::Failed(format!("{text}: {error}")))?;
            found.verdict(equal, text);
            if !equal {
                found.diff(call, asked, &a, &b, path);
            }
        }
        _ => found.errors.add(format!("{text}: pipes, sockets and devices are not compared")),
    }
    Ok(false)
}

fn word(entry: &Opened) -> &'static str {
    match entry.kind() {
        FileType::Directory => "directory",
        FileType::RegularFile => "file",
        FileType::Symlink => "link",
        _ => "special file",
    }
}

impl Found {
    fn error(&mut self, path: &Path, error: &ToolError) {
        self.errors.add(format!("{}: {error}", shown(&path.to_string_lossy())));
    }

    fn verdict(&mut self, identical: bool, name: String) {
        if identical { self.identical += 1 } else { self.different.add(name) }
    }

    fn diff(&mut self, call: &Call, asked: &Compare, a: &Opened, b: &Opened, path: &Path) {
        if !asked.show_content_diff {
            return;
        }
        let room = (call.state.table.result_bytes / 2).saturating_sub(self.diffs.len());
        let name = shown(&path.to_string_lossy());
        let texts = [a, b].map(|entry| {
            whole(entry, &name, MOST_SHOWN).ok().and_then(|bytes| String::from_utf8(bytes).ok())
        });
        let [Some(old), Some(new)] = texts else { return };
        if room < 2 * name.len() + 200 {
            self.diff_cut = true;
            return;
        }
        let diff = unified(&old, &new, 3, room - 2 * name.len() - 100);
        self.diff_cut |= diff.cut;
        self.diffs.push_str(&format!("--- {name}\n+++ {name}\n{}", diff.text));
    }

    fn answer(self, call: &Call, asked: &Compare) -> Answer {
        let lists = [
            ("not compared", "errors", &self.errors),
            ("different", "different", &self.different),
            ("only in dir1", "only_in_dir1", &self.only1),
            ("only in dir2", "only_in_dir2", &self.only2),
        ];
        let mut text = format!(
            "{} and {}: {} identical, {} different, {} only in dir1, {} only in dir2, {} not compared",
            shown(&asked.dir1),
            shown(&asked.dir2),
            self.identical,
            self.different.count,
            self.only1.count,
            self.only2.count,
            self.errors.count
        );
        let room = (call.state.table.result_bytes / 2).saturating_sub(800);
        let mut bytes = 0;
        let mut value = json!({ "identical": self.identical, "diff_truncated": self.diff_cut });
        let mut cut = false;
        for (word, key, list) in lists {
            let mut kept = 0;
            for name in &list.names {
                bytes += 2 * (name.len() + word.len() + 4);
                if bytes > room {
                    break;
                }
                text.push_str(&format!("\n{word}: {name}"));
                kept += 1;
            }
            if kept < list.count {
                cut = true;
                text.push_str(&format!("\n[{} more: {word}]", list.count - kept));
            }
            let rows: Vec<Value> = list.names.iter().take(kept).map(|name| json!(name)).collect();
            value[key] = Value::Array(rows);
        }
        let counts = [self.different.count, self.only1.count, self.only2.count, self.errors.count];
        value["truncated"] = json!(cut);
        value["same"] = json!(counts.iter().all(|count| *count == 0));
        let mut answer = Answer::text(text).with(value);
        answer.pieces.extend((!self.diffs.is_empty()).then_some(Piece::Text(self.diffs)));
        if self.diff_cut {
            answer.pieces.push(Piece::Text("[diffs cut: compare single files for the rest]".to_owned()));
        }
        answer
    }
}
