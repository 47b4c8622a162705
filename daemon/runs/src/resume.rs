//! Going on with an ended run: what the new one takes over, and when there is nothing to go on with.

use crate::{
    changes::settled,
    error::RunError,
    file::Checked,
    home,
    plan::Planned,
    record::{AgentRecord, RunRecord},
    runs::{StartRequest, pick},
    shared::Shared,
    store::RunDirectory,
};
use cordon_backends::REDACTED;
use cordon_config::AgentFile;
use std::path::Path;

const FILE_AGAIN: &str = "give the agent file as well: `cordon run FILE --resume RUN TASK`";
const ANEW: &str = "begin anew with the agent file, without --resume";

/// The run that a new one goes on with.
pub(crate) struct Line {
    pub(crate) earlier: RunRecord,
}

impl Line {
    /// The run that a request goes on with, when it names one. Only its owner does.
    pub(crate) fn of(shared: &Shared, request: &StartRequest) -> Result<Option<Self>, RunError> {
        if request.resume.is_empty() {
            return Ok(None);
        }
        if !request.from_snapshots.is_empty() {
            let why = "a run that goes on with another has its workspace, and no snapshot to begin with";
            return Err(RunError::Invalid(why.to_owned()));
        }
        Self::find(shared, request.owner.uid, &request.resume).map(Some)
    }

    /// The run of this owner's that is to be gone on with.
    pub(crate) fn find(shared: &Shared, owner: u32, id: &str) -> Result<Self, RunError> {
        let own = pick(&shared.entries(), id, |e| e.with(|r| r.owner.uid() == owner));
        let entry = match own {
            Err(RunError::NotFound { id }) if owner == 0 => {
                let entry = pick(&shared.entries(), &id, |_| true)?;
                let line = Self { earlier: entry.record() };
                let why = format!("it is of user {}", line.earlier.owner.uid());
                return Err(line.refused(why, "only its owner goes on with a run"));
            }
            found => found?,
        };
        let line = Self { earlier: entry.record() };
        if !entry.is_ended() {
            return Err(RunError::StillRunning { run: line.earlier.id });
        }
        line.last(shared)?;
        Ok(line)
    }

    fn refused(&self, why: impl Into<String>, fix: &'static str) -> RunError {
        RunError::NotResumable { run: self.earlier.id.clone(), why: why.into(), fix }
    }

    /// Only the last run of a line: its home has moved on.
    fn last(&self, shared: &Shared) -> Result<(), RunError> {
        if self.earlier.tools {
            return Err(self.refused("it only served tools to a client", ANEW));
        }
        let runs: Vec<RunRecord> = shared.all().iter().map(|e| e.record()).collect();
        let mut last = &self.earlier;
        let after = |id: &str| runs.iter().find(|r| r.resumes.as_deref() == Some(id));
        while let Some(next) = after(&last.id) {
            last = next;
        }
        if last.id != self.earlier.id {
            let why = format!("run {} has gone on with it already", last.id);
            return Err(self.refused(why, "go on with the last run of the line"));
        }
        match &self.earlier.resumed_by {
            Some(gone) => {
                Err(self.refused(format!("run {gone} went on with it, and was removed since"), ANEW))
            }
            None => Ok(()),
        }
    }

    /// What the request does not say is as it was.
    pub(crate) fn fill(&self, shared: &Shared, request: &mut StartRequest) -> Result<(), RunError> {
        let earlier = &self.earlier;
        if request.content.is_empty() {
            request.content = self.kept_file(shared)?;
            request.name.clone_from(&earlier.file_name);
            request.directory.clone_from(&earlier.directory);
        }
        let agents: Vec<String> = earlier.agents.iter().map(|a| a.id.clone()).collect();
        if !request.agents.is_empty() {
            let mut asked = request.agents.clone();
            asked.sort();
            asked.dedup();
            let mut there = agents.clone();
            there.sort();
            if asked != there {
                let what = format!("a run goes on with all of its agents, and run {} has others", earlier.id);
                return Err(RunError::Agent { what, agents });
            }
        }
        request.agents = agents;
        request.wall = request.wall.or(earlier.wall);
        Ok(())
    }

    /// The agent file that was kept, where nothing was taken out of it.
    pub(crate) fn kept_file(&self, shared: &Shared) -> Result<Vec<u8>, RunError> {
        let content = RunDirectory::new(&shared.directory, &self.earlier.id).read("agent-file")?;
        if content.windows(REDACTED.len()).any(|part| part == REDACTED.as_bytes()) {
            return Err(self.refused("a secret was taken out of its agent file when it ended", FILE_AGAIN));
        }
        Ok(content)
    }

    /// Agents that began with a snapshot have a workspace of Cordon's own, whatever the file says.
    pub(crate) fn workspaces(&self, file: &mut AgentFile) -> Result<(), RunError> {
        for earlier in &self.earlier.agents {
            let agent = file.agents.iter_mut().find(|a| a.id == earlier.id);
            let Some(agent) = agent else {
                let what = format!("agent {:?} of run {} is not in the file", earlier.id, self.earlier.id);
                return Err(RunError::Agent {
                    what,
                    agents: file.agents.iter().map(|a| a.id.clone()).collect(),
                });
            };
            if agent.backend.name() != earlier.backend {
                let (id, was, is) = (&earlier.id, &earlier.backend, agent.backend.name());
                return Err(
                    self.refused(format!("agent {id} was of type {was} and now is of type {is}"), ANEW)
                );
            }
            if earlier.from_snapshot.is_some() {
                agent.cwd = None;
            }
            if !earlier.workspace.is_dir() {
                let why = format!("the workspace {:?} is gone", earlier.workspace);
                return Err(self.refused(why, ANEW));
            }
        }
        Ok(())
    }

