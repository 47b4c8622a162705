//! The events of `gemini --output-format stream-json`.

use crate::Exit;
use crate::driver::{Parser, Verdict};
use crate::events::{
    command, file_change, message, message_delta, provider_error, session, tool_call, warning,
};
use crate::json::{count, text};
use crate::text::{MAX_LINE, MAX_TEXT, clip};
use cordon_proto::v1::UsageEvent;
use cordon_proto::v1::event::Kind;
use serde_json::Value;
use std::collections::BTreeMap;

/// Tools whose result is awaited; an agent that leaves more open is told without
/// their names.
const MAX_OPEN: usize = 1024;

#[derive(Debug)]
pub(super) struct GeminiParser {
    verdict: Verdict,
    open: BTreeMap<String, Tool>,
    /// A message so far: it comes in pieces, and nothing says which is the last.
    said: String,
    /// What the failed result said: what it means may show in the exit code only.
    failure: Option<String>,
    /// The last error: a failed result does not always repeat it.
    error: String,
}

#[derive(Debug)]
enum Tool {
    Shell { command: String },
    Edit { name: String, path: String },
    Other { name: String },
}

impl GeminiParser {
    pub(super) fn new() -> Self {
        Self {
            verdict: Verdict::Open,
            open: BTreeMap::new(),
            said: String::new(),
            failure: None,
            error: String::new(),
        }
    }

    fn piece(&mut self, text: &str) {
        // What is beyond the bound is cut when the message is told.
        let room = (2 * MAX_TEXT).saturating_sub(self.said.len()).min(text.len());
        self.said.push_str(&text[..text.floor_char_boundary(room)]);
    }

    fn tell(&mut self, out: &mut Vec<Kind>) {
        out.extend(message(&std::mem::take(&mut self.said)));
    }

    fn tool_use(&mut self, event: &Value) -> Kind {
        let (id, name, input) = (text(event, "tool_id"), text(event, "tool_name"), &event["parameters"]);
        let (tool, kind) = match name {
            "run_shell_command" => {
                let line = clip(text(input, "command"), MAX_LINE);
                (Tool::Shell { command: line }, command(id, text(input, "command"), "started", None, ""))
            }
            "write_file" | "replace" => {
                let path = clip(text(input, "file_path"), MAX_LINE);
                (Tool::Edit { name: name.to_owned(), path }, tool_call(id, name, input, "started", ""))
            }
            _ => {
                let tool = Tool::Other { name: clip(name, MAX_LINE) };
                (tool, tool_call(id, name, input, "started", ""))
            }
        };
        if self.open.len() < MAX_OPEN && id.len() <= MAX_LINE {
            self.open.insert(id.to_owned(), tool);
        }
        kind
    }

    fn tool_result(&mut self, event: &Value, out: &mut Vec<Kind>) {
        let id = text(event, "tool_id");
        let failed = text(event, "status") != "success";
        let status = if failed { "failed" } else { "completed" };
        let result = match (text(event, "output"), text(&event["error"], "message")) {
            ("", error) => error,
            (output, _) => output,
        };
        match self.open.remove(id) {
            // Of the exit code the events say nothing: a command that failed is a success, too.
            Some(Tool::Shell { command: line }) => out.push(command(id, &line, status, None, result)),
            Some(Tool::Edit { name, path }) => {
                out.push(tool_call(id, &name, &Value::Null, status, result));
                if !failed {
                    out.push(file_change(&path, "modified"));
                }
            }
            Some(Tool::Other { name }) => out.push(tool_call(id, &name, &Value::Null, status, result)),
            None => out.push(tool_call(id, "", &Value::Null, status, result)),
        }
    }

    fn result(&mut self, event: &Value, out: &mut Vec<Kind>) {
        let stats = &event["stats"];
        out.push(Kind::Usage(UsageEvent {
            input_tokens: count(stats, "input_tokens"),
            cached_input_tokens: count(stats, "cached"),
            output_tokens: count(stats, "output_tokens"),
            reasoning_tokens: 0,
            cost_usd: None,
        }));
        if text(event, "status") == "success" {
            // A failure stands: only one result ends a turn.
            if self.verdict == Verdict::Open {
                self.verdict = Verdict::Success;
            }
            return;
        }
        let told = text(&event["error"], "message");
        let why = if told.is_empty() { std::mem::take(&mut self.error) } else { told.to_owned() };
        let why = if why.is_empty() { "it reported an error and no reason".to_owned() } else { why };
        self.verdict = Verdict::Failed(format!("gemini: {}", clip(&why, MAX_LINE)));
        self.failure = Some(why);
    }
}

impl Parser for GeminiParser {
    fn event(&mut self, event: &Value, out: &mut Vec<Kind>) -> bool {
        let kind = text(event, "type");
        if kind == "message" && text(event, "role") == "assistant" {
            let piece = text(event, "content");
            if event["delta"] == Value::Bool(true) {
                out.extend(message_delta(piece));
            } else {
                self.tell(out);
            }
            self.piece(piece);
            return true;
        }
        self.tell(out);
        match kind {
            // The other messages are what the agent was told.
            "message" => {}
            "init" => out.extend(session(text(event, "session_id"))),
            "tool_use" => {
                let event = self.tool_use(event);
                out.push(event);
            }
            "tool_result" => self.tool_result(event, out),
            "error" => {
                let what = text(event, "message");
                self.error = clip(what, MAX_LINE);
                out.push(warning("agent-error", what));
            }
            "result" => self.result(event, out),
            _ => return false,
        }
        true
    }

    fn end(&mut self, exit: &Exit, out: &mut Vec<Kind>) {
        self.tell(out);
        if let Some(why) = self.failure.take() {
            out.push(provider_error(status(&why).or(status_of(exit)), &why));
        }
    }

    fn verdict(&self) -> Verdict {
        self.verdict.clone()
    }
}

/// The program exits with the HTTP status that ended it, of which a byte is left.
fn status_of(exit: &Exit) -> Option<u64> {
    let code = u64::try_from(exit.code?).ok()?;
    (144..256).contains(&code).then_some(code + 256)
}

/// The HTTP status in the text of an API error, which is the provider's own JSON where that
/// has a number, and its words for a model that it has not: only to word an advice.
fn status(message: &str) -> Option<u64> {
    let Some((_, rest)) = message.split_once("\"code\":") else {
        let unknown = ["is not found", "does not exist"].iter().any(|words| message.contains(words));
        return unknown.then_some(404);
    };
    let rest = rest.trim_start();
    rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
}

#[cfg(test)]
#[path = "gemini_events_tests.rs"]
mod tests;
