//! Tables with a heading. The last column is as wide as it is.

use crate::screen::{Look, Tint, width};

pub(crate) use super::summary::duration;

/// Cells are neutral already.
pub(crate) fn render(heading: &[&str], rows: &[Vec<String>], look: Look) -> String {
    let mut widths: Vec<usize> = heading.iter().map(|h| h.len()).collect();
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(width(cell));
        }
    }
    let line = |cells: Vec<&str>| -> String {
        let mut out = String::new();
        for (index, (cell, widest)) in cells.iter().zip(&widths).enumerate() {
            out += cell;
            if index + 1 < cells.len() {
                out += &" ".repeat(widest - width(cell) + 2);
            }
        }
        out.trim_end().to_owned()
    };
    let mut out = look.tint(Tint::Bold, &line(heading.to_vec()));
    out.push('\n');
    for row in rows {
        out += &line(row.iter().map(String::as_str).collect());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let rows = [vec!["a".to_owned(), "x".to_owned()], vec!["longer".to_owned(), String::new()]];
        let look = Look { colour: false, columns: None };
        assert_eq!(render(&["ID", "TITLE"], &rows, look), "ID      TITLE\na       x\nlonger\n");
    }
}
