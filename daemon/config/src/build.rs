//! The second pass: typed items become agents. What a value means, and how values
//! fit together, is checked here; their types were before.

mod ag2;
mod agent;
mod api;
mod backend;
mod context;
mod credentials;
mod custom;
mod docker;
mod honour;
mod mcp;
mod media;
mod packages;
mod program;
mod steps;
mod tools;

pub(crate) use backend::{host_of, keys_of};

use crate::{
    Agent, AgentFile, DriftPolicy, Source, Timeouts, WriteMode,
    check::Item,
    report::{At, Quoted, Report},
    variables::Variables,
};
use cordon_policy::Place;
use std::{
    collections::HashMap,
    io,
    path::{Component, Path, PathBuf},
    time::Duration,
};

/// Agents of one file.
const MOST_AGENTS: usize = 64;
/// A month. Longer ones are mistakes, and overflow somewhere.
const LONGEST_SECONDS: f64 = 31.0 * 24.0 * 3600.0;

pub(crate) struct Build<'b, 'a> {
    pub(crate) report: &'b mut Report<'a>,
    pub(crate) variables: &'b mut Variables<'a>,
    pub(crate) source: &'b Source<'a>,
    pub(crate) exists: &'b dyn Fn(&Path) -> io::Result<bool>,
    /// What the file says of every writable context path.
    pub(crate) write_mode: WriteMode,
}

impl Build<'_, '_> {
    pub(crate) fn file(&mut self, top: &Item) -> Option<AgentFile> {
        let orchestrator = top.get("orchestrator");
        let coordination = orchestrator.and_then(|o| o.get("coordination"));
        self.write_mode = coordination.and_then(|c| self.write_mode(c)).unwrap_or_default();
        let shared = orchestrator.and_then(|o| o.get("context_paths"));
        let shared = shared.map(|c| self.context_paths(c, &[])).unwrap_or_default();
        let items = self.agent_items(top)?;
        let mut agents: Vec<Option<Agent>> =
            items.iter().map(|i| self.agent(i, &shared, orchestrator)).collect();
        self.distinct(items, &mut agents);
        let timeouts = self.timeouts(top.get("timeout_settings"));
        let snapshot_storage = orchestrator.and_then(|o| self.storage(o.get("snapshot_storage")?));
        let agent_temporary_workspace =
            orchestrator.and_then(|o| self.storage(o.get("agent_temporary_workspace")?));
        Some(AgentFile {
            name: self.source.name.to_owned(),
            agents: agents.into_iter().collect::<Option<_>>()?,
            snapshot_storage,
            agent_temporary_workspace,
            drift: coordination.and_then(|c| self.drift(c)),
            timeouts,
        })
    }

    /// The `write_mode` of a map, when it has one.
    fn write_mode(&mut self, map: &Item) -> Option<WriteMode> {
        let item = map.get("write_mode")?;
        match item.text()? {
            "legacy" => Some(WriteMode::Legacy),
            "worktree" => {
                let message = "no git worktree is made: the daemon never runs git on a tree that an agent \
                               can write"
                    .to_owned();
                let help = "the agent gets a private fork of the tree, git repository or not, as with \
                            `isolated`";
                self.report.warn(&item.at(), "other-mode", message, help);
                Some(WriteMode::Staged)
            }
            _ => Some(WriteMode::Staged),
        }
    }

    fn drift(&mut self, coordination: &Item) -> Option<DriftPolicy> {
        let item = coordination.get("drift_conflict_policy")?;
        match item.text()? {
            "fail" => Some(DriftPolicy::Fail),
            "skip" => Some(DriftPolicy::Skip),
            "ours" => Some(DriftPolicy::Ours),
            "merge" => Some(DriftPolicy::Merge),
            "prefer_presenter" => {
                let message =
                    "what you changed meanwhile is never overwritten with what an agent wrote".to_owned();
                let help = "texts are merged line by line, and a conflict applies nothing, as with `merge`";
                self.report.warn(&item.at(), "other-policy", message, help);
                Some(DriftPolicy::Merge)
            }
            _ => None,
        }
    }

