//! Files with several names: who comes first makes the file, the others link to it.

use super::directory::Directory;
use crate::{
    store::{
        disk::open_dir,
        error::{StoreError, io},
    },
    tree::ContentId,
};
use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, linkat},
    io::Errno,
};
use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

#[derive(Default)]
pub(super) struct Links {
    all: Mutex<HashMap<u32, Made>>,
    changed: Condvar,
}

enum Made {
    /// Somebody is at it.
    Soon,
    Never,
    There(Arc<Directory>, Box<[u8]>, ContentId),
}

impl Links {
    fn all(&self) -> MutexGuard<'_, HashMap<u32, Made>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn make(
        &self,
        group: u32,
        id: &ContentId,
        directory: &Arc<Directory>,
        name: &[u8],
        make: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut all = self.all();
        let (first, first_name) = loop {
            match all.get(&group) {
                None => {
                    all.insert(group, Made::Soon);
                    drop(all);
                    let made = make();
                    let is = match &made {
                        Ok(()) => Made::There(Arc::clone(directory), name.into(), *id),
                        Err(_) => Made::Never,
                    };
                    self.all().insert(group, is);
                    self.changed.notify_all();
                    return made;
                }
                Some(Made::Soon) => all = self.changed.wait(all).unwrap_or_else(PoisonError::into_inner),
                // Who failed to make it says why.
                Some(Made::Never) => return Ok(()),
                Some(Made::There(.., had)) if had != id => {
                    let (what, why) = (directory.shown(name), "names of one file have different contents");
                    return Err(StoreError::Damaged { what, why });
                }
                Some(Made::There(first, first_name, _)) => break (Arc::clone(first), first_name.clone()),
            }
        };
        drop(all);
        link(&first, &first_name, directory, name).map_err(|e| io("link", directory.shown(name))(e))
    }
}

/// From the directory at hand to the first name: both below the root, each step without a link.
fn link(first: &Directory, first_name: &[u8], to: &Directory, name: &[u8]) -> Result<(), Errno> {
    let here = to.fd().ok_or(Errno::BADF)?;
    let (mut a, mut b) = (first, to);
    while !std::ptr::eq(a, b) {
        let (up_a, up_b) = (a.depth >= b.depth, b.depth >= a.depth);
        if up_a {
            a = a.parent.as_deref().ok_or(Errno::STALE)?;
        }
        if up_b {
            b = b.parent.as_deref().ok_or(Errno::STALE)?;
        }
    }
    let mut at: Option<OwnedFd> = None;
    for _ in a.depth..to.depth {
        at = Some(open_dir(at.as_ref().unwrap_or(&here), "..")?);
    }
    for part in first.names_from(a.depth) {
        at = Some(open_dir(at.as_ref().unwrap_or(&here), part)?);
    }
    linkat(at.as_ref().unwrap_or(&here), first_name, &*here, name, AtFlags::empty())
}
