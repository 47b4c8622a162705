//! Steps between opened objects, and plans for what is not there yet.

use super::{Opened, Resolver, Spot, entry, open_path};
use crate::{ToolError, error::shown};
use cordon_policy::Operation;
use rustix::{
    fd::{AsFd as _, AsRawFd as _, OwnedFd},
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, StatxFlags, fstat, mkdirat, openat, readlinkat, statx, unlinkat,
    },
    io::Errno,
};
use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path, PathBuf},
};

/// As many as the kernel follows.
const MOST_LINKS: usize = 40;

/// A path of which the last part, or more of it, may be missing. Nothing was decided.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The deepest part that is there.
    pub(crate) base: Opened,
    /// The names below it, plain ones.
    pub(crate) rest: Vec<OsString>,
}

/// A directory that a plan ended in, and what was made for it.
#[derive(Debug)]
pub(crate) struct Made {
    /// The directory.
    pub(crate) directory: Opened,
    /// Each new directory as the entry that it is, outermost first.
    new: Vec<Spot>,
}

impl Made {
    /// How many directories were made.
    pub(crate) fn count(&self) -> usize {
        self.new.len()
    }

    /// Takes the new directories away again, as far as they are empty.
    pub(crate) fn undo(self) {
        for spot in self.new.iter().rev() {
            if unlinkat(&spot.parent, &spot.name, AtFlags::REMOVEDIR).is_err() {
                return;
            }
        }
    }
}

impl Plan {
    /// Where it will be.
    pub(crate) fn path(&self) -> PathBuf {
        self.rest.iter().fold(self.base.path.clone(), |path, name| path.join(name))
    }

    /// Makes every missing directory, each one decided before the first is made.
    pub(crate) fn make(self, resolver: Resolver<'_>, asked: &str) -> Result<Made, ToolError> {
        let mut path = self.base.path.clone();
        for name in &self.rest {
            path.push(name);
            resolver.decide(&path, Operation::Create, asked)?;
        }
        if !self.base.is_directory() {
            let why = "a part of it is there and is not a directory".to_owned();
            return Err(ToolError::Unsuitable(shown(asked), why));
        }
        let mut made = Made { directory: self.base, new: Vec::new() };
        for name in self.rest {
            if let Err(errno) = step(&mut made, &name) {
                made.undo();
                return Err(match errno {
                    Errno::NOTDIR | Errno::LOOP => ToolError::Unsuitable(
                        shown(asked),
                        "something that is not a directory is in its way (a dangling link is not followed)"
                            .to_owned(),
                    ),
                    errno => ToolError::Kernel { operation: Operation::Create, path: shown(asked), errno },
                });
            }
        }
        Ok(made)
    }
}

fn step(made: &mut Made, name: &OsStr) -> Result<(), Errno> {
    let spot = made.directory.at(name)?;
    match mkdirat(&spot.parent, name, Mode::from_raw_mode(0o777)) {
        Ok(()) => made.new.push(made.directory.at(name)?),
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let next = made.directory.entry(name)?;
    if !next.is_directory() {
        return Err(Errno::NOTDIR);
    }
    made.directory = next;
    Ok(())
}

/// The deepest part of a path that can be opened, and the names below it, outermost first.
/// None: `..` below something that is not there leads nowhere.
fn split(path: &Path) -> Result<Option<Plan>, Errno> {
    let mut rest: Vec<OsString> = Vec::new();
    let mut at = path;
    loop {
        match open_path(CWD.as_fd(), at, OFlags::empty()) {
            Ok(base) => {
                rest.reverse();
                return Ok(Some(Plan { base, rest }));
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS | Errno::NAMETOOLONG) => {}
            Err(errno) => return Err(errno),
        }
        match (at.parent(), at.components().next_back()) {
            (Some(parent), Some(Component::Normal(name))) => {
                rest.push(name.to_owned());
                at = parent;
            }
            _ => return Ok(None),
        }
    }
}

/// Where something that cannot be opened would be. A link that leads to nothing counts as
/// what it leads to, so that it tells as little as one that leads to something.
pub(super) fn real(path: &Path) -> PathBuf {
    let mut path = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        let Ok(Some(plan)) = split(&path) else { break };
        let link = plan.rest.first().and_then(|name| plan.base.entry(name).ok());
        let target = link
            .filter(|entry| entry.kind() == FileType::Symlink)
            .and_then(|entry| readlinkat(entry.fd(), c"", Vec::with_capacity(256)).ok());
        let Some(target) = target else { return plan.path() };
        let target = plan.base.path.join(OsStr::from_bytes(target.as_bytes()));
        path = plan.rest.iter().skip(1).fold(target, |path, name| path.join(name));
    }
    PathBuf::from("/")
}

