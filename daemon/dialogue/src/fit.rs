//! Makes a conversation shorter that does not fit into the model's window.

use crate::{
    TellFailed, bounds, compact, kept,
    turn::{Dialogue, Ended},
};
use cordon_backends::api::{ApiError, Choice, FailureKind, Item, Part};
use cordon_models::AskError;
use cordon_proto::v1::{Outcome, WarningEvent, event::Kind};
use std::sync::atomic::AtomicUsize;

/// Of a window, so much may be full before it is emptied, and is kept of the last things said.
const FULL: (u64, u64) = (4, 5);
const KEPT: u64 = 4;

impl Dialogue<'_> {
    /// Tokens of what would be sent now.
    fn size(&self) -> u64 {
        let items = &self.conversation.items;
        match self.counted {
            Some((tokens, at)) => {
                tokens.saturating_add(compact::tokens_of(items.get(at..).unwrap_or_default()))
            }
            None => compact::tokens_before(&self.conversation.system, &self.offered)
                .saturating_add(compact::tokens_of(items)),
        }
    }

    /// Makes the conversation shorter when it does not fit; `must`: its server says that it does not.
    pub(crate) async fn fit(&mut self, must: bool) -> Result<Option<Ended>, TellFailed> {
        let window = self.given.limits.window.or_else(|| self.given.model.window());
        let size = self.size();
        let full = window.map(|window| window / FULL.1 * FULL.0);
        if !must && full.is_none_or(|full| size < full) {
            return Ok(None);
        }
        let goal = full.filter(|full| *full < size).unwrap_or(size / 2);
        let before = (self.conversation.items.len(), size);
        let elided = compact::elide(&mut self.conversation);
        self.counted = None;
        // What a server said is too much is not believed to be little enough by a guess.
        let enough = elided && self.size() < goal && !must;
        let mut words = "old results of tools were shortened";
        if !enough {
            words = "it goes on from a summary of the model's own";
            let Some(from) = self.cut_at(goal) else {
                let words = "the conversation is longer than the model's window, and cannot be made shorter";
                return Ok(Some(Ended::new(Outcome::AgentFailed, words)));
            };
            let summary = match self.summary().await? {
                Ok(summary) => summary,
                Err(ended) => return Ok(Some(ended)),
            };
            self.conversation.items = compact::shortened(&self.conversation, &summary, from);
        }
        self.held = AtomicUsize::new(bounds::bytes_of(&self.conversation.items));
        for (number, item) in self.conversation.items.iter().enumerate() {
            self.tell(vec![kept::said(item, number == 0, &self.given.redactor)]).await?;
        }
        let message = format!(
            "the conversation came near the model's window (about {} tokens): {words}; {} things said became {}",
            before.1,
            before.0,
            self.conversation.items.len(),
        );
        self.tell(vec![Kind::Warning(WarningEvent { reason: "compacted".to_owned(), message })]).await?;
        Ok(None)
    }

    fn cut_at(&self, goal: u64) -> Option<usize> {
        let from = compact::tail(&self.conversation.items, goal / KEPT);
        // Nothing before it could be left out.
        (from > 1).then_some(from)
    }

    async fn summary(&mut self) -> Result<Result<String, Ended>, TellFailed> {
        let whole = self.conversation.clone();
        self.conversation.items.push(Item::User(vec![Part::Text(compact::ASK.to_owned())]));
        let mut answer = self.ask(Choice::None).await?;
        // Too long even to be summarised: without its middle it is not.
        for _ in 0..3 {
            if !answer.as_ref().is_err_and(too_long) {
                break;
            }
            let items = &self.conversation.items;
            let room = compact::tokens_of(items) / 2;
            let from = compact::tail(items, room).max(1);
            self.conversation.items =
                compact::shortened(&self.conversation, "(What was said first is lost.)", from);
            answer = self.ask(Choice::None).await?;
        }
        self.conversation = whole;
        Ok(match answer {
            Ok(answer) => {
                let text = answer.items.iter().filter_map(|item| match item {
                    Item::Text(text) => Some(text.text.as_str()),
                    _ => None,
                });
                Ok(text.collect::<Vec<_>>().join("\n"))
            }
            Err(error) => Err(self.failed(&error)),
        })
    }
}

pub(crate) fn too_long(error: &AskError) -> bool {
    matches!(error, AskError::Failed { error: ApiError::Refused(failure), .. }
        if failure.kind == FailureKind::ContextTooLong)
}
