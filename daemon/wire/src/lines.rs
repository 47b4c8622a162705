//! A byte stream as lines, whatever is on it.

use bytes::BytesMut;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The longest message: a file of 50 MB in it, escaped here and there.
pub(crate) const LIMIT: usize = 64 << 20;
/// What a pipe holds.
const CHUNK: usize = 64 << 10;

/// One line of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// All of it, its end included.
    Whole(BytesMut),
    /// Longer than any message; the rest of it is skipped.
    Long,
    /// The stream ended within it.
    Cut,
}

#[derive(Debug)]
pub(crate) struct Lines<R> {
    input: R,
    buffer: BytesMut,
    /// Up to here there is no line's end.
    searched: usize,
    skipping: bool,
    limit: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(crate) fn new(input: R, limit: usize) -> Self {
        Self { input, buffer: BytesMut::new(), searched: 0, skipping: false, limit }
    }

    /// The next line. A future that is dropped loses nothing.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + at + 1);
                self.searched = 0;
                if !std::mem::take(&mut self.skipping) {
                    return Ok(Some(if line.len() > self.limit { Line::Long } else { Line::Whole(line) }));
                }
                continue;
            }
            self.searched = self.buffer.len();
            if self.skipping {
                self.forget();
            } else if self.searched > self.limit {
                self.buffer = BytesMut::new();
                self.searched = 0;
                self.skipping = true;
                return Ok(Some(Line::Long));
            }
            self.buffer.reserve(CHUNK);
            if self.input.read_buf(&mut self.buffer).await? == 0 {
                let cut = !self.skipping && !self.buffer.trim_ascii().is_empty();
                self.forget();
                self.skipping = false;
                return Ok(cut.then_some(Line::Cut));
            }
        }
    }

    fn forget(&mut self) {
        self.buffer.clear();
        self.searched = 0;
    }
}
