//! Lines for people: whose line it is stands at its beginning, and no text gets out of its line.
//!
//! A terminal that wraps a long line by itself would let an agent write at the left edge, where
//! Cordon's own words stand. So long lines are wrapped here, every piece behind its mark.

use std::{
    io::{self, IsTerminal as _, Write},
    os::fd::AsFd,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tint {
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
    Cyan,
}

/// What the output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) colour: bool,
    /// None: not a terminal, nothing wraps.
    pub(crate) columns: Option<usize>,
}

impl Look {
    pub(crate) fn of(out: &(impl AsFd + io::IsTerminal)) -> Self {
        if !out.is_terminal() {
            return Self { colour: false, columns: None };
        }
        let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
            || std::env::var_os("TERM").is_some_and(|t| t == "dumb");
        let columns = rustix::termios::tcgetwinsize(out).map_or(0, |size| usize::from(size.ws_col));
        Self { colour: !plain, columns: Some(if columns == 0 { 80 } else { columns }) }
    }

    pub(crate) fn tint(self, tint: Tint, text: &str) -> String {
        if !self.colour || text.is_empty() {
            return text.to_owned();
        }
        let code = match tint {
            Tint::Bold => 1,
            Tint::Dim => 2,
            Tint::Red => 31,
            Tint::Green => 32,
            Tint::Yellow => 33,
            Tint::Cyan => 36,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Where the lines go.
pub(crate) struct Screen<W> {
    out: W,
    pub(crate) look: Look,
    status_lines: usize,
}

impl Screen<io::BufWriter<io::Stdout>> {
    pub(crate) fn stdout() -> Self {
        let stdout = io::stdout();
        let look = Look::of(&stdout);
        Self::new(io::BufWriter::with_capacity(64 << 10, stdout), look)
    }

    /// The window may have been resized.
    pub(crate) fn look_again(&mut self) {
        self.look = Look::of(&io::stdout());
    }
}

impl<W: Write> Screen<W> {
    pub(crate) fn new(out: W, look: Look) -> Self {
        Self { out, look, status_lines: 0 }
    }

    /// A line of Cordon's own. `text` is neutral already.
    pub(crate) fn own(&mut self, tint: Option<Tint>, text: &str) -> io::Result<()> {
        self.marked(("cordon: ", Tint::Cyan), "  ", tint, text)
    }

    /// A line of foreign text, behind its mark.
    pub(crate) fn foreign(
        &mut self,
        who: &str,
        mark: char,
        tint: Option<Tint>,
        text: &str,
    ) -> io::Result<()> {
        self.marked((&format!("{who}{mark} "), Tint::Dim), "", tint, text)
    }

    fn marked(
        &mut self,
        (mark, mark_tint): (&str, Tint),
        indent: &str,
        tint: Option<Tint>,
        text: &str,
    ) -> io::Result<()> {
        self.clear_status()?;
        let shown_mark = self.look.tint(mark_tint, mark);
        let room = self.look.columns.map(|c| room(c, width(mark) + indent.len()));
        for (line_number, line) in text.split('\n').enumerate() {
            let pieces =
                room.filter(|room| line.len() > *room || line.contains('\t')).map(|room| wrap(line, room));
            let pieces =
                pieces.as_deref().map_or_else(|| vec![line], |p| p.iter().map(String::as_str).collect());
            for (piece_number, piece) in pieces.into_iter().enumerate() {
                let indent = if line_number + piece_number == 0 { "" } else { indent };
                match tint {
                    Some(tint) => {
                        writeln!(self.out, "{shown_mark}{indent}{}", self.look.tint(tint, piece))?;
                    }
                    None => writeln!(self.out, "{shown_mark}{indent}{piece}")?,
                }
            }
        }
        Ok(())
    }

    /// Bytes as they are; only where the person asked for that.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.clear_status()?;
        self.out.write_all(bytes)
    }

    /// Whether lines can be drawn that what follows replaces.
    pub(crate) fn is_live(&self) -> bool {
        self.look.colour && self.look.columns.is_some()
    }

    /// Cuts what stands behind a mark as [`Self::foreign`] does; whole where nothing wraps.
    pub(crate) fn cut(&self, who: &str, line: &str) -> Vec<String> {
        match self.look.columns {
            Some(columns) => wrap(line, room(columns, width(who) + 2)),
            None => vec![line.to_owned()],
        }
    }

    /// Draws lines that the next output replaces. Nothing happens where nobody would see them.
    pub(crate) fn status(&mut self, lines: &[(Option<Tint>, String)]) -> io::Result<()> {
        let Some(columns) = self.look.columns.filter(|_| self.look.colour) else { return self.out.flush() };
        self.clear_status()?;
        for (index, (tint, line)) in lines.iter().enumerate() {
            let cut = wrap(line, room(columns, 1)).swap_remove(0);
            let newline = if index == 0 { "" } else { "\n" };
            let cut = tint.map_or_else(|| cut.clone(), |tint| self.look.tint(tint, &cut));
            write!(self.out, "{newline}{cut}")?;
        }
        self.status_lines = lines.len();
        self.out.flush()
    }

    pub(crate) fn clear_status(&mut self) -> io::Result<()> {
        if self.status_lines > 0 {
            write!(self.out, "\r\x1b[2K")?;
            for _ in 1..self.status_lines {
                write!(self.out, "\x1b[1A\x1b[2K")?;
            }
            self.status_lines = 0;
        }
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    #[cfg(test)]
    pub(crate) fn into_inner(self) -> W {
        self.out
    }
}

/// Columns for text where some are taken.
fn room(columns: usize, taken: usize) -> usize {
    columns.saturating_sub(taken).max(8)
}

/// Columns at most: what is not ASCII counts as two, which no terminal exceeds for text that went
/// through [`crate::neutral`].
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

pub(crate) fn columns_of(c: char) -> usize {
    if c.is_ascii() { 1 } else { 2 }
}

/// Cuts a line into pieces of at most `room` columns, after a space where one is near; tabs are made
/// spaces. At least one piece.
pub(crate) fn wrap(line: &str, room: usize) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut piece = String::new();
    let mut used = 0;
    for c in line.chars() {
        let columns = if c == '\t' { 8 - used % 8 } else { columns_of(c) };
        if used > 0 && used + columns > room {
            let rest = match piece.rfind(' ') {
                Some(space) if space > piece.len() / 2 => piece.split_off(space + 1),
                _ => String::new(),
            };
            used = width(&rest);
            pieces.push(std::mem::replace(&mut piece, rest));
        }
        // A tab that comes after a break is as wide as there is room.
        let columns = columns.min(room.saturating_sub(used));
        match c {
            '\t' => piece.extend(std::iter::repeat_n(' ', columns)),
            c => piece.push(c),
        }
        used += columns;
    }
    pieces.push(piece);
    pieces
}

/// Whether standard output is a terminal.
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn screen(columns: Option<usize>, colour: bool) -> Screen<Vec<u8>> {
        Screen::new(Vec::new(), Look { colour, columns })
    }

    fn shown(screen: Screen<Vec<u8>>) -> String {
        String::from_utf8(screen.into_inner()).unwrap()
    }

    #[test]
    fn foreign_text_cannot_reach_the_left_edge() {
        let mut s = screen(Some(20), false);
        let padded = format!("{}cordon: approved", " ".repeat(18));
        s.foreign("a ", '|', None, &padded).unwrap();
        s.own(None, "denied: write /a/very/long/path").unwrap();
        assert_eq!(
            shown(s),
            "a |                 \na |   cordon: \na | approved\ncordon: denied: \ncordon:   write /a/v\ncordon:   ery/long/p\n\
             cordon:   ath\n"
        );
    }

    #[test]
    fn what_is_not_a_terminal_gets_whole_plain_lines() {
        let mut s = screen(None, false);
        s.foreign("", '|', Some(Tint::Red), &"x".repeat(300)).unwrap();
        s.status(&[(None, "busy".to_owned())]).unwrap();
        assert_eq!(shown(s), format!("| {}\n", "x".repeat(300)));
    }

    #[test]
    fn status_lines_are_replaced_by_what_follows() {
        let mut s = screen(Some(40), true);
        s.status(&[(Some(Tint::Dim), "one".to_owned()), (Some(Tint::Dim), "two".to_owned())]).unwrap();
        s.raw(b"text\n").unwrap();
        assert_eq!(shown(s), "\x1b[2mone\x1b[0m\n\x1b[2mtwo\x1b[0m\r\x1b[2K\x1b[1A\x1b[2Ktext\n");
    }

    proptest! {
        #[test]
        fn pieces_fit_and_hold_everything(line in "[ -~äß世]{0,120}", room in 8_usize..60) {
            let pieces = wrap(&line, room);
            prop_assert!(pieces.iter().all(|p| width(p) <= room));
            prop_assert_eq!(pieces.concat(), line);
        }

        #[test]
        fn tabs_never_widen_a_piece(line in "[a\t]{0,60}", room in 8_usize..60) {
            prop_assert!(wrap(&line, room).iter().all(|p| width(p) <= room));
        }
    }
}
