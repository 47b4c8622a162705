//! create_directory.

use crate::{
    Answer, ToolError,
    error::shown,
    registry::{Call, Tool},
};
use cordon_policy::Operation;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Create {
    /// Absolute, or relative to the workspace.
    path: String,
}

pub(super) fn tools() -> Vec<Tool> {
    vec![Tool::file(
        "create_directory",
        "Create a directory, with the directories above it where they are missing. A directory that is already \
         there is fine.",
        |call, arguments| create(call, &arguments),
    )]
}

fn create(call: &Call, asked: &Create) -> Result<Answer, ToolError> {
    let name = shown(&asked.path);
    let resolver = call.resolver();
    let there = match resolver.open(&asked.path, Operation::List) {
        Ok(opened) if opened.is_directory() => true,
        Ok(_) => {
            return Err(ToolError::Unsuitable(name, "something is there that is not a directory".to_owned()));
        }
        Err(ToolError::NotFound(_)) => false,
        Err(error) => return Err(error),
    };
    let made = if there { 0 } else { resolver.plan(&asked.path)?.make(resolver, &asked.path)?.count() };
    let text = if made > 0 {
        format!("Successfully created directory {name}")
    } else {
        format!("Directory {name} was already there")
    };
    Ok(Answer::text(text).with(json!({ "path": asked.path, "created": made })))
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
