//! What a message costs once it is read. Bytes say little: 64 MB of `[],[],…` are gigabytes
//! when each of them is a value, and a minute of parsing. Values are counted while the bytes
//! pass, before anybody makes something of them.

/// Values of one message. A result that somebody reads has far fewer; long texts are one.
pub(crate) const MOST_VALUES: usize = 250_000;

/// Counts the values of line after line, whatever pieces they come in.
#[derive(Debug, Default)]
pub(crate) struct Weigher {
    values: usize,
    in_text: bool,
    escaped: bool,
}

/// A message has more values than anybody needs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Weigher {
    /// Takes the next bytes into account.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> Result<(), TooMany> {
        for byte in bytes {
            match byte {
                // No JSON text has one: whatever was open, the next message begins.
                b'\n' => *self = Self::default(),
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_text => self.escaped = true,
                b'"' => self.in_text = !self.in_text,
                b',' | b'[' | b'{' | b':' if !self.in_text => {
                    self.values += 1;
                    if self.values > MOST_VALUES {
                        return Err(TooMany);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn texts_are_one_value_and_lines_begin_anew() {
        let mut weigher = Weigher::default();
        let text = format!("\"{}\\\"[{{,\\\\\"", "[,".repeat(MOST_VALUES));
        assert_eq!(weigher.add(text.as_bytes()), Ok(()));
        for _ in 0..3 {
            assert_eq!(weigher.add("[],".repeat(MOST_VALUES / 2 - 1).as_bytes()), Ok(()));
            assert_eq!(weigher.add(b"\n\"\n"), Ok(()));
        }
        assert_eq!(weigher.add("[],".repeat(MOST_VALUES).as_bytes()), Err(TooMany));
    }

    fn count(value: &Value) -> usize {
        1 + match value {
            Value::Array(items) => items.iter().map(count).sum(),
            Value::Object(entries) => entries.values().map(count).sum(),
            _ => 0,
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<i64>().prop_map(Value::from), any::<String>().prop_map(Value::from)];
        leaf.prop_recursive(5, 60, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..8)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// However it is cut into pieces, no value goes uncounted.
        #[test]
        fn every_value_is_counted(value in value(), piece in 1usize..9) {
            let text = value.to_string();
            let mut weigher = Weigher::default();
            for bytes in text.as_bytes().chunks(piece) {
                prop_assert_eq!(weigher.add(bytes), Ok(()));
            }
            let values = count(&value);
            prop_assert!(weigher.values + 1 >= values && weigher.values <= 2 * values, "{text}");
            prop_assert!(!weigher.in_text);
        }
    }
}
