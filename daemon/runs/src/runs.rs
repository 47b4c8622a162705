use crate::{
    accept::{Accepted, Given, fingerprint},
    entry::Entry,
    error::RunError,
    journal::JournalReader,
    life::{Life, Log, deadline, launch},
    plan::{Host, Owner},
    record::now_ms,
    removed::Removed,
    resume::{Line, remove_homes},
    shared::Shared,
    stop::stop_and_wait,
    versions::{Answers, Bucket, Place},
    walls::Walls,
};
use cordon_backends::{LoginServers, Variables};
use cordon_proto::v1;
use cordon_sandbox::{WallKind, guest::Guest};
use std::{
    collections::BTreeMap,
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt as _,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The largest prompt.
const PROMPT_LIMIT: usize = 8 << 20;
const KEY_LIMIT: usize = 128;

/// How runs are kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the daemon knows of its host.
    pub host: Host,
    /// The largest journal of one run, bytes. A run that prints more is ended.
    pub journal_limit: u64,
    /// The most that one agent's kept home may hold, bytes. An agent that fills it is ended.
    pub home_limit: u64,
    /// The most bytes that the snapshots of one owner may take in one store; none: no limit.
    pub snapshot_quota: Option<u64>,
    /// Where snapshots may be pushed to.
    pub bucket: Option<Bucket>,
    /// Servers that programs log in at, in place of the vendors'.
    pub login_servers: LoginServers,
}

/// A run that somebody wants.
#[derive(Clone, Debug)]
pub struct StartRequest {
    /// Name of the agent file.
    pub name: String,
    /// Its content.
    pub content: Vec<u8>,
    /// Where it lies.
    pub directory: PathBuf,
    /// Values that the client sent.
    pub variables: Variables,
    /// The task.
    pub prompt: String,
    /// Empty: every agent.
    pub agents: Vec<String>,
    /// Overrides the file's wall.
    pub wall: Option<WallKind>,
    /// Agents that begin in a fresh workspace with the content of a snapshot.
    pub from_snapshots: BTreeMap<String, String>,
    /// A run to go on with; empty: none. Where the content is empty, too, its file is used again.
    pub resume: String,
    /// Empty: none.
    pub key: String,
    /// Who asks.
    pub owner: Owner,
}

/// Every run of one state directory. Cheap to clone.
#[derive(Clone)]
pub struct Runs(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) removed: Removed,
    /// Start keys, with the owner, of runs that are being accepted or known.
    keys: Mutex<BTreeMap<(u32, String), String>>,
    pub(crate) accepting: AtomicBool,
    pub(crate) loaded: watch::Sender<bool>,
    pub(crate) restored: Answers<v1::RestoreResponse>,
    pub(crate) imported: Answers<v1::Snapshot>,
    pub(crate) bucket: Option<Place>,
}

impl Runs {
    /// Opens a state directory's runs. Nothing is looked at yet: see [`Runs::recover`].
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn open(mut options: Options, walls: Arc<dyn Walls>) -> io::Result<Self> {
        let directory = options.host.state.join("runs");
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let removed = Removed::new(&options.host.state);
        let bucket = options.bucket.take().map(Place::new);
        let shared = Shared::new(options, walls, directory);
        Ok(Self(Arc::new(Inner {
            shared: Arc::new(shared),
            removed,
            keys: Mutex::default(),
            accepting: AtomicBool::new(true),
            loaded: watch::channel(false).0,
            restored: Answers::default(),
            imported: Answers::default(),
            bucket,
        })))
    }

    /// Waits until the earlier runs are known.
    pub(crate) async fn ready(&self) {
        // The sender lives as long as `self`.
        let _ = self.0.loaded.subscribe().wait_for(|loaded| *loaded).await;
    }

    /// Waits until the earlier runs are known: what is asked before that finds none of them.
    pub async fn known_all(&self) {
        self.ready().await;
    }

    pub(crate) fn remember_key(&self, owner: u32, key: &str, id: &str) {
        if !key.is_empty() {
            self.keys().insert((owner, key.to_owned()), id.to_owned());
        }
    }

    fn keys(&self) -> std::sync::MutexGuard<'_, BTreeMap<(u32, String), String>> {
        self.0.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts a run: it is checked, planned and kept on the disk when this returns.
    ///
    /// # Errors
    /// When the file, the plan or the disk does not allow it. Then nothing is left.
    pub async fn start(&self, request: StartRequest) -> Result<v1::Run, RunError> {
        if request.prompt.len() > PROMPT_LIMIT {
            return Err(RunError::Invalid(format!(
                "the prompt has {} bytes; the most is {PROMPT_LIMIT}",
                request.prompt.len()
            )));
        }
        check_key(&request.key)?;
        self.ready().await;
        if !self.0.accepting.load(Ordering::Acquire) {
            return Err(RunError::ShuttingDown);
        }
        let shared = self.0.shared.clone();
        let id = uuid::Uuid::now_v7().simple().to_string();
        let key = (request.owner.uid, request.key.clone());
        let planning = loop {
            // Alone: a plan that fails takes its placeholders away, and another plan must not
            // have taken them for the user's own names meanwhile.
            let planning = shared.planning.write().await;
            let earlier = match key.1.is_empty() {
                true => None,
                false => self.claim(&key, &id),
            };
            let Some(earlier) = earlier else { break planning };
            if let Some(entry) = shared.entries().get(&earlier) {
                return same(entry, &request);
            }
            // The same request is being worked on: its outcome is this one's, too.
            drop(planning);
            drop(shared.planning.write().await);
        };
        let started = self.accept(request, &id, Given::Nothing).await;
        if started.is_err() && !key.1.is_empty() {
            self.keys().remove(&key);
        }
        drop(planning);
        started
    }

