//! Where the daemon keeps and serves things, and whether those places can be trusted.

use crate::{args::Serve, error::StartError};
use nix::unistd::{Uid, User};
use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

const SOCKET: &str = "cordond.sock";

/// The places of this daemon.
#[derive(Debug)]
pub(crate) struct Places {
    /// Canonical.
    pub(crate) state: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) guest: PathBuf,
    pub(crate) program_path: Vec<PathBuf>,
    /// Names the state directory in labels.
    pub(crate) daemon: String,
    /// Held as long as the daemon lives.
    _lock: File,
}

impl Places {
    /// Finds, makes and checks them. One daemon a state directory.
    pub(crate) fn open(args: &Serve) -> Result<Self, StartError> {
        let user = Uid::effective();
        let state = match &args.state_dir {
            Some(path) => path.clone(),
            None => default_state(user, var("XDG_STATE_HOME"), home_of(user, None))?,
        };
        make_private(&state)?;
        let state = state.canonicalize().map_err(StartError::io("find", &state))?;
        own_private(&state, user)?;
        let lock = lock(&state)?;
        let daemon = identity(&state)?;
        let socket = match &args.socket {
            Some(path) => std::path::absolute(path).map_err(StartError::io("find", path))?,
            None => default_socket(user, var("XDG_RUNTIME_DIR")),
        };
        let directory = socket
            .parent()
            .ok_or_else(|| StartError::Invalid(format!("the socket {socket:?} has no directory")))?;
        make_private(directory)?;
        check_directory(directory, user)?;
        let guest = match &args.guest {
            Some(path) => std::path::absolute(path).map_err(StartError::io("find", path))?,
            None => beside()?,
        };
        let path = args.program_path.clone().or_else(|| std::env::var_os("PATH"));
        Ok(Self { state, socket, guest, program_path: directories(path), daemon, _lock: lock })
    }
}

/// Home directory of a user. The environment speaks for the daemon's own.
pub(crate) fn home_of(user: Uid, fallback: Option<PathBuf>) -> Option<PathBuf> {
    let own = || (user == Uid::effective()).then(|| var("HOME")).flatten();
    let listed = || User::from_uid(user).ok().flatten().map(|u| u.dir);
    own().or_else(listed).or(fallback).filter(|p| p.is_absolute())
}

fn var(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute())
}

fn default_state(user: Uid, xdg: Option<PathBuf>, home: Option<PathBuf>) -> Result<PathBuf, StartError> {
    if user.is_root() {
        return Ok(PathBuf::from("/var/lib/cordon"));
    }
    let base = xdg.or_else(|| home.map(|h| h.join(".local/state")));
    base.map(|b| b.join("cordon")).ok_or_else(|| {
        StartError::Invalid("there is no home directory for the state. Give --state-dir".to_owned())
    })
}

fn default_socket(user: Uid, runtime: Option<PathBuf>) -> PathBuf {
    let directory = match runtime {
        _ if user.is_root() => PathBuf::from("/run/cordon"),
        Some(runtime) => runtime.join("cordon"),
        None => PathBuf::from(format!("/tmp/cordon-{user}")),
    };
    directory.join(SOCKET)
}

fn beside() -> Result<PathBuf, StartError> {
    let own = std::env::current_exe().map_err(StartError::io("find", "/proc/self/exe"))?;
    Ok(own.with_file_name("cordon-guest"))
}

/// Absolute directories only: a relative one depends on who asks from where.
fn directories(path: Option<OsString>) -> Vec<PathBuf> {
    let standard = || OsString::from("/usr/local/bin:/usr/bin:/bin");
    let path = path.filter(|p| !p.is_empty()).unwrap_or_else(standard);
    std::env::split_paths(&path).filter(|p| p.is_absolute()).collect()
}

fn make_private(directory: &Path) -> Result<(), StartError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(StartError::io("make the directory", directory))
}

/// The state directory belongs to the daemon's user and to nobody else.
fn own_private(directory: &Path, user: Uid) -> Result<(), StartError> {
    let meta = fs::metadata(directory).map_err(StartError::io("look at", directory))?;
    if meta.uid() != user.as_raw() {
        return Err(StartError::Untrusted {
            path: directory.to_path_buf(),
            why: format!("user {} owns it, and the daemon runs as {user}", meta.uid()),
            fix: "Choose another --state-dir".to_owned(),
        });
    }
    if meta.mode() & 0o077 != 0 {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
            .map_err(StartError::io("close to others the directory", directory))?;
    }
    Ok(())
}

