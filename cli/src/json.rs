//! The JSON form of what the daemon says. It is pure ASCII wherever a terminal could be led astray,
//! so that looking at it is as harmless as looking at the table.

mod trees;

pub(crate) use trees::{apply, snapshot, tree_node, workspace};

use crate::neutral::is_hidden;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cordon_proto::v1::{
    AgentSummary, Event, FileChangeEvent, Outcome, OutputStream, ProbeFinding, Run, RunState, RunSummary,
    UsageEvent, event::Kind,
};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// One line. Characters that a terminal obeys or hides stand as `\u` escapes, which mean the same.
pub(crate) fn encode(value: &Value) -> String {
    let plain = value.to_string();
    if plain.is_ascii() && !plain.contains('\x7f') {
        return plain;
    }
    let mut out = String::with_capacity(plain.len() + 16);
    for c in plain.chars() {
        if is_hidden(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

pub(crate) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Unspecified => "",
        Outcome::Success => "success",
        Outcome::AgentFailed => "agent-failed",
        Outcome::Refused => "refused",
        Outcome::Cancelled => "cancelled",
        Outcome::TimedOut => "timed-out",
        Outcome::Broken => "broken",
    }
}

pub(crate) fn state(state: RunState) -> &'static str {
    match state {
        RunState::Unspecified => "",
        RunState::Starting => "starting",
        RunState::Running => "running",
        RunState::Stopping => "stopping",
        RunState::Ended => "ended",
    }
}

pub(crate) fn run(run: &Run) -> Value {
    let agent = |a: &cordon_proto::v1::RunAgent| {
        json!({
            "id": a.id, "backend": a.backend, "wall": a.wall, "workspace": a.workspace,
            "sandbox_id": a.sandbox_id, "state": state(a.state()), "outcome": outcome(a.outcome()),
        })
    };
    json!({
        "id": run.id, "state": state(run.state()), "outcome": outcome(run.outcome()),
        "started_unix_ms": run.started_unix_ms, "ended_unix_ms": run.ended_unix_ms,
        "agent_file_name": run.agent_file_name, "title": run.title, "owner_uid": run.owner_uid,
        "agents": run.agents.iter().map(agent).collect::<Vec<_>>(), "journal_events": run.journal_events, "resumes": run.resumes,
    })
}

pub(crate) fn findings(findings: &[ProbeFinding]) -> Value {
    findings
        .iter()
        .map(|f| json!({ "check": f.check, "expected": f.expected, "found": f.found, "ok": f.ok }))
        .collect()
}

/// One event: `seq`, `time_unix_ms`, `agent`, `kind` and what belongs to the kind.
pub(crate) fn event(event: &Event) -> Value {
    let (kind, mut value) = match &event.kind {
        Some(kind) => kind_json(kind),
        None => ("unknown", json!({})),
    };
    if let Some(object) = value.as_object_mut() {
        object.insert("seq".to_owned(), json!(event.seq));
        object.insert("time_unix_ms".to_owned(), json!(event.time_unix_ms));
        object.insert("agent".to_owned(), json!(event.agent));
        object.insert("kind".to_owned(), json!(kind));
    }
    value
}

