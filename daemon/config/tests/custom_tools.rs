//! The keys of custom tools: what they become, and every rule with the key it names.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{errors, parse, warnings};
use cordon_config::{CustomTool, ToolCode, ToolOptions};
use serde_json::json;

fn file(tools: &str) -> String {
    format!("agents:\n  - id: a\n    backend:\n      type: command\n      command: [ls]\n      {tools}\n")
}

#[track_caller]
fn options(tools: &str) -> ToolOptions {
    let parsed = parse(&file(tools));
    assert_eq!(errors(&parsed), Vec::<&cordon_config::Problem>::new(), "{tools}");
    parsed.file.unwrap().agents.remove(0).tools
}

#[track_caller]
fn of(entry: &str) -> Vec<CustomTool> {
    options(&format!("custom_tools: [{entry}]")).custom
}

#[track_caller]
fn fails(entry: &str, reason: &str, key: &str, words: &str) {
    let parsed = parse(&file(&format!("custom_tools: [{entry}]")));
    let errors = errors(&parsed);
    assert_eq!(errors.len(), 1, "{entry}\n{errors:#?}");
    let expected = format!("agents[0].backend.custom_tools{key}");
    assert_eq!((errors[0].reason, errors[0].key.as_str()), (reason, expected.as_str()), "{:#?}", errors[0]);
    assert!(format!("{} {}", errors[0].message, errors[0].help).contains(words), "{:#?}", errors[0]);
}

#[test]
fn a_function_of_a_file_arrives() {
    let found = of("{path: tools/add.py, function: add, name: plus, category: math, description: Adds., \
                    preset_args: {unit: m, n: 3, exact: true, deep: {list: [1.5, null, '2']}}}");
    let [tool] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(tool.code, ToolCode::File("/project/tools/add.py".into()));
    assert_eq!((tool.function.as_deref(), tool.name.as_deref()), (Some("add"), Some("plus")));
    assert_eq!(tool.description.as_deref(), Some("Adds."));
    let preset = json!({"unit": "m", "n": 3, "exact": true, "deep": {"list": [1.5, null, "2"]}});
    assert_eq!(serde_json::Value::Object(tool.preset.clone()), preset);
    assert_eq!((tool.place.file.as_str(), tool.place.line), ("agent.yaml", 6));
    assert_eq!(of("{path: /abs/t.py}")[0].function, None);
    assert_eq!(of("{path: ~/t.py, func: f}")[0].code, ToolCode::File("/home/user/t.py".into()));
    assert_eq!(options("custom_tools: []").custom, []);
    assert_eq!(
        options("custom_tools_python: ~/venv/bin/python").custom_python.unwrap().as_os_str(),
        "/home/user/venv/bin/python"
    );
}

#[test]
fn several_functions_have_each_their_own() {
    let found = of(
        "{path: t.py, function: [f, g], name: [one, two], description: Both., preset_args: [{a: 1}, {a: 2}]}",
    );
    let names: Vec<_> = found.iter().map(|t| t.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["one", "two"]);
    assert!(found.iter().all(|t| t.description.as_deref() == Some("Both.")));
    assert_eq!(found.iter().map(|t| t.preset["a"].as_i64().unwrap()).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn what_massgen_brings_is_found_in_the_interpreter() {
    let missing = "massgen/tool/missing/_add.py";
    assert_eq!(
        of(&format!("{{path: {missing}, function: add}}"))[0].code,
        ToolCode::Module("massgen.tool.missing._add".to_owned())
    );
    assert_eq!(
        of("{path: my_tools.math, function: add}")[0].code,
        ToolCode::Module("my_tools.math".to_owned())
    );
    assert_eq!(of("{name: [add], function: [add]}")[0].code, ToolCode::BuiltIn);
    let parsed = parse(&file("custom_tools: [{function: add, default_params: {a: 1}, defer_loading: true}]"));
    assert_eq!(
        warnings(&parsed).iter().map(|w| w.reason).collect::<Vec<_>>(),
        ["ignored-key", "ignored-key"]
    );
}

#[test]
fn secrets_among_preset_arguments_are_known() {
    let found = options(
        "custom_tools: [{path: t.py, function: f, preset_args: {api_key: '${KEY}', where: 'https://x.test', n: '${N}'}}]",
    );
    assert_eq!(found.secrets().collect::<Vec<_>>(), ["key-from-outside"]);
    assert!(!format!("{found:?}").contains("key-from-outside"));
}

#[test]
fn what_is_wrong_is_told_with_its_key() {
    fails("{path: missing.py, function: f}", "path-missing", "[0].path", "agent file");
    fails("{path: massgen/../missing.py, function: f}", "path-missing", "[0].path", "");
    fails("{path: ./tools.sh, function: f}", "bad-value", "[0].path", "Python file");
    fails("{path: a.b}", "missing-key", "[0].function", "");
    fails("{category: x}", "missing-key", "[0].function", "");
    fails("{path: t.py, function: 'a b'}", "bad-value", "[0].function", "a b");
    fails("{path: t.py, function: f, name: 'a b'}", "bad-value", "[0].name", "a b");
    fails("{path: t.py, function: f, func: g}", "conflict", "[0].func", "");
    fails("{path: t.py, function: [f, g], name: one}", "conflict", "[0].name", "each");
    fails("{path: t.py, function: [f, g], preset_args: [{}, {}, {}]}", "conflict", "[0].preset_args", "each");
    fails("{path: t.py, function: f, preset_args: 3}", "wrong-type", "[0].preset_args", "map");
    fails(
        "{path: t.py, function: f, preset_args: {a: '${UNSET}'}}",
        "unset-variable",
        "[0].preset_args.a",
        "UNSET",
    );
    fails("{path: t.py, function: f, colour: red}", "unknown-key", "[0].colour", "");
    fails("{path: t.py, function: f}, {path: u.py, function: f}", "duplicate-id", "[1]", "name");
    let large = format!("{{path: t.py, function: f, preset_args: {{a: {}}}}}", "x".repeat(70 << 10));
    fails(&large, "too-large", "", "file");
    let parsed = parse(&file("custom_tools_python: python3"));
    assert_eq!(errors(&parsed)[0].reason, "bad-value");
}
