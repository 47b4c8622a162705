//! The Anthropic Messages protocol, as Claude Code and API clients speak it.

use super::{
    Call, Shape, Stop, Turn,
    conversation::{Position, Serial},
    shell_edit, shell_read, shell_write, thoughts,
};
use serde_json::{Value, json};

/// Reads where the conversation stands.
pub(super) fn position(request: &Value) -> Position {
    let mut position = Position::default();
    // Beside results clients write what no person said; but who wants no calls asks for something of its own.
    let asks = request["tool_choice"]["type"] == "none";
    for message in request["messages"].as_array().into_iter().flatten() {
        let parts = message["content"].as_array();
        let is_result = parts.is_some_and(|p| p.iter().any(|b| b["type"] == "tool_result"));
        if message["role"] == "user" && !is_result {
            position.user(message["content"].as_str().unwrap_or_default());
        }
        for part in parts.into_iter().flatten() {
            match part["type"].as_str() {
                Some("thinking" | "redacted_thinking") => position.thought(part.to_string()),
                Some("tool_use") => position.call(part["id"].as_str().unwrap_or_default()),
                Some("text") if message["role"] == "user" && (asks || !is_result) => {
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

/// Whether the model was asked to think.
fn thinks(request: &Value) -> bool {
    matches!(request["thinking"]["type"].as_str(), Some("enabled" | "adaptive"))
}

/// The thoughts of a turn as they have to come back.
pub(super) fn sealed(request: &Value, turn: &Turn) -> Option<String> {
    thinks(request).then(|| thought(turn).to_string())
}

fn thought(turn: &Turn) -> Value {
    if turn.redacted {
        return json!({"type": "redacted_thinking", "data": thoughts::seal(turn)});
    }
    json!({"type": "thinking", "thinking": turn.thoughts, "signature": thoughts::seal(turn)})
}

/// What the service refuses of a conversation.
pub(super) fn check(request: &Value) -> Result<(), String> {
    if request["max_tokens"].as_u64().is_none_or(|n| n == 0) {
        return Err("max_tokens: Field required".to_owned());
    }
    let messages = request["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    if messages.first().is_none_or(|m| m["role"] != "user") {
        return Err("messages: first message must use the \"user\" role".to_owned());
    }
    for (at, message) in messages.iter().enumerate() {
        let blocks = || message["content"].as_array().into_iter().flatten();
        if blocks().any(|b| b["type"] == "text" && b["text"].as_str().is_none_or(|t| t.trim().is_empty())) {
            return Err(format!("messages.{at}: text content blocks must contain non-whitespace text"));
        }
        let ids = |kind: &str, key: &str, message: &Value| -> Vec<String> {
            let of = message["content"].as_array().into_iter().flatten().filter(|b| b["type"] == kind);
            of.filter_map(|b| b[key].as_str().map(str::to_owned)).collect()
        };
        let next = messages.get(at + 1).unwrap_or(&Value::Null);
        let mut called = ids("tool_use", "id", message);
        let mut answered = ids("tool_result", "tool_use_id", next);
        called.sort();
        answered.sort();
        if message["role"] == "assistant" && called != answered {
            return Err(format!(
                "messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately after, or the \
                 other way round: {called:?}, {answered:?}"
            ));
        }
    }
    Ok(())
}

/// The content blocks of a turn.
pub(super) fn blocks(request: &Value, turn: &Turn, serial: &Serial) -> Vec<Value> {
    let mut blocks = Vec::new();
    if !turn.thoughts.is_empty() && thinks(request) {
        blocks.push(thought(turn));
    }
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
pub(super) fn answer(request: &Value, id: &str, turn: &Turn, blocks: &[Value]) -> Value {
    let calls = blocks.iter().any(|b| b["type"] == "tool_use");
    let stop = match turn.stop {
        Some(Stop::Length) => "max_tokens",
        Some(Stop::Refusal) => "refusal",
        Some(Stop::Paused) => "pause_turn",
        None if calls => "tool_use",
        None => "end_turn",
    };
    let usage = turn.usage;
    json!({
        "id": id, "type": "message", "role": "assistant", "model": request["model"], "content": blocks,
        "stop_reason": stop, "stop_sequence": null, "stop_details": null,
        "usage": {"input_tokens": usage.input, "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": usage.cached, "output_tokens": usage.output,
            "output_tokens_details": {"thinking_tokens": usage.reasoning}},
    })
}

/// A text as it comes when nothing else is said: what people write, in words.
fn words(shape: &Shape, text: &str) -> Vec<String> {
    const LONGEST: usize = 4096;
    if shape.delta > 0 || text.is_empty() || text.len() > LONGEST {
        return shape.pieces(text);
    }
    text.split_inclusive(' ').map(str::to_owned).collect()
}

/// The same as events: name and data.
pub(super) fn events(
    request: &Value,
    id: &str,
    turn: &Turn,
    blocks: &[Value],
    shape: &Shape,
) -> Vec<(String, Value)> {
    let whole = answer(request, id, turn, blocks);
    let mut start = answer(request, id, turn, &[]);
    start["stop_reason"] = Value::Null;
    start["usage"]["output_tokens"] = json!(1);
    let mut events = vec![json!({"type": "message_start", "message": start}), json!({"type": "ping"})];
    let mut calls = Vec::new();
    for (index, block) in blocks.iter().enumerate() {
        let cut = turn.stop == Some(Stop::Length) && index + 1 == blocks.len();
        let thread = block_events(index, block, shape, cut);
        if block["type"] == "tool_use" { calls.push(thread) } else { events.extend(thread) }
    }
    events.extend(shape.woven(calls));
    events.push(json!({"type": "message_delta", "usage": {"output_tokens": turn.usage.output,
        "output_tokens_details": {"thinking_tokens": turn.usage.reasoning}},
        "delta": {"stop_reason": whole["stop_reason"], "stop_sequence": null}}));
    events.push(json!({"type": "message_stop"}));
    events.into_iter().map(|e| (e["type"].as_str().unwrap_or_default().to_owned(), e)).collect()
}

fn block_events(index: usize, block: &Value, shape: &Shape, cut: bool) -> Vec<Value> {
    let text = |key: &str| block[key].as_str().unwrap_or_default();
    let mut empty = block.clone();
    let mut deltas = Vec::new();
    let mut add = |kind: &str, key: &str, pieces: Vec<String>| {
        let kind = format!("{kind}_delta");
        deltas.extend(pieces.into_iter().map(|piece| json!({"type": kind, key: piece})));
    };
    match text("type") {
        "tool_use" => {
            empty["input"] = json!({});
            let mut input = block["input"].to_string();
            if cut {
                input.truncate(
                    (0..=input.len() / 2).rev().find(|at| input.is_char_boundary(*at)).unwrap_or(0),
                );
            }
            add("input_json", "partial_json", shape.pieces(&input));
        }
        "thinking" => {
            empty["thinking"] = json!("");
            empty["signature"] = json!("");
            add("thinking", "thinking", shape.pieces(text("thinking")));
            add("signature", "signature", vec![text("signature").to_owned()]);
        }
        "text" => {
            empty["text"] = json!("");
            add("text", "text", words(shape, text("text")));
        }
        _ => {}
    }
    let mut events = vec![json!({"type": "content_block_start", "index": index, "content_block": empty})];
    events.extend(
        deltas
            .into_iter()
            .map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta})),
    );
    events.push(json!({"type": "content_block_stop", "index": index}));
    events
}
