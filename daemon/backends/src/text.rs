//! Bounded pieces of text: what an agent prints may have any size, what a journal
//! shows of it may not.

use std::collections::VecDeque;

/// Longest message or reasoning text of one event.
pub(crate) const MAX_TEXT: usize = 1 << 20;
/// Longest command output, tool result or unread event that is shown.
pub(crate) const MAX_OUTPUT: usize = 64 << 10;
/// Longest identifier, name or one-line message.
pub(crate) const MAX_LINE: usize = 4 << 10;

/// The text itself, or its beginning and its end with a note between them. The
/// note comes on top of `max`.
pub(crate) fn clip(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let head = text.floor_char_boundary(max / 2);
    let tail = text.ceil_char_boundary(text.len() - max / 2);
    format!("{}{}{}", &text[..head], note(tail - head), &text[tail..])
}

fn note(bytes: usize) -> String {
    format!("\n[... {bytes} bytes left out ...]\n")
}

/// Collects a stream of any length in bounded memory: its beginning and its end.
#[derive(Debug)]
pub(crate) struct Excerpt {
    half: usize,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
}

impl Excerpt {
    pub(crate) fn new(max: usize) -> Self {
        Self { half: max / 2, head: Vec::new(), tail: VecDeque::new(), total: 0 }
    }

    pub(crate) fn push(&mut self, data: &[u8]) {
        self.total += data.len() as u64;
        let (head, rest) = data.split_at(data.len().min(self.half - self.head.len()));
        self.head.extend_from_slice(head);
        let rest = &rest[rest.len().saturating_sub(self.half)..];
        let excess = (self.tail.len() + rest.len()).saturating_sub(self.half);
        self.tail.drain(..excess);
        self.tail.extend(rest);
    }

    /// What was collected, as text; bytes that are none are replaced.
    pub(crate) fn text(&self) -> String {
        let kept = (self.head.len() + self.tail.len()) as u64;
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        if self.total == kept {
            return String::from_utf8_lossy(&[self.head.as_slice(), &tail].concat()).into_owned();
        }
        let left_out = usize::try_from(self.total - kept).unwrap_or(usize::MAX);
        format!("{}{}{}", String::from_utf8_lossy(&self.head), note(left_out), String::from_utf8_lossy(&tail))
    }

    /// The last non-empty lines, at most so many bytes.
    pub(crate) fn last_words(&self, max: usize) -> String {
        let text = self.text();
        let text = text.trim();
        text[text.ceil_char_boundary(text.len().saturating_sub(max))..].trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_long_text_keeps_both_ends_and_says_what_is_missing() {
        let clipped = clip(&format!("begin{}end", "ä".repeat(100_000)), 1000);
        assert!(clipped.starts_with("begin") && clipped.ends_with("end"));
        assert!(clipped.contains("bytes left out"));
        assert!(clipped.len() < 1100);
    }

    proptest! {
        #[test]
        fn an_excerpt_does_not_depend_on_how_it_was_cut(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20),
            max in 2usize..64,
        ) {
            let (mut cut, mut whole) = (Excerpt::new(max), Excerpt::new(max));
            for piece in &pieces { cut.push(piece); }
            whole.push(&pieces.concat());
            prop_assert_eq!(cut.text(), whole.text());
            prop_assert!(cut.head.len() + cut.tail.len() <= max);
        }

        #[test]
        fn clipping_never_panics(text in "\\PC{0,60}", max in 0usize..64) {
            prop_assert!(clip(&text, max).len() <= max.max(text.len()) + 40);
        }
    }
}
