use crate::{mask, tree::Mark};

/// Characters of a source line that an excerpt shows at most.
const WIDTH: usize = 120;

/// The source by lines, with the parts that excerpts must hide.
pub(crate) struct Lines<'a> {
    lines: Vec<&'a str>,
    hidden: Vec<Mark>,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { lines: text.lines().collect(), hidden: Vec::new() }
    }

    pub(crate) fn hide(&mut self, secret: Mark) {
        self.hidden.push(secret);
    }

    /// The marked line and a marker line below it.
    pub(crate) fn excerpt(&self, mark: Mark) -> String {
        let number = mark.line as usize;
        let Some(line) = number.checked_sub(1).and_then(|n| self.lines.get(n)) else {
            return String::new();
        };
        // A line can be as long as the file: look only at what can be shown.
        let column = (mark.column as usize).saturating_sub(1);
        let skip = column.saturating_sub(WIDTH / 2);
        let mut chars: Vec<char> = line.chars().take(skip + WIDTH + 1).collect();
        mask::line(&mut chars, self.continues_secret(number - 1));
        for hidden in self.hidden.iter().filter(|h| h.line <= mark.line && mark.line <= h.end_line) {
            let from = if hidden.line == mark.line { hidden.column as usize - 1 } else { 0 };
            let to = if hidden.end_line == mark.line { hidden.end_column as usize - 1 } else { usize::MAX };
            for c in chars.iter_mut().take(to).skip(from).filter(|c| !c.is_whitespace()) {
                *c = '*';
            }
        }
        let long = chars.len() > skip + WIDTH;
        let before = if skip > 0 { "…" } else { "" };
        let after = if long { "…" } else { "" };
        let text: String = chars.into_iter().skip(skip).take(WIDTH).map(harmless).collect();
        let room = (WIDTH + 1).saturating_sub(column - skip);
        let carets = "^".repeat(self.width(mark, line).clamp(1, room.max(1)));
        let indent = " ".repeat(column - skip + before.chars().count());
        format!("{before}{}{after}\n{indent}{carets}", text.trim_end())
    }

    fn width(&self, mark: Mark, line: &str) -> usize {
        if mark.end_line == mark.line {
            return mark.end_column.saturating_sub(mark.column) as usize;
        }
        line.trim_end().chars().count().saturating_sub(mark.column as usize - 1)
    }

    /// Whether a line lies below and deeper than a key that names a secret. It is
    /// guessed from the text alone: the file may not be YAML at all.
    fn continues_secret(&self, index: usize) -> bool {
        let indent = |l: &str| l.len() - l.trim_start().len();
        let own = self.lines.get(index).map_or(0, |l| indent(l));
        // A secret of more lines than this is none that a person wrote.
        self.lines[..index]
            .iter()
            .rev()
            .take(200)
            .filter(|l| !l.trim().is_empty())
            .find(|l| indent(l) < own)
            .is_some_and(|l| mask::opens_secret(l))
    }
}

/// Nothing that a terminal acts on, nor what turns text around.
fn harmless(c: char) -> char {
    match c {
        '\t' => ' ',
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
            '\u{fffd}'
        }
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

/// Text from the file for a message: harmless and at most so many characters.
pub(crate) fn shown(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().take(most).map(harmless).collect();
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(line: u32, column: u32, end_column: u32) -> Mark {
        Mark { line, column, end_line: line, end_column }
    }

    #[test]
    fn the_marker_stands_below_the_text() {
        let lines = Lines::new("a: 1\nbackend: codx\n");
        assert_eq!(lines.excerpt(mark(2, 10, 14)), "backend: codx\n         ^^^^");
    }

    #[test]
    fn long_lines_are_cut_around_the_mark() {
        let text = format!("{}HERE{}", "a".repeat(5000), "b".repeat(5000));
        let excerpt = Lines::new(&text).excerpt(mark(1, 5001, 5005));
        let (line, marker) = excerpt.split_once('\n').unwrap();
        assert_eq!(line.chars().count(), WIDTH + 2);
        let at = marker.find('^').unwrap();
        assert_eq!(line.chars().skip(at).take(4).collect::<String>(), "HERE");
        assert_eq!(marker.trim(), "^^^^");
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        let excerpt = Lines::new("a: \u{1b}[2J\u{202e}x").excerpt(mark(1, 1, 2));
        assert!(!excerpt.contains('\u{1b}') && !excerpt.contains('\u{202e}'), "{excerpt:?}");
    }

    #[test]
    fn a_secret_on_a_line_of_its_own_is_hidden() {
        let excerpt = Lines::new("api_key:\n  hunter2\n  x: 1").excerpt(mark(2, 3, 10));
        assert_eq!(excerpt, "  *******\n  ^^^^^^^");
    }
}