    /// Whether the plan is for the same places, and nobody else is at work in them.
    pub(crate) fn check(&self, shared: &Shared, planned: &[Planned]) -> Result<(), RunError> {
        for planned in planned {
            let id = &planned.context.agent.id;
            let Some(earlier) = self.agent(id) else { continue };
            let (was, is) = (&earlier.workspace, &planned.workspace.path);
            if was != is {
                return Err(
                    self.refused(format!("agent {id} worked in {was:?} and now would in {is:?}"), ANEW)
                );
            }
            if earlier.identity != Some(planned.workspace.identity) {
                let why = format!("the workspace {is:?} belongs to another user than it did");
                return Err(self.refused(why, ANEW));
            }
            if keeps_home(planned) && earlier.home.is_none() && earlier.begun {
                let why = format!("the home of agent {id} was not kept");
                return Err(self.refused(why, ANEW));
            }
            let overlaps = |a: &Path, b: &Path| a.starts_with(b) || b.starts_with(a);
            let user = shared
                .all()
                .into_iter()
                .find(|e| e.with(|r| r.end.is_none() && r.agents.iter().any(|a| overlaps(&a.workspace, is))));
            if let Some(user) = user {
                return Err(RunError::InUse { tree: is.clone(), run: user.id.clone() });
            }
        }
        Ok(())
    }

    fn agent(&self, id: &str) -> Option<&AgentRecord> {
        self.earlier.agents.iter().find(|a| a.id == id)
    }

    /// Writes into the new run's record where it goes on.
    pub(crate) fn carry(&self, shared: &Shared, record: &mut RunRecord) -> Result<(), RunError> {
        record.follow(&self.earlier);
        for agent in &mut record.agents {
            let Some(earlier) = self.agent(&agent.id) else { continue };
            agent.turn = earlier.turn.next(earlier.begun);
            agent.home.clone_from(&earlier.home);
            agent.from_snapshot.clone_from(&earlier.from_snapshot);
            agent.workspace_made = earlier.workspace_made;
            for tree in earlier.trees.iter().filter(|t| t.staged) {
                let left = match (earlier.begun, &tree.turn) {
                    (true, None) => {
                        let (run, agent) = (self.earlier.id.clone(), agent.id.clone());
                        return Err(RunError::NotKept { run, agent });
                    }
                    (true, left) => left,
                    (false, _) => &tree.begins,
                };
                let (Some(left), Some(base)) = (left, &tree.base) else { continue };
                // What the person has taken over already is where everybody begins.
                if settled(shared, &self.earlier, tree, left)? {
                    continue;
                }
                let same = |t: &&mut crate::keep::TreeRecord| {
                    t.staged && t.path == tree.path && t.is_directory == tree.is_directory
                };
                let Some(now) = agent.trees.iter_mut().find(same) else {
                    let why = format!(
                        "what agent {} did in {:?} is not applied, and the agent file does not stage that any more",
                        agent.id, tree.path
                    );
                    return Err(self.refused(why, "`cordon apply` it first, or name the path in the file"));
                };
                (now.base, now.begins) = (Some(base.clone()), Some(left.clone()));
            }
        }
        if record.agents.iter().flat_map(|a| &a.trees).any(|t| t.begins.is_some())
            && record.storage != self.earlier.storage
        {
            return Err(self.refused("the agent file names another snapshot_storage", ANEW));
        }
        Ok(())
    }

    /// The earlier run is not gone on with again, also when the one that did is removed.
    pub(crate) fn closed(&self, shared: &Shared, by: &str) {
        let Some(entry) = shared.entries().get(&self.earlier.id).cloned() else { return };
        if let Err(error) = entry.update(false, |r| r.resumed_by = Some(by.to_owned())) {
            // The new run's own record says the same as long as it is there.
            tracing::warn!(run = entry.id, %error, "the run's record was not kept");
        }
    }

    /// What the person should know of an agent that goes on.
    pub(crate) fn warning(&self, checked: &Checked, record: &RunRecord, agent: &str) -> Option<String> {
        let turn = record.agents.iter().find(|a| a.id == agent).map(|a| &a.turn)?;
        let file = checked.file.agents.iter().find(|a| a.id == agent)?;
        let backend = file.backend.name();
        match (&turn.given, self.agent(agent)?.home.is_some()) {
            (Some(_), _) => None,
            (None, true) => Some(format!(
                "{backend} told of no session in run {}: it begins a new one, in the same home and workspace",
                self.earlier.id
            )),
            (None, false) => {
                Some(format!("the backend {backend} has no sessions: it begins anew, in the same workspace"))
            }
        }
    }
}

fn keeps_home(planned: &Planned) -> bool {
    planned.sandbox.paths.iter().any(|entry| entry.path == planned.sandbox.home)
}

/// Removes the homes of a line when the run that goes is its last. Blocks.
pub(crate) fn remove_homes(shared: &Shared, record: &RunRecord) -> Result<(), RunError> {
    let line = record.line();
    let goes_on =
        |r: &RunRecord| r.id != record.id && r.line() == line && r.resumes.as_deref() == Some(&record.id);
    if record.resumed_by.is_some() || shared.all().iter().any(|e| e.with(goes_on)) {
        return Ok(());
    }
    Ok(home::remove(&shared.host.state, line)?)
}
