use crate::{
    entry::Entry,
    error::RunError,
    record::{AgentRecord, RunRecord},
    runs::{Runs, check_key},
};
use cordon_proto::v1;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

/// An agent's own tree.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    pub(crate) path: PathBuf,
    made: bool,
    run: String,
    agent: String,
    used_ms: i64,
    in_use: bool,
    last: Option<(Option<PathBuf>, String)>,
}

impl Runs {
    /// The workspaces of an owner, the one used last first.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn workspaces(&self, owner: u32) -> Result<Vec<v1::Workspace>, RunError> {
        self.blocking("list the workspaces", move |runs| {
            let all = runs.list_workspaces(owner);
            Ok(all.iter().map(|w| runs.shown(owner, w)).collect())
        })
        .await
    }

    /// One workspace, by its path, a run, or `RUN/AGENT`.
    ///
    /// # Errors
    /// When there is none, or it is not clear which.
    pub async fn workspace(&self, owner: u32, name: &str) -> Result<v1::Workspace, RunError> {
        let name = name.to_owned();
        self.blocking("look for the workspace", move |runs| {
            Ok(runs.shown(owner, &runs.find_workspace(owner, &name)?))
        })
        .await
    }

    /// Removes a workspace that Cordon made and no run uses.
    ///
    /// # Errors
    /// When there is none, it is used, or it is not Cordon's.
    pub async fn remove_workspace(&self, owner: u32, name: &str, key: &str) -> Result<(), RunError> {
        check_key(key)?;
        let (name, key) = (name.to_owned(), key.to_owned());
        // Nobody plans a run that would use it meanwhile.
        let planning = self.0.shared.clone();
        let _planning = planning.planning.write().await;
        self.blocking("remove the workspace", move |runs| {
            if runs.0.removed.holds(owner, &key) {
                return Ok(());
            }
            let workspace = runs.find_workspace(owner, &name)?;
            if !workspace.made || !workspace.path.starts_with(runs.0.shared.host.state.join("workspaces")) {
                return Err(RunError::NotMade { path: workspace.path });
            }
            runs.unused(&workspace.path)?;
            runs.0.removed.add(owner, &key)?;
            // Another agent's workspace may be around it, with a link where a directory was.
            Ok(cordon_forks::Fork::remove(&workspace.path)?)
        })
        .await
    }

    /// Refuses when a living run of anybody uses a tree, what is in it, or what it is in.
    pub(crate) fn unused(&self, tree: &Path) -> Result<(), RunError> {
        let overlaps = |path: &PathBuf| path.starts_with(tree) || tree.starts_with(path);
        let uses = |r: &RunRecord| {
            r.end.is_none()
                && r.agents.iter().any(|a| {
                    overlaps(&a.workspace)
                        || a.watched.iter().any(overlaps)
                        || a.trees.iter().any(|t| overlaps(&t.path))
                })
        };
        let user = self.0.shared.all().into_iter().find(|e| e.with(uses));
        user.map_or(Ok(()), |e| Err(RunError::InUse { tree: tree.to_path_buf(), run: e.id.clone() }))
    }

    fn list_workspaces(&self, owner: u32) -> Vec<Workspace> {
        let mut found: BTreeMap<PathBuf, Workspace> = BTreeMap::new();
        for entry in self.0.shared.all() {
            entry.with(|r| {
                if r.owner.uid() != owner {
                    return;
                }
                for agent in &r.agents {
                    let new = of(r, agent);
                    // One that is gone with its run is none any more.
                    if new.made && !new.in_use && !new.path.is_dir() {
                        continue;
                    }
                    match found.get_mut(&new.path) {
                        // An earlier run made it; it stays Cordon's.
                        Some(old) if old.used_ms > new.used_ms => {
                            old.made |= new.made;
                            old.in_use |= new.in_use;
                        }
                        Some(old) => {
                            let (made, in_use) = (old.made | new.made, old.in_use | new.in_use);
                            let last = new.last.clone().or_else(|| old.last.clone());
                            *old = Workspace { made, in_use, last, ..new };
                        }
                        None => {
                            found.insert(new.path.clone(), new);
                        }
                    }
                }
            });
        }
        let mut all: Vec<Workspace> = found.into_values().collect();
        all.sort_by_key(|w| std::cmp::Reverse(w.used_ms));
        all
    }

    pub(crate) fn find_workspace(&self, owner: u32, name: &str) -> Result<Workspace, RunError> {
        let missing = || RunError::WorkspaceNotFound { name: name.to_owned() };
        if name.starts_with('/') {
            let path = Path::new(name).canonicalize().unwrap_or_else(|_| PathBuf::from(name));
            return self.list_workspaces(owner).into_iter().find(|w| w.path == path).ok_or_else(missing);
        }
        let (run, agent) = name.split_once('/').unwrap_or((name, ""));
        let entry = match self.known(owner, run) {
            Err(RunError::NotFound { .. }) => return Err(missing()),
            found => found?,
        };
        self.workspace_of(&entry, agent)
    }

    fn workspace_of(&self, entry: &Arc<Entry>, agent: &str) -> Result<Workspace, RunError> {
        entry.with(|r| {
            let mut named = r.agents.iter().filter(|a| agent.is_empty() || a.id == agent);
            match (named.next(), named.next()) {
                (Some(one), None) => Ok(of(r, one)),
                (found, _) => {
                    let what = match found {
                        Some(_) => "name one agent of the run: RUN/AGENT".to_owned(),
                        None => format!("no agent is named {agent:?}"),
                    };
                    Err(RunError::Agent { what, agents: r.agents.iter().map(|a| a.id.clone()).collect() })
                }
            }
        })
    }

    fn shown(&self, owner: u32, workspace: &Workspace) -> v1::Workspace {
        let last = workspace.last.as_ref().and_then(|(place, id)| {
            let store = self.0.shared.stores.of(owner, place.as_deref()).ok()?;
            // One that was removed is the last no more.
            Some((id.clone(), store.get(&id.parse().ok()?).ok()?))
        });
        let (last_snapshot, files, bytes) = last
            .map(|(id, snapshot)| (id, snapshot.statistics.files, snapshot.statistics.bytes))
            .unwrap_or_default();
        v1::Workspace {
            path: workspace.path.to_string_lossy().into_owned(),
            made: workspace.made,
            run: workspace.run.clone(),
            agent: workspace.agent.clone(),
            in_use: workspace.in_use,
            used_unix_ms: workspace.used_ms,
            last_snapshot,
            files,
            bytes,
        }
    }
}

fn of(record: &RunRecord, agent: &AgentRecord) -> Workspace {
    let tree = agent.trees.iter().find(|t| !t.staged);
    let last = tree.and_then(|t| t.turn.clone().or_else(|| t.base.clone()));
    Workspace {
        path: agent.workspace.clone(),
        made: agent.workspace_made,
        run: record.id.clone(),
        agent: agent.id.clone(),
        used_ms: record.started_ms.max(record.ended_ms),
        in_use: record.end.is_none(),
        last: last.map(|id| (record.storage.clone(), id)),
    }
}
