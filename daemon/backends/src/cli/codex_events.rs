//! The events of `codex exec --json`.

use crate::driver::{Parser, Verdict};
use crate::events::retry;
use crate::events::{
    MAX_FILES, command, file_change, message, provider_error, reasoning, session, since, tool_call, warning,
};
use crate::json::{count, text};
use crate::text::{MAX_LINE, clip};
use cordon_proto::v1::event::Kind;
use cordon_proto::v1::{ErrorEvent, UsageEvent};
use serde_json::Value;

#[derive(Debug)]
pub(super) struct CodexParser {
    verdict: Verdict,
    /// Codex counts a whole thread: what was told of it before.
    told: UsageEvent,
}

impl CodexParser {
    #[cfg(test)]
    pub(super) fn new() -> Self {
        Self::after(UsageEvent::default())
    }

    /// In a thread of which so much was told before.
    pub(super) fn after(told: UsageEvent) -> Self {
        Self { verdict: Verdict::Open, told }
    }

    fn usage(&mut self, usage: &Value) -> Kind {
        let total = UsageEvent {
            input_tokens: count(usage, "input_tokens"),
            cached_input_tokens: count(usage, "cached_input_tokens"),
            output_tokens: count(usage, "output_tokens"),
            reasoning_tokens: count(usage, "reasoning_output_tokens"),
            cost_usd: None,
        };
        let told = std::mem::replace(&mut self.told, total);
        Kind::Usage(since(&total, &told))
    }
}

impl Parser for CodexParser {
    fn event(&mut self, event: &Value, out: &mut Vec<Kind>) -> bool {
        match text(event, "type") {
            "thread.started" => out.extend(session(text(event, "thread_id"))),
            "turn.started" => self.verdict = Verdict::Open,
            "item.started" => return item(&event["item"], false, out),
            // Partial output: the completed item has all of it.
            "item.updated" => {}
            "item.completed" => return item(&event["item"], true, out),
            "turn.completed" => {
                // A failure stands until a new turn begins.
                if self.verdict == Verdict::Open {
                    self.verdict = Verdict::Success;
                }
                out.push(self.usage(&event["usage"]));
            }
            "turn.failed" => {
                let why = text(&event["error"], "message");
                self.verdict = Verdict::Failed(format!("codex: {}", clip(why, MAX_LINE)));
                out.push(provider_error(None, why));
            }
            // Also said when it reconnects, so not the end.
            "error" => out.push(error(text(event, "message"))),
            _ => return false,
        }
        true
    }

    fn log(&mut self, line: &[u8], out: &mut Vec<Kind>) {
        const FAILED: &str = "MCP server startup failed server_name=\"";
        let line = String::from_utf8_lossy(line);
        let Some((_, rest)) = line.split_once(FAILED) else { return };
        let Some((name, why)) = rest.split_once('"') else { return };
        let why = why.trim_start().trim_start_matches("error=");
        out.push(warning(
            "mcp-server-failed",
            &format!("codex has no server {name}: {}", clip(why, MAX_LINE)),
        ));
    }

    fn verdict(&self) -> Verdict {
        self.verdict.clone()
    }
}

/// "Reconnecting... 2/5 (why)", or something else that is not the end either.
fn error(message: &str) -> Kind {
    let again = message.strip_prefix("Reconnecting... ").and_then(|rest| {
        let (attempt, why) = rest.split_once('/')?;
        let why = why.split_once('(').map_or("", |(_, why)| why.trim_end_matches(')'));
        Some(retry(why, attempt.parse().ok()?, 0))
    });
    again.unwrap_or_else(|| warning("agent-error", message))
}

fn item(item: &Value, completed: bool, out: &mut Vec<Kind>) -> bool {
    let id = text(item, "id");
    let status = match (completed, text(item, "status")) {
        (false, _) => "started",
        (true, "failed" | "declined") => "failed",
        (true, _) => "completed",
    };
    match text(item, "type") {
        "agent_message" if completed => out.extend(message(text(item, "text"))),
        "reasoning" if completed => out.extend(reasoning(text(item, "text"))),
        "command_execution" => {
            let code = item["exit_code"].as_i64().and_then(|c| i32::try_from(c).ok());
            out.push(command(id, text(item, "command"), status, code, text(item, "aggregated_output")));
        }
        "file_change" if completed => file_changes(item, status, out),
        "mcp_tool_call" => {
            let name = format!("{}.{}", text(item, "server"), text(item, "tool"));
            let error = text(&item["error"], "message");
            let result = match &item["result"] {
                Value::Null => error.to_owned(),
                result => result.to_string(),
            };
            out.push(tool_call(id, &name, &item["arguments"], status, &result));
        }
        "web_search" => {
            out.push(tool_call(id, "web_search", &item["query"], status, ""));
        }
        "error" if completed => out.push(warning("agent-warning", text(item, "message"))),
        "agent_message" | "reasoning" | "file_change" | "error" => {}
        _ => return false,
    }
    true
}

fn file_changes(item: &Value, status: &str, out: &mut Vec<Kind>) {
    let changes = item["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    if status == "failed" {
        let paths: Vec<&str> = changes.iter().take(10).map(|c| text(c, "path")).collect();
        out.push(Kind::Error(ErrorEvent {
            reason: "file-change-failed".into(),
            message: clip(&format!("codex could not change {}", paths.join(", ")), MAX_LINE),
            fix: String::new(),
        }));
        return;
    }
    for change in changes.iter().take(MAX_FILES) {
        let kind = match text(change, "kind") {
            "add" => "added",
            "delete" => "removed",
            _ => "modified",
        };
        out.push(file_change(text(change, "path"), kind));
    }
    if changes.len() > MAX_FILES {
        let more = changes.len() - MAX_FILES;
        out.push(warning("many-files", &format!("codex changed {more} more files in this step")));
    }
}

#[cfg(test)]
#[path = "codex_events_tests.rs"]
mod tests;