/// Nobody else may replace the socket.
fn check_directory(directory: &Path, user: Uid) -> Result<(), StartError> {
    let refuse = |why: String| StartError::Untrusted {
        path: directory.to_path_buf(),
        why,
        fix: "Remove it, or choose another --socket".to_owned(),
    };
    let meta = fs::symlink_metadata(directory).map_err(StartError::io("look at", directory))?;
    if !meta.is_dir() {
        return Err(refuse("it is not a directory".to_owned()));
    }
    if meta.uid() != user.as_raw() && meta.uid() != 0 {
        return Err(refuse(format!("user {} owns it", meta.uid())));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(refuse(format!("others may write to it (mode {:04o})", meta.mode() & 0o7777)));
    }
    Ok(())
}

fn lock(state: &Path) -> Result<File, StartError> {
    use rustix::fs::{FlockOperation, flock};
    let path = state.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(&path)
        .map_err(StartError::io("open", &path))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut pid = String::new();
        // Only for the message.
        let _ = (&mut file).take(20).read_to_string(&mut pid);
        let holder = match pid.trim() {
            "" => "process unknown".to_owned(),
            pid => format!("process {pid}"),
        };
        return Err(StartError::Locked { path: state.to_path_buf(), holder });
    }
    let written = file.set_len(0).and_then(|()| {
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    });
    written.map_err(StartError::io("write", &path))?;
    Ok(file)
}

/// A random name, made once: labels of sandboxes carry it, so that daemons with
/// different state directories leave each other's alone.
fn identity(state: &Path) -> Result<String, StartError> {
    let path = state.join("identity");
    if let Ok(known) = fs::read_to_string(&path) {
        let known = known.trim().to_owned();
        if known.len() == 32 && known.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(known);
        }
    }
    let fresh = uuid::Uuid::now_v7().simple().to_string();
    let beside = state.join(".identity.new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .map_err(StartError::io("write", &beside))?;
    file.write_all(fresh.as_bytes())
        .and_then(|()| file.sync_data())
        .and_then(|()| fs::rename(&beside, &path))
        .map_err(StartError::io("write", &path))?;
    Ok(fresh)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_follow_the_user() {
        let (root, me) = (Uid::from_raw(0), Uid::from_raw(7));
        let some = |p: &str| Some(PathBuf::from(p));
        assert_eq!(default_state(root, some("/x"), some("/h")).unwrap(), Path::new("/var/lib/cordon"));
        assert_eq!(default_state(me, some("/x"), some("/h")).unwrap(), Path::new("/x/cordon"));
        assert_eq!(default_state(me, None, some("/h")).unwrap(), Path::new("/h/.local/state/cordon"));
        assert!(default_state(me, None, None).is_err());
        assert_eq!(default_socket(root, some("/r")), Path::new("/run/cordon/cordond.sock"));
        assert_eq!(default_socket(me, some("/r")), Path::new("/r/cordon/cordond.sock"));
        assert_eq!(default_socket(me, None), Path::new("/tmp/cordon-7/cordond.sock"));
    }

    #[test]
    fn one_daemon_a_state_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock(dir.path()).unwrap();
        let error = lock(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        lock(dir.path()).unwrap();
    }

    #[test]
    fn the_identity_stays() {
        let dir = tempfile::tempdir().unwrap();
        let first = identity(dir.path()).unwrap();
        assert_eq!(identity(dir.path()).unwrap(), first);
        fs::write(dir.path().join("identity"), "short").unwrap();
        assert_ne!(identity(dir.path()).unwrap(), first);
    }

    #[test]
    fn a_directory_that_others_may_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("d");
        fs::create_dir(&place).unwrap();
        for (mode, good) in [(0o700, true), (0o755, true), (0o775, false), (0o777, false), (0o1777, false)] {
            fs::set_permissions(&place, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(check_directory(&place, Uid::effective()).is_ok(), good, "{mode:o}");
        }
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&place, &link).unwrap();
        assert!(check_directory(&link, Uid::effective()).is_err());
    }

    #[test]
    fn relative_program_directories_are_left_out() {
        assert_eq!(directories(Some("bin:/a:.::/b".into())), [Path::new("/a"), Path::new("/b")]);
        assert!(!directories(None).is_empty());
    }
}
