//! JSON with something very long in it, as it comes: what is long is decoded, and the rest is kept
//! as small JSON.

use super::base64::Decoder;

/// So much of the rest is kept.
const REST: usize = 1 << 20;
/// Longest name of a member that is looked for, and longest beginning of a data URI.
const WORD: usize = 128;

/// What is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// More bytes than are allowed.
    TooMuch,
    /// More of the rest than anybody needs.
    Rest,
}

/// What stood where something long was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Blob {
    /// Bytes.
    Bytes(Vec<u8>),
    /// No base64.
    Bad,
}

#[derive(Debug)]
enum State {
    Outside,
    /// In a text that is kept.
    Text {
        escaped: bool,
    },
    /// In a text that is kept by nobody.
    Skipped {
        escaped: bool,
    },
    /// In what is decoded.
    Long(Long),
}

#[derive(Debug, Default)]
struct Long {
    decoder: Decoder,
    bytes: Vec<u8>,
    /// `data:image/png;base64,` as far as it came; none: it is over, or there is none.
    head: Option<Vec<u8>>,
    bad: bool,
    escape: Option<Vec<u8>>,
}

/// The texts of some members are bytes in base64, which are decoded; in the rest the number of
/// each stands in its place.
#[derive(Debug)]
pub(super) struct Sift {
    /// Members whose texts are decoded.
    long: &'static [&'static str],
    /// Members whose texts nobody needs.
    skip: &'static [&'static str],
    /// Bytes of all that is decoded together.
    most: usize,
    state: State,
    rest: Vec<u8>,
    /// The text that came last, without escapes.
    word: Option<Vec<u8>>,
    /// The member whose value comes.
    key: Option<Vec<u8>>,
    decoded: usize,
    blobs: Vec<Blob>,
}

impl Sift {
    pub(super) fn new(long: &'static [&'static str], skip: &'static [&'static str], most: usize) -> Self {
        Self {
            long,
            skip,
            most,
            state: State::Outside,
            rest: Vec::new(),
            word: None,
            key: None,
            decoded: 0,
            blobs: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        for byte in bytes {
            self.byte(*byte)?;
        }
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if self.rest.len() + bytes.len() > REST {
            return Err(Fault::Rest);
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }

    fn byte(&mut self, byte: u8) -> Result<(), Fault> {
        match &mut self.state {
            State::Outside => self.outside(byte),
            State::Text { escaped } => {
                let (was, ends) = (*escaped, byte == b'"' && !*escaped);
                *escaped = byte == b'\\' && !was;
                if ends {
                    self.state = State::Outside;
                } else if was || byte == b'\\' {
                    // No name that is looked for has an escape in it.
                    self.word = None;
                } else if let Some(word) = &mut self.word {
                    word.push(byte);
                    if word.len() > WORD {
                        self.word = None;
                    }
                }
                self.keep(&[byte])
            }
            State::Skipped { escaped } => {
                let (was, ends) = (*escaped, byte == b'"' && !*escaped);
                *escaped = byte == b'\\' && !was;
                if ends {
                    self.state = State::Outside;
                    return self.keep(b"null");
                }
                Ok(())
            }
            State::Long(long) => {
                if !long.byte(byte) {
                    // Of several that are there each takes of the same room.
                    if self.decoded + long.bytes.len() > self.most {
                        return Err(Fault::TooMuch);
                    }
                    return Ok(());
                }
                let State::Long(long) = std::mem::replace(&mut self.state, State::Outside) else {
                    return Ok(());
                };
                let number = self.blobs.len().to_string();
                let blob = long.finish();
                if let Blob::Bytes(bytes) = &blob {
                    self.decoded += bytes.len();
                }
                if self.decoded > self.most {
                    return Err(Fault::TooMuch);
                }
                self.blobs.push(blob);
                self.keep(number.as_bytes())
            }
        }
    }

    fn outside(&mut self, byte: u8) -> Result<(), Fault> {
        let named = |names: &[&str], key: &Option<Vec<u8>>| {
            key.as_deref().is_some_and(|key| names.iter().any(|name| name.as_bytes() == key))
        };
        match byte {
            b'"' if named(self.long, &self.key) => {
                self.key = None;
                self.state = State::Long(Long { head: Some(Vec::new()), ..Long::default() });
                return Ok(());
            }
            b'"' if named(self.skip, &self.key) => {
                self.key = None;
                self.state = State::Skipped { escaped: false };
                return Ok(());
            }
            b'"' => {
                self.key = None;
                self.word = Some(Vec::new());
                self.state = State::Text { escaped: false };
            }
            b':' => self.key = self.word.take(),
            // Between two tokens any amount of it says nothing.
            b' ' | b'\t' | b'\r' | b'\n' => {
                return if self.rest.last() == Some(&b' ') { Ok(()) } else { self.keep(b" ") };
            }
            _ => {
                self.key = None;
                self.word = None;
            }
        }
        self.keep(&[byte])
    }

    /// The rest, and what was decoded, in order; the rest is no JSON when it ended too early.
    pub(super) fn finish(self) -> (Vec<u8>, Vec<Blob>) {
        (self.rest, self.blobs)
    }
}

impl Long {
    /// Whether it is over.
    fn byte(&mut self, byte: u8) -> bool {
        if let Some(escape) = &mut self.escape {
            escape.push(byte);
            let unicode = escape.first() == Some(&b'u');
            if unicode && escape.len() < 5 {
                return false;
            }
            let letter = if unicode { hex(&escape[1..]) } else { short(byte) };
            self.escape = None;
            match letter {
                Some(letter) => self.letter(letter),
                None => self.bad = true,
            }
            return false;
        }
        match byte {
            b'"' => return true,
            b'\\' => self.escape = Some(Vec::new()),
            _ => self.letter(byte),
        }
        false
    }

    fn letter(&mut self, letter: u8) {
        // Lines of a mail.
        if self.bad || matches!(letter, b'\r' | b'\n') {
            return;
        }
        if let Some(head) = &mut self.head {
            head.push(letter);
            let uri = b"data:";
            let begins = head.starts_with(&uri[..head.len().min(uri.len())]);
            if begins && letter != b',' && head.len() <= WORD {
                return;
            }
            let head = self.head.take().unwrap_or_default();
            if begins && letter == b',' && head.ends_with(b";base64,") {
                return;
            }
            // It was no beginning of a URI.
            head.into_iter().for_each(|letter| self.decode(letter));
            return;
        }
        self.decode(letter);
    }

    fn decode(&mut self, letter: u8) {
        if !self.bad && self.decoder.push(letter, &mut self.bytes).is_err() {
            self.bad = true;
            self.bytes = Vec::new();
        }
    }

    fn finish(mut self) -> Blob {
        // All of it was shorter than the beginning of a URI.
        let head = self.head.take().unwrap_or_default();
        head.into_iter().for_each(|letter| self.decode(letter));
        if self.bad || self.decoder.finish(&mut self.bytes).is_err() {
            return Blob::Bad;
        }
        Blob::Bytes(self.bytes)
    }
}

fn short(letter: u8) -> Option<u8> {
    match letter {
        b'/' => Some(b'/'),
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        _ => None,
    }
}

fn hex(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok()?;
    let plain = text.bytes().all(|b| b.is_ascii_hexdigit());
    u8::from_str_radix(text.strip_prefix("00").filter(|_| plain)?, 16).ok()
}

#[cfg(test)]
#[path = "sift_tests.rs"]
mod tests;
