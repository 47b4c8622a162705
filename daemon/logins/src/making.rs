//! A private directory, in which a program makes a login.

use crate::{Locked, LoginError, Place, files::Directory};
use cordon_backends::LoginKind;
use rustix::fs::{self, Gid, Uid};
use std::path::{Path, PathBuf};

const MAKING: &str = "making";
/// Where the program writes, below what nobody but the daemon gets through.
const INSIDE: &str = "copy";

/// A login that is being made. Its place is not locked meanwhile: a person takes minutes, and
/// agents go on to use the login that is there.
#[derive(Debug)]
pub struct Making {
    place: Directory,
    kind: &'static LoginKind,
    inside: PathBuf,
}

impl Locked {
    /// Makes an empty directory that this user may write. Only one at a time can be made of a
    /// place: what another has begun is gone.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make(&self, user: (u32, u32)) -> Result<Making, LoginError> {
        self.directory.remove_tree(MAKING)?;
        let inside = self.directory.make_private(MAKING)?.make_private(INSIDE)?;
        if rustix::process::geteuid().is_root() {
            let (uid, gid) = (Uid::from_raw(user.0), Gid::from_raw(user.1));
            fs::fchown(&inside.fd, Some(uid), Some(gid))
                .map_err(LoginError::io("give away", &inside.path))?;
        }
        Ok(Making { place: Directory::open(self.path())?, kind: self.kind, inside: inside.path })
    }
}

impl Making {
    /// The directory that the sandbox has mounted, to be written.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.inside
    }

    /// What the program has left there, none when it left nothing. It is only read as far as a
    /// login is long, and nothing that is no plain file is read at all.
    ///
    /// # Errors
    /// When it is no file, is too large, or cannot be read.
    pub fn result(&self) -> Result<Option<Vec<u8>>, LoginError> {
        let Some(made) = self.place.find(MAKING)? else { return Ok(None) };
        let Some(inside) = made.find(INSIDE)? else { return Ok(None) };
        inside.read(self.kind.file)
    }

    /// Takes everything away.
    ///
    /// # Errors
    /// When something stays.
    pub fn done(&self) -> Result<(), LoginError> {
        self.place.remove_tree(MAKING)
    }
}

impl Place {
    /// Takes away what somebody began to make. Only when nobody makes any.
    pub(crate) fn forget_unfinished(&self) -> Result<(), LoginError> {
        let place = self.directory();
        if !place.join(MAKING).is_dir() {
            return Ok(());
        }
        Directory::open(&place)?.remove_tree(MAKING)
    }
}
