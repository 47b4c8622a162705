//! Trees, without following a link, without holding a descriptor per level.

use crate::{
    ToolError,
    error::shown,
    registry::Call,
    resolve::{Opened, Resolver},
};
use cordon_policy::Operation;
use rustix::{fs::FileType, io::Errno};
use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// A directory with more entries is not listed: its names alone would be a hundred megabytes.
const MOST_ENTRIES: usize = 1_000_000;

/// One name in a directory.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: OsString,
    pub(super) kind: FileType,
    /// Whether the policy lets it be read.
    pub(super) readable: bool,
}

impl Entry {
    pub(super) fn is_directory(&self) -> bool {
        self.kind == FileType::Directory
    }

    pub(super) fn word(&self) -> &'static str {
        match self.kind {
            _ if !self.readable => "DENIED",
            FileType::Directory => "DIR",
            FileType::Symlink => "LINK",
            FileType::RegularFile => "FILE",
            _ => "SPECIAL",
        }
    }
}

/// The entries of an opened directory by name.
pub(super) fn entries(resolver: Resolver<'_>, directory: &Opened) -> Result<Vec<Entry>, ToolError> {
    let failed = |errno| ToolError::Kernel {
        operation: Operation::List,
        path: shown(&directory.path.to_string_lossy()),
        errno,
    };
    let mut found = Vec::new();
    for entry in directory.list().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        if found.len() == MOST_ENTRIES {
            let why = format!("it has more than {MOST_ENTRIES} entries");
            return Err(ToolError::Unsuitable(shown(&directory.path.to_string_lossy()), why));
        }
        let kind = match entry.file_type() {
            FileType::Unknown => kind_of(directory, name).unwrap_or(FileType::Unknown),
            known => known,
        };
        let readable = resolver.allows(&directory.path.join(name), Operation::Read);
        found.push(Entry { name: name.to_owned(), kind, readable });
    }
    found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn kind_of(directory: &Opened, name: &OsStr) -> Result<FileType, Errno> {
    let stat = rustix::fs::statat(directory.fd(), name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

/// What stopped a walk early, or could not be looked into.
#[derive(Debug, Default)]
pub(super) struct Skipped {
    /// Paths relative to the root, the first few.
    pub(super) names: Vec<String>,
    pub(super) count: usize,
}

impl Skipped {
    fn add(&mut self, relative: &Path, why: &str) {
        self.count += 1;
        if self.names.len() < 10 {
            self.names.push(format!("{} ({why})", shown(&relative.to_string_lossy())));
        }
    }
}

/// Looks at every entry below a directory, a level at a time, until `visit` has seen enough:
/// it says whether to go into a directory, and none ends the walk.
pub(super) fn walk(
    call: &Call,
    root: &Opened,
    mut visit: impl FnMut(&Path, &Entry) -> Option<bool>,
) -> Result<Skipped, ToolError> {
    let resolver = call.resolver();
    let mut skipped = Skipped::default();
    let mut waiting: VecDeque<PathBuf> = VecDeque::from([PathBuf::new()]);
    while let Some(relative) = waiting.pop_front() {
        if call.cancel.is_cancelled() {
            return Err(ToolError::Failed("cancelled".to_owned()));
        }
        let opened;
        let directory = if relative.as_os_str().is_empty() {
            root
        } else {
            match resolver.below(root, &relative, Operation::List) {
                Ok(found) => {
                    opened = found;
                    &opened
                }
                Err(error) => {
                    skipped.add(&relative, &why(&error));
                    continue;
                }
            }
        };
        let listed = match entries(resolver, directory) {
            Ok(listed) => listed,
            Err(error) if relative.as_os_str().is_empty() => return Err(error),
            Err(error) => {
                skipped.add(&relative, &why(&error));
                continue;
            }
        };
        for entry in listed {
            let path = relative.join(&entry.name);
            match visit(&path, &entry) {
                None => return Ok(skipped),
                Some(true) if entry.is_directory() && entry.readable => waiting.push_back(path),
                Some(_) => {}
            }
        }
    }
    Ok(skipped)
}

fn why(error: &ToolError) -> String {
    match error {
        ToolError::Denied(_) => "denied by policy".to_owned(),
        ToolError::Kernel { errno, .. } => errno.to_string(),
        other => other.to_string(),
    }
}
