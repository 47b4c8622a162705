//! What a model gets to see of an endless stream: its beginning and its end.

use std::collections::VecDeque;

/// The head and the tail of a stream, in bounded memory.
#[derive(Debug, Default)]
pub(crate) struct Capture {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    head_limit: usize,
    tail_limit: usize,
    total: u64,
}

impl Capture {
    /// Keeps this many bytes of both ends.
    pub(crate) fn new(head_limit: usize, tail_limit: usize) -> Self {
        Self { head_limit, tail_limit, ..Self::default() }
    }

    /// Takes the next bytes of the stream.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.total = self.total.saturating_add(bytes.len() as u64);
        let room = self.head_limit.saturating_sub(self.head.len()).min(bytes.len());
        let (first, rest) = bytes.split_at(room);
        self.head.extend_from_slice(first);
        // Only the last of it can stay.
        let rest = &rest[rest.len().saturating_sub(self.tail_limit)..];
        let over = (self.tail.len() + rest.len()).saturating_sub(self.tail_limit);
        self.tail.drain(..over.min(self.tail.len()));
        self.tail.extend(rest);
    }

    /// How many bytes there were.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// What is kept, as text; a part of both ends where it is much.
    pub(crate) fn glimpse(&self, limit: usize) -> String {
        let head = &self.head[..self.head.len().min(limit)];
        let tail: Vec<u8> = self.tail.iter().skip(self.tail.len().saturating_sub(limit)).copied().collect();
        let between: &[u8] = if head.len() + tail.len() == self.kept() { b"" } else { b"\n" };
        String::from_utf8_lossy(&[head, between, &tail].concat()).into_owned()
    }

    fn kept(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// Both ends; where nothing was lost between them, all is in the first.
    pub(crate) fn parts(mut self) -> (Vec<u8>, Vec<u8>) {
        if self.kept() as u64 == self.total {
            self.head.extend(self.tail);
            return (self.head, Vec::new());
        }
        (self.head, self.tail.into())
    }
}

/// Text that is shown of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) text: String,
    /// How many bytes the stream had.
    pub(crate) bytes: u64,
    /// How many of them are not in the text.
    pub(crate) cut: u64,
    /// Some were no UTF-8 and are replaced.
    pub(crate) lossy: bool,
}

/// How long a character is in a JSON string: that is how it travels.
fn cost(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        c if c < ' ' => 6,
        c => c.len_utf8(),
    }
}

/// How long a text is in a JSON string.
pub(crate) fn encoded(text: &str) -> usize {
    text.chars().map(cost).sum()
}

/// The longest beginning of bytes whose text costs at most `room`: text and bytes used.
pub(crate) fn beginning(bytes: &[u8], room: usize) -> (String, usize, bool) {
    let (mut text, mut used, mut spent, mut lossy) = (String::new(), 0, 0, false);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            spent += cost(c);
            if spent > room {
                return (text, used, lossy);
            }
            text.push(c);
            used += c.len_utf8();
        }
        if !chunk.invalid().is_empty() {
            spent += char::REPLACEMENT_CHARACTER.len_utf8();
            if spent > room {
                return (text, used, lossy);
            }
            text.push(char::REPLACEMENT_CHARACTER);
            used += chunk.invalid().len();
            lossy = true;
        }
    }
    (text, used, lossy)
}

/// The longest end of bytes whose text costs at most `room`.
fn end(bytes: &[u8], room: usize) -> (String, usize, bool) {
    // More bytes than that cannot fit; a character that this splits is left out.
    let from = bytes.len().saturating_sub(room);
    let from = (from..bytes.len()).find(|at| bytes[*at] & 0xc0 != 0x80).unwrap_or(bytes.len());
    let mut pieces: Vec<(char, usize, bool)> = Vec::new();
    for chunk in bytes[from..].utf8_chunks() {
        pieces.extend(chunk.valid().chars().map(|c| (c, c.len_utf8(), false)));
        if !chunk.invalid().is_empty() {
            pieces.push((char::REPLACEMENT_CHARACTER, chunk.invalid().len(), true));
        }
    }
    let mut spent = 0;
    let fits = |(c, ..): &&(char, usize, bool)| {
        spent += cost(*c);
        spent <= room
    };
    let kept = pieces.iter().rev().take_while(fits).count();
    let kept = &pieces[pieces.len() - kept..];
    (
        kept.iter().map(|(c, ..)| *c).collect(),
        kept.iter().map(|(_, n, _)| n).sum(),
        kept.iter().any(|(.., l)| *l),
    )
}

