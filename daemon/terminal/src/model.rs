//! What a terminal shows, kept in memory: the answer to a program's questions, and the screen
//! of whoever joins later.

use crate::filter::{Extras, Filter, Query, RESET, Step, title};
use std::{
    num::NonZeroU16,
    panic::{AssertUnwindSafe, catch_unwind},
};
use vt100::{Parser, Screen};

/// Lines above the screen that a restored screen gets back.
const SCROLLBACK: usize = 500;
/// What a size may be. Both ends are limits of the model, and of its memory.
const ROWS: (u16, u16) = (2, 300);
const COLUMNS: (u16, u16) = (8, 600);

/// Rows and columns of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

impl Size {
    /// A size within what Cordon keeps a screen for, whatever is asked for.
    #[must_use]
    pub fn new(rows: u32, columns: u32) -> Self {
        let clamp =
            |value: u32, (least, most): (u16, u16)| u16::try_from(value).unwrap_or(most).clamp(least, most);
        Self { rows: clamp(rows, ROWS), columns: clamp(columns, COLUMNS) }
    }
}

/// What came of a piece of output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fed {
    /// What terminals are shown: whole sequences, and only those that are allowed.
    pub shown: Vec<u8>,
    /// What the program is to be told.
    pub answers: Vec<u8>,
}

/// The screen of one program.
pub struct Model {
    filter: Filter,
    parser: Parser,
}

fn parser(size: Size) -> Parser {
    let least = NonZeroU16::MIN;
    let (rows, columns) = (NonZeroU16::new(size.rows), NonZeroU16::new(size.columns));
    Parser::new(rows.unwrap_or(least), columns.unwrap_or(least), SCROLLBACK)
}

impl Model {
    /// An empty screen.
    #[must_use]
    pub fn new(size: Size) -> Self {
        Self { filter: Filter::new(), parser: parser(size) }
    }

    /// Its size.
    #[must_use]
    pub fn size(&self) -> Size {
        let (rows, columns) = self.parser.screen().size();
        Size { rows: rows.get(), columns: columns.get() }
    }

    /// Takes what the program printed.
    pub fn feed(&mut self, data: &[u8]) -> Fed {
        let mut fed = Fed::default();
        let Self { filter, parser } = self;
        // How much of `shown` the screen has.
        let mut drawn = 0;
        filter.push(data, &mut |step| match step {
            Step::Show(bytes) => fed.shown.extend_from_slice(bytes),
            Step::Ask(query) => {
                draw(parser, fed.shown.get(drawn..).unwrap_or_default());
                drawn = fed.shown.len();
                fed.answers.extend(answer(parser.screen(), query));
            }
            Step::BackTab(stops) => {
                draw(parser, fed.shown.get(drawn..).unwrap_or_default());
                drawn = fed.shown.len();
                let mut column = parser.screen().cursor_position().1;
                for _ in 0..stops.min(100) {
                    column = column.saturating_sub(1) / 8 * 8;
                }
                fed.shown.extend(format!("\x1b[{}G", column + 1).bytes());
            }
            Step::Back(bytes) => {
                fed.shown.extend_from_slice(bytes);
                draw(parser, fed.shown.get(drawn..).unwrap_or_default());
                drawn = fed.shown.len();
                // Whether it was about to go to the next line is not the same everywhere.
                fed.shown.extend(place(parser.screen()));
            }
            Step::WholeScreen => {
                draw(parser, fed.shown.get(drawn..).unwrap_or_default());
                drawn = fed.shown.len();
                // The cursor goes home with it. What the program has saved is the program's.
                fed.shown.extend(b"\x1b[r");
                fed.shown.extend(place(parser.screen()));
            }
            Step::Alternate => {
                draw(parser, fed.shown.get(drawn..).unwrap_or_default());
                drawn = fed.shown.len();
                // Where it is afterwards is not the same everywhere: said, it is.
                fed.shown.extend(b"\x1b[?1049h");
                fed.shown.extend(place(parser.screen()));
            }
        });
        draw(parser, fed.shown.get(drawn..).unwrap_or_default());
        fed
    }

    /// The writer's terminal has another size.
    pub fn resize(&mut self, size: Size) {
        if size == self.size() {
            return;
        }
        // As terminals do.
        self.filter.extras.region = None;
        let least = NonZeroU16::MIN;
        let rows = NonZeroU16::new(size.rows).unwrap_or(least);
        let columns = NonZeroU16::new(size.columns).unwrap_or(least);
        let screen = self.parser.screen_mut();
        if catch_unwind(AssertUnwindSafe(|| screen.set_size(rows, columns))).is_err() {
            tracing::error!("the model of a screen failed and begins anew");
            self.parser = parser(size);
        }
    }

