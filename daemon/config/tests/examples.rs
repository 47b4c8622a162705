//! Every example agent file of the repository is valid, and the schema knows its keys.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use cordon_config::{Parsed, Source, parse, schema};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../configs").canonicalize().unwrap()
}

fn examples() -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(directory())
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json"))
        .collect();
    files.sort();
    assert!(files.len() >= 7, "{files:?}");
    files
}

fn check(file: &Path, variables: &BTreeMap<String, String>) -> Parsed {
    let content = fs::read(file).unwrap();
    let name = file.file_name().unwrap().to_string_lossy();
    parse(&Source { name: &name, content: &content, directory: &directory(), variables })
}

#[test]
fn every_example_is_valid() {
    for file in examples() {
        // A quick start is given its paths by the script that runs it.
        let quickstart = file.file_stem().unwrap().to_string_lossy().starts_with("quickstart");
        let mut variables = BTreeMap::new();
        if quickstart {
            let wanted = check(&file, &variables).variables;
            variables.extend(wanted.into_iter().map(|name| (name, "/tmp".to_owned())));
        }
        let parsed = check(&file, &variables);
        assert_eq!(parsed.problems, [], "{}", file.display());
        let agents = parsed.file.unwrap().agents;
        assert!(!agents.is_empty());
        for context in agents.iter().flat_map(|a| &a.context_paths) {
            assert!(context.path.is_dir(), "{}: {}", file.display(), context.path.display());
        }
    }
}

#[test]
fn every_example_of_a_model_api_is_valid() {
    let mut kinds = Vec::new();
    for entry in fs::read_dir(directory().join("seed/api")).unwrap() {
        let file = entry.unwrap().path();
        let parsed = check(&file, &BTreeMap::new());
        assert_eq!(parsed.problems, [], "{}", file.display());
        kinds.extend(parsed.file.unwrap().agents.iter().map(|a| a.backend.name()));
        let value: Value = serde_yaml::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        assert!(accepts(&schema(), &value), "{}", file.display());
    }
    kinds.sort_unstable();
    let all = [
        "azure_openai",
        "chatcompletion",
        "claude",
        "gemini",
        "grok",
        "inference",
        "lmstudio",
        "openai",
        "zai",
    ];
    assert_eq!(kinds, all);
}

/// Follows the parts of JSON schema that `schema` uses.
fn accepts(schema: &Value, value: &Value) -> bool {
    if let Some(any) = schema["anyOf"].as_array() {
        return any.iter().any(|s| accepts(s, value));
    }
    if let Some(words) = schema["enum"].as_array() {
        return words.contains(value);
    }
    let is = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("a type that is no JSON type: {other}"),
    };
    let typed = match &schema["type"] {
        Value::String(kind) => is(kind),
        Value::Array(kinds) => kinds.iter().any(|k| is(k.as_str().unwrap())),
        _ => true,
    };
    let pattern = schema["pattern"].is_null() || value.as_str().is_some_and(|s| s.contains("${"));
    let required =
        schema["required"].as_array().into_iter().flatten().all(|k| !value[k.as_str().unwrap()].is_null());
    let items = value.as_array().into_iter().flatten().all(|i| accepts(&schema["items"], i));
    let properties = value.as_object().into_iter().flatten().all(|(key, value)| {
        let named = &schema["properties"][key];
        let prefixed = schema["patternProperties"].as_object().into_iter().flatten();
        let prefixed =
            prefixed.filter(|(p, _)| key.starts_with(p.trim_start_matches('^'))).map(|(_, s)| s).next();
        match (named, prefixed, &schema["additionalProperties"]) {
            (Value::Null, Some(schema), _) => accepts(schema, value),
            (Value::Null, None, Value::Bool(false)) => false,
            (Value::Null, None, other) => accepts(other, value),
            (named, ..) => accepts(named, value),
        }
    });
    typed && pattern && required && items && properties
}

#[test]
fn the_schema_accepts_every_example_and_refuses_unknown_keys() {
    let schema = schema();
    for file in examples().into_iter().filter(|f| f.extension().is_some_and(|e| e != "json")) {
        let value: Value = serde_yaml::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        assert!(accepts(&schema, &value), "{}", file.display());
        for pointer in ["", "/agents/0", "/agents/0/backend", "/agents/0/backend/context_paths/0"] {
            let mut changed = value.clone();
            if let Some(Value::Object(map)) = changed.pointer_mut(pointer) {
                map.insert("unheard_of".to_owned(), Value::from(1));
                assert!(!accepts(&schema, &changed), "{} {pointer}", file.display());
            }
        }
    }
}
