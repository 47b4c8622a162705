use crate::{
    lines::{Line, Lines},
    message, strict,
};
use proptest::prelude::*;
use serde_json::Value;

#[tokio::test]
async fn lines_come_out_as_they_went_in() {
    let mut lines = Lines::new(&b"a\n\nlonger than ten\nb\ncut"[..], 10);
    let mut seen = Vec::new();
    while let Some(line) = lines.next().await.unwrap() {
        seen.push(match line {
            Line::Whole(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            other => format!("{other:?}"),
        });
    }
    assert_eq!(seen, ["a\n", "\n", "Long", "b\n", "Cut"]);
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(".{0,4}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn the_strict_reader_agrees_with_the_ordinary_one(value in json_value()) {
        let text = value.to_string();
        let parsed = strict::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(parsed.flaw, None);
        prop_assert_eq!(parsed.value, serde_json::from_str::<Value>(&text).unwrap());
    }

    #[test]
    fn anything_is_read_or_refused(line in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = message::read(&line);
    }

    #[test]
    fn a_doubled_key_is_always_found(value in json_value(), key in "[a-z]{1,4}", at in 0usize..3) {
        let inner = format!("{{\"{key}\":1,\"{key}\":2}}");
        let around = ["x", "y", "z"].map(|name| (name, value.to_string()));
        let mut parts: Vec<String> = around.iter().map(|(name, text)| format!("\"{name}\":{text}")).collect();
        parts.insert(at, format!("\"inner\":[{inner}]"));
        let parsed = strict::parse(format!("{{{}}}", parts.join(",")).as_bytes()).unwrap();
        prop_assert_eq!(parsed.flaw, Some(strict::Flaw::Duplicate(key)));
    }
}
