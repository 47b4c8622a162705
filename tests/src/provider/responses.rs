//! The OpenAI Responses protocol, as Codex and API clients speak it.

use super::{
    Call, Turn, code_mode,
    conversation::{Position, Serial},
    edit_patch, patch, shell_edit, shell_read, shell_write,
};
use serde_json::{Value, json};

/// Reads where the conversation stands.
pub(super) fn position(request: &Value) -> Position {
    let mut position = Position::default();
    if let Some(text) = request["input"].as_str() {
        position.user(text);
    }
    for item in request["input"].as_array().into_iter().flatten() {
        if let Some(id) = item["call_id"].as_str() {
            position.call(id);
        } else if item["role"] == "user" {
            position.user(item["content"].as_str().unwrap_or_default());
            for part in item["content"].as_array().into_iter().flatten() {
                position.user(part["text"].as_str().unwrap_or_default());
            }
        }
    }
    position
}

/// Whether the client offers tools at all.
pub(super) fn has_tools(request: &Value) -> bool {
    tools(request).next().is_some() || code_mode::namespaces(request).next().is_some()
}

fn tools(request: &Value) -> impl Iterator<Item = &Value> {
    request["tools"].as_array().into_iter().flatten()
}

/// A tool by name, or by type where the type is the name (`local_shell`).
fn tool<'a>(request: &'a Value, name: &str) -> Option<&'a Value> {
    tools(request).find(|t| t["name"] == name || t["type"] == name)
}

/// The output items of a turn.
pub(super) fn items(request: &Value, turn: &Turn, serial: &Serial) -> Vec<Value> {
    let mut items = Vec::new();
    if !turn.text.is_empty() || turn.calls.is_empty() {
        items.push(json!({
            "type": "message", "id": serial.id("msg"), "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": turn.text, "annotations": []}],
        }));
    }
    for (number, call) in turn.calls.iter().enumerate() {
        let id = serial.call("call", number);
        items.push(code_mode::item(request, call, &id).unwrap_or_else(|| call_item(request, call, &id)));
    }
    items
}

fn function(id: &str, name: &str, arguments: &Value) -> Value {
    json!({
        "type": "function_call", "id": format!("fc_{id}"), "call_id": id, "status": "completed",
        "name": name, "arguments": arguments.to_string(),
    })
}

fn call_item(request: &Value, call: &Call, id: &str) -> Value {
    let patches = tool(request, "apply_patch").is_some_and(|t| t["type"] == "custom");
    match call {
        Call::Shell(command) => shell(request, command, id),
        Call::Read(path) => shell(request, &shell_read(path), id),
        Call::Edit { path, old, new } if patches => patched(&edit_patch(path, old, new), id),
        Call::Edit { path, old, new } => shell(request, &shell_edit(path, old, new), id),
        Call::Write { path, content } => {
            if let Some(input) = patch(path, content).filter(|_| patches) {
                return patched(&input, id);
            }
            if tool(request, "write_file").is_some() {
                return function(id, "write_file", &json!({"path": path, "content": content}));
            }
            shell(request, &shell_write(path, content), id)
        }
        Call::Tool { name, arguments } => function(id, name, arguments),
        Call::Mcp { server, tool, arguments } => mcp(request, server, tool, arguments, id),
    }
}

fn patched(input: &str, id: &str) -> Value {
    json!({
        "type": "custom_tool_call", "id": format!("ctc_{id}"), "call_id": id,
        "status": "completed", "name": "apply_patch", "input": input,
    })
}

/// A server's tools stand in a namespace of their own.
fn mcp(request: &Value, server: &str, tool: &str, arguments: &Value, id: &str) -> Value {
    let namespace = format!("mcp__{server}");
    let has = |n: &&Value| {
        n["type"] == "namespace" && n["name"].as_str().unwrap_or_default().trim_end_matches('_') == namespace
    };
    let Some(found) = tools(request).find(has) else {
        return function(id, &format!("{namespace}__{tool}"), arguments);
    };
    let mut call = function(id, tool, arguments);
    call["namespace"] = found["name"].clone();
    call
}

