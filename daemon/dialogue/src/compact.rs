//! Keeps a conversation within the model's window.

use cordon_backends::api::{Call, Conversation, Item, Part, Tool, Written};
use std::collections::HashSet;

/// Bytes of text that are taken to be one token: less than in any prose, so that the guess is high.
const BYTES: u64 = 3;
/// What a picture or a sound is taken to be.
const MEDIA: u64 = 1500;
/// What of an old result stays.
const LEFT: usize = 400;
/// What of the first task stays word for word.
const TASK: usize = 32 << 10;
/// At least so many of the last things that were said stay as they are.
const LAST: usize = 6;

/// What a model is asked for when what was said does not fit any more.
pub(crate) const ASK: &str = "The conversation has become too long and is cut here. Write what is needed to go on \
     with the task: what was asked for, what was done and found out so far (files, commands, results, decisions), \
     what is left to do. Write it for yourself; call no tool.";

/// About how many tokens these are.
pub(crate) fn tokens_of(items: &[Item]) -> u64 {
    items.iter().map(tokens).fold(0, u64::saturating_add)
}

/// About how many tokens tools and the first words are.
pub(crate) fn tokens_before(system: &str, tools: &[Tool]) -> u64 {
    let tools: usize =
        tools.iter().map(|t| t.name.len() + t.description.len() + t.parameters.to_string().len()).sum();
    (tools as u64 + system.len() as u64) / BYTES
}

fn tokens(item: &Item) -> u64 {
    let text = |len: usize| len as u64 / BYTES + 4;
    let parts = |parts: &[Part]| {
        parts
            .iter()
            .map(|p| match p {
                Part::Text(words) => text(words.len()),
                Part::Media { .. } => MEDIA,
            })
            .fold(0, u64::saturating_add)
    };
    match item {
        Item::User(all) => parts(all),
        Item::Text(words) => text(words.text.len()),
        Item::Reasoning(thoughts) => text(thoughts.text.len()),
        Item::Call(Call { name, arguments, .. }) => {
            let written = match arguments {
                Written::Whole(arguments) => arguments.text().len(),
                Written::Broken(_) => 100,
            };
            text(name.len() + written)
        }
        Item::Result(result) => parts(&result.parts),
        Item::Kept(opaque) => text(opaque.json.to_string().len()),
    }
}

/// Shortens what tools answered long ago; says whether anything became shorter.
pub(crate) fn elide(conversation: &mut Conversation) -> bool {
    let old = conversation.items.len().saturating_sub(LAST);
    let mut shorter = false;
    for item in conversation.items.iter_mut().take(old) {
        let Item::Result(result) = item else { continue };
        for part in &mut result.parts {
            match part {
                Part::Text(text) if text.len() > 2 * LEFT => {
                    let end = (0..=LEFT).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
                    *part = Part::Text(format!("{}\n[… {} bytes, left out]", &text[..end], text.len()));
                    shorter = true;
                }
                Part::Media { mime, .. } => {
                    *part = Part::Text(format!("[{mime}, left out]"));
                    shorter = true;
                }
                Part::Text(_) => {}
            }
        }
    }
    shorter
}

/// Where the end of a conversation begins that can stand alone: no result in it without its call.
/// At most `room` tokens of it, unless the last exchange alone is more.
pub(crate) fn tail(items: &[Item], room: u64) -> usize {
    let mut open: HashSet<&str> = HashSet::new();
    let (mut size, mut best) = (0_u64, items.len());
    for (at, item) in items.iter().enumerate().rev() {
        size = size.saturating_add(tokens(item));
        match item {
            Item::Result(result) => {
                open.insert(&result.id);
            }
            Item::Call(call) => {
                open.remove(call.id.as_str());
            }
            _ => {}
        }
        if size > room && best < items.len() {
            break;
        }
        // What an answer begins with belongs to the calls behind it: thoughts are sealed with them.
        let begins = match (item, at.checked_sub(1).and_then(|before| items.get(before))) {
            (Item::User(_), _) | (_, None) => true,
            (Item::Result(_), _) => false,
            (_, Some(before)) => matches!(before, Item::User(_) | Item::Result(_)),
        };
        if open.is_empty() && begins {
            best = at;
        }
    }
    best
}

