//! Reading what it answers.

use super::super::{
    Answer, ApiError, Failure, Limits, Origin, Stop, Usage,
    assembly::{Assembly, Sink, Slot},
    node::{Node, count, text},
    stream::Parser,
    value::{escapes, parse},
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Members of a call that go back with it, beside those that every call has.
const MORE: &[&str] = &["caller", "toolset_name"];

/// Reads a streamed message.
#[derive(Debug)]
pub(in super::super) struct Reader {
    answer: Assembly,
    open: BTreeMap<u64, Block>,
    stop: Option<Stop>,
    done: bool,
}

#[derive(Debug)]
enum Block {
    Text(Slot),
    Thinking(Slot, Map<String, Value>),
    /// A call, and the input that it began with.
    Call(Slot, Option<String>),
    /// A block of the provider's own, and what was added to its input.
    Kept(Slot, String),
    Ignored,
}

impl Reader {
    pub(in super::super) fn new(origin: Origin, limits: Limits, serial: u64) -> Self {
        Self { answer: Assembly::new(origin, limits, serial), open: BTreeMap::new(), stop: None, done: false }
    }

    fn begin(&mut self, event: &Node<'_>, size: usize, each: Sink<'_>) -> Result<(), ApiError> {
        let index = index(event)?;
        let block = event.get("content_block").unwrap_or(&Node::Null);
        let answer = &mut self.answer;
        let block = match text(block, "type").unwrap_or_default() {
            "text" => {
                let slot = answer.open_text()?;
                answer.write(slot, text(block, "text").unwrap_or_default(), each)?;
                Block::Text(slot)
            }
            "thinking" => {
                let slot = answer.open_reasoning()?;
                answer.write(slot, text(block, "thinking").unwrap_or_default(), each)?;
                Block::Thinking(slot, members(block))
            }
            "redacted_thinking" => {
                let slot = answer.open_reasoning()?;
                answer.seal(slot, block.to_value(), size)?;
                Block::Ignored
            }
            "tool_use" => {
                let id = text(block, "id").unwrap_or_default();
                let slot = answer.open_call(id, text(block, "name").unwrap_or_default(), each)?;
                let more: Map<String, Value> = MORE
                    .iter()
                    .filter_map(|key| Some(((*key).to_owned(), block.get(key)?.to_value())))
                    .filter(|(_, value)| !value.is_null())
                    .collect();
                if !more.is_empty() {
                    answer.seal(slot, Value::Object(more), size)?;
                }
                Block::Call(
                    slot,
                    block.get("input").filter(|i| i.has_members()).map(|i| i.to_value().to_string()),
                )
            }
            "" => return Err(ApiError::unreadable("a content block without a type")),
            _ => Block::Kept(answer.keep(block.to_value(), size)?, String::new()),
        };
        match self.open.insert(index, block) {
            None => Ok(()),
            Some(_) => Err(ApiError::unreadable("two content blocks with one index")),
        }
    }

    fn delta(&mut self, event: &Node<'_>, each: Sink<'_>) -> Result<(), ApiError> {
        let delta = event.get("delta").unwrap_or(&Node::Null);
        let said = |key: &str| text(delta, key).unwrap_or_default();
        let answer = &mut self.answer;
        match (self.open.get_mut(&index(event)?), said("type")) {
            (Some(Block::Text(slot)), "text_delta") => answer.write(*slot, said("text"), each),
            (Some(Block::Thinking(slot, _)), "thinking_delta") => answer.write(*slot, said("thinking"), each),
            (Some(Block::Thinking(_, block)), "signature_delta") => {
                let signature = block.entry("signature").or_insert_with(|| json!(""));
                if let Value::String(signature) = signature {
                    signature.push_str(said("signature"));
                }
                answer.grow(said("signature").len() + escapes(said("signature")))
            }
            (Some(Block::Call(slot, _)), "input_json_delta") => {
                answer.arguments(*slot, said("partial_json"), each)
            }
            (Some(Block::Kept(_, input)), "input_json_delta") => {
                input.push_str(said("partial_json"));
                answer.grow(said("partial_json").len() + escapes(said("partial_json")))
            }
            (None, _) => Err(ApiError::unreadable("a piece of a content block that is not open")),
            (Some(_), "text_delta" | "thinking_delta" | "input_json_delta") => {
                Err(ApiError::unreadable("a piece of another kind than its content block"))
            }
            // Citations, and what comes to be one day.
            (Some(_), _) => Ok(()),
        }
    }

    fn end(&mut self, event: &Node<'_>, each: Sink<'_>) -> Result<(), ApiError> {
        let index = index(event)?;
        let Some(block) = self.open.remove(&index) else {
            return Err(ApiError::unreadable("the end of a content block that is not open"));
        };
        // The index is not free again: two blocks of one number are a muddle.
        self.open.insert(index, Block::Ignored);
        let answer = &mut self.answer;
        match block {
            Block::Thinking(slot, mut block) => {
                // A server that signs nothing checks nothing either, and its like refuse it.
                if block.get("signature").and_then(Value::as_str).is_some_and(|s| !s.is_empty()) {
                    block.insert("thinking".to_owned(), json!(answer.words(slot)));
                    let size = answer.words(slot).len();
                    answer.seal(slot, Value::Object(block), size)?;
                }
                Ok(())
            }
            Block::Call(slot, input) => {
                if let Some(input) = input {
                    answer.whole_arguments(slot, &input, each)?;
                }
                answer.close_call(slot, each)
            }
            Block::Kept(slot, input) if !input.is_empty() => {
                let parsed = parse(&input, 1 << 16)
                    .map_err(|why| ApiError::unreadable(format!("the input of a tool of its own: {why}")))?;
                let mut block = answer.sealed(slot).cloned().unwrap_or_default();
                block["input"] = parsed;
                answer.seal(slot, block, input.len())
            }
            Block::Text(_) | Block::Kept(..) | Block::Ignored => Ok(()),
        }
    }

    fn usage(&mut self, usage: &Node<'_>, each: Sink<'_>) {
        let before = self.answer.usage;
        let fresh = count(usage, "input_tokens");
        let cached = count(usage, "cache_read_input_tokens").unwrap_or(before.cached);
        let written = count(usage, "cache_creation_input_tokens").unwrap_or(before.cache_written);
        // Here the tokens of a cache are not counted as input.
        let fresh =
            fresh.unwrap_or(before.input.saturating_sub(before.cached).saturating_sub(before.cache_written));
        let thoughts = usage.get("output_tokens_details").and_then(|d| count(d, "thinking_tokens"));
        let usage = Usage {
            input: fresh.saturating_add(cached).saturating_add(written),
            cached,
            cache_written: written,
            output: count(usage, "output_tokens").unwrap_or(before.output),
            reasoning: thoughts.unwrap_or(before.reasoning),
            cost_micros: None,
        };
        self.answer.used(usage, each);
    }
}

fn members(block: &Node<'_>) -> Map<String, Value> {
    match block.to_value() {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn index(event: &Node<'_>) -> Result<u64, ApiError> {
    count(event, "index").ok_or_else(|| ApiError::unreadable("a content block without an index"))
}

fn stop(delta: &Node<'_>) -> Option<Stop> {
    let reason = text(delta, "stop_reason")?;
    Some(match reason {
        "end_turn" | "stop_sequence" | "tool_use" => Stop::End,
        "max_tokens" => Stop::Length,
        "model_context_window_exceeded" => Stop::Window,
        "pause_turn" => Stop::Paused,
        "refusal" => {
            let why = delta
                .get("stop_details")
                .and_then(|d| text(d, "explanation").or_else(|| text(d, "category")));
            Stop::Refused(crate::text::clip(why.unwrap_or(reason), crate::text::MAX_LINE))
        }
        other => Stop::Other(crate::text::clip(other, 100)),
    })
}

impl Parser for Reader {
    fn event(&mut self, name: &str, event: &Node<'_>, size: usize, each: Sink<'_>) -> Result<(), ApiError> {
        match text(event, "type").unwrap_or(name) {
            "message_start" => {
                let message = event.get("message").unwrap_or(&Node::Null);
                self.answer.named(text(message, "model"), text(message, "id"));
                self.usage(message.get("usage").unwrap_or(&Node::Null), each);
                Ok(())
            }
            "content_block_start" => self.begin(event, size, each),
            "content_block_delta" => self.delta(event, each),
            "content_block_stop" => self.end(event, each),
            "message_delta" => {
                self.usage(event.get("usage").unwrap_or(&Node::Null), each);
                if let Some(stop) = event.get("delta").and_then(stop) {
                    self.stop = Some(stop);
                }
                Ok(())
            }
            "message_stop" => {
                self.done = true;
                Ok(())
            }
            "error" => Err(ApiError::Refused(Box::new(Failure::of_body(None, &event.to_value())))),
            // Pings, and what comes to be one day.
            _ => Ok(()),
        }
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn finish(self: Box<Self>, _each: Sink<'_>) -> Result<Answer, ApiError> {
        match self.stop {
            Some(stop) if self.done => Ok(self.answer.finish(stop)),
            _ => Err(ApiError::Truncated),
        }
    }
}
