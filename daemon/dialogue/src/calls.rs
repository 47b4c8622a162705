//! Calls of one answer.

use crate::{
    TellFailed, ToolFailed,
    asking::{self, cut},
    bounds, make, planning,
    toolbox::Came,
    turn::Dialogue,
};
use cordon_backends::api::{Arguments, Call, CallResult, Item, Part, Written};
use cordon_proto::v1::{ToolCallEvent, WarningEvent, event::Kind};
use futures_util::{StreamExt as _, stream};
use std::sync::atomic::Ordering;

/// A result of a tool that is not Cordon's own is put into the workspace when it is longer.
const LARGE: usize = 64 << 10;
/// So much of it the model sees all the same, of its beginning and of its end.
const SHOWN: (usize, usize) = (6 << 10, 2 << 10);
/// Of what is seen of a call that is no call.
const TOLD: usize = 1000;

/// Why the calls of an answer were not all made.
pub(crate) enum CallsFailed {
    Tell(TellFailed),
    Broken(String),
}

impl From<TellFailed> for CallsFailed {
    fn from(error: TellFailed) -> Self {
        Self::Tell(error)
    }
}

impl Dialogue<'_> {
    /// Makes all of them, several at one time; the results are in the order of the calls.
    pub(crate) async fn call(&self, calls: Vec<Call>) -> Result<Vec<Item>, CallsFailed> {
        let at_once = usize::try_from(self.given.limits.at_once.max(1)).unwrap_or(1);
        let made = calls.into_iter().map(|call| self.one(call));
        let mut made = stream::iter(made).buffered(at_once);
        let mut results = Vec::new();
        while let Some(result) = made.next().await {
            results.push(result?);
        }
        Ok(results)
    }

    async fn one(&self, call: Call) -> Result<Item, CallsFailed> {
        let came = match self.admitted(&call) {
            Ok((own, arguments)) => match self.made(&own, arguments).await {
                Ok(came) => self.fitting(self.bounded(&call, &own, bounds::gathered(came)).await?),
                Err(ToolFailed::NotCalled(why)) => self.refused(&call, &why).await?,
                Err(ToolFailed::Broken(why)) => return Err(CallsFailed::Broken(why)),
            },
            Err(why) => self.refused(&call, &why).await?,
        };
        let parts = came.parts.into_iter().map(|part| self.hidden(part)).collect();
        let result = CallResult { id: call.id, name: call.name, parts, failed: came.failed };
        Ok(Item::Result(result))
    }

    /// The call is made, and what it spends is counted and told at once: a turn that is stopped has
    /// spent it too.
    async fn made(&self, own: &str, arguments: &Arguments) -> Result<Came, ToolFailed> {
        let _alone = if own == make::TOOL && self.budget().is_limited() {
            Some(self.spending.lock().await)
        } else {
            None
        };
        if let Some(why) = self.budget().spent().filter(|_| own == make::TOOL) {
            return Err(ToolFailed::NotCalled(format!("Nothing was made: {why}")));
        }
        let came = self.given.tools.call(own, arguments.object().clone()).await?;
        if let Some((usage, cost)) = &came.spent {
            self.budget().spend(usage, *cost);
            let told = self.tell(vec![asking::usage(usage, *cost)]).await;
            told.map_err(|error| ToolFailed::Broken(error.to_string()))?;
        }
        Ok(came)
    }

    /// The result, or word that there is no room for it. Nobody waits for the others of one answer:
    /// each takes its room when it comes.
    fn fitting(&self, came: Came) -> Came {
        let size = bounds::bytes_of_parts(&came.parts);
        if self.held.fetch_add(size, Ordering::Relaxed).saturating_add(size) <= self.room.full {
            return came;
        }
        self.held.fetch_sub(size, Ordering::Relaxed);
        Came {
            parts: vec![Part::Text(format!(
                "The result has {size} bytes, for which there is no room. Ask for less."
            ))],
            ..came
        }
    }

    /// The tool that is meant, when it may be called with this.
    fn admitted<'a>(&self, call: &'a Call) -> Result<(String, &'a Arguments), String> {
        let Some(own) = self.names.own(&call.name) else {
            return Err(if self.given.planning {
                planning::REFUSED.to_owned()
            } else {
                format!("There is no tool {:?}. Use one of those that are offered.", call.name)
            });
        };
        match &call.arguments {
            Written::Whole(arguments) => Ok((own.to_owned(), arguments)),
            Written::Broken(broken) => {
                Err(format!("The call was not made: {}. Write its arguments as one JSON object.", broken.why))
            }
        }
    }

    /// A call that was not made is told of here: nobody else saw it.
    async fn refused(&self, call: &Call, why: &str) -> Result<Came, TellFailed> {
        // Redacted before it is cut: half a secret is one, too.
        let plain = |text: &str| self.given.redactor.text(text);
        let event = ToolCallEvent {
            id: plain(&call.id).chars().take(TOLD).collect(),
            name: plain(&call.name).chars().take(TOLD).collect(),
            arguments: String::new(),
            status: "failed".to_owned(),
            result: cut(&plain(why)),
        };
        self.tell(vec![Kind::ToolCall(event)]).await?;
        Ok(Came::text(why, true))
    }

    fn hidden(&self, part: Part) -> Part {
        match part {
            Part::Text(text) => Part::Text(self.given.redactor.text(&text)),
            Part::Media { mime, .. } if !self.given.model.takes(&mime) => {
                Part::Text(format!("[{mime}, which this model cannot be shown]"))
            }
            media @ Part::Media { .. } => media,
        }
    }

    /// Large results go into the workspace, with a pointer for the model.
    async fn bounded(&self, call: &Call, own: &str, came: Came) -> Result<Came, TellFailed> {
        if self.own.contains(own) {
            return Ok(came);
        }
        let Came { parts, failed, spent } = came;
        let mut kept = Vec::new();
        for (number, part) in parts.into_iter().enumerate() {
            match part {
                Part::Text(text) if text.len() > LARGE => {
                    let text = self.given.redactor.text(&text);
                    kept.push(Part::Text(self.pointer(call, own, number, &text).await?));
                }
                other => kept.push(other),
            }
        }
        Ok(Came { parts: kept, failed, spent })
    }

    async fn pointer(&self, call: &Call, own: &str, number: usize, text: &str) -> Result<String, TellFailed> {
        let hash = blake3::hash(format!("{}\0{}\0{number}\0{text}", self.serial, call.id).as_bytes());
        let tool: String =
            own.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(60).collect();
        let name = format!("{tool}-{}.txt", &hash.to_hex()[..12]);
        let place = match self.given.tools.keep(&name, text).await {
            Ok(path) => format!("All of it is in {path}."),
            Err(why) => {
                let message = format!("a large result of {own} could not be put into the workspace: {why}");
                let warning = WarningEvent { reason: "large-result".to_owned(), message };
                self.tell(vec![Kind::Warning(warning)]).await?;
                "The rest is lost: ask for less.".to_owned()
            }
        };
        let (head, tail) = ends(text);
        Ok(format!("{head}\n[… {} bytes in all. {place} …]\n{tail}", text.len()))
    }
}

fn ends(text: &str) -> (&str, &str) {
    let head = (0..=SHOWN.0.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    let from = text.len().saturating_sub(SHOWN.1).max(head);
    let tail = (from..=text.len()).find(|i| text.is_char_boundary(*i)).unwrap_or(text.len());
    (&text[..head], &text[tail..])
}
