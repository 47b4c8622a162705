//! Trees that are filled once, never changed, and seen by several through hard links.
//!
//! A sealed tree is a cache: it is there as long as somebody holds it, and what an earlier process
//! left never counts, so that a crash at any moment leaves nothing that could be taken for one.

use crate::{ForkError, farm, open, remove};
use rustix::{
    fs::{self, Mode},
    io::Errno,
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};

/// Trees of one name at one time: one that is used, and others on their way out.
const MOST_NAMESAKES: usize = 10_000;

/// The sealed trees of this process, in a directory of its own.
#[derive(Debug)]
pub struct Sealed {
    at: PathBuf,
    trees: Mutex<BTreeMap<String, Weak<SealedTree>>>,
}

/// One of them. It goes when nobody holds it any more; what was linked from it stays.
#[derive(Debug)]
pub struct SealedTree {
    /// Where it is, as soon as all of it is there.
    place: Mutex<Option<PathBuf>>,
}

impl Sealed {
    /// `at` is canonical; it is made when it is needed.
    #[must_use]
    pub fn new(at: PathBuf) -> Self {
        Self { at, trees: Mutex::default() }
    }

    /// The tree of this name. The first who asks fills the empty directory that he is given,
    /// the others wait for him. One name stands for one content and one owner.
    ///
    /// # Errors
    /// When it cannot be made or filled; nothing of it is left then, and the next one tries again.
    pub fn hold<E: From<ForkError>>(
        &self,
        name: &str,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<Arc<SealedTree>, E> {
        let tree = {
            let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
            trees.retain(|_, tree| tree.strong_count() > 0);
            match trees.get(name).and_then(Weak::upgrade) {
                Some(tree) => tree,
                None => {
                    let tree = Arc::new(SealedTree { place: Mutex::default() });
                    trees.insert(name.to_owned(), Arc::downgrade(&tree));
                    tree
                }
            }
        };
        let mut place = tree.place.lock().unwrap_or_else(PoisonError::into_inner);
        if place.is_none() {
            let made = self.make(name)?;
            if let Err(error) = fill(&made) {
                // The error that matters is the one that stopped it.
                let _ = remove::tree(&made);
                return Err(error);
            }
            *place = Some(made);
        }
        drop(place);
        Ok(tree)
    }

    /// A directory that was not there: one of that name may be on its way out, or be left from
    /// an earlier process.
    fn make(&self, name: &str) -> Result<PathBuf, ForkError> {
        let first = self.at.join(name);
        let parent = open::parent_made(&first)?;
        for count in 0..MOST_NAMESAKES {
            let name = if count == 0 { name.to_owned() } else { format!("{name}.{count}") };
            match fs::mkdirat(&parent, &name, Mode::RWXU) {
                Ok(()) => return Ok(self.at.join(name)),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(ForkError::io("make the directory", self.at.join(name))(errno)),
            }
        }
        Err(ForkError::Exists(first))
    }

    /// Removes one of the directories that an earlier process left. Nobody may hold it.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove_left(&self, name: &str) -> Result<(), ForkError> {
        remove::tree(&self.at.join(name))
    }
}

impl SealedTree {
    /// Makes the empty directory `target` look like this tree: its directories and links are made
    /// anew, its files are the same ones under another name. False: the files cannot have another
    /// name there, and `target` holds part of the tree.
    ///
    /// # Errors
    /// When the system refuses anything else.
    pub fn link_into(&self, target: &Path) -> Result<bool, ForkError> {
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner).clone();
        place.map_or(Ok(false), |place| farm::link(&place, target))
    }
}

impl Drop for SealedTree {
    fn drop(&mut self) {
        if let Some(place) = self.place.get_mut().unwrap_or_else(PoisonError::into_inner) {
            // What is left goes when the next process begins.
            let _ = remove::tree(place);
        }
    }
}

#[cfg(test)]
mod tests;
