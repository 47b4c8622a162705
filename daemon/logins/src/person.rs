//! The person's own login file. The home directory is the person's to arrange, and the daemon
//! may be more powerful: only a plain file of the owner's, in a directory of the owner's.

use crate::{LoginError, files::Directory};
use cordon_backends::LoginKind;
use rustix::fs::{self, AtFlags, FileType, Mode};
use std::path::{Path, PathBuf};

/// The directory of the person's file, and what is in the file.
pub(crate) struct Person {
    directory: Directory,
    file: &'static str,
    owner: (u32, u32),
    mode: Mode,
    pub(crate) content: Vec<u8>,
}

/// None where there is no such file.
pub(crate) fn read(home: &Path, kind: &LoginKind) -> Result<Option<Person>, LoginError> {
    let written = home.join(kind.personal);
    let Some(parent) = written.parent() else { return Ok(None) };
    // Its directory may be a link of the person's: what it leads to has to be the person's, too.
    let Ok(parent) = std::fs::canonicalize(parent) else { return Ok(None) };
    let directory = Directory::open(&parent)?;
    let Some(content) = directory.read(kind.file)? else { return Ok(None) };
    let path = parent.join(kind.file);
    let stat = fs::statat(&directory.fd, kind.file, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(LoginError::io("look at", &path))?;
    let whose = std::fs::metadata(home).map_err(LoginError::io("look at", home))?;
    let owner = std::os::unix::fs::MetadataExt::uid(&whose);
    let of = fs::fstat(&directory.fd).map_err(LoginError::io("look at", &parent))?;
    if stat.st_uid != owner || of.st_uid != owner {
        let why = format!("it does not belong to user {owner}, as the home does");
        return Err(LoginError::unusable(path, why));
    }
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(LoginError::unusable(path, "it is not a regular file"));
    }
    let mode = Mode::from_raw_mode(stat.st_mode & 0o777);
    Ok(Some(Person { directory, file: kind.file, owner: (owner, stat.st_gid), mode, content }))
}

impl Person {
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path.join(self.file)
    }

    /// Puts a renewed login in its place, unless somebody else has changed the file since it
    /// was read; whether it did.
    pub(crate) fn replace(&self, content: &[u8]) -> Result<bool, LoginError> {
        if self.directory.read(self.file)?.is_none_or(|now| now != self.content) {
            return Ok(false);
        }
        let own = rustix::process::geteuid().is_root().then_some(self.owner);
        self.directory.replace(self.file, content, self.mode, own, &self.directory)?;
        Ok(true)
    }
}
