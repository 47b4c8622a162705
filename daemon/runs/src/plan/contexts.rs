//! The trees of one agent as rules: its workspace, the user's context paths, and what its
//! backend needs. What stands inside is computed from the rules, and from nothing else.

use super::{
    Host, Peers, PlanError, Purpose, Request, Staged, Workspace, linked::Names, staged::Staging, workspace,
};
use cordon_backends::Needs;
use cordon_config::{ContextPath, WriteMode};
use cordon_policy::{Access, Fact, MountKind, Origin, Place, Policy, Rule, Source};
use cordon_sandbox::{Identity, PathEntry, PathKind, PathSource, WallKind};
use std::{
    collections::HashMap,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// More mounts than these are not made for one sandbox. Both walls stand with so many, but take
/// long: on a busy machine the local one half a minute, an engine a whole one.
const MOST_MOUNTS: usize = 4_000;

/// A tree that the agent file names, or that the agent has anyway.
pub(super) struct Root<'a> {
    pub(super) path: PathBuf,
    /// None: the workspace.
    pub(super) context: Option<&'a ContextPath>,
    pub(super) is_directory: bool,
}

pub(super) struct View<'a> {
    pub(super) host: &'a Host,
    pub(super) request: &'a Request<'a>,
    pub(super) workspace: &'a Workspace,
    pub(super) roots: Vec<Root<'a>>,
    /// The narrowest access of each path that a rule speaks of.
    granted: HashMap<PathBuf, Access>,
    /// Where each root was written.
    places: HashMap<PathBuf, Place>,
    pub(super) names: Names,
    pub(super) staging: Staging,
    rules: Vec<Rule>,
    watched: Vec<PathBuf>,
    logins: HashMap<PathBuf, (PathBuf, PathKind)>,
    /// What else stands inside at another place than on the host.
    mounts: HashMap<PathBuf, (PathBuf, PathKind)>,
    peers: Option<Peers>,
    warnings: Vec<String>,
}

pub(super) struct Built {
    pub(super) rules: Vec<Rule>,
    pub(super) watched: Vec<PathBuf>,
    pub(super) sources: Sources,
    pub(super) warnings: Vec<String>,
}

/// Where what stands inside comes from, where that is not the same path outside.
pub(super) struct Sources {
    logins: HashMap<PathBuf, (PathBuf, PathKind)>,
    mounts: HashMap<PathBuf, (PathBuf, PathKind)>,
    staging: Staging,
    peers: Option<Peers>,
}

impl<'a> View<'a> {
    pub(super) fn new(host: &'a Host, request: &'a Request<'a>, workspace: &'a Workspace) -> Self {
        Self {
            host,
            request,
            workspace,
            roots: Vec::new(),
            granted: HashMap::new(),
            places: HashMap::new(),
            names: Names::default(),
            staging: Staging::default(),
            rules: Vec::new(),
            watched: Vec::new(),
            logins: HashMap::new(),
            mounts: HashMap::new(),
            peers: None,
            warnings: Vec::new(),
        }
    }

    /// The workspace and the context paths. All of them, before anything inside them is looked
    /// at: what is said of a name depends on which tree it is in.
    pub(super) fn add_roots(&mut self, contexts: &'a [ContextPath]) -> Result<(), PlanError> {
        let path = self.workspace.path.clone();
        let agent = self.request.agent;
        let place = agent.cwd.is_some().then(|| agent.cwd_place.clone());
        self.rule(&path, Access::Write, Origin { source: Source::Workspace, place });
        self.places.insert(path.clone(), agent.cwd_place.clone());
        self.roots.push(Root { path: path.clone(), context: None, is_directory: true });
        self.watched.push(path);
        let mut first: HashMap<PathBuf, &ContextPath> = HashMap::new();
        for context in contexts {
            let (path, is_directory) = self.look(context).map_err(|e| e.at(&context.place))?;
            self.contradiction(&path, context, first.get(&path).copied())?;
            let again = first.insert(path.clone(), context).is_some();
            let access = access(context);
            let origin = Origin { source: Source::ContextPath, place: Some(context.place.clone()) };
            if path == self.workspace.path {
                // Guarded like every context path, and what lifts a guard is written there.
                self.rules.retain(|rule| rule.path != path);
            }
            self.rule(&path, access, origin);
            self.places.insert(path.clone(), context.place.clone());
            let direct = context.write && context.write_mode == WriteMode::Legacy;
            if direct && is_directory && !again && path != self.workspace.path {
                self.watched.push(path.clone());
            }
            self.roots.push(Root { path, context: Some(context), is_directory });
        }
        self.staging.settle(self.host, self.request, &self.roots);
        Ok(())
    }

