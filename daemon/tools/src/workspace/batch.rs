//! copy_files_batch and delete_files_batch.

use super::{
    copy::{over_file, place},
    deleting,
    select::{Batch, Select, all},
};
use crate::{
    Answer, ToolError,
    error::shown,
    files::write_place::kernel,
    registry::{Call, Tool},
    resolve::Opened,
};
use cordon_policy::Operation;
use rustix::{
    fs::{Mode, mkdirat},
    io::Errno,
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::Path;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CopyBatch {
    /// Directory to copy from.
    source_base_path: String,
    /// Directory to copy to; it and what is missing below it is made.
    destination_base_path: String,
    /// Glob patterns on paths relative to the source; `*` matches across directories too.
    #[serde(default = "all")]
    include_patterns: Vec<String>,
    /// Glob patterns to leave out; a directory that matches is left out whole.
    #[serde(default)]
    exclude_patterns: Vec<String>,
    /// Replace files that are there. Otherwise they are skipped.
    #[serde(default)]
    overwrite: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DeleteBatch {
    /// Directory to delete from. Directories themselves stay.
    base_path: String,
    /// Glob patterns on paths relative to the base; `*` matches across directories too.
    #[serde(default = "all")]
    include_patterns: Vec<String>,
    /// Glob patterns to leave out; a directory that matches is left out whole.
    #[serde(default)]
    exclude_patterns: Vec<String>,
}

pub(super) fn tools() -> Vec<Tool> {
    vec![
        Tool::file(
            "copy_files_batch",
            "Copy the files of a directory that match glob patterns, keeping their relative paths. What could not be \
             copied is named, and does not stop the rest.",
            |call, arguments| copy(call, &arguments),
        ),
        Tool::file(
            "delete_files_batch",
            "Delete the files of a directory that match glob patterns. What could not be deleted is named, and does \
             not stop the rest.",
            |call, arguments| delete(call, &arguments),
        ),
    ]
}

fn directory(call: &Call, asked: &str) -> Result<Opened, ToolError> {
    let opened = call.resolver().open(asked, Operation::List)?;
    if opened.is_directory() {
        return Ok(opened);
    }
    Err(ToolError::Unsuitable(shown(asked), "it is not a directory".to_owned()))
}

fn copy(call: &Call, asked: &CopyBatch) -> Result<Answer, ToolError> {
    let resolver = call.resolver();
    let select = Select::new(&asked.include_patterns, &asked.exclude_patterns)?;
    let from = directory(call, &asked.source_base_path)?;
    // A link to something that is not there is answered like one to something that is.
    match resolver.open(&asked.destination_base_path, Operation::Write) {
        Ok(_) | Err(ToolError::NotFound(_)) => {}
        Err(error) => return Err(error),
    }
    let plan = resolver.plan(&asked.destination_base_path)?;
    resolver.decide(&plan.path(), Operation::Write, &asked.destination_base_path)?;
    if plan.path() == from.path {
        let why = "it is the source itself".to_owned();
        return Err(ToolError::Unsuitable(shown(&asked.destination_base_path), why));
    }
    let mut batch = Batch::default();
    // All names are known before the first copy is made: a copy into the source has an end.
    let found = select.find(call, &from, &mut batch)?;
    let to = plan.make(resolver, &asked.destination_base_path)?.directory;
    for path in found {
        match copy_one(call, &from, &to, &path, asked.overwrite) {
            Ok(true) => batch.done(&path),
            Ok(false) => batch.skipped(&path),
            Err(error) => batch.error(&path, &error),
        }
        if call.cancel.is_cancelled() {
            break;
        }
    }
    Ok(batch.answer(call, "copy_batch", "Copied"))
}

/// Whether it was copied; otherwise something is there.
fn copy_one(
    call: &Call,
    from: &Opened,
    to: &Opened,
    path: &Path,
    overwrite: bool,
) -> Result<bool, ToolError> {
    let resolver = call.resolver();
    let name = path.file_name().unwrap_or_default();
    let source = resolver.below(from, path, Operation::Read)?;
    let (target, new) = above(call, to, path.parent().unwrap_or(Path::new("")))?;
    let asked = to.path.join(path).to_string_lossy().into_owned();
    let copied = (|| {
        let spot = target.at(name).map_err(|errno| kernel(Operation::Create, &asked, errno))?;
        let old = spot.look().map_err(|errno| kernel(Operation::Create, &asked, errno))?;
        match old {
            Some(_) if !overwrite => {
                resolver.decide(&spot.path, Operation::Write, &asked)?;
                Ok(false)
            }
            Some(old) if old.is_file() && source.is_file() => {
                over_file(call, &source, &old, &asked).map(|_| true)
            }
            _ => {
                resolver.decide(&spot.path, Operation::Create, &asked)?;
                place(call, source, &spot, overwrite, &asked).map(|_| true)
            }
        }
    })();
    if copied.is_err() {
        for spot in new.iter().rev() {
            let _ = rustix::fs::unlinkat(&spot.parent, &spot.name, rustix::fs::AtFlags::REMOVEDIR);
        }
    }
    copied
}

/// A directory below another, made where it is missing. No link is followed.
fn above(call: &Call, base: &Opened, path: &Path) -> Result<(Opened, Vec<crate::resolve::Spot>), ToolError> {
    let failed = |at: &Opened, errno| kernel(Operation::Create, &at.path.to_string_lossy(), errno);
    let mut at = base.again().map_err(|errno| failed(base, errno))?;
    let mut new = Vec::new();
    for name in path {
        let next = match at.entry(name) {
            Err(Errno::NOENT) => {
                let path = at.path.join(name);
                call.resolver().decide(&path, Operation::Create, &path.to_string_lossy())?;
                match mkdirat(at.fd(), name, Mode::from_raw_mode(0o777)) {
                    Ok(()) => new.push(at.at(name).map_err(|errno| failed(&at, errno))?),
                    Err(Errno::EXIST) => {}
                    Err(errno) => return Err(failed(&at, errno)),
                }
                at.entry(name)
            }
            other => other,
        };
        let next = next.map_err(|errno| failed(&at, errno))?;
        if !next.is_directory() {
            let why = "it is in the way, and not a directory (links are not followed here)".to_owned();
            return Err(ToolError::Unsuitable(shown(&next.path.to_string_lossy()), why));
        }
        at = next;
    }
    Ok((at, new))
}

fn delete(call: &Call, asked: &DeleteBatch) -> Result<Answer, ToolError> {
    let select = Select::new(&asked.include_patterns, &asked.exclude_patterns)?;
    let base = directory(call, &asked.base_path)?;
    let mut batch = Batch::default();
    for path in select.find(call, &base, &mut batch)? {
        match delete_one(call, &base, &path) {
            Ok(()) => batch.done(&path),
            Err(error) => batch.error(&path, &error),
        }
        if call.cancel.is_cancelled() {
            break;
        }
    }
    Ok(batch.answer(call, "delete_batch", "Deleted"))
}

fn delete_one(call: &Call, base: &Opened, path: &Path) -> Result<(), ToolError> {
    let asked = base.path.join(path).to_string_lossy().into_owned();
    let failed = |errno| kernel(Operation::Delete, &asked, errno);
    let name = path.file_name().unwrap_or_default();
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = match parent {
        Some(parent) => base.entry(parent).map_err(failed)?,
        None => base.again().map_err(failed)?,
    };
    let spot = directory.at(name).map_err(failed)?;
    call.resolver().decide(&spot.path, Operation::Delete, &asked)?;
    let found = spot.look().map_err(failed)?.ok_or_else(|| ToolError::NotFound(shown(&asked)))?;
    if found.is_directory() {
        return Err(ToolError::Unsuitable(shown(&asked), "it became a directory meanwhile".to_owned()));
    }
    deleting::check(call, &found, &asked)?;
    deleting::remove(call, &spot, found).1
}
