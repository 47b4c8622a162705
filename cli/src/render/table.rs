//! Tables with a heading. The last column is as wide as it is.

use crate::{
    fold::fold,
    screen::{Look, Tint, width},
};

pub(crate) use super::summary::duration;

/// A longer cell does not widen the other rows.
const WIDEST: usize = 60;

/// Cells are neutral already.
pub(crate) fn render(heading: &[&str], rows: &[Vec<String>], look: Look) -> String {
    let mut widths: Vec<usize> = heading.iter().map(|h| h.len()).collect();
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(width(cell).min(WIDEST));
        }
    }
    let line = |cells: Vec<&str>| -> String {
        let mut out = String::new();
        for (index, (cell, widest)) in cells.iter().zip(&widths).enumerate() {
            out += cell;
            if index + 1 < cells.len() {
                out += &" ".repeat(widest.saturating_sub(width(cell)) + 2);
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
    fold(&out, look.columns)
}

/// A size as people read it.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut value, mut unit) = (count, None);
    let mut tenths = 0;
    for name in UNITS {
        if value < 1000 {
            break;
        }
        tenths = value % 1000 / 100;
        value /= 1000;
        unit = Some(name);
    }
    match unit {
        None => format!("{count} B"),
        Some(unit) if value < 10 => format!("{value}.{tenths} {unit}"),
        Some(unit) => format!("{value} {unit}"),
    }
}

/// `1 file`, `2 files`.
pub(crate) fn count(number: u64, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

/// How long ago, in its largest unit.
pub(crate) fn age(from_unix_ms: i64, now_unix_ms: i64) -> String {
    let seconds = u64::try_from(now_unix_ms.saturating_sub(from_unix_ms)).unwrap_or(0) / 1000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Milliseconds since 1970.
pub(crate) fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// How many characters of ids are enough to tell these apart.
pub(crate) fn telling<'a>(ids: impl Iterator<Item = &'a str>) -> usize {
    const LEAST: usize = 12;
    let mut ids: Vec<&str> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    let common = |pair: &[&str]| pair[0].bytes().zip(pair[1].bytes()).take_while(|(a, b)| a == b).count();
    ids.windows(2).map(|pair| common(pair) + 1).max().unwrap_or(0).max(LEAST)
}

/// The beginning of an id, for a terminal.
pub(crate) fn short(id: &str, length: usize) -> String {
    crate::neutral::word(&id.chars().take(length).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        assert_eq!(
            [0, 999, 1000, 1234, 12_345, 1_999_999, 5_000_000_000].map(bytes),
            ["0 B", "999 B", "1.0 kB", "1.2 kB", "12 kB", "1.9 MB", "5.0 GB"]
        );
        assert_eq!(bytes(u64::MAX), "18 EB");
        assert_eq!([0, 59_999, 3_600_000, 200_000_000].map(|t| age(0, t)), ["0 s", "59 s", "1 h", "2 d"]);
        assert_eq!(age(10, 5), "0 s");
        assert_eq!((count(1, "file"), count(0, "file")), ("1 file".into(), "0 files".into()));
    }

    #[test]
    fn short_ids_tell_all_apart() {
        let ids = ["0123456789abcdef0", "0123456789abcdef1", "7", "7"];
        assert_eq!(telling(ids.into_iter()), 17);
        assert_eq!(telling(["a", "b"].into_iter()), 12);
        assert_eq!(telling(std::iter::empty()), 12);
        assert_eq!(short("0123456789abcdef", 12), "0123456789ab");
    }

    #[test]
    fn a_long_cell_widens_nothing_and_cannot_begin_a_line() {
        let long = "x".repeat(100);
        let rows = [vec![long.clone(), "y".to_owned()], vec!["a".to_owned(), "b".to_owned()]];
        let shown = render(&["P", "Q"], &rows, Look { colour: false, columns: None });
        assert_eq!(shown.lines().map(str::len).collect::<Vec<_>>(), [63, 103, 63]);
        let shown = render(&["P", "Q"], &rows, Look { colour: false, columns: Some(70) });
        assert!(shown.lines().nth(2).unwrap().starts_with("… xxx"), "{shown}");
    }

    #[test]
    fn columns_stand_below_each_other() {
        let rows = [vec!["a".to_owned(), "x".to_owned()], vec!["longer".to_owned(), String::new()]];
        let look = Look { colour: false, columns: None };
        assert_eq!(render(&["ID", "TITLE"], &rows, look), "ID      TITLE\na       x\nlonger\n");
    }
}
