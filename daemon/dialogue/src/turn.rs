use crate::{
    TellFailed, Teller, Toolbox,
    asking::{self, cut},
    bounds,
    budget::Budget,
    calls::CallsFailed,
    fit::too_long,
    kept,
    names::Names,
    planning,
};
use cordon_backends::{
    Redactor,
    api::{Answer, Choice, Conversation, Item, Part, Stop, Tool},
};
use cordon_config::TurnLimits;
use cordon_models::{Ask, AskError, Asks};
use cordon_proto::v1::{Outcome, event::Kind};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often a model is told in one turn that its answer was none.
const CORRECTIONS: u32 = 3;
/// How often a turn goes on after an answer that was cut at its limit of tokens.
const CONTINUED: u32 = 8;

/// What a turn is given.
pub struct Given<'a> {
    /// Who is asked.
    pub model: &'a dyn Asks,
    /// What it may call.
    pub tools: &'a dyn Toolbox,
    /// Who is told.
    pub teller: &'a dyn Teller,
    /// How far the turn may go.
    pub limits: TurnLimits,
    /// Nothing is changed.
    pub planning: bool,
    /// What the model is told of that, in place of Cordon's own words.
    pub planning_words: Option<String>,
    /// What neither the model nor anybody else is shown.
    pub redactor: Redactor,
    /// When nobody wants it any more.
    pub cancel: &'a CancellationToken,
    /// When it takes too long.
    pub deadline: Instant,
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Success only when the model was done.
    pub outcome: Outcome,
    /// Why, for a person.
    pub message: String,
}

impl Ended {
    pub(crate) fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        Self { outcome, message: message.into() }
    }
}

/// A conversation that goes on by one turn.
pub struct Dialogue<'a> {
    pub(crate) given: Given<'a>,
    pub(crate) conversation: Conversation,
    pub(crate) offered: Vec<Tool>,
    pub(crate) names: Names,
    /// Tools of Cordon's own.
    pub(crate) own: BTreeSet<String>,
    budget: Mutex<Budget>,
    /// Held by a call that spends, where what is spent is limited: each knows what those before it spent.
    pub(crate) spending: tokio::sync::Mutex<()>,
    /// Counts the answers of the conversation.
    pub(crate) serial: u64,
    /// About how many bytes the conversation takes, with the results that are to come into it.
    pub(crate) held: AtomicUsize,
    pub(crate) room: bounds::Room,
    /// Tokens of the conversation and how many things had been said, when a server last counted.
    pub(crate) counted: Option<(u64, usize)>,
}

/// What comes after an answer.
enum Next {
    Ask,
    End(Ended),
}

impl<'a> Dialogue<'a> {
    /// A turn of this conversation.
    #[must_use]
    pub fn new(given: Given<'a>, mut conversation: Conversation) -> Self {
        let (mut names, mut offered, mut own) = (Names::default(), Vec::new(), BTreeSet::new());
        for tool in given.tools.tools() {
            if given.planning && !(tool.own && planning::only_looks(&tool.name)) {
                continue;
            }
            if tool.own {
                own.insert(tool.name.clone());
            }
            offered.push(Tool {
                name: names.show(&tool.name),
                description: tool.description,
                parameters: Value::Object(tool.schema),
            });
        }
        if given.planning {
            let before = if conversation.system.is_empty() { "" } else { "\n\n" };
            let words = given.planning_words.as_deref().unwrap_or(planning::WORDS);
            conversation.system = format!("{}{before}{words}", conversation.system);
        }
        let serial = conversation.items.len() as u64;
        let budget = Mutex::new(Budget::new(given.limits.clone()));
        let held = AtomicUsize::new(bounds::bytes_of(&conversation.items));
        Self {
            given,
            conversation,
            offered,
            names,
            own,
            budget,
            spending: tokio::sync::Mutex::default(),
            serial,
            held,
            room: bounds::ROOM,
            counted: None,
        }
    }

    /// Takes the turn.
    ///
    /// # Errors
    /// When what happens cannot be told.
    pub async fn turn(mut self, prompt: &str) -> Result<Ended, TellFailed> {
        // A later turn goes on from what this one begins with, whatever becomes of earlier runs.
        for (number, item) in self.conversation.items.iter().enumerate() {
            self.tell(vec![kept::said(item, number == 0, &self.given.redactor)]).await?;
        }
        self.say(vec![Item::User(vec![Part::Text(prompt.to_owned())])]).await?;
        let (mut corrections, mut continued) = (0, 0);
        loop {
            if let Some(ended) = self.stopped() {
                return Ok(ended);
            }
            if let Some(why) = self.budget().reached() {
                return Ok(Ended::new(Outcome::AgentFailed, why));
            }
            if let Some(ended) = self.fit(self.is_large()).await? {
                return Ok(ended);
            }
            if self.is_large() {
                let words = "the conversation is larger than 64 MB, and cannot be made shorter";
                return Ok(Ended::new(Outcome::AgentFailed, words));
            }
            let answer = match self.ask(Choice::Auto).await? {
                Ok(answer) => answer,
                Err(error) if too_long(&error) => match self.fit(true).await? {
                    Some(ended) => return Ok(ended),
                    None => continue,
                },
                Err(error) => return Ok(self.failed(&error)),
            };
            match self.answered(answer, &mut corrections, &mut continued).await? {
                Next::Ask => {}
                Next::End(ended) => return Ok(ended),
            }
        }
    }

    pub(crate) fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_large(&self) -> bool {
        self.held.load(Ordering::Relaxed) > self.room.most
    }

