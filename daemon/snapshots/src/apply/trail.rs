//! The way down into a directory, however deep, with few descriptors.

use super::fsops::{Identity, own};
use crate::live;
use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    io::Errno,
};
use std::collections::VecDeque;

/// Descriptors that are held; above them a directory is opened again, and has to be the same one.
const HELD: usize = 64;

pub(super) struct Trail<'a> {
    top: BorrowedFd<'a>,
    names: Vec<(Vec<u8>, Identity)>,
    held: VecDeque<OwnedFd>,
}

impl<'a> Trail<'a> {
    pub(super) fn new(top: BorrowedFd<'a>) -> Self {
        Self { top, names: Vec::new(), held: VecDeque::new() }
    }

    /// How many directories below the top.
    pub(super) fn depth(&self) -> usize {
        self.names.len()
    }

    pub(super) fn here(&self) -> BorrowedFd<'_> {
        self.held.back().map_or(self.top, |fd| fd.as_fd())
    }

    pub(super) fn down(&mut self, name: &[u8]) -> Result<(), Errno> {
        let fd = live::open_directory(self.here(), name)?;
        self.names.push((name.to_vec(), own(fd.as_fd())?));
        self.held.push_back(fd);
        if self.held.len() > HELD {
            self.held.pop_front();
        }
        Ok(())
    }

    /// Leaves a directory; gives its name. At the top: nothing.
    pub(super) fn up(&mut self) -> Result<Option<Vec<u8>>, Errno> {
        let Some((left, _)) = self.names.pop() else { return Ok(None) };
        self.held.pop_back();
        if let (true, Some((_, identity))) = (self.held.is_empty(), self.names.last()) {
            let names: Vec<_> = self.names.iter().map(|(name, _)| name.as_slice()).collect();
            let fd = live::open_directory(self.top, &names.join(&b'/'))?;
            if own(fd.as_fd())? != *identity {
                return Err(Errno::STALE);
            }
            self.held.push_back(fd);
        }
        Ok(Some(left))
    }
}
