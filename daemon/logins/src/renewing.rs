//! A private copy of a login, while its program renews it: written down first, so that what
//! the program left there is found again whenever the daemon ends.

use crate::{
    Current, Locked, LoginError, Place,
    files::Directory,
    place::{is_newer, mark},
};
use cordon_backends::{Facts, LoginSource};
use rustix::fs::{self, Gid, Mode, Uid};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The copy's own directory, below what nobody but the daemon gets through.
const COPY: &str = "copy";

pub(crate) fn directory(source: LoginSource) -> String {
    format!("renewing-{}", source.directory())
}

/// What is remembered of it.
#[derive(Serialize, Deserialize)]
struct Intent {
    /// Of the login that it was copied from.
    from: String,
    /// What the daemon wants to know of the sandbox.
    sandbox: serde_json::Value,
}

/// A login that is being renewed, by this daemon or an earlier one.
#[derive(Debug)]
pub struct Renewing {
    directory: Directory,
    source: LoginSource,
    from: String,
    /// Of the sandbox in which that happens.
    pub sandbox: serde_json::Value,
}

impl Locked {
    /// Makes a copy that this user may write.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn begin(&self, current: &Current, user: (u32, u32)) -> Result<Renewing, LoginError> {
        let name = directory(current.source);
        self.directory.remove_tree(&name)?;
        let made = self.directory.make_private(&name)?;
        let copy = made.make_private(COPY)?;
        let (uid, gid) = (Uid::from_raw(user.0), Gid::from_raw(user.1));
        let root = rustix::process::geteuid().is_root();
        copy.replace(self.kind.file, &current.content, Mode::RUSR | Mode::WUSR, root.then_some(user), &copy)?;
        if root {
            fs::fchown(&copy.fd, Some(uid), Some(gid)).map_err(LoginError::io("give away", &copy.path))?;
        }
        let mut renewing = Renewing {
            directory: made,
            source: current.source,
            from: current.mark(),
            sandbox: serde_json::Value::Null,
        };
        renewing.remember(serde_json::Value::Null)?;
        Ok(renewing)
    }

    /// What an earlier daemon was renewing when it ended: its program may still be at work.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn left(&self, source: LoginSource) -> Result<Option<Renewing>, LoginError> {
        let Some(directory) = self.directory.find(&directory(source))? else { return Ok(None) };
        let intent = directory.read("intent")?.and_then(|text| serde_json::from_slice::<Intent>(&text).ok());
        let Some(Intent { from, sandbox }) = intent else {
            // Never written whole: no program was started yet.
            self.directory.remove_tree(&crate::renewing::directory(source))?;
            return Ok(None);
        };
        Ok(Some(Renewing { directory, source, from, sandbox }))
    }

    /// What the program has made of the copy of this login: none when it did not renew it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn result(&self, renewing: &Renewing, current: &Facts) -> Result<Option<Current>, LoginError> {
        let Some(copy) = renewing.directory.find(COPY)? else { return Ok(None) };
        let Some(content) = copy.read(self.kind.file)? else { return Ok(None) };
        if mark(&content) == renewing.from {
            return Ok(None);
        }
        let Ok(new) = self.checked(renewing.source, content, &copy.path.join(self.kind.file)) else {
            // Half written.
            return Ok(None);
        };
        Ok(is_newer(current, &new.facts).then_some(new))
    }

    /// Whether the copy was made of this login.
    #[must_use]
    pub fn is_of(&self, renewing: &Renewing, current: &Current) -> bool {
        renewing.from == current.mark()
    }

    /// Takes the copy away.
    ///
    /// # Errors
    /// When something stays.
    pub fn done(&self, renewing: Renewing) -> Result<(), LoginError> {
        self.directory.remove_tree(&directory(renewing.source))
    }

    /// Where Cordon's directory of this login is, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.directory.path
    }
}

impl Place {
    /// What is being renewed now, or was when a daemon ended, without waiting for anybody.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn peek(&self, source: LoginSource) -> Result<Option<Renewing>, LoginError> {
        let view = self.view(source);
        let Some(place) = view.parent() else { return Ok(None) };
        let Some(directory) = Directory::open(place)?.find(&directory(source))? else { return Ok(None) };
        let intent = directory.read("intent")?.and_then(|text| serde_json::from_slice::<Intent>(&text).ok());
        Ok(intent.map(|Intent { from, sandbox }| Renewing { directory, source, from, sandbox }))
    }
}

impl Renewing {
    /// The directory that the sandbox has mounted, to be written.
    #[must_use]
    pub fn copy(&self) -> PathBuf {
        self.directory.path.join(COPY)
    }

    /// Writes down what an heir has to know of the sandbox.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn remember(&mut self, sandbox: serde_json::Value) -> Result<(), LoginError> {
        let intent = Intent { from: self.from.clone(), sandbox: sandbox.clone() };
        let text = serde_json::to_vec(&intent).map_err(|e| {
            LoginError::io("write", self.directory.path.join("intent"))(std::io::Error::other(e))
        })?;
        self.directory.keep("intent", &text)?;
        self.sandbox = sandbox;
        Ok(())
    }
}