/// What a line that tells of a cut may cost.
const NOTICE: usize = 120;

impl Shown {
    /// Shows both ends of a stream in at most `room` bytes, as JSON counts them.
    pub(crate) fn of(capture: Capture, room: usize) -> Self {
        let bytes = capture.total();
        let (head, tail) = capture.parts();
        if tail.is_empty() && head.len() as u64 == bytes {
            let (text, used, lossy) = beginning(&head, room);
            if used == head.len() {
                return Self { text, bytes, cut: 0, lossy };
            }
        }
        let room = room.saturating_sub(NOTICE);
        let (first, first_used, first_lossy) = beginning(&head, room / 2);
        let rest = if tail.is_empty() { &head[first_used..] } else { &tail[..] };
        let (last, last_used, last_lossy) = end(rest, room - room / 2);
        let cut = bytes.saturating_sub((first_used + last_used) as u64);
        let text = format!("{first}\n[... {cut} of {bytes} bytes cut here ...]\n{last}");
        Self { text, bytes, cut, lossy: first_lossy || last_lossy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    #[test]
    fn control_characters_cost_what_json_makes_of_them() {
        let text = "a\u{1}\n\"\\é\u{fffd}\u{7f}";
        assert_eq!(encoded(text), serde_json::to_string(text).unwrap().len() - 2);
    }

    #[test]
    fn a_split_character_is_not_invented() {
        let mut capture = Capture::new(400, 400);
        capture.push("é".repeat(5000).as_bytes());
        let shown = Shown::of(capture, 600);
        assert!(shown.text.starts_with('é') && shown.text.ends_with('é'), "{}", shown.text);
        assert!(!shown.lossy && shown.cut > 0 && shown.bytes == 10_000);
    }

    proptest! {
        #[test]
        fn both_ends_are_exact(chunks in vec(vec(any::<u8>(), 0..50), 0..40), head in 0..60_usize, tail in 0..60_usize) {
            let all = chunks.concat();
            let mut capture = Capture::new(head, tail);
            for chunk in &chunks {
                capture.push(chunk);
            }
            prop_assert_eq!(capture.total(), all.len() as u64);
            let (first, last) = capture.parts();
            if all.len() <= head + tail {
                prop_assert_eq!(first, all);
            } else {
                prop_assert_eq!(&first[..], &all[..head]);
                prop_assert_eq!(&last[..], &all[all.len() - tail..]);
            }
        }

        #[test]
        fn what_is_shown_fits_and_adds_up(bytes in vec(any::<u8>(), 0..2000), room in 0..3000_usize) {
            let mut capture = Capture::new(300, 300);
            capture.push(&bytes);
            let shown = Shown::of(capture, room);
            prop_assert!(encoded(&shown.text) <= room.max(NOTICE));
            prop_assert_eq!(shown.bytes, bytes.len() as u64);
            prop_assert!(shown.cut <= shown.bytes);
            if shown.cut == 0 && !shown.lossy {
                prop_assert_eq!(shown.text.as_bytes(), &bytes[..]);
            }
        }

        #[test]
        fn text_is_shown_unharmed(text in "[a-z\né\u{1}]{0,300}") {
            let mut capture = Capture::new(1000, 1000);
            capture.push(text.as_bytes());
            let shown = Shown::of(capture, 10_000);
            prop_assert_eq!(shown.text, text);
        }
    }
}
