//! The Gemini generateContent protocol, as Gemini CLI and API clients speak it.

use super::{
    Call, Shape, Stop, Turn,
    conversation::{Position, Serial},
    shell_edit, shell_read, shell_write, thoughts,
};
use serde_json::{Value, json};

/// A request with every name in one of the two ways that the service reads.
pub(super) fn named(request: &Value) -> Value {
    let of = |list: &Value, each: &dyn Fn(&Value) -> Value| match list {
        Value::Array(items) => items.iter().map(each).collect(),
        other => other.clone(),
    };
    let mut request = camel(request);
    request["tools"] = of(&request["tools"], &camel);
    request["contents"] = of(&request["contents"], &|content| {
        let mut content = content.clone();
        content["parts"] = of(&content["parts"], &camel);
        content
    });
    request
}

/// An object with its own names in camel case: what is below is somebody else's.
fn camel(value: &Value) -> Value {
    let Value::Object(map) = value else { return value.clone() };
    let name = |name: &String| {
        let mut words = name.split('_');
        let first = words.next().unwrap_or_default().to_owned();
        words.fold(first, |all, word| {
            let mut letters = word.chars();
            all + &letters
                .next()
                .map(|c| c.to_ascii_uppercase())
                .into_iter()
                .chain(letters)
                .collect::<String>()
        })
    };
    map.iter().map(|(key, inner)| (name(key), inner.clone())).collect::<serde_json::Map<_, _>>().into()
}

/// Reads where the conversation stands. Not every client sends the ids of calls back: where none
/// is, the model's contents that hold calls are counted.
pub(super) fn position(request: &Value) -> Position {
    let mut position = Position::default();
    // Who wants no calls asks for something of its own, also beside results.
    let asks = request["toolConfig"]["functionCallingConfig"]["mode"] == "NONE";
    for content in request["contents"].as_array().into_iter().flatten() {
        let parts = || content["parts"].as_array().into_iter().flatten();
        if content["role"] == "model" {
            for signature in parts().filter_map(|p| p["thoughtSignature"].as_str()) {
                // Bytes in JSON may be written in either alphabet.
                position.thought(signature.replace('-', "+").replace('_', "/"));
            }
            let mut calls = parts().map(|p| &p["functionCall"]).filter(|c| c.is_object());
            match calls.next().map(|call| call["id"].as_str()) {
                Some(Some(id)) => position.call(id),
                Some(None) => position.called(position.turn),
                None => {}
            }
            continue;
        }
        if !asks && parts().any(|p| p["functionResponse"].is_object()) {
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

/// What the service refuses of a conversation.
pub(super) fn check(request: &Value) -> Result<(), String> {
    let contents = request["contents"].as_array().map(Vec::as_slice).unwrap_or_default();
    if contents.is_empty() {
        return Err("contents are required".to_owned());
    }
    let names = |content: &Value, key: &str| -> Vec<String> {
        let parts = content["parts"].as_array().into_iter().flatten();
        let named = parts.filter(|p| p[key].is_object()).map(|p| p[key]["name"].to_string());
        named.collect()
    };
    for (at, content) in contents.iter().enumerate() {
        if content["parts"].as_array().is_none_or(Vec::is_empty) {
            return Err(format!("contents[{at}].parts: must not be empty"));
        }
        let called = names(content, "functionCall");
        if called != names(contents.get(at + 1).unwrap_or(&Value::Null), "functionResponse") {
            return Err(format!(
                "contents[{at}]: Please ensure that the number of function response parts is equal to the number of \
                 function call parts of the function call turn, in their order: {called:?}"
            ));
        }
    }
    Ok(())
}

/// The parts of a turn.
pub(super) fn parts(request: &Value, turn: &Turn, serial: &Serial) -> Vec<Value> {
    let mut parts = Vec::new();
    // Both ways of writing a name are taken.
    let thinking = &request["generationConfig"]["thinkingConfig"];
    let shown = ["includeThoughts", "include_thoughts"].iter().any(|key| thinking[key] == true);
    if !turn.thoughts.is_empty() && !turn.redacted && shown {
        parts.push(json!({"text": turn.thoughts, "thought": true}));
    }
    if !turn.text.is_empty() || turn.calls.is_empty() {
        parts.push(json!({"text": turn.text}));
    }
    for (number, call) in turn.calls.iter().enumerate() {
        parts.push(call_part(request, call, &serial.call("call", number)));
    }
    if !turn.thoughts.is_empty() {
        // Of calls that are made at once the first is signed; a text has its signature behind it.
        match parts.iter_mut().find(|p| p["functionCall"].is_object()) {
            Some(call) => call["thoughtSignature"] = json!(thoughts::seal(turn)),
            None => parts.push(json!({"text": "", "thoughtSignature": thoughts::seal(turn)})),
        }
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

/// The whole answer.
pub(super) fn answer(model: &str, id: &str, turn: &Turn, parts: &[Value]) -> Value {
    let usage = turn.usage;
    let reason = match turn.stop {
        Some(Stop::Length) => "MAX_TOKENS",
        Some(Stop::Refusal) => "SAFETY",
        Some(Stop::Paused) | None => "STOP",
    };
    json!({
        "candidates": [{
            "content": {"role": "model", "parts": parts}, "finishReason": reason, "index": 0,
        }],
        "usageMetadata": {
            "promptTokenCount": usage.input, "cachedContentTokenCount": usage.cached,
            "candidatesTokenCount": usage.output.saturating_sub(usage.reasoning), "thoughtsTokenCount": usage.reasoning,
            "totalTokenCount": usage.input + usage.output,
        },
        "modelVersion": model, "responseId": id,
    })
}

/// The same as events. Calls come whole, each in its own.
pub(super) fn events(model: &str, id: &str, turn: &Turn, parts: &[Value], shape: &Shape) -> Vec<Value> {
    if shape.delta == 0 {
        return vec![answer(model, id, turn, parts)];
    }
    let mut pieces = Vec::new();
    for part in parts {
        match part["text"].as_str().filter(|_| !part["thoughtSignature"].is_string()) {
            None => pieces.push(part.clone()),
            Some(text) => pieces.extend(shape.pieces(text).into_iter().map(|piece| {
                let mut part = part.clone();
                part["text"] = json!(piece);
                part
            })),
        }
    }
    let mut events: Vec<Value> =
        pieces.into_iter().map(|part| answer(model, id, turn, std::slice::from_ref(&part))).collect();
    let last = events.len().saturating_sub(1);
    for event in &mut events[..last] {
        event["candidates"][0].as_object_mut().map(|c| c.remove("finishReason"));
        event["usageMetadata"] =
            json!({"promptTokenCount": turn.usage.input, "totalTokenCount": turn.usage.input});
    }
    events
}

/// The model and the method of a path such as `/v1beta/models/MODEL:generateContent`.
pub(super) fn target(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix("/v1beta").or_else(|| path.strip_prefix("/v1")).unwrap_or(path);
    rest.strip_prefix("/models/")?.split_once(':')
}
