//! The events of `claude -p --output-format stream-json --verbose --include-partial-messages`.

use crate::driver::{Parser, Verdict};
use crate::events::{
    command, file_change, message, message_delta, provider_error, reasoning, refused_by_mode, retry, session,
    tool_call, warning,
};
use crate::json::{count, text};
use crate::text::{MAX_LINE, clip};
use cordon_proto::v1::UsageEvent;
use cordon_proto::v1::event::Kind;
use serde_json::Value;
use std::collections::BTreeMap;

/// Tools whose result is awaited; an agent that leaves more open is told without
/// their names.
const MAX_OPEN: usize = 1024;

#[derive(Debug)]
pub(super) struct ClaudeParser {
    verdict: Verdict,
    open: BTreeMap<String, Tool>,
    told_cost: f64,
}

#[derive(Debug)]
enum Tool {
    Shell { command: String },
    Edit { name: String, path: String },
    Other { name: String },
}

impl ClaudeParser {
    pub(super) fn new() -> Self {
        Self { verdict: Verdict::Open, open: BTreeMap::new(), told_cost: 0.0 }
    }

    fn block(&mut self, block: &Value, out: &mut Vec<Kind>) {
        match text(block, "type") {
            "text" => out.extend(message(text(block, "text"))),
            "thinking" => out.extend(reasoning(text(block, "thinking"))),
            "tool_use" => out.push(self.tool_use(block)),
            _ => {}
        }
    }

    fn tool_use(&mut self, block: &Value) -> Kind {
        let (id, name, input) = (text(block, "id"), text(block, "name"), &block["input"]);
        let path = [text(input, "file_path"), text(input, "notebook_path")].concat();
        let (tool, event) = match name {
            "Bash" => {
                let line = clip(text(input, "command"), MAX_LINE);
                let event = command(id, text(input, "command"), "started", None, "");
                (Tool::Shell { command: line }, event)
            }
            "Write" | "Edit" | "MultiEdit" | "NotebookEdit" => {
                let tool = Tool::Edit { name: name.to_owned(), path: clip(&path, MAX_LINE) };
                (tool, tool_call(id, name, input, "started", ""))
            }
            _ => {
                let tool = Tool::Other { name: clip(name, MAX_LINE) };
                (tool, tool_call(id, name, input, "started", ""))
            }
        };
        if self.open.len() < MAX_OPEN && id.len() <= MAX_LINE {
            self.open.insert(id.to_owned(), tool);
        }
        event
    }

    fn tool_result(&mut self, block: &Value, detail: &Value, out: &mut Vec<Kind>) {
        let id = text(block, "tool_use_id");
        let failed = block["is_error"].as_bool().unwrap_or(false);
        let status = if failed { "failed" } else { "completed" };
        let result = plain(&block["content"]);
        match self.open.remove(id) {
            Some(Tool::Shell { command: line }) => {
                let code = if failed { exit_code(&result) } else { Some(0) };
                out.push(command(id, &line, status, code, &result));
            }
            Some(Tool::Edit { name, path }) => {
                out.push(tool_call(id, &name, &Value::Null, status, &result));
                if !failed {
                    let change = if text(detail, "type") == "create" { "added" } else { "modified" };
                    out.push(file_change(&path, change));
                }
            }
            Some(Tool::Other { name }) => out.push(tool_call(id, &name, &Value::Null, status, &result)),
            None => out.push(tool_call(id, "", &Value::Null, status, &result)),
        }
    }

    /// The last event: only a `result` that is no error is a success, whatever its
    /// subtype says.
    fn result(&mut self, event: &Value, out: &mut Vec<Kind>) {
        out.push(self.usage(event));
        let denials = event["permission_denials"].as_array().map(Vec::as_slice).unwrap_or_default();
        let refused = |d: &Value| refused_by_mode("claude_code", text(d, "tool_name"), &d["tool_input"]);
        out.extend(denials.iter().take(MAX_OPEN).map(refused));
        if event["is_error"] == Value::Bool(false) && text(event, "subtype") == "success" {
            self.verdict = Verdict::Success;
            return;
        }
        let errors = plain(&event["errors"]);
        let why = match (text(event, "result"), errors.as_str()) {
            ("", "") => text(event, "subtype"),
            ("", errors) => errors,
            (result, _) => result,
        };
        self.verdict = Verdict::Failed(format!("claude: {}", clip(why, MAX_LINE)));
        out.push(provider_error(event["api_error_status"].as_u64(), why));
    }

