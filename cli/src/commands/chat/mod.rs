//! `cordon chat`: a conversation. Each message is a run that goes on with the one before.

mod slash;
mod terminal;

use super::{
    apply::later,
    logs::{Show, show},
    run::{start, stop, stopping},
};
use crate::{
    agent_file,
    args::{Chat, Global, Output, WallName},
    ask,
    error::CliError,
    exit::Exit,
    line::{Input, Typed},
    neutral,
    render::Renderer,
    session::Session,
    signals::Signals,
};
use cordon_proto::v1::{AgentFile, GetRunRequest, Outcome, Run, RunState, StartRunRequest, UsageEvent};
use std::pin::pin;

pub(crate) async fn chat(global: &Global, args: Chat) -> Result<Exit, CliError> {
    // Read before a daemon is looked for: a wrong name needs no daemon.
    args.file.as_deref().map(agent_file::read).transpose()?;
    let session = Session::open(global).await?;
    let earlier = match &args.resume {
        Some(id) => Some(ended(&session, id).await?),
        None => None,
    };
    let (file, mut names) = match (&args.file, &earlier) {
        (Some(file), _) => agent_file::check(&session, file).await?,
        (None, Some(run)) => (agent_file::check_kept(&session, &run.id).await?, Vec::new()),
        (None, None) => return Err(CliError::Input("there is no agent file".to_owned())),
    };
    if let Some(run) = &earlier {
        names = run.agents.iter().map(|a| a.id.clone()).collect();
    }
    if let Some(unknown) = args.agents.iter().find(|a| !names.contains(a)) {
        let (unknown, names) = (neutral::word(unknown), neutral::word(&names.join(", ")));
        return Err(CliError::Input(format!("there is no agent {unknown}; choose of: {names}")));
    }
    if !args.agents.is_empty() {
        names.retain(|name| args.agents.contains(name));
    }
    let mut talk = Talk {
        session,
        file,
        named: args.file.is_some(),
        names,
        agents: args.agents,
        wall: WallName::word(args.wall),
        last: earlier,
        renderer: Renderer::chat(false, args.reasoning),
        turns: 0,
        used: None,
        output: global.output,
    };
    if ask::possible(global.output) {
        return terminal::converse(&mut talk, args.no_history).await;
    }
    talk.listen().await
}

/// A run that can be gone on with.
async fn ended(session: &Session, id: &str) -> Result<Run, CliError> {
    let run = session.runs().get_run(GetRunRequest { id: id.to_owned() }).await?.into_inner();
    if run.state() == RunState::Ended {
        return Ok(run);
    }
    let id = neutral::word(&run.id);
    Err(CliError::Input(format!(
        "run {id} has not ended; `cordon logs -f {id}` watches it, `cordon stop {id}` stops it"
    )))
}

/// What is known of the conversation.
struct Talk {
    session: Session,
    file: AgentFile,
    /// The person named the file, and it was not the one of an earlier run.
    named: bool,
    /// Of those that answer.
    names: Vec<String>,
    /// As asked for; empty: all of them.
    agents: Vec<String>,
    wall: String,
    /// The run that the next message goes on with.
    last: Option<Run>,
    renderer: Renderer,
    turns: u32,
    used: Option<UsageEvent>,
    output: Output,
}

/// How a turn ended.
enum Turn {
    Ended(Outcome),
    /// It goes on without this client.
    Left(Exit),
}

impl Talk {
    /// Each line of standard input is a message. The first turn that fails is the end.
    async fn listen(&mut self) -> Result<Exit, CliError> {
        let mut input = Input::lines();
        loop {
            let mut signals = Signals::new()?;
            let typed = tokio::select! {
                typed = input.next() => typed?,
                _ = signals.next() => return Ok(Exit::Cancelled),
            };
            drop(signals);
            let Typed::Message(message) = typed else { return Ok(Exit::Success) };
            match self.turn(message).await? {
                Turn::Ended(Outcome::Success) => {}
                Turn::Ended(outcome) => return Ok(Exit::of(outcome)),
                Turn::Left(exit) => return Ok(exit),
            }
        }
    }

    /// Says it, and shows what comes of it.
    async fn turn(&mut self, message: String) -> Result<Turn, CliError> {
        let resume = self.last.as_ref().map(|run| run.id.clone()).unwrap_or_default();
        let request = StartRunRequest {
            agent_file: Some(self.file.clone()),
            prompt: message,
            // A run goes on with all of its agents.
            agents: if resume.is_empty() { self.agents.clone() } else { Vec::new() },
            wall: self.wall.clone(),
            resume,
            ..StartRunRequest::default()
        };
        let (run, interrupted) = self.begin(request).await?;
        self.last = Some(run.clone());
        if interrupted {
            stop(&self.session, run.id.clone()).await?;
        }
        self.renderer =
            std::mem::replace(&mut self.renderer, Renderer::new(false, false)).again(run.agents.len() > 1);
        let as_before = Show { from: 0, follow: true, output: self.output };
        let seen =
            show(&self.session, &run, &mut self.renderer, as_before, stopping(&self.session, &run)).await?;
        let Some(outcome) = seen.outcome else { return Ok(Turn::Left(seen.exit)) };
        self.turns += 1;
        self.count();
        if seen.waiting {
            match ask::possible(self.output) {
                true => outln!(
                    "cordon: your trees are as they were; /diff shows what changed, /apply brings it there"
                ),
                false => eprintln!("cordon: your trees are as they were; {}", later(&run.id, None)),
            }
        }
        Ok(Turn::Ended(outcome))
    }

    /// An interrupt does not leave behind what may have begun already.
    async fn begin(&self, request: StartRunRequest) -> Result<(Run, bool), CliError> {
        let mut signals = Signals::new()?;
        let mut starting = pin!(start(&self.session, request));
        let mut interrupted = false;
        loop {
            tokio::select! {
                run = &mut starting => return Ok((run?, interrupted)),
                _ = signals.next() => interrupted = true,
            }
        }
    }

    fn count(&mut self) {
        let Some(more) = self.renderer.summary.as_ref().and_then(|s| s.usage) else { return };
        let sum = self.used.get_or_insert_default();
        sum.input_tokens = sum.input_tokens.saturating_add(more.input_tokens);
        sum.cached_input_tokens = sum.cached_input_tokens.saturating_add(more.cached_input_tokens);
        sum.output_tokens = sum.output_tokens.saturating_add(more.output_tokens);
        sum.reasoning_tokens = sum.reasoning_tokens.saturating_add(more.reasoning_tokens);
        if let Some(cost) = more.cost_usd {
            sum.cost_usd = Some(sum.cost_usd.unwrap_or_default() + cost);
        }
    }
}
