//! Writable context paths as private forks: what is forked, what of it stays out, and where
//! what an agent sees at the user's path comes from.

use super::{Host, Request, contexts::Root};
use cordon_config::WriteMode;
use cordon_forks::{Fork, ForkError, ForkRequest, Method, Owner};
use cordon_policy::{Access, Policy};
use cordon_sandbox::{Identity, PathKind};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

/// A writable context path that the agent has a private fork of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    /// The user's path, canonical.
    pub path: PathBuf,
    /// Whether it is a directory, or a single file.
    pub is_directory: bool,
    /// The directory of the fork, below the state directory.
    pub fork: PathBuf,
    /// Names that are absent and stay so: something empty stands there in the fork, read-only for
    /// the agent. It is nothing that an agent has made.
    pub hold: Vec<Held>,
    /// Relative paths of what the fork has nothing of, and no snapshot of it either: what is
    /// hidden, and trees of the user's that are not part of the fork.
    pub leave_out: Vec<PathBuf>,
}

/// An absent name that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Relative to the tree.
    pub path: PathBuf,
    /// What stands there.
    pub kind: PathKind,
}

impl Staged {
    /// What stands for the user's path outside.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        cordon_forks::place(&self.fork, &self.path, self.is_directory)
    }

    /// Makes the fork as the sandbox is to find it, with what is held. Blocks, and tells how many
    /// of how many bytes are copied.
    ///
    /// # Errors
    /// When it cannot be made; nothing is left then.
    pub fn make(
        &self,
        method: Method,
        identity: Identity,
        cancel: Option<&AtomicBool>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Fork, ForkError> {
        let identity = Owner { uid: identity.uid, gid: identity.gid };
        let request = ForkRequest {
            at: &self.fork,
            tree: &self.path,
            is_directory: self.is_directory,
            method,
            identity,
            leave_out: &self.leave_out,
            cancel,
        };
        let fork = Fork::make(&request, progress)?;
        for held in &self.hold {
            if let Err(error) = fork.hold(&held.path, held.kind == PathKind::Directory, identity) {
                // The error that matters is the first one.
                let _ = Fork::remove(&self.fork);
                return Err(error);
            }
        }
        Ok(fork)
    }

    /// Relative paths that no snapshot of the fork has: what is left out, and what is held.
    #[must_use]
    pub fn unrecorded(&self) -> Vec<PathBuf> {
        self.leave_out.iter().chain(self.hold.iter().map(|held| &held.path)).cloned().collect()
    }

    fn relative<'p>(&self, path: &'p Path) -> Option<&'p Path> {
        path.strip_prefix(&self.path).ok()
    }
}

/// Where a path of the agent's really is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Realm {
    /// At the same path on the host.
    Live,
    /// In the fork of this number.
    Fork(usize),
}

/// What is staged for one agent.
#[derive(Debug, Default)]
pub(super) struct Staging {
    pub(super) trees: Vec<Staged>,
    /// Of every root.
    realms: BTreeMap<PathBuf, Realm>,
    /// What will stand at absent names, in the forks alone.
    absent: BTreeMap<PathBuf, PathKind>,
}

impl Staging {
    /// Decides for every root where it is. A writable tree in a staged one is part of that fork;
    /// what is read, mounted directly or the workspace stays where it is.
    pub(super) fn settle(&mut self, host: &Host, request: &Request<'_>, roots: &[Root<'_>]) {
        let forks = host.state.join("forks").join(request.run).join(request.index.to_string());
        let mut sorted: Vec<&Root<'_>> = roots.iter().collect();
        sorted.sort_by(|a, b| a.path.cmp(&b.path));
        let mut staged: Vec<&Root<'_>> = Vec::new();
        for root in sorted {
            if self.realms.contains_key(&root.path) {
                continue;
            }
            let forked = root.context.is_some_and(|c| c.write && c.write_mode == WriteMode::Staged)
                // The agent's own tree is changed by the agent, whatever else it is called.
                && !roots.iter().any(|other| other.context.is_none() && other.path == root.path);
            let realm = match (forked, self.realm(&root.path)) {
                (false, _) => Realm::Live,
                (true, around @ Realm::Fork(_)) => around,
                (true, Realm::Live) => {
                    staged.push(root);
                    Realm::Fork(staged.len() - 1)
                }
            };
            self.realms.insert(root.path.clone(), realm);
        }
        self.trees = staged
            .into_iter()
            .enumerate()
            .map(|(number, root)| Staged {
                path: root.path.clone(),
                is_directory: root.is_directory,
                fork: forks.join(number.to_string()),
                hold: Vec::new(),
                leave_out: Vec::new(),
            })
            .collect();
    }

    pub(super) fn realm(&self, path: &Path) -> Realm {
        path.ancestors().find_map(|p| self.realms.get(p)).copied().unwrap_or(Realm::Live)
    }

    /// The fork that a path is in.
    fn tree(&self, path: &Path) -> Option<&Staged> {
        match self.realm(path) {
            Realm::Fork(number) => self.trees.get(number),
            Realm::Live => None,
        }
    }

    /// Where a path of the agent's is on the host.
    pub(super) fn outside(&self, path: &Path) -> PathBuf {
        let Some(tree) = self.tree(path) else { return path.to_path_buf() };
        match tree.relative(path) {
            Some(relative) if !relative.as_os_str().is_empty() => tree.root().join(relative),
            _ => tree.root(),
        }
    }

    /// What will stand at an absent name.
    pub(super) fn held(&self, path: &Path) -> Option<PathKind> {
        self.absent.get(path).copied()
    }

    /// Holds an absent name of a fork; false where the path is in none.
    pub(super) fn hold(&mut self, path: &Path, kind: PathKind) -> bool {
        let Realm::Fork(number) = self.realm(path) else { return false };
        let Some(tree) = self.trees.get_mut(number) else { return false };
        if let (None, Ok(relative)) = (self.absent.get(path), path.strip_prefix(&tree.path)) {
            tree.hold.push(Held { path: relative.to_path_buf(), kind });
            self.absent.insert(path.to_path_buf(), kind);
        }
        true
    }

    /// The forks, with what stays out of them by the rules as they are in the end.
    pub(super) fn finish(mut self, policy: &Policy) -> Vec<Staged> {
        let mut left_out: Vec<(usize, PathBuf)> = Vec::new();
        for (number, tree) in self.trees.iter().enumerate() {
            let hidden = policy
                .below(&tree.path)
                .filter(|rule| rule.access == Access::None && self.realm(&rule.path) == Realm::Fork(number))
                .map(|rule| rule.path.as_path());
            let others = self
                .realms
                .iter()
                .filter(|(path, realm)| **realm != Realm::Fork(number) && path.starts_with(&tree.path))
                .map(|(path, _)| path.as_path());
            let mut paths: Vec<&Path> = hidden.chain(others).filter_map(|path| tree.relative(path)).collect();
            paths.sort_unstable();
            paths.retain(|path| !path.as_os_str().is_empty());
            let mut last: Option<&Path> = None;
            for path in paths {
                if last.is_none_or(|last| !path.starts_with(last)) {
                    left_out.push((number, path.to_path_buf()));
                    last = Some(path);
                }
            }
        }
        for (number, path) in left_out {
            if let Some(tree) = self.trees.get_mut(number) {
                tree.leave_out.push(path);
            }
        }
        self.trees
    }
}