    /// Claude leaves cached tokens out of its input count; ours has them in, as other
    /// programs do. The cost is that of the session so far.
    fn usage(&mut self, event: &Value) -> Kind {
        let usage = &event["usage"];
        let cached = count(usage, "cache_read_input_tokens");
        let written = count(usage, "cache_creation_input_tokens");
        let cost = event["total_cost_usd"].as_f64().map(|total| {
            let before = std::mem::replace(&mut self.told_cost, total);
            (total - before).max(0.0)
        });
        Kind::Usage(UsageEvent {
            input_tokens: count(usage, "input_tokens").saturating_add(cached).saturating_add(written),
            cached_input_tokens: cached,
            output_tokens: count(usage, "output_tokens"),
            reasoning_tokens: 0,
            cost_usd: cost,
        })
    }
}

impl Parser for ClaudeParser {
    fn event(&mut self, event: &Value, out: &mut Vec<Kind>) -> bool {
        let content = || event["message"]["content"].as_array().map(Vec::as_slice).unwrap_or_default();
        if text(event, "subtype") == "init" {
            failed_servers(event, out);
        }
        match text(event, "type") {
            "system" => match text(event, "subtype") {
                "init" => out.extend(session(text(event, "session_id"))),
                "thinking_tokens" | "status" => {}
                "api_retry" => out.push(again(event)),
                _ => return false,
            },
            "assistant" => content().iter().for_each(|block| self.block(block, out)),
            "user" => {
                for block in content().iter().filter(|b| text(b, "type") == "tool_result") {
                    self.tool_result(block, &event["tool_use_result"], out);
                }
            }
            "result" => self.result(event, out),
            "stream_event" => out.extend(piece(event)),
            _ => return false,
        }
        true
    }

    fn verdict(&self) -> Verdict {
        self.verdict.clone()
    }
}

/// A piece of what the agent says; the whole of it comes, too, and so does what is no text. What
/// agents of its own say at the same time is told whole only: their pieces would be mixed.
fn piece(event: &Value) -> Option<Kind> {
    let delta = &event["event"]["delta"];
    let is_own = event["parent_tool_use_id"].is_null() && text(delta, "type") == "text_delta";
    is_own.then(|| message_delta(text(delta, "text"))).flatten()
}

fn again(event: &Value) -> Kind {
    let status = event["error_status"].as_u64().map(|s| format!(" (status {s})")).unwrap_or_default();
    let reason = format!("{}{status}", clip(text(event, "error"), MAX_LINE));
    let wait = event["retry_delay_ms"].as_f64().unwrap_or(0.0).clamp(0.0, 1e9);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped")]
    retry(&reason, count(event, "attempt"), wait as u64)
}

/// Servers that the program could not use, as it says when it starts.
fn failed_servers(event: &Value, out: &mut Vec<Kind>) {
    let servers = event["mcp_servers"].as_array().map(Vec::as_slice).unwrap_or_default();
    for server in servers.iter().take(MAX_OPEN) {
        let status = text(server, "status");
        if !matches!(status, "connected" | "pending" | "") {
            let message = format!("claude has no server {}: {status}", clip(text(server, "name"), MAX_LINE));
            out.push(warning("mcp-server-failed", &message));
        }
    }
}

/// The text of a content that is a string or a list of text blocks.
fn plain(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts: Vec<&str> =
                blocks.iter().map(|b| b.as_str().unwrap_or_else(|| text(b, "text"))).collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

/// A failed command's result begins with "Exit code N".
fn exit_code(result: &str) -> Option<i32> {
    let rest = result.strip_prefix("Exit code ")?;
    rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
}

#[cfg(test)]
#[path = "claude_events_tests.rs"]
mod tests;
