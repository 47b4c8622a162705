//! `custom_tools`: the user's Python functions, behind a server of our own that the user's
//! interpreter runs inside the sandbox. Nothing of it is ever run outside.

use crate::{
    CALL, HostError, Inside, ServerError,
    error::words,
    inside,
    launch::Launch,
    server::{Names, Server},
};
use cordon_config::{CustomTool, ToolCode, ToolOptions};
use serde_json::{Map, Value, json};
use std::{os::unix::ffi::OsStrExt as _, path::Path, time::Duration};

/// The program; it needs Python 3.8 and nothing else.
pub const CUSTOM_TOOLS_PROGRAM: &str = concat!(
    include_str!("custom/describe.py"),
    include_str!("custom/results.py"),
    include_str!("custom/load.py"),
    include_str!("custom/worker.py"),
    include_str!("custom/serve.py"),
);
/// What a CLI program knows its server by.
pub const CUSTOM_TOOLS_SERVER: &str = "custom_tools";
/// The variable in which the program looks for [`custom_tools_config`].
pub const CUSTOM_TOOLS_VARIABLE: &str = "CORDON_CUSTOM_TOOLS";
/// The interpreter where the agent file names none.
pub const PYTHON: &str = "python3";

/// Less than what is waited for from outside: so the program can say what took so long.
const RETURNS: Duration = Duration::from_secs(CALL.as_secs() - 20);
const LOADS: Duration = Duration::from_secs(60);
/// How long it may take until it is ready; a file may import much.
pub const CUSTOM_TOOLS_READY: Duration = Duration::from_secs(LOADS.as_secs() + 15);

/// What the program is told.
#[must_use]
pub fn custom_tools_config(tools: &[CustomTool], workspace: &Path) -> String {
    let tools: Vec<Value> = tools.iter().map(entry).collect();
    json!({
        "tools": tools,
        "agent": { "cwd": workspace.to_string_lossy() },
        "call_seconds": RETURNS.as_secs(),
        "load_seconds": LOADS.as_secs(),
    })
    .to_string()
}

fn entry(tool: &CustomTool) -> Value {
    let mut entry = Map::new();
    let mut put = |key: &str, value: Value| entry.insert(key.to_owned(), value);
    match &tool.code {
        ToolCode::File(path) => put("path", path.to_string_lossy().into()),
        ToolCode::Module(name) => put("module", name.as_str().into()),
        ToolCode::BuiltIn => None,
    };
    for (key, text) in
        [("function", &tool.function), ("name", &tool.name), ("description", &tool.description)]
    {
        if let Some(text) = text {
            put(key, text.as_str().into());
        }
    }
    put("preset_args", Value::Object(tool.preset.clone()));
    Value::Object(entry)
}

/// The server, when the agent has custom tools.
pub(crate) fn server(inside: &Inside, options: &ToolOptions) -> Option<Server> {
    if options.custom.is_empty() {
        return None;
    }
    let python = options.custom_python.as_deref().unwrap_or(Path::new(PYTHON));
    let config = custom_tools_config(&options.custom, &inside.workspace);
    let start = inside::Start {
        guest: inside.guest.clone(),
        // Given as it is: what stands in the sandbox an agent may have changed.
        argv: [python.as_os_str().as_bytes(), b"-c", CUSTOM_TOOLS_PROGRAM.as_bytes()]
            .map(<[u8]>::to_vec)
            .into(),
        env: vec![(CUSTOM_TOOLS_VARIABLE.to_owned(), config.into_bytes())],
        cwd: inside.workspace.as_os_str().as_bytes().to_vec(),
    };
    let launch = Launch::Inside(Box::new(start));
    let name = Some(CUSTOM_TOOLS_SERVER.to_owned());
    Some(Server::new(name, launch, (CUSTOM_TOOLS_READY, CALL)).named(Names::Plain))
}

/// Whether every custom tool can be loaded inside, for an agent whose own program will start them.
///
/// # Errors
/// When the interpreter is not there, or one of the tools cannot be loaded.
pub async fn check_custom_tools(inside: &Inside, options: &ToolOptions) -> Result<(), HostError> {
    let Some(server) = server(inside, options) else { return Ok(()) };
    let listed = server.start().await;
    outcome(&server, options, listed.map(drop)).await
}

/// What is wrong with the tools, as far as their server knows.
pub(crate) async fn outcome(
    server: &Server,
    options: &ToolOptions,
    listed: Result<(), ServerError>,
) -> Result<(), HostError> {
    let python = options.custom_python.as_deref().unwrap_or(Path::new(PYTHON));
    match listed {
        Err(source @ ServerError::Start(_)) => {
            Err(HostError::NoInterpreter { python: python.to_string_lossy().into_owned(), source })
        }
        Err(source) => Err(HostError::CustomTools(source.to_string())),
        Ok(()) => match server.instructions().await.as_deref().map(failures) {
            None => Ok(()),
            Some(why) => Err(HostError::CustomTools(why)),
        },
    }
}

/// The words of a program that runs inside, which hostile code may have written.
fn failures(instructions: &str) -> String {
    let told: Value = serde_json::from_str(instructions).unwrap_or_default();
    let failed: Vec<String> = told["failed"]
        .as_array()
        .into_iter()
        .flatten()
        .take(8)
        .map(|one| {
            let text = |n: usize| words(one[n].as_str().unwrap_or("?"));
            format!("{}: {}", text(0), text(1))
        })
        .collect();
    if failed.is_empty() { words(instructions) } else { failed.join("; ") }
}

#[cfg(test)]
#[path = "custom_tests.rs"]
mod tests;
