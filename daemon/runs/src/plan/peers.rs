//! Where an agent sees the latest snapshots of all.

use super::{Host, PlanError, Request, contexts::Root};
use cordon_policy::machine_tree;
use std::path::{Component, Path, PathBuf};

/// A read-only directory with the others' trees in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers {
    /// The directory on the host: what is put into it appears inside at once.
    pub outside: PathBuf,
    /// Where the agent sees it.
    pub inside: PathBuf,
}

pub(super) fn resolve(host: &Host, request: &Request<'_>, roots: &[Root<'_>]) -> Result<Peers, PlanError> {
    let own = host.state.join("views").join(request.run).join(request.index.to_string());
    let Some(written) = &request.file.agent_temporary_workspace else {
        return Ok(Peers { inside: own.clone(), outside: own });
    };
    let bad = |why: String, fix: &str| PlanError::path("agent_temporary_workspace", written, why, fix);
    if !written.is_absolute() {
        // A `.` says nothing, and `..` leads out.
        let names: PathBuf = written.components().filter(|c| *c != Component::CurDir).collect();
        if !names.components().all(|c| matches!(c, Component::Normal(_))) {
            return Err(bad("it leaves its place".to_owned(), "Use a plain relative path"));
        }
        let place = own.join(names);
        return Ok(Peers { inside: place.clone(), outside: place });
    }
    let inside: PathBuf = written.components().collect();
    if inside.components().any(|c| c == Component::ParentDir) {
        return Err(bad("it has .. in it".to_owned(), "Write the path without"));
    }
    if let Some(tree) = machine_tree(&inside) {
        let why = format!("{tree} belongs to the machine");
        return Err(bad(why, "Name a path of its own, or a relative one"));
    }
    let around = |tree: &Path| inside.starts_with(tree) || tree.starts_with(&inside);
    if around(&host.state) {
        return Err(bad("it is, holds or lies in Cordon's own state".to_owned(), "Use a relative path"));
    }
    if [super::HOME, "/tmp"].iter().any(|own| Path::new(own).starts_with(&inside)) {
        return Err(bad("the sandbox's own places are there".to_owned(), "Name a path of its own"));
    }
    if let Some(root) = roots.iter().find(|root| around(&root.path)) {
        let why = format!("it is, holds or lies in {:?}, which is the agent's", root.path);
        return Err(bad(why, "Name a path outside the agent's trees, or a relative one"));
    }
    Ok(Peers { inside, outside: own })
}
