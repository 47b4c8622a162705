//! A conversation as no protocol in particular has it.

use super::{Protocol, Written};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashSet;

/// What a model is told, and what it said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// What the model is to be; may be empty.
    pub system: String,
    /// Oldest first.
    pub items: Vec<Item>,
}

impl Conversation {
    /// The calls at the end that have no result yet, in their order.
    #[must_use]
    pub fn unanswered(&self) -> Vec<&Call> {
        let answered: HashSet<&str> =
            self.items.iter().rev().map_while(|i| i.as_result()).map(|r| r.id.as_str()).collect();
        let said = self.items.len() - self.items.iter().rev().take_while(|i| i.as_result().is_some()).count();
        let turn =
            self.items[..said].iter().rev().take_while(|i| !matches!(i, Item::User(_) | Item::Result(_)));
        let mut calls: Vec<&Call> = turn.filter_map(Item::as_call).collect();
        calls.retain(|call| !answered.contains(call.id.as_str()));
        calls.reverse();
        calls
    }

    /// Gives each of them a failed result with this text: no provider takes a call without
    /// a result, and a turn that was cancelled has some.
    pub fn answer_rest(&mut self, why: &str) {
        let results: Vec<Item> = self.unanswered().into_iter().map(|call| call.failed(why)).collect();
        self.items.extend(results);
    }

    /// Whether every call has one result, before anything else is said; if not, what is wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut open: HashSet<&str> = HashSet::new();
        let mut answering = false;
        for item in &self.items {
            match item {
                Item::Result(result) => {
                    if !open.remove(result.id.as_str()) {
                        return Err(format!("the result {:?} answers no call before it", result.id));
                    }
                    answering = true;
                    continue;
                }
                Item::User(_) => answering = true,
                _ => {}
            }
            if let Some(id) = open.iter().next().filter(|_| answering) {
                return Err(format!("the call {id:?} has no result"));
            }
            answering = false;
            if let Item::Call(call) = item
                && !open.insert(&call.id)
            {
                return Err(format!("two calls have the id {:?}", call.id));
            }
        }
        match open.iter().next() {
            Some(id) => Err(format!("the call {id:?} has no result")),
            None => Ok(()),
        }
    }
}

impl Item {
    fn as_result(&self) -> Option<&CallResult> {
        if let Self::Result(result) = self { Some(result) } else { None }
    }

    fn as_call(&self) -> Option<&Call> {
        if let Self::Call(call) = self { Some(call) } else { None }
    }
}

impl Call {
    /// That it failed, for the model: of every call that is broken, denied or cancelled.
    #[must_use]
    pub fn failed(&self, why: &str) -> Item {
        let parts = vec![Part::Text(why.to_owned())];
        Item::Result(CallResult { id: self.id.clone(), name: self.name.clone(), parts, failed: true })
    }
}

/// One thing that was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// A person, or the loop on a person's behalf.
    User(Vec<Part>),
    /// The model, to be read.
    Text(Text),
    /// The model, thinking.
    Reasoning(Reasoning),
    /// The model asks for a tool.
    Call(Call),
    /// What a call came to.
    Result(CallResult),
    /// Something that only its provider understands, such as a search of its own.
    Kept(Opaque),
}

/// A piece of what a person says, or of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Words.
    Text(String),
    /// A picture, a sound, a document.
    Media {
        /// Such as `image/png`.
        mime: String,
        /// Base64.
        data: String,
    },
}

/// Words of the model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// The words.
    pub text: String,
    /// What belongs to them and has to go back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opaque: Option<Opaque>,
}

/// Thoughts of the model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reasoning {
    /// What may be read of them.
    pub text: String,
    /// The signature or the encrypted content, in what it came in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opaque: Option<Opaque>,
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Differs between all calls of an answer, and between answers when the loop counts them.
    pub id: String,
    /// The tool; nobody has checked yet that there is one.
    pub name: String,
    /// For the tool.
    pub arguments: Written,
    /// What belongs to the call and has to go back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opaque: Option<Opaque>,
}

