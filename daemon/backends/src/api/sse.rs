//! Server-sent events, cut anywhere.

use super::ApiError;

type Each<'a> = &'a mut dyn FnMut(&str, &str) -> Result<(), ApiError>;

/// Reads a stream into events of a bounded size.
#[derive(Debug)]
pub(super) struct Sse {
    most: usize,
    line: Vec<u8>,
    name: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    after_cr: bool,
    begun: bool,
}

impl Sse {
    pub(super) fn new(most: usize) -> Self {
        let empty = Vec::new;
        Self {
            most,
            line: empty(),
            name: empty(),
            data: empty(),
            has_data: false,
            after_cr: false,
            begun: false,
        }
    }

    /// The next piece: every event that it completes goes to `each`, name and data.
    pub(super) fn push(&mut self, mut bytes: &[u8], each: Each<'_>) -> Result<(), ApiError> {
        while let Some(end) = memchr::memchr2(b'\n', b'\r', bytes) {
            let second_half = self.after_cr && end == 0 && self.line.is_empty() && bytes[0] == b'\n';
            self.after_cr = bytes[end] == b'\r';
            if self.line.is_empty() && !second_half {
                // Most lines come whole.
                self.check(end)?;
                self.line_of(&bytes[..end], each)?;
            } else if !second_half {
                self.keep(&bytes[..end])?;
                self.end_line(each)?;
            }
            bytes = &bytes[end + 1..];
        }
        if !bytes.is_empty() {
            self.after_cr = false;
        }
        self.keep(bytes)
    }

    /// The stream has ended: a last event without its empty line counts.
    pub(super) fn finish(&mut self, each: Each<'_>) -> Result<(), ApiError> {
        if !self.line.is_empty() {
            self.end_line(each)?;
        }
        self.dispatch(each)
    }

    fn check(&self, more: usize) -> Result<(), ApiError> {
        if self.line.len() + more + self.data.len() > self.most {
            return Err(ApiError::too_much("bytes in one event", self.most));
        }
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), ApiError> {
        self.check(bytes.len())?;
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self, each: Each<'_>) -> Result<(), ApiError> {
        let mut line = std::mem::take(&mut self.line);
        let ended = self.line_of(&line, each);
        // The buffer is used again, unless one long line made it large.
        line.clear();
        line.shrink_to(64 << 10);
        self.line = line;
        ended
    }

    fn line_of(&mut self, mut text: &[u8], each: Each<'_>) -> Result<(), ApiError> {
        if !std::mem::replace(&mut self.begun, true) {
            text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
        }
        if text.is_empty() {
            return self.dispatch(each);
        }
        self.field(text);
        Ok(())
    }

    fn field(&mut self, line: &[u8]) {
        let (field, value) = match memchr::memchr(b':', line) {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.has_data = true;
                self.data.extend_from_slice(value);
            }
            b"event" => {
                self.name.clear();
                self.name.extend_from_slice(&value[..value.len().min(super::limits::NAME)]);
            }
            // Comments, ids, times to reconnect after: nobody here reconnects.
            _ => {}
        }
    }

    fn dispatch(&mut self, each: Each<'_>) -> Result<(), ApiError> {
        if !std::mem::take(&mut self.has_data) {
            self.name.clear();
            return Ok(());
        }
        let mut data = std::mem::take(&mut self.data);
        // Replacing what is no text could make another path of a path.
        let told = match std::str::from_utf8(&data) {
            Ok(data) => each(&String::from_utf8_lossy(&self.name), data),
            Err(_) => Err(ApiError::unreadable("an event that is not UTF-8")),
        };
        self.name.clear();
        data.clear();
        data.shrink_to(64 << 10);
        self.data = data;
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(pieces: &[&[u8]], most: usize) -> Result<Vec<(String, String)>, ApiError> {
        let mut seen = Vec::new();
        let mut sse = Sse::new(most);
        let mut each = |name: &str, data: &str| {
            seen.push((name.to_owned(), data.to_owned()));
            Ok(())
        };
        for piece in pieces {
            sse.push(piece, &mut each)?;
        }
        sse.finish(&mut each)?;
        Ok(seen)
    }

    fn data(pieces: &[&[u8]]) -> Vec<String> {
        read(pieces, 1 << 20).unwrap().into_iter().map(|(_, data)| data).collect()
    }

    #[test]
    fn events_are_read_as_the_standard_says() {
        let stream = "\u{feff}: hello\n\nevent: a\ndata: 1\nid: 7\nretry: 9\n\nevent: none\n\ndata:2\ndata:  3\n\n\
                      nonsense\ndata\n\ndata: last";
        let named = |n: &str, d: &str| (n.to_owned(), d.to_owned());
        assert_eq!(
            read(&[stream.as_bytes()], 1 << 20).unwrap(),
            [named("a", "1"), named("", "2\n 3"), named("", ""), named("", "last")]
        );
    }

    #[test]
    fn all_three_line_ends_are_one() {
        for end in ["\n", "\r\n", "\r"] {
            let stream = format!("data: 1{end}data: 2{end}{end}data: ü{end}{end}");
            assert_eq!(data(&[stream.as_bytes()]), ["1\n2", "ü"], "{end:?}");
        }
        assert_eq!(data(&[b"data: 1\r", b"\ndata: 2\r\n\r", b"\n"]), ["1\n2"]);
    }

    #[test]
    fn what_is_no_text_is_refused() {
        assert!(matches!(read(&[b"data: \xff\n\n"], 100), Err(ApiError::Unreadable { .. })));
        assert_eq!(data(&[b"data: \xc3", b"\xbc\n\n"]), ["ü"]);
    }

    #[test]
    fn an_event_is_bounded_in_one_line_and_in_many() {
        for piece in [&b"data: xxxxxxxxxxxxxxxxxxxxxxxxxxxx"[..], b"data: x\n", b": comment", b"data:\n"] {
            let mut sse = Sse::new(1000);
            let refused = (0..1100).any(|_| sse.push(piece, &mut |_, _| Ok(())).is_err());
            assert!(refused, "{piece:?}");
            assert!(sse.line.capacity() + sse.data.capacity() < 5000);
        }
    }

    proptest! {
        #[test]
        fn events_do_not_depend_on_how_the_stream_was_cut(
            pieces in proptest::collection::vec(proptest::collection::vec(proptest::sample::select(vec![
                &b"\n"[..], b"\r", b"data:", b"event: x", b":", b"a", b"\xc3", b"\xbc", b"\xef\xbb\xbf",
            ]), 0..6).prop_map(|p| p.concat()), 0..12),
            most in 1usize..60,
        ) {
            let cut: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let whole = pieces.concat();
            let bytes: Vec<&[u8]> = whole.chunks(1).collect();
            let read_whole = read(&[&whole], most);
            prop_assert_eq!(&read(&cut, most), &read_whole);
            prop_assert_eq!(&read(&bytes, most), &read_whole);
        }
    }
}
