//! The events of `copilot --output-format json`.

use crate::driver::{Parser, Verdict};
use crate::events::{
    MAX_FILES, command, file_change, message, message_delta, provider_error, reasoning, retry, tool_call,
    warning,
};
use crate::json::text;
use crate::text::{MAX_LINE, clip};
use cordon_proto::v1::event::Kind;
use serde_json::Value;
use std::collections::BTreeMap;

/// Tools whose result is awaited; an agent that leaves more open is told without
/// their names.
const MAX_OPEN: usize = 1024;

/// What has to be read for a turn to be understood. A provider's key that occurs in it would be
/// masked there, by the program itself.
pub(super) const WORDS: &str = "type data result exitCode aborted true false null assistant.message content \
     tool.execution_start tool.execution_complete toolCallId toolName arguments command success error message \
     shellExecution fileEdits kind path session.error statusCode sessionId";

#[derive(Debug)]
pub(super) struct CopilotParser {
    verdict: Verdict,
    open: BTreeMap<String, Tool>,
    /// The last error of the session: the result only says that there was one.
    error: Option<(Option<u64>, String)>,
    /// How often the last call of the model had been tried again when it failed.
    tries: u64,
}

#[derive(Debug)]
enum Tool {
    Shell { command: String },
    Other { name: String },
}

impl CopilotParser {
    pub(super) fn new() -> Self {
        Self { verdict: Verdict::Open, open: BTreeMap::new(), error: None, tries: 0 }
    }

    fn started(&mut self, data: &Value) -> Kind {
        let (id, name, input) = (text(data, "toolCallId"), text(data, "toolName"), &data["arguments"]);
        let (tool, kind) = match name {
            "bash" => {
                let line = clip(text(input, "command"), MAX_LINE);
                (Tool::Shell { command: line }, command(id, text(input, "command"), "started", None, ""))
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

    fn completed(&mut self, data: &Value, out: &mut Vec<Kind>) {
        let id = text(data, "toolCallId");
        let failed = data["success"] != Value::Bool(true);
        let result = match (text(&data["result"], "content"), text(&data["error"], "message")) {
            ("", error) => error,
            (content, _) => content,
        };
        match self.open.remove(id) {
            Some(Tool::Shell { command: line }) => {
                let code = data["shellExecution"]["exitCode"].as_i64().and_then(|c| i32::try_from(c).ok());
                // To the program a command that ended is a success, whatever it returned.
                let status = if failed || code.is_some_and(|c| c != 0) { "failed" } else { "completed" };
                out.push(command(id, &line, status, code, result));
            }
            tool => {
                let name = if let Some(Tool::Other { name }) = tool { name } else { String::new() };
                let status = if failed { "failed" } else { "completed" };
                out.push(tool_call(id, &name, &Value::Null, status, result));
            }
        }
        let edits = data["fileEdits"].as_array().map(Vec::as_slice).unwrap_or_default();
        for edit in edits.iter().take(if failed { 0 } else { MAX_FILES }) {
            let change = match text(edit, "kind") {
                "create" => "added",
                "delete" => "removed",
                _ => "modified",
            };
            out.push(file_change(text(edit, "path"), change));
        }
    }

    /// The last event. A stop ends it with code 0, too.
    fn result(&mut self, event: &Value, out: &mut Vec<Kind>) {
        let stopped = [&event["aborted"], &event["data"]["aborted"]].contains(&&Value::Bool(true));
        let code = event["exitCode"].as_i64();
        if code == Some(0) && !stopped {
            self.verdict = Verdict::Success;
            return;
        }
        let (status, why) = match self.error.take() {
            Some((status, why)) if !why.is_empty() => (status, why),
            _ if stopped => (None, "it was stopped".to_owned()),
            _ => {
                (None, format!("it ended with code {}", code.map_or("unknown".to_owned(), |c| c.to_string())))
            }
        };
        self.verdict = Verdict::Failed(format!("copilot: {}", clip(&why, MAX_LINE)));
        out.push(provider_error(status, &why));
    }
}

impl Parser for CopilotParser {
    fn event(&mut self, event: &Value, out: &mut Vec<Kind>) -> bool {
        let data = &event["data"];
        match text(event, "type") {
            "assistant.message" => {
                out.extend(reasoning(text(data, "reasoningText")));
                out.extend(message(text(data, "content")));
            }
            "tool.execution_start" => {
                let event = self.started(data);
                out.push(event);
            }
            "tool.execution_complete" => self.completed(data, out),
            "session.error" => {
                let what = text(data, "message");
                self.error = Some((data["statusCode"].as_u64(), clip(what, MAX_LINE)));
                out.push(warning("agent-error", what));
            }
            "session.warning" => out.push(warning("agent-warning", text(data, "message"))),
            "assistant.message_delta" => out.extend(message_delta(text(data, "deltaContent"))),
            // Only this one counts the tries.
            "model.call_failure" => self.tries = data["retryAttempt"].as_u64().unwrap_or_default(),
            "assistant.turn_retry" => out.push(retry(text(data, "reason"), self.tries.saturating_add(1), 0)),
            "abort" => out.push(warning("agent-warning", "copilot stopped its turn")),
            "result" => self.result(event, out),
            kind => return is_known(kind) || event["ephemeral"] == Value::Bool(true),
        }
        true
    }

    fn verdict(&self) -> Verdict {
        self.verdict.clone()
    }
}

/// Events that say nothing that another one does not. Those that it calls ephemeral are
/// for a screen and not named here.
fn is_known(kind: &str) -> bool {
    [
        "user.message",
        "system.message",
        "assistant.turn_start",
        "assistant.turn_end",
        "assistant.reasoning",
        "session.start",
        "session.resume",
        "session.info",
        "session.model_change",
        "session.skills_loaded",
        "session.background_tasks_changed",
        "session.shutdown",
        "session.truncation",
        "session.compaction_start",
        "session.compaction_complete",
        "session.usage_info",
    ]
    .contains(&kind)
}

#[cfg(test)]
#[path = "copilot_events_tests.rs"]
mod tests;
