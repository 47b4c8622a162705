//! Reading what it answers.

use super::super::{
    Answer, ApiError, Failure, Limits, Origin, Stop, Usage,
    assembly::{Assembly, Sink, Slot},
    node::{Node, count, list, text},
    stream::Parser,
    value::{self, append, weight},
};
use crate::text::{MAX_LINE, clip};
use serde_json::{Value, json};
use std::collections::HashMap;

/// Reads streamed chunks.
#[derive(Debug)]
pub(in super::super) struct Reader {
    answer: Assembly,
    words: Option<Slot>,
    thoughts: Option<Slot>,
    details: Vec<Value>,
    calls: HashMap<u64, Seen>,
    last: Option<u64>,
    refusal: String,
    stop: Option<Stop>,
    done: bool,
}

#[derive(Debug)]
struct Seen {
    slot: Slot,
    /// As the server sends it, which may be nothing.
    id: String,
}

impl Reader {
    pub(in super::super) fn new(origin: Origin, limits: Limits, serial: u64) -> Self {
        Self {
            answer: Assembly::new(origin, limits, serial),
            words: None,
            thoughts: None,
            details: Vec::new(),
            calls: HashMap::new(),
            last: None,
            refusal: String::new(),
            stop: None,
            done: false,
        }
    }

    fn say(&mut self, words: &str, each: Sink<'_>) -> Result<(), ApiError> {
        if words.is_empty() {
            return Ok(());
        }
        let slot = match self.words {
            Some(slot) => slot,
            None => *self.words.insert(self.answer.open_text()?),
        };
        self.answer.write(slot, words, each)
    }

    fn thoughts(&mut self) -> Result<Slot, ApiError> {
        match self.thoughts {
            Some(slot) => Ok(slot),
            None => Ok(*self.thoughts.insert(self.answer.open_reasoning()?)),
        }
    }

    fn delta(&mut self, delta: &Node<'_>, size: usize, each: Sink<'_>) -> Result<(), ApiError> {
        let plain = ["reasoning_content", "reasoning"].into_iter().find(|key| text(delta, key).is_some());
        if let Some(member) = plain {
            let slot = self.thoughts()?;
            if self.answer.sealed(slot).is_none() {
                self.answer.seal(slot, json!(member), member.len())?;
            }
            self.answer.write(slot, text(delta, member).unwrap_or_default(), each)?;
        }
        let details: Vec<Value> = list(delta, "reasoning_details").iter().map(Node::to_value).collect();
        if !details.is_empty() {
            self.answer.grow(details.iter().map(weight).fold(size, usize::saturating_add))?;
            for detail in &details {
                self.detail(detail, plain.is_none(), each)?;
            }
        }
        match delta.get("content") {
            Some(Node::Text(words)) => self.say(words, each)?,
            Some(Node::List(parts)) => {
                for words in parts.iter().filter_map(|part| text(part, "text")) {
                    self.say(words, each)?;
                }
            }
            _ => {}
        }
        if let Some(refusal) = text(delta, "refusal") {
            if self.refusal.len() < MAX_LINE {
                self.refusal.push_str(&clip(refusal, MAX_LINE));
            }
            self.say(refusal, each)?;
        }
        list(delta, "tool_calls").iter().try_for_each(|call| self.call(call, size, each))
    }

    /// Pieces of one detail come one after the other.
    fn detail(&mut self, detail: &Value, shown: bool, each: Sink<'_>) -> Result<(), ApiError> {
        let slot = self.thoughts()?;
        let text = value::text;
        let piece = text(detail, "text").or_else(|| text(detail, "summary"));
        if let Some(words) = piece.filter(|_| shown) {
            self.answer.write(slot, words, each)?;
        }
        let same = |last: &&mut Value| {
            ["type", "index", "id"].iter().all(|k| last.get(*k) == detail.get(*k))
                && text(detail, "data").is_none()
        };
        let Some(last) = self.details.last_mut().filter(same) else {
            if self.details.len() >= self.answer.most_items() {
                return Err(ApiError::too_much("parts", self.answer.most_items()));
            }
            self.details.push(detail.clone());
            return Ok(());
        };
        for key in ["text", "summary"] {
            if let Some(more) = text(detail, key) {
                append(last, key, more);
            }
        }
        if let Some(signature) = text(detail, "signature") {
            last["signature"] = json!(signature);
        }
        Ok(())
    }

