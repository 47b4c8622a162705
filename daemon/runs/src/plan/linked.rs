//! Files with several names. Whoever writes one by a name in a writable tree writes it by the
//! other names too, wherever they are: so it is read-only unless all of them are writable anyway.
//! And what is hidden by one name is hidden by all.

use super::{PlanError, contexts::View, guards::MOST_CARVED, staged::Realm};
use cordon_policy::{Access, Origin, Source};
use cordon_snapshots::Linked;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

/// The names seen of each file that has several, by device and inode.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<(u64, u64), Seen>);

#[derive(Debug, Default)]
struct Seen {
    links: u64,
    names: BTreeSet<PathBuf>,
}

impl Names {
    pub(super) fn add(&mut self, root: &Path, linked: Vec<Linked>) {
        for file in linked {
            let seen = self.0.entry((file.device, file.inode)).or_default();
            seen.links = seen.links.max(file.links);
            seen.names.insert(root.join(OsStr::from_bytes(&file.path)));
        }
    }

    /// A context path that is a file. The user named this very content to be written: it is
    /// never narrowed itself, and counts as a name of its.
    pub(super) fn add_file(&mut self, path: &Path) {
        if let Ok(meta) = path.symlink_metadata()
            && meta.nlink() > 1
        {
            let seen = self.0.entry((meta.dev(), meta.ino())).or_default();
            seen.links = seen.links.max(meta.nlink());
            seen.names.insert(path.to_path_buf());
        }
    }
}

impl View<'_> {
    /// Hides what is hidden by another name, and makes read-only what has another name where the
    /// agent must not write. Last of all: it depends on what every other rule grants.
    pub(super) fn narrow_linked(&mut self) -> Result<(), PlanError> {
        let names = std::mem::take(&mut self.names);
        let mut narrowed = Vec::new();
        for seen in names.0.into_values() {
            let hidden = seen.names.iter().any(|path| self.access_at(path) == Access::None);
            if hidden {
                let shown = seen.names.into_iter().filter(|path| self.access_at(path) > Access::None);
                narrowed.extend(shown.filter(|p| self.granted_at(p).is_none()).map(|p| (p, Access::None)));
                continue;
            }
            // A fork has files of its own: in there the names of one fork are all that it has, and
            // what is written by them is written nowhere else.
            let mut realms: BTreeMap<Realm, Vec<PathBuf>> = BTreeMap::new();
            for path in seen.names {
                realms.entry(self.staging.realm(&path)).or_default().push(path);
            }
            for (realm, names) in realms {
                let all = match realm {
                    Realm::Live => seen.links,
                    Realm::Fork(_) => names.len() as u64,
                };
                let writable: Vec<PathBuf> =
                    names.into_iter().filter(|path| self.access_at(path) == Access::Write).collect();
                if (writable.len() as u64) < all {
                    let free = writable.into_iter().filter(|path| self.granted_at(path).is_none());
                    narrowed.extend(free.map(|path| (path, Access::Read)));
                }
            }
        }
        if narrowed.len() > MOST_CARVED
            && let Some((one, _)) = narrowed.first()
        {
            let root = self.root_of(one).unwrap_or(one).to_path_buf();
            let why = format!(
                "{} files have other names outside the writable trees, or hidden ones (hard links), \
                 {one:?} for one, and at most {MOST_CARVED} can be kept apart",
                narrowed.len()
            );
            let error = PlanError::path("tree", root, why, "Use a copy of the tree, which has no hard links");
            return Err(match self.place_of(one) {
                Some(place) => error.at(place),
                None => error,
            });
        }
        for (path, access) in narrowed {
            let origin = Origin { source: Source::HardLink, place: self.place_of(&path).cloned() };
            self.rule(&path, access, origin);
        }
        Ok(())
    }
}
