//! Brings the terminal back to what it was, whatever happened.

use super::RawMode;
use rustix::termios::{QueueSelector, tcflush};
use std::io::{self, Write as _};

/// Ends what may be under way, and takes back what a program may have set: modes, colours, the
/// scroll region, links.
const LEAVE: &[u8] = b"\x18\x1b\\\x1b[?2026l\x1b7\x1b[r\x1b8\x1b[?1l\x1b>\x1b[4l\x1b[?7h\x1b[?9l\x1b[?1000l\x1b[?1002l\
\x1b[?1003l\x1b[?1004l\x1b[?1005l\x1b[?1006l\x1b[?1015l\x1b[?2004l\x1b]8;;\x1b\\\x1b(B\x0f\x1b[0m\x1b[0 q\x1b[?25h";
/// Keyboard protocols, which only `--raw` lets through.
const LEAVE_RAW: &[u8] = b"\x1b[<9u\x1b[>4m";
const LEAVE_ALTERNATE: &[u8] = b"\x1b[?1049l";
/// The title is put aside, and taken back.
const TITLE_ASIDE: &[u8] = b"\x1b[22;0t";
const TITLE_BACK: &[u8] = b"\x1b[23;0t";

/// The terminal while a program has it.
pub(crate) struct Guard {
    /// After the output: the modes of the line come back last.
    _raw: RawMode,
    everything: bool,
    pub(crate) screen: WhichScreen,
}

impl Guard {
    pub(crate) fn enter(everything: bool) -> io::Result<Self> {
        let raw = RawMode::enter()?;
        let mut out = io::stdout();
        out.write_all(TITLE_ASIDE)?;
        out.flush()?;
        Ok(Self { _raw: raw, everything, screen: WhichScreen::default() })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // A terminal that does not take what is under way is not waited for.
        let _ = tcflush(io::stdout(), QueueSelector::OFlush);
        let mut last = LEAVE.to_vec();
        if self.everything {
            last.extend(LEAVE_RAW);
        }
        if self.screen.alternate {
            last.extend(LEAVE_ALTERNATE);
        } else {
            last.extend(b"\x1b[999;1H\r\n");
        }
        last.extend(TITLE_BACK);
        let mut out = io::stdout();
        let _ = out.write_all(&last).and_then(|()| out.flush());
    }
}

/// Follows which of its two screens the terminal shows.
#[derive(Debug, Default)]
pub(crate) struct WhichScreen {
    alternate: bool,
    /// Of a sequence that began in an earlier piece.
    tail: Vec<u8>,
}

impl WhichScreen {
    pub(crate) fn look(&mut self, data: &[u8]) {
        let mut text = std::mem::take(&mut self.tail);
        text.extend_from_slice(data);
        let mut rest = text.as_slice();
        while let Some(at) = rest.iter().position(|b| *b == 0x1b) {
            let sequence = rest.get(at..).unwrap_or_default();
            let Some(parameters) = sequence.strip_prefix(b"\x1b[?") else {
                if b"\x1b[?".starts_with(sequence) {
                    self.tail = sequence.to_vec();
                    return;
                }
                rest = sequence.get(1..).unwrap_or_default();
                continue;
            };
            let end = parameters.iter().position(|b| !b.is_ascii_digit() && *b != b';');
            let Some(end) = end else {
                self.tail = sequence.get(..sequence.len().min(64)).unwrap_or_default().to_vec();
                return;
            };
            let (numbers, last) = parameters.split_at(end);
            let switches = numbers.split(|b| *b == b';').any(|n| matches!(n, b"47" | b"1047" | b"1049"));
            match last.first() {
                Some(b'h') if switches => self.alternate = true,
                Some(b'l') if switches => self.alternate = false,
                _ => {}
            }
            rest = last;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_screen_is_followed_however_its_bytes_are_cut() {
        let text = b"a\x1b[?1049hb\x1b[1m\x1b[?25l\x1b[?1;1049l\x1b[?25h\x1b[?47h";
        for cut in 0..text.len() {
            let mut screen = WhichScreen::default();
            screen.look(&text[..cut]);
            screen.look(&text[cut..]);
            assert!(screen.alternate, "cut at {cut}");
            screen.look(b"\x1b[?1047l");
            assert!(!screen.alternate);
        }
    }
}
