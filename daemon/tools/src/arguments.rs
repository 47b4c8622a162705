//! Arguments of tool calls: what a model sends, taken apart without mercy.

use crate::ToolError;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Reads the arguments of a tool. Types deny unknown fields.
pub(crate) fn read<T: DeserializeOwned>(arguments: Map<String, Value>) -> Result<T, ToolError> {
    serde_json::from_value(Value::Object(arguments)).map_err(|error| {
        ToolError::Arguments(format!("arguments: {}", crate::error::shown(&error.to_string())))
    })
}