    /// Takes a key for a run; the run that has it, when there is one.
    fn claim(&self, key: &(u32, String), id: &str) -> Option<String> {
        let mut keys = self.keys();
        let earlier = keys.get(key).cloned();
        if earlier.is_none() {
            keys.insert(key.clone(), id.to_owned());
        }
        earlier
    }

    pub(crate) async fn accept(
        &self,
        request: StartRequest,
        id: &str,
        given: Given,
    ) -> Result<v1::Run, RunError> {
        let purpose = given.purpose();
        let shared = self.0.shared.clone();
        let (blocking, run) = (shared.clone(), id.to_owned());
        let accepted = tokio::task::spawn_blocking(move || Accepted::new(&blocking, request, &run, purpose))
            .await
            .map_err(|_| RunError::Internal("check the agent file"))??;
        let Accepted { entry, journal, mut agents, timeouts, prompt, tally } = accepted;
        match (given, agents.as_mut_slice()) {
            (Given::Link(link), [agent]) => {
                *agent.link.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
            }
            (Given::Terminal(terminal), [agent]) => agent.terminal = Some(Arc::new(terminal)),
            _ => {}
        }
        shared.entries().insert(id.to_owned(), entry.clone());
        let stop = CancellationToken::new();
        let started = now_ms();
        let life = Life {
            log: Log::new(journal.clone(), "", tally),
            entry: entry.clone(),
            journal: journal.clone(),
            stop: stop.clone(),
            shared,
            prompt,
            deadline: deadline(started, timeouts.run),
            run_limit: timeouts.run,
            turn_limit: timeouts.turn,
            idle: timeouts.idle,
            grace: timeouts.grace,
        };
        launch(life, agents, stop);
        tracing::info!(run = id, "run started");
        Ok(entry.to_proto())
    }

    /// Every run that the caller may see, newest first.
    pub async fn list(&self, caller: u32) -> Vec<v1::Run> {
        self.ready().await;
        let entries = self.0.shared.all();
        entries.iter().rev().filter(|e| may_see(e, caller)).map(|e| e.to_proto()).collect()
    }