    fn agent_items<'i>(&mut self, top: &'i Item) -> Option<&'i [Item]> {
        let help = "`agents` is a list of agents; `agent` is a single one";
        match (top.get("agents"), top.get("agent")) {
            (Some(_), Some(agent)) => {
                self.report.error(
                    &agent.at(),
                    "conflict",
                    "both `agents` and `agent` are given".to_owned(),
                    help,
                );
                None
            }
            (None, Some(agent)) => Some(std::slice::from_ref(agent)),
            (None, None) => {
                // Not when the top level is no map at all: that was reported.
                if matches!(top.value, crate::check::Value::Map(_)) {
                    let message = "neither `agents` nor `agent` is given".to_owned();
                    self.report.error(&top.at(), "missing-key", message, help);
                }
                None
            }
            (Some(agents), None) => {
                let items = agents.items();
                let count = items.len();
                if count > MOST_AGENTS {
                    let message = format!("{count} agents; a file has at most {MOST_AGENTS}");
                    self.report.error(&agents.at(), "too-large", message, "");
                    return None;
                }
                if count == 0 && matches!(agents.value, crate::check::Value::List(_)) {
                    self.report.error(
                        &agents.at(),
                        "bad-value",
                        "the list of agents is empty".to_owned(),
                        "",
                    );
                }
                (count > 0).then_some(items)
            }
        }
    }

    /// No two agents have one id, nor one workspace.
    fn distinct(&mut self, items: &[Item], agents: &mut [Option<Agent>]) {
        let mut ids: HashMap<&str, u32> = HashMap::new();
        for id in items.iter().filter_map(|item| item.get("id")) {
            if let Some(text) = id.text()
                && let Some(line) = ids.insert(text, id.mark.line)
            {
                let message = format!("the agent of line {line} has the id {} already", Quoted(&id.written));
                self.report.error(&id.at(), "duplicate-id", message, "give every agent an id of its own");
            }
        }
        let normal = |path: &Path| path.components().filter(|c| *c != Component::CurDir).collect::<PathBuf>();
        let mut workspaces: HashMap<PathBuf, u32> = HashMap::new();
        for (item, agent) in items.iter().zip(agents) {
            let Some(cwd) = item.get("backend").and_then(|b| b.get("cwd")) else { continue };
            let Some((path, id)) = agent.as_mut().and_then(|a| Some((a.cwd.as_mut()?, &a.id))) else {
                continue;
            };
            let own = normal(path);
            let Some(line) = workspaces.get(&own).copied() else {
                workspaces.insert(own, cwd.mark.line);
                continue;
            };
            let message =
                format!("the agent of line {line} has the workspace {} already", Quoted(&cwd.written));
            // MassGen gives every agent a directory of its own by such a name. One that somebody has
            // already is another matter.
            let mut other = own.clone().into_os_string();
            other.push(format!("-{id}"));
            let other = PathBuf::from(other);
            if own.is_relative() && workspaces.insert(other.clone(), cwd.mark.line).is_none() {
                let message = format!("{message}: this one has {}", Quoted(&format!("{}-{id}", cwd.written)));
                let help = "give every agent a `cwd` of its own; share trees through context_paths";
                self.report.warn(&cwd.at(), "shared-workspace", message, help);
                *path = other;
                continue;
            }
            let help = "give every agent a `cwd` of its own; share trees through context_paths";
            self.report.error(&cwd.at(), "shared-workspace", message, help);
        }
    }

    fn timeouts(&mut self, item: Option<&Item>) -> Timeouts {
        let mut seconds = |key: &str| item.and_then(|i| self.seconds(i.get(key)?));
        let timeouts = Timeouts {
            run_by_default: item.is_none_or(|i| i.get("orchestrator_timeout_seconds").is_none()),
            run: seconds("orchestrator_timeout_seconds").unwrap_or(Duration::from_secs(1800)),
            turn: seconds("initial_round_timeout_seconds"),
            grace: seconds("round_timeout_grace_seconds").unwrap_or(Duration::from_secs(10)),
            idle: seconds("idle_timeout_seconds").unwrap_or(Duration::from_secs(300)),
        };
        if let Some(later) = item.and_then(|i| i.get("subsequent_round_timeout_seconds"))
            && self.seconds(later).is_some()
        {
            let message = "`subsequent_round_timeout_seconds` is ignored: a run has one round".to_owned();
            self.report.warn(&later.at(), "ignored-key", message, "use initial_round_timeout_seconds");
        }
        timeouts
    }

    fn seconds(&mut self, item: &Item) -> Option<Duration> {
        let seconds = item.number()?;
        if seconds > 0.0 && seconds <= LONGEST_SECONDS {
            return Some(Duration::from_secs_f64(seconds));
        }
        let message =
            format!("{} seconds: expected more than 0 and at most {LONGEST_SECONDS}", Quoted(&item.written));
        self.report.error(&item.at(), "bad-value", message, "");
        None
    }

    fn storage(&mut self, item: &Item) -> Option<PathBuf> {
        let path = self.expand_home(item)?;
        self.no_parents(item, &path).then_some(path)
    }

    /// `~` and `~/…` by the HOME variable; a text that is empty is no path.
    fn expand_home(&mut self, item: &Item) -> Option<PathBuf> {
        self.expand_home_in(item, item.text()?)
    }

    fn expand_home_in(&mut self, item: &Item, text: &str) -> Option<PathBuf> {
        if text.trim().is_empty() {
            self.report.error(&item.at(), "bad-value", "the path is empty".to_owned(), "");
            return None;
        }
        let Some(rest) = text.strip_prefix('~') else { return Some(PathBuf::from(text)) };
        if !rest.is_empty() && !rest.starts_with('/') {
            // Never what a variable says.
            let written = if item.written.is_empty() { text } else { &item.written };
            let message = format!("{}: the home of another user is not looked up", Quoted(written));
            self.report.error(
                &item.at(),
                "bad-value",
                message,
                "write the absolute path, or ./~ for a file of that name",
            );
            return None;
        }
        let Some(home) = self.variables.get("HOME").filter(|h| Path::new(h).is_absolute()) else {
            let message = "`~` is used, and the variable `HOME` is not an absolute path".to_owned();
            self.report.error(&item.at(), "unset-variable", message, "set HOME, or write the absolute path");
            return None;
        };
        Some(Path::new(home).join(rest.trim_start_matches('/')))
    }

    /// Whether a path goes nowhere but down.
    fn no_parents(&mut self, item: &Item, path: &Path) -> bool {
        let bad = path.components().any(|c| c == Component::ParentDir);
        if bad {
            let message = format!("{} has `..` in it", Quoted(&item.written));
            self.report.error(&item.at(), "bad-value", message, "write the path without `..`");
        }
        !bad
    }

    fn place(&self, item: &Item) -> Place {
        Place { file: self.source.name.to_owned(), line: item.mark.line, column: item.mark.column }
    }

    fn missing(&mut self, map: &Item, key: &str, message: String, help: impl Into<String>) {
        let path = if map.path.is_empty() { key.to_owned() } else { format!("{}.{key}", map.path) };
        self.report.error(&At::new(&path, map.mark), "missing-key", message, help);
    }
}
