//! The JSON of an event, borrowed from its text: most events are small, and most of what
//! is in them is looked at once. What is kept becomes a [`Value`].

use crate::text::clip;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::{borrow::Cow, cell::Cell, collections::HashSet, fmt};

/// A value; a member's name is in an object once.
#[derive(Debug)]
pub(super) enum Node<'t> {
    Null,
    True,
    False,
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(Cow<'t, str>),
    List(Vec<Node<'t>>),
    Object(Vec<(Cow<'t, str>, Node<'t>)>),
}

impl<'t> Node<'t> {
    /// The value that this text is, of at most so many values, and nothing but it; the error
    /// says why it is none.
    pub(super) fn read(text: &'t str, most: usize) -> Result<Self, String> {
        let left = Cell::new(most);
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let node =
            Reading { left: &left }.deserialize(&mut deserializer).map_err(|e| clip(&e.to_string(), 200))?;
        deserializer.end().map_err(|e| e.to_string())?;
        Ok(node)
    }

    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.iter().find_map(|(name, node)| (name == key).then_some(node))
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(super) fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    /// An object with anything in it.
    pub(super) fn has_members(&self) -> bool {
        matches!(self, Self::Object(members) if !members.is_empty())
    }

    pub(super) fn as_bool(&self) -> Option<bool> {
        match self {
            Self::True => Some(true),
            Self::False => Some(false),
            _ => None,
        }
    }

    pub(super) fn as_f64(&self) -> Option<f64> {
        #[allow(clippy::cast_precision_loss)]
        match self {
            Self::Signed(number) => Some(*number as f64),
            Self::Unsigned(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// To be kept.
    pub(super) fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::True => true.into(),
            Self::False => false.into(),
            Self::Signed(number) => (*number).into(),
            Self::Unsigned(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::Text(text) => text.as_ref().into(),
            Self::List(items) => items.iter().map(Self::to_value).collect(),
            Self::Object(members) => {
                members.iter().map(|(name, node)| (name.as_ref(), node.to_value())).collect()
            }
        }
    }
}

/// A member that is a text and not empty.
pub(super) fn text<'n>(node: &'n Node<'_>, key: &str) -> Option<&'n str> {
    match node.get(key)? {
        Node::Text(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// A member that is a count.
pub(super) fn count(node: &Node<'_>, key: &str) -> Option<u64> {
    match *node.get(key)? {
        Node::Unsigned(number) => Some(number),
        Node::Signed(number) => u64::try_from(number).ok(),
        // Some servers count in floats.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Node::Float(number) => (0.0..1e15).contains(&number).then_some(number as u64),
        _ => None,
    }
}

/// A member that is a list; empty when there is none.
pub(super) fn list<'n, 't>(node: &'n Node<'t>, key: &str) -> &'n [Node<'t>] {
    match node.get(key) {
        Some(Node::List(items)) => items,
        _ => &[],
    }
}

#[derive(Clone, Copy)]
struct Reading<'b> {
    left: &'b Cell<usize>,
}

impl<'t> DeserializeSeed<'t> for Reading<'_> {
    type Value = Node<'t>;
    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Node<'t>, D::Error> {
        let Some(left) = self.left.get().checked_sub(1) else {
            return Err(D::Error::custom("too many values"));
        };
        self.left.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'t> Visitor<'t> for Reading<'_> {
    type Value = Node<'t>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Node<'t>, E> {
        Ok(if value { Node::True } else { Node::False })
    }
    fn visit_i64<E>(self, value: i64) -> Result<Node<'t>, E> {
        Ok(Node::Signed(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Node<'t>, E> {
        Ok(Node::Unsigned(value))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Node<'t>, E> {
        Ok(Node::Float(value))
    }
    fn visit_borrowed_str<E>(self, value: &'t str) -> Result<Node<'t>, E> {
        Ok(Node::Text(Cow::Borrowed(value)))
    }
    fn visit_str<E>(self, value: &str) -> Result<Node<'t>, E> {
        Ok(Node::Text(Cow::Owned(value.to_owned())))
    }
    fn visit_unit<E>(self) -> Result<Node<'t>, E> {
        Ok(Node::Null)
    }
    fn visit_seq<A: SeqAccess<'t>>(self, mut access: A) -> Result<Node<'t>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Node::List(items))
    }
    fn visit_map<A: MapAccess<'t>>(self, mut access: A) -> Result<Node<'t>, A::Error> {
        let mut members: Vec<(Cow<'t, str>, Node<'t>)> = Vec::new();
        // Looking through a long object for each of its names would take its square.
        let mut names: Option<HashSet<Cow<'t, str>>> = None;
        while let Some(name) = access.next_key_seed(Name)? {
            let twice = if members.len() < FEW {
                members.iter().any(|(before, _)| *before == name)
            } else {
                let all = || members.iter().map(|(name, _)| name.clone()).collect();
                !names.get_or_insert_with(all).insert(name.clone())
            };
            if twice {
                return Err(A::Error::custom(format_args!(
                    "the member {:?} is there twice",
                    clip(&name, 60)
                )));
            }
            members.push((name, access.next_value_seed(self)?));
        }
        Ok(Node::Object(members))
    }
}

/// So many names of an object are compared with each other.
const FEW: usize = 16;

/// Reads a member's name.
struct Name;

impl<'t> DeserializeSeed<'t> for Name {
    type Value = Cow<'t, str>;
    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Cow<'t, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'t> Visitor<'t> for Name {
    type Value = Cow<'t, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }
    fn visit_borrowed_str<E>(self, name: &'t str) -> Result<Cow<'t, str>, E> {
        Ok(Cow::Borrowed(name))
    }
    fn visit_str<E>(self, name: &str) -> Result<Cow<'t, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::value;
    use proptest::prelude::*;
    use serde_json::json;

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a\"\\\\ü\n]{0,5}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 60, 24, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map("[a-d\"ü]{0,3}", inner, 0..24)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    #[test]
    fn members_are_found_as_in_a_value() {
        let said =
            r#"{"s":"x","e":"","n":3,"m":-3,"f":2.5,"t":true,"z":null,"l":[1,"\u00fc"],"o":{},"p":{"a":0}}"#;
        let node = Node::read(said, 100).unwrap();
        assert_eq!((text(&node, "s"), text(&node, "e"), text(&node, "n")), (Some("x"), None, None));
        assert_eq!(["n", "m", "f", "s"].map(|k| count(&node, k)), [Some(3), None, Some(2), None]);
        assert_eq!((list(&node, "l").len(), list(&node, "o").len()), (2, 0));
        assert_eq!(["o", "p", "l"].map(|k| node.get(k).unwrap().has_members()), [false, true, false]);
        assert!(node.get("z").unwrap().is_null() && node.get("none").is_none());
        assert_eq!(
            (node.get("t").unwrap().as_bool(), node.get("f").unwrap().as_f64()),
            (Some(true), Some(2.5))
        );
    }

    #[test]
    fn a_name_is_there_once_in_long_objects_too() {
        let of = |names: &[String]| {
            format!("{{{}}}", names.iter().map(|n| format!("{n}:0")).collect::<Vec<_>>().join(","))
        };
        let mut names: Vec<String> = (0..100).map(|n| format!("\"k{n}\"")).collect();
        assert!(Node::read(&of(&names), 1000).is_ok());
        for (place, again) in [(1, 0), (16, 0), (17, 16), (99, 15), (99, 98)] {
            let before = std::mem::replace(&mut names[place], format!("\"\\u006b{again}\""));
            assert!(Node::read(&of(&names), 1000).unwrap_err().contains("twice"), "{place} {again}");
            names[place] = before;
        }
        assert_eq!(Node::read(r#"{"a\n":"\\"}"#, 9).unwrap().to_value(), json!({"a\n": "\\"}));
    }

    proptest! {
        #[test]
        fn it_reads_what_the_reader_of_values_reads(json in json(), most in 0usize..90) {
            let said = json.to_string();
            prop_assert_eq!(Node::read(&said, most).map(|n| n.to_value()), value::parse(&said, most));
        }

        #[test]
        fn it_refuses_what_the_reader_of_values_refuses(
            pieces in proptest::collection::vec(proptest::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"a\"", "\"b\"", "\"\\u0061\"", "1", "-1", "1e3", "1e999", "null",
                "true", "\"", "\\", " ", "ü",
            ]), 0..14),
            most in 0usize..8,
        ) {
            let said = pieces.concat();
            prop_assert_eq!(Node::read(&said, most).map(|n| n.to_value()), value::parse(&said, most));
        }
    }
}
