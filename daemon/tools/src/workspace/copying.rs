//! The copying itself: into a name that nobody knows, and from there into place at once.

use super::{
    deleting,
    tree::{Ladder, Step, Walk, is_free},
};
use crate::{
    ToolError,
    error::shown,
    files::write_place::{io_kernel, kernel, plain_mode, temporary_name},
    registry::Call,
    resolve::{Opened, Spot},
};
use cordon_policy::{Access, Operation};
use rustix::{
    fs::{
        AtFlags, FileType, Mode, OFlags, RenameFlags, SeekFrom, Timespec, Timestamps, UTIME_OMIT, fchmod,
        fstat, futimens, ioctl_ficlone, mkdirat, openat, readlinkat, renameat_with, seek, symlinkat,
        unlinkat,
    },
    io::Errno,
};
use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read as _},
};
use tokio_util::sync::CancellationToken;

/// Between two looks at whether anybody still wants it.
const CHUNK: u64 = 64 << 20;

/// What was copied.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Copied {
    pub(crate) files: u64,
    pub(crate) directories: u64,
    pub(crate) links: u64,
    /// Sizes of the files.
    pub(crate) bytes: u64,
}

/// A finished copy that has not its name yet. Dropped, it is gone with all that is in it.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    call: &'a Call,
    spot: &'a Spot,
    name: OsString,
    kept: bool,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // A cancelled call cleans up as well.
        let call = Call { state: self.call.state.clone(), cancel: CancellationToken::new() };
        if let Ok(Some(own)) = self.temporary().and_then(|spot| spot.look()) {
            if own.is_directory() {
                let _ = Walk::own(&call, own).and_then(|walk| deleting::sweep(&call, walk).1);
                let _ = unlinkat(&self.spot.parent, &self.name, AtFlags::REMOVEDIR);
            } else {
                let _ = unlinkat(&self.spot.parent, &self.name, AtFlags::empty());
            }
        }
    }
}

impl<'a> Pending<'a> {
    /// Copies something beside where it belongs. Every entry is decided at both ends.
    pub(crate) fn copy(
        call: &'a Call,
        source: Opened,
        spot: &'a Spot,
        asked: &str,
    ) -> Result<(Self, Copied), ToolError> {
        let pending = Self { call, spot, name: temporary_name(), kept: false };
        let mut copied = Copied::default();
        if source.is_directory() {
            // It gets its name by a rename, with whatever somebody else has put into it by then.
            call.resolver().decide(&spot.path, Operation::Rename, asked)?;
            pending.tree(source, asked, &mut copied)?;
        } else {
            let parent = Target { fd: &spot.parent, name: &pending.name };
            leaf(call, &source, &parent, asked, &mut copied)?;
        }
        Ok((pending, copied))
    }

    /// The copy under the name that it has now, said to be where it will be.
    fn temporary(&self) -> Result<Spot, Errno> {
        let parent = rustix::io::fcntl_dupfd_cloexec(&self.spot.parent, 3)?;
        Ok(Spot { parent, name: self.name.clone(), path: self.spot.path.clone() })
    }

    fn tree(&self, source: Opened, asked: &str, copied: &mut Copied) -> Result<(), ToolError> {
        let failed = |errno| kernel(Operation::Create, asked, errno);
        let policy = &self.call.state.table.policy;
        mkdirat(&self.spot.parent, &self.name, Mode::RWXU).map_err(failed)?;
        let root = self.temporary().and_then(|spot| spot.look()).map_err(failed)?;
        let root = root.ok_or_else(|| failed(Errno::NOENT))?;
        let mode = source.stat.st_mode;
        let mut free = vec![is_free(policy, &root.path, Access::Write)];
        let mut to = Ladder::new(root);
        let mut walk = Walk::new(self.call, source, Operation::Read)?;
        copied.directories += 1;
        let decide = |to: &Ladder, name: &OsStr, free: &[bool]| match free.last() {
            Some(true) => Ok(()),
            _ => {
                let path = to.at.path.join(name);
                self.call.resolver().decide(&path, Operation::Create, &path.to_string_lossy())
            }
        };
        while let Some(step) = walk.next()? {
            match step {
                Step::Enter => {
                    let name = walk.relative.file_name().unwrap_or_default();
                    decide(&to, name, &free)?;
                    mkdirat(to.at.fd(), name, Mode::RWXU).map_err(failed)?;
                    let next = to.at.entry(name).map_err(failed)?;
                    free.push(free.last() == Some(&true) || is_free(policy, &next.path, Access::Write));
                    to.down(next);
                    copied.directories += 1;
                }
                Step::Leaf(found) => {
                    let name = found.path.file_name().unwrap_or_default();
                    decide(&to, name, &free)?;
                    let target = Target { fd: &to.at.fd(), name };
                    leaf(self.call, &found, &target, &found.path.to_string_lossy(), copied)?;
                }
                Step::Leave(left) => {
                    free.pop();
                    let done = to.up()?;
                    done.set_mode(left.stat.st_mode & 0o777);
                }
                Step::Refused(_, error) => return Err(error),
            }
        }
        to.at.set_mode(mode & 0o777);
        Ok(())
    }

