//! The view: which host trees stand inside, with which access, and what is carved out.

use super::{Host, PlanError, Workspace, host_entry, placeholders::Made, protected, workspace};
use cordon_backends::Needs;
use cordon_config::ContextPath;
use cordon_policy::{Access, Origin, Rule, Source};
use cordon_sandbox::{Identity, PathEntry, PathKind, PathSource, WallKind};
use cordon_snapshots::{EntryKind, Index};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Component, Path, PathBuf},
};

/// More carved-out names than this in one context path, and it is too wide to guard.
const MOST_CARVED: usize = 2_000;

pub(super) struct View<'a> {
    host: &'a Host,
    workspace: &'a Workspace,
    entries: BTreeMap<PathBuf, PathEntry>,
    rules: Vec<Rule>,
    watched: Vec<PathBuf>,
}

pub(super) struct Built {
    pub(super) paths: Vec<PathEntry>,
    pub(super) rules: Vec<Rule>,
    pub(super) watched: Vec<PathBuf>,
}

impl<'a> View<'a> {
    pub(super) fn new(host: &'a Host, workspace: &'a Workspace) -> Self {
        Self { host, workspace, entries: BTreeMap::new(), rules: Vec::new(), watched: Vec::new() }
    }

    pub(super) fn add_workspace(&mut self) {
        let path = self.workspace.path.clone();
        self.put(host_entry(&path, PathKind::Directory, Access::Write, true));
        self.rule(&path, Access::Write, Origin::built_in(Source::Workspace));
        self.watched.push(path);
    }

    /// The backend's program and logins.
    pub(super) fn add_backend(
        &mut self,
        needs: &Needs,
        wall: WallKind,
        identity: Identity,
    ) -> Result<(), PlanError> {
        if wall == WallKind::Local {
            for path in &needs.programs {
                let meta = path.metadata().map_err(PlanError::io("look at the program", path))?;
                let kind = if meta.is_dir() { PathKind::Directory } else { PathKind::File };
                self.put(host_entry(path, kind, Access::Read, true));
                self.rule(path, Access::Read, Origin::built_in(Source::Program));
            }
        }
        for login in &needs.logins {
            let meta =
                login.host.symlink_metadata().map_err(PlanError::io("look at the login", &login.host))?;
            if !meta.is_file() {
                return Err(PlanError::path(
                    "login",
                    &login.host,
                    "it is not a regular file",
                    "Log in again",
                ));
            }
            if meta.uid() != identity.uid && meta.mode() & 0o004 == 0 {
                return Err(PlanError::path(
                    "login",
                    &login.host,
                    format!("the agent runs as uid {}, which may not read it", identity.uid),
                    "Run cordond as the user who owns the login, or give an API key",
                ));
            }
            self.put(PathEntry {
                path: login.inside.clone(),
                source: PathSource::Host(login.host.clone()),
                kind: PathKind::File,
                access: Access::Read,
                execute: false,
            });
            self.rule(&login.inside, Access::Read, Origin::built_in(Source::Credential));
        }
        Ok(())
    }

    pub(super) fn add_context(&mut self, context: &ContextPath, made: &mut Made) -> Result<(), PlanError> {
        let bad = |why: String, fix: &str| PlanError::path("context path", &context.path, why, fix);
        let root = workspace::real_path("context path", &context.path)?;
        if let Some(why) = workspace::reserved(self.host, &root) {
            return Err(bad(why, "Name a smaller path"));
        }
        let meta = root.metadata().map_err(PlanError::io("look at the context path", &root))?;
        let access = if context.write { Access::Write } else { Access::Read };
        let identity = self.workspace.identity;
        let bits = match (meta.uid() == identity.uid, meta.gid() == identity.gid) {
            (true, _) => 0o200,
            (false, true) => 0o020,
            (false, false) => 0o002,
        };
        if context.write && meta.mode() & bits == 0 {
            return Err(bad(
                format!("the agent runs as uid {}, which may not write there", identity.uid),
                "Give it to that user, or name an absolute cwd that belongs to the user who may",
            ));
        }
        let origin = Origin { source: Source::ContextPath, place: Some(context.place.clone()) };
        if meta.is_file() {
            self.put(host_entry(&root, PathKind::File, access, true));
            self.rule(&root, access, origin);
            return Ok(());
        }
        if !meta.is_dir() {
            return Err(bad("it is neither a file nor a directory".into(), "Name a file or directory"));
        }
        self.put(host_entry(&root, PathKind::Directory, access, true));
        self.rule(&root, access, origin);
        if context.write {
            self.watched.push(root.clone());
        }
        let index = cordon_snapshots::index(&root)
            .map_err(|e| bad(e.to_string(), "Make it readable for the user that runs cordond"))?;
        let unread = |line: &&String| !line.ends_with("Permission denied (os error 13)");
        if let Some(why) = index.incomplete.iter().find(unread) {
            return Err(bad(format!("not all of it could be looked at ({why})"), "Name a smaller path"));
        }
        self.carve(context, &root, &index)?;
        for name in &context.protected {
            self.protect(context, &root, name, &index, made)?;
        }
        if context.write {
            self.hold_absent(context, &root, &index, made)?;
        }
        Ok(())
    }