    /// A piece of a call. Servers differ in what they repeat: a new call is one with a
    /// name, at a new index or with another id.
    fn call(&mut self, call: &Node<'_>, size: usize, each: Sink<'_>) -> Result<(), ApiError> {
        let function = call.get("function").unwrap_or(&Node::Null);
        let (id, name) = (text(call, "id").unwrap_or_default(), text(function, "name"));
        let index = match (count(call, "index"), self.last) {
            (Some(index), _) => index,
            (None, Some(last)) if id.is_empty() || self.calls.get(&last).is_some_and(|s| s.id == id) => last,
            (None, last) => last.map_or(0, |last| last + 1),
        };
        let known = self.calls.get(&index).filter(|s| name.is_none() || id.is_empty() || s.id == id);
        let slot = match known.map(|seen| seen.slot) {
            Some(slot) => {
                if name.is_some_and(|name| name != self.answer.call_name(slot)) {
                    self.answer.break_call(slot, "the provider gave the call two names")?;
                }
                slot
            }
            None => {
                let slot = self.answer.open_call(id, name.unwrap_or_default(), each)?;
                self.calls.insert(index, Seen { slot, id: id.to_owned() });
                slot
            }
        };
        self.last = Some(index);
        if let Some(more) = call.get("extra_content").filter(|m| m.is_object()) {
            self.answer.seal(slot, more.to_value(), size)?;
        }
        match function.get("arguments") {
            Some(Node::Text(delta)) => self.answer.arguments(slot, delta, each),
            // Some write the object itself.
            Some(all @ Node::Object(_)) => {
                let all = all.to_value().to_string();
                self.answer.whole_arguments(slot, &all, each)
            }
            _ => Ok(()),
        }
    }

    fn ended(&mut self, reason: &str, each: Sink<'_>) -> Result<(), ApiError> {
        let stop = match reason {
            "stop" | "tool_calls" | "eos" | "eos_token" | "end_turn" | "stop_sequence" => Stop::End,
            "length" | "max_tokens" | "model_length" => Stop::Length,
            "model_context_window_exceeded" => Stop::Window,
            "content_filter" | "sensitive" | "refusal" => Stop::Refused(reason.to_owned()),
            "error" | "network_error" | "insufficient_system_resource" => {
                let said = json!({"error": {"type": "server_error", "message": reason}});
                return Err(ApiError::Refused(Box::new(Failure::of_body(None, &said))));
            }
            other => Stop::Other(clip(other, 100)),
        };
        self.stop = Some(stop);
        self.answer.close_calls(each)
    }
}

fn read_usage(usage: &Node<'_>) -> Usage {
    let within = |details: &str, key: &str| usage.get(details).and_then(|d| count(d, key));
    let cost = usage.get("cost").and_then(Node::as_f64).filter(|c| (0.0..1e9).contains(c));
    Usage {
        input: count(usage, "prompt_tokens").unwrap_or_default(),
        cached: within("prompt_tokens_details", "cached_tokens")
            .or_else(|| count(usage, "prompt_cache_hit_tokens"))
            .unwrap_or_default(),
        cache_written: within("prompt_tokens_details", "cache_write_tokens").unwrap_or_default(),
        output: count(usage, "completion_tokens").unwrap_or_default(),
        reasoning: within("completion_tokens_details", "reasoning_tokens").unwrap_or_default(),
        cost_micros: cost.map(|dollars| (dollars * 1e6).ceil() as u64),
    }
}

impl Parser for Reader {
    fn event(&mut self, name: &str, event: &Node<'_>, size: usize, each: Sink<'_>) -> Result<(), ApiError> {
        if name == "error" || event.get("error").is_some_and(|e| !e.is_null()) {
            return Err(ApiError::Refused(Box::new(Failure::of_body(None, &event.to_value()))));
        }
        self.answer.named(text(event, "model"), text(event, "id"));
        if let Some(usage) = event.get("usage").filter(|u| u.is_object()) {
            self.answer.used(read_usage(usage), each);
        }
        // One answer was asked for: there is no other.
        for choice in list(event, "choices").iter().filter(|c| count(c, "index").unwrap_or_default() == 0) {
            if let Some(delta) = choice.get("delta") {
                self.delta(delta, size, each)?;
            }
            if let Some(reason) = text(choice, "finish_reason") {
                self.ended(reason, each)?;
            }
        }
        Ok(())
    }

    fn sentinel(&mut self, data: &str) -> bool {
        if data == "[DONE]" {
            self.done = true;
        }
        self.done
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn finish(mut self: Box<Self>, _each: Sink<'_>) -> Result<Answer, ApiError> {
        if let (Some(slot), false) = (self.thoughts, self.details.is_empty()) {
            // Counted as they came.
            self.answer.seal(slot, Value::Array(std::mem::take(&mut self.details)), 0)?;
        }
        match self.stop {
            Some(Stop::End) if !self.refusal.is_empty() => {
                Ok(self.answer.finish(Stop::Refused(self.refusal)))
            }
            // Not every server says `[DONE]`, but each says why it stopped.
            Some(stop) => Ok(self.answer.finish(stop)),
            None => Err(ApiError::Truncated),
        }
    }
}
