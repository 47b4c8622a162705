//! Cuts a byte stream into lines of any length in bounded memory.

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    Whole(&'a [u8]),
    /// Too long to keep: its beginning and how long it was.
    TooLong {
        head: &'a [u8],
        length: u64,
    },
}

/// A line up to here is kept whole.
pub(crate) const LONGEST: usize = 16 << 20;
/// So much is kept of a longer one.
pub(crate) const HEAD: usize = crate::text::MAX_OUTPUT;

#[derive(Debug)]
pub(crate) struct Lines {
    longest: usize,
    head: usize,
    kept: Vec<u8>,
    length: u64,
}

impl Lines {
    pub(crate) fn new() -> Self {
        Self::with_limits(LONGEST, HEAD)
    }

    pub(crate) fn with_limits(longest: usize, head: usize) -> Self {
        Self { longest, head: head.min(longest), kept: Vec::new(), length: 0 }
    }

    /// Takes the next piece; every line that it completes goes to `each`.
    pub(crate) fn push(&mut self, mut data: &[u8], mut each: impl FnMut(Line<'_>)) {
        while let Some(end) = data.iter().position(|b| *b == b'\n') {
            if self.length == 0 && end <= self.longest {
                each(whole(&data[..end]));
            } else {
                self.keep(&data[..end]);
                self.end(&mut each);
            }
            data = &data[end + 1..];
        }
        self.keep(data);
    }

    /// The stream has ended: a last line without an end counts.
    pub(crate) fn finish(&mut self, mut each: impl FnMut(Line<'_>)) {
        if self.length > 0 {
            self.end(&mut each);
        }
    }

    fn keep(&mut self, data: &[u8]) {
        let before = self.length;
        self.length += data.len() as u64;
        if self.length <= self.longest as u64 {
            self.kept.extend_from_slice(data);
            return;
        }
        // What was kept of it so far is more than its head, or all of it.
        let missing = self.head.saturating_sub(usize::try_from(before).unwrap_or(usize::MAX));
        self.kept.extend_from_slice(&data[..missing.min(data.len())]);
        if self.kept.len() > self.head {
            self.kept.truncate(self.head);
            self.kept.shrink_to_fit();
        }
    }

    fn end(&mut self, each: &mut impl FnMut(Line<'_>)) {
        if self.length <= self.longest as u64 {
            each(whole(&self.kept));
        } else {
            each(Line::TooLong { head: &self.kept, length: self.length });
        }
        self.length = 0;
        self.kept.clear();
        self.kept.shrink_to(self.head);
    }
}

fn whole(line: &[u8]) -> Line<'_> {
    Line::Whole(line.strip_suffix(b"\r").unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(pieces: &[Vec<u8>], longest: usize, head: usize) -> Vec<(Vec<u8>, u64)> {
        let mut out = Vec::new();
        let mut each = |line: Line<'_>| match line {
            Line::Whole(l) => out.push((l.to_vec(), 0)),
            Line::TooLong { head, length } => out.push((head.to_vec(), length)),
        };
        let mut lines = Lines::with_limits(longest, head);
        for piece in pieces {
            lines.push(piece, &mut each);
            assert!(lines.kept.len() <= longest);
        }
        lines.finish(&mut each);
        out
    }

    #[test]
    fn a_line_beyond_the_limit_costs_only_its_head() {
        let mut lines = Lines::new();
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..100 {
            lines.push(&piece, |_| panic!("no line has ended yet"));
        }
        assert!(lines.kept.capacity() <= 2 * LONGEST);
        let mut seen = Vec::new();
        lines.push(b"\nnext\n", |line| match line {
            Line::TooLong { head, length } => seen.push((head.len(), length)),
            Line::Whole(l) => seen.push((l.len(), 0)),
        });
        assert_eq!(seen, [(HEAD, 100 << 20), (4, 0)]);
        assert!(lines.kept.capacity() <= HEAD);
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_the_stream_was_cut(
            pieces in proptest::collection::vec(
                proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..12), 0..20),
            longest in 1usize..20,
            head in 0usize..20,
        ) {
            prop_assert_eq!(cut(&pieces, longest, head), cut(&[pieces.concat()], longest, head));
        }

        #[test]
        fn nothing_is_lost_below_the_limit(text in proptest::collection::vec("[a-z]{0,8}", 1..10)) {
            let mut stream = text.join("\n").into_bytes();
            stream.push(b'\n');
            let lines: Vec<_> = cut(&[stream], 100, 10).into_iter().map(|(l, _)| l).collect();
            prop_assert_eq!(lines, text.iter().map(|t| t.clone().into_bytes()).collect::<Vec<_>>());
        }
    }
}