fn kind_json(kind: &Kind) -> (&'static str, Value) {
    match kind {
        Kind::RunStarted(e) => {
            ("run_started", json!({ "agent_file_name": e.agent_file_name, "prompt": e.prompt }))
        }
        Kind::SandboxReady(e) => (
            "sandbox_ready",
            json!({
                "sandbox_id": e.sandbox_id, "wall": e.wall, "findings": findings(&e.findings),
                "ready_ms": e.ready_ms,
            }),
        ),
        Kind::Warning(e) => ("warning", json!({ "reason": e.reason, "message": e.message })),
        Kind::TurnStarted(e) => {
            ("turn_started", json!({ "turn": e.turn, "backend": e.backend, "argv": e.argv }))
        }
        Kind::Output(e) => {
            let stream = match e.stream() {
                OutputStream::Stderr => "stderr",
                OutputStream::Stdout | OutputStream::Unspecified => "stdout",
            };
            let mut value = json!({ "stream": stream, "offset": e.offset });
            insert_bytes(&mut value, "data", &e.data);
            ("output", value)
        }
        Kind::Message(e) => ("message", json!({ "text": e.text })),
        Kind::Reasoning(e) => ("reasoning", json!({ "text": e.text })),
        Kind::Command(e) => (
            "command",
            json!({
                "id": e.id, "command": e.command, "status": e.status, "exit_code": e.exit_code,
                "output": e.output,
            }),
        ),
        Kind::FileChange(e) => ("file_change", file_change(e)),
        Kind::ToolCall(e) => (
            "tool_call",
            json!({
                "id": e.id, "name": e.name, "arguments": e.arguments, "status": e.status,
                "result": e.result,
            }),
        ),
        Kind::Usage(e) => ("usage", usage(e)),
        Kind::Error(e) => ("error", json!({ "reason": e.reason, "message": e.message, "fix": e.fix })),
        Kind::Denial(e) => (
            "denial",
            json!({
                "operation": e.operation, "target": e.target, "rule": e.rule, "origin": e.origin,
                "layer": e.layer, "would_allow": e.would_allow,
            }),
        ),
        Kind::Unknown(e) => {
            let mut value = json!({});
            insert_bytes(&mut value, "raw", &e.raw);
            ("unknown", value)
        }
        Kind::TurnEnded(e) => (
            "turn_ended",
            json!({
                "turn": e.turn, "outcome": outcome(e.outcome()), "message": e.message,
                "exit_code": e.exit_code, "wall_ms": e.wall_ms,
            }),
        ),
        Kind::RunEnded(e) => (
            "run_ended",
            json!({ "outcome": outcome(e.outcome()), "summary": e.summary.as_ref().map(summary) }),
        ),
        Kind::Recovered(e) => ("recovered", json!({ "message": e.message })),
        Kind::ProcessStarted(e) => {
            ("process_started", json!({ "process_id": e.process_id, "argv": e.argv, "stdin": e.stdin }))
        }
        Kind::ProcessExited(e) => (
            "process_exited",
            json!({
                "process_id": e.process_id, "code": e.code, "signal": e.signal, "timed_out": e.timed_out,
                "cancelled": e.cancelled, "start_errno": e.start_errno, "start_step": e.start_step,
                "wall_ms": e.wall_ms,
            }),
        ),
        Kind::OutputDropped(e) => ("output_dropped", json!({ "from": e.from, "to": e.to })),
        Kind::SnapshotTaken(e) => {
            let mut value = json!({
                "snapshot_id": e.snapshot_id, "kind": e.kind, "turn": e.turn, "files": e.files,
                "bytes": e.bytes, "added_bytes": e.added_bytes, "skipped": e.skipped, "taken_ms": e.taken_ms,
            });
            insert_bytes(&mut value, "tree", &e.tree);
            ("snapshot_taken", value)
        }
        Kind::Progress(e) => {
            let mut value =
                json!({ "what": e.what, "done_bytes": e.done_bytes, "total_bytes": e.total_bytes });
            insert_bytes(&mut value, "tree", &e.tree);
            ("progress", value)
        }
        Kind::Session(e) => ("session", json!({ "id": e.id })),
        // What was said is told by other events.
        Kind::Conversation(e) => ("conversation", json!({ "anew": e.anew })),
        Kind::Retry(e) => {
            ("retry", json!({ "reason": e.reason, "attempt": e.attempt, "wait_ms": e.wait_ms }))
        }
        Kind::Viewer(e) => ("viewer", json!({ "viewer": e.viewer, "what": e.what, "uid": e.uid })),
        Kind::MessageDelta(e) => ("message_delta", json!({ "text": e.text })),
    }
}

fn summary(summary: &RunSummary) -> Value {
    json!({
        "files": summary.files.iter().map(file_change).collect::<Vec<_>>(),
        "files_omitted": summary.files_omitted, "denials": summary.denials,
        "usage": summary.usage.as_ref().map(usage), "wall_ms": summary.wall_ms,
        "agents": summary.agents.iter().map(agent_summary).collect::<Vec<_>>(),
    })
}

fn agent_summary(agent: &AgentSummary) -> Value {
    json!({
        "id": agent.id, "backend": agent.backend, "outcome": outcome(agent.outcome()), "turns": agent.turns,
        "usage": agent.usage.as_ref().map(usage), "wall_ms": agent.wall_ms,
        "files_changed": agent.files_changed, "message": agent.message,
    })
}

fn file_change(change: &FileChangeEvent) -> Value {
    let mut value = json!({ "change": change.change });
    insert_bytes(&mut value, "path", &change.path);
    value
}

fn usage(usage: &UsageEvent) -> Value {
    json!({
        "input_tokens": usage.input_tokens, "cached_input_tokens": usage.cached_input_tokens,
        "output_tokens": usage.output_tokens, "reasoning_tokens": usage.reasoning_tokens,
        "cost_usd": usage.cost_usd,
    })
}

/// `key` holds the text; bytes that are not UTF-8 stand exactly in `key_base64` instead.
pub(crate) fn insert_bytes(value: &mut Value, key: &str, bytes: &[u8]) {
    let object: &mut Map<String, Value> = match value {
        Value::Object(object) => object,
        _ => return,
    };
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(key.to_owned(), json!(text)),
        Err(_) => object.insert(format!("{key}_base64"), json!(STANDARD.encode(bytes))),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_proto::v1::OutputEvent;
    use proptest::prelude::*;

    fn output(data: &[u8]) -> Event {
        Event {
            seq: 3,
            time_unix_ms: 5,
            agent: "a".into(),
            kind: Some(Kind::Output(OutputEvent {
                stream: OutputStream::Stderr.into(),
                data: data.to_vec().into(),
                offset: 9,
                ..Default::default()
            })),
        }
    }

    #[test]
    fn an_event_is_one_flat_object() {
        assert_eq!(
            encode(&event(&output(b"hi\x1b"))),
            r#"{"agent":"a","data":"hi\u001b","kind":"output","offset":9,"seq":3,"stream":"stderr","time_unix_ms":5}"#
        );
        assert_eq!(event(&output(b"\xff"))["data_base64"], "/w==");
    }

    proptest! {
        #[test]
        fn encoding_is_harmless_and_loses_nothing(text in any::<String>()) {
            let value = json!({ "text": text });
            let line = encode(&value);
            prop_assert!(!line.chars().any(is_hidden));
            prop_assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
        }
    }
}
