//! Putting a file into its place: whole or not at all, and never through a link of any kind.

use crate::{
    ToolError,
    error::shown,
    registry::Call,
    resolve::{Opened, Spot},
};
use cordon_policy::Operation;
use rustix::{
    fs::{AtFlags, Mode, OFlags, RenameFlags, fchmod, fstat, linkat, openat, renameat_with, unlinkat},
    io::Errno,
};
use std::{
    ffi::OsString,
    fs::File,
    hash::{BuildHasher as _, RandomState},
    io::{self, Read as _},
    os::unix::fs::{FileExt as _, MetadataExt as _},
};

/// The largest file that is put back when writing it in place fails.
const MOST_KEPT: u64 = 64 << 20;

/// How a file came to its new content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Nothing was there.
    Created,
    /// A new file took the place of the old one, at once.
    Replaced,
    /// The old file was written: its directory may not be changed.
    InPlace,
}

/// A name that nobody can foresee. What is made under it is made exclusively all the same.
pub(crate) fn temporary_name() -> OsString {
    let random = || RandomState::new().hash_one(std::process::id());
    OsString::from(format!(".cordon-{:016x}{:016x}.tmp", random(), random()))
}

/// A file that has no name of its own yet. Dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Temporary<'a> {
    spot: &'a Spot,
    name: OsString,
    /// Open for writing.
    pub(crate) file: File,
    kept: bool,
}

impl<'a> Temporary<'a> {
    /// A new file beside a name, for its owner alone or as the process makes new files.
    pub(crate) fn beside(spot: &'a Spot, private: bool) -> Result<Self, Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(if private { 0o600 } else { 0o666 });
        let mut tries = 0;
        loop {
            let name = temporary_name();
            match openat(&spot.parent, &name, flags, mode) {
                Ok(fd) => return Ok(Self { spot, name, file: File::from(fd), kept: false }),
                Err(Errno::EXIST) if tries < 8 => tries += 1,
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Gives it its name, if nothing has that name.
    pub(crate) fn create(mut self) -> Result<(), Errno> {
        let to = &self.spot.parent;
        match renameat_with(to, &self.name, to, &self.spot.name, RenameFlags::NOREPLACE) {
            Ok(()) => self.kept = true,
            // A file system that cannot: a link never replaces anything either.
            Err(Errno::INVAL) => linkat(to, &self.name, to, &self.spot.name, AtFlags::empty())?,
            Err(errno) => return Err(errno),
        }
        Ok(())
    }

    /// Gives it its name, whatever had that name. A link there is replaced, not followed.
    pub(crate) fn replace(mut self) -> Result<(), Errno> {
        let to = &self.spot.parent;
        renameat_with(to, &self.name, to, &self.spot.name, RenameFlags::empty())?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.kept {
            let _ = unlinkat(&self.spot.parent, &self.name, AtFlags::empty());
        }
    }
}

/// The permission bits that a copy or a replacement keeps: never setuid, setgid or sticky.
pub(crate) fn plain_mode(raw: u32) -> Mode {
    Mode::from_raw_mode(raw & 0o777)
}

pub(crate) fn kernel(operation: Operation, path: &str, errno: Errno) -> ToolError {
    ToolError::Kernel { operation, path: shown(path), errno }
}

pub(crate) fn io_kernel(operation: Operation, path: &str, error: &io::Error) -> ToolError {
    kernel(operation, path, Errno::from_io_error(error).unwrap_or(Errno::IO))
}

/// Writes a file that is not there.
pub(crate) fn create(
    call: &Call,
    spot: &Spot,
    asked: &str,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), ToolError> {
    let failed = |errno| match errno {
        Errno::EXIST => {
            ToolError::Unsuitable(shown(asked), "it was made by somebody else meanwhile".to_owned())
        }
        errno => kernel(Operation::Create, asked, errno),
    };
    let mut temporary = Temporary::beside(spot, false).map_err(failed)?;
    fill(&mut temporary.file).map_err(|error| io_kernel(Operation::Create, asked, &error))?;
    let stat = fstat(&temporary.file).map_err(failed)?;
    temporary.create().map_err(failed)?;
    call.state.files.made(&stat);
    Ok(())
}

/// Gives a regular file that is there, and may be written, new content.
pub(crate) fn replace(
    call: &Call,
    old: &Opened,
    asked: &str,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<How, ToolError> {
    let resolver = call.resolver();
    resolver.decide(&old.path, Operation::Write, asked)?;
    let spot = match resolver.spot_of(old, Operation::Create, asked) {
        Ok(spot) => spot,
        // The file is granted and its directory is not.
        Err(ToolError::Denied(_)) => return in_place(call, old, asked, fill),
        Err(error) => return Err(error),
    };
    let parent = spot.directory().map_err(|errno| kernel(Operation::Write, asked, errno))?;
    let mut temporary = match Temporary::beside(&spot, true) {
        Ok(temporary) => temporary,
        Err(Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::XDEV) => {
            return in_place(call, old, asked, fill);
        }
        Err(errno) => return Err(kernel(Operation::Write, asked, errno)),
    };
    // A name that a mount covers cannot be replaced; the kernel says so before anything is written.
    if old.mount() != parent.mount() {
        drop(temporary);
        return in_place(call, old, asked, fill);
    }
    fchmod(&temporary.file, plain_mode(old.stat.st_mode))
        .map_err(|errno| kernel(Operation::Write, asked, errno))?;
    fill(&mut temporary.file).map_err(|error| io_kernel(Operation::Write, asked, &error))?;
    let stat = fstat(&temporary.file).map_err(|errno| kernel(Operation::Write, asked, errno))?;
    temporary.replace().map_err(|errno| kernel(Operation::Write, asked, errno))?;
    call.state.files.made(&stat);
    Ok(How::Replaced)
}

fn in_place(
    call: &Call,
    old: &Opened,
    asked: &str,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<How, ToolError> {
    let failed = |error: io::Error| io_kernel(Operation::Write, asked, &error);
    let mut file = old.reopen(OFlags::WRONLY).map_err(|errno| kernel(Operation::Write, asked, errno))?;
    let links = file.metadata().map_err(failed)?.nlink();
    if links != 1 {
        return Err(ToolError::Unsuitable(
            shown(asked),
            format!(
                "it has {links} hard links, and its directory may not be changed: writing it would change them all"
            ),
        ));
    }
    let before = before(old, asked)?;
    let filled = file.set_len(0).and_then(|()| fill(&mut file));
    if let Err(error) = filled {
        let error = failed(error);
        // There was room for it until now.
        let back = before.map(|bytes| file.set_len(0).and_then(|()| file.write_all_at(&bytes, 0)));
        let state = match back {
            Some(Ok(())) => "the file is as it was",
            _ => "what was in the file could not be put back",
        };
        return Err(ToolError::Failed(format!("{error}; {state}")));
    }
    call.state.files.add(old);
    Ok(How::InPlace)
}

/// What a file holds, should it have to be put back; none of what is too large or may not
/// be read.
fn before(old: &Opened, asked: &str) -> Result<Option<Vec<u8>>, ToolError> {
    let failed = |error: io::Error| io_kernel(Operation::Write, asked, &error);
    let Ok(file) = old.reopen(OFlags::RDONLY) else { return Ok(None) };
    let mut bytes = Vec::new();
    let read = file.take(MOST_KEPT + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok((read as u64 <= MOST_KEPT).then_some(bytes))
}
