//! The Anthropic Messages protocol, as Claude Code and API clients speak it.

use super::{
    Call, Turn,
    conversation::{Position, Serial},
    shell_edit, shell_read, shell_write,
};
use serde_json::{Value, json};

/// Reads where the conversation stands.
pub(super) fn position(request: &Value) -> Position {
    let mut position = Position::default();
    for message in request["messages"].as_array().into_iter().flatten() {
        let parts = message["content"].as_array();
        let is_result = parts.is_some_and(|p| p.iter().any(|b| b["type"] == "tool_result"));
        if message["role"] == "user" && !is_result {
            position.user(message["content"].as_str().unwrap_or_default());
        }
        for part in parts.into_iter().flatten() {
            match part["type"].as_str() {
                Some("tool_use") => position.call(part["id"].as_str().unwrap_or_default()),
                Some("text") if message["role"] == "user" && !is_result => {
                    position.user(part["text"].as_str().unwrap_or_default());
                }
                _ => {}
            }
        }
    }
    position
}

/// Whether the client offers tools at all.
pub(super) fn has_tools(request: &Value) -> bool {
    request["tools"].as_array().is_some_and(|t| !t.is_empty())
}

fn offers(request: &Value, name: &str) -> bool {
    request["tools"].as_array().into_iter().flatten().any(|t| t["name"] == name)
}

/// The content blocks of a turn.
pub(super) fn blocks(request: &Value, turn: &Turn, serial: &Serial) -> Vec<Value> {
    let mut blocks = Vec::new();
    if !turn.text.is_empty() || turn.calls.is_empty() {
        blocks.push(json!({"type": "text", "text": turn.text}));
    }
    for (number, call) in turn.calls.iter().enumerate() {
        blocks.push(call_block(request, call, &serial.call("toolu", number)));
    }
    blocks
}

fn call_block(request: &Value, call: &Call, id: &str) -> Value {
    let tool = |name: &str, input: Value| json!({"type": "tool_use", "id": id, "name": name, "input": input});
    match call {
        Call::Shell(command) => shell(request, command, id),
        Call::Write { path, content } if offers(request, "Write") => {
            tool("Write", json!({"file_path": path, "content": content}))
        }
        Call::Write { path, content } if offers(request, "write_file") => {
            tool("write_file", json!({"path": path, "content": content}))
        }
        Call::Write { path, content } => shell(request, &shell_write(path, content), id),
        Call::Read(path) if offers(request, "Read") => tool("Read", json!({"file_path": path})),
        Call::Read(path) => shell(request, &shell_read(path), id),
        Call::Edit { path, old, new } if offers(request, "Edit") => {
            tool("Edit", json!({"file_path": path, "old_string": old, "new_string": new}))
        }
        Call::Edit { path, old, new } => shell(request, &shell_edit(path, old, new), id),
        Call::Tool { name, arguments } => tool(name, arguments.clone()),
        Call::Mcp { server, tool: name, arguments } => {
            let offered =
                request["tools"].as_array().into_iter().flatten().filter_map(|t| t["name"].as_str());
            let name = super::offered_mcp(offered, server, name);
            tool(&name, arguments.clone())
        }
    }
}

fn shell(request: &Value, command: &str, id: &str) -> Value {
    for name in ["Bash", "bash", "execute_command"] {
        if offers(request, name) {
            let mut input = json!({"command": command});
            if name == "Bash" {
                input["description"] = json!("Run a scripted command");
            }
            return json!({"type": "tool_use", "id": id, "name": name, "input": input});
        }
    }
    json!({"type": "text", "text": "scripted provider: no shell among the tools offered"})
}

/// The whole answer.
pub(super) fn answer(request: &Value, id: &str, blocks: &[Value]) -> Value {
    let calls = blocks.iter().any(|b| b["type"] == "tool_use");
    json!({
        "id": id, "type": "message", "role": "assistant", "model": request["model"], "content": blocks,
        "stop_reason": if calls { "tool_use" } else { "end_turn" }, "stop_sequence": null,
        "usage": {"input_tokens": 100, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 20,
            "output_tokens": 10},
    })
}

/// A text as it comes: what people write, in words.
fn pieces(text: &str) -> Vec<&str> {
    const LONGEST: usize = 4096;
    if text.is_empty() || text.len() > LONGEST { vec![text] } else { text.split_inclusive(' ').collect() }
}

/// The same as events: name and data.
pub(super) fn events(request: &Value, id: &str, blocks: &[Value]) -> Vec<(String, Value)> {
    let whole = answer(request, id, blocks);
    let mut start = answer(request, id, &[]);
    start["stop_reason"] = Value::Null;
    start["usage"]["output_tokens"] = json!(1);
    let mut events = vec![json!({"type": "message_start", "message": start})];
    for (index, block) in blocks.iter().enumerate() {
        let (empty, deltas) = if block["type"] == "tool_use" {
            let mut empty = block.clone();
            empty["input"] = json!({});
            (empty, vec![json!({"type": "input_json_delta", "partial_json": block["input"].to_string()})])
        } else {
            let text = block["text"].as_str().unwrap_or_default();
            let delta = |text| json!({"type": "text_delta", "text": text});
            (json!({"type": "text", "text": ""}), pieces(text).into_iter().map(delta).collect())
        };
        events.push(json!({"type": "content_block_start", "index": index, "content_block": empty}));
        let deltas = deltas.into_iter();
        events.extend(
            deltas.map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta})),
        );
        events.push(json!({"type": "content_block_stop", "index": index}));
    }
    events.push(json!({"type": "message_delta", "usage": {"output_tokens": 10},
        "delta": {"stop_reason": whole["stop_reason"], "stop_sequence": null}}));
    events.push(json!({"type": "message_stop"}));
    events.into_iter().map(|e| (e["type"].as_str().unwrap_or_default().to_owned(), e)).collect()
}
