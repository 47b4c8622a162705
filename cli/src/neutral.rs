//! Makes text of an agent, a repository or a model harmless for a terminal.
//!
//! What a terminal would obey or hide is shown as an escape: control characters
//! (C0, DEL, C1), direction overrides, characters without a width, and bytes
//! that are not UTF-8. Nothing is dropped, so that what is shown is what was there.

use std::fmt::Write as _;

/// Several lines: newline and tab stay; a carriage return before a newline is dropped.
pub(crate) fn text(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for (index, line) in bytes.split(|b| *b == b'\n').enumerate() {
        if index > 0 {
            out.push('\n');
        }
        push(&mut out, line.strip_suffix(b"\r").unwrap_or(line), true, false);
    }
    out
}

/// One line: newlines and tabs are shown as escapes too.
pub(crate) fn word(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push(&mut out, text.as_bytes(), false, false);
    out
}

/// A file name: like [`word`], and a backslash is doubled, so that two names never look the same.
pub(crate) fn path(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    push(&mut out, bytes, false, true);
    out
}

/// How many bytes at the end begin a character whose rest has not arrived.
pub(crate) fn incomplete_tail(bytes: &[u8]) -> usize {
    let tail = &bytes[bytes.len().saturating_sub(3)..];
    (0..tail.len())
        .map(|start| &tail[start..])
        .find(|rest| {
            std::str::from_utf8(rest).is_err_and(|e| e.valid_up_to() == 0 && e.error_len().is_none())
        })
        .map_or(0, <[u8]>::len)
}

/// Whether a terminal would act on the character or not show it.
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0d}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

fn push(out: &mut String, bytes: &[u8], tabs: bool, backslash: bool) {
    // Almost everything is this; the copy is many times faster than looking at characters.
    let plain = |b: &u8| (b' '..=b'~').contains(b) && !(backslash && *b == b'\\');
    if let Some(text) = bytes.iter().all(plain).then(|| std::str::from_utf8(bytes).ok()).flatten() {
        out.push_str(text);
        return;
    }
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\t' if tabs => out.push(c),
                '\\' if backslash => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if c.is_ascii_control() => hex(out, c as u8),
                c if is_hidden(c) => {
                    let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
                }
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            hex(out, *byte);
        }
    }
}

fn hex(out: &mut String, byte: u8) {
    let _ = write!(out, "\\x{byte:02x}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_terminal_obeys_is_shown() {
        for (bytes, shown) in [
            (&b"\x1b]52;c;Zm9v\x07"[..], "\\x1b]52;c;Zm9v\\x07"),
            (b"a\rb", "a\\rb"),
            (b"a\r\nb\r\n", "a\nb\n"),
            (b"\xc2\x9b2J", "\\u{9b}2J"),
            (b"\x9b2J", "\\x9b2J"),
            (b"\x7f\0", "\\x7f\\x00"),
            ("\u{202e}gpj\u{200b}".as_bytes(), "\\u{202e}gpj\\u{200b}"),
            (b"tab\tand\nline", "tab\tand\nline"),
            ("Grüße, 世界 ✔".as_bytes(), "Grüße, 世界 ✔"),
        ] {
            assert_eq!(text(bytes), shown);
        }
    }

    #[test]
    fn a_name_stays_on_its_line_and_is_unambiguous() {
        assert_eq!(word("a\nb\tc"), "a\\nb\\tc");
        assert_eq!(path(b"a\\x1b"), "a\\\\x1b");
        assert_eq!(path(b"a\x1b"), "a\\x1b");
    }

    #[test]
    fn a_cut_character_is_found() {
        let text = "a€".as_bytes();
        assert_eq!(incomplete_tail(&text[..3]), 2);
        assert_eq!(incomplete_tail(text), 0);
        assert_eq!(incomplete_tail(b"a\xff"), 0);
        assert_eq!(incomplete_tail(&"😀".as_bytes()[..3]), 3);
    }

    fn harmless(shown: &str) -> bool {
        !shown.chars().any(|c| is_hidden(c) && c != '\n' && c != '\t')
    }

    proptest! {
        #[test]
        fn no_bytes_get_through(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(harmless(&text(&bytes)));
            prop_assert!(harmless(&path(&bytes)) && !path(&bytes).contains(['\n', '\t']));
        }

        #[test]
        fn no_text_gets_through(text in any::<String>()) {
            let shown = word(&text);
            prop_assert!(harmless(&shown) && !shown.contains(['\n', '\t']));
            prop_assert!(harmless(&super::text(text.as_bytes())));
        }

        #[test]
        fn different_names_look_different(a in any::<Vec<u8>>(), b in any::<Vec<u8>>()) {
            prop_assert_eq!(path(&a) == path(&b), a == b);
        }

        #[test]
        fn printable_text_is_unchanged(text in "[ -~\t\n]{0,200}") {
            prop_assert_eq!(super::text(text.as_bytes()), text);
        }
    }
}
