//! Foreign text that arrives in pieces, made harmless on its way.

use crate::neutral::{self, is_hidden};
use std::{fmt::Write as _, io};

const RESET: &str = "\x1b[0m";
/// The colours that a difference may have. None of them hides anything.
const COLOURS: [&str; 7] = [RESET, "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[36m"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Coloured,
    Json,
}

/// Neutralises a stream that is cut anywhere.
#[derive(Debug)]
pub(crate) struct Filter {
    form: Form,
    /// What may yet become something else with what follows.
    held: Vec<u8>,
    /// A colour was begun and not ended.
    open: bool,
}

impl Filter {
    fn new(form: Form) -> Self {
        Self { form, held: Vec::new(), open: false }
    }

    /// Lines.
    pub(crate) fn text() -> Self {
        Self::new(Form::Text)
    }

    /// Lines, of which some colours stay.
    pub(crate) fn coloured() -> Self {
        Self::new(Form::Coloured)
    }

    /// JSON: what a terminal obeys or hides becomes an escape that means the same.
    pub(crate) fn json() -> Self {
        Self::new(Form::Json)
    }

    pub(crate) fn push(&mut self, data: &[u8]) -> String {
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(data);
        let held = match self.form {
            Form::Json => neutral::incomplete_tail(&bytes),
            // A carriage return may yet become a plain line ending.
            _ if bytes.ends_with(b"\r") => 1,
            Form::Coloured if incomplete_colour(&bytes) > 0 => incomplete_colour(&bytes),
            _ => neutral::incomplete_tail(&bytes),
        };
        self.held = bytes.split_off(bytes.len() - held);
        self.shown(&bytes)
    }

    pub(crate) fn finish(&mut self) -> String {
        let rest = std::mem::take(&mut self.held);
        // Not the last piece of a line ending any more: shown.
        let mut out = if rest == b"\r" { "\\r".to_owned() } else { self.shown(&rest) };
        if std::mem::take(&mut self.open) {
            out.push_str(RESET);
        }
        out
    }

    fn shown(&mut self, bytes: &[u8]) -> String {
        match self.form {
            Form::Text => neutral::text(bytes),
            Form::Coloured => self.coloured_text(bytes),
            Form::Json => json(bytes),
        }
    }

    fn coloured_text(&mut self, mut bytes: &[u8]) -> String {
        let mut out = String::with_capacity(bytes.len());
        while let Some(at) = bytes.iter().position(|b| *b == b'\x1b') {
            let (before, rest) = bytes.split_at(at);
            // Before an escape sequence it ends no line.
            let plain = before.strip_suffix(b"\r").unwrap_or(before);
            out += &neutral::text(plain);
            if plain.len() < before.len() {
                out += "\\r";
            }
            let colour = COLOURS.iter().find(|c| rest.starts_with(c.as_bytes()));
            if let Some(colour) = colour {
                out += colour;
                self.open = *colour != RESET;
            } else {
                out += &neutral::text(&rest[..1]);
            }
            bytes = &rest[colour.map_or(1, |c| c.len())..];
        }
        out + &neutral::text(bytes)
    }
}

/// How many bytes at the end begin a colour whose rest has not arrived.
fn incomplete_colour(bytes: &[u8]) -> usize {
    let Some(at) = bytes.iter().rposition(|b| *b == b'\x1b') else { return 0 };
    let rest = &bytes[at..];
    let begins = |c: &&str| c.len() > rest.len() && c.as_bytes().starts_with(rest);
    if COLOURS.iter().any(begins) { rest.len() } else { 0 }
}

fn json(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' | '\t' => out.push(c),
                '\r' => out.push(' '),
                c if is_hidden(c) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let _ = write!(out, "\\u{unit:04x}");
                    }
                }
                c => out.push(c),
            }
        }
        if !chunk.invalid().is_empty() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }
    out
}

/// Prints bytes exactly, or through a filter.
pub(crate) struct Printer<W> {
    out: W,
    filter: Option<Filter>,
}

impl<W: io::Write> Printer<W> {
    pub(crate) fn new(out: W, filter: Option<Filter>) -> Self {
        Self { out, filter }
    }

    pub(crate) fn print(&mut self, data: &[u8]) -> io::Result<()> {
        match &mut self.filter {
            Some(filter) => self.out.write_all(filter.push(data).as_bytes())?,
            None => self.out.write_all(data)?,
        }
        self.out.flush()
    }

    pub(crate) fn finish(&mut self) -> io::Result<()> {
        if let Some(filter) = &mut self.filter {
            self.out.write_all(filter.finish().as_bytes())?;
        }
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn printed(filter: Option<Filter>, pieces: &[&[u8]]) -> Vec<u8> {
        let mut printer = Printer::new(Vec::new(), filter);
        for piece in pieces {
            printer.print(piece).unwrap();
        }
        printer.finish().unwrap();
        printer.out
    }

    fn coloured(pieces: &[&[u8]]) -> String {
        String::from_utf8(printed(Some(Filter::coloured()), pieces)).unwrap()
    }

    #[test]
    fn a_pipe_gets_every_byte_and_a_terminal_nothing_to_obey() {
        let pieces: [&[u8]; 5] = [b"a\x1b[2J\xe2", b"\x82\xac", b"b\r", b"\nc\r", b"d\xff"];
        assert_eq!(printed(None, &pieces), pieces.concat());
        assert_eq!(printed(Some(Filter::text()), &pieces), "a\\x1b[2J€b\nc\\rd\\xff".as_bytes());
        assert_eq!(printed(Some(Filter::text()), &[b"\r"]), b"\\r");
    }

    #[test]
    fn only_colours_that_hide_nothing_stay() {
        let text = b"\x1b[32m+a\x1b[0m\n\x1b[8mhidden\x1b[2J\x1b[30;40m\x1b]0;t\x07\x1b[1mb";
        let expected = "\x1b[32m+a\x1b[0m\n\\x1b[8mhidden\\x1b[2J\\x1b[30;40m\\x1b]0;t\\x07\x1b[1mb\x1b[0m";
        assert_eq!(coloured(&[text]), expected);
        for cut in 0..text.len() {
            assert_eq!(coloured(&[&text[..cut], &text[cut..]]), expected, "{cut}");
        }
        assert_eq!(coloured(&[b"a\r\x1b[0m\n"]), "a\\r\x1b[0m\n");
        assert_eq!(coloured(&[b"a\x1b[3"]), "a\\x1b[3");
    }

    proptest! {
        #[test]
        fn whatever_comes_and_however_it_is_cut_it_is_harmless(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..6),
        ) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            for filter in [Filter::text(), Filter::json(), Filter::coloured()] {
                let mut shown = String::from_utf8(printed(Some(filter), &pieces)).unwrap();
                for colour in COLOURS {
                    shown = shown.replace(colour, "");
                }
                prop_assert!(!shown.chars().any(|c| is_hidden(c) && c != '\n' && c != '\t'), "{shown:?}");
            }
        }

        #[test]
        fn json_means_the_same(text in any::<String>(), at in any::<prop::sample::Index>()) {
            let document = serde_json::json!({ "text": text }).to_string();
            let at = at.index(document.len() + 1);
            let (one, two) = document.as_bytes().split_at(at);
            let shown = printed(Some(Filter::json()), &[one, two]);
            let read: serde_json::Value = serde_json::from_slice(&shown).unwrap();
            prop_assert_eq!(&read["text"], &serde_json::Value::from(text));
        }
    }
}
