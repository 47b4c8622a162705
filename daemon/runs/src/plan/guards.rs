//! What is narrowed inside the context paths: protected paths, names that run later or steer
//! agents, and names that look like secrets.

use super::{PlanError, Purpose, contexts::View, placeholders::Made, protected, staged::Realm};
use cordon_config::{ContextPath, Protected};
use cordon_policy::{Access, Origin, Source};
use cordon_sandbox::PathKind;
use cordon_snapshots::{EntryKind, Index};
use std::{
    ffi::OsStr,
    io::ErrorKind,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileTypeExt as _, MetadataExt as _},
    },
    path::{Component, Path},
};

/// More guarded names than this in one tree, and it is too wide to guard.
pub(super) const MOST_CARVED: usize = 2_000;

impl View<'_> {
    /// Looks at every tree, and writes down what is narrowed in it.
    pub(super) fn guard(&mut self, made: &mut Made) -> Result<(), PlanError> {
        let roots: Vec<_> = self.roots.iter().map(|r| (r.path.clone(), r.context, r.is_directory)).collect();
        for (root, context, is_directory) in roots {
            if !is_directory {
                self.names.add_file(&root);
                continue;
            }
            // What Cordon made was empty, and an agent's links lead out of no mount.
            if context.is_none() && self.workspace.made {
                continue;
            }
            let place = context.map_or(&self.request.agent.cwd_place, |c| &c.place).clone();
            let writable = context.is_none_or(|c| c.write);
            let index = self.look_into(&root, writable).map_err(|e| e.at(&place))?;
            let Some(context) = context else { continue };
            let index = &index;
            self.carve(context, &root, index).map_err(|e| e.at(&place))?;
            for name in &context.protected {
                self.protect(context, &root, name, index, made).map_err(|e| e.at(&name.place))?;
            }
            if context.write {
                self.hold_absent(context, &root, index, made)?;
            }
        }
        Ok(())
    }

    fn look_into(&mut self, root: &Path, writable: bool) -> Result<Index, PlanError> {
        let bad = |why: String, fix: &str| PlanError::path("tree", root, why, fix);
        let (index, linked) = cordon_snapshots::index_linked(root)
            .map_err(|e| bad(e.to_string(), "Make it readable for the user that runs cordond"))?;
        let unread = |line: &&String| !line.ends_with("Permission denied (os error 13)");
        // The sandbox stands already: what its agent has made since cannot end it.
        if self.request.purpose != Purpose::Again
            && let Some(why) = index.incomplete.iter().find(unread)
        {
            return Err(bad(format!("not all of it could be looked at ({why})"), "Name a smaller path"));
        }
        if writable {
            self.openable(root, &index)?;
        }
        self.names.add(root, linked);
        Ok(index)
    }

    /// A directory that the daemon cannot look into, and that the agent could make readable.
    fn openable(&self, root: &Path, index: &Index) -> Result<(), PlanError> {
        if rustix::process::geteuid().is_root() {
            return Ok(());
        }
        for (bytes, entry) in &index.entries {
            if entry.kind != EntryKind::Directory || entry.mode & 0o500 == 0o500 {
                continue;
            }
            let path = root.join(OsStr::from_bytes(bytes));
            let owner = path.symlink_metadata().map_err(PlanError::io("look at", &path))?.uid();
            if owner == self.workspace.identity.uid {
                return Err(PlanError::path(
                    "tree",
                    path,
                    "it cannot be looked into, but the agent could make it readable",
                    "Make it readable, or name a smaller path",
                ));
            }
        }
        Ok(())
    }

    /// Built-in names that are there.
    fn carve(&mut self, context: &ContextPath, root: &Path, index: &Index) -> Result<(), PlanError> {
        let (mut carved, mut repeated) = (0, 0);
        for (bytes, entry) in &index.entries {
            let relative = Path::new(OsStr::from_bytes(bytes));
            let path = root.join(relative);
            let is_file = entry.kind != EntryKind::Directory;
            // By its whole path: a context path that is a `.git` itself has hooks like any other.
            let named = protected::verdict(&path, context.write, is_file);
            let Some((access, source)) = named.or_else(|| self.socket(&path, entry.kind)) else { continue };
            // A tree within this one has its own say.
            if self.root_of(&path) != Some(root) || protected::lifted(&context.allow, relative) {
                continue;
            }
            let around = path.parent().map_or(Access::None, |parent| self.access_at(parent));
            if around <= access {
                // Nothing more to mount. It is written down for whoever asks what would allow it.
                // What a link points at is judged by its own name.
                repeated += 1;
                if repeated > MOST_CARVED || entry.kind == EntryKind::Link {
                    continue;
                }
            } else {
                if entry.kind == EntryKind::Link && access == Access::None {
                    // Nothing can be mounted on a link. To see a hidden one is harmless: what it
                    // points at is judged by its own name.
                    continue;
                }
                carved += 1;
            }
            if carved > MOST_CARVED {
                return Err(PlanError::path(
                    "context path",
                    root,
                    format!("more than {MOST_CARVED} names in it must be guarded"),
                    "Name a smaller path",
                ));
            }
            self.rule(&path, access, guard(source, context));
        }
        Ok(())
    }

    /// A program outside may listen behind a socket, and to connect is not to write. In a fork
    /// nobody listens: a socket is known by the file that it was bound to.
    fn socket(&self, path: &Path, kind: EntryKind) -> Option<(Access, Source)> {
        let candidate = kind == EntryKind::Special && self.staging.realm(path) == Realm::Live;
        let is_socket = |path: &Path| path.symlink_metadata().is_ok_and(|m| m.file_type().is_socket());
        (candidate && is_socket(path)).then_some((Access::None, Source::Socket))
    }

    fn protect(
        &mut self,
        context: &ContextPath,
        root: &Path,
        name: &Protected,
        index: &Index,
        made: &mut Made,
    ) -> Result<(), PlanError> {
        let fix = "Name a path inside the context path";
        let bad = |why: &str| PlanError::path("protected path", &name.path, why, fix);
        let given = context.path.join(&name.path);
        let relative = given
            .strip_prefix(&context.path)
            .or_else(|_| given.strip_prefix(root))
            .map_err(|_| bad("it is not inside its context path"))?;
        if relative.as_os_str().is_empty()
            || !relative.components().all(|c| matches!(c, Component::Normal(_)))
        {
            return Err(bad("it leaves its context path, or is all of it"));
        }
        let origin = Origin { source: Source::ProtectedPath, place: Some(name.place.clone()) };
        let path = root.join(relative);
        if self.root_of(&path) == Some(&path)
            && let Some(other) = self.roots.iter().find(|r| r.path == path)
            && other.context.is_none_or(|c| c.write)
        {
            let (second, place) = match other.context {
                Some(context) => ("a context path with permission: write", &context.place),
                None => ("the workspace", &self.request.agent.cwd_place),
            };
            return Err(PlanError::Contradiction {
                path,
                first: "a protected path",
                first_at: Box::new(name.place.clone()),
                second,
                second_at: Box::new(place.clone()),
                fix: "Take one of them out",
            });
        }
        match index.entries.get(relative.as_os_str().as_bytes()).map(|e| e.kind) {
            Some(EntryKind::Link) => Err(bad("it is a symbolic link, which no mount can protect")),
            Some(EntryKind::Special) => Err(bad("it is neither a file nor a directory")),
            Some(EntryKind::Directory | EntryKind::File) => {
                self.rule(&path, Access::Read, origin);
                Ok(())
            }
            None if !context.write => Ok(()),
            None => self.hold(root, relative, PathKind::File, &origin, made),
        }
    }

    /// Built-in names that are not there must not appear: each is held at its first
    /// missing component.
    fn hold_absent(
        &mut self,
        context: &ContextPath,
        root: &Path,
        index: &Index,
        made: &mut Made,
    ) -> Result<(), PlanError> {
        for (name, source, kind) in protected::HELD {
            let Some(kind) = kind else { continue };
            for name in protected::within(root, Path::new(name)) {
                let there = |name: &Path| index.entries.contains_key(name.as_os_str().as_bytes());
                let absent = !there(&name) && protected::only_in(&name).is_none_or(there);
                if absent && !protected::lifted(&context.allow, &name) {
                    self.hold(root, &name, kind, &guard(source, context), made)?;
                }
            }
        }
        Ok(())
    }

    fn hold(
        &mut self,
        root: &Path,
        relative: &Path,
        kind: PathKind,
        origin: &Origin,
        made: &mut Made,
    ) -> Result<(), PlanError> {
        let target = root.join(relative);
        let mut parent = root.to_path_buf();
        let mut components = relative.components().peekable();
        while let Some(component) = components.next() {
            // Where nobody may write nothing appears; and a tree within this one has its own say.
            if self.access_at(&parent) != Access::Write
                || (self.root_of(&parent) != Some(root) && origin.source != Source::ProtectedPath)
            {
                return Ok(());
            }
            let name = Path::new(component.as_os_str());
            let path = parent.join(name);
            let last = components.peek().is_none();
            if let Some(held) = self.staging.held(&path) {
                if held == PathKind::Directory && !last {
                    // Nothing appears in it: the next look finds that nobody may write there.
                    parent = path;
                    continue;
                }
                self.rule(&target, Access::Read, origin.clone());
                return Ok(());
            }
            match path.symlink_metadata() {
                Ok(meta) if meta.is_dir() && !last => parent = path,
                // Whether it can be guarded in spite of what stands in its way, the view says.
                Ok(_) => {
                    self.rule(&target, Access::Read, origin.clone());
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let kind = if last { kind } else { PathKind::Directory };
                    // Where it is a fork that the agent sees, the user's own tree is left as it is.
                    if !self.staging.hold(&path, kind) {
                        made.make(&parent, name, kind, self.workspace.identity)?;
                    }
                    self.rule(&path, Access::Read, origin.clone());
                    return Ok(());
                }
                Err(error) => return Err(PlanError::io("look at", path)(error)),
            }
        }
        Ok(())
    }
}

fn guard(source: Source, context: &ContextPath) -> Origin {
    Origin { source, place: Some(context.place.clone()) }
}
