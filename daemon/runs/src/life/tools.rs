//! An agent whose tools a client uses, instead of a backend that takes a turn.

use super::{
    Life,
    agent::{Agent, Ready, Trouble, warning},
    log::Log,
};
use crate::{
    journal::{Durability, JournalError},
    plan::starts_its_own,
    record::{End, State},
};
use async_trait::async_trait;
use cordon_backends::Redactor;
use cordon_mcp::{CallResult, Host, HostError, Inside, Observer, ObserverFailed, check_custom_tools};
use cordon_proto::v1::{Denial, ToolCallEvent, event::Kind};
use serde_json::{Map, Value};
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};
use tokio::io::DuplexStream;
use tokio_util::sync::CancellationToken;

/// Refusals that are told one by one; the rest is only counted.
const DENIALS_TOLD: usize = 1000;
/// Of the arguments of one call, and of its result.
const TOLD: usize = 4 << 10;
/// Of one text within the arguments.
const TEXT_TOLD: usize = 512;
/// Of one text, as much is looked at: a secret that begins within what is told ends here.
const TEXT_SEEN: usize = 16 << 10;
/// Entries of one list or map within the arguments.
const ENTRIES_TOLD: usize = 50;

/// The client's end of a pipe.
#[derive(Debug)]
pub(crate) struct Link(pub(crate) DuplexStream);

impl Agent {
    /// Serves the tools until the client hangs up.
    pub(super) async fn serve_tools(
        &self,
        life: &Life,
        ready: Ready,
        link: Link,
    ) -> Result<(End, String), Trouble> {
        let (deadline, deadline_of) = self.deadline(life);
        let failed = CancellationToken::new();
        let redactor = Redactor::new(&self.planned.needs.secrets);
        let recorder = Arc::new(Recorder::new(self.log.clone(), redactor, failed.clone()));
        let serving = self.serve_to(life, &ready, link, recorder.clone());
        let ended = tokio::select! {
            biased;
            () = life.stop.cancelled() => Ok((End::Cancelled, String::new())),
            () = failed.cancelled() => Err(recorder.trouble()),
            () = tokio::time::sleep_until(deadline) => Ok((End::TimedOut, deadline_of)),
            served = serving => served.map(|()| (End::Success, String::new())),
        };
        drop(ready.denials);
        match ended {
            // A guest that ended by itself says why, and that is the better reason.
            Err(Trouble::Lost(why)) => {
                let words = cordon_sandbox::guest::last_words(&ready.sandbox.record.directory);
                Err(Trouble::Lost(words.unwrap_or(why)))
            }
            other => other,
        }
    }

    /// Sees to it that an agent's own program will find its custom tools, before it begins.
    pub(super) async fn check_custom_tools(&self, ready: &Ready) -> Result<(), Trouble> {
        let agent = &self.planned.context.agent;
        if self.resume.is_some() || !starts_its_own(agent.backend) {
            return Ok(());
        }
        let checked = check_custom_tools(&self.inside(ready), &agent.tools).await;
        checked.map_err(|e| no_host(&e, &Redactor::new(&self.planned.needs.secrets)))
    }

    fn inside(&self, ready: &Ready) -> Inside {
        Inside {
            guest: ready.sandbox.guest.clone(),
            workspace: self.planned.workspace.path.clone(),
            egress: self.planned.context.agent.egress.clone().unwrap_or_default(),
        }
    }

    async fn serve_to(
        &self,
        life: &Life,
        ready: &Ready,
        link: Link,
        recorder: Arc<Recorder>,
    ) -> Result<(), Trouble> {
        let agent = &self.planned.context.agent;
        let inside = self.inside(ready);
        let redactor = Redactor::new(&self.planned.needs.secrets);
        let host = Host::start(inside, &agent.tools, recorder).await;
        let host = host.map_err(|e| no_host(&e, &redactor))?;
        let warnings = host.warnings().iter().map(|w| warning("mcp", &redactor.text(w))).collect();
        self.log.tell(warnings, Durability::Soon).await?;
        self.set_state(life, State::Running).await;
        let (read, write) = tokio::io::split(link.0);
        Arc::new(host).serve(read, write).await.map_err(|e| Trouble::Client(redactor.text(&e)))
    }
}

pub(super) fn no_host(error: &HostError, redactor: &Redactor) -> Trouble {
    let words = redactor.text(&error.to_string());
    match error {
        HostError::Guest(_) => Trouble::Lost(words),
        HostError::NoInterpreter { .. } | HostError::CustomTools(_) => Trouble::Backend(words),
    }
}

