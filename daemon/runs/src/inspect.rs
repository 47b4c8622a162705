//! Looking without running: what a policy says, and what a fresh sandbox really is.

mod explain;

use crate::{
    error::RunError,
    file::{self, FileSource},
    keep::peers,
    logins,
    plan::{Owner, Planned, Purpose, remove_placeholders},
    runs::Runs,
    shared::Shared,
};
use cordon_backends::Variables;
use cordon_proto::{guest::ProbeResponse, v1};
use cordon_sandbox::{SandboxRecord, WallKind};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::mpsc;

/// An agent file to look at.
#[derive(Clone, Debug)]
pub struct InspectRequest {
    /// Name of the agent file.
    pub name: String,
    /// Its content.
    pub content: Vec<u8>,
    /// Where it lies.
    pub directory: PathBuf,
    /// Values that the client sent.
    pub variables: Variables,
    /// Empty: every agent, or the only one.
    pub agent: String,
    /// Overrides the file's wall.
    pub wall: Option<WallKind>,
    /// Who asks.
    pub owner: Owner,
}

/// What a fresh sandbox really is.
#[derive(Debug)]
pub struct Inspected {
    /// The agent it was made for.
    pub agent: String,
    /// Its wall.
    pub wall: WallKind,
    /// The probe compared with the policy.
    pub findings: Vec<v1::ProbeFinding>,
    /// The probe itself.
    pub probe: Option<ProbeResponse>,
}

impl Runs {
    /// What the policy of the file's agents says of some paths; of every rule, for none.
    ///
    /// # Errors
    /// When the file or a plan does not allow it.
    pub async fn explain(
        &self,
        request: InspectRequest,
        paths: Vec<String>,
    ) -> Result<Vec<v1::ExplainRow>, RunError> {
        let directory = request.directory.clone();
        let planned = self.plan_only(request, Purpose::Look).await?;
        let shared = self.0.shared.clone();
        let told = tokio::task::spawn_blocking(move || {
            let rows = planned.iter().flat_map(|p| explain::rows(p, &directory, &paths)).collect();
            (rows, planned)
        })
        .await;
        let (rows, planned) = told.map_err(|_| RunError::Internal("explain the policy"))?;
        discard(&shared, planned).await;
        Ok(rows)
    }

    /// Makes a sandbox, probes it and ends it.
    ///
    /// # Errors
    /// When the file, the plan or the wall does not allow it.
    pub async fn inspect(&self, request: InspectRequest) -> Result<Inspected, RunError> {
        let chosen = request.agent.clone();
        let mut planned = self.plan_only(request, Purpose::Start).await?;
        let shared = self.0.shared.clone();
        if planned.len() > 1 {
            let agents = planned.iter().map(|p| p.context.agent.id.clone()).collect();
            discard(&shared, planned).await;
            return Err(RunError::Agent { what: "name one agent of the file".to_owned(), agents });
        }
        let Some(one) = planned.pop() else {
            return Err(RunError::Agent {
                what: format!("no agent is named {chosen:?}"),
                agents: Vec::new(),
            });
        };
        let inspected = probe(&shared, &one).await;
        discard(&shared, vec![one]).await;
        inspected
    }

    async fn plan_only(&self, request: InspectRequest, purpose: Purpose) -> Result<Vec<Planned>, RunError> {
        self.ready().await;
        let shared = self.0.shared.clone();
        let _planning = shared.planning.write().await;
        let blocking = shared.clone();
        let planned = tokio::task::spawn_blocking(move || {
            let source = FileSource {
                name: &request.name,
                content: &request.content,
                directory: &request.directory,
                variables: &request.variables,
            };
            let checked = file::check(&source)?;
            let selected: Vec<String> =
                Some(request.agent).into_iter().filter(|name| !name.is_empty()).collect();
            let run = uuid::Uuid::now_v7().simple().to_string();
            let planning = file::For {
                run: &run,
                file: &checked.file,
                owner: &request.owner,
                variables: &request.variables,
                wall: request.wall,
                purpose,
                line: None,
            };
            file::plan_agents(&blocking.host, &selected, &planning)
        });
        planned.await.map_err(|_| RunError::Internal("check the agent file"))?
    }
}

/// Forks what the plan stages, for as long as the sandbox is looked at.
async fn probe(shared: &Arc<Shared>, planned: &Planned) -> Result<Inspected, RunError> {
    let (staged, identity) = (planned.staged.clone(), planned.workspace.identity);
    let (forks, view) = (shared.host.state.join("forks"), planned.peers.outside.clone());
    let mounts = shared.walls.shares_mounts(planned.context.wall).await;
    let made = tokio::task::spawn_blocking(move || -> Result<(), RunError> {
        peers::prepare(&view)?;
        for one in &staged {
            let detect = if mounts { cordon_forks::detect } else { cordon_forks::detect_unmounted };
            one.make(detect(&forks, &one.path), identity, None, &mut |_, _| {})?;
        }
        Ok(())
    });
    made.await.map_err(|_| RunError::Internal("fork the trees"))??;
    probe_made(shared, planned).await
}

async fn probe_made(shared: &Arc<Shared>, planned: &Planned) -> Result<Inspected, RunError> {
    if let Some(user) = logins::User::of(planned) {
        logins::fresh(shared, &user).await?;
    }
    let wall = shared.walls.wall(planned.context.wall).await?;
    let (denials, _nobody_connects) = mpsc::channel(1);
    let made: Arc<Mutex<Option<SandboxRecord>>> = Arc::default();
    let keep = made.clone();
    let remember = move |record: &SandboxRecord| {
        *keep.lock().unwrap_or_else(PoisonError::into_inner) = Some(record.clone());
        Ok(())
    };
    let created = wall.create(&planned.sandbox, &remember, denials).await;
    let record = made.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(record) = record {
        wall.destroy(&record).await?;
    }
    let sandbox = created?;
    Ok(Inspected {
        agent: planned.context.agent.id.clone(),
        wall: planned.context.wall,
        findings: sandbox.findings.iter().map(crate::life::finding).collect(),
        probe: sandbox.probe.clone(),
    })
}

/// Takes away what only the plan made.
async fn discard(shared: &Arc<Shared>, planned: Vec<Planned>) {
    let _nobody_plans = shared.planning.write().await;
    let shared = shared.clone();
    let done = tokio::task::spawn_blocking(move || {
        for one in planned {
            let run = one.sandbox.labels.run;
            for staged in &one.staged {
                if let Err(error) = cordon_forks::Fork::remove(&staged.fork) {
                    tracing::warn!(fork = %staged.fork.display(), %error, "a fork was left");
                }
            }
            // Only when nothing is left in them.
            let forks = shared.host.state.join("forks").join(&run);
            let _ = std::fs::remove_dir(forks.join("0"));
            let _ = std::fs::remove_dir(&forks);
            if let Err(error) = peers::remove(&peers::views(&shared.host.state, &run)) {
                tracing::warn!(run, %error, "what an inspection made was left");
            }
            let free: Vec<PathBuf> =
                one.placeholders.into_iter().filter(|path| !shared.hand_over(&run, path)).collect();
            remove_placeholders(&free);
            // Named after this run, and never anything with something in it.
            let own = shared.host.state.join("workspaces").join(&run);
            if one.workspace.path.starts_with(&own) {
                let _ = std::fs::remove_dir(&one.workspace.path);
                let _ = std::fs::remove_dir(&own);
            }
        }
    });
    if done.await.is_err() {
        tracing::error!("what an inspection made was left");
    }
}
