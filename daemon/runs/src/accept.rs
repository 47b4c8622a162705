//! Accepting a run: everything that is decided and written before it may begin.

use crate::{
    entry::Entry,
    error::RunError,
    file::{self, FileSource},
    home,
    journal::{Durability, Journal},
    keep::{place, trees},
    life::{Agent, Link, Log, Tally, Terminal, warning},
    logins::Hidden,
    plan::{self, Planned, remove_placeholders},
    record::{AgentRecord, RunRecord, State, TurnRecord, now_ms, title},
    resume::Line,
    runs::StartRequest,
    shared::Shared,
    store::{RunDirectory, Secrets},
};
use cordon_backends::{Redactor, Variables};
use cordon_config::{AgentFile, BackendKind};
use cordon_proto::v1::{RunStarted, event::Kind};
use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

/// Longer than any session, and finite as every limit is.
const LONGEST_SESSION: Duration = Duration::from_secs(30 * 24 * 3600);

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Agents work on a prompt.
    Task,
    /// A client uses the tools.
    Tools,
    /// A person uses the terminal of an agent's program.
    Terminal,
}

/// What a run is given besides its request.
pub(crate) enum Given {
    Nothing,
    /// A client for the tools.
    Link(Link),
    Terminal(Terminal),
}

impl Given {
    pub(crate) fn purpose(&self) -> Purpose {
        match self {
            Self::Nothing => Purpose::Task,
            Self::Link(_) => Purpose::Tools,
            Self::Terminal(_) => Purpose::Terminal,
        }
    }
}

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
    pub(crate) fn new(
        shared: &Shared,
        mut request: StartRequest,
        id: &str,
        purpose: Purpose,
    ) -> Result<Self, RunError> {
        // Of the request as it was sent.
        let fingerprint = fingerprint(&request);
        let resumed = Line::of(shared, &request)?;
        if let Some(resumed) = &resumed {
            resumed.fill(shared, &mut request)?;
        }
        let line = resumed.as_ref().map_or(id, |resumed| resumed.earlier.line());
        let accepted = Self::check(shared, request, id, purpose, resumed.as_ref(), fingerprint);
        if accepted.is_err()
            && line == id
            && let Err(error) = home::remove(&shared.host.state, line)
        {
            tracing::warn!(run = id, %error, "homes of a run that was not accepted were left");
        }
        accepted
    }

    fn check(
        shared: &Shared,
        request: StartRequest,
        id: &str,
        purpose: Purpose,
        resumed: Option<&Line>,
        fingerprint: String,
    ) -> Result<Self, RunError> {
        let source = FileSource {
            name: &request.name,
            content: &request.content,
            directory: &request.directory,
            variables: &request.variables,
        };
        let mut checked = file::check(&source)?;
        from_snapshots(shared, &mut checked.file, &request)?;
        if let Some(resumed) = resumed {
            resumed.workspaces(&mut checked.file)?;
        }
        if purpose == Purpose::Tools {
            checked.file = for_tools(checked.file);
        }
        if purpose == Purpose::Terminal {
            for_terminal(&mut checked.file);
        }
        let planning = file::For {
            run: id,
            file: &checked.file,
            owner: &request.owner,
            variables: &request.variables,
            wall: request.wall,
            purpose: plan::Purpose::Start,
            line: Some(resumed.map_or(id, |resumed| resumed.earlier.line())),
        };
        let several = request.agents.is_empty() && checked.file.agents.len() > 1;
        if purpose != Purpose::Task && several {
            let agents = checked.file.agents.iter().map(|a| a.id.clone()).collect();
            return Err(RunError::Agent { what: "name one agent of the file".to_owned(), agents });
        }
        let planned = file::plan_agents(&shared.host, &request.agents, &planning)?;
        let placeholders: Vec<PathBuf> = planned.iter().flat_map(|p| p.placeholders.clone()).collect();
        let directory = RunDirectory::new(&shared.directory, id);
        let given = checked.file.snapshot_storage.as_deref();
        let storage = place(&shared.host.state, request.owner.uid, given, &planned).and_then(|storage| {
            let known = storage.as_deref().map(|place| shared.stores.remember(request.owner.uid, place));
            known.transpose().map(|_| storage)
        });
        let storage = match resumed {
            Some(resumed) => resumed.check(shared, &planned).and(storage),
            None => storage,
        };
        let accepting = Accepting { id, checked: &checked, purpose, resumed, fingerprint };
        let kept = storage.and_then(|storage| accepting.keep(shared, request, planned, &directory, storage));
        if kept.is_err() {
            remove_placeholders(&placeholders);
            if let Err(error) = directory.remove() {
                tracing::warn!(run = id, %error, "a run that was not accepted was left");
            }
        }
        kept
    }
}

