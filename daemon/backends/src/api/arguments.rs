use super::value;
use crate::text::clip;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Values in the arguments of one call.
const VALUES: usize = 1 << 17;
/// So much of broken arguments is shown to the model.
const SHOWN: usize = 2 << 10;

/// Arguments of a call: one whole JSON object, no member of which is there twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Arguments {
    text: String,
    object: Map<String, Value>,
}

impl Arguments {
    /// Reads what a model wrote.
    ///
    /// # Errors
    /// When it is anything but one whole object.
    pub fn parse(text: String) -> Result<Self, Broken> {
        match value::parse(&text, VALUES) {
            Ok(Value::Object(object)) => Ok(Self { text, object }),
            Ok(_) => Err(Broken::new("the arguments are no JSON object", &text)),
            Err(why) => Err(Broken::new(&format!("the arguments are no valid JSON: {why}"), &text)),
        }
    }

    /// None at all.
    #[must_use]
    pub fn none() -> Self {
        Self { text: "{}".to_owned(), object: Map::new() }
    }

    /// As the model wrote them.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What they say.
    #[must_use]
    pub fn object(&self) -> &Map<String, Value> {
        &self.object
    }
}

impl TryFrom<String> for Arguments {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(text).map_err(|b| b.why)
    }
}

impl From<Arguments> for String {
    fn from(arguments: Arguments) -> Self {
        arguments.text
    }
}

/// Why a call is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// For the model and the journal.
    pub why: String,
    /// What the model wrote, cut down.
    pub wrote: String,
}

impl Broken {
    pub(super) fn new(why: &str, wrote: &str) -> Self {
        Self { why: why.to_owned(), wrote: clip(wrote, SHOWN) }
    }
}

/// What stands where the arguments of a call should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Written {
    /// Arguments.
    Whole(Arguments),
    /// Nothing that may be carried out: the model is to be told so.
    Broken(Broken),
}

impl Written {
    /// What a provider is sent back: it takes nothing that is no object.
    pub(super) fn replayed(&self) -> (&str, Value) {
        match self {
            Self::Whole(a) => (&a.text, Value::Object(a.object.clone())),
            Self::Broken(_) => ("{}", Value::Object(Map::new())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_a_whole_object_is_arguments() {
        for bad in ["", "[]", "null", "\"{}\"", "{\"a\":1", "{}{}", "{\"a\":1,\"a\":2}", "{\"a\":NaN}"] {
            assert!(Arguments::parse(bad.to_owned()).is_err(), "{bad}");
        }
        let good = Arguments::parse(" {\"b\" : 1,\"a\":\"ü\"}".to_owned()).unwrap();
        assert_eq!(good.text(), " {\"b\" : 1,\"a\":\"ü\"}");
        assert_eq!(good.object()["a"], "ü");
    }

    #[test]
    fn a_journal_cannot_bring_in_what_a_stream_could_not() {
        let json = serde_json::to_string(&Written::Whole(Arguments::none())).unwrap();
        assert_eq!(serde_json::from_str::<Written>(&json).unwrap(), Written::Whole(Arguments::none()));
        assert!(serde_json::from_str::<Written>(r#"{"whole":"{\"a\":1"}"#).is_err());
    }

    #[test]
    fn what_is_shown_of_broken_arguments_is_short() {
        let broken = Arguments::parse("x".repeat(1 << 20)).unwrap_err();
        assert!(broken.wrote.len() < 2 * SHOWN && broken.why.len() < 300);
    }

    proptest! {
        #[test]
        fn no_beginning_of_an_object_is_one(text in "\\PC{0,10}", number in any::<i32>()) {
            let whole = serde_json::json!({"t": text, "n": [number, {"x": null}]}).to_string();
            for cut in (0..whole.len()).filter(|c| whole.is_char_boundary(*c)) {
                prop_assert!(Arguments::parse(whole[..cut].to_owned()).is_err());
            }
        }
    }
}
