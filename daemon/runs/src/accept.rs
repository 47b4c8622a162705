//! Accepting a run: everything that is decided and written before it may begin.

use crate::{
    entry::Entry,
    error::RunError,
    file::{self, FileSource},
    journal::{Durability, Journal},
    life::{Agent, Log, Tally, warning},
    plan::{Planned, remove_placeholders},
    record::{AgentRecord, RunRecord, State, now_ms, title},
    runs::StartRequest,
    shared::Shared,
    store::{RunDirectory, Secrets},
};
use cordon_backends::{Redactor, Variables};
use cordon_proto::v1::{RunStarted, event::Kind};
use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex},
};

/// A run that is checked, planned and kept.
pub(crate) struct Accepted {
    pub(crate) entry: Arc<Entry>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) agents: Vec<Agent>,
    pub(crate) timeouts: cordon_config::Timeouts,
    pub(crate) prompt: String,
    pub(crate) tally: Arc<Tally>,
}

impl Accepted {
    /// Blocks.
    pub(crate) fn new(shared: &Shared, request: StartRequest, id: &str) -> Result<Self, RunError> {
        let source = FileSource {
            name: &request.name,
            content: &request.content,
            directory: &request.directory,
            variables: &request.variables,
        };
        let checked = file::check(&source)?;
        let planning = file::For {
            run: id,
            file: &checked.file,
            owner: &request.owner,
            variables: &request.variables,
            wall: request.wall,
            again: false,
        };
        let planned = file::plan_agents(&shared.host, &request.agents, &planning)?;
        let placeholders: Vec<PathBuf> = planned.iter().flat_map(|p| p.placeholders.clone()).collect();
        let directory = RunDirectory::new(&shared.directory, id);
        let kept = Self::keep(shared, request, id, &checked, planned, &directory);
        if kept.is_err() {
            remove_placeholders(&placeholders);
            if let Err(error) = directory.remove() {
                tracing::warn!(run = id, %error, "a run that was not accepted was left");
            }
        }
        kept
    }

    fn keep(
        shared: &Shared,
        request: StartRequest,
        id: &str,
        checked: &file::Checked,
        planned: Vec<Planned>,
        directory: &RunDirectory,
    ) -> Result<Self, RunError> {
        directory.create()?;
        directory.write("agent-file", &request.content)?;
        directory.write("prompt", request.prompt.as_bytes())?;
        directory.save_secrets(&secrets(&request.variables, checked, &planned))?;
        let journal = Arc::new(Journal::create(&directory.journal(), shared.journal_limit)?);
        let secrets: Vec<String> = planned.iter().flat_map(|p| p.needs.secrets.clone()).collect();
        let redactor = Redactor::new(&secrets);
        let tally = Arc::new(Tally::default());
        let mut kinds = vec![Kind::RunStarted(RunStarted {
            agent_file_name: request.name.clone(),
            prompt: redactor.text(&request.prompt),
        })];
        kinds.extend(checked.warnings.iter().map(|w| warning(w.reason, &redactor.text(&w.to_string()))));
        Log::new(journal.clone(), "", tally.clone()).write(kinds, Durability::Now)?;
        for one in &planned {
            let log = Log::new(journal.clone(), &one.context.agent.id, tally.clone());
            log.write(
                one.warnings.iter().map(|w| warning("plan", &redactor.text(w))).collect(),
                Durability::Soon,
            )?;
        }
        let record = record(&request, id, &planned, &redactor);
        // Last: a directory without this file is no run.
        directory.save(&record, true)?;
        let agent = |(index, planned): (usize, Planned)| Agent {
            log: Log::new(journal.clone(), &planned.context.agent.id, tally.clone()),
            index,
            planned,
            resume: None,
            driver: Mutex::default(),
            before: Mutex::default(),
        };
        Ok(Self {
            agents: planned.into_iter().enumerate().map(agent).collect(),
            entry: Arc::new(Entry::new(directory.clone(), record)),
            journal,
            timeouts: checked.file.timeouts.clone(),
            prompt: request.prompt,
            tally,
        })
    }
}

fn secrets(variables: &Variables, checked: &file::Checked, planned: &[Planned]) -> Secrets {
    let wanted: BTreeSet<&str> = checked.variables.iter().map(String::as_str).collect();
    let kept = variables.iter().filter(|(name, _)| wanted.contains(name.as_str()));
    Secrets {
        redact: planned.iter().flat_map(|p| p.needs.secrets.clone()).collect(),
        variables: kept.map(|(n, v)| (n.clone(), v.clone())).collect(),
    }
}

fn record(request: &StartRequest, id: &str, planned: &[Planned], redactor: &Redactor) -> RunRecord {
    let agent = |p: &Planned| AgentRecord {
        id: p.context.agent.id.clone(),
        backend: p.context.agent.backend.name().to_owned(),
        wall: p.context.wall,
        workspace: p.workspace.path.clone(),
        workspace_made: p.workspace.made,
        sandbox_id: p.sandbox.id.clone(),
        sandbox: None,
        state: State::Starting,
        end: None,
        placeholders: p.placeholders.clone(),
        watched: p.watched.clone(),
    };
    RunRecord {
        version: RunRecord::VERSION,
        id: id.to_owned(),
        state: State::Starting,
        end: None,
        started_ms: now_ms(),
        ended_ms: 0,
        file_name: request.name.clone(),
        directory: request.directory.clone(),
        title: title(&redactor.text(&request.prompt)),
        fingerprint: fingerprint(request),
        owner: (&request.owner).into(),
        agents: planned.iter().map(agent).collect(),
        wall: request.wall,
        start_key: request.key.clone(),
        keys: Vec::new(),
        journal_events: 0,
    }
}

/// Tells two requests of one owner with the same idempotency key apart.
pub(crate) fn fingerprint(request: &StartRequest) -> String {
    let mut sum = crc32fast::Hasher::new();
    let parts = [request.name.as_bytes(), &request.content, request.prompt.as_bytes()];
    let wall = request.wall.map(|w| w.to_string()).unwrap_or_default();
    let agents = request.agents.iter().map(String::as_bytes);
    let mut bytes = 0;
    for part in parts.into_iter().chain([wall.as_bytes()]).chain(agents) {
        sum.update(&(part.len() as u64).to_le_bytes());
        sum.update(part);
        bytes += part.len();
    }
    format!("{:08x}-{bytes}", sum.finalize())
}
