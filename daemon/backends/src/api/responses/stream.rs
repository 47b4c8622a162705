//! Reading what it answers.

use super::super::{
    Answer, ApiError, Failure, Limits, Origin, Stop, Usage,
    assembly::{Assembly, Sink, Slot},
    node::{Node, count, list, text},
    stream::Parser,
};
use crate::text::{MAX_LINE, clip};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

/// Members of a call that go back with it, beside those that every call has.
const MORE: &[&str] = &["namespace", "caller"];

/// Reads a streamed response.
#[derive(Debug)]
pub(in super::super) struct Reader {
    answer: Assembly,
    open: HashMap<u64, (Kind, Slot)>,
    closed: HashSet<u64>,
    /// Where the items are that are called by their ids.
    ids: HashMap<String, u64>,
    refusal: String,
    stop: Option<Stop>,
}

/// Items that nobody counts are counted from here.
const UNCOUNTED: u64 = 1 << 32;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Message,
    Reasoning,
    Call,
    Other,
}

impl Kind {
    fn of(item: &Node<'_>) -> Self {
        match text(item, "type").unwrap_or_default() {
            "message" => Self::Message,
            "reasoning" => Self::Reasoning,
            "function_call" => Self::Call,
            _ => Self::Other,
        }
    }
}

impl Reader {
    pub(in super::super) fn new(origin: Origin, limits: Limits, serial: u64) -> Self {
        Self {
            answer: Assembly::new(origin, limits, serial),
            open: HashMap::new(),
            closed: HashSet::new(),
            ids: HashMap::new(),
            refusal: String::new(),
            stop: None,
        }
    }

    /// Which item an event is about: by its number, or where a server does not count, by its id.
    fn index(&mut self, event: &Node<'_>) -> Result<u64, ApiError> {
        let id = text(event, "item_id").or_else(|| event.get("item").and_then(|item| text(item, "id")));
        let known = id.and_then(|id| self.ids.get(id)).copied();
        let Some(index) = count(event, "output_index").or(known) else {
            let id = id.ok_or_else(|| ApiError::unreadable("a piece of an item without its index"))?;
            return self.name(id, UNCOUNTED + self.ids.len() as u64);
        };
        match id.filter(|_| known.is_none()) {
            Some(id) => self.name(id, index),
            None => Ok(index),
        }
    }

    fn name(&mut self, id: &str, index: u64) -> Result<u64, ApiError> {
        if self.ids.len() >= self.answer.most_items() {
            return Err(ApiError::too_much("parts", self.answer.most_items()));
        }
        self.answer.grow(id.len())?;
        self.ids.insert(id.to_owned(), index);
        Ok(index)
    }

    fn begin(&mut self, index: u64, kind: Kind, item: &Node<'_>, each: Sink<'_>) -> Result<Slot, ApiError> {
        if self.closed.contains(&index) || self.open.contains_key(&index) {
            return Err(ApiError::unreadable("two items with one index"));
        }
        let answer = &mut self.answer;
        let slot = match kind {
            Kind::Message => answer.open_text()?,
            Kind::Reasoning => answer.open_reasoning()?,
            Kind::Call => {
                let id = text(item, "call_id").unwrap_or_default();
                answer.open_call(id, text(item, "name").unwrap_or_default(), each)?
            }
            Kind::Other => answer.keep(Value::Null, 0)?,
        };
        self.open.insert(index, (kind, slot));
        Ok(slot)
    }

    /// More words or thoughts. Not every server announces what they belong to.
    fn words(&mut self, event: &Node<'_>, kind: Kind, each: Sink<'_>) -> Result<(), ApiError> {
        let index = self.index(event)?;
        let slot = match self.open.get(&index) {
            Some((found, slot)) if *found == kind => *slot,
            Some(_) => return Err(ApiError::unreadable("a piece of another kind than its item")),
            None => self.begin(index, kind, &Node::Null, each)?,
        };
        self.answer.write(slot, text(event, "delta").unwrap_or_default(), each)
    }

