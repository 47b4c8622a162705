//! Clients that offer one tool, whose input is JavaScript that calls the others.

use super::Call;
use serde_json::{Value, json};

/// The namespaces of tools that stand in the conversation instead of beside it.
pub(super) fn namespaces(request: &Value) -> impl Iterator<Item = &Value> {
    let input = request["input"].as_array().into_iter().flatten();
    let items = input.filter(|item| item["type"] == "additional_tools");
    items.flat_map(|item| item["tools"].as_array().into_iter().flatten())
}

/// The program that does what a call wants.
fn program(call: &Call) -> String {
    match call {
        Call::Shell(command) => {
            format!("text(await tools.exec_command({}));", json!({"cmd": command, "yield_time_ms": 30_000}))
        }
        Call::Write { path, content } => match super::patch(path, content) {
            Some(patch) => format!("text(await tools.apply_patch({}));", Value::from(patch)),
            None => program(&Call::Shell(super::shell_write(path, content))),
        },
        Call::Read(path) => program(&Call::Shell(super::shell_read(path))),
        Call::Edit { path, old, new } => {
            format!("text(await tools.apply_patch({}));", Value::from(super::edit_patch(path, old, new)))
        }
        Call::Tool { name, arguments } => format!("text(await tools[{}]({arguments}));", json!(name)),
        Call::Mcp { server, tool, arguments } => {
            format!("text(await tools[{}]({arguments}));", json!(format!("mcp__{server}__{tool}")))
        }
    }
}

/// The item that has a call done; none where the client has its tools like everybody.
pub(super) fn item(request: &Value, call: &Call, id: &str) -> Option<Value> {
    let namespace = namespaces(request).find(|n| {
        n["tools"].as_array().into_iter().flatten().any(|t| t["name"] == "exec" && t["type"] == "custom")
    })?;
    Some(json!({
        "type": "custom_tool_call", "id": format!("ctc_{id}"), "call_id": id, "status": "completed",
        "name": "exec", "namespace": namespace["name"], "input": program(call),
    }))
}
