//! What a tree outside is like, so that any change of it is seen.

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

/// One tree: everything that could be changed about each of its names, access times left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watch {
    top: PathBuf,
    seen: BTreeMap<PathBuf, Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    mode: u32,
    owner: (u32, u32),
    links: u64,
    changed: (i64, i64),
    content: Vec<u8>,
}

impl Watch {
    /// Looks at a tree now. A name that is not there yet is watched as well.
    pub(crate) fn new(top: &Path) -> Self {
        let mut seen = BTreeMap::new();
        walk(top, &mut seen);
        Self { top: top.to_path_buf(), seen }
    }

    /// What is different now.
    pub(crate) fn changes(&self) -> Vec<String> {
        let now = Self::new(&self.top).seen;
        let mut changes = Vec::new();
        for (path, before) in &self.seen {
            match now.get(path) {
                None => changes.push(format!("{} was removed", name(path))),
                Some(after) if after.content != before.content => {
                    changes.push(format!("{} was changed", name(path)));
                }
                Some(after) if after.links != before.links => {
                    changes.push(format!("{} was linked", name(path)));
                }
                Some(after) if after != before => changes.push(format!("{} was touched", name(path))),
                Some(_) => {}
            }
        }
        let made = now.keys().filter(|path| !self.seen.contains_key(*path));
        changes.extend(made.map(|path| format!("{} was made", name(path))));
        changes
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn walk(path: &Path, seen: &mut BTreeMap<PathBuf, Entry>) {
    let Ok(found) = fs::symlink_metadata(path) else { return };
    let content = if found.is_file() {
        beginning(path)
    } else if found.is_symlink() {
        fs::read_link(path).unwrap_or_default().as_os_str().as_bytes().to_vec()
    } else {
        Vec::new()
    };
    let entry = Entry {
        mode: found.mode(),
        owner: (found.uid(), found.gid()),
        links: found.nlink(),
        changed: (found.ctime(), found.ctime_nsec()),
        content,
    };
    seen.insert(path.to_path_buf(), entry);
    if found.is_dir() {
        for inner in fs::read_dir(path).into_iter().flatten().flatten() {
            walk(&inner.path(), seen);
        }
    }
}

/// All of a file, unless an enemy made it larger than memory.
fn beginning(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = fs::File::open(path) {
        let _ = file.take(16 << 20).read_to_end(&mut bytes);
    }
    bytes
}

/// Whether any regular file of a tree holds this text. Links are not followed: where one leads is another question.
pub(crate) fn holds(top: &Path, text: &str) -> bool {
    let mut seen = BTreeMap::new();
    walk(top, &mut seen);
    seen.values().any(|entry| memory_holds(&entry.content, text))
}

pub(crate) fn memory_holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
