//! A conversation in the journal.

use cordon_backends::{
    Redactor,
    api::{Conversation, Item},
};
use cordon_proto::v1::{ConversationEvent, event::Kind};
use serde_json::Value;

/// The event that keeps one thing that was said; `anew`: in place of all that was said before.
///
/// What is secret is not kept, also where a model repeated it. What is sealed stays as it came:
/// its provider would not take it back otherwise.
#[must_use]
pub fn said(item: &Item, anew: bool, redactor: &Redactor) -> Kind {
    let mut json = serde_json::to_value(item).unwrap_or_default();
    hide(&mut json, redactor);
    let item = json.to_string().into_bytes();
    Kind::Conversation(ConversationEvent { item: item.into(), anew })
}

fn hide(value: &mut Value, redactor: &Redactor) {
    match value {
        // The arguments of a call are JSON in a text: escaped, a secret would not be seen.
        Value::String(text) => match serde_json::from_str(text) {
            Ok(mut inner @ Value::Object(_)) => {
                let before = inner.clone();
                hide(&mut inner, redactor);
                if inner != before {
                    *text = inner.to_string();
                }
            }
            _ => *text = redactor.text(text),
        },
        Value::Array(values) => values.iter_mut().for_each(|v| hide(v, redactor)),
        Value::Object(members) => {
            let named = std::mem::take(members);
            for (name, mut value) in named {
                hide(&mut value, redactor);
                members.insert(redactor.text(&name), value);
            }
        }
        _ => {}
    }
}

/// Gathers a conversation from a journal.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    items: Vec<Item>,
    unreadable: usize,
}

impl Kept {
    /// The next event.
    pub fn see(&mut self, event: &ConversationEvent) {
        if event.anew {
            self.items.clear();
            self.unreadable = 0;
        }
        match serde_json::from_slice(&event.item) {
            Ok(item) => self.items.push(item),
            Err(_) => self.unreadable += 1,
        }
    }

    /// Whether nothing was said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// What was said, sound: calls that nobody answered any more have an answer that says so.
    ///
    /// # Errors
    /// When something that was kept cannot be read.
    pub fn conversation(self, system: String) -> Result<Conversation, String> {
        if self.unreadable > 0 {
            return Err(format!("{} things that were said cannot be read in the journal", self.unreadable));
        }
        let mut conversation = Conversation { system, items: self.items };
        conversation.answer_rest("It is not known what came of this call: the turn was interrupted.");
        Ok(conversation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_backends::api::{Arguments, Call, Part, Written};

    fn event(kind: Kind) -> ConversationEvent {
        match kind {
            Kind::Conversation(event) => event,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_kept_comes_back_without_secrets_and_with_every_call_answered() {
        let redactor = Redactor::new(&["sk-abc\"def".to_owned()]);
        let user = |text: &str| Item::User(vec![Part::Text(text.to_owned())]);
        let call = Item::Call(Call {
            id: "1".to_owned(),
            name: "read".to_owned(),
            arguments: Written::Whole(Arguments::parse("{\"path\":\"sk-abc\\\"def\"}".to_owned()).unwrap()),
            opaque: None,
        });
        let mut kept = Kept::default();
        kept.see(&event(said(&user("gone"), false, &redactor)));
        kept.see(&event(said(&user("key sk-abc\"def"), true, &redactor)));
        let told = event(said(&call, false, &redactor));
        assert!(!String::from_utf8_lossy(&told.item).contains("abc"), "{told:?}");
        kept.see(&told);
        let conversation = kept.conversation(String::new()).unwrap();
        assert_eq!(conversation.items.len(), 3);
        assert_eq!(conversation.items[0], user("key [redacted]"));
        assert!(conversation.unanswered().is_empty());
    }
}
