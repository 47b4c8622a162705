use crate::{LoginError, files::Directory, person};
use cordon_backends::{Ends, Facts, LOGIN_KINDS, LoginKind, LoginSource};
use rustix::fs::{self, FlockOperation, Mode, OFlags};
use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

/// To be passed by whoever a sandbox's processes are.
const VIEW: Mode = Mode::RWXU.union(Mode::RGRP).union(Mode::XGRP).union(Mode::ROTH).union(Mode::XOTH);
/// To be read by them, and written by nobody.
const SHOWN: Mode = Mode::RUSR.union(Mode::RGRP).union(Mode::ROTH);

/// The logins below one state directory.
#[derive(Clone, Debug)]
pub struct Store(pub(crate) PathBuf);

/// The login of one owner and backend.
#[derive(Clone, Debug)]
pub struct Place {
    state: PathBuf,
    /// Whose.
    pub owner: u32,
    /// Which program's.
    pub kind: &'static LoginKind,
}

/// The place of a login, while nobody else writes there.
#[derive(Debug)]
pub struct Locked {
    pub(crate) directory: Directory,
    pub(crate) kind: &'static LoginKind,
    _lock: OwnedFd,
}

/// A login as it is now.
#[derive(Clone, Debug)]
pub struct Current {
    /// What it says of itself.
    pub facts: Facts,
    /// Whose.
    pub source: LoginSource,
    pub(crate) content: Vec<u8>,
}

impl Current {
    /// Tells one content from another, and gives nothing of it away.
    #[must_use]
    pub fn mark(&self) -> String {
        mark(&self.content)
    }
}

impl Store {
    /// Below this state directory, whose path has no links in it.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self(state.to_path_buf())
    }

    /// Where the logins of an owner are.
    #[must_use]
    pub fn of(&self, owner: u32) -> PathBuf {
        self.0.join("credentials").join(owner.to_string())
    }

    /// Every login that somebody was renewing when this was asked: owner, program, source.
    #[must_use]
    pub fn left(&self) -> Vec<(Place, LoginSource)> {
        let owners = std::fs::read_dir(self.0.join("credentials")).into_iter().flatten().flatten();
        let mut left = Vec::new();
        for owner in owners.filter_map(|e| e.file_name().to_str()?.parse().ok()) {
            for (kind, source) in LOGIN_KINDS.into_iter().flat_map(|k| LoginSource::ALL.map(|s| (k, s))) {
                let directory = self.of(owner).join(kind.backend.name());
                if directory.join(crate::renewing::directory(source)).is_dir() {
                    left.push((self.place(owner, kind), source));
                }
            }
        }
        left
    }

    /// Takes away what nobody finished to make; where that did not work, and why.
    #[must_use]
    pub fn forget_unfinished(&self) -> Vec<(PathBuf, LoginError)> {
        let owners = std::fs::read_dir(self.0.join("credentials")).into_iter().flatten().flatten();
        let owners = owners.filter_map(|e| e.file_name().to_str()?.parse().ok());
        let places = owners.flat_map(|owner| LOGIN_KINDS.map(|kind| self.place(owner, kind)));
        places.filter_map(|place| Some((place.directory(), place.forget_unfinished().err()?))).collect()
    }

    /// The login of one owner and backend.
    #[must_use]
    pub fn place(&self, owner: u32, kind: &'static LoginKind) -> Place {
        Place { state: self.0.clone(), owner, kind }
    }
}

impl Place {
    /// The directory with the login file in it: what a sandbox has mounted.
    #[must_use]
    pub fn view(&self, source: LoginSource) -> PathBuf {
        self.directory().join(source.directory())
    }

    pub(crate) fn directory(&self) -> PathBuf {
        Store(self.state.clone()).of(self.owner).join(self.kind.backend.name())
    }

    /// Where the file of a login is, and what it says of itself, as it is at this moment; none
    /// where there is no such file. Nothing is written, and nobody waited for.
    ///
    /// # Errors
    /// When it is unusable.
    pub fn look(&self, source: LoginSource, home: &Path) -> Result<Option<(PathBuf, Facts)>, LoginError> {
        let (path, content) = match source {
            LoginSource::Own => {
                let view = self.view(source);
                if !view.is_dir() {
                    return Ok(None);
                }
                (view.join(self.kind.file), Directory::open(&view)?.read(self.kind.file)?)
            }
            LoginSource::Person => match person::read(home, self.kind)? {
                Some(person) => (person.path(), Some(person.content)),
                None => return Ok(None),
            },
        };
        let Some(content) = content else { return Ok(None) };
        let facts = self.kind.look(&content).map_err(|why| LoginError::unusable(&path, why))?;
        Ok(facts.map(|facts| (path, facts)))
    }

    /// Waits until nobody else writes there. Blocks.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn lock(&self) -> Result<Locked, LoginError> {
        let state = Directory::open(&self.state)?;
        let owner = state.make_private("credentials")?.make_private(&self.owner.to_string())?;
        let directory = owner.make_private(self.kind.backend.name())?;
        let path = directory.path.join("lock");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock = fs::openat(&directory.fd, "lock", flags, Mode::RUSR | Mode::WUSR)
            .map_err(LoginError::io("open", &path))?;
        loop {
            match fs::flock(&lock, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Locked { directory, kind: self.kind, _lock: lock }),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(LoginError::io("lock", path)(error)),
            }
        }
    }
}

