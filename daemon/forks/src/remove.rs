//! Takes away a tree that an agent has made, of any depth, with a handful of descriptors.

use crate::{ForkError, mounts, open};
use rustix::{
    fd::{AsFd as _, OwnedFd},
    fs::{self, AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
};
use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// How often a directory is looked at again when it is not as empty as it was made.
const MOST_TRIES: u32 = 8;

/// Unmounts what is mounted at and below a directory, and removes it with all that is in it.
pub(crate) fn tree(at: &Path) -> Result<(), ForkError> {
    let fail = |errno: Errno| ForkError::io("remove", at)(errno);
    let (Some(above), Some(name)) = (at.parent(), at.file_name()) else { return Err(fail(Errno::INVAL)) };
    let parent = match open::path(above, open::LIST) {
        Err(Errno::NOENT) => return Ok(()),
        other => other.map_err(fail)?,
    };
    mounts::unmount_all(at)?;
    match fs::unlinkat(&parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => Removal::of(parent, at)?.run(),
        Err(errno) => Err(fail(errno)),
    }
}

/// A directory that is being emptied.
struct Level {
    name: OsString,
    /// Of the directory itself, to be sure on the way back up.
    id: (u64, u64),
    directories: Vec<OsString>,
    tries: u32,
}

struct Removal {
    /// The directory that the last level is.
    here: OwnedFd,
    levels: Vec<Level>,
    above: (u64, u64),
    at: PathBuf,
}

impl Removal {
    fn of(parent: OwnedFd, at: &Path) -> Result<Self, ForkError> {
        let above = id(&parent).map_err(ForkError::io("look at what holds", at))?;
        let name = at.file_name().unwrap_or_default().to_owned();
        let mut removal = Self { here: parent, levels: Vec::new(), above, at: at.to_path_buf() };
        removal.enter(name)?;
        Ok(removal)
    }

    fn run(mut self) -> Result<(), ForkError> {
        loop {
            let Some(level) = self.levels.last_mut() else { return Ok(()) };
            let Some(name) = level.directories.pop() else {
                self.leave()?;
                continue;
            };
            match fs::unlinkat(&self.here, &name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::ACCESS) => self.enter(name)?,
                Err(Errno::BUSY) => return Err(ForkError::Mounted(self.path(&name))),
                Err(errno) => return Err(ForkError::io("remove", self.path(&name))(errno)),
            }
        }
    }

    /// Goes down one name; what is mounted there stays, and is an error.
    fn enter(&mut self, name: OsString) -> Result<(), ForkError> {
        let fail = |errno: Errno| match errno {
            Errno::XDEV => ForkError::Mounted(self.path(&name)),
            errno => ForkError::io("open", self.path(&name))(errno),
        };
        if !rustix::process::geteuid().is_root() {
            // Its owner may have closed it to himself.
            let place = open::below(&self.here, &name, open::PLACE | OFlags::DIRECTORY).map_err(fail)?;
            fs::chmod(open::name(place.as_fd()), Mode::RWXU).map_err(fail)?;
        }
        let here = open::below(&self.here, &name, open::LIST).map_err(fail)?;
        let id = id(&here).map_err(fail)?;
        self.here = here;
        self.levels.push(Level { name, id, directories: Vec::new(), tries: 0 });
        self.empty()
    }

    /// Removes everything but directories, and writes those down.
    fn empty(&mut self) -> Result<(), ForkError> {
        let mut directories = Vec::new();
        let entries = Dir::read_from(&self.here).map_err(ForkError::io("list", self.path(OsStr::new(""))))?;
        for entry in entries {
            let entry = entry.map_err(ForkError::io("list", self.path(OsStr::new(""))))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let is_directory = match entry.file_type() {
                FileType::Unknown => fs::statat(&self.here, name, AtFlags::SYMLINK_NOFOLLOW)
                    .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
                kind => kind == FileType::Directory,
            };
            if is_directory {
                directories.push(name.to_owned());
                continue;
            }
            match fs::unlinkat(&self.here, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::BUSY) => return Err(ForkError::Mounted(self.path(name))),
                Err(errno) => return Err(ForkError::io("remove", self.path(name))(errno)),
            }
        }
        if let Some(level) = self.levels.last_mut() {
            level.directories = directories;
        }
        Ok(())
    }

    /// Goes up again, and removes what was just emptied.
    fn leave(&mut self) -> Result<(), ForkError> {
        let Some(level) = self.levels.pop() else { return Ok(()) };
        let expected = self.levels.last().map_or(self.above, |above| above.id);
        let fail = |errno: Errno| ForkError::io("go back up from", self.path(&level.name))(errno);
        let up = fs::openat2(
            &self.here,
            "..",
            open::LIST,
            Mode::empty(),
            ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        )
        .map_err(fail)?;
        if id(&up).map_err(fail)? != expected {
            // It was moved. Nothing of ours does that: whatever is above is not ours to remove.
            return Err(fail(Errno::XDEV));
        }
        self.here = up;
        match fs::unlinkat(&self.here, &level.name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) if level.tries < MOST_TRIES => {
                let tries = level.tries + 1;
                self.enter(level.name)?;
                if let Some(again) = self.levels.last_mut() {
                    again.tries = tries;
                }
                Ok(())
            }
            Err(Errno::BUSY) => Err(ForkError::Mounted(self.path(&level.name))),
            Err(errno) => Err(ForkError::io("remove", self.path(&level.name))(errno)),
        }
    }

    /// Where a name is, for a message.
    fn path(&self, name: &OsStr) -> PathBuf {
        let mut path = self.at.parent().unwrap_or(Path::new("/")).to_path_buf();
        path.extend(self.levels.iter().map(|level| &level.name));
        path.push(name);
        path
    }
}

fn id(directory: &OwnedFd) -> Result<(u64, u64), Errno> {
    let stat = fs::fstat(directory)?;
    Ok((stat.st_dev, stat.st_ino))
}
