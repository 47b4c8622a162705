//! The chat completions protocol, as Copilot CLI and API clients speak it.

use super::{
    Call, Shape, Stop, Turn,
    conversation::{Position, Serial},
    shell_edit, shell_read, shell_write, thoughts,
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
                let details = &message["reasoning_details"];
                if details.is_array() {
                    position.thought(details.to_string());
                } else if let Some(text) = message["reasoning_content"].as_str() {
                    position.thought(text.to_owned());
                }
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

/// How a service tells thoughts: each has its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// It does not.
    Silent,
    /// As text.
    Plain,
    /// In pieces, with what they are sealed with.
    Details,
}

impl Dialect {
    /// By the path below which the service has everything.
    pub(super) fn of(path: &str) -> Self {
        if path.starts_with("/api/v1/") {
            Self::Details
        } else if path.starts_with("/openai/") {
            Self::Silent
        } else {
            Self::Plain
        }
    }

    /// The thoughts of a turn as they have to come back.
    pub(super) fn sealed(self, turn: &Turn) -> Option<String> {
        match self {
            Self::Silent => None,
            Self::Plain => Some(turn.thoughts.clone()).filter(|_| !turn.redacted),
            Self::Details => Some(details(turn).to_string()),
        }
    }
}

fn details(turn: &Turn) -> Value {
    let seal = thoughts::seal(turn);
    if turn.redacted {
        return json!([{"type": "reasoning.encrypted", "data": seal, "id": "rs_scripted", "format": "openai-responses-v1",
            "index": 0}]);
    }
    json!([{"type": "reasoning.text", "text": turn.thoughts, "signature": seal, "format": "anthropic-claude-v1",
        "index": 0}])
}

/// What the service refuses of a conversation.
pub(super) fn check(request: &Value) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    for (at, message) in request["messages"].as_array().into_iter().flatten().enumerate() {
        let id = message["tool_call_id"].as_str().unwrap_or_default();
        if message["role"] == "tool" {
            let Some(found) = open.iter().position(|o| *o == id) else {
                return Err(format!(
                    "messages[{at}]: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'"
                ));
            };
            open.swap_remove(found);
            continue;
        }
        if let Some(id) = open.first() {
            return Err(format!("messages[{at}]: tool_call_ids did not have response messages: {id}"));
        }
        let calls = message["tool_calls"].as_array().into_iter().flatten();
        open.extend(calls.filter_map(|call| call["id"].as_str()));
    }
    open.first().map_or(Ok(()), |id| Err(format!("tool_call_ids did not have response messages: {id}")))
}

/// The assistant's message of a turn.
pub(super) fn message(request: &Value, dialect: Dialect, turn: &Turn, serial: &Serial) -> Value {
    let mut message = json!({"role": "assistant", "content": turn.text});
    if turn.stop == Some(Stop::Refusal) {
        message["refusal"] = json!(turn.text);
        message["content"] = Value::Null;
    }
    if !turn.thoughts.is_empty() {
        match dialect {
            Dialect::Silent => {}
            Dialect::Plain if turn.redacted => {}
            Dialect::Plain => message["reasoning_content"] = json!(turn.thoughts),
            Dialect::Details => {
                message["reasoning_details"] = details(turn);
                if !turn.redacted {
                    message["reasoning"] = json!(turn.thoughts);
                }
            }
        }
    }
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

fn usage(turn: &Turn) -> Value {
    let usage = turn.usage;
    json!({
        "prompt_tokens": usage.input, "completion_tokens": usage.output, "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    })
}

fn finish(turn: &Turn, message: &Value) -> &'static str {
    match turn.stop {
        Some(Stop::Length) => "length",
        Some(Stop::Refusal) => "content_filter",
        _ if message["tool_calls"].is_array() => "tool_calls",
        _ => "stop",
    }
}

/// The whole answer.
pub(super) fn answer(request: &Value, id: &str, turn: &Turn, message: &Value) -> Value {
    json!({
        "id": id, "object": "chat.completion", "created": 1_790_000_000, "model": request["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": finish(turn, message), "logprobs": null}],
        "usage": usage(turn),
    })
}

/// The same as chunks.
pub(super) fn chunks(request: &Value, id: &str, turn: &Turn, message: &Value, shape: &Shape) -> Vec<Value> {
    let chunk = |choices: Value| {
        json!({"id": id, "object": "chat.completion.chunk", "created": 1_790_000_000,
            "model": request["model"], "choices": choices})
    };
    let delta = |delta: Value| chunk(json!([{"index": 0, "delta": delta, "finish_reason": null}]));
    let mut deltas = thought_deltas(message, shape);
    for key in ["content", "refusal"] {
        let text = message[key].as_str().map(|text| shape.pieces(text)).unwrap_or_default();
        deltas.extend(text.into_iter().map(|piece| json!({key: piece})));
    }
    let calls = message["tool_calls"].as_array().map(Vec::as_slice).unwrap_or_default();
    let threads = calls.iter().enumerate().map(|(index, call)| {
        call_deltas(index, call, shape, turn.stop == Some(Stop::Length) && index + 1 == calls.len())
    });
    deltas.extend(shape.woven(threads.collect()));
    // Everything is said by somebody, and only the first piece says who.
    match deltas.first_mut() {
        Some(first) => first["role"] = json!("assistant"),
        None => deltas.push(json!({"role": "assistant"})),
    }
    let mut chunks: Vec<Value> = deltas.into_iter().map(delta).collect();
    chunks.push(chunk(json!([{"index": 0, "delta": {}, "finish_reason": finish(turn, message)}])));
    if request["stream_options"]["include_usage"] != false {
        let mut last = chunk(json!([]));
        last["usage"] = usage(turn);
        chunks.push(last);
    }
    chunks
}

/// The seal comes behind the words that it seals, as a piece of the same detail.
fn thought_deltas(message: &Value, shape: &Shape) -> Vec<Value> {
    if let Some(text) = message["reasoning_content"].as_str() {
        return shape.pieces(text).into_iter().map(|piece| json!({"reasoning_content": piece})).collect();
    }
    let detail = &message["reasoning_details"][0];
    let Some(text) = detail["text"].as_str() else {
        return if detail.is_object() { vec![json!({"reasoning_details": [detail]})] } else { Vec::new() };
    };
    let with = |key: &str, value: &Value| json!({"type": detail["type"], "format": detail["format"], "index": 0, key: value});
    let mut deltas: Vec<Value> = shape
        .pieces(text)
        .into_iter()
        .map(|piece| json!({"reasoning": piece, "reasoning_details": [with("text", &json!(piece))]}))
        .collect();
    deltas.push(json!({"reasoning_details": [with("signature", &detail["signature"])]}));
    deltas
}

/// The first piece names the call, the others only count it.
fn call_deltas(index: usize, call: &Value, shape: &Shape, cut: bool) -> Vec<Value> {
    let mut arguments = call["function"]["arguments"].as_str().unwrap_or_default().to_owned();
    if cut {
        let middle = (0..=arguments.len() / 2).rev().find(|at| arguments.is_char_boundary(*at)).unwrap_or(0);
        arguments.truncate(middle);
    }
    let mut first = call.clone();
    first["index"] = json!(index);
    if shape.delta == 0 {
        first["function"]["arguments"] = json!(arguments);
        return vec![json!({"tool_calls": [first]})];
    }
    first["function"]["arguments"] = json!("");
    let pieces = shape.pieces(&arguments).into_iter();
    let piece = |piece| json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]});
    std::iter::once(json!({"tool_calls": [first]})).chain(pieces.map(piece)).collect()
}
