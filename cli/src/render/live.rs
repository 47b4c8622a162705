//! A message that arrives in pieces, shown while it does. The whole message follows: what of it was
//! shown is not shown again.

use crate::neutral;

/// Bytes of one message that are followed; what comes later waits for the whole.
const LONGEST: usize = 1 << 20;

/// The message that one agent says now.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// Everything that arrived.
    raw: String,
    /// The line that is not complete, neutral.
    line: String,
    /// Carriage returns at the end: the last one is dropped where a newline follows it.
    carriages: usize,
}

impl Live {
    /// Takes a piece; gives back what will not change any more: lines, and what a line is longer
    /// than the room for it.
    pub(super) fn push(&mut self, piece: &str, cut: impl Fn(&str) -> Vec<String>) -> Vec<String> {
        if self.raw.len() + piece.len() > LONGEST {
            return Vec::new();
        }
        self.raw.push_str(piece);
        self.show(piece, cut)
    }

    fn show(&mut self, piece: &str, cut: impl Fn(&str) -> Vec<String>) -> Vec<String> {
        let mut text = "\r".repeat(std::mem::take(&mut self.carriages));
        text.push_str(piece);
        self.carriages = text.len() - text.trim_end_matches('\r').len();
        text.truncate(text.len() - self.carriages);
        let text = neutral::text(text.as_bytes());
        let mut done = Vec::new();
        for (index, part) in text.split('\n').enumerate() {
            if index > 0 {
                done.push(std::mem::take(&mut self.line));
            }
            self.line.push_str(part);
            let mut pieces = cut(&self.line);
            if let Some(last) = pieces.pop()
                && !pieces.is_empty()
            {
                done.append(&mut pieces);
                self.line = last;
            }
        }
        done
    }

    /// What is shown of a message that is there in whole: none, when nothing was shown before.
    /// Where the pieces were not of this message it is told from its beginning.
    pub(super) fn whole(mut self, message: &str) -> (Vec<String>, bool) {
        match message.strip_prefix(self.raw.as_str()) {
            Some(rest) if !self.raw.is_empty() => {
                let mut lines = self.show(rest, |line| vec![line.to_owned()]);
                lines.extend(self.end());
                (lines, true)
            }
            _ => (self.end().into_iter().collect(), false),
        }
    }

    /// The last line, when nothing follows.
    pub(super) fn end(&mut self) -> Option<String> {
        self.raw.clear();
        self.line += &"\\r".repeat(std::mem::take(&mut self.carriages));
        Some(std::mem::take(&mut self.line)).filter(|line| !line.is_empty())
    }

    /// The line that grows.
    pub(super) fn line(&self) -> Option<&str> {
        Some(self.line.as_str()).filter(|line| !line.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::wrap;
    use proptest::prelude::*;

    fn told(pieces: &[&str], message: &str) -> Vec<String> {
        let mut live = Live::default();
        let mut lines: Vec<_> = pieces.iter().flat_map(|p| live.push(p, |l| wrap(l, 20))).collect();
        let (rest, known) = live.whole(message);
        lines.extend(rest);
        if !known {
            lines.push(message.to_owned());
        }
        lines
    }

    #[test]
    fn what_was_shown_is_not_shown_again() {
        assert_eq!(told(&["Hel", "lo\r", "\nwor"], "Hello\r\nworld"), ["Hello", "world"]);
        assert_eq!(told(&["a\x1b", "[2Jb"], "a\x1b[2Jb"), ["a\\x1b[2Jb"]);
        assert_eq!(told(&[], "whole"), ["whole"]);
        // Pieces of an answer that broke off.
        assert_eq!(told(&["Once upon"], "Twice"), ["Once upon", "Twice"]);
        assert_eq!(
            told(&["one two three four five"], "one two three four five"),
            ["one two three four ", "five"]
        );
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(pieces in proptest::collection::vec("[a-z \n\r€]{0,30}", 0..12)) {
            let whole = pieces.concat();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let shown = told(&pieces, &whole).concat();
            let expected = neutral::text(whole.as_bytes()).replace('\n', "");
            // A carriage return at the very end is told as one.
            prop_assert_eq!(shown.trim_end_matches("\\r"), expected.trim_end_matches("\\r"));
        }
    }
}
