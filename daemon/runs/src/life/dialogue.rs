//! An agent whose model the daemon asks itself, with the sandbox's tools.

use super::{
    Life,
    agent::{Agent, Ready, Trouble, warning},
    log::Log,
    tools::{Recorder, no_host},
};
use crate::{
    journal::{Durability, JournalError, JournalReader},
    record::{End, State},
    store::RunDirectory,
};
use async_trait::async_trait;
use cordon_backends::{
    Redactor,
    api::{Conversation, Target, target, target_of},
};
use cordon_config::MediaModel;
use cordon_dialogue::{
    Dialogue, Ended, Given, Kept, Looker, Lookers, Media, Studio, TellFailed, Teller, Toolbox, Tools,
};
use cordon_mcp::{Host, Inside};
use cordon_models::{AskError, Client, Maker, Makes, Model, SettleError, settle};
use cordon_proto::v1::{SessionEvent, TurnEnded, TurnStarted, event::Kind};
use cordon_providers::Making;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// The most runs that are looked through for what was said before.
const MOST_RUNS: usize = 1000;

impl Agent {
    /// Whether the daemon itself asks its model.
    pub(super) fn is_asked(&self) -> bool {
        matches!(self.planned.context.agent.backend, cordon_config::BackendKind::Api(_))
    }