/// The conversation that goes on from a summary.
pub(crate) fn shortened(conversation: &Conversation, summary: &str, from: usize) -> Vec<Item> {
    let mut first = String::new();
    if let Some(Item::User(parts)) = conversation.items.first() {
        for part in parts {
            if let Part::Text(text) = part {
                let end = (0..=TASK.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
                first.push_str(&text[..end]);
            }
        }
    }
    let words = format!("{first}\n\n[What was said before is summarised here.]\n{summary}");
    let mut items = vec![Item::User(vec![Part::Text(words)])];
    items.extend(conversation.items.get(from..).unwrap_or_default().iter().cloned());
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_backends::api::{Arguments, CallResult, Reasoning, Text};
    use proptest::prelude::*;

    fn user(text: &str) -> Item {
        Item::User(vec![Part::Text(text.to_owned())])
    }

    fn exchange(n: usize, calls: usize, size: usize) -> Vec<Item> {
        let mut items = vec![Item::Reasoning(Reasoning::default()), Item::Text(Text::default())];
        for call in 0..calls {
            let arguments = Written::Whole(Arguments::none());
            items.push(Item::Call(Call {
                id: format!("{n}-{call}"),
                name: "t".to_owned(),
                arguments,
                opaque: None,
            }));
        }
        for call in 0..calls {
            let parts = vec![Part::Text("x".repeat(size))];
            items.push(Item::Result(CallResult {
                id: format!("{n}-{call}"),
                name: "t".to_owned(),
                parts,
                failed: false,
            }));
        }
        items
    }

    /// Whether every result has its call before it, and no call is without one.
    fn sound(items: &[Item]) -> bool {
        let mut open = HashSet::new();
        for item in items {
            match item {
                Item::Call(call) => {
                    open.insert(call.id.clone());
                }
                Item::Result(result) if !open.remove(&result.id) => return false,
                _ => {}
            }
        }
        open.is_empty()
    }

    proptest! {
        #[test]
        fn what_is_left_is_sound_and_ends_as_before(
            exchanges in prop::collection::vec((0usize..4, 0usize..4000), 1..12),
            room in 0u64..20_000,
        ) {
            let mut items = vec![user("the task")];
            for (n, (calls, size)) in exchanges.iter().enumerate() {
                items.extend(exchange(n, *calls, *size));
            }
            let from = tail(&items, room);
            let conversation = Conversation { system: String::new(), items };
            let short = shortened(&conversation, "summary", from);
            prop_assert!(sound(&short), "{from}");
            prop_assert_eq!(short.last() == conversation.items.last(), from < conversation.items.len());
            let Item::User(parts) = &short[0] else { panic!() };
            let Part::Text(text) = &parts[0] else { panic!() };
            prop_assert!(text.starts_with("the task") && text.ends_with("summary"));
            let mut elided = conversation.clone();
            elide(&mut elided);
            prop_assert!(sound(&elided.items));
            prop_assert!(tokens_of(&elided.items) <= tokens_of(&conversation.items) + 100 * exchanges.len() as u64);
        }
    }

    #[test]
    fn old_results_become_short_and_the_last_ones_stay() {
        let mut items = vec![user("task")];
        items.extend(exchange(0, 2, 5000));
        items.extend(exchange(1, 2, 5000));
        let mut conversation = Conversation { system: String::new(), items };
        let before = conversation.clone();
        assert!(elide(&mut conversation));
        let end = before.items.len() - LAST;
        assert_eq!(conversation.items[end..], before.items[end..]);
        assert!(tokens_of(&conversation.items[..end]) * 4 < tokens_of(&before.items[..end]));
        assert!(!elide(&mut conversation), "once is enough");
    }
}
