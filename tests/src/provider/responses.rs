//! The OpenAI Responses protocol, as Codex and API clients speak it.

use super::{
    Call, Shape, Stop, Turn, code_mode,
    conversation::{Position, Serial},
    edit_patch, patch, shell_edit, shell_read, shell_write, thoughts,
};
use serde_json::{Value, json};

/// Reads where the conversation stands.
pub(super) fn position(request: &Value) -> Position {
    let mut position = Position::default();
    if let Some(text) = request["input"].as_str() {
        position.user(text);
    }
    for item in request["input"].as_array().into_iter().flatten() {
        if let Some(sealed) = item["encrypted_content"].as_str() {
            position.thought(sealed.to_owned());
        } else if let Some(id) = item["call_id"].as_str() {
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

/// The thoughts of a turn as they have to come back.
pub(super) fn sealed(request: &Value, turn: &Turn) -> Option<String> {
    let asked = request["include"].as_array()?.iter().any(|i| i == "reasoning.encrypted_content");
    asked.then(|| thoughts::seal(turn))
}

fn reasoning(request: &Value, turn: &Turn, serial: &Serial) -> Value {
    let mut item = json!({"type": "reasoning", "id": serial.id("rs"), "summary": []});
    if !turn.redacted && request["reasoning"]["summary"].is_string() {
        item["summary"] = json!([{"type": "summary_text", "text": turn.thoughts}]);
    }
    if let Some(sealed) = sealed(request, turn) {
        item["encrypted_content"] = json!(sealed);
    }
    item
}

/// What the service refuses of a conversation.
pub(super) fn check(request: &Value) -> Result<(), String> {
    let mut open = Vec::new();
    for item in request["input"].as_array().into_iter().flatten() {
        let id = item["call_id"].as_str().unwrap_or_default();
        match item["type"].as_str().unwrap_or_default() {
            "function_call" => open.push(id),
            "function_call_output" => match open.iter().position(|o| *o == id) {
                Some(at) => drop(open.remove(at)),
                None => {
                    return Err(format!("No tool call found for function call output with call_id {id}."));
                }
            },
            // What is not stored there cannot be looked up.
            "reasoning" if request["store"] == false && !item["encrypted_content"].is_string() => {
                return Err(format!(
                    "Item with id {} not found. Items are not persisted when `store` is set to false.",
                    item["id"]
                ));
            }
            "reasoning" if !item["summary"].is_array() => {
                return Err("Missing required parameter: 'input[].summary'.".to_owned());
            }
            _ => {}
        }
    }
    open.first().map_or(Ok(()), |id| Err(format!("No tool output found for function call {id}.")))
}

/// The output items of a turn.
pub(super) fn items(request: &Value, turn: &Turn, serial: &Serial) -> Vec<Value> {
    let mut items = Vec::new();
    if !turn.thoughts.is_empty() {
        items.push(reasoning(request, turn, serial));
    }
    if !turn.text.is_empty() || turn.calls.is_empty() {
        items.push(json!({
            "type": "message", "id": serial.id("msg"), "role": "assistant", "status": "completed",
            "content": [if turn.stop == Some(Stop::Refusal) {
                json!({"type": "refusal", "refusal": turn.text})
            } else {
                json!({"type": "output_text", "text": turn.text, "annotations": []})
            }],
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
pub(super) fn answer(request: &Value, id: &str, turn: &Turn, items: &[Value]) -> Value {
    let usage = turn.usage;
    let (status, why) = match turn.stop {
        Some(Stop::Length) => ("incomplete", json!({"reason": "max_output_tokens"})),
        _ => ("completed", Value::Null),
    };
    json!({
        "id": id, "object": "response", "created_at": 1_790_000_000, "status": status,
        "model": request["model"], "output": items, "error": null, "incomplete_details": why,
        "parallel_tool_calls": true, "tool_choice": "auto", "tools": [],
        "usage": {
            "input_tokens": usage.input,
            "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
            "output_tokens": usage.output, "output_tokens_details": {"reasoning_tokens": usage.reasoning},
            "total_tokens": usage.input + usage.output,
        },
    })
}

/// The same as it begins.
fn begun(request: &Value, id: &str) -> Value {
    let mut answer = answer(request, id, &Turn::default(), &[]);
    answer["status"] = json!("in_progress");
    answer["usage"] = Value::Null;
    answer
}

/// The same as events: name and data.
pub(super) fn events(
    request: &Value,
    id: &str,
    turn: &Turn,
    items: &[Value],
    shape: &Shape,
) -> Vec<(String, Value)> {
    let mut events = vec![
        json!({"type": "response.created", "response": begun(request, id)}),
        json!({"type": "response.in_progress", "response": begun(request, id)}),
    ];
    let mut items = items.to_vec();
    if let (Some(Stop::Length), Some(last)) =
        (turn.stop, items.last_mut().filter(|i| i["type"] != "reasoning"))
    {
        last["status"] = json!("incomplete");
        if let Some(arguments) = last["arguments"].as_str() {
            let middle = (0..=arguments.len() / 2).rev().find(|at| arguments.is_char_boundary(*at));
            last["arguments"] = json!(arguments[..middle.unwrap_or(0)]);
        }
    }
    let mut calls = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let thread = item_events(index, item, shape);
        if item["type"] == "function_call" { calls.push(thread) } else { events.extend(thread) }
    }
    events.extend(shape.woven(calls));
    let whole = answer(request, id, turn, &items);
    let kind = format!("response.{}", whole["status"].as_str().unwrap_or_default());
    events.push(json!({"type": kind, "response": whole}));
    numbered(events)
}

fn item_events(index: usize, item: &Value, shape: &Shape) -> Vec<Value> {
    let mut started = item.clone();
    if item["status"].is_string() {
        started["status"] = json!("in_progress");
    }
    let at = |kind: &str, more: Value| {
        let mut event =
            json!({"type": format!("response.{kind}"), "item_id": item["id"], "output_index": index});
        if let (Some(event), Value::Object(more)) = (event.as_object_mut(), more) {
            event.extend(more);
        }
        event
    };
    let mut events = Vec::new();
    match item["type"].as_str() {
        Some("message") => {
            started["content"] = json!([]);
            let part = &item["content"][0];
            let is_refusal = part["type"] == "refusal";
            let (kind, key) = if is_refusal { ("refusal", "refusal") } else { ("output_text", "text") };
            let mut empty = part.clone();
            empty[key] = json!("");
            events.push(at("content_part.added", json!({"content_index": 0, "part": empty})));
            for piece in shape.pieces(part[key].as_str().unwrap_or_default()) {
                let mut more = json!({"content_index": 0, "delta": piece});
                if !is_refusal {
                    more["logprobs"] = json!([]);
                }
                events.push(at(&format!("{kind}.delta"), more));
            }
            let mut more = json!({"content_index": 0, key: part[key]});
            if !is_refusal {
                more["logprobs"] = json!([]);
            }
            events.push(at(&format!("{kind}.done"), more));
            events.push(at("content_part.done", json!({"content_index": 0, "part": part})));
        }
        Some("reasoning") => {
            started["summary"] = json!([]);
            for (number, part) in item["summary"].as_array().into_iter().flatten().enumerate() {
                let empty = json!({"type": "summary_text", "text": ""});
                events.push(at(
                    "reasoning_summary_part.added",
                    json!({"summary_index": number, "part": empty}),
                ));
                for piece in shape.pieces(part["text"].as_str().unwrap_or_default()) {
                    let more = json!({"summary_index": number, "delta": piece});
                    events.push(at("reasoning_summary_text.delta", more));
                }
                let more = json!({"summary_index": number, "text": part["text"]});
                events.push(at("reasoning_summary_text.done", more));
                events
                    .push(at("reasoning_summary_part.done", json!({"summary_index": number, "part": part})));
            }
        }
        Some("function_call") => {
            started["arguments"] = json!("");
            let arguments = item["arguments"].as_str().unwrap_or_default();
            for piece in shape.pieces(arguments) {
                events.push(at("function_call_arguments.delta", json!({"delta": piece})));
            }
            let more = json!({"name": item["name"], "arguments": arguments});
            events.push(at("function_call_arguments.done", more));
        }
        _ => {}
    }
    let item_at = |kind: &str, item: &Value| json!({"type": kind, "output_index": index, "item": item});
    events.insert(0, item_at("response.output_item.added", &started));
    events.push(item_at("response.output_item.done", item));
    events
}

/// One event of any size, then the end: nothing says the text twice.
pub(super) fn huge(request: &Value, id: &str, bytes: usize) -> Vec<(String, Value)> {
    let item = json!({
        "type": "message", "id": "msg_huge", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": "x".repeat(bytes), "annotations": []}],
    });
    numbered(vec![
        json!({"type": "response.created", "response": begun(request, id)}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": item}),
        json!({"type": "response.completed", "response": answer(request, id, &Turn::default(), &[])}),
    ])
}

fn numbered(events: Vec<Value>) -> Vec<(String, Value)> {
    let number = |(number, mut event): (usize, Value)| {
        event["sequence_number"] = json!(number);
        (event["type"].as_str().unwrap_or_default().to_owned(), event)
    };
    events.into_iter().enumerate().map(number).collect()
}
