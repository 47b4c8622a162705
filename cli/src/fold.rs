//! Keeps lines that are longer than the terminal from continuing at its left edge, where they could
//! pass for a line of their own: what continues stands behind a mark that no line begins with.

use crate::screen::{columns_of, width};

const MARK: &str = "… ";

/// Folds lines that arrive in pieces. They are neutral already; colours take no room.
#[derive(Debug)]
pub(crate) struct Fold {
    columns: Option<usize>,
    used: usize,
    in_colour: bool,
}

impl Fold {
    /// None: not a terminal, nothing is folded.
    pub(crate) fn new(columns: Option<usize>) -> Self {
        Self { columns: columns.map(|c| c.max(20)), used: 0, in_colour: false }
    }

    pub(crate) fn push(&mut self, text: &str) -> String {
        let Some(columns) = self.columns else { return text.to_owned() };
        let mut out = String::with_capacity(text.len() + 16);
        for c in text.chars() {
            if self.in_colour || c == '\x1b' {
                self.in_colour = c != 'm';
                out.push(c);
                continue;
            }
            if c == '\n' {
                self.used = 0;
                out.push(c);
                continue;
            }
            let wide = if c == '\t' { 8 - self.used % 8 } else { columns_of(c) };
            if self.used + wide > columns {
                out.push('\n');
                out.push_str(MARK);
                self.used = width(MARK);
            }
            // A tab that comes after a break is as wide as there is room.
            let wide = wide.min(columns - self.used);
            match c {
                '\t' => out.extend(std::iter::repeat_n(' ', wide)),
                c => out.push(c),
            }
            self.used += wide;
        }
        out
    }
}

/// Whole lines at once.
pub(crate) fn fold(text: &str, columns: Option<usize>) -> String {
    Fold::new(columns).push(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_continues_is_marked() {
        let line = format!("+{}-removed", " ".repeat(20));
        assert_eq!(fold(&line, Some(21)), format!("+{}\n… -removed", " ".repeat(20)));
        assert_eq!(fold(&line, None), line);
        let tinted = format!("\x1b[32m{}\x1b[0m\n", "x".repeat(20));
        assert_eq!(fold(&tinted, Some(20)), tinted);
        assert_eq!(fold("a\tb\n\tc", Some(20)), "a       b\n        c");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_everything_fits(text in "[ -~äß世\n]{0,200}", columns in 20_usize..60) {
            let folded = fold(&text, Some(columns));
            prop_assert!(folded.lines().all(|l| width(l) <= columns));
            prop_assert_eq!(folded.replace("\n… ", ""), text);
        }
    }
}
