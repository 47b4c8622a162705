//! The operations that a policy's rules speak of, done for real. What worked is undone at
//! once: names that are made are nobody's but this process's, and a path that could be
//! renamed gets its name back.

#![allow(unsafe_code)]

use cordon_proto::guest::{ProbeRequest, ProbeResponse, Trial, probe_response::TrialFlag};
use rustix::{
    fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, RawDir, RenameFlags},
    io::Errno,
};
use std::{
    ffi::OsStr,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

/// Which step of a trial failed: nothing was done, or something was and could not be
/// carried through.
enum Failed {
    First(Errno),
    Later(Errno),
}

use Failed::{First, Later};

type Outcome = Result<(), Failed>;

/// Tries everything that is asked for and answers in the same order.
pub(super) fn look(request: &ProbeRequest, response: &mut ProbeResponse) {
    let names = Names::new();
    for asked in &request.trials {
        let path = Path::new(OsStr::from_bytes(&asked.path));
        for trial in asked.trials() {
            response.trials.push(number(path, trial, attempt(path, trial, &names)));
        }
    }
}

fn attempt(path: &Path, trial: Trial, names: &Names) -> Outcome {
    match trial {
        Trial::Unspecified => Err(First(Errno::INVAL)),
        Trial::Read => read(path).map_err(First),
        Trial::Write => make(path, names, file),
        Trial::MakeDirectory => make(path, names, directory),
        Trial::Rename => rename(path, names),
        Trial::Link => link(path, names),
    }
}

fn number(path: &Path, trial: Trial, outcome: Outcome) -> u32 {
    let raw = |e: Errno| u32::try_from(e.raw_os_error()).unwrap_or(u32::from(u16::MAX));
    match outcome {
        Ok(()) => 0,
        Err(Later(errno)) => raw(errno) | TrialFlag::TrialHalf as u32,
        Err(First(errno)) => {
            let wanted = if trial == Trial::Read { Access::READ_OK } else { Access::WRITE_OK };
            // Permission bits are all that this call looks at, and read-only mounts, which
            // are another error.
            let mode = errno == Errno::ACCESS
                && rustix::fs::accessat(CWD, path, wanted, AtFlags::empty()) == Err(Errno::ACCESS);
            raw(errno) | if mode { TrialFlag::TrialOwnMode as u32 } else { 0 }
        }
    }
}

fn is_directory(file: impl AsFd) -> Result<bool, Errno> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode) == FileType::Directory)
}

fn read(path: &Path) -> Result<(), Errno> {
    // A FIFO must not hold the probe up.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    if !is_directory(&file)? {
        return match rustix::io::read(&file, &mut [0u8; 1]) {
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(e) => Err(e),
        };
    }
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(&file, &mut buffer);
    while let Some(entry) = entries.next() {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(());
        }
    }
    Err(Errno::NODATA)
}

type Make = fn(BorrowedFd<'_>, &Names) -> Outcome;

/// Makes something in a directory; opens anything else for writing and leaves it as it is.
fn make(path: &Path, names: &Names, made: Make) -> Outcome {
    let place = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(First)?;
    if is_directory(&place).map_err(First)? {
        return made(place.as_fd(), names);
    }
    match rustix::fs::open(path, WRITE, Mode::empty()) {
        // A device without a machine behind it: the permission was there.
        Ok(_) | Err(Errno::NXIO) => Ok(()),
        Err(e) => Err(First(e)),
    }
}

const WRITE: OFlags = OFlags::WRONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

fn file(place: BorrowedFd<'_>, names: &Names) -> Outcome {
    let flags = WRITE | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    rustix::fs::openat(place, &names.first, flags, Mode::RUSR).map_err(First)?;
    carry_through(place, names, AtFlags::empty())
}

fn directory(place: BorrowedFd<'_>, names: &Names) -> Outcome {
    rustix::fs::mkdirat(place, &names.first, Mode::RWXU).map_err(First)?;
    carry_through(place, names, AtFlags::REMOVEDIR)
}

/// A tree in which things can be made, but neither renamed nor removed, is not what was
/// promised either.
fn carry_through(place: BorrowedFd<'_>, names: &Names, remove: AtFlags) -> Outcome {
    let renamed =
        rustix::fs::renameat_with(place, &names.first, place, &names.second, RenameFlags::NOREPLACE);
    // Not every filesystem knows the flag.
    let renamed = match renamed {
        Err(Errno::INVAL) => rustix::fs::renameat(place, &names.first, place, &names.second),
        other => other,
    };
    let last = if renamed.is_ok() { &names.second } else { &names.first };
    let removed = rustix::fs::unlinkat(place, last, remove);
    renamed.and(removed).map_err(Later)
}

/// The directory that holds a path, and the path's name in it.
fn beside(path: &Path) -> Result<(rustix::fd::OwnedFd, &OsStr), Failed> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(First(Errno::BUSY));
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok((rustix::fs::open(parent, flags, Mode::empty()).map_err(First)?, name))
}