/// What a call came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallResult {
    /// Of the call.
    pub id: String,
    /// Of the tool: one protocol wants it again.
    pub name: String,
    /// What the model gets to see.
    pub parts: Vec<Part>,
    /// Whether it failed or was refused. Two protocols cannot say so: the text has to as well.
    pub failed: bool,
}

/// Where an answer came from: what is sealed for one model opens for no other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// How it was asked.
    pub protocol: Protocol,
    /// The provider's name.
    pub provider: String,
    /// The model that was asked for.
    pub model: String,
}

/// JSON of a provider, sent back to it as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opaque {
    /// Whose.
    pub origin: Origin,
    /// What.
    pub json: Value,
}

impl Opaque {
    /// What it is, for the one that it came from.
    pub(super) fn of<'a>(opaque: Option<&'a Self>, to: &Origin) -> Option<&'a Value> {
        opaque.filter(|o| o.origin == *to).map(|o| &o.json)
    }
}

/// A tool that a model may call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Letters, digits, `_` and `-`, at most 64: what all protocols take.
    pub name: String,
    /// For the model.
    pub description: String,
    /// JSON schema of an object.
    pub parameters: Value,
}

#[cfg(test)]
mod tests {
    use super::super::{Arguments, testing::user};
    use super::*;
    use proptest::prelude::*;

    fn call(id: &str) -> Item {
        let arguments = Written::Whole(Arguments::none());
        Item::Call(Call { id: id.to_owned(), name: "t".to_owned(), arguments, opaque: None })
    }

    fn result(id: &str) -> Item {
        let parts = Vec::new();
        Item::Result(CallResult { id: id.to_owned(), name: "t".to_owned(), parts, failed: false })
    }

    fn of(items: Vec<Item>) -> Conversation {
        Conversation { system: String::new(), items }
    }

    #[test]
    fn every_call_has_one_result_before_anything_else() {
        let text = || Item::Text(Text { text: "so".to_owned(), opaque: None });
        for good in [
            vec![
                user("x"),
                call("a"),
                text(),
                call("b"),
                result("b"),
                result("a"),
                text(),
                call("a"),
                result("a"),
            ],
            vec![user("x"), text(), user("y")],
            vec![
                user("x"),
                call("a"),
                result("a"),
                call("a"),
                call("b"),
                result("a"),
                result("b"),
                user("y"),
            ],
        ] {
            assert_eq!(of(good).check(), Ok(()));
        }
        for bad in [
            vec![call("a")],
            vec![result("a")],
            vec![call("a"), call("a"), result("a"), result("a")],
            vec![call("a"), user("x"), result("a")],
            vec![call("a"), call("b"), result("a"), text(), result("b")],
            vec![call("a"), result("a"), result("a")],
        ] {
            assert!(of(bad.clone()).check().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_cancelled_turn_is_made_whole() {
        let mut cancelled = of(vec![user("x"), call("a"), call("b"), call("c"), result("b")]);
        assert_eq!(cancelled.unanswered().iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), ["a", "c"]);
        cancelled.answer_rest("cancelled");
        assert_eq!(cancelled.check(), Ok(()));
        assert!(matches!(&cancelled.items[6], Item::Result(r) if r.failed && r.id == "c"));
        assert!(cancelled.unanswered().is_empty());
    }

    proptest! {
        #[test]
        fn wherever_a_sound_conversation_is_cut_it_can_go_on(turns in prop::collection::vec(0usize..4, 1..6), cut in 0usize..40) {
            let mut items = Vec::new();
            for calls in turns {
                items.push(user("x"));
                items.extend((0..calls).map(|n| call(&n.to_string())));
                items.extend((0..calls).rev().map(|n| result(&n.to_string())));
            }
            let mut conversation = of(items);
            prop_assert_eq!(conversation.check(), Ok(()));
            conversation.items.truncate(cut);
            conversation.answer_rest("cut");
            prop_assert_eq!(conversation.check(), Ok(()));
        }
    }
}
