//! Reads JSON that nobody vouches for: a value costs many times its text, and of two
//! members with one name two readers may take different ones.

use crate::text::clip;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::{cell::Cell, fmt};

/// The value that this text is, and nothing but it; the error says why it is none.
pub(super) fn parse(text: &str, most: usize) -> Result<Value, String> {
    let left = Cell::new(most);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Node { left: &left }.deserialize(&mut deserializer).map_err(|e| clip(&e.to_string(), 200))?;
    deserializer.end().map_err(|e| e.to_string())?;
    Ok(value)
}

#[derive(Clone, Copy)]
struct Node<'b> {
    left: &'b Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let Some(left) = self.left.get().checked_sub(1) else {
            return Err(D::Error::custom("too many values"));
        };
        self.left.set(left);
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
        Ok(value.into())
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the member {:?} is there twice", clip(&key, 60))));
            }
            map.insert(key, access.next_value_seed(self)?);
        }
        Ok(Value::Object(map))
    }
}

/// What a value takes beside its text, roughly.
const VALUE: usize = 64;

/// What the values in a value take beside their text: `[],` is three bytes of it.
pub(super) fn weight(value: &Value) -> usize {
    VALUE
        + match value {
            Value::Array(items) => items.iter().map(weight).sum(),
            Value::Object(members) => members.values().map(weight).sum(),
            Value::String(text) => escapes(text),
            _ => 0,
        }
}

/// What a text takes beside its bytes when it is written as JSON, as the journal does: a control
/// character is six bytes of it.
pub(super) fn escapes(text: &str) -> usize {
    let beside = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 1,
        0..32 => 5,
        _ => 0,
    };
    text.bytes().map(beside).sum()
}

/// A member that is a text and not empty.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str).filter(|t| !t.is_empty())
}

/// A member that is a list; empty when there is none.
pub(super) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Adds to a member that is a text, or makes it one.
pub(super) fn append(value: &mut Value, key: &str, words: &str) {
    match value.get_mut(key) {
        Some(Value::String(before)) => before.push_str(words),
        _ => value[key] = words.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_two_readers_could_take_for_two_things_is_none() {
        for bad in [
            r#"{"path":"a","path":"b"}"#,
            r#"{"a":{"b":1,"\u0062":2}}"#,
            "{} {}",
            "{",
            "",
            "nul",
            "{\"a\":\"\\ud83d\"}",
        ] {
            assert!(parse(bad, 100).is_err(), "{bad}");
        }
        assert!(parse(&"[".repeat(1 << 20), 1 << 20).is_err());
    }

    #[test]
    fn values_are_counted() {
        let many = format!("[{}0]", "0,".repeat(98));
        assert!(parse(&many, 100).is_ok());
        assert!(parse(&many, 99).unwrap_err().contains("too many values"));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,60}", most in 0usize..8) {
            let _ = parse(&text, most);
        }

        #[test]
        fn what_is_written_is_read(map in proptest::collection::btree_map("\\PC{0,4}", any::<i64>(), 0..6)) {
            let value = serde_json::json!({ "map": map });
            prop_assert_eq!(parse(&value.to_string(), 100), Ok(value));
        }
    }
}
