use super::{HOME, Host, PlanError, Purpose, Request, UNPRIVILEGED};
use cordon_config::BackendKind;
use cordon_policy::machine_tree;
use cordon_sandbox::Identity;
use rustix::fs::{self, AtFlags, Gid, Mode, OFlags, Uid};
use std::{
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

/// An agent's own writable tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// Canonical.
    pub path: PathBuf,
    /// Cordon made it and may remove it on request. An existing directory never is.
    pub made: bool,
    /// Who works in it: its owner.
    pub identity: Identity,
}

/// Whether `path` lies in, or holds, something that must stay the machine's own.
pub(super) fn reserved(host: &Host, path: &Path) -> Option<String> {
    if path == Path::new("/") {
        return Some("it is the whole machine".to_owned());
    }
    if let Some(tree) = machine_tree(path) {
        let how = if path.starts_with(tree) { "lies in" } else { "holds" };
        return Some(format!("it {how} {tree}, which belongs to the machine"));
    }
    if Path::new(HOME).starts_with(path) {
        return Some(format!("inside, {HOME} is the agent's own disposable home"));
    }
    if path == Path::new("/tmp") {
        return Some("inside, /tmp is the agent's own".to_owned());
    }
    if host.state.starts_with(path) {
        return Some("it holds Cordon's own state".to_owned());
    }
    if path.starts_with(&host.state) && !path.starts_with(host.state.join("workspaces")) {
        return Some("it lies in Cordon's own state".to_owned());
    }
    None
}

pub(super) fn resolve(host: &Host, request: &Request<'_>) -> Result<Workspace, PlanError> {
    let fresh = PathBuf::from(request.line.unwrap_or(request.run)).join(&request.agent.id);
    match &request.agent.cwd {
        Some(cwd) if cwd.is_absolute() => existing(host, request, cwd),
        Some(cwd) => own(host, request, &PathBuf::from(request.owner.uid.to_string()).join(cwd)),
        None => own(host, request, &fresh),
    }
}

/// Resolves a path that a user wrote. Links are followed only where root made them: one that
/// an agent left behind in an earlier run would lead this one to a tree that nobody named.
pub(super) fn real_path(what: &'static str, path: &Path) -> Result<PathBuf, PlanError> {
    let fix = "Name a file or directory that exists; a relative cwd is made by Cordon";
    let fail = |e: std::io::Error| PlanError::path(what, path, e.to_string(), fix);
    let mut real = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => real.push(name),
            Component::ParentDir => {
                real.pop();
                continue;
            }
            _ => continue,
        }
        let meta = real.symlink_metadata().map_err(fail)?;
        if meta.is_symlink() {
            let target = real.canonicalize().map_err(fail)?;
            if meta.uid() != 0 {
                let why = format!("{} is a symbolic link, which an agent may have made", real.display());
                return Err(PlanError::path(
                    what,
                    path,
                    why,
                    format!("Name the real path: {}", target.display()),
                ));
            }
            real = target;
        }
    }
    Ok(real)
}

fn existing(host: &Host, request: &Request<'_>, cwd: &Path) -> Result<Workspace, PlanError> {
    let bad = |why: &str, fix: &str| PlanError::path("workspace", cwd, why, fix);
    let path = real_path("workspace", cwd)?;
    let meta = path.metadata().map_err(PlanError::io("look at the workspace", &path))?;
    if !meta.is_dir() {
        return Err(bad("it is not a directory", "Name a directory"));
    }
    if let Some(why) = reserved(host, &path) {
        return Err(bad(&why, "Choose another directory"));
    }
    let identity = Identity { uid: meta.uid(), gid: meta.gid() };
    if identity.uid == 0 || identity.gid == 0 {
        return Err(bad(
            "root owns it, and agents never run as root",
            "Give it to an ordinary user and group, or use a relative cwd: Cordon makes that one",
        ));
    }
    if request.owner.uid != 0 && request.owner.uid != identity.uid {
        return Err(bad("another user owns it", "Use a directory of your own"));
    }
    Ok(Workspace { path, made: false, identity })
}

/// A workspace below the state directory, made when it is not there yet.
fn own(host: &Host, request: &Request<'_>, relative: &Path) -> Result<Workspace, PlanError> {
    if !relative.components().all(|c| matches!(c, Component::Normal(_))) {
        return Err(PlanError::path(
            "workspace",
            relative,
            "it leaves its place",
            "Use a plain relative path",
        ));
    }
    let owner = request.owner;
    let identity = if owner.uid == 0 { UNPRIVILEGED } else { Identity { uid: owner.uid, gid: owner.gid } };
    let path = make_directories(&host.state, &Path::new("workspaces").join(relative), identity)?;
    Ok(Workspace { path, made: true, identity })
}

/// Where the home of an agent whose program keeps one is; made when it is not there yet.
pub(super) fn home(
    host: &Host,
    request: &Request<'_>,
    identity: Identity,
) -> Result<Option<PathBuf>, PlanError> {
    let keeps = !matches!(request.agent.backend, BackendKind::Command | BackendKind::Replay);
    let Some(line) = request.line.filter(|_| keeps && request.purpose != Purpose::Look) else {
        return Ok(None);
    };
    let relative = crate::home::relative(line, &request.agent.id);
    if request.purpose == Purpose::Again {
        return Ok(Some(host.state.join(relative)));
    }
    make_directories(&host.state, &relative, identity).map(Some)
}

/// Makes a directory below the state directory component by component, following no
/// link; the last one belongs to `identity`.
fn make_directories(state: &Path, relative: &Path, identity: Identity) -> Result<PathBuf, PlanError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut path = state.to_path_buf();
    let mut fd = fs::open(state, flags, Mode::empty()).map_err(PlanError::io("open", state))?;
    for component in relative.components() {
        path.push(component);
        match fs::mkdirat(&fd, component.as_os_str(), Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(PlanError::io("make", path)(error)),
        }
        fd = fs::openat(&fd, component.as_os_str(), flags, Mode::empty())
            .map_err(PlanError::io("open", path.clone()))?;
    }
    if rustix::process::geteuid().is_root() {
        let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
        fs::chownat(&fd, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
            .map_err(PlanError::io("hand over", path.clone()))?;
    }
    Ok(path)
}
