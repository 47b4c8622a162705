//! Reads one event of an agent program: leniently, and in memory bounded whatever
//! the text is. A plain parse can cost twenty times the size of its text.

use crate::text::{MAX_TEXT, clip};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::{cell::Cell, fmt};

/// Values kept of one event; the rest of it is skipped.
const NODES: usize = 1 << 16;

/// The object in this line; none when it is not one.
pub(crate) fn object(line: &[u8]) -> Option<Value> {
    let parsed = parse(line).or_else(|| parse(&without_lone_surrogates(line)?))?;
    parsed.is_object().then_some(parsed)
}

fn parse(text: &[u8]) -> Option<Value> {
    let budget = Cell::new(NODES);
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Node { budget: &budget }.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    Some(value)
}

/// JavaScript programs cut strings inside a surrogate pair and print the half as an
/// escape, which no strict parser takes: each becomes U+FFFD. None: there is none.
fn without_lone_surrogates(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut changed = false;
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match (byte, escaped_unit(text, at)) {
            (_, Some(0xD800..=0xDBFF)) if matches!(escaped_unit(text, at + 6), Some(0xDC00..=0xDFFF)) => {
                out.extend_from_slice(&text[at..at + 12]);
                at += 12;
            }
            (_, Some(0xD800..=0xDFFF)) => {
                out.extend_from_slice(b"\\ufffd");
                changed = true;
                at += 6;
            }
            // An escape of two bytes: the second may be a backslash too.
            (b'\\', _) => {
                out.extend_from_slice(&text[at..text.len().min(at + 2)]);
                at += 2;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    changed.then_some(out)
}

fn escaped_unit(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |n: u16, d| Some(n << 4 | char::from(*d).to_digit(16)? as u16))
}

#[derive(Clone, Copy)]
struct Node<'b> {
    budget: &'b Cell<usize>,
}

impl Node<'_> {
    fn take(self) -> bool {
        let left = self.budget.get();
        self.budget.set(left.saturating_sub(1));
        left > 0
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(clip(value, MAX_TEXT)))
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while self.take() {
            match access.next_element_seed(self)? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
        while access.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while self.take() {
            match access.next_key::<String>()? {
                Some(key) => map.insert(clip(&key, MAX_TEXT), access.next_value_seed(self)?),
                None => return Ok(Value::Object(map)),
            };
        }
        while access.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Object(map))
    }
}

/// A text member; empty when there is none.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A number member that is a count; 0 when there is none.
pub(crate) fn count(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn half_a_surrogate_pair_does_not_hide_an_event() {
        for (raw, text) in [
            (r#"{"result":"cut \ud83d"}"#, "cut \u{fffd}"),
            (r#"{"result":"\ude00 and \ud83d\ude00"}"#, "\u{fffd} and 😀"),
            (r#"{"result":"\\ud83d"}"#, "\\ud83d"),
            (r#"{"result":"\\\ud83d\n"}"#, "\\\u{fffd}\n"),
        ] {
            assert_eq!(object(raw.as_bytes()), Some(json!({ "result": text })), "{raw}");
        }
    }

    #[test]
    fn only_objects_count() {
        for raw in ["", "1", "[]", "\"x\"", "{} {}", "{", "{\"a\":1,}", "\u{feff}{}"] {
            assert_eq!(object(raw.as_bytes()), None, "{raw}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), None);
        assert_eq!(object("[".repeat(1_000_000).as_bytes()), None);
    }

    #[test]
    fn a_hostile_shape_is_cut_down_and_the_rest_still_parsed() {
        let raw = format!(r#"{{"a":[{}0],"type":"x"}}"#, "0,".repeat(2_000_000));
        let value = object(raw.as_bytes()).unwrap();
        assert!(value["a"].as_array().unwrap().len() <= NODES);
    }

    proptest! {
        #[test]
        fn what_a_strict_parser_reads_is_read_the_same(value in small_value()) {
            let value = json!({ "v": value });
            prop_assert_eq!(object(value.to_string().as_bytes()), Some(value));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = object(&bytes);
            let _ = without_lone_surrogates(&bytes);
        }

        #[test]
        fn repairing_touches_nothing_but_surrogates(text in "\\PC{0,20}") {
            let raw = json!({ "t": text }).to_string();
            prop_assert_eq!(without_lone_surrogates(raw.as_bytes()), None);
        }
    }

    fn small_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-z]{1,3}", inner, 0..4)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }
}