/// Writes calls into the journal: bounded, and without secrets.
pub(super) struct Recorder {
    log: Log,
    redactor: Redactor,
    denials: AtomicUsize,
    error: Mutex<Option<JournalError>>,
    /// Without a journal nothing may happen any more.
    failed: CancellationToken,
}

#[async_trait]
impl Observer for Recorder {
    async fn called(
        &self,
        id: &str,
        tool: &str,
        arguments: &Map<String, Value>,
    ) -> Result<(), ObserverFailed> {
        let event = ToolCallEvent {
            id: id.to_owned(),
            name: tool.to_owned(),
            arguments: self.arguments(arguments),
            status: "started".to_owned(),
            result: String::new(),
        };
        self.tell(vec![Kind::ToolCall(event)]).await
    }

    async fn answered(
        &self,
        id: &str,
        tool: &str,
        answer: Option<&CallResult>,
    ) -> Result<(), ObserverFailed> {
        let (status, result) = match answer {
            Some(answer) if answer.is_error() => ("failed", self.result(answer)),
            Some(answer) => ("completed", self.result(answer)),
            None => ("failed", "the call was cancelled".to_owned()),
        };
        let event = ToolCallEvent {
            id: id.to_owned(),
            name: tool.to_owned(),
            arguments: String::new(),
            status: status.to_owned(),
            result,
        };
        let mut kinds = vec![Kind::ToolCall(event)];
        kinds.extend(answer.and_then(CallResult::denial).into_iter().flat_map(|d| self.denial(d)));
        self.tell(kinds).await
    }
}

impl Recorder {
    pub(super) fn new(log: Log, redactor: Redactor, failed: CancellationToken) -> Self {
        Self { log, redactor, denials: AtomicUsize::new(0), error: Mutex::default(), failed }
    }

    async fn tell(&self, kinds: Vec<Kind>) -> Result<(), ObserverFailed> {
        let told = self.log.tell(kinds, Durability::Soon).await;
        told.map_err(|error| {
            let words = error.to_string();
            self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            self.failed.cancel();
            ObserverFailed(words)
        })
    }

    pub(super) fn trouble(&self) -> Trouble {
        let error = self.error.lock().unwrap_or_else(PoisonError::into_inner).take();
        error.map_or_else(|| Trouble::Lost("the journal failed".to_owned()), Trouble::Journal)
    }

    fn denial(&self, denial: cordon_mcp::ToolDenial) -> Vec<Kind> {
        let told = self.denials.fetch_add(1, Ordering::Relaxed) + 1;
        if told > DENIALS_TOLD {
            self.log.tally().uncounted_denial();
            return Vec::new();
        }
        let text = |text: &str| self.redactor.text(text);
        let mut kinds = vec![Kind::Denial(Denial {
            operation: text(&denial.operation),
            target: text(&denial.target),
            rule: text(&denial.rule),
            origin: text(&denial.origin),
            layer: text(&denial.layer),
            would_allow: text(&denial.would_allow),
        })];
        if told == DENIALS_TOLD {
            kinds.push(warning("denials", "further refusals are only counted"));
        }
        kinds
    }

    /// JSON in any case, with long texts and lists cut.
    fn arguments(&self, arguments: &Map<String, Value>) -> String {
        let mut left = TOLD;
        let shown = self.map(arguments, &mut left);
        let text = Value::Object(shown).to_string();
        if text.len() <= 2 * TOLD {
            return text;
        }
        // Escapes, or many small things: told as text, which is JSON too.
        Value::String(cut(&text, TOLD)).to_string()
    }

    fn map(&self, entries: &Map<String, Value>, left: &mut usize) -> Map<String, Value> {
        let mut shown = Map::new();
        for (key, value) in entries.iter().take(ENTRIES_TOLD) {
            if *left == 0 {
                break;
            }
            let key = self.text(key, left);
            let value = self.value(value, left);
            shown.insert(key, value);
        }
        if shown.len() < entries.len() {
            shown.insert("…".to_owned(), Value::from(entries.len() - shown.len()));
        }
        shown
    }

