//! What a conversation may hold. Windows are counted in tokens by the model's own server, and
//! results come from servers that an agent can change: neither may fill the daemon.

use crate::toolbox::Came;
use cordon_backends::api::{Item, Opaque, Part, Written};
use serde_json::Value;

/// Bytes of a conversation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// With more it is made shorter, whatever its server counts.
    pub(crate) most: usize,
    /// With more, results are left out.
    pub(crate) full: usize,
}

pub(crate) const ROOM: Room = Room { most: 64 << 20, full: 96 << 20 };

/// Text of one result that may stay in pieces.
const TEXT: usize = 64 << 10;
/// Pieces of one result.
const PIECES: usize = 100;
/// Pictures and sounds of one result: what a file of 16 MB takes.
pub(crate) const MEDIA: usize = 24 << 20;
/// What a value or a piece takes beside its text, roughly.
const VALUE: usize = 64;

/// Roughly what these take, in bytes.
pub(crate) fn bytes_of<'a>(items: impl IntoIterator<Item = &'a Item>) -> usize {
    items.into_iter().map(bytes).fold(0, usize::saturating_add)
}

fn bytes(item: &Item) -> usize {
    let sealed = |opaque: &Option<Opaque>| opaque.as_ref().map_or(0, |o| weight(&o.json));
    VALUE
        + match item {
            Item::User(parts) => bytes_of_parts(parts),
            Item::Text(text) => text.text.len() + sealed(&text.opaque),
            Item::Reasoning(thoughts) => thoughts.text.len() + sealed(&thoughts.opaque),
            Item::Call(call) => {
                let written = match &call.arguments {
                    // As text, and as what it says.
                    Written::Whole(arguments) => {
                        arguments.text().len() + arguments.object().values().map(weight).sum::<usize>()
                    }
                    Written::Broken(broken) => broken.why.len() + broken.wrote.len(),
                };
                call.id.len() + call.name.len() + written + sealed(&call.opaque)
            }
            Item::Result(result) => result.id.len() + result.name.len() + bytes_of_parts(&result.parts),
            Item::Kept(opaque) => weight(&opaque.json),
        }
}

pub(crate) fn bytes_of_parts(parts: &[Part]) -> usize {
    let part = |part: &Part| match part {
        Part::Text(text) => VALUE + text.len(),
        Part::Media { mime, data } => VALUE + mime.len() + data.len(),
    };
    parts.iter().map(part).sum()
}

fn weight(value: &Value) -> usize {
    VALUE
        + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(weight).sum(),
            Value::Object(members) => members.iter().map(|(name, v)| name.len() + weight(v)).sum(),
            _ => 0,
        }
}

/// A result as one piece of text where its pieces are many or long, and with no more pictures and
/// sounds than there is room for.
pub(crate) fn gathered(mut came: Came) -> Came {
    let texts = || came.parts.iter().filter_map(|p| if let Part::Text(text) = p { Some(text) } else { None });
    let joins = texts().map(String::len).sum::<usize>() > TEXT || came.parts.len() > PIECES;
    let mut parts: Vec<Part> = Vec::new();
    let (mut whole, mut left, mut media) = (None, MEDIA, 0);
    for part in std::mem::take(&mut came.parts) {
        let part = match part {
            Part::Media { mime, data } if data.len() > left || media == PIECES => {
                let mime: String = mime.chars().filter(|c| !c.is_control()).take(100).collect();
                Part::Text(format!("[{mime} of {} bytes, left out: it is too large]", data.len()))
            }
            Part::Media { mime, data } => {
                (left, media) = (left - data.len(), media + 1);
                Part::Media { mime, data }
            }
            text => text,
        };
        match (part, whole.and_then(|at: usize| parts.get_mut(at))) {
            (Part::Text(more), Some(Part::Text(text))) if joins => {
                text.push('\n');
                text.push_str(&more);
            }
            (part, _) => {
                if matches!(part, Part::Text(_)) {
                    whole.get_or_insert(parts.len());
                }
                parts.push(part);
            }
        }
    }
    came.parts = parts;
    came
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_backends::api::{Origin, Protocol};
    use proptest::prelude::*;

    fn came(parts: Vec<Part>) -> Came {
        Came { parts, ..Came::default() }
    }

    fn text(words: &str) -> Part {
        Part::Text(words.to_owned())
    }

    fn media(size: usize) -> Part {
        Part::Media { mime: "image/\u{1b}png".to_owned(), data: "A".repeat(size) }
    }

    #[test]
    fn many_pieces_are_one_and_few_stay() {
        let few = came(vec![text("a"), media(9), text("b")]);
        assert_eq!(gathered(few.clone()), few);
        let long = gathered(came(vec![text(&"x".repeat(TEXT)), media(9), text("b"), text("c")]));
        assert_eq!(long.parts[0], text(&format!("{}\nb\nc", "x".repeat(TEXT))));
        assert_eq!(long.parts[1..], [media(9)]);
        assert_eq!(gathered(came(vec![text(""); 10_000])).parts.len(), 1);
        let large = gathered(came(vec![media(MEDIA - 1), media(2), media(1)]));
        assert_eq!(large.parts.len(), 3);
        assert_eq!(large.parts[1], text("[image/png of 2 bytes, left out: it is too large]"));
        assert!(gathered(came(vec![media(1); 10_000])).parts.len() <= PIECES + 1);
    }

    #[test]
    fn values_are_not_small() {
        let origin = Origin { protocol: Protocol::Chat, provider: String::new(), model: String::new() };
        let json = Value::from(vec![Value::Array(Vec::new()); 1000]);
        assert!(bytes_of([&Item::Kept(Opaque { origin, json })]) > 1000 * VALUE);
    }

    proptest! {
        #[test]
        fn whatever_comes_stays_within_its_bounds(
            parts in prop::collection::vec((any::<bool>(), 0usize..300), 0..300),
        ) {
            let given: Vec<Part> =
                parts.iter().map(|(is_text, size)| if *is_text { text(&"x".repeat(*size)) } else { media(*size) }).collect();
            let words: usize = parts.iter().filter(|(is_text, _)| *is_text).map(|(_, size)| size).sum();
            let after = gathered(came(given)).parts;
            let told: usize = after.iter().map(|p| if let Part::Text(text) = p { text.matches('x').count() } else { 0 }).sum();
            prop_assert_eq!(told, words);
            prop_assert!(after.len() <= PIECES + 1);
        }
    }
}
