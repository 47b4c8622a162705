/// Longer names are cut: a path may be a megabyte long.
const SHOWN: usize = 300;

/// A text that somebody else made, for people and models: cut where it is long, and without what
/// steers a terminal or turns the direction of writing.
#[must_use]
pub fn shown(text: &str) -> String {
    // What steers a terminal or turns the direction of writing is never shown as itself.
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let mut out = String::new();
    for (n, c) in text.chars().enumerate() {
        if n == SHOWN {
            out.push_str("...");
            break;
        }
        if hidden(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}
