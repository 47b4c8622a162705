#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

fn shown_of(step: Step<'_>, shown: &mut Vec<u8>) {
    match step {
        Step::Show(bytes) | Step::Back(bytes) => shown.extend(bytes),
        Step::Alternate => shown.extend(b"\x1b[?1049h"),
        Step::WholeScreen => shown.extend(b"\x1b[r"),
        Step::Ask(_) | Step::BackTab(_) => {}
    }
}

fn through(data: &[u8]) -> (Vec<u8>, Vec<Query>) {
    let (mut shown, mut asked) = (Vec::new(), Vec::new());
    Filter::new().push(data, &mut |step| match step {
        Step::Ask(query) => asked.push(query),
        other => shown_of(other, &mut shown),
    });
    (shown, asked)
}

fn shown(data: &str) -> String {
    String::from_utf8(through(data.as_bytes()).0).unwrap()
}

#[test]
fn what_draws_passes() {
    for text in [
        "plain ünïcode 漢字\r\n\t\u{8}",
        "\x1b[1;38;2;10;20;30mred\x1b[0m",
        "\x1b[4:3m\x1b[58:2::1:2:3m",
        "\x1b[2J\x1b[H\x1b[10;20H\x1b[K\x1b[2;10r",
        "\x1b[?1049h\x1b[?2004h\x1b[?25l\x1b[?1006h",
        "\x1b7\x1b8\x1bM\x1b=\x1b>",
        "\x1b]8;;https://example.com/\x1b\\link\x1b]8;;\x1b\\",
        "\x1b[3 q",
    ] {
        assert_eq!(shown(text), text);
    }
}

#[test]
fn what_acts_on_the_machine_of_the_person_does_not() {
    for attack in [
        "\x1b]52;c;ZXZpbA==\x07",
        "\x1b]52;c;?\x1b\\",
        "\x1bP$qm\x1b\\",
        "\x1bP+q544e\x1b\\",
        "\x1bPtmux;\x1b\x1b]52;c;ZXZpbA==\x07\x1b\\",
        "\x1b[21t\x1b[14t\x1b[8;1;1t\x1b[22;0t",
        "\x1b[>c\x1b[=c\x1b[>q\x1bZ\x05",
        "\x1b[5i\x1b[?5i",
        "\x1b_Gf=24;AAAA\x1b\\",
        "\x1b]1337;File=name=eA==:eA==\x07",
        "\x1b]4;0;#000000\x07\x1b]10;?\x07\x1b]11;#fff\x07",
        "\x1b]777;notify;a;b\x07\x1b]9;x\x07",
        "\x1b]8;;file:///etc/passwd\x1b\\",
        "\x1b]8;;javascript:x\x07",
        "\x1b[3J",
        "\x1b[>1u\x1b[<u\x1b[?u\x1b[>4;2m",
        "\x1bktitle\x1b\\",
        "\x1b[?s\x1b[?r\x1b[12h\x1b[20h\x1b[4h",
        "\x1b%G\x1b#8\x1bn\x1b|",
        "\u{9b}21t\u{9d}52;c;x\u{9c}",
        "\u{202e}\u{2066}",
    ] {
        let left = shown(attack);
        let harmless = !left.contains('\x1b') && left.chars().all(|c| !c.is_control());
        assert!(harmless, "{attack:?} became {left:?}");
    }
}

#[test]
fn questions_are_answered_here() {
    let (shown, asked) = through(b"\x1b[c\x1b[5n\x1b[6n\x1b[?6n\x1b[?2026$p");
    assert!(shown.is_empty());
    use Query::{Attributes, Cursor, Mode, PrivateCursor, Status};
    assert_eq!(asked, [Attributes, Status, Cursor, PrivateCursor, Mode(2026)]);
}

#[test]
fn a_title_holds_no_control() {
    assert_eq!(shown("\x1b]0;a\tb\u{9b}c\x07"), "\x1b]2;abc\x1b\\");
}

#[test]
fn lines_are_drawn_as_unicode() {
    assert_eq!(shown("\x1b(0lqk\x1b(Blqk\x1b)0\x0ex\x0fx"), "┌─┐lqk│x");
}

/// Whether every sequence in there is one that a terminal does not answer.
fn check(text: &[u8]) -> Result<(), TestCaseError> {
    let text = std::str::from_utf8(text).map_err(|e| TestCaseError::fail(e.to_string()))?;
    let control = text.chars().any(|c| matches!(c, '\u{80}'..='\u{9f}' | '\x7f' | '\x05' | '\0'));
    prop_assert!(!control);
    for part in text.split('\x1b').skip(1) {
        let allowed = match part.as_bytes().first() {
            Some(b'[') => {
                let last = part.bytes().skip(1).find(|b| (0x40..0x7f).contains(b));
                last.is_some_and(|b| {
                    !matches!(b, b't' | b'c' | b'n' | b'i' | b'p' | b'x' | b'u' | b's' | b'y')
                })
            }
            Some(b']') => part.starts_with("]2;") || part.starts_with("]8;"),
            Some(b'7' | b'8' | b'=' | b'>' | b'M' | b'\\') => true,
            _ => false,
        };
        prop_assert!(allowed, "{part:?}");
    }
    Ok(())
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..12),
        "\\x1b\\[[<=>?]?[0-9;:]{0,8}[ !$]{0,1}[@-~]".prop_map(String::into_bytes),
        "\\x1b\\][0-9]{1,3};[ -~ü]{0,20}(\\x07|\\x1b\\\\)".prop_map(String::into_bytes),
        "\\x1b[ -~][ -~]".prop_map(String::into_bytes),
        "[ -~ü漢\\r\\n\\t]{0,20}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(token, 0..40).prop_map(|all| all.concat())
}

proptest! {
    #[test]
    fn whatever_comes_only_the_allowed_passes(data in hostile()) {
        check(&through(&data).0)?;
    }

    #[test]
    fn how_it_is_cut_makes_no_difference(data in hostile(), cut in any::<prop::sample::Index>()) {
        let at = cut.index(data.len() + 1);
        let mut filter = Filter::new();
        let mut pieces: Vec<u8> = Vec::new();
        let mut take = |step: Step<'_>| shown_of(step, &mut pieces);
        filter.push(&data[..at], &mut take);
        filter.push(&data[at..], &mut take);
        prop_assert_eq!(pieces, through(&data).0);
    }

    #[test]
    fn what_is_pending_brings_a_new_one_there(data in hostile(), cut in any::<prop::sample::Index>()) {
        let at = cut.index(data.len() + 1);
        let mut first = Filter::new();
        first.push(&data[..at], &mut |_| {});
        let mut second = Filter::new();
        second.push(&first.pending(), &mut |_| {});
        let (mut one, mut other): (Vec<u8>, Vec<u8>) = Default::default();
        first.push(&data[at..], &mut |step| shown_of(step, &mut one));
        second.push(&data[at..], &mut |step| shown_of(step, &mut other));
        prop_assert_eq!(String::from_utf8_lossy(&one), String::from_utf8_lossy(&other));
    }
}