    /// The agent's turn, from the first question to the answer.
    pub(super) async fn converse(&self, life: &Life, ready: Ready) -> Result<(End, String), Trouble> {
        let started = Instant::now();
        let backend = self.planned.context.agent.backend.name().to_owned();
        let session = self.turn.given.clone().unwrap_or_else(|| self.turn.fresh.clone());
        let began = TurnStarted { turn: self.turn.number, backend, argv: Vec::new() };
        let kinds = vec![Kind::TurnStarted(began), Kind::Session(SessionEvent { id: session })];
        self.log.tell(kinds, Durability::Now).await?;
        let ended = self.converse_inside(life, &ready).await;
        drop(ready.denials);
        let (end, message) = match ended {
            Ok(ended) => ended,
            // A guest that ended by itself says why, and that is the better reason.
            Err(Trouble::Lost(why)) => {
                let words = cordon_sandbox::guest::last_words(&ready.sandbox.record.directory);
                return Err(Trouble::Lost(words.unwrap_or(why)));
            }
            Err(trouble) => return Err(trouble),
        };
        let told = TurnEnded {
            turn: self.turn.number,
            outcome: cordon_proto::v1::Outcome::from(end).into(),
            message: message.clone(),
            exit_code: None,
            wall_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        self.log.tell(vec![Kind::TurnEnded(told)], Durability::Now).await?;
        Ok((end, message))
    }

    async fn converse_inside(&self, life: &Life, ready: &Ready) -> Result<(End, String), Trouble> {
        let agent = &self.planned.context.agent;
        let (deadline, deadline_of) = self.deadline(life);
        let redactor = Redactor::new(&self.hidden.all());
        let refused = |why: String| Trouble::Backend(redactor.text(&why));
        let target = target(&self.planned.context).map_err(|e| refused(e.to_string()))?;
        let client = life.shared.models().map_err(refused)?;
        let settled = tokio::select! {
            settled = settle(target, &agent.api.lmstudio, &client, &life.stop) => settled,
            () = tokio::time::sleep_until(deadline) => return Ok((End::TimedOut, deadline_of)),
        };
        let target = match settled {
            Ok(target) => target,
            Err(SettleError::Ask(AskError::Cancelled)) => return Ok((End::Cancelled, String::new())),
            Err(error) => return Err(refused(error.to_string())),
        };
        let more_models = async {
            match &agent.api.media {
                Some(media) => Ok(Some(self.media_models(media, &target, &client, &life.stop).await?)),
                None => Ok(None),
            }
        };
        let media = tokio::select! {
            media = more_models => media,
            () = tokio::time::sleep_until(deadline) => return Ok((End::TimedOut, deadline_of)),
        };
        let media = match media {
            Ok(media) => media,
            Err(NoModels::Cancelled) => return Ok((End::Cancelled, String::new())),
            Err(NoModels::Why(why)) => return Err(refused(why)),
        };
        let model = Model::new(target, &client);
        if agent.api.limits.cost_micros.is_some() && !model.price_known() {
            let name = &model.target().settings.model;
            let why =
                format!("max_cost_usd cannot hold: nobody knows what {name} costs; use max_tokens_total");
            return Err(refused(why));
        }
        let conversation = self.said_before(life).await?;
        let failed = CancellationToken::new();
        let recorder = Arc::new(Recorder::new(self.log.clone(), redactor.clone(), failed.clone()));
        let inside = Inside {
            guest: ready.sandbox.guest.clone(),
            workspace: self.planned.workspace.path.clone(),
            egress: agent.egress.clone().unwrap_or_default(),
        };
        let host = Host::start(inside, &agent.tools, recorder.clone()).await;
        let host = host.map_err(|e| no_host(&e, &redactor))?;
        let warnings = host.warnings().iter().map(|w| warning("mcp", &redactor.text(w))).collect();
        self.log.tell(warnings, Durability::Soon).await?;
        self.set_state(life, State::Running).await;
        let workspace = self.planned.workspace.path.display().to_string();
        let host = Arc::new(host);
        let mut more: Vec<Arc<dyn Toolbox>> = Vec::new();
        let told = || (host.clone(), recorder.clone(), redactor.clone(), life.stop.clone());
        let (lookers, makers) = media.unwrap_or_default();
        if let Some(lookers) = lookers {
            let (host, recorder, redactor, stop) = told();
            more.push(Arc::new(Media::new(host, recorder, lookers, redactor, stop)));
        }
        if !makers.is_empty() {
            let (host, recorder, redactor, stop) = told();
            more.push(Arc::new(Studio::new(host, recorder, makers, redactor, stop)));
        }
        let tools = Tools::new(host, workspace, more);
        let teller = Told { log: self.log.clone(), error: Mutex::default() };
        let given = Given {
            model: &model,
            tools: &tools,
            teller: &teller,
            limits: agent.api.limits.clone(),
            planning: agent.api.planning,
            planning_words: agent.api.planning_words.clone(),
            redactor: redactor.clone(),
            cancel: &life.stop,
            deadline,
        };
        let turn = Dialogue::new(given, conversation).turn(&life.prompt);
        let ended = tokio::select! {
            biased;
            () = failed.cancelled() => return Err(recorder.trouble()),
            ended = turn => ended,
        };
        match ended {
            Ok(Ended { outcome, message }) => {
                let end = End::from(outcome);
                let message = if end == End::TimedOut && message.is_empty() { deadline_of } else { message };
                Ok((end, message))
            }
            Err(error) => Err(teller.trouble(&error)),
        }
    }

    /// Who looks, draws and speaks for the agent. `own` is whom the agent itself asks.
    async fn media_models(
        &self,
        media: &cordon_config::Media,
        own: &Target,
        client: &Client,
        stop: &CancellationToken,
    ) -> Result<(Option<Lookers>, Vec<Arc<dyn Makes>>), NoModels> {
        let lmstudio = &self.planned.context.agent.api.lmstudio;
        let of = |MediaModel { provider, model }: &MediaModel, key: &str| {
            let target = target_of(&self.planned.context, provider, None, model.as_deref());
            target.map_err(|e| NoModels::Why(format!("{key}: {e}")))
        };
        let looker = async |other: &Option<MediaModel>| {
            let target = match other {
                Some(other) => {
                    let target = of(other, "multimodal_config")?;
                    settle(target, lmstudio, client, stop).await.map_err(|e| match e {
                        SettleError::Ask(AskError::Cancelled) => NoModels::Cancelled,
                        other => NoModels::Why(format!("multimodal_config: {other}")),
                    })?
                }
                None => own.clone(),
            };
            let name = format!("{} ({})", target.endpoint.provider().name, target.settings.model);
            Ok::<_, NoModels>(Looker { model: Arc::new(Model::new(target, client)), name })
        };
        let lookers = if media.looks {
            Some(Lookers {
                image: looker(&media.image).await?,
                audio: looker(&media.audio).await?,
                video: looker(&media.video).await?,
                file: looker(&None).await?,
            })
        } else {
            None
        };
        let limited = self.planned.context.agent.api.limits.cost_micros.is_some();
        let mut makers: Vec<Arc<dyn Makes>> = Vec::new();
        for (making, model) in [(Making::Image, &media.draws), (Making::Audio, &media.speaks)] {
            let Some(model) = model else { continue };
            let key = format!("{}_generation_backend", making.word());
            let maker = Maker::new(of(model, &key)?, making, client);
            let maker = maker.map_err(|e| NoModels::Why(format!("{key}: {e}")))?;
            if limited && !maker.price_known() {
                return Err(NoModels::Why(format!(
                    "max_cost_usd cannot hold: nobody knows what {} takes; name another one with \
                     `{}_generation_model`, or use max_tokens_total",
                    maker.name(),
                    making.word()
                )));
            }
            makers.push(Arc::new(maker));
        }
        Ok((lookers, makers))
    }

    /// The conversation that the turn goes on with.
    async fn said_before(&self, life: &Life) -> Result<Conversation, Trouble> {
        let system = self.planned.context.agent.system_message.clone().unwrap_or_default();
        let mut kept = Kept::default();
        let mut before = life.entry.with(|r| r.resumes.clone());
        // A run that ended before its model was asked has nothing: what it went on with has.
        for _ in 0..MOST_RUNS {
            let Some(run) = before.filter(|_| kept.is_empty()) else { break };
            let journal = RunDirectory::new(&life.shared.directory, &run).journal();
            self.gather(&journal, &mut kept).await.map_err(|e| {
                Trouble::Lost(format!("what was said in run {run} cannot be read from its journal: {e}"))
            })?;
            let entry = life.shared.entries().get(&run).cloned();
            before = entry.and_then(|e| e.with(|r| r.resumes.clone()));
        }
        kept.conversation(system).map_err(Trouble::Lost)
    }

    async fn gather(&self, journal: &std::path::Path, kept: &mut Kept) -> Result<(), JournalError> {
        let id = &self.planned.context.agent.id;
        let mut reader = JournalReader::open(journal, 1)?;
        while let Some(events) = reader.next(false).await? {
            for event in events.iter().filter(|e| e.agent == *id) {
                if let Some(Kind::Conversation(said)) = &event.kind {
                    kept.see(said);
                }
            }
        }
        Ok(())
    }
}

/// Why the agent has not the models that its file names.
enum NoModels {
    Cancelled,
    Why(String),
}

/// Tells the journal.
struct Told {
    log: Log,
    error: Mutex<Option<JournalError>>,
}

#[async_trait]
impl Teller for Told {
    async fn tell(&self, kinds: Vec<Kind>) -> Result<(), TellFailed> {
        let told = self.log.tell(kinds, Durability::Soon).await;
        told.map_err(|error| {
            let words = error.to_string();
            self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            TellFailed(words)
        })
    }
}

impl Told {
    fn trouble(&self, failed: &TellFailed) -> Trouble {
        let error = self.error.lock().unwrap_or_else(PoisonError::into_inner).take();
        error.map_or_else(|| Trouble::Lost(failed.to_string()), Trouble::Journal)
    }
}
