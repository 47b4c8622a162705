//! What a restarted daemon does: know the earlier runs, go on with those that live,
//! and remove what belongs to none.

use crate::{
    entry::Entry,
    error::RunError,
    file::{self, FileSource},
    journal::{Durability, Journal},
    life::{
        Agent, Leaving, Life, Log, Overview, Recovered, Replayed, Resume, Terminal, close, deadline, launch,
        replay,
    },
    logins::{self, Hidden},
    plan::{Planned, Purpose},
    record::{End, RunRecord, now_ms},
    runs::Runs,
    settle::{Earlier, finish_applies, settle},
    shared::Shared,
    store::RunDirectory,
};
use cordon_proto::v1::{self, ErrorEvent, RunEnded, RunSummary, event::Kind};
use cordon_sandbox::WallKind;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};
use tokio_util::sync::CancellationToken;

impl Runs {
    /// Finds the runs of earlier daemons, goes on with those that had not ended, and
    /// removes sandboxes that no run owns. Requests wait only for the first part.
    pub async fn recover(&self) {
        let shared = self.0.shared.clone();
        let loading = shared.clone();
        let tidying = shared.clone();
        // Before anything else may write into a user's tree.
        let finished = tokio::task::spawn_blocking(move || {
            tidying.logins.forget_unfinished();
            finish_applies(&tidying)
        })
        .await;
        if finished.is_err() {
            tracing::error!("applies that were interrupted could not be looked at");
        }
        let entries = tokio::task::spawn_blocking(move || load(&loading)).await.unwrap_or_default();
        for entry in &entries {
            let (owner, key) = entry.with(|r| (r.owner.uid(), r.start_key.clone()));
            self.remember_key(owner, &key, &entry.id);
            shared.entries().insert(entry.id.clone(), entry.clone());
        }
        let unfinished: Vec<_> = entries.into_iter().filter(|e| !e.is_ended()).collect();
        // Known before anyone may start a new run: none of them is an orphan.
        let mut known: Vec<String> = unfinished
            .iter()
            .flat_map(|e| e.with(|r| r.agents.iter().map(|a| a.sandbox_id.clone()).collect::<Vec<_>>()))
            .collect();
        // All at once: a long journal takes a while to be told again.
        let resuming: Vec<_> = unfinished
            .into_iter()
            .map(|entry| {
                let (working, shared) = (entry.clone(), shared.clone());
                (entry, tokio::task::spawn_blocking(move || resume(&shared, &working)))
            })
            .collect();
        for (entry, resumed) in resuming {
            let resumed = resumed.await;
            match resumed {
                Ok(Ok(Some(resumed))) => {
                    let stop = resumed.life.stop.clone();
                    launch(resumed.life, resumed.agents, stop);
                }
                Ok(Ok(None)) => {}
                Ok(Err(error)) => self.give_up(&entry, &error).await,
                Err(_) => self.give_up(&entry, &RunError::Internal("read the run's journal")).await,
            }
        }
        // Nobody has made any yet: all are of earlier daemons.
        let earlier = Earlier::look(&self.0.shared.host.state);
        self.0.loaded.send_replace(true);
        // A login that was being renewed is taken over before its sandbox goes.
        known.extend(blocking_rooms(&shared).await);
        self.reap(known).await;
        // After the sandboxes that could still have changed something.
        let tidying = self.0.shared.clone();
        if tokio::task::spawn_blocking(move || settle(&tidying, earlier)).await.is_err() {
            tracing::error!("forks of earlier runs could not be looked at");
        }
    }

