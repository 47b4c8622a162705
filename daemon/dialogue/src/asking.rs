//! Asks the model, and tells what comes while it comes.

use crate::{TellFailed, Teller};
use cordon_backends::{
    Redactor,
    api::{Answer, Event, Item, Usage},
};
use cordon_models::{Ask, AskError, Asks, Told};
use cordon_proto::v1::{MessageDelta, MessageEvent, ReasoningEvent, RetryEvent, UsageEvent, event::Kind};
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Pieces of an answer are told so often: oftener nobody reads.
const APART: Duration = Duration::from_millis(50);
/// Of what nobody was told yet as much is held; what is more comes with the whole message.
const HELD: usize = 1 << 20;
/// As much is told of one message.
const LONGEST: usize = 256 << 10;

/// What came and was not told yet.
struct Pending {
    redactor: Redactor,
    text: Vec<u8>,
    kinds: Vec<Kind>,
}

impl Pending {
    fn take_in(&mut self, told: Told, fresh: &Redactor) {
        match told {
            Told::Event(Event::Text(text)) if self.text.len() < HELD => {
                self.text.extend(self.redactor.feed(text.as_bytes()));
            }
            Told::Event(_) => {}
            Told::Again { why, wait, attempt } => {
                self.text.clear();
                self.redactor = fresh.clone();
                self.kinds.push(Kind::Retry(RetryEvent {
                    reason: fresh.text(&why),
                    attempt,
                    wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                }));
            }
        }
    }

    /// What can be told of it now.
    fn tell(&mut self) -> Vec<Kind> {
        let mut kinds = std::mem::take(&mut self.kinds);
        let whole = match std::str::from_utf8(&self.text) {
            Ok(_) => self.text.len(),
            Err(error) => error.valid_up_to(),
        };
        let rest = self.text.split_off(whole);
        let text = String::from_utf8_lossy(&std::mem::replace(&mut self.text, rest)).into_owned();
        if !text.is_empty() {
            kinds.push(Kind::MessageDelta(MessageDelta { text }));
        }
        kinds
    }
}

/// Asks. Pieces of the text are told as they come, and the whole of it at its end.
pub(crate) async fn ask(
    model: &dyn Asks,
    ask: Ask<'_>,
    teller: &dyn Teller,
    redactor: &Redactor,
) -> Result<Result<Answer, AskError>, TellFailed> {
    let pending = Mutex::new(Pending { redactor: redactor.clone(), text: Vec::new(), kinds: Vec::new() });
    let locked = || pending.lock().unwrap_or_else(PoisonError::into_inner);
    let mut take_in = |told| locked().take_in(told, redactor);
    let asking = model.ask(ask, &mut take_in);
    tokio::pin!(asking);
    let answer = loop {
        tokio::select! {
            answer = &mut asking => break answer,
            () = tokio::time::sleep(APART) => {
                let kinds = locked().tell();
                if !kinds.is_empty() {
                    teller.tell(kinds).await?;
                }
            }
        }
    };
    let mut kinds = locked().tell();
    if let Ok(answer) = &answer {
        kinds.extend(answer.items.iter().filter_map(|item| told(item, redactor)));
        let cost = answer.usage.cost_micros.or_else(|| model.cost(&answer.usage));
        kinds.push(usage(&answer.usage, cost));
    }
    teller.tell(kinds).await?;
    Ok(answer)
}

pub(crate) fn usage(used: &Usage, cost_micros: Option<u64>) -> Kind {
    Kind::Usage(UsageEvent {
        input_tokens: used.input,
        cached_input_tokens: used.cached,
        output_tokens: used.output,
        reasoning_tokens: used.reasoning,
        cost_usd: cost_micros.map(dollars),
    })
}

#[allow(clippy::cast_precision_loss)]
fn dollars(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn told(item: &Item, redactor: &Redactor) -> Option<Kind> {
    match item {
        Item::Text(text) if !text.text.is_empty() => {
            Some(Kind::Message(MessageEvent { text: cut(&redactor.text(&text.text)) }))
        }
        Item::Reasoning(thoughts) if !thoughts.text.is_empty() => {
            Some(Kind::Reasoning(ReasoningEvent { text: cut(&redactor.text(&thoughts.text)) }))
        }
        _ => None,
    }
}

/// With what was left out said.
pub(crate) fn cut(text: &str) -> String {
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    let end = (0..=LONGEST).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    format!("{}… ({} bytes)", &text[..end], text.len())
}