    /// The other agents' trees.
    pub(super) fn add_peers(&mut self, peers: &Peers) {
        self.rule(&peers.inside, Access::Read, Origin::built_in(Source::PeersView));
        self.peers = Some(peers.clone());
    }

    /// One path, named twice.
    fn contradiction(
        &mut self,
        path: &Path,
        context: &ContextPath,
        earlier: Option<&ContextPath>,
    ) -> Result<(), PlanError> {
        if let Some(earlier) = earlier
            && earlier.write
            && context.write
            && earlier.write_mode != context.write_mode
            && path != self.workspace.path
        {
            return Err(PlanError::Contradiction {
                path: path.to_path_buf(),
                first: mode(earlier.write_mode),
                first_at: Box::new(earlier.place.clone()),
                second: mode(context.write_mode),
                second_at: Box::new(context.place.clone()),
                fix: "Take one of them out, or give both the same write_mode",
            });
        }
        let (first, first_at) = match earlier {
            Some(earlier) => (permission(earlier.write), &earlier.place),
            None if path == self.workspace.path => ("the workspace", &self.request.agent.cwd_place),
            None => return Ok(()),
        };
        if earlier.map_or(context.write, |earlier| earlier.write == context.write) {
            self.warnings.push(format!(
                "{} is named twice: it is {first} ({first_at}) and {} ({})",
                path.to_string_lossy().escape_debug(),
                permission(context.write),
                context.place
            ));
            return Ok(());
        }
        Err(PlanError::Contradiction {
            path: path.to_path_buf(),
            first,
            first_at: Box::new(first_at.clone()),
            second: permission(context.write),
            second_at: Box::new(context.place.clone()),
            fix: "Take one of them out, or give both the same permission",
        })
    }

    /// The real path of a context path, and whether it is a directory.
    fn look(&self, context: &ContextPath) -> Result<(PathBuf, bool), PlanError> {
        let bad = |why: String, fix: &str| PlanError::path("context path", &context.path, why, fix);
        let root = workspace::real_path("context path", &context.path)?;
        if let Some(why) = workspace::reserved(self.host, &root) {
            return Err(bad(why, "Name another path"));
        }
        let meta = root.symlink_metadata().map_err(PlanError::io("look at the context path", &root))?;
        let identity = self.workspace.identity;
        let bits = match (meta.uid() == identity.uid, meta.gid() == identity.gid) {
            (true, _) => 0o200,
            (false, true) => 0o020,
            (false, false) => 0o002,
        };
        if context.write && meta.mode() & bits == 0 && self.request.purpose != Purpose::Look {
            return Err(bad(
                format!("the agent runs as uid {}, which may not write there", identity.uid),
                "Give it to that user, or name an absolute cwd that belongs to the user who may",
            ));
        }
        if !meta.is_file() && !meta.is_dir() {
            return Err(bad("it is neither a file nor a directory".into(), "Name a file or directory"));
        }
        Ok((root, meta.is_dir()))
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
            self.logins.insert(login.inside.clone(), (login.host.clone(), PathKind::File));
            self.rule(&login.inside, Access::Read, Origin::built_in(Source::Credential));
        }
        if let Some(kept) = &needs.kept {
            // It is there before the sandbox is made.
            let store = cordon_logins::Store::new(&self.host.state);
            let view = store.place(self.request.owner.uid, kept.kind).view(kept.source);
            self.logins.insert(kept.inside(), (view, PathKind::Directory));
            self.rule(&kept.inside(), Access::Read, Origin::built_in(Source::Credential));
        }
        Ok(())
    }

    pub(super) fn rule(&mut self, path: &Path, access: Access, origin: Origin) {
        let granted = self.granted.entry(path.to_path_buf()).or_insert(access);
        *granted = access.min(*granted);
        self.rules.push(Rule { path: path.to_path_buf(), access, origin });
    }

    pub(super) fn warn(&mut self, what: String) {
        self.warnings.push(what);
    }

    /// Says what of the host stands at a place inside.
    pub(super) fn mounted(&mut self, inside: &Path, host: &Path, kind: PathKind) {
        self.mounts.insert(inside.to_path_buf(), (host.to_path_buf(), kind));
    }

    /// What the rules so far grant at a path.
    pub(super) fn access_at(&self, path: &Path) -> Access {
        path.ancestors().find_map(|p| self.granted.get(p)).copied().unwrap_or(Access::None)
    }

    /// The innermost root that a path is, or is in.
    pub(super) fn root_of<'p>(&self, path: &'p Path) -> Option<&'p Path> {
        path.ancestors().find(|p| self.places.contains_key(*p))
    }

    /// Where the tree around a path was written.
    pub(super) fn place_of(&self, path: &Path) -> Option<&Place> {
        self.places.get(self.root_of(path)?)
    }

    /// What exactly one rule says of a path, when one does.
    pub(super) fn granted_at(&self, path: &Path) -> Option<Access> {
        self.granted.get(path).copied()
    }

    pub(super) fn build(self) -> Built {
        let sources =
            Sources { logins: self.logins, mounts: self.mounts, staging: self.staging, peers: self.peers };
        Built { rules: self.rules, watched: self.watched, sources, warnings: self.warnings }
    }
}