struct Accepting<'a> {
    id: &'a str,
    checked: &'a file::Checked,
    purpose: Purpose,
    resumed: Option<&'a Line>,
    fingerprint: String,
}

impl Accepting<'_> {
    fn keep(
        &self,
        shared: &Shared,
        request: StartRequest,
        planned: Vec<Planned>,
        directory: &RunDirectory,
        storage: Option<PathBuf>,
    ) -> Result<Accepted, RunError> {
        let Self { id, checked, purpose, resumed, .. } = *self;
        let secret_values: Vec<String> = planned.iter().flat_map(|p| p.needs.secrets.clone()).collect();
        let redactor = Redactor::new(&secret_values);
        let mut record = record(&request, id, &planned, &redactor, purpose);
        record.storage = storage;
        record.file_agents = checked.file.agents.iter().map(|a| a.id.clone()).collect();
        // One alone sees only itself, where nobody asks for more.
        record.show_peers = record.file_agents.len() > 1 || checked.file.agent_temporary_workspace.is_some();
        record.fingerprint.clone_from(&self.fingerprint);
        record.drift = checked.file.drift.map(|d| d.name().to_owned());
        if let Some(resumed) = resumed {
            resumed.carry(shared, &mut record)?;
        }
        directory.create()?;
        directory.write("agent-file", &request.content)?;
        directory.write("prompt", request.prompt.as_bytes())?;
        directory.save_secrets(&secrets(&request.variables, checked, &planned))?;
        let journal = Arc::new(Journal::create(&directory.journal(), shared.journal_limit)?);
        let tally = Arc::new(Tally::default());
        let mut kinds = vec![Kind::RunStarted(RunStarted {
            agent_file_name: request.name.clone(),
            prompt: redactor.text(&request.prompt),
        })];
        kinds.extend(checked.warnings.iter().map(|w| warning(w.reason, &redactor.text(&w.to_string()))));
        Log::new(journal.clone(), "", tally.clone()).write(kinds, Durability::Now)?;
        for one in &planned {
            let agent = &one.context.agent;
            let speaks = !matches!(agent.backend, BackendKind::Command | BackendKind::Replay);
            let unused =
                (purpose == Purpose::Task && !agent.tools.servers.is_empty() && !speaks).then(|| {
                    let what = "mcp_servers: served by `cordon mcp`; the backend";
                    warning("mcp-servers-unused", &format!("{what} {} asks no server", agent.backend.name()))
                });
            let id = &one.context.agent.id;
            let anew = resumed.and_then(|resumed| resumed.warning(checked, &record, id));
            let anew = anew.map(|why| warning("no-session", &why));
            let log = Log::new(journal.clone(), id, tally.clone());
            log.write(
                one.warnings
                    .iter()
                    .map(|w| warning("plan", &redactor.text(w)))
                    .chain(unused)
                    .chain(anew)
                    .collect(),
                Durability::Soon,
            )?;
        }
        // Last: a directory without this file is no run.
        directory.save(&record, true)?;
        let turns: Vec<TurnRecord> = record.agents.iter().map(|a| a.turn.clone()).collect();
        if let Some(resumed) = resumed {
            resumed.closed(shared, id);
        }
        let agent = |(index, planned): (usize, Planned)| Agent {
            turn: turns.get(index).cloned().unwrap_or_default(),
            log: Log::new(journal.clone(), &planned.context.agent.id, tally.clone()),
            index,
            hidden: Arc::new(Hidden::new(&planned.needs.secrets, directory.clone())),
            planned,
            resume: None,
            driver: Mutex::default(),
            link: Mutex::default(),
            terminal: None,
            before: Mutex::default(),
            told: BTreeSet::new(),
        };
        Ok(Accepted {
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

/// The same file for a run that only serves tools. Nothing drives its agents: it needs no
/// program, no login and no key, and what a sandbox does not need it does not get. A session
/// of a person lasts as long as the person wants, where the file does not say.
pub(crate) fn for_tools(mut file: AgentFile) -> AgentFile {
    if file.timeouts.run_by_default {
        file.timeouts.run = LONGEST_SESSION;
    }
    for agent in &mut file.agents {
        agent.backend = BackendKind::Replay;
        agent.steps = Vec::new();
        agent.command = Vec::new();
        agent.api_key = None;
        agent.base_url = None;
        agent.model = None;
        agent.program = Default::default();
    }
    file
}

/// A session of a person lasts as long as the person wants, where the file does not say.
pub(crate) fn for_terminal(file: &mut AgentFile) {
    if file.timeouts.run_by_default {
        file.timeouts.run = LONGEST_SESSION;
    }
}

/// Agents that begin with a snapshot get a workspace of Cordon's own, whatever the file says.
fn from_snapshots(shared: &Shared, file: &mut AgentFile, request: &StartRequest) -> Result<(), RunError> {
    for (name, id) in &request.from_snapshots {
        let chosen = request.agents.is_empty() || request.agents.contains(name);
        let agent = file.agents.iter_mut().find(|a| a.id == *name && chosen);
        let Some(agent) = agent else {
            return Err(RunError::Agent {
                what: format!("no agent of the run is named {name:?}, so none begins with snapshot {id}"),
                agents: file.agents.iter().map(|a| a.id.clone()).collect(),
            });
        };
        shared.stores.find(request.owner.uid, id)?;
        agent.cwd = None;
    }
    Ok(())
}

fn record(
    request: &StartRequest,
    id: &str,
    planned: &[Planned],
    redactor: &Redactor,
    purpose: Purpose,
) -> RunRecord {
    let backend = |p: &Planned| match purpose {
        Purpose::Task | Purpose::Terminal => p.context.agent.backend.name().to_owned(),
        Purpose::Tools => "mcp".to_owned(),
    };
    let agent = |p: &Planned| AgentRecord {
        id: p.context.agent.id.clone(),
        backend: backend(p),
        wall: p.context.wall,
        workspace: p.workspace.path.clone(),
        workspace_made: p.workspace.made,
        sandbox_id: p.sandbox.id.clone(),
        sandbox: None,
        state: State::Starting,
        end: None,
        placeholders: p.placeholders.clone(),
        watched: p.watched.clone(),
        identity: Some(p.workspace.identity),
        trees: trees(p),
        from_snapshot: request.from_snapshots.get(&p.context.agent.id).cloned(),
        begun: false,
        turn: TurnRecord::default(),
        home: None,
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
        fingerprint: String::new(),
        owner: (&request.owner).into(),
        agents: planned.iter().map(agent).collect(),
        wall: request.wall,
        start_key: request.key.clone(),
        keys: Vec::new(),
        journal_events: 0,
        tools: purpose == Purpose::Tools,
        terminal: purpose == Purpose::Terminal,
        storage: None,
        file_agents: Vec::new(),
        show_peers: false,
        drift: None,
        applied: Vec::new(),
        resumes: None,
        resumed_by: None,
        line: String::new(),
    }
}

/// Tells two requests of one owner with the same idempotency key apart.
pub(crate) fn fingerprint(request: &StartRequest) -> String {
    let mut sum = crc32fast::Hasher::new();
    let parts = [request.name.as_bytes(), &request.content, request.prompt.as_bytes()];
    let wall = request.wall.map(|w| w.to_string()).unwrap_or_default();
    let resume = request.resume.as_bytes();
    let agents = request.agents.iter().map(String::as_bytes);
    let from = request.from_snapshots.iter().flat_map(|(agent, id)| [agent.as_bytes(), id.as_bytes()]);
    let mut bytes = 0;
    for part in parts.into_iter().chain([wall.as_bytes(), resume]).chain(agents).chain(from) {
        sum.update(&(part.len() as u64).to_le_bytes());
        sum.update(part);
        bytes += part.len();
    }
    format!("{:08x}-{bytes}", sum.finalize())
}