    /// Gives it its name, if nothing has that name.
    pub(crate) fn publish(mut self, asked: &str) -> Result<(), ToolError> {
        let at = &self.spot.parent;
        match renameat_with(at, &self.name, at, &self.spot.name, RenameFlags::NOREPLACE) {
            Ok(()) => {
                self.kept = true;
                Ok(())
            }
            Err(Errno::EXIST) => Err(exists(asked)),
            Err(errno) => Err(kernel(Operation::Create, asked, errno)),
        }
    }

    /// Gives it its name and takes away what had it: a directory for a directory, anything
    /// else for anything else. That the old one may be deleted was decided before.
    pub(crate) fn publish_over(mut self, old: &Opened, asked: &str) -> Result<(), ToolError> {
        let at = &self.spot.parent;
        let failed = |errno| kernel(Operation::Delete, asked, errno);
        if !old.is_directory() {
            renameat_with(at, &self.name, at, &self.spot.name, RenameFlags::empty()).map_err(failed)?;
            self.kept = true;
            return Ok(());
        }
        renameat_with(at, &self.name, at, &self.spot.name, RenameFlags::EXCHANGE).map_err(failed)?;
        // The old tree has the name that nobody knows now: it goes, but without force.
        self.kept = true;
        let call = Call { state: self.call.state.clone(), cancel: CancellationToken::new() };
        let temporary = self.temporary().map_err(failed)?;
        let gone = match temporary.look() {
            Ok(Some(found)) => deleting::remove(&call, &temporary, found).1,
            _ => Ok(()),
        };
        gone.map_err(|error| {
            let name = temporary.path.with_file_name(&self.name);
            ToolError::Failed(format!(
                "{} was replaced, but what was there before could not all be deleted and is left at {}: {error}",
                shown(asked),
                shown(&name.to_string_lossy())
            ))
        })
    }
}

pub(crate) fn exists(asked: &str) -> ToolError {
    ToolError::Unsuitable(shown(asked), "it already exists".to_owned())
}

#[derive(Debug)]
struct Target<'a, F> {
    fd: &'a F,
    name: &'a OsStr,
}

/// Copies anything but a directory. Links are copied as what they are.
fn leaf<F: rustix::fd::AsFd>(
    call: &Call,
    source: &Opened,
    to: &Target<'_, F>,
    asked: &str,
    copied: &mut Copied,
) -> Result<(), ToolError> {
    let failed = |errno| kernel(Operation::Create, asked, errno);
    match source.kind() {
        FileType::Symlink => {
            let target = readlinkat(source.fd(), c"", Vec::with_capacity(256)).map_err(failed)?;
            symlinkat(target, to.fd, to.name).map_err(failed)?;
            copied.links += 1;
            Ok(())
        }
        FileType::RegularFile => {
            let from = source
                .reopen(OFlags::RDONLY)
                .map_err(|errno| kernel(Operation::Read, &source.path.to_string_lossy(), errno))?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file =
                openat(to.fd, to.name, flags, Mode::RUSR | Mode::WUSR).map(File::from).map_err(failed)?;
            let size = content(call, &from, &file).map_err(|error| match error.kind() {
                io::ErrorKind::Interrupted => ToolError::Failed("cancelled; nothing was copied".to_owned()),
                _ => io_kernel(Operation::Create, asked, &error),
            })?;
            fchmod(&file, plain_mode(source.stat.st_mode)).map_err(failed)?;
            let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
            let modified = Timespec { tv_sec: source.stat.st_mtime, tv_nsec: source.stat.st_mtime_nsec as _ };
            // A time is not worth a failure.
            let _ = futimens(&file, &Timestamps { last_access: omit, last_modification: modified });
            call.state.files.made(&fstat(&file).map_err(failed)?);
            copied.files += 1;
            copied.bytes += size;
            Ok(())
        }
        _ => Err(ToolError::Unsuitable(
            shown(&source.path.to_string_lossy()),
            "it is a pipe, socket or device, which is not copied".to_owned(),
        )),
    }
}

/// Copies content: by reference where the file system can, without holes otherwise.
pub(crate) fn content(call: &Call, from: &File, to: &File) -> io::Result<u64> {
    // A file that grows while it is read is copied as long as it was at first.
    let size = from.metadata()?.len();
    if ioctl_ficlone(to, from).is_ok() {
        return Ok(size);
    }
    to.set_len(size)?;
    let mut at = 0;
    while at < size {
        let (start, end) = match seek(from, SeekFrom::Data(at)) {
            Ok(start) => (start, seek(from, SeekFrom::Hole(start)).unwrap_or(size).min(size)),
            Err(Errno::NXIO) => break,
            Err(_) => (at, size),
        };
        at = start;
        seek(from, SeekFrom::Start(start))?;
        seek(to, SeekFrom::Start(start))?;
        while at < end {
            if call.cancel.is_cancelled() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let part = io::copy(&mut from.take(CHUNK.min(end - at)), &mut &*to)?;
            if part == 0 {
                return Ok(size);
            }
            at += part;
        }
    }
    Ok(size)
}
