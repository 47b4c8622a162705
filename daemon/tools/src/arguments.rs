//! Arguments of tool calls: what a model is told of them, and what it sends, taken apart
//! without mercy.

use crate::ToolError;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Reads the arguments of a tool. Types deny unknown fields.
pub(crate) fn read<T: DeserializeOwned>(arguments: Map<String, Value>) -> Result<T, ToolError> {
    serde_json::from_value(Value::Object(arguments)).map_err(|error| {
        ToolError::Arguments(format!("arguments: {}", crate::error::shown(&error.to_string())))
    })
}

/// The schema of a tool's arguments, in the words that every model's provider knows.
pub(crate) fn schema<T: JsonSchema>() -> Map<String, Value> {
    let schema = schemars::generate::SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<T>();
    let Value::Object(mut map) = schema.to_value() else { return Map::new() };
    map.remove("$schema");
    map.remove("title");
    portable(&mut map);
    map
}

/// What may be left out needs no second way to say nothing, and several providers refuse a
/// schema with two types in one place. A null is still taken for nothing when it comes.
fn portable(schema: &mut Map<String, Value>) {
    let is_null = |value: &Value| value == "null" || value["type"] == "null";
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| !is_null(kind));
        if let [one] = types.as_slice() {
            let one = one.clone();
            schema.insert("type".to_owned(), one);
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| !is_null(choice));
        if let [Value::Object(one)] = choices.as_slice() {
            let one = one.clone();
            schema.remove("anyOf");
            for (key, value) in one {
                schema.entry(key).or_insert(value);
            }
        }
    }
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    // Widths of our integers; a schema knows no such formats.
    let is_width = |format: &Value| format.as_str().is_some_and(|f| f.contains("int") || f == "double");
    if schema.get("format").is_some_and(is_width) {
        schema.remove("format");
    }
    for key in ["properties", "$defs"] {
        if let Some(Value::Object(inner)) = schema.get_mut(key) {
            inner.values_mut().filter_map(Value::as_object_mut).for_each(portable);
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(Value::Object(inner)) = schema.get_mut(key) {
            portable(inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Inner {
        old: Option<String>,
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Outer {
        path: String,
        head: Option<u64>,
        #[serde(default)]
        inner: Option<Inner>,
        list: Option<Vec<Inner>>,
    }

    #[test]
    fn a_schema_has_one_type_in_each_place() {
        let schema = Value::Object(schema::<Outer>());
        assert!(!schema.to_string().contains("null"), "{schema}");
        assert_eq!(schema["properties"]["head"], json!({"type": "integer", "minimum": 0}));
        assert_eq!(schema["properties"]["inner"]["properties"]["old"], json!({"type": "string"}));
        assert_eq!(schema["properties"]["list"]["type"], "array");
        assert_eq!((&schema["required"], &schema["additionalProperties"]), (&json!(["path"]), &json!(false)));
    }

    #[test]
    fn what_does_not_fit_is_refused_and_nothing_is_a_null() {
        let given = |value: Value| match value {
            Value::Object(map) => read::<Outer>(map),
            _ => unreachable!(),
        };
        assert!(given(json!({"path": "a", "head": null})).is_ok());
        for bad in [
            json!({}),
            json!({"path": 7}),
            json!({"path": "a", "head": -1}),
            json!({"path": "a", "head": "1"}),
            json!({"path": "a", "heads": 1}),
            json!({"path": "a", "inner": {"old": "x", "new": "y"}}),
        ] {
            assert!(matches!(given(bad.clone()), Err(ToolError::Arguments(_))), "{bad}");
        }
    }
}