    /// One run, by its id or an unambiguous beginning of it.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub async fn get(&self, caller: u32, id: &str) -> Result<v1::Run, RunError> {
        Ok(self.find(caller, id).await?.to_proto())
    }

    pub(crate) async fn find(&self, caller: u32, id: &str) -> Result<Arc<Entry>, RunError> {
        self.ready().await;
        pick(&self.0.shared.entries(), id, |e| may_see(e, caller))
    }

    /// A run of this owner alone, once the earlier runs are known.
    pub(crate) fn known(&self, owner: u32, id: &str) -> Result<Arc<Entry>, RunError> {
        pick(&self.0.shared.entries(), id, |e| e.with(|r| r.owner.uid() == owner))
    }

    /// The journal of a run from a sequence number on.
    ///
    /// # Errors
    /// When there is no such run or its journal cannot be opened.
    pub async fn watch(&self, caller: u32, id: &str, from_seq: u64) -> Result<JournalReader, RunError> {
        self.find(caller, id).await?.reader(from_seq)
    }

    /// Cancels a run and waits until nothing of it is left.
    ///
    /// # Errors
    /// When there is no such run.
    pub async fn stop(&self, caller: u32, id: &str, key: &str) -> Result<v1::Run, RunError> {
        check_key(key)?;
        let entry = self.find(caller, id).await?;
        if !entry.is_ended() {
            remember(&entry, key).await?;
        }
        stop_and_wait(&entry).await;
        Ok(entry.to_proto())
    }

    /// Forgets an ended run, with the workspaces that Cordon made for it on request.
    ///
    /// # Errors
    /// When there is no such run, it has not ended, or it cannot be removed.
    pub async fn remove(&self, caller: u32, id: &str, key: &str, workspace: bool) -> Result<(), RunError> {
        check_key(key)?;
        self.ready().await;
        if self.0.removed.holds(caller, key) {
            return Ok(());
        }
        let entry = self.find(caller, id).await?;
        if !entry.is_ended() {
            return Err(RunError::StillRunning { run: entry.id.clone() });
        }
        let (inner, key) = (self.0.clone(), key.to_owned());
        let done = entry.clone();
        tokio::task::spawn_blocking(move || {
            if workspace {
                inner.shared.remove_workspaces(&done)?;
            }
            remove_homes(&inner.shared, &done.record())?;
            // What could not be kept is given up with the run.
            let forks: Vec<PathBuf> = done.with(|r| {
                let trees = r.agents.iter().flat_map(|a| &a.trees);
                trees.filter_map(|t| t.fork.clone()).collect()
            });
            for fork in forks {
                cordon_forks::Fork::remove(&fork)?;
            }
            // The key first: a repeated request must not find half a run.
            inner.removed.add(caller, &key)?;
            Ok::<(), RunError>(done.directory.remove()?)
        })
        .await
        .map_err(|_| RunError::Internal("remove the run"))??;
        self.0.shared.entries().remove(&entry.id);
        self.keys().retain(|_, run| *run != entry.id);
        Ok(())
    }

    /// The agent file of an ended run, to be used again.
    ///
    /// # Errors
    /// When there is no such run of the caller's, it has not ended or cannot be gone on with, or its
    /// file cannot be used again.
    pub async fn agent_file(&self, owner: u32, id: &str) -> Result<v1::AgentFile, RunError> {
        let id = id.to_owned();
        self.blocking("read the agent file", move |runs| {
            let line = Line::find(&runs.0.shared, owner, &id)?;
            Ok(v1::AgentFile {
                name: line.earlier.file_name.clone(),
                content: line.kept_file(&runs.0.shared)?.into(),
                directory: line.earlier.directory.to_string_lossy().into_owned(),
                variables: Default::default(),
            })
        })
        .await
    }

    /// The guest of a running agent, for a process of the person's own.
    ///
    /// # Errors
    /// When there is no such run or agent, or it is not running.
    pub async fn guest(&self, caller: u32, id: &str, agent: &str) -> Result<Guest, RunError> {
        let entry = self.find(caller, id).await?;
        let agents: Vec<String> = entry.with(|r| r.agents.iter().map(|a| a.id.clone()).collect());
        let agent = match (agent, agents.as_slice()) {
            ("", [one]) => one.clone(),
            ("", _) => return Err(RunError::Agent { what: "name one agent of the run".to_owned(), agents }),
            (name, all) if all.iter().any(|a| a == name) => name.to_owned(),
            (name, _) => return Err(RunError::Agent { what: format!("no agent is named {name:?}"), agents }),
        };
        let guest = entry.live().as_ref().and_then(|live| live.guests.get(&agent).cloned());
        guest.ok_or_else(|| RunError::NotRunning { run: entry.id.clone(), agent })
    }

    /// The workspace of a run's agent, as seen from inside and outside.
    ///
    /// # Errors
    /// When there is no such run or agent.
    pub async fn directory(&self, caller: u32, id: &str, agent: &str) -> Result<PathBuf, RunError> {
        let entry = self.find(caller, id).await?;
        let found = entry.with(|r| {
            let mut named = r.agents.iter().filter(|a| agent.is_empty() || a.id == agent);
            named.next().map(|a| a.workspace.clone())
        });
        found.ok_or_else(|| RunError::NotRunning { run: entry.id.clone(), agent: agent.to_owned() })
    }

    /// How many runs have not ended.
    #[must_use]
    pub fn active(&self) -> usize {
        self.0.shared.all().iter().filter(|e| !e.is_ended()).count()
    }
}

/// The one run whose id begins so.
pub(crate) fn pick(
    entries: &BTreeMap<String, Arc<Entry>>,
    id: &str,
    visible: impl Fn(&Arc<Entry>) -> bool,
) -> Result<Arc<Entry>, RunError> {
    let mut found = entries
        .range(id.to_owned()..)
        .take_while(|(key, _)| key.starts_with(id))
        .map(|(_, e)| e)
        .filter(|e| visible(e));
    match (found.next(), found.next()) {
        (Some(one), None) if !id.is_empty() => Ok(one.clone()),
        (Some(one), Some(_)) if one.id == id => Ok(one.clone()),
        (Some(_), Some(_)) if !id.is_empty() => {
            Err(RunError::Ambiguous { id: id.to_owned(), count: found.count() + 2 })
        }
        _ => Err(RunError::NotFound { id: id.to_owned() }),
    }
}

/// The answer to a request that came before.
fn same(entry: &Entry, request: &StartRequest) -> Result<v1::Run, RunError> {
    if entry.with(|r| r.fingerprint == fingerprint(request)) {
        Ok(entry.to_proto())
    } else {
        Err(RunError::KeyReused { key: request.key.clone() })
    }
}

async fn remember(entry: &Arc<Entry>, key: &str) -> Result<(), RunError> {
    let (entry, key) = (entry.clone(), key.to_owned());
    let kept = tokio::task::spawn_blocking(move || entry.update(false, |r| r.seen(&key)));
    kept.await.map_err(|_| RunError::Internal("keep the key"))??;
    Ok(())
}

fn may_see(entry: &Entry, caller: u32) -> bool {
    caller == 0 || entry.with(|r| r.owner.uid() == caller)
}

pub(crate) fn check_key(key: &str) -> Result<(), RunError> {
    if key.len() > KEY_LIMIT {
        return Err(RunError::Invalid(format!("an idempotency key has at most {KEY_LIMIT} bytes")));
    }
    Ok(())
}