fn rename(path: &Path, names: &Names) -> Outcome {
    let (place, name) = beside(path)?;
    rustix::fs::renameat(&place, name, &place, &names.first).map_err(First)?;
    rustix::fs::renameat(&place, &names.first, &place, name).map_err(Later)
}

fn link(path: &Path, names: &Names) -> Outcome {
    let (place, name) = beside(path)?;
    rustix::fs::linkat(&place, name, &place, &names.first, AtFlags::empty()).map_err(First)?;
    rustix::fs::unlinkat(&place, &names.first, AtFlags::empty()).map_err(Later)
}

/// Names that nobody else has.
struct Names {
    first: String,
    second: String,
}

impl Names {
    fn new() -> Self {
        let mut number = [0u8; 16];
        // SAFETY: the pointer and the length are those of one array that outlives the call.
        let filled = unsafe { libc::getrandom(number.as_mut_ptr().cast(), number.len(), 0) };
        debug_assert_eq!(filled, 16, "so few bytes come whole");
        let number = u128::from_ne_bytes(number);
        Self {
            first: format!(".cordon-probe-{number:032x}a"),
            second: format!(".cordon-probe-{number:032x}b"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_proto::guest::PathTrials;
    use std::os::unix::fs::PermissionsExt as _;

    fn tried(path: &Path, trials: &[Trial]) -> Vec<u32> {
        let trials = PathTrials {
            path: path.as_os_str().as_bytes().to_vec().into(),
            trials: trials.iter().map(|t| (*t).into()).collect(),
        };
        let mut response = ProbeResponse::default();
        look(&ProbeRequest { trials: vec![trials], ..Default::default() }, &mut response);
        response.trials
    }

    const ALL: [Trial; 5] = [Trial::Read, Trial::Write, Trial::MakeDirectory, Trial::Rename, Trial::Link];
    const NODATA: u32 = libc::ENODATA.cast_unsigned();
    const PERM: u32 = libc::EPERM.cast_unsigned();
    const NOENT: u32 = libc::ENOENT.cast_unsigned();

    #[test]
    fn everything_that_worked_is_undone() {
        let place = tempfile::tempdir().unwrap();
        let (tree, kept) = (place.path().join("tree"), place.path().join("kept"));
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(&kept, b"kept").unwrap();
        // Directories have no hard links.
        assert_eq!(tried(&tree, &ALL), [NODATA, 0, 0, 0, PERM]);
        assert_eq!(tried(&kept, &ALL), [0; 5]);
        assert_eq!(tried(&place.path().join("missing"), &ALL), [NOENT; 5]);
        assert_eq!(std::fs::read(&kept).unwrap(), b"kept");
        assert_eq!(std::fs::read_dir(&tree).unwrap().count(), 0);
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 2);
        assert_eq!(
            tried(place.path(), &[Trial::Read, Trial::Unspecified]),
            [0, libc::EINVAL.cast_unsigned()]
        );
    }

    #[test]
    fn a_refusal_by_permission_bits_says_so() {
        if rustix::process::geteuid().is_root() {
            // Permission bits refuse root nothing.
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let shut = place.path().join("shut");
        std::fs::write(&shut, b"x").unwrap();
        std::fs::set_permissions(&shut, std::fs::Permissions::from_mode(0o0)).unwrap();
        let refused = libc::EACCES.cast_unsigned() | TrialFlag::TrialOwnMode as u32;
        assert_eq!(tried(&shut, &[Trial::Read, Trial::Write]), [refused; 2]);
    }
}