    fn call(&mut self, event: &Node<'_>) -> Result<Slot, ApiError> {
        let index = self.index(event)?;
        match self.open.get(&index) {
            Some((Kind::Call, slot)) => Ok(*slot),
            _ => Err(ApiError::unreadable("arguments of a call that is not open")),
        }
    }

    /// An item is whole. It may be the first that is heard of it.
    fn item(&mut self, index: u64, item: &Node<'_>, size: usize, each: Sink<'_>) -> Result<(), ApiError> {
        let kind = Kind::of(item);
        let slot = match self.open.remove(&index) {
            Some((found, slot)) if found == kind => slot,
            Some(_) => return Err(ApiError::unreadable("an item that became another")),
            None => {
                let slot = self.begin(index, kind, item, each)?;
                self.open.remove(&index);
                slot
            }
        };
        self.closed.insert(index);
        match kind {
            Kind::Message => self.message(slot, item, each),
            Kind::Reasoning => self.reasoning(slot, item, size, each),
            Kind::Call => self.whole_call(slot, item, size, each),
            Kind::Other => self.answer.seal(slot, item.to_value(), size),
        }
    }

    fn message(&mut self, slot: Slot, item: &Node<'_>, each: Sink<'_>) -> Result<(), ApiError> {
        let empty = self.answer.is_empty(slot);
        for part in list(item, "content") {
            if let Some(refusal) = text(part, "refusal") {
                self.refusal = clip(refusal, MAX_LINE);
            }
            if empty && let Some(words) = text(part, "text").or_else(|| text(part, "refusal")) {
                self.answer.write(slot, words, each)?;
            }
        }
        match item.get("phase").filter(|p| !p.is_null()) {
            Some(phase) => self.answer.seal(slot, phase.to_value(), 16),
            None => Ok(()),
        }
    }

    fn reasoning(
        &mut self,
        slot: Slot,
        item: &Node<'_>,
        size: usize,
        each: Sink<'_>,
    ) -> Result<(), ApiError> {
        if self.answer.is_empty(slot) {
            let parts = list(item, "summary").iter().chain(list(item, "content"));
            for (number, words) in parts.filter_map(|p| text(p, "text")).enumerate() {
                if number > 0 {
                    self.answer.write(slot, "\n\n", each)?;
                }
                self.answer.write(slot, words, each)?;
            }
        }
        // With nothing in it, it would only be looked up where nothing is stored.
        if text(item, "encrypted_content").is_some() || !list(item, "content").is_empty() {
            self.answer.seal(slot, item.to_value(), size)?;
        }
        Ok(())
    }

    fn whole_call(
        &mut self,
        slot: Slot,
        item: &Node<'_>,
        size: usize,
        each: Sink<'_>,
    ) -> Result<(), ApiError> {
        let answer = &mut self.answer;
        if text(item, "name") != Some(answer.call_name(slot)) {
            answer.break_call(slot, "the provider gave the call two names")?;
        }
        if text(item, "status") == Some("incomplete") {
            answer.break_call(slot, "the provider did not finish the call")?;
        }
        answer.whole_arguments(slot, text(item, "arguments").unwrap_or_default(), each)?;
        let more: Map<String, Value> = MORE
            .iter()
            .filter_map(|key| Some(((*key).to_owned(), item.get(key)?.to_value())))
            .filter(|(_, value)| !value.is_null())
            .collect();
        if !more.is_empty() {
            answer.seal(slot, Value::Object(more), size)?;
        }
        answer.close_call(slot, each)
    }

