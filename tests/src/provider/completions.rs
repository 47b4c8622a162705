//! The chat completions protocol, as Copilot CLI and API clients speak it.

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
        match message["role"].as_str() {
            Some("user") => {
                said(&mut position, message["content"].as_str().unwrap_or_default());
                for part in message["content"].as_array().into_iter().flatten() {
                    said(&mut position, part["text"].as_str().unwrap_or_default());
                }
            }
            Some("assistant") => {
                for call in message["tool_calls"].as_array().into_iter().flatten() {
                    position.call(call["id"].as_str().unwrap_or_default());
                }
            }
            _ => {}
        }
    }
    position
}

/// Copilot puts the time before what a person wrote.
fn said(position: &mut Position, text: &str) {
    position.user(text.split_once("</current_datetime>").map_or(text, |(_, rest)| rest));
}

/// Whether the client offers tools at all.
pub(super) fn has_tools(request: &Value) -> bool {
    tools(request).next().is_some()
}

fn tools(request: &Value) -> impl Iterator<Item = &Value> {
    request["tools"].as_array().into_iter().flatten().map(|t| &t["function"])
}

fn offers(request: &Value, name: &str) -> bool {
    tools(request).any(|t| t["name"] == name)
}

/// The assistant's message of a turn.
pub(super) fn message(request: &Value, turn: &Turn, serial: &Serial) -> Value {
    let mut message = json!({"role": "assistant", "content": turn.text});
    let calls: Vec<Value> = turn
        .calls
        .iter()
        .enumerate()
        .filter_map(|(number, call)| call_of(request, call, &serial.call("call", number)))
        .collect();
    if calls.len() < turn.calls.len() {
        message["content"] = json!("scripted provider: no shell among the tools offered");
    }
    if !calls.is_empty() {
        message["tool_calls"] = json!(calls);
    }
    message
}

fn call_of(request: &Value, call: &Call, id: &str) -> Option<Value> {
    let tool = |name: &str, arguments: &Value| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments.to_string()}});
    Some(match call {
        Call::Shell(command) => {
            let name = ["bash", "execute_command"].into_iter().find(|n| offers(request, n))?;
            let mut arguments = json!({"command": command});
            if name == "bash" {
                arguments["description"] = json!("Run a scripted command");
            }
            tool(name, &arguments)
        }
        Call::Write { path, content } if offers(request, "create") => {
            tool("create", &json!({"path": path, "file_text": content}))
        }
        Call::Write { path, content } if offers(request, "write_file") => {
            tool("write_file", &json!({"path": path, "content": content}))
        }
        Call::Write { path, content } => {
            return call_of(request, &Call::Shell(shell_write(path, content)), id);
        }
        Call::Read(path) if offers(request, "view") => tool("view", &json!({"path": path})),
        Call::Read(path) => return call_of(request, &Call::Shell(shell_read(path)), id),
        Call::Edit { path, old, new } if offers(request, "edit") => {
            tool("edit", &json!({"path": path, "old_str": old, "new_str": new}))
        }
        Call::Edit { path, old, new } => {
            return call_of(request, &Call::Shell(shell_edit(path, old, new)), id);
        }
        Call::Tool { name, arguments } => tool(name, arguments),
        Call::Mcp { server, tool: name, arguments } => {
            let offered = tools(request).filter_map(|t| t["name"].as_str());
            tool(&super::offered_mcp(offered, server, name), arguments)
        }
    })
}

fn usage() -> Value {
    json!({
        "prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110,
        "prompt_tokens_details": {"cached_tokens": 20}, "completion_tokens_details": {"reasoning_tokens": 0},
    })
}

fn finish(message: &Value) -> &'static str {
    if message["tool_calls"].is_array() { "tool_calls" } else { "stop" }
}

/// The whole answer.
pub(super) fn answer(request: &Value, id: &str, message: &Value) -> Value {
    json!({
        "id": id, "object": "chat.completion", "created": 1_790_000_000, "model": request["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": finish(message)}], "usage": usage(),
    })
}

/// The same as chunks.
pub(super) fn chunks(request: &Value, id: &str, message: &Value) -> Vec<Value> {
    let chunk = |choices: Value| {
        json!({"id": id, "object": "chat.completion.chunk", "created": 1_790_000_000,
            "model": request["model"], "choices": choices})
    };
    let delta = |delta: Value| chunk(json!([{"index": 0, "delta": delta, "finish_reason": null}]));
    let mut chunks = vec![delta(json!({"role": "assistant", "content": message["content"]}))];
    for (index, call) in message["tool_calls"].as_array().into_iter().flatten().enumerate() {
        let mut call = call.clone();
        call["index"] = json!(index);
        chunks.push(delta(json!({"tool_calls": [call]})));
    }
    chunks.push(chunk(json!([{"index": 0, "delta": {}, "finish_reason": finish(message)}])));
    let mut last = chunk(json!([]));
    last["usage"] = usage();
    chunks.push(last);
    chunks
}
