//! What a tool may be called with.

use rmcp::model::JsonObject;
use serde_json::Value;

const DEEPEST: usize = 64;
const LARGEST: usize = 64 << 20;

/// What a value takes beside its bytes, roughly.
const VALUE: usize = 64;

/// Roughly what the arguments take, in bytes, or why they are not passed on.
pub(crate) fn weight(arguments: &JsonObject) -> Result<usize, String> {
    let (mut size, mut values) = (0, 0);
    // Without recursion: how deep it goes is what is to be found out.
    let mut open: Vec<(&Value, usize)> = Vec::new();
    for (key, value) in arguments {
        size += key.len();
        open.push((value, 2));
    }
    while let Some((value, depth)) = open.pop() {
        if depth > DEEPEST {
            return Err(format!("they are nested deeper than {DEEPEST}"));
        }
        // A value costs a little even when it is empty.
        size += 1;
        values += 1;
        match value {
            Value::String(text) => size += text.len(),
            Value::Array(items) => open.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(entries) => {
                size += entries.keys().map(String::len).sum::<usize>();
                open.extend(entries.values().map(|item| (item, depth + 1)));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        if size > LARGEST {
            return Err(format!("they are larger than {} MB", LARGEST >> 20));
        }
    }
    Ok(size.saturating_add(values * VALUE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: Value) -> JsonObject {
        JsonObject::from_iter([("a".to_owned(), value)])
    }

    fn fault(arguments: &JsonObject) -> Option<String> {
        weight(arguments).err()
    }

    #[test]
    fn small_values_are_not_small() {
        assert!(weight(&of(Value::Array(vec![Value::Null; 1000]))).unwrap() > 1000 * VALUE);
        assert_eq!(weight(&JsonObject::new()), Ok(0));
    }

    fn nested(levels: usize) -> Value {
        (0..levels).fold(Value::Null, |inner, n| match n % 2 {
            0 => Value::Array(vec![inner]),
            _ => Value::Object(of(inner)),
        })
    }

    #[test]
    fn depth_and_size_are_bounded() {
        assert_eq!(fault(&JsonObject::new()), None);
        assert_eq!(fault(&of(nested(DEEPEST - 2))), None);
        assert!(fault(&of(nested(DEEPEST - 1))).is_some_and(|why| why.contains("deeper")));
        assert!(fault(&of(nested(5000))).is_some());
        assert_eq!(fault(&of(Value::String("x".repeat(LARGEST - 10)))), None);
        assert!(fault(&of(Value::String("x".repeat(LARGEST)))).is_some_and(|why| why.contains("larger")));
        let key = JsonObject::from_iter([("k".repeat(LARGEST + 1), Value::Null)]);
        assert!(fault(&key).is_some());
    }
}
