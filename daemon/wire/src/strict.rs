//! JSON without benefit of the doubt: a key that comes twice means one thing to one reader
//! and another to the next, and what nests without end is meant for nobody's stack.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Levels of arrays and objects; the parser's own limit is 128.
const DEPTH: usize = 100;
/// Values in one message: each takes some ten times of what it takes on the wire.
const VALUES: usize = 1 << 20;

/// What is well-formed and refused nevertheless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// A key comes twice in one object.
    Duplicate(String),
    /// It nests too deeply.
    Deep,
    /// There is too much of it.
    Many,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate(key) => {
                write!(f, "the key \"{key}\" comes twice in one object; send each key once")
            }
            Self::Deep => write!(f, "it nests more than {DEPTH} levels deep"),
            Self::Many => write!(f, "it has more than {VALUES} values"),
        }
    }
}

/// A value, with the first flaw of it. Behind a flaw the value is incomplete.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) value: Value,
    pub(crate) flaw: Option<Flaw>,
    /// `id` itself is what comes twice.
    pub(crate) two_ids: bool,
}

/// Reads one value from the whole of the bytes.
pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, serde_json::Error> {
    let mut state = State { flaw: None, two_ids: false, left: VALUES };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Seed { state: &mut state, depth: 0 }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(Parsed { value, flaw: state.flaw, two_ids: state.two_ids })
}

struct State {
    flaw: Option<Flaw>,
    two_ids: bool,
    left: usize,
}

struct Seed<'a> {
    state: &'a mut State,
    depth: usize,
}

impl Seed<'_> {
    /// Whether one value more, which holds others, may be built.
    fn enter(&mut self) -> bool {
        if self.depth >= DEPTH {
            self.state.flaw.get_or_insert(Flaw::Deep);
            return false;
        }
        true
    }

    fn room(&mut self) -> bool {
        if self.state.left == 0 {
            self.state.flaw.get_or_insert(Flaw::Many);
            return false;
        }
        self.state.left -= 1;
        true
    }

    fn inner(&mut self) -> Seed<'_> {
        Seed { state: self.state, depth: self.depth + 1 }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number without a value"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        let mut build = self.enter();
        loop {
            build = build && self.room();
            // What is not built is skipped without a stack and without memory.
            if !build {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                break;
            }
            match items.next_element_seed(self.inner())? {
                Some(item) => list.push(item),
                None => break,
            }
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        let mut build = self.enter();
        loop {
            build = build && self.room();
            if !build {
                while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                break;
            }
            let Some(key) = entries.next_key::<String>()? else { break };
            if map.contains_key(&key) {
                self.state.two_ids |= self.depth == 0 && key == "id";
                self.state.flaw.get_or_insert_with(|| Flaw::Duplicate(crate::shown(&key)));
                entries.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = entries.next_value_seed(self.inner())?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