impl Resolver<'_> {
    /// As much of a path as is there, and the names that are missing.
    pub(crate) fn plan(&self, asked: &str) -> Result<Plan, ToolError> {
        let path = self.absolute(asked)?;
        match split(&path) {
            Ok(Some(plan)) => Ok(plan),
            Ok(None) => {
                // Nowhere is nobody's.
                self.decide(Path::new("/"), Operation::Create, asked)?;
                let why = "`..` below something that is not there leads nowhere";
                Err(ToolError::Arguments(format!("path {}: {why}", shown(asked))))
            }
            Err(errno) => Err(ToolError::Kernel { operation: Operation::Create, path: shown(asked), errno }),
        }
    }

    /// The spot of a name, with every directory above it made where it is missing. What is
    /// made and the name itself are decided before anything is done.
    pub(crate) fn spot_made(&self, asked: &str, operation: Operation) -> Result<(Spot, Made), ToolError> {
        let path = self.absolute(asked)?;
        let named =
            !(asked.ends_with('/') || asked.ends_with("/.") || asked.ends_with("/..") || asked == ".");
        let (Some(Component::Normal(name)), Some(parent), true) =
            (path.components().next_back(), path.parent(), named)
        else {
            let why = "it names no entry of a directory";
            return Err(ToolError::Arguments(format!("path {}: {why}", shown(asked))));
        };
        // A parent of a path that came as text is text, but for a home that is not.
        let Some(parent) = parent.to_str() else {
            return Err(ToolError::Arguments(format!("path {}: it is not UTF-8", shown(asked))));
        };
        let plan = self.plan(parent)?;
        self.decide(&plan.path().join(name), operation, asked)?;
        let made = plan.make(*self, asked)?;
        match made.directory.at(name) {
            Ok(spot) => Ok((spot, made)),
            Err(errno) => {
                made.undo();
                Err(ToolError::Kernel { operation, path: shown(asked), errno })
            }
        }
    }
}

impl Spot {
    /// The directory that holds the name.
    pub(crate) fn directory(&self) -> Result<Opened, Errno> {
        let mut path = self.path.clone();
        path.pop();
        let fd = rustix::io::fcntl_dupfd_cloexec(&self.parent, 3)?;
        let stat = fstat(&fd)?;
        Ok(Opened { fd, path, stat })
    }
}

impl Opened {
    /// An entry of this directory as itself. Nothing was decided.
    pub(crate) fn entry(&self, name: impl AsRef<Path>) -> Result<Self, Errno> {
        entry(self.fd.as_fd(), name.as_ref(), self.path.join(name.as_ref()))
    }

    /// The name of an entry of this directory; nothing has to be there. Nothing was decided.
    pub(crate) fn at(&self, name: &OsStr) -> Result<Spot, Errno> {
        let parent = rustix::io::fcntl_dupfd_cloexec(&self.fd, 3)?;
        Ok(Spot { path: self.path.join(name), parent, name: name.to_owned() })
    }

    /// The directory that holds this directory now.
    pub(crate) fn up(&self) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd: OwnedFd = openat(&self.fd, "..", flags, Mode::empty())?;
        let stat = fstat(&fd)?;
        let mut path = self.path.clone();
        path.pop();
        Ok(Self { fd, path, stat })
    }

    /// The same object once more.
    pub(crate) fn again(&self) -> Result<Self, Errno> {
        let fd = rustix::io::fcntl_dupfd_cloexec(&self.fd, 3)?;
        Ok(Self { fd, path: self.path.clone(), stat: self.stat })
    }

    /// Sets its permission bits, as far as the kernel lets us.
    pub(crate) fn set_mode(&self, bits: u32) {
        if self.kind() != FileType::Symlink {
            let through = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
            let _ = rustix::fs::chmod(through, Mode::from_raw_mode(bits));
        }
    }

    /// Which mount it is on; none where the kernel does not say.
    pub(crate) fn mount(&self) -> Option<u64> {
        let found = statx(&self.fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
        let said = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::MNT_ID);
        said.then_some(found.stx_mnt_id)
    }

    /// What tells it from every other object.
    pub(crate) fn identity(&self) -> (u64, u64) {
        (self.stat.st_dev, self.stat.st_ino)
    }
}