    async fn reap(&self, mut known: Vec<String>) {
        let shared = &self.0.shared;
        for kind in [WallKind::Local, WallKind::Docker] {
            let wall = match shared.walls.wall(kind).await {
                Ok(wall) => wall,
                Err(error) => {
                    tracing::debug!(wall = %kind, %error, "nothing to tidy up");
                    continue;
                }
            };
            for entry in shared.all() {
                known.extend(entry.with(|r| {
                    let living = r.end.is_none();
                    r.agents.iter().filter(|_| living).map(|a| a.sandbox_id.clone()).collect::<Vec<_>>()
                }));
            }
            known.extend(shared.logins.rooms());
            match wall.reap(&shared.host.daemon, &known).await {
                Ok(removed) if removed.is_empty() => {}
                Ok(removed) => tracing::info!(wall = %kind, ?removed, "removed what no run owns"),
                Err(error) => tracing::warn!(wall = %kind, %error, "could not tidy up"),
            }
        }
    }

    /// Ends a run that cannot be gone on with, and its sandboxes.
    async fn give_up(&self, entry: &Arc<Entry>, error: &RunError) {
        tracing::error!(run = entry.id, %error, "a run cannot be gone on with");
        let shared = &self.0.shared;
        let records: Vec<_> = entry.with(|r| r.agents.iter().filter_map(|a| a.sandbox.clone()).collect());
        for record in records {
            let ended = match shared.walls.wall(record.kind()).await {
                Ok(wall) => wall.destroy(&record).await,
                Err(error) => Err(error),
            };
            if let Err(error) = ended {
                tracing::error!(run = entry.id, sandbox = record.id, %error, "a sandbox was left");
            }
        }
        let (entry, limit, message) = (entry.clone(), shared.journal_limit, error.to_string());
        let shared = shared.clone();
        let reason = error.reason();
        let placeholders: Vec<_> =
            entry.with(|r| r.agents.iter().flat_map(|a| a.placeholders.clone()).collect());
        let done = tokio::task::spawn_blocking(move || {
            crate::plan::remove_placeholders(&placeholders);
            match Journal::open(&entry.directory.journal(), limit, |_| {}) {
                Ok((journal, _)) => {
                    let journal = Arc::new(journal);
                    let error = ErrorEvent { reason: reason.to_owned(), message, fix: String::new() };
                    let outcome = v1::Outcome::Broken.into();
                    let ended = RunEnded { outcome, summary: Some(RunSummary::default()) };
                    let kinds = vec![Kind::Error(error), Kind::RunEnded(ended)];
                    keep_all(&shared, &entry, &journal);
                    let log = Log::new(journal.clone(), "", Arc::default());
                    if let Err(error) = log.write(kinds, Durability::Closing) {
                        tracing::error!(run = entry.id, %error, "the journal did not take the end");
                    }
                    close(&entry, &journal, End::Broken, now_ms());
                }
                Err(error) => {
                    tracing::error!(run = entry.id, %error, "the journal is lost");
                    let kept = entry.update(true, |r| end_record(r, End::Broken, now_ms()));
                    if let Err(error) = kept {
                        tracing::error!(run = entry.id, %error, "the end of the run was not kept");
                    }
                }
            }
        });
        if done.await.is_err() {
            tracing::error!("a run was not ended");
        }
    }
}

async fn blocking_rooms(shared: &Arc<Shared>) -> Vec<String> {
    let looking = shared.clone();
    let left = tokio::task::spawn_blocking(move || logins::rooms(&looking)).await.unwrap_or_default();
    if !left.is_empty() {
        let shared = shared.clone();
        tokio::spawn(async move { logins::inherit_all(&shared).await });
    }
    left.into_iter().chain(shared.logins.rooms()).collect()
}

/// Keeps what the agents of a run left that cannot be gone on with. Blocks.
fn keep_all(shared: &Arc<Shared>, entry: &Arc<Entry>, journal: &Arc<Journal>) {
    let agents: Vec<String> = entry.with(|r| r.agents.iter().map(|a| a.id.clone()).collect());
    for (index, agent) in agents.iter().enumerate() {
        let log = Log::new(journal.clone(), agent, Arc::default());
        let (shared, entry) = (shared.clone(), entry.clone());
        Leaving { shared, entry, index, log, told: BTreeSet::new(), again: true }.keep();
    }
}