    /// Built-in names that are there.
    fn carve(&mut self, context: &ContextPath, root: &Path, index: &Index) -> Result<(), PlanError> {
        let mut carved: Vec<PathBuf> = Vec::new();
        for (bytes, entry) in &index.entries {
            let relative = Path::new(OsStr::from_bytes(bytes));
            let is_file = entry.kind != EntryKind::Directory;
            let Some((access, source)) = protected::verdict(relative, context.write, is_file) else {
                continue;
            };
            let path = root.join(relative);
            if protected::lifted(&context.allow, relative) || path.starts_with(&self.workspace.path) {
                continue;
            }
            // What is hidden or read-only already covers what is below it, unless the lower is narrower.
            if carved.last().is_some_and(|above| path.starts_with(above)) && access == Access::Read {
                continue;
            }
            if carved.len() >= MOST_CARVED {
                return Err(PlanError::path(
                    "context path",
                    root,
                    format!("more than {MOST_CARVED} names in it must be guarded"),
                    "Name a smaller path",
                ));
            }
            if entry.kind == EntryKind::Link {
                // Nothing can be mounted on a link. To see a hidden one is harmless: what it points
                // at is judged by its own name.
                if access == Access::Read {
                    return Err(PlanError::path(
                        "context path",
                        path,
                        "it is a symbolic link, which no mount can protect",
                        "Replace the link, or name it under `allow` of the context path",
                    ));
                }
                continue;
            }
            let kind = if is_file { PathKind::File } else { PathKind::Directory };
            self.narrow(&path, kind, access, Origin::built_in(source));
            carved.push(path);
        }
        Ok(())
    }

    fn protect(
        &mut self,
        context: &ContextPath,
        root: &Path,
        name: &Path,
        index: &Index,
        made: &mut Made,
    ) -> Result<(), PlanError> {
        let bad =
            |why: &str| PlanError::path("protected path", name, why, "Name a path inside the context path");
        let given = context.path.join(name);
        let relative = given
            .strip_prefix(&context.path)
            .or_else(|_| given.strip_prefix(root))
            .map_err(|_| bad("it is not inside its context path"))?;
        if !relative.components().all(|c| matches!(c, Component::Normal(_))) {
            return Err(bad("it leaves its context path"));
        }
        let origin = Origin { source: Source::ProtectedPath, place: Some(context.place.clone()) };
        let path = root.join(relative);
        match index.entries.get(relative.as_os_str().as_bytes()).map(|e| e.kind) {
            Some(EntryKind::Link) => Err(bad("it is a symbolic link, which no mount can protect")),
            Some(EntryKind::Special) => Err(bad("it is neither a file nor a directory")),
            Some(EntryKind::Directory) => {
                self.narrow(&path, PathKind::Directory, Access::Read, origin);
                Ok(())
            }
            Some(EntryKind::File) => {
                self.narrow(&path, PathKind::File, Access::Read, origin);
                Ok(())
            }
            None if !context.write => Ok(()),
            None => self.hold(root, relative, PathKind::File, origin, made),
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
            let name = Path::new(name);
            let absent = !index.entries.contains_key(name.as_os_str().as_bytes());
            if absent && !protected::lifted(&context.allow, name) {
                self.hold(root, name, kind, Origin::built_in(source), made)?;
            }
        }
        Ok(())
    }

    fn hold(
        &mut self,
        root: &Path,
        relative: &Path,
        kind: PathKind,
        origin: Origin,
        made: &mut Made,
    ) -> Result<(), PlanError> {
        let mut parent = root.to_path_buf();
        let mut components = relative.components().peekable();
        while let Some(component) = components.next() {
            let name = Path::new(component.as_os_str());
            let path = parent.join(name);
            let last = components.peek().is_none();
            match path.symlink_metadata() {
                Ok(meta) if meta.is_dir() && !last => parent = path,
                // Held before, as the beginning of another name, or a file where a directory
                // would have to be: either way the name below cannot appear.
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    let kind = if last { kind } else { PathKind::Directory };
                    if made.make(&parent, name, kind, self.workspace.identity)? {
                        self.narrow(&path, kind, Access::Read, origin);
                    }
                    return Ok(());
                }
                Err(error) => return Err(PlanError::io("look at", path)(error)),
            }
        }
        Ok(())
    }

    /// Narrows the access at `path` below a context path.
    fn narrow(&mut self, path: &Path, kind: PathKind, access: Access, origin: Origin) {
        let source = match access {
            Access::None => PathSource::Empty,
            _ => PathSource::Host(path.to_path_buf()),
        };
        self.put(PathEntry { path: path.to_path_buf(), source, kind, access, execute: true });
        self.rule(path, access, origin);
    }

    /// A mount is worth little if a directory above it can be renamed and another put in its
    /// place: every directory between an entry and the writable tree around it becomes a mount of
    /// its own, which no one inside can rename.
    fn pin(&mut self) {
        let mut pins = BTreeSet::new();
        for path in self.entries.keys() {
            for above in path.ancestors().skip(1) {
                match self.entries.range(..=above.to_path_buf()).rev().find(|(p, _)| above.starts_with(p)) {
                    Some((around, entry)) if entry.access == Access::Write && around != above => {
                        pins.insert(above.to_path_buf());
                    }
                    _ => break,
                }
            }
        }
        for pin in pins {
            self.put(host_entry(&pin, PathKind::Directory, Access::Write, true));
        }
    }

    /// The narrower of two entries for a path stays.
    fn put(&mut self, entry: PathEntry) {
        match self.entries.get(&entry.path) {
            Some(old) if old.access <= entry.access => {}
            _ => {
                self.entries.insert(entry.path.clone(), entry);
            }
        }
    }

    fn rule(&mut self, path: &Path, access: Access, origin: Origin) {
        self.rules.push(Rule { path: path.to_path_buf(), access, origin });
    }

    pub(super) fn build(mut self) -> Built {
        self.pin();
        Built { paths: self.entries.into_values().collect(), rules: self.rules, watched: self.watched }
    }
}