    async fn answered(
        &mut self,
        answer: Answer,
        corrections: &mut u32,
        continued: &mut u32,
    ) -> Result<Next, TellFailed> {
        let Answer { items, stop, usage, .. } = answer;
        self.say(items).await?;
        self.counted = Some((usage.input.saturating_add(usage.output), self.conversation.items.len()));
        let calls: Vec<_> = self.conversation.unanswered().into_iter().cloned().collect();
        let again = |words: &str| Item::User(vec![Part::Text(words.to_owned())]);
        match stop {
            Stop::Refused(why) | Stop::Other(why) => {
                self.leave("The call was not made: the answer was no complete one.").await?;
                let why = self.given.redactor.text(&why);
                return Ok(Next::End(Ended::new(
                    Outcome::AgentFailed,
                    format!("the model did not answer: {why}"),
                )));
            }
            Stop::Malformed(why) if *corrections < CORRECTIONS => {
                *corrections += 1;
                self.leave("The call was not made: it could not be read.").await?;
                let words = format!("Your last call of a tool could not be read ({why}). Write it again.");
                self.say(vec![again(&words)]).await?;
                return Ok(Next::Ask);
            }
            Stop::Malformed(why) => {
                self.leave("The call was not made: it could not be read.").await?;
                let why = self.given.redactor.text(&why);
                let words = format!("the model wrote calls that nobody can read: {why}");
                return Ok(Next::End(Ended::new(Outcome::AgentFailed, words)));
            }
            Stop::Window => {
                self.leave("The call was not made: the conversation was too long.").await?;
                return Ok(self.fit(true).await?.map_or(Next::Ask, Next::End));
            }
            Stop::Paused if calls.is_empty() => return Ok(Next::Ask),
            Stop::Length if calls.is_empty() => {
                if *continued >= CONTINUED {
                    let words = "the answer is longer than max_tokens, also when the model may go on";
                    return Ok(Next::End(Ended::new(Outcome::AgentFailed, words)));
                }
                *continued += 1;
                self.say(vec![again("Your answer was cut at its limit of tokens. Go on where it stopped.")])
                    .await?;
                return Ok(Next::Ask);
            }
            Stop::End if calls.is_empty() => {
                return Ok(Next::End(Ended::new(Outcome::Success, String::new())));
            }
            Stop::Paused | Stop::Length | Stop::End => {}
        }
        self.carry_out(calls).await
    }

    async fn carry_out(&mut self, calls: Vec<cordon_backends::api::Call>) -> Result<Next, TellFailed> {
        let (cancel, deadline) = (self.given.cancel, self.given.deadline);
        let made = tokio::select! {
            biased;
            () = cancel.cancelled() => None,
            () = tokio::time::sleep_until(deadline) => None,
            made = self.call(calls) => Some(made),
        };
        match made {
            Some(Ok(results)) => {
                self.say(results).await?;
                Ok(Next::Ask)
            }
            Some(Err(CallsFailed::Tell(error))) => Err(error),
            Some(Err(CallsFailed::Broken(why))) => {
                self.leave("The call was not made.").await?;
                Ok(Next::End(Ended::new(Outcome::Broken, why)))
            }
            // Some of them may have been carried out.
            None => {
                self.leave("It is not known what came of this call: the turn was stopped.").await?;
                Ok(Next::End(self.stopped().unwrap_or_else(|| Ended::new(Outcome::Cancelled, ""))))
            }
        }
    }

    /// Answers the calls that nobody will carry out any more.
    async fn leave(&mut self, why: &str) -> Result<(), TellFailed> {
        let before = self.conversation.items.len();
        self.conversation.answer_rest(why);
        let kinds = self.conversation.items.iter().skip(before);
        let kinds = kinds.map(|item| kept::said(item, false, &self.given.redactor)).collect();
        self.tell(kinds).await
    }

    /// Adds what was said to the conversation, and to the journal.
    async fn say(&mut self, items: Vec<Item>) -> Result<(), TellFailed> {
        for item in items {
            self.tell(vec![kept::said(&item, false, &self.given.redactor)]).await?;
            // A result took its room when it came.
            if !matches!(item, Item::Result(_)) {
                self.held.fetch_add(bounds::bytes_of([&item]), Ordering::Relaxed);
            }
            self.conversation.items.push(item);
        }
        Ok(())
    }

    pub(crate) async fn tell(&self, kinds: Vec<Kind>) -> Result<(), TellFailed> {
        if kinds.is_empty() { Ok(()) } else { self.given.teller.tell(kinds).await }
    }

    pub(crate) async fn ask(&mut self, choice: Choice) -> Result<Result<Answer, AskError>, TellFailed> {
        self.serial += 1;
        let ask = Ask {
            conversation: &self.conversation,
            tools: &self.offered,
            choice,
            serial: self.serial,
            deadline: Some(self.given.deadline),
            cancel: self.given.cancel,
        };
        let answer = asking::ask(self.given.model, ask, self.given.teller, &self.given.redactor).await?;
        if let Ok(answer) = &answer {
            let cost = answer.usage.cost_micros.or_else(|| self.given.model.cost(&answer.usage));
            self.budget().count(&answer.usage, cost);
        }
        Ok(answer)
    }

    fn stopped(&self) -> Option<Ended> {
        if self.given.cancel.is_cancelled() {
            return Some(Ended::new(Outcome::Cancelled, String::new()));
        }
        (Instant::now() >= self.given.deadline).then(|| Ended::new(Outcome::TimedOut, String::new()))
    }

    pub(crate) fn failed(&self, error: &AskError) -> Ended {
        let outcome = match error {
            AskError::Cancelled => return Ended::new(Outcome::Cancelled, String::new()),
            AskError::TimedOut => Outcome::TimedOut,
            AskError::Request(_) => Outcome::Refused,
            _ => Outcome::AgentFailed,
        };
        Ended::new(outcome, cut(&self.given.redactor.text(&error.to_string())))
    }
}
