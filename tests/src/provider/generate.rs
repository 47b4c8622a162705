//! The Gemini generateContent protocol, as Gemini CLI and API clients speak it.

use super::{
    Call, Turn,
    conversation::{Position, Serial},
    shell_edit, shell_read, shell_write,
};
use serde_json::{Value, json};

/// Reads where the conversation stands. Not every client sends the ids of calls back: the
/// model's contents that hold calls are counted.
pub(super) fn position(request: &Value) -> Position {
    let mut position = Position::default();
    for content in request["contents"].as_array().into_iter().flatten() {
        let parts = || content["parts"].as_array().into_iter().flatten();
        if content["role"] == "model" {
            position.turn += usize::from(parts().any(|p| p["functionCall"].is_object()));
            continue;
        }
        if parts().any(|p| p["functionResponse"].is_object()) {
            continue;
        }
        parts().for_each(|part| position.user(part["text"].as_str().unwrap_or_default()));
    }
    position
}

/// Whether the client offers tools at all.
pub(super) fn has_tools(request: &Value) -> bool {
    tools(request).next().is_some()
}

fn tools(request: &Value) -> impl Iterator<Item = &Value> {
    let tools = request["tools"].as_array().into_iter().flatten();
    tools.flat_map(|t| t["functionDeclarations"].as_array().into_iter().flatten())
}

fn offers(request: &Value, name: &str) -> bool {
    tools(request).any(|t| t["name"] == name)
}

/// The parts of a turn.
pub(super) fn parts(request: &Value, turn: &Turn, serial: &Serial) -> Vec<Value> {
    let mut parts = Vec::new();
    if !turn.text.is_empty() || turn.calls.is_empty() {
        parts.push(json!({"text": turn.text}));
    }
    for (number, call) in turn.calls.iter().enumerate() {
        parts.push(call_part(request, call, &serial.call("call", number)));
    }
    parts
}

fn call_part(request: &Value, call: &Call, id: &str) -> Value {
    let tool = |name: &str, args: Value| json!({"functionCall": {"id": id, "name": name, "args": args}});
    match call {
        Call::Shell(command) => shell(request, command, id),
        Call::Write { path, content } if offers(request, "write_file") => {
            tool("write_file", json!({path_key(request, "write_file"): path, "content": content}))
        }
        Call::Read(path) if offers(request, "read_file") => {
            tool("read_file", json!({path_key(request, "read_file"): path}))
        }
        Call::Read(path) => shell(request, &shell_read(path), id),
        Call::Edit { path, old, new } if offers(request, "replace") => tool(
            "replace",
            json!({path_key(request, "replace"): path, "old_string": old, "new_string": new,
                "instruction": "as the script says"}),
        ),
        Call::Edit { path, old, new } => shell(request, &shell_edit(path, old, new), id),
        Call::Write { path, content } => shell(request, &shell_write(path, content), id),
        Call::Tool { name, arguments } => tool(name, arguments.clone()),
        Call::Mcp { server, tool: name, arguments } => {
            let offered = tools(request).filter_map(|t| t["name"].as_str());
            tool(&super::offered_mcp(offered, server, name), arguments.clone())
        }
    }
}

/// Of the two names of the argument the one that this client has.
fn path_key(request: &Value, tool: &str) -> &'static str {
    let declared = tools(request).find(|t| t["name"] == tool).unwrap_or(&Value::Null);
    if declared.to_string().contains("file_path") { "file_path" } else { "path" }
}

fn shell(request: &Value, command: &str, id: &str) -> Value {
    for name in ["run_shell_command", "execute_command", "bash"] {
        if offers(request, name) {
            return json!({"functionCall": {"id": id, "name": name, "args": {"command": command}}});
        }
    }
    json!({"text": "scripted provider: no shell among the tools offered"})
}

/// The whole answer; as a stream it is the only event.
pub(super) fn answer(model: &str, id: &str, parts: &[Value]) -> Value {
    json!({
        "candidates": [{
            "content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0,
        }],
        "usageMetadata": {
            "promptTokenCount": 100, "cachedContentTokenCount": 20, "candidatesTokenCount": 10,
            "totalTokenCount": 110,
        },
        "modelVersion": model, "responseId": id,
    })
}

/// The model and the method of a path such as `/v1beta/models/MODEL:generateContent`.
pub(super) fn target(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix("/v1beta").or_else(|| path.strip_prefix("/v1")).unwrap_or(path);
    rest.strip_prefix("/models/")?.split_once(':')
}