impl Locked {
    /// The login, and its file where sandboxes see it. The person's own file counts where it
    /// was changed by anybody else since Cordon's copy was made; where it was not, and the copy
    /// was renewed, it gets what is in the copy. `told` comes before anybody can see a content
    /// that was not there before.
    ///
    /// # Errors
    /// When there is none, or it is unusable.
    pub fn current(
        &self,
        source: LoginSource,
        home: &Path,
        told: &mut dyn FnMut(&Facts) -> Result<(), LoginError>,
    ) -> Result<Current, LoginError> {
        let copy = self.shown(source)?;
        if source == LoginSource::Own {
            let path = self.directory.path.join(source.directory()).join(self.kind.file);
            return self.checked(source, copy.ok_or_else(|| LoginError::None(path.clone()))?, &path);
        }
        let Some(person) = person::read(home, self.kind)? else {
            return Err(LoginError::None(home.join(self.kind.personal)));
        };
        match copy.filter(|_| self.follows(&person.content).unwrap_or(false)) {
            // Renewed, and the person's file is what it was renewed from.
            Some(copy) if copy != person.content => {
                let current = self.checked(source, copy, &person.path())?;
                self.give_back(&current, &person)?;
                Ok(current)
            }
            Some(copy) => {
                let current = self.checked(source, copy, &person.path())?;
                // From now on a renewed copy is one that was renewed from this.
                if self.directory.read("kept")?.is_none_or(|kept| kept != current.mark().into_bytes()) {
                    self.follow(&person.content)?;
                }
                Ok(current)
            }
            None => {
                let current = self.checked(source, person.content.clone(), &person.path())?;
                told(&current.facts)?;
                self.show(&current)?;
                self.follow(&person.content)?;
                Ok(current)
            }
        }
    }

    /// Takes a new content for the login: nobody sees it before it is on the disk, and `told`
    /// comes before either.
    ///
    /// # Errors
    /// When it cannot be written. Then it is still where the program left it.
    pub fn renewed(
        &self,
        new: &Current,
        home: &Path,
        told: &mut dyn FnMut(&Facts) -> Result<(), LoginError>,
    ) -> Result<(), LoginError> {
        told(&new.facts)?;
        self.show(new)?;
        if new.source == LoginSource::Person
            && let Some(person) = person::read(home, self.kind)?
            && self.follows(&person.content)?
        {
            self.give_back(new, &person)?;
        }
        Ok(())
    }

    /// Takes what `cordon login` made for Cordon's own login.
    ///
    /// # Errors
    /// When it is none, or cannot be written.
    pub fn keep_own(&self, content: Vec<u8>) -> Result<Current, LoginError> {
        let path = self.directory.path.join(LoginSource::Own.directory()).join(self.kind.file);
        let current = self.checked(LoginSource::Own, content, &path)?;
        self.show(&current)?;
        Ok(current)
    }

    /// Forgets Cordon's own login, and what it keeps of the person's; whether there was one of
    /// its own.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn forget(&self) -> Result<bool, LoginError> {
        let had = self.shown(LoginSource::Own)?.is_some();
        for source in [LoginSource::Own, LoginSource::Person] {
            if let Some(view) = self.directory.find(source.directory())? {
                // Sandboxes that have it mounted see that it is gone.
                view.remove(self.kind.file)?;
            }
            self.directory.remove_tree(&crate::renewing::directory(source))?;
        }
        self.directory.remove("kept")?;
        Ok(had)
    }

    pub(crate) fn checked(
        &self,
        source: LoginSource,
        content: Vec<u8>,
        path: &Path,
    ) -> Result<Current, LoginError> {
        let facts = self.kind.look(&content).map_err(|why| LoginError::unusable(path, why))?;
        let facts = facts.ok_or_else(|| LoginError::unusable(path, "there is no login in it"))?;
        Ok(Current { facts, source, content })
    }

    /// The file as sandboxes see it.
    fn shown(&self, source: LoginSource) -> Result<Option<Vec<u8>>, LoginError> {
        match self.directory.find(source.directory())? {
            Some(view) => view.read(self.kind.file),
            None => Ok(None),
        }
    }

    fn show(&self, current: &Current) -> Result<(), LoginError> {
        let view = self.directory.make(current.source.directory(), VIEW)?;
        view.replace(self.kind.file, &current.content, SHOWN, None, &self.directory)
    }

    fn give_back(&self, current: &Current, person: &person::Person) -> Result<(), LoginError> {
        if person.replace(&current.content)? {
            self.follow(&current.content)?;
        }
        Ok(())
    }

    /// Whether Cordon's copy is this content of the person's file, or was renewed from it.
    fn follows(&self, person: &[u8]) -> Result<bool, LoginError> {
        Ok(self.directory.read("kept")?.is_some_and(|kept| kept == mark(person).into_bytes())
            || self.shown(LoginSource::Person)?.is_some_and(|copy| copy == person))
    }

    fn follow(&self, person: &[u8]) -> Result<(), LoginError> {
        self.directory.keep("kept", mark(person).as_bytes())
    }
}

pub(crate) fn mark(content: &[u8]) -> String {
    blake3::hash(content).to_hex().to_string()
}

/// Whether the second was made of the first by renewing it.
pub(crate) fn is_newer(old: &Facts, new: &Facts) -> bool {
    match (old.ends, new.ends) {
        (Ends::At(old), Ends::At(new)) => new > old,
        _ => false,
    }
}
