//! Where the daemon listens, and whether that place can be trusted: agent files and the secrets
//! they ask for go there.

use crate::error::CliError;
use nix::unistd::Uid;
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// A daemon's socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    pub(crate) path: PathBuf,
    /// Chosen here and not by the person: whoever listens must be this user or root.
    pub(crate) default: bool,
}

impl Socket {
    pub(crate) fn choose(explicit: Option<PathBuf>) -> Result<Self, CliError> {
        match explicit {
            Some(path) => {
                let path = std::path::absolute(&path)
                    .map_err(|source| CliError::Read { path: path.clone(), source })?;
                Ok(Self { path, default: false })
            }
            None => {
                let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
                Ok(Self { path: default_path(Uid::effective(), runtime), default: true })
            }
        }
    }

    /// Refuses a default directory that somebody else could have put there.
    pub(crate) fn check_directory(&self) -> Result<(), CliError> {
        let Some(directory) = self.path.parent().filter(|_| self.default) else { return Ok(()) };
        check(directory, Uid::effective())
    }

    /// Makes the directory when it is missing, for this user alone, and checks it.
    pub(crate) fn prepare_directory(&self) -> Result<(), CliError> {
        let directory = self.path.parent().ok_or_else(|| CliError::Unsafe {
            path: self.path.clone(),
            why: "it has no directory".to_owned(),
        })?;
        make_private(directory)?;
        check(directory, Uid::effective())
    }
}

fn default_path(user: Uid, runtime: Option<PathBuf>) -> PathBuf {
    let directory = match runtime {
        _ if user.is_root() => PathBuf::from("/run/cordon"),
        Some(runtime) if runtime.is_absolute() => runtime.join("cordon"),
        _ => PathBuf::from(format!("/tmp/cordon-{user}")),
    };
    directory.join("cordond.sock")
}

/// Makes a directory with its parents, 0700; an existing one stays as it is.
pub(crate) fn make_private(directory: &Path) -> Result<(), CliError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|source| CliError::Unsafe {
        path: directory.to_owned(),
        why: format!("it cannot be made: {source}"),
    })
}

fn check(directory: &Path, user: Uid) -> Result<(), CliError> {
    let refuse = |why: String| CliError::Unsafe { path: directory.to_owned(), why };
    let found = match fs::symlink_metadata(directory) {
        Ok(found) => found,
        // Nothing there: connecting says so.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(refuse(e.to_string())),
    };
    let mode = found.permissions().mode() & 0o7777;
    if !found.is_dir() {
        return Err(refuse("it is not a directory".to_owned()));
    }
    if found.uid() != user.as_raw() {
        return Err(refuse(format!("it belongs to user {} and not to you ({user})", found.uid())));
    }
    if mode & 0o022 != 0 {
        return Err(refuse(format!("others may write to it (mode {mode:04o}); `chmod 700` it")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_has_a_place() {
        let user = Uid::from_raw(1000);
        for (user, runtime, expected) in [
            (Uid::from_raw(0), Some("/run/user/0"), "/run/cordon/cordond.sock"),
            (user, Some("/run/user/1000"), "/run/user/1000/cordon/cordond.sock"),
            (user, Some("relative"), "/tmp/cordon-1000/cordond.sock"),
            (user, None, "/tmp/cordon-1000/cordond.sock"),
        ] {
            assert_eq!(default_path(user, runtime.map(PathBuf::from)), Path::new(expected));
        }
    }

    #[test]
    fn a_directory_that_others_control_is_refused() {
        let top = std::env::temp_dir().join(format!("cordon-socket-{}", std::process::id()));
        let _ = fs::remove_dir_all(&top);
        make_private(&top.join("mine")).unwrap();
        let me = Uid::effective();
        assert!(check(&top.join("mine"), me).is_ok());
        assert!(check(&top.join("missing"), me).is_ok());

        let other = Uid::from_raw(me.as_raw() + 1);
        assert!(check(&top.join("mine"), other).unwrap_err().to_string().contains("belongs to user"));

        std::os::unix::fs::symlink("mine", top.join("link")).unwrap();
        assert!(check(&top.join("link"), me).unwrap_err().to_string().contains("not a directory"));

        fs::set_permissions(top.join("mine"), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(check(&top.join("mine"), me).unwrap_err().to_string().contains("chmod 700"));
        fs::remove_dir_all(&top).unwrap();
    }
}