fn end_record(record: &mut RunRecord, end: End, at_ms: i64) {
    record.state = crate::record::State::Ended;
    record.end = Some(end);
    record.ended_ms = at_ms;
    for agent in &mut record.agents {
        agent.state = crate::record::State::Ended;
        agent.end.get_or_insert(end);
    }
}

/// Every run there is a record of.
fn load(shared: &Shared) -> Vec<Arc<Entry>> {
    let listing = match std::fs::read_dir(&shared.directory) {
        Ok(listing) => listing,
        Err(error) => {
            tracing::error!(directory = ?shared.directory, %error, "the runs cannot be listed");
            return Vec::new();
        }
    };
    let mut entries = Vec::new();
    for found in listing.flatten() {
        let Ok(id) = found.file_name().into_string() else { continue };
        let directory = RunDirectory::new(&shared.directory, &id);
        if !found.path().join("run.json").try_exists().unwrap_or(true) {
            // Never accepted: the daemon died before it answered.
            tracing::info!(run = id, "removing what is left of a run that was not accepted");
            if let Err(error) = directory.remove() {
                tracing::warn!(run = id, %error, "it was not removed");
            }
            continue;
        }
        match directory.load() {
            Ok(record) if record.id == id => entries.push(Arc::new(Entry::new(directory, record))),
            Ok(_) => tracing::error!(run = id, "its record is of another run; it is left alone"),
            Err(error) => tracing::error!(run = id, %error, "its record cannot be read; it is left alone"),
        }
    }
    entries
}

struct Resumed {
    life: Life,
    agents: Vec<Agent>,
}

/// Rebuilds a run from its files; none when its journal says that it ended. Blocks.
fn resume(shared: &Arc<Shared>, entry: &Arc<Entry>) -> Result<Option<Resumed>, RunError> {
    let mut overview = Overview::default();
    let path = entry.directory.journal();
    let (journal, cut) = Journal::open(&path, shared.journal_limit, |event| overview.see(event))?;
    let journal = Arc::new(journal);
    if let Some(end) = overview.ended {
        close(entry, &journal, end, overview.last_ms);
        return Ok(None);
    }
    let record = entry.record();
    let content = entry.directory.read("agent-file")?;
    let prompt = String::from_utf8_lossy(&entry.directory.read("prompt")?).into_owned();
    let secrets = entry.directory.load_secrets()?;
    let source = FileSource {
        name: &record.file_name,
        content: &content,
        directory: &record.directory,
        variables: &secrets.variables,
    };
    let mut checked = file::check_again(&source)?;
    for agent in record.agents.iter().filter(|a| a.from_snapshot.is_some()) {
        checked.file.agents.iter_mut().filter(|a| a.id == agent.id).for_each(|a| a.cwd = None);
    }
    if record.tools {
        checked.file = crate::accept::for_tools(checked.file);
    }
    if record.terminal {
        crate::accept::for_terminal(&mut checked.file);
    }
    let selected: Vec<String> = record.agents.iter().map(|a| a.id.clone()).collect();
    let owner = record.owner.to_owner();
    let planning = file::For {
        run: &record.id,
        file: &checked.file,
        owner: &owner,
        variables: &secrets.variables,
        wall: record.wall,
        purpose: Purpose::Again,
        line: Some(record.line()),
    };
    let planned = file::plan_agents(&shared.host, &selected, &planning)?;
    let tally = overview.tally.clone();
    let mut agents = Vec::new();
    let mut drivers = BTreeMap::new();
    for (index, mut planned) in planned.into_iter().enumerate() {
        adopt(entry, index, &mut planned, &secrets.redact)?;
        let id = planned.context.agent.id.clone();
        let agent = Agent {
            log: Log::new(journal.clone(), &id, tally.clone()),
            index,
            resume: Some(standing(&record, &overview, index)),
            turn: record.agents.get(index).map(|a| a.turn.clone()).unwrap_or_default(),
            hidden: Arc::new(Hidden::new(&planned.needs.secrets, entry.directory.clone())),
            planned,
            driver: Mutex::default(),
            link: Mutex::default(),
            terminal: record.terminal.then(|| Arc::new(Terminal::load(&entry.directory, index))),
            before: Mutex::default(),
            told: overview.agents.get(&id).map(|s| s.kept.clone()).unwrap_or_default(),
        };
        let begun = overview.agents.get(&id).and_then(|s| s.turn_started);
        if let (Some(Resume::Sandbox(_)), Some(seq), false) = (&agent.resume, begun, record.terminal) {
            drivers.insert(id, (seq, Replayed::new(agent.old_driver(&prompt))));
        }
        agents.push(agent);
    }
    replay(&journal, &mut drivers)?;
    for agent in &mut agents {
        if let Some((_, replayed)) = drivers.remove(&agent.planned.context.agent.id) {
            let (driver, covered, processes, at) = replayed.at();
            agent.driver = Mutex::new(Some(Recovered { driver, covered, processes, at }));
        }
    }
    let log = Log::new(journal.clone(), "", tally);
    log.write(
        vec![Kind::Recovered(v1::Recovered { message: message(&agents, cut, record.tools) })],
        Durability::Now,
    )?;
    let timeouts = &checked.file.timeouts;
    let life = Life {
        entry: entry.clone(),
        journal,
        log,
        stop: CancellationToken::new(),
        shared: shared.clone(),
        prompt,
        deadline: deadline(record.started_ms, timeouts.run),
        run_limit: timeouts.run,
        turn_limit: timeouts.turn,
        idle: timeouts.idle,
        grace: timeouts.grace,
    };
    Ok(Some(Resumed { life, agents }))
}

