//! The deleting itself, and what has to be true before.

use super::{
    exempt,
    tree::{Step, Walk},
};
use crate::{
    ToolError,
    error::shown,
    files::write_place::kernel,
    registry::Call,
    resolve::{Opened, Spot},
};
use cordon_policy::{Denial, Layer, Operation, Origin, Source};
use rustix::fs::{AtFlags, unlinkat};

/// Names that a refusal tells.
const NAMED: usize = 3;

/// What was deleted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Deleted {
    pub(crate) files: u64,
    pub(crate) directories: u64,
}

/// Deletes what is at a spot, with all below it. That it may be deleted was decided. What was
/// done before an error is said as well.
pub(crate) fn remove(call: &Call, spot: &Spot, found: Opened) -> (Deleted, Result<(), ToolError>) {
    let name = spot.path.to_string_lossy().into_owned();
    let failed = |errno| kernel(Operation::Delete, &name, errno);
    if !found.is_directory() {
        return match unlinkat(&spot.parent, &spot.name, AtFlags::empty()) {
            Ok(()) => {
                call.state.files.forget(&found);
                (Deleted { files: 1, directories: 0 }, Ok(()))
            }
            Err(errno) => (Deleted::default(), Err(failed(errno))),
        };
    }
    remove_tree(call, spot, Walk::new(call, found, Operation::List))
}

/// The same where a complete copy is elsewhere: directories that their owner may not write
/// are opened up, as moving them by their name would not have asked either.
pub(crate) fn remove_moved(call: &Call, spot: &Spot, found: Opened) -> (Deleted, Result<(), ToolError>) {
    if found.is_directory() {
        remove_tree(call, spot, Walk::own(call, found))
    } else {
        remove(call, spot, found)
    }
}

fn remove_tree(
    call: &Call,
    spot: &Spot,
    walk: Result<Walk<'_>, ToolError>,
) -> (Deleted, Result<(), ToolError>) {
    let name = spot.path.to_string_lossy();
    let failed = |errno| kernel(Operation::Delete, &name, errno);
    let walk = match walk {
        Ok(walk) => walk,
        Err(error) => return (Deleted::default(), Err(error)),
    };
    let (mut deleted, swept) = sweep(call, walk);
    let swept = swept.and_then(|()| {
        unlinkat(&spot.parent, &spot.name, AtFlags::REMOVEDIR).map_err(failed)?;
        deleted.directories += 1;
        Ok(())
    });
    (deleted, swept)
}

/// Deletes everything below a walk's root.
pub(super) fn sweep(call: &Call, mut walk: Walk<'_>) -> (Deleted, Result<(), ToolError>) {
    let mut deleted = Deleted::default();
    let done = (|| {
        while let Some(step) = walk.next()? {
            let (entry, flags) = match step {
                Step::Enter => continue,
                Step::Leaf(leaf) => (leaf, AtFlags::empty()),
                Step::Leave(directory) => (directory, AtFlags::REMOVEDIR),
                Step::Refused(_, error) => return Err(error),
            };
            let name = entry.path.file_name().unwrap_or_default();
            unlinkat(walk.here().fd(), name, flags)
                .map_err(|errno| kernel(Operation::Delete, &entry.path.to_string_lossy(), errno))?;
            if entry.is_directory() {
                deleted.directories += 1;
            } else {
                deleted.files += 1;
                call.state.files.forget(&entry);
            }
        }
        Ok(())
    })();
    (deleted, done)
}

/// Looks through what is to be deleted, before anything is: all of it can be walked, no other
/// file system is mounted in it, and its files were read where the agent file wants that.
pub(crate) fn check(call: &Call, found: &Opened, asked: &str) -> Result<(), ToolError> {
    let mut unread = Unread::default();
    look(call, found, asked, |file| unread.see(call, file))?;
    unread.verdict(asked)
}

/// The same for what was copied elsewhere: nothing is lost, so nothing has to have been read.
pub(crate) fn walkable(call: &Call, found: &Opened, asked: &str) -> Result<(), ToolError> {
    look(call, found, asked, |_| {})
}

fn look(call: &Call, found: &Opened, asked: &str, mut see: impl FnMut(&Opened)) -> Result<(), ToolError> {
    if !found.is_directory() {
        see(found);
        return Ok(());
    }
    let mount = found.mount();
    let other = |entry: &Opened| entry.mount() != mount;
    let root = found.again().map_err(|errno| kernel(Operation::Delete, asked, errno))?;
    let mut walk = Walk::new(call, root, Operation::List)?;
    while let Some(step) = walk.next()? {
        match step {
            Step::Enter if other(walk.here()) => return Err(mounted(walk.here())),
            Step::Leaf(leaf) if other(&leaf) => return Err(mounted(&leaf)),
            Step::Leaf(leaf) => see(&leaf),
            Step::Enter | Step::Leave(_) => {}
            Step::Refused(_, error) => return Err(error),
        }
    }
    Ok(())
}

fn mounted(entry: &Opened) -> ToolError {
    let why = "something else is mounted there: nothing was deleted".to_owned();
    ToolError::Unsuitable(shown(&entry.path.to_string_lossy()), why)
}

/// Files that nobody has looked at. This guards against mistakes: what is at a name may be
/// replaced in the moment between, and then the policy's verdict on the name still holds.
#[derive(Debug, Default)]
struct Unread {
    names: Vec<String>,
    count: u64,
}

impl Unread {
    fn see(&mut self, call: &Call, file: &Opened) {
        let table = &call.state.table;
        if !table.read_before_delete
            || !file.is_file()
            || call.state.files.has(file)
            || exempt::is_made_by_programs(&table.policy, &file.path)
        {
            return;
        }
        self.count += 1;
        if self.names.len() < NAMED {
            self.names.push(shown(&file.path.to_string_lossy()));
        }
    }

    fn verdict(self, asked: &str) -> Result<(), ToolError> {
        if self.count == 0 {
            return Ok(());
        }
        let named = self.names.join(", ");
        let more = self.count.saturating_sub(NAMED as u64);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        Err(ToolError::Denied(Box::new(Denial {
            operation: Operation::Delete,
            target: shown(asked),
            rule: format!("enforce_read_before_delete: {} not read before: {named}{rest}", files(self.count)),
            origin: Origin::built_in(Source::Nothing),
            layer: Layer::Guest,
            would_allow: "read what is to be deleted first, with read_text_file or read_multiple_files"
                .to_owned(),
        })))
    }
}

fn files(count: u64) -> String {
    if count == 1 { "1 file was".to_owned() } else { format!("{count} files were") }
}