    fn value(&self, value: &Value, left: &mut usize) -> Value {
        // Empty lists and maps cost something, too: there may be very many.
        *left = left.saturating_sub(2);
        match value {
            Value::String(text) => Value::String(self.text(text, left)),
            Value::Array(items) => {
                let mut shown: Vec<Value> = Vec::new();
                for item in items.iter().take(ENTRIES_TOLD) {
                    if *left == 0 {
                        break;
                    }
                    shown.push(self.value(item, left));
                }
                if shown.len() < items.len() {
                    shown.push(Value::String(format!("… {} more", items.len() - shown.len())));
                }
                Value::Array(shown)
            }
            Value::Object(entries) => Value::Object(self.map(entries, left)),
            other => {
                *left = left.saturating_sub(6);
                // A number can be a secret, too.
                let plain = other.to_string();
                let shown = self.redactor.text(&plain);
                if shown == plain { other.clone() } else { Value::String(shown) }
            }
        }
    }

    /// Redacted before it is cut: half a secret is one, too.
    fn text(&self, text: &str, left: &mut usize) -> String {
        let shown = cut(&self.redactor.text(head(text, TEXT_SEEN)), TEXT_TOLD.min(*left));
        *left = left.saturating_sub(shown.len() + 4);
        if text.len() > TEXT_SEEN && shown.len() < TEXT_TOLD { format!("{shown}…") } else { shown }
    }

    fn result(&self, answer: &CallResult) -> String {
        let mut told = String::new();
        for text in answer.texts() {
            if !told.is_empty() {
                told.push('\n');
            }
            told.push_str(head(text, TEXT_SEEN));
            if told.len() > TEXT_SEEN {
                break;
            }
        }
        let mut told = cut(&self.redactor.text(&told), TOLD);
        if answer.other_blocks() > 0 {
            told.push_str(&format!("\n[{} blocks that are no text]", answer.other_blocks()));
        }
        told
    }
}

fn head(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    format!("{}… ({} bytes)", head(text, most), text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Journal;
    use proptest::prelude::*;
    use serde_json::json;

    const SECRET: &str = "sk-abcdefgh";

    fn recorder(dir: &std::path::Path) -> Recorder {
        let journal = Arc::new(Journal::create(&dir.join("journal"), 1 << 20).unwrap());
        Recorder {
            log: Log::new(journal, "a", Arc::default()),
            redactor: Redactor::new(&[SECRET.to_owned()]),
            denials: AtomicUsize::new(0),
            error: Mutex::default(),
            failed: CancellationToken::new(),
        }
    }

    fn of(value: Value) -> Map<String, Value> {
        Map::from_iter([("x".to_owned(), value)])
    }

    #[test]
    fn arguments_are_told_in_full_when_they_are_short_and_cut_when_not() {
        let dir = tempfile::tempdir().unwrap();
        let recorder = recorder(dir.path());
        assert_eq!(
            recorder.arguments(&of(json!({"a": [1, true, null, "b"]}))),
            r#"{"x":{"a":[1,true,null,"b"]}}"#
        );
        let long = recorder.arguments(&of(json!("y".repeat(1 << 20))));
        assert!(long.len() < 2 * TEXT_TOLD && long.contains("bytes)"), "{long}");
        let many = recorder.arguments(&of(json!(vec![0; 100_000])));
        assert!(many.len() < 2 * TOLD && many.contains("more"), "{many}");
        // Half of the secret stands beyond what is told.
        let split = format!("{}{SECRET}", "z".repeat(TEXT_TOLD - 5));
        assert!(!recorder.arguments(&of(json!(split))).contains("sk-a"));
        let key = Map::from_iter([(format!("k{SECRET}"), json!(1))]);
        assert_eq!(recorder.arguments(&key), r#"{"k[redacted]":1}"#);
    }

    fn value() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            Just(SECRET.to_owned()),
            Just(format!("\"{SECRET}\\")),
            "[\"\\\\\u{1}-\u{20}a-c]{0,80}",
            Just("ü".repeat(600)),
        ];
        let leaf = prop_oneof![text.clone().prop_map(Value::from), any::<i64>().prop_map(Value::from)];
        leaf.prop_recursive(6, 200, 60, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..60).prop_map(Value::from),
                prop::collection::btree_map(text.clone(), inner, 0..60)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_is_told_is_json_bounded_and_without_secrets(value in value()) {
            let dir = tempfile::tempdir().unwrap();
            let told = recorder(dir.path()).arguments(&of(value));
            prop_assert!(told.len() <= 3 * TOLD, "{} bytes", told.len());
            prop_assert!(serde_json::from_str::<Value>(&told).is_ok());
            prop_assert!(!told.contains("abcdefgh"));
        }
    }
}
