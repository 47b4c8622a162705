//! Reading what it answers.

use super::super::{
    Answer, ApiError, Failure, Limits, Origin, Stop, Usage,
    assembly::{Assembly, Sink, Slot},
    node::{Node, count, list, text},
    stream::Parser,
};
use crate::text::{MAX_LINE, clip};
use serde_json::{Map, Value, json};

/// Reads streamed contents. There is no last event: the body ends.
#[derive(Debug)]
pub(in super::super) struct Reader {
    answer: Assembly,
    /// The part that may go on, and whether it is thoughts.
    open: Option<(Slot, bool)>,
    stop: Option<Stop>,
}

impl Reader {
    pub(in super::super) fn new(origin: Origin, limits: Limits, serial: u64) -> Self {
        Self { answer: Assembly::new(origin, limits, serial), open: None, stop: None }
    }

    fn part(&mut self, part: &Node<'_>, each: Sink<'_>) -> Result<(), ApiError> {
        let signature = text(part, "thoughtSignature");
        if let Some(call) = part.get("functionCall").filter(|c| c.is_object()) {
            self.open = None;
            return self.call(call, signature, each);
        }
        let Some(Node::Text(words)) = part.get("text") else {
            self.open = None;
            if !part.has_members() {
                return Ok(());
            }
            let part = part.to_value();
            let size = part.to_string().len();
            return self.answer.keep(part, size).map(|_| ());
        };
        let thought = part.get("thought").and_then(Node::as_bool).unwrap_or(false);
        // What is signed must not be joined with anything else.
        let slot = match self.open.filter(|(_, of)| *of == thought && signature.is_none()) {
            Some((slot, _)) => slot,
            None if thought => self.answer.open_reasoning()?,
            None => self.answer.open_text()?,
        };
        self.answer.write(slot, words, each)?;
        self.open = match signature {
            Some(signature) => {
                self.answer.seal(slot, json!(signature), signature.len())?;
                None
            }
            None => Some((slot, thought)),
        };
        Ok(())
    }

    fn call(&mut self, call: &Node<'_>, signature: Option<&str>, each: Sink<'_>) -> Result<(), ApiError> {
        let answer = &mut self.answer;
        let id = text(call, "id");
        let slot = answer.open_call(id.unwrap_or_default(), text(call, "name").unwrap_or_default(), each)?;
        let mut own = Map::new();
        if let Some(id) = id.filter(|id| *id == answer.call_id(slot)) {
            own.insert("id".to_owned(), json!(id));
        }
        if let Some(signature) = signature {
            own.insert("thoughtSignature".to_owned(), json!(signature));
        }
        let size = signature.map_or(0, str::len) + id.map_or(0, str::len);
        answer.seal(slot, Value::Object(own), size)?;
        let more = call.get("willContinue").and_then(Node::as_bool) == Some(true)
            || !list(call, "partialArgs").is_empty();
        if more {
            answer.break_call(slot, "the provider sent the arguments in pieces, which nobody asked for")?;
        }
        match call.get("args") {
            Some(args @ Node::Object(_)) => {
                answer.whole_arguments(slot, &args.to_value().to_string(), each)?;
            }
            None | Some(Node::Null) => {}
            Some(_) => answer.break_call(slot, "the arguments are no JSON object")?,
        }
        answer.close_call(slot, each)
    }

    fn ended(&mut self, candidate: &Node<'_>) {
        let Some(reason) = text(candidate, "finishReason") else { return };
        let said =
            text(candidate, "finishMessage").map_or_else(|| reason.to_owned(), |m| format!("{reason}: {m}"));
        let said = clip(&said, MAX_LINE);
        self.stop = Some(match reason {
            "STOP" => Stop::End,
            "MAX_TOKENS" => Stop::Length,
            "MALFORMED_FUNCTION_CALL"
            | "UNEXPECTED_TOOL_CALL"
            | "TOO_MANY_TOOL_CALLS"
            | "MALFORMED_RESPONSE"
            | "MISSING_THOUGHT_SIGNATURE" => Stop::Malformed(said),
            "SAFETY" | "RECITATION" | "LANGUAGE" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII"
            | "MODEL_ARMOR" => Stop::Refused(said),
            _ => Stop::Other(said),
        });
    }
}

fn read_usage(usage: &Node<'_>) -> Usage {
    let of = |key: &str| count(usage, key).unwrap_or_default();
    let thoughts = of("thoughtsTokenCount");
    Usage {
        input: of("promptTokenCount").saturating_add(of("toolUsePromptTokenCount")),
        cached: of("cachedContentTokenCount"),
        cache_written: 0,
        output: of("candidatesTokenCount").saturating_add(thoughts),
        reasoning: thoughts,
        cost_micros: None,
    }
}

impl Parser for Reader {
    fn event(&mut self, name: &str, event: &Node<'_>, _size: usize, each: Sink<'_>) -> Result<(), ApiError> {
        if name == "error" || event.get("error").is_some_and(|e| !e.is_null()) {
            return Err(ApiError::Refused(Box::new(Failure::of_body(None, &event.to_value()))));
        }
        self.answer.named(text(event, "modelVersion"), text(event, "responseId"));
        if let Some(usage) = event.get("usageMetadata").filter(|u| u.is_object()) {
            self.answer.used(read_usage(usage), each);
        }
        if let Some(reason) = event.get("promptFeedback").and_then(|f| text(f, "blockReason")) {
            self.stop = Some(Stop::Refused(clip(reason, 100)));
        }
        // One answer was asked for: there is no other.
        if let Some(candidate) =
            list(event, "candidates").iter().find(|c| count(c, "index").unwrap_or_default() == 0)
        {
            if let Some(content) = candidate.get("content") {
                for part in list(content, "parts") {
                    self.part(part, each)?;
                }
            }
            self.ended(candidate);
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        false
    }

    fn finish(self: Box<Self>, _each: Sink<'_>) -> Result<Answer, ApiError> {
        match self.stop {
            Some(stop) => Ok(self.answer.finish(stop)),
            None => Err(ApiError::Truncated),
        }
    }
}
