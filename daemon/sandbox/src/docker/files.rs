//! What every container has mounted besides its own: made once in the state
//! directory, the one place that the engine is known to see at the same path. A
//! daemon that is a container itself has its guest where the engine has none.

use super::names;
use crate::SandboxError;
use std::{
    fs::{DirBuilder, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

#[derive(Debug)]
pub(super) struct Files {
    /// The guest: this release's, whatever an update puts beside cordond later.
    pub(super) guest: PathBuf,
    /// Hides a directory.
    pub(super) empty_directory: PathBuf,
    /// Hides a file: nobody may read it.
    pub(super) empty_file: PathBuf,
}

impl Files {
    pub(super) fn make(state: &Path, guest: &Path) -> Result<Self, SandboxError> {
        let empty = state.join("empty");
        let (empty_directory, empty_file) = (empty.join("dir"), empty.join("file"));
        for directory in [&empty, &empty_directory] {
            make_directory(directory)?;
        }
        match OpenOptions::new().write(true).create_new(true).mode(0o0).open(&empty_file) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(SandboxError::io("make", &empty_file)(error));
            }
            _ => {}
        }
        Ok(Self { guest: copy_guest(state, guest)?, empty_directory, empty_file })
    }
}

fn make_directory(path: &Path) -> Result<(), SandboxError> {
    DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(SandboxError::io("make", path))
}

/// Named by its content: the containers of an earlier release keep theirs.
fn copy_guest(state: &Path, guest: &Path) -> Result<PathBuf, SandboxError> {
    let content = std::fs::read(guest).map_err(|error| SandboxError::Unavailable {
        what: "the guest".to_owned(),
        why: format!("{}: {error}", guest.display()),
        fix: "Build it with `make build`, and put it beside cordond or name it with --guest".to_owned(),
    })?;
    let directory = state.join("guest");
    make_directory(&directory)?;
    let path = directory.join(format!("cordon-guest-{}", names::content_hash(&content)));
    // What is there may be half of a copy that a crash left unsynced.
    if std::fs::read(&path).is_ok_and(|found| found == content) {
        return Ok(path);
    }
    let write = || -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&directory)?;
        file.write_all(&content)?;
        file.as_file().set_permissions(Permissions::from_mode(0o755))?;
        file.as_file().sync_all()?;
        file.persist(&path)?;
        Ok(())
    };
    write().map_err(SandboxError::io("copy the guest to", &path))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_guest_is_copied_once_for_each_content() {
        let state = tempfile::tempdir().unwrap();
        let guest = state.path().join("guest-built");
        fs::write(&guest, "one").unwrap();
        let first = Files::make(state.path(), &guest).unwrap();
        assert_eq!(fs::metadata(&first.guest).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(Files::make(state.path(), &guest).unwrap().guest, first.guest);
        // A damaged copy is put right, a new release gets a copy of its own.
        fs::write(&first.guest, "on").unwrap();
        assert_eq!(Files::make(state.path(), &guest).unwrap().guest, first.guest);
        assert_eq!(fs::read(&first.guest).unwrap(), b"one");
        fs::write(&guest, "two").unwrap();
        assert_ne!(Files::make(state.path(), &guest).unwrap().guest, first.guest);
        assert_eq!(fs::read(&first.guest).unwrap(), b"one");
    }

    #[test]
    fn a_missing_guest_says_what_to_do() {
        let state = tempfile::tempdir().unwrap();
        let error = Files::make(state.path(), Path::new("/nowhere/cordon-guest")).unwrap_err();
        assert!(error.is_refusal() && error.to_string().contains("make build"), "{error}");
    }

    #[test]
    fn what_hides_can_neither_be_read_nor_entered_into() {
        let state = tempfile::tempdir().unwrap();
        let guest = state.path().join("g");
        fs::write(&guest, "").unwrap();
        let files = Files::make(state.path(), &guest).unwrap();
        assert_eq!(fs::metadata(&files.empty_file).unwrap().permissions().mode() & 0o777, 0);
        assert_eq!(fs::read_dir(&files.empty_directory).unwrap().count(), 0);
    }
}
