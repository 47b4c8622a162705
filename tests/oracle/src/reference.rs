//! What the rules say, told once more by somebody who takes no short cut: paths are walked
//! name by name, every rule is looked at each time, and nothing is shared with the product but
//! the words for access.

use crate::operation::{Attempt, Verb};
use cordon_policy::Access;
use std::{
    collections::VecDeque,
    ffi::OsString,
    path::{Component, Path, PathBuf},
};

/// The rules as a plain list.
#[derive(Debug)]
pub struct Reference<'a>(pub &'a [(PathBuf, Access)]);

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    /// Without links, dots and doubled slashes.
    pub path: PathBuf,
    /// Whether the way there leads through a directory that nobody inside can see.
    pub hidden_way: bool,
}

impl Reference<'_> {
    fn access(&self, path: &Path) -> Access {
        let above = self.0.iter().filter(|(rule, _)| path.starts_with(rule));
        let nearest = above.clone().map(|(rule, _)| rule.components().count()).max();
        let of_nearest = above.filter(|(rule, _)| Some(rule.components().count()) == nearest);
        of_nearest.map(|(_, access)| *access).min().unwrap_or(Access::None)
    }

    fn is_seen(&self, path: &Path) -> bool {
        let leads = |(rule, access): &(PathBuf, Access)| rule.starts_with(path) && *access > Access::None;
        let ruled = self.0.iter().any(|(rule, _)| path.starts_with(rule));
        // A hidden directory is there, and empty; above the rules only the way to them is.
        ruled || self.0.iter().any(leads)
    }

    fn writes(&self, path: &Path) -> bool {
        self.access(path) == Access::Write
    }

    /// Follows a path as the kernel would on the host.
    #[must_use]
    pub fn walk(&self, path: &Path, follow_last: bool) -> Option<Place> {
        let mut at = PathBuf::from("/");
        let mut hidden_way = false;
        let names =
            |path: &Path| path.components().map(|c| c.as_os_str().to_owned()).collect::<VecDeque<OsString>>();
        let mut left = names(path);
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            match Path::new(&name).components().next()? {
                Component::RootDir => at = PathBuf::from("/"),
                Component::CurDir | Component::Prefix(_) => {}
                Component::ParentDir => drop(at.pop()),
                Component::Normal(name) => {
                    hidden_way |= !self.is_seen(&at);
                    let next = at.join(name);
                    let is_link = next.symlink_metadata().is_ok_and(|m| m.is_symlink());
                    if is_link && (follow_last || !left.is_empty()) {
                        links += 1;
                        // Nobody inside can read the link: what hides it is all they see.
                        hidden_way |= self.access(&next) == Access::None;
                        let mut more = names(&next.read_link().ok()?);
                        more.append(&mut left);
                        left = more;
                    } else {
                        hidden_way |= !left.is_empty()
                            && self.access(&next) == Access::None
                            && self.0.iter().any(|(rule, _)| next.starts_with(rule));
                        at = next;
                    }
                    if links > 40 {
                        return None;
                    }
                }
            }
        }
        Some(Place { path: at, hidden_way })
    }

    /// Whether the rules allow it; none: the path leads nowhere, or through what is not there inside.
    #[must_use]
    pub fn allows(&self, attempt: &Attempt) -> Option<bool> {
        let follow = !matches!(attempt.verb, Verb::Create | Verb::Delete | Verb::Rename | Verb::Link);
        let place = self.walk(&attempt.path, follow)?;
        let end = attempt.to.as_ref().map(|to| self.walk(to, false)).map_or(Some(None), |p| p.map(Some))?;
        if place.hidden_way || end.as_ref().is_some_and(|end| end.hidden_way) {
            return None;
        }
        // Every rule here is the root of a tree of its own, which stays where it is, and holds
        // everything above it.
        let removes =
            |path: &Path| self.makes(path) && !self.0.iter().any(|(rule, _)| rule.starts_with(path));
        let path = &place.path;
        Some(match attempt.verb {
            Verb::Read | Verb::List | Verb::Execute => self.access(path) >= Access::Read,
            Verb::Write => self.writes(path),
            Verb::Create => self.makes(path),
            Verb::Delete => removes(path),
            Verb::Rename => removes(path) && self.makes(&end?.path),
            Verb::Link => self.makes(path) && self.makes(&end?.path),
        })
    }

    /// Names come and go where the directory that holds them may be written, but for the root of a
    /// tree.
    fn makes(&self, path: &Path) -> bool {
        let is_root = self.0.iter().any(|(rule, _)| rule == path);
        !is_root && self.writes(path) && path.parent().is_some_and(|parent| self.writes(parent))
    }
}
