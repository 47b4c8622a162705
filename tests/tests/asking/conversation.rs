//! One conversation for everybody: words, thoughts and arguments that are hard to cut, calls that
//! are made at once, thoughts that nobody may read.

use super::Model;
use cordon_backends::api::{Effort, Summary};
use cordon_tests::provider::{Call, Provider, Script, Shape, Turn, Usage};
use serde_json::{Value, json};

/// Every way of speaking that differs: a backend, and the path below which it has everything.
pub(crate) const WAYS: &[(&str, &str)] = &[
    ("openai", "/v1"),
    ("grok", "/v1"),
    ("claude", ""),
    ("gemini", "/v1beta"),
    ("azure_openai", ""),
    ("azure_openai", "/openai/v1"),
    ("zai", "/api/paas/v4"),
    ("lmstudio", "/v1"),
    ("vllm", "/v1"),
    ("sglang", "/v1"),
    ("chatcompletion", "/v1"),
    ("openrouter", "/api/v1"),
];

pub(crate) const WORDS: &str = "Ich schaue nach: ü€𝄞 — \"quoted\" \\ and\nlines.";
pub(crate) const THOUGHTS: &str = "First the füles,\n\nthen the rest 🦀.";

pub(crate) fn arguments(n: usize) -> Value {
    json!({"path": format!("a/{n}/ü\u{1F980}\"\\\n.txt"), "deep": [{"x": null, "y": -1.5e3}, []], "s": "{\"a\":1}"})
}

pub(crate) fn look(n: usize) -> Call {
    Call::Tool { name: "look".to_owned(), arguments: arguments(n) }
}

pub(crate) fn script(shape: Shape) -> Script {
    let usage = Usage { input: 1234, cached: 200, output: 56, reasoning: 7 };
    let first = Turn { text: WORDS.to_owned(), usage, ..Turn::calls([look(0), look(1), look(2)]) };
    let nothing = Call::Tool { name: "note".to_owned(), arguments: json!({}) };
    Script {
        turns: vec![
            first.thinking(THOUGHTS),
            Turn { redacted: true, ..Turn::calls([nothing]).thinking("never shown") },
            Turn::text("Done: ü.").thinking("Enough."),
        ],
        shape,
        strict: true,
        ..Script::default()
    }
}

pub(crate) fn model(kind: &str, path: &str, provider: &Provider) -> Model {
    let mut model = Model::new(kind, &format!("{}{path}", provider.base_url()));
    match kind {
        "openai" | "grok" => model.settings.summary = Some(Summary::Detailed),
        "gemini" => model.settings.summary = Some(Summary::Auto),
        "claude" => model.settings.effort = Some(Effort::High),
        _ => {}
    }
    model
}