/// The client's shell, by whatever name and with whatever arguments it has.
fn shell(request: &Value, command: &str, id: &str) -> Value {
    for name in ["exec_command", "shell_command", "shell", "local_shell", "bash", "execute_command"] {
        let Some(tool) = tool(request, name) else { continue };
        if tool["type"] == "local_shell" {
            return json!({
                "type": "local_shell_call", "id": format!("lsc_{id}"), "call_id": id, "status": "completed",
                "action": {"type": "exec", "command": ["/bin/sh", "-c", command], "env": {}},
            });
        }
        let properties = &tool["parameters"]["properties"];
        let arguments = if properties["cmd"].is_object() {
            json!({"cmd": command})
        } else if properties["command"]["type"] == "array" {
            json!({"command": ["/bin/sh", "-c", command]})
        } else {
            json!({"command": command})
        };
        return function(id, name, &arguments);
    }
    let offered: Vec<&str> = tools(request).filter_map(|t| t["name"].as_str()).collect();
    json!({
        "type": "message", "id": format!("msg_{id}"), "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "annotations": [],
            "text": format!("scripted provider: no shell among the tools offered: {}", offered.join(", "))}],
    })
}

/// The whole answer.
pub(super) fn answer(request: &Value, id: &str, status: &str, items: &[Value]) -> Value {
    json!({
        "id": id, "object": "response", "created_at": 1_790_000_000, "status": status,
        "model": request["model"], "output": items, "error": null, "incomplete_details": null,
        "parallel_tool_calls": true, "tool_choice": "auto", "tools": [],
        "usage": {
            "input_tokens": 100, "input_tokens_details": {"cached_tokens": 20},
            "output_tokens": 10, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 110,
        },
    })
}

/// The same as events: name and data.
pub(super) fn events(request: &Value, id: &str, items: &[Value]) -> Vec<(String, Value)> {
    let mut events = vec![
        json!({"type": "response.created", "response": answer(request, id, "in_progress", &[])}),
        json!({"type": "response.in_progress", "response": answer(request, id, "in_progress", &[])}),
    ];
    for (index, item) in items.iter().enumerate() {
        let item_id = &item["id"];
        let mut started = item.clone();
        started["status"] = json!("in_progress");
        if item["type"] == "message" {
            started["content"] = json!([]);
        }
        events.push(json!({"type": "response.output_item.added", "output_index": index, "item": started}));
        match item["type"].as_str() {
            Some("message") => {
                let part = &item["content"][0];
                let at = |kind: &str| json!({"type": kind, "item_id": item_id, "output_index": index, "content_index": 0});
                let mut event = at("response.content_part.added");
                event["part"] = json!({"type": "output_text", "text": "", "annotations": []});
                events.push(event);
                let mut event = at("response.output_text.delta");
                event["delta"] = part["text"].clone();
                events.push(event);
                let mut event = at("response.output_text.done");
                event["text"] = part["text"].clone();
                events.push(event);
                let mut event = at("response.content_part.done");
                event["part"] = part.clone();
                events.push(event);
            }
            Some("function_call") => {
                events.push(json!({"type": "response.function_call_arguments.delta", "item_id": item_id,
                    "output_index": index, "delta": item["arguments"]}));
                events.push(json!({"type": "response.function_call_arguments.done", "item_id": item_id,
                    "output_index": index, "arguments": item["arguments"]}));
            }
            _ => {}
        }
        events.push(json!({"type": "response.output_item.done", "output_index": index, "item": item}));
    }
    events.push(json!({"type": "response.completed", "response": answer(request, id, "completed", items)}));
    numbered(events)
}

/// One event of any size, then the end: nothing says the text twice.
pub(super) fn huge(request: &Value, id: &str, bytes: usize) -> Vec<(String, Value)> {
    let item = json!({
        "type": "message", "id": "msg_huge", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": "x".repeat(bytes), "annotations": []}],
    });
    numbered(vec![
        json!({"type": "response.created", "response": answer(request, id, "in_progress", &[])}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": item}),
        json!({"type": "response.completed", "response": answer(request, id, "completed", &[])}),
    ])
}

fn numbered(events: Vec<Value>) -> Vec<(String, Value)> {
    let number = |(number, mut event): (usize, Value)| {
        event["sequence_number"] = json!(number);
        (event["type"].as_str().unwrap_or_default().to_owned(), event)
    };
    events.into_iter().enumerate().map(number).collect()
}
