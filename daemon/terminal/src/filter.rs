//! What a program inside may make a terminal do: an allowlist. Whatever is not on it never
//! reaches the terminal of a person: no clipboard, no window operations, no files, no strings
//! of unknown kinds, and nothing that makes a terminal answer. Only whole sequences come out,
//! so that whoever joins never begins in the middle of one.

mod csi;
mod osc;

pub(crate) use osc::title;

/// The longest control sequence.
const CSI_LIMIT: usize = 128;
/// The longest operating system command: a hyperlink is one.
const OSC_LIMIT: usize = 4096;

/// What a program asks its terminal. Cordon answers, so that no terminal of a person does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Query {
    /// What kind of terminal.
    Attributes,
    /// Whether all is well.
    Status,
    /// Where the cursor is.
    Cursor,
    /// The same, in the private form.
    PrivateCursor,
    /// Whether a private mode is known.
    Mode(u16),
}

/// State that a screen model does not keep, but a restored screen needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extras {
    /// First and last row of the scroll region, from 1.
    pub(crate) region: Option<(u16, u16)>,
    pub(crate) focus: bool,
    pub(crate) title: String,
}

/// One thing that comes out.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// To the terminal.
    Show(&'a [u8]),
    /// For Cordon to answer.
    Ask(Query),
    /// Tab stops back: only the model knows where that leads.
    BackTab(u16),
    /// To the terminal, and back to where the cursor was once.
    Back(&'a [u8]),
    /// No scroll region any more, with the cursor where it is.
    WholeScreen,
    /// To the other screen, with the cursor where it is.
    Alternate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ground,
    Utf8(usize),
    Escape,
    /// After ESC and an intermediate.
    Designate,
    Csi,
    /// Until its final byte.
    CsiIgnore,
    Osc,
    /// A string of which nothing is wanted.
    Swallow,
}

/// The filter of one terminal.
#[derive(Debug)]
pub(crate) struct Filter {
    state: State,
    /// What was seen of the sequence under way.
    held: Vec<u8>,
    /// Whether G0 and G1 draw lines.
    lines: [bool; 2],
    shifted: bool,
    pub(crate) extras: Extras,
}

const LINES: [char; 31] = [
    '◆', '▒', '␉', '␌', '␍', '␊', '°', '±', '␤', '␋', '┘', '┐', '┌', '└', '┼', '⎺', '⎻', '─', '⎼', '⎽', '├',
    '┤', '┴', '┬', '│', '≤', '≥', 'π', '≠', '£', '·',
];

impl Filter {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Ground,
            held: Vec::new(),
            lines: [false; 2],
            shifted: false,
            extras: Extras::default(),
        }
    }

    /// Passes on what may pass.
    pub(crate) fn push(&mut self, data: &[u8], step: &mut dyn FnMut(Step<'_>)) {
        let mut rest = data;
        while let Some((&byte, after)) = rest.split_first() {
            if self.state == State::Ground && !self.draws_lines() {
                // Most of what programs print.
                let plain = rest.iter().take_while(|b| (0x20..0x7f).contains(*b)).count();
                if plain > 0 {
                    let (text, after) = rest.split_at(plain);
                    step(Step::Show(text));
                    rest = after;
                    continue;
                }
            }
            rest = after;
            self.byte(byte, step);
        }
    }

    /// Bytes that bring a new filter to where this one is within a sequence.
    pub(crate) fn pending(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (set, introducer) in self.lines.iter().zip([b'(', b')']) {
            if *set {
                bytes.extend([0x1b, introducer, b'0']);
            }
        }
        if self.shifted {
            bytes.push(0x0e);
        }
        match self.state {
            State::Ground => {}
            State::CsiIgnore => bytes.extend(b"\x1b[=!"),
            State::Swallow => bytes.extend(b"\x1b_"),
            _ => bytes.extend(&self.held),
        }
        bytes
    }

    fn draws_lines(&self) -> bool {
        self.lines[usize::from(self.shifted)]
    }

    fn begin(&mut self, state: State, byte: u8) {
        self.held.clear();
        self.held.push(byte);
        self.state = state;
    }

    fn ground(&mut self) {
        self.held.clear();
        self.state = State::Ground;
    }

    fn byte(&mut self, byte: u8, step: &mut dyn FnMut(Step<'_>)) {
        match (self.state, byte) {
            // A new sequence ends whatever was under way, for an OSC perhaps as its terminator.
            (State::Osc, 0x1b) => {
                let held = std::mem::take(&mut self.held);
                self.begin(State::Escape, 0x1b);
                self.osc(&held, step);
            }
            (_, 0x1b) => self.begin(State::Escape, 0x1b),
            (State::Ground, _) => self.plain(byte, step),
            (State::Utf8(need), 0x80..=0xbf) => self.utf8(need, byte, step),
            (State::Utf8(_), _) => {
                self.ground();
                step(Step::Show(b"?"));
                self.byte(byte, step);
            }
            (_, 0x18 | 0x1a) => self.ground(),
            (State::Escape, _) => self.escape(byte, step),
            (State::Designate, _) => {
                self.designate(byte);
                self.ground();
            }
            (State::Csi | State::CsiIgnore, 0x40..=0x7e) => {
                let whole = self.state == State::Csi;
                let held = std::mem::take(&mut self.held);
                self.ground();
                if whole {
                    self.csi(held.get(2..).unwrap_or_default(), byte, step);
                }
            }
            (State::Csi, 0x20..=0x3f) if self.held.len() < CSI_LIMIT => self.held.push(byte),
            (State::Csi, 0x20..) => self.state = State::CsiIgnore,
            (State::Osc, 0x07) => {
                let held = std::mem::take(&mut self.held);
                self.ground();
                self.osc(&held, step);
            }
            (State::Osc, _) if self.held.len() < OSC_LIMIT => self.held.push(byte),
            (State::Osc, _) => self.state = State::Swallow,
            // Too long an OSC ends so as well; nothing that is swallowed is missed.
            (State::Swallow, 0x07) => self.ground(),
            (State::Swallow | State::CsiIgnore | State::Csi, _) => {}
        }
    }

    fn plain(&mut self, byte: u8, step: &mut dyn FnMut(Step<'_>)) {
        match byte {
            0x07..=0x0d => step(Step::Show(&[byte])),
            0x0e => self.shifted = true,
            0x0f => self.shifted = false,
            0x60..=0x7e if self.draws_lines() => {
                let mut text = [0; 4];
                let drawn = LINES.get(usize::from(byte - 0x60)).copied().unwrap_or(' ');
                step(Step::Show(drawn.encode_utf8(&mut text).as_bytes()));
            }
            0x20..=0x7e => step(Step::Show(&[byte])),
            0xc2..=0xdf => self.begin(State::Utf8(2), byte),
            0xe0..=0xef => self.begin(State::Utf8(3), byte),
            0xf0..=0xf4 => self.begin(State::Utf8(4), byte),
            0x80.. => step(Step::Show(b"?")),
            // NUL, ENQ (answered by terminals), DEL and their like.
            _ => {}
        }
    }

    fn utf8(&mut self, need: usize, byte: u8, step: &mut dyn FnMut(Step<'_>)) {
        self.held.push(byte);
        if self.held.len() < need {
            return;
        }
        let held = std::mem::take(&mut self.held);
        self.ground();
        let Some(c) = std::str::from_utf8(&held).ok().and_then(|text| text.chars().next()) else {
            return step(Step::Show(b"?"));
        };
        match c {
            // Controls in another form; what turns the direction of text.
            '\u{80}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            '\u{fffd}' => step(Step::Show(b"?")),
            _ => step(Step::Show(&held)),
        }
    }

    fn escape(&mut self, byte: u8, step: &mut dyn FnMut(Step<'_>)) {
        self.held.push(byte);
        match byte {
            b'[' => return self.state = State::Csi,
            b']' => return self.state = State::Osc,
            b'P' | b'X' | b'^' | b'_' | b'k' => return self.state = State::Swallow,
            0x20..=0x2f => return self.state = State::Designate,
            _ => {}
        }
        self.ground();
        match byte {
            b'8' => step(Step::Back(b"\x1b8")),
            b'7' | b'=' | b'>' | b'M' => step(Step::Show(&[0x1b, byte])),
            b'D' => step(Step::Show(b"\n")),
            b'E' => step(Step::Show(b"\r\n")),
            b'c' => {
                self.lines = [false; 2];
                self.shifted = false;
                let title = std::mem::take(&mut self.extras.title);
                self.extras = Extras { title, ..Extras::default() };
                // The full reset of a terminal takes away what was in it before, too.
                step(Step::Show(RESET));
            }
            _ => {}
        }
    }

    /// Of the character sets only the one that draws lines is known.
    fn designate(&mut self, byte: u8) {
        match self.held.get(1) {
            Some(b'(') => self.lines[0] = byte == b'0',
            Some(b')') => self.lines[1] = byte == b'0',
            _ => {}
        }
    }
}

/// Everything that a program may have set, as it was at the beginning.
pub(crate) const RESET: &[u8] = b"\x1b[?2026l\x1b[?1049l\x1b[r\x1b[?1l\x1b>\x1b[?2004l\x1b[?1004l\
\x1b[?9l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1005l\x1b[?1006l\x1b]8;;\x1b\\\x1b[0m\x1b[0 q\x1b[?25h\x1b[H\x1b[2J";

#[cfg(test)]
mod tests;