impl Sources {
    /// What stands inside, from the rules alone.
    pub(super) fn view(&self, policy: &Policy) -> Result<Vec<PathEntry>, PlanError> {
        let fact = |path: &Path| self.fact(path);
        let mounts = policy.compile(fact, MOST_MOUNTS).map_err(PlanError::Unenforceable)?;
        let entry = |mount: cordon_policy::Mount<'_>| {
            let login = match mount.rule.origin.source {
                Source::Credential => self.logins.get(&mount.path),
                _ => None,
            };
            let (source, access) = match mount.kind {
                MountKind::Hidden => (PathSource::Empty, Access::None),
                MountKind::ReadOnly => (PathSource::Host(self.outside(&mount.path)), Access::Read),
                MountKind::Writable | MountKind::Pin => {
                    (PathSource::Host(self.outside(&mount.path)), Access::Write)
                }
            };
            PathEntry {
                source: login.map_or(source, |(host, _)| PathSource::Host(host.clone())),
                kind: if mount.is_directory { PathKind::Directory } else { PathKind::File },
                access,
                // A login is read; so is what comes with one, while a directory may hold tools.
                execute: login.is_none()
                    && self.mounts.get(&mount.path).is_none_or(|m| m.1 == PathKind::Directory),
                path: mount.path,
            }
        };
        Ok(mounts.into_iter().map(entry).collect())
    }

    /// What is staged, for these rules.
    pub(super) fn staged(self, policy: &Policy) -> Vec<Staged> {
        self.staging.finish(policy)
    }

    /// What stands at a path of the agent's: what will stand there, where nothing does yet.
    fn fact(&self, path: &Path) -> Fact {
        match self.logins.get(path) {
            Some((_, PathKind::File)) => return Fact::File,
            Some((_, PathKind::Directory)) => return Fact::Directory,
            None => {}
        }
        match self.mounts.get(path) {
            Some((_, PathKind::File)) => return Fact::File,
            Some((_, PathKind::Directory)) => return Fact::Directory,
            None => {}
        }
        if self.peers.as_ref().is_some_and(|peers| peers.inside == path) {
            return Fact::Directory;
        }
        match self.staging.held(path) {
            Some(PathKind::Directory) => Fact::Directory,
            Some(PathKind::File) => Fact::File,
            None => seen(path),
        }
    }

    fn outside(&self, path: &Path) -> PathBuf {
        if let Some((host, _)) = self.mounts.get(path) {
            return host.clone();
        }
        match &self.peers {
            Some(peers) if peers.inside == path => peers.outside.clone(),
            _ => self.staging.outside(path),
        }
    }
}

pub(super) fn seen(path: &Path) -> Fact {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => Fact::Directory,
        Ok(meta) if meta.is_file() => Fact::File,
        Ok(meta) if meta.is_symlink() => Fact::Link,
        Ok(_) => Fact::Special,
        Err(_) => Fact::Absent,
    }
}

fn access(context: &ContextPath) -> Access {
    if context.write { Access::Write } else { Access::Read }
}

fn permission(write: bool) -> &'static str {
    if write { "a context path with permission: write" } else { "a context path to read" }
}

fn mode(mode: WriteMode) -> &'static str {
    match mode {
        WriteMode::Staged => "a context path that is staged",
        WriteMode::Legacy => "a context path with write_mode: legacy",
    }
}
