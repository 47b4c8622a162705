use serde_json::Value;

/// The longest part of a denial that is told.
const LONGEST: usize = 4096;

/// A refusal as the sandbox's own tools tell it, beside their words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolDenial {
    /// What was tried.
    pub operation: String,
    /// On what.
    pub target: String,
    /// Which rule refused it.
    pub rule: String,
    /// Where that rule comes from.
    pub origin: String,
    /// What enforced it.
    pub layer: String,
    /// The smallest change that would allow it.
    pub would_allow: String,
}

impl ToolDenial {
    /// Reads `{"denial": {…}}`. The process that says it is the agent's neighbour: its
    /// words are cut and escaped, and it can only speak against itself.
    pub(crate) fn read(structured: &Value) -> Option<Self> {
        let denial = structured.get("denial")?.as_object()?;
        let text = |key: &str| denial.get(key).and_then(Value::as_str).map(plain).unwrap_or_default();
        Some(Self {
            operation: text("operation"),
            target: text("target"),
            rule: text("rule"),
            origin: text("origin"),
            layer: text("layer"),
            would_allow: text("would_allow"),
        })
    }
}

fn plain(text: &str) -> String {
    let mut plain = String::new();
    for c in text.chars() {
        match c.is_control() {
            true => plain.extend(c.escape_default()),
            false => plain.push(c),
        }
        if plain.len() > LONGEST {
            plain.push('…');
            break;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_denial_is_read_and_nothing_else() {
        let denial = ToolDenial::read(&json!({ "denial": {
            "operation": "write", "target": "/a\n/b", "rule": "r", "origin": "f:1", "layer": "guest", "x": 1,
            "would_allow": 7,
        }}));
        let denial = denial.unwrap();
        assert_eq!((denial.operation.as_str(), denial.target.as_str()), ("write", "/a\\n/b"));
        assert_eq!(denial.would_allow, "");
        for other in [json!(null), json!({}), json!({"denial": "no"}), json!([{"denial": {}}])] {
            assert_eq!(ToolDenial::read(&other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn its_words_are_harmless(text in any::<String>()) {
            let denial = ToolDenial::read(&json!({"denial": {"rule": text}})).unwrap();
            prop_assert!(!denial.rule.chars().any(char::is_control) && denial.rule.len() <= LONGEST + 16);
        }
    }
}
