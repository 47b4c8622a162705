//! The home that an agent keeps from one run to the next one that goes on with it: a directory of
//! the host's, `<state>/homes/<first run>/<agent>`, which belongs to whoever runs inside.
//!
//! Between two runs it is what the agent left, and it may have left anything. What the next start
//! needs there is made by descriptor, without following a link, and with no more rights than the
//! agent has.

use crate::plan::Planned;
use cordon_sandbox::{Identity, PathKind, SeedFile, remove_at};
use cordon_snapshots::rights::{Owner, as_owner};
use rustix::{
    fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
    fs::{CWD, FileType, Mode, OFlags, chmod, fstat, mkdirat, openat},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io,
    path::{Component, Path, PathBuf},
};

#[path = "home_size.rs"]
mod size;
#[path = "home_tidy.rs"]
mod tidy;

pub(crate) use size::{Held, held};
pub(crate) use tidy::left;

/// Below the state directory.
const HOMES: &str = "homes";
const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Where the homes of every line of runs are.
pub(crate) fn all(state: &Path) -> PathBuf {
    state.join(HOMES)
}

/// The home of one agent of a line, relative to the state directory.
pub(crate) fn relative(line: &str, agent: &str) -> PathBuf {
    Path::new(HOMES).join(line).join(agent)
}

/// What a run puts into a home from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Put {
    /// A file that the guest writes: nothing stands there before.
    Seed,
    /// A link that the guest makes: nothing stands there before.
    Link,
    /// Something is mounted on a file.
    OnFile,
    /// Something is mounted on a directory.
    OnDirectory,
}

/// Where, relative to the home, and what.
pub(crate) type Places = BTreeMap<PathBuf, Put>;

/// What this plan puts into the agent's home.
pub(crate) fn places(planned: &Planned) -> Places {
    let spec = &planned.sandbox;
    let seed = |seed: &SeedFile| {
        let put = if seed.mode & SeedFile::LINK == SeedFile::LINK { Put::Link } else { Put::Seed };
        (seed.path.clone(), put)
    };
    let mut places: Places = spec.seeds.iter().map(seed).collect();
    for entry in &spec.paths {
        let Ok(below) = entry.path.strip_prefix(&spec.home) else { continue };
        if !below.as_os_str().is_empty() {
            let put = match entry.kind {
                PathKind::File => Put::OnFile,
                PathKind::Directory => Put::OnDirectory,
            };
            places.insert(below.to_path_buf(), put);
        }
    }
    places
}

/// Why a home cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the agent's kept home {home:?} cannot be used, at {path:?}: {source}")]
pub struct HomeError {
    home: PathBuf,
    path: PathBuf,
    source: io::Error,
}

fn failed(home: &Path, path: &Path, source: impl Into<io::Error>) -> HomeError {
    HomeError { home: home.to_path_buf(), path: path.to_path_buf(), source: source.into() }
}

/// Does something in a home, with the rights of its owner and no others. Blocks.
fn inside<T: Send>(
    home: &Path,
    identity: Identity,
    work: impl FnOnce(&OwnedFd) -> Result<T, HomeError> + Send,
) -> Result<T, HomeError> {
    let none = Path::new("");
    let top = openat(CWD, home, LOOK | OFlags::DIRECTORY, Mode::empty());
    let top = top.map_err(|e| failed(home, none, e))?;
    let meta = fstat(&top).map_err(|e| failed(home, none, e))?;
    if (meta.st_uid, meta.st_gid) != (identity.uid, identity.gid) {
        let why = format!("user {} owns it, and the agent runs as user {}", meta.st_uid, identity.uid);
        return Err(failed(home, none, io::Error::other(why)));
    }
    let work = || {
        usable(&top).map_err(|e| failed(home, none, e))?;
        work(&top)
    };
    as_owner(&Owner::new(identity.uid, identity.gid), work)
        .map_err(|e| failed(home, none, io::Error::other(e)))?
}

/// Leaves of an earlier run only the agent's own files and the session (`session`, as
/// [`cordon_backends::session_paths`] has it), takes away what it had put there and this one does
/// not, and makes room for what is put there now. Tells what stood in the way without being of the
/// kind that Cordon or the program makes. Blocks.
pub(crate) fn clear(
    home: &Path,
    identity: Identity,
    earlier: &Places,
    wanted: &Places,
    session: &[&str],
) -> Result<Vec<PathBuf>, HomeError> {
    inside(home, identity, |top| {
        let mut removed = tidy::prune(top, session).map_err(|(path, e)| failed(home, &path, e))?;
        for path in earlier.keys().filter(|path| !wanted.contains_key(*path)) {
            take_away(top.as_fd(), path).map_err(|e| failed(home, path, e))?;
        }
        for (path, put) in wanted {
            removed.extend(make_room(top.as_fd(), path, *put).map_err(|e| failed(home, path, e))?);
        }
        Ok(removed)
    })
}