    /// Makes any terminal of this size show what the screen shows, in the same state.
    #[must_use]
    pub fn restore(&mut self) -> Vec<u8> {
        let before = self.parser.screen().clone();
        let restored = catch_unwind(AssertUnwindSafe(|| restore(&mut self.parser, &self.filter.extras)));
        // Looking into corners of the state moved things about.
        *self.parser.screen_mut() = before;
        restored.unwrap_or_else(|_| RESET.to_vec())
    }

    /// Lines that were scrolled off the screen, oldest first, each one that a terminal can print.
    #[must_use]
    pub fn above(&mut self) -> Vec<u8> {
        let before = self.parser.screen().clone();
        let lines = catch_unwind(AssertUnwindSafe(|| above(&mut self.parser)));
        *self.parser.screen_mut() = before;
        lines.unwrap_or_default()
    }

    /// Bytes that make a new model, fed with them, go on exactly where this one is.
    #[must_use]
    pub fn save(&mut self) -> Vec<u8> {
        let mut saved = self.restore();
        saved.extend(self.filter.pending());
        saved
    }

    /// The text on the screen.
    #[must_use]
    pub fn text(&self) -> String {
        self.parser.screen().contents()
    }
}

/// The library's own mistakes must not end a daemon: the screen begins anew then.
fn draw(parser: &mut Parser, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    if catch_unwind(AssertUnwindSafe(|| parser.process(data))).is_err() {
        tracing::error!("the model of a screen failed and begins anew");
        let (rows, columns) = parser.screen().size();
        *parser = Parser::new(rows, columns, SCROLLBACK);
    }
}

/// Programs on alternate screens have one of their own.
fn main_screen(parser: &mut Parser) {
    parser.process(b"\x1b[?47l");
}

fn restore(parser: &mut Parser, extras: &Extras) -> Vec<u8> {
    let screen = parser.screen().clone();
    let mut out = RESET.to_vec();
    if screen.alternate_screen() {
        main_screen(parser);
        out.extend(parser.screen().contents_formatted().into_bytes());
        // Which also saves where the cursor is.
        out.extend(b"\x1b[?1049h");
        *parser.screen_mut() = screen.clone();
    }
    out.extend(screen.contents_formatted().into_bytes());
    parser.process(b"\x1b8");
    out.extend(place(parser.screen()));
    out.extend(parser.screen().attributes_formatted().into_bytes());
    out.extend(b"\x1b7");
    if let Some((top, bottom)) = extras.region {
        let bottom = bottom.min(screen.size().0.get());
        out.extend(format!("\x1b[{top};{bottom}r").bytes());
    }
    // Past the end of a line it writes the last character again, and as if nothing was set.
    out.extend(b"\x1b[m");
    out.extend(screen.cursor_state_formatted().into_bytes());
    out.extend(screen.attributes_formatted().into_bytes());
    out.extend(if screen.hide_cursor() { b"\x1b[?25l" } else { b"\x1b[?25h" });
    out.extend(screen.input_mode_formatted().into_bytes());
    if extras.focus {
        out.extend(b"\x1b[?1004h");
    }
    if !extras.title.is_empty() {
        out.extend(title(&extras.title));
    }
    out
}

/// To where the cursor is, and not past the end of its line.
fn place(screen: &Screen) -> Vec<u8> {
    let (row, column) = screen.cursor_position();
    format!("\x1b[{};{}H", row + 1, column.min(screen.size().1.get() - 1) + 1).into_bytes()
}

fn above(parser: &mut Parser) -> Vec<u8> {
    if parser.screen().alternate_screen() {
        main_screen(parser);
    }
    let screen = parser.screen_mut();
    let (rows, columns) = screen.size();
    let (rows, mut left) = (usize::from(rows.get()), screen.scrollback_len());
    let mut out = Vec::new();
    while left > 0 {
        screen.set_scrollback(left);
        for line in screen.rows_formatted(0, columns.get()).take(rows.min(left)) {
            out.extend(b"\x1b[0m");
            out.extend(line.into_bytes());
            out.extend(b"\x1b[0m\r\n");
        }
        left = left.saturating_sub(rows);
    }
    out
}

fn answer(screen: &Screen, query: Query) -> Vec<u8> {
    let (row, column) = screen.cursor_position();
    let (row, column) = (row + 1, column.min(screen.size().1.get() - 1) + 1);
    match query {
        // A terminal with colours, and nothing that needs to be asked about.
        Query::Attributes => b"\x1b[?62;22c".to_vec(),
        Query::Status => b"\x1b[0n".to_vec(),
        Query::Cursor => format!("\x1b[{row};{column}R").into_bytes(),
        Query::PrivateCursor => format!("\x1b[?{row};{column}R").into_bytes(),
        Query::Mode(mode) => format!("\x1b[?{mode};{}$y", if mode == 2026 { 2 } else { 0 }).into_bytes(),
    }
}

#[cfg(test)]
mod tests;