    fn end(&mut self, stop: Stop, response: &Node<'_>, size: usize, each: Sink<'_>) -> Result<(), ApiError> {
        self.answer.named(text(response, "model"), text(response, "id"));
        if self.closed.is_empty() && self.open.is_empty() {
            for (index, item) in list(response, "output").iter().enumerate() {
                self.item(index as u64, item, size, each)?;
            }
        }
        if let Some(usage) = response.get("usage").filter(|u| u.is_object()) {
            self.answer.used(read_usage(usage), each);
        }
        self.stop = Some(match stop {
            Stop::End if !self.refusal.is_empty() => Stop::Refused(std::mem::take(&mut self.refusal)),
            other => other,
        });
        Ok(())
    }
}

fn read_usage(usage: &Node<'_>) -> Usage {
    let within =
        |details: &str, key: &str| usage.get(details).and_then(|d| count(d, key)).unwrap_or_default();
    Usage {
        input: count(usage, "input_tokens").unwrap_or_default(),
        cached: within("input_tokens_details", "cached_tokens"),
        cache_written: within("input_tokens_details", "cache_write_tokens"),
        output: count(usage, "output_tokens").unwrap_or_default(),
        reasoning: within("output_tokens_details", "reasoning_tokens"),
        cost_micros: None,
    }
}

fn incomplete(response: &Node<'_>) -> Stop {
    match response.get("incomplete_details").and_then(|d| text(d, "reason")).unwrap_or("incomplete") {
        "max_output_tokens" => Stop::Length,
        "content_filter" => Stop::Refused("content_filter".to_owned()),
        other => Stop::Other(clip(other, 100)),
    }
}

impl Parser for Reader {
    fn event(&mut self, name: &str, event: &Node<'_>, size: usize, each: Sink<'_>) -> Result<(), ApiError> {
        let response = event.get("response").unwrap_or(&Node::Null);
        match text(event, "type").unwrap_or(name) {
            "response.created" | "response.in_progress" => {
                self.answer.named(text(response, "model"), text(response, "id"));
                Ok(())
            }
            "response.output_item.added" => {
                let item = event.get("item").unwrap_or(&Node::Null);
                let index = self.index(event)?;
                self.begin(index, Kind::of(item), item, each).map(|_| ())
            }
            "response.output_text.delta" | "response.refusal.delta" => self.words(event, Kind::Message, each),
            "response.reasoning_text.delta" | "response.reasoning_summary_text.delta" => {
                self.words(event, Kind::Reasoning, each)
            }
            "response.reasoning_summary_part.added" => {
                let index = self.index(event)?;
                match self.open.get(&index) {
                    Some((Kind::Reasoning, slot)) if !self.answer.is_empty(*slot) => {
                        self.answer.write(*slot, "\n\n", each)
                    }
                    _ => Ok(()),
                }
            }
            "response.function_call_arguments.delta" => {
                let slot = self.call(event)?;
                self.answer.arguments(slot, text(event, "delta").unwrap_or_default(), each)
            }
            "response.function_call_arguments.done" => {
                let slot = self.call(event)?;
                self.answer.whole_arguments(slot, text(event, "arguments").unwrap_or_default(), each)
            }
            "response.output_item.done" => {
                let item = event.get("item").unwrap_or(&Node::Null);
                let index = self.index(event)?;
                self.item(index, item, size, each)
            }
            "response.completed" => self.end(Stop::End, response, size, each),
            "response.incomplete" => self.end(incomplete(response), response, size, each),
            "response.failed" => {
                Err(ApiError::Refused(Box::new(Failure::of_body(None, &response.to_value()))))
            }
            "error" => Err(ApiError::Refused(Box::new(Failure::of_body(None, &event.to_value())))),
            // Parts and wholes of what was told already, and what comes to be one day.
            _ => Ok(()),
        }
    }

    fn sentinel(&mut self, data: &str) -> bool {
        data == "[DONE]"
    }

    fn is_done(&self) -> bool {
        self.stop.is_some()
    }

    fn finish(self: Box<Self>, _each: Sink<'_>) -> Result<Answer, ApiError> {
        match self.stop {
            Some(stop) => Ok(self.answer.finish(stop)),
            None => Err(ApiError::Truncated),
        }
    }
}