/// What was decided when the run started stays decided; what planning again made is
/// the run's too.
fn adopt(entry: &Entry, index: usize, planned: &mut Planned, redact: &[String]) -> Result<(), RunError> {
    for secret in redact {
        if !planned.needs.secrets.contains(secret) {
            planned.needs.secrets.push(secret.clone());
        }
    }
    let made = std::mem::take(&mut planned.placeholders);
    let (watched, sandbox) = entry
        .update(false, |r| {
            let agent = r.agents.get_mut(index)?;
            agent.placeholders.extend(made);
            Some((agent.watched.clone(), agent.sandbox_id.clone()))
        })?
        .unwrap_or_default();
    planned.watched = watched;
    planned.sandbox.id = sandbox;
    Ok(())
}

fn standing(record: &RunRecord, overview: &Overview, index: usize) -> Resume {
    let Some(agent) = record.agents.get(index) else {
        return Resume::Lost("the run's record does not know the agent".to_owned());
    };
    let standing = overview.agents.get(&agent.id);
    if let Some((end, _)) = standing.and_then(|s| s.turn_ended.as_ref()) {
        return Resume::Over(*end);
    }
    if record.tools {
        // The client's stream ended with the earlier daemon.
        return Resume::Over(End::Cancelled);
    }
    match (&agent.sandbox, standing.is_some_and(|s| s.sandbox_ready)) {
        (Some(sandbox), true) => Resume::Sandbox(Box::new(sandbox.clone())),
        _ => Resume::Lost("the daemon ended while the sandbox was being made".to_owned()),
    }
}

fn message(agents: &[Agent], cut: u64, tools: bool) -> String {
    if tools {
        return "the daemon was restarted; the client's stream ended with the earlier one".to_owned();
    }
    let going = agents.iter().filter(|a| !a.is_over()).count();
    let mut message = format!("the daemon was restarted and goes on with {going} of {} agents", agents.len());
    if cut > 0 {
        message.push_str(&format!("; {cut} bytes of the journal were torn off with the last one"));
    }
    message
}