/// The names of a plain relative path.
fn names(path: &Path) -> Result<Vec<&OsStr>, Errno> {
    let name = |component| match component {
        Component::Normal(name) => Ok(name),
        _ => Err(Errno::INVAL),
    };
    path.components().map(name).collect()
}

/// Opens what a name stands for, whatever that is; none: nothing.
fn look(at: BorrowedFd<'_>, name: &OsStr) -> Result<Option<(OwnedFd, FileType)>, Errno> {
    match openat(at, name, LOOK, Mode::empty()) {
        Ok(found) => {
            let kind = FileType::from_raw_mode(fstat(&found)?.st_mode);
            Ok(Some((found, kind)))
        }
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The agent may have taken its own permissions away. They are given back through the descriptor:
/// a directory is no link.
fn usable(directory: &OwnedFd) -> Result<(), Errno> {
    let mode = fstat(directory)?.st_mode;
    if mode & Mode::RWXU.bits() == Mode::RWXU.bits() {
        return Ok(());
    }
    let mode = Mode::from_raw_mode(mode & 0o777) | Mode::RWXU;
    chmod(format!("/proc/self/fd/{}", directory.as_raw_fd()), mode)
}

fn make_room(top: BorrowedFd<'_>, path: &Path, put: Put) -> Result<Vec<PathBuf>, Errno> {
    let names = names(path)?;
    let Some((last, parents)) = names.split_last() else { return Err(Errno::INVAL) };
    let mut removed = Vec::new();
    let mut so_far = PathBuf::new();
    let mut at = top.try_clone_to_owned().map_err(|_| Errno::MFILE)?;
    for name in parents {
        so_far.push(name);
        at = match look(at.as_fd(), name)? {
            Some((found, FileType::Directory)) => found,
            found => {
                if found.is_some() {
                    remove_at(at.as_fd(), name)?;
                    removed.push(so_far.clone());
                }
                directory(&at, name)?
            }
        };
        usable(&at)?;
    }
    let found = look(at.as_fd(), last)?.map(|(_, kind)| kind);
    let kind = match put {
        Put::Seed | Put::OnFile => FileType::RegularFile,
        Put::OnDirectory => FileType::Directory,
        Put::Link => FileType::Symlink,
    };
    if found.is_some_and(|found| found != kind) {
        removed.push(path.to_path_buf());
    }
    // A file may be a second name of another one, and may be closed to its owner.
    if found.is_some() && (put != Put::OnDirectory || found != Some(kind)) {
        remove_at(at.as_fd(), last)?;
    }
    match put {
        Put::Seed | Put::Link => {}
        Put::OnFile => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(&at, *last, flags, Mode::RUSR | Mode::WUSR)?;
        }
        Put::OnDirectory if found == Some(kind) => {}
        Put::OnDirectory => drop(directory(&at, last)?),
    }
    Ok(removed)
}

fn directory(at: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    mkdirat(at, name, Mode::RWXU)?;
    openat(at, name, LOOK | OFlags::DIRECTORY, Mode::empty())
}

/// Removes what an earlier run put there; what is no longer on a plain way stays where it is.
fn take_away(top: BorrowedFd<'_>, path: &Path) -> Result<(), Errno> {
    let names = names(path)?;
    let Some((last, parents)) = names.split_last() else { return Err(Errno::INVAL) };
    let mut at = top.try_clone_to_owned().map_err(|_| Errno::MFILE)?;
    for name in parents {
        match look(at.as_fd(), name)? {
            Some((found, FileType::Directory)) => at = found,
            _ => return Ok(()),
        }
        usable(&at)?;
    }
    remove_at(at.as_fd(), last)
}

/// Removes the homes of a line of runs. Follows no link. Blocks.
pub(crate) fn remove(state: &Path, line: &str) -> Result<(), HomeError> {
    let homes = all(state);
    let failed = |e: Errno| HomeError { home: homes.clone(), path: line.into(), source: e.into() };
    match openat(CWD, &homes, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Ok(homes) => remove_at(homes.as_fd(), OsStr::new(line)).map_err(failed),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
#[path = "home_tests.rs"]
mod tests;
