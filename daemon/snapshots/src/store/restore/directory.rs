//! A directory that is being filled.

use crate::store::{disk::open_dir, error::shown};
use rustix::{fd::OwnedFd, fs::fstat, io::Errno};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicUsize};

pub(super) struct Directory {
    pub(super) parent: Option<Arc<Self>>,
    pub(super) name: Box<[u8]>,
    pub(super) depth: usize,
    pub(super) mode: u32,
    pub(super) mtime: (i64, u32),
    /// What of it is not there yet.
    pub(super) pending: AtomicUsize,
    /// Device and inode.
    is: (u64, u64),
    /// Far above the directories at hand it is closed, and found again by `..`.
    fd: Mutex<Option<Arc<OwnedFd>>>,
}

impl Directory {
    pub(super) fn new(
        parent: Option<Arc<Self>>,
        name: Box<[u8]>,
        fd: OwnedFd,
        mode: u32,
        mtime: (i64, u32),
    ) -> Result<Self, Errno> {
        let (is, depth) = (identity(&fd)?, parent.as_ref().map_or(0, |p| p.depth + 1));
        let (pending, fd) = (AtomicUsize::new(0), Mutex::new(Some(Arc::new(fd))));
        Ok(Self { parent, name, depth, mode, mtime, pending, is, fd })
    }

    fn held(&self) -> MutexGuard<'_, Option<Arc<OwnedFd>>> {
        self.fd.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fd(&self) -> Option<Arc<OwnedFd>> {
        self.held().clone()
    }

    pub(super) fn forget(&self) {
        *self.held() = None;
    }

    /// Leaves the directory, back to the one above.
    pub(super) fn close(&self) -> Result<Arc<OwnedFd>, Errno> {
        let fd = self.held().take().ok_or(Errno::BADF)?;
        if let Some(parent) = &self.parent {
            let mut above = parent.held();
            if above.is_none() {
                let up = open_dir(&fd, "..")?;
                if identity(&up)? != parent.is {
                    return Err(Errno::STALE);
                }
                *above = Some(Arc::new(up));
            }
        }
        Ok(fd)
    }

    /// The directory as many levels up.
    pub(super) fn above(&self, levels: usize) -> Option<&Self> {
        let mut at = self;
        for _ in 0..levels {
            at = at.parent.as_deref()?;
        }
        Some(at)
    }

    /// The names from the directory `above` down to this one.
    pub(super) fn names_from(&self, above: usize) -> Vec<&[u8]> {
        let (mut names, mut at) = (Vec::new(), self);
        while let Some(parent) = at.parent.as_deref().filter(|_| at.depth > above) {
            names.push(&*at.name);
            at = parent;
        }
        names.reverse();
        names
    }

    /// What to call a name in it.
    pub(super) fn shown(&self, name: &[u8]) -> String {
        let mut path = self.names_from(0).join(&b'/');
        if !path.is_empty() && !name.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        format!("{:?} of the restored tree", shown(&path))
    }
}

fn identity(fd: &OwnedFd) -> Result<(u64, u64), Errno> {
    fstat(fd).map(|stat| (stat.st_dev, stat.st_ino))
}

impl Drop for Directory {
    /// One after the other: ten thousand levels are too deep for the stack.
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(mut directory) = next.and_then(Arc::into_inner) {
            next = directory.parent.take();
        }
    }
}
