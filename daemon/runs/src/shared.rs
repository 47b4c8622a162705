use crate::{
    entry::Entry,
    keep::{Shown, Stores},
    logins::Logins,
    plan::Host,
    runs::Options,
    store::{StoreError, make_private, remove_tree},
    walls::Walls,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
};
use tokio::sync::RwLock;

/// A run and the place of one of its agents.
type AgentKey = (String, usize);

/// What every run of this daemon shares.
pub(crate) struct Shared {
    pub(crate) host: Host,
    pub(crate) walls: Arc<dyn Walls>,
    pub(crate) directory: PathBuf,
    pub(crate) journal_limit: u64,
    pub(crate) home_limit: u64,
    pub(crate) stores: Stores,
    pub(crate) shown: Shown,
    pub(crate) logins: Logins,
    /// Connections to model APIs, made when the first one is asked.
    models: OnceLock<cordon_models::Client>,
    entries: Mutex<BTreeMap<String, Arc<Entry>>>,
    /// Read from planning a run until it is among the entries; written while
    /// placeholders are taken away.
    pub(crate) planning: RwLock<()>,
    /// Trees of users that something is being written into.
    pub(crate) writing: Mutex<Vec<PathBuf>>,
    /// Of agents whose trees are being forked, or whose forks go.
    forking: Mutex<BTreeMap<AgentKey, Weak<Mutex<()>>>>,
}

impl Shared {
    pub(crate) fn new(options: Options, walls: Arc<dyn Walls>, directory: PathBuf) -> Self {
        let Options { host, journal_limit, home_limit, snapshot_quota, bucket: _, login_servers } = options;
        let (entries, planning) = (Mutex::default(), RwLock::new(()));
        let stores = Stores::new(&host.state, snapshot_quota);
        let shown = Shown::new(&host.state);
        let logins = Logins::new(&host.state, login_servers);
        Self {
            host,
            walls,
            directory,
            journal_limit,
            home_limit,
            stores,
            shown,
            logins,
            models: OnceLock::new(),
            entries,
            planning,
            writing: Mutex::default(),
            forking: Mutex::default(),
        }
    }

    /// What models are asked with; why not, where that cannot be.
    pub(crate) fn models(&self) -> Result<cordon_models::Client, String> {
        if let Some(client) = self.models.get() {
            return Ok(client.clone());
        }
        let client = cordon_models::Client::new().map_err(|e| e.to_string())?;
        Ok(self.models.get_or_init(|| client).clone())
    }

    /// What is held while the forks of an agent are made or removed.
    pub(crate) fn forking(&self, run: &str, agent: usize) -> Arc<Mutex<()>> {
        let mut all = self.forking.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, held| held.strong_count() > 0);
        let key = (run.to_owned(), agent);
        if let Some(held) = all.get(&key).and_then(Weak::upgrade) {
            return held;
        }
        let held = Arc::default();
        all.insert(key, Arc::downgrade(&held));
        held
    }

    /// Where it is written down what is being done to users' trees. Blocks.
    pub(crate) fn journals(&self) -> Result<PathBuf, StoreError> {
        let directory = self.host.state.join("journals");
        make_private(&directory)?;
        Ok(directory)
    }

    pub(crate) fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Entry>>> {
        // A map insert or remove either happened or did not.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        self.entries().values().cloned().collect()
    }

    /// Gives a placeholder to another living run that can see it; whether there is one.
    /// Blocks.
    pub(crate) fn hand_over(&self, from: &str, path: &Path) -> bool {
        let sees = |e: &Arc<Entry>| {
            e.id != from && e.with(|r| r.end.is_none() && r.agents.iter().any(|a| covers(&a.watched, path)))
        };
        let Some(heir) = self.all().into_iter().find(sees) else { return false };
        let kept = heir.update(false, |r| {
            if let Some(agent) = r.agents.iter_mut().find(|a| covers(&a.watched, path)) {
                agent.placeholders.push(path.to_path_buf());
            }
        });
        if let Err(error) = kept {
            tracing::warn!(run = heir.id, %error, "the run's record was not kept");
        }
        true
    }

    /// Removes the workspaces that Cordon made for a run and no other run uses. Blocks.
    pub(crate) fn remove_workspaces(&self, entry: &Entry) -> Result<(), StoreError> {
        let made: BTreeSet<PathBuf> = entry
            .with(|r| r.agents.iter().filter(|a| a.workspace_made).map(|a| a.workspace.clone()).collect());
        for tree in made {
            let used = |e: &Arc<Entry>| {
                e.id != entry.id
                    && e.with(|r| r.end.is_none() && r.agents.iter().any(|a| a.workspace == tree))
            };
            if self.all().iter().any(used) || !tree.starts_with(self.host.state.join("workspaces")) {
                continue;
            }
            remove_tree(&tree)?;
        }
        Ok(())
    }
}

fn covers(trees: &[PathBuf], path: &Path) -> bool {
    trees.iter().any(|tree| path.starts_with(tree))
}
