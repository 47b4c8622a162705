//! What a kept home keeps between two runs: the agent's own files and the program's session.
//!
//! Names that begin with a dot are what programs and shells read without being asked to: settings,
//! hooks, extensions, start files, caches with programs in them. An earlier run, whose rules may
//! have been others, does not choose them for a later one, and what Cordon wrote there for one run
//! is gone after it.

use super::{HomeError, Places, Put, failed, inside, look, relative, take_away, usable};
use crate::{entry::Entry, error::RunError};
use cordon_backends::session_paths_of;
use cordon_sandbox::{Identity, remove_at};
use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    fs::{Dir, FileType, Mode, OFlags, openat},
    io::Errno,
};
use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// Where the way to what is kept was no directory, and what is kept was a link or worse.
pub(super) type Odd = Vec<PathBuf>;

/// Which of some names are kept, and which lead there.
type Kept<'a> = Vec<Vec<&'a OsStr>>;

/// Removes what begins with a dot, save what carries the session.
pub(super) fn prune(top: &OwnedFd, session: &[&str]) -> Result<Odd, (PathBuf, Errno)> {
    let kept: Kept<'_> = session.iter().map(|path| Path::new(path).iter().collect()).collect();
    let mut odd = Vec::new();
    level(top, Path::new(""), &kept, &mut odd)?;
    Ok(odd)
}

fn level(directory: &OwnedFd, at: &Path, kept: &Kept<'_>, odd: &mut Odd) -> Result<(), (PathBuf, Errno)> {
    let failed = |e| (at.to_path_buf(), e);
    usable(directory).map_err(failed)?;
    for name in names(directory).map_err(failed)? {
        if at.as_os_str().is_empty() && !name.as_bytes().starts_with(b".") {
            continue;
        }
        let path = at.join(&name);
        let below = below(&name, kept);
        entry(directory.as_fd(), &name, &path, &below, odd).map_err(|e| match e {
            (None, e) => (path.clone(), e),
            (Some(path), e) => (path, e),
        })?;
    }
    Ok(())
}

type Failed = (Option<PathBuf>, Errno);

fn entry(
    directory: BorrowedFd<'_>,
    name: &OsStr,
    path: &Path,
    below: &Kept<'_>,
    odd: &mut Odd,
) -> Result<(), Failed> {
    if !below.is_empty() {
        let found = look(directory, name).map_err(|e| (None, e))?;
        let whole = below.iter().any(Vec::is_empty);
        match found {
            None => return Ok(()),
            Some((_, FileType::RegularFile | FileType::Directory)) if whole => return Ok(()),
            Some((found, FileType::Directory)) => {
                return level(&found, path, below, odd).map_err(|(path, e)| (Some(path), e));
            }
            // Not what the program made.
            Some(_) => odd.push(path.to_path_buf()),
        }
    }
    remove_at(directory, name).map_err(|e| (None, e))
}

/// What is kept below a name.
fn below<'a>(name: &OsStr, kept: &Kept<'a>) -> Kept<'a> {
    let rest = |path: &Vec<&'a OsStr>| {
        let (first, rest) = path.split_first()?;
        (*first == name || first.as_bytes() == b"*").then(|| rest.to_vec())
    };
    kept.iter().filter_map(rest).collect()
}

fn names(directory: &OwnedFd) -> Result<Vec<OsString>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let listed = openat(directory, ".", flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in Dir::read_from(&listed)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

/// Takes what was put into a home for one run away. Blocks.
pub(super) fn leave(
    home: &Path,
    identity: Identity,
    places: &Places,
    session: &[&str],
) -> Result<(), HomeError> {
    inside(home, identity, |top| {
        for (path, _) in places.iter().filter(|(_, put)| **put == Put::Seed) {
            take_away(top.as_fd(), path).map_err(|e| failed(home, path, e))?;
        }
        prune(top, session).map_err(|(path, e)| failed(home, &path, e))?;
        Ok(())
    })
}

/// After the end of its sandbox: nothing of what Cordon wrote into an agent's home stays on the
/// disk. Does nothing the second time. Blocks.
pub(crate) fn left(state: &Path, entry: &Entry, index: usize) -> Result<(), RunError> {
    let found = entry.with(|r| {
        let agent = r.agents.get(index)?;
        let home = state.join(relative(r.line(), &agent.id));
        Some((home, agent.identity?, agent.home.clone()?, session_paths_of(&agent.backend)))
    });
    let Some((home, identity, mut places, session)) = found else { return Ok(()) };
    if !places.values().any(|put| *put == Put::Seed) {
        return Ok(());
    }
    leave(&home, identity, &places, session)?;
    places.retain(|_, put| *put != Put::Seed);
    entry.update_agent(index, |a| a.home = Some(places))?;
    Ok(())
}
