//! Control sequences.

use super::{Filter, Query, Step};

/// The most repetitions of one character.
const MOST_REPEATED: u16 = 4000;
const MOST_PARAMETERS: usize = 32;

/// The parameters, none where one is left out; none at all when they are not well-formed.
fn numbers(text: &[u8]) -> Option<Vec<Option<u16>>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let all: Option<Vec<_>> = text.split(|b| *b == b';').map(number).collect();
    all.filter(|all| all.len() <= MOST_PARAMETERS)
}

fn number(text: &[u8]) -> Option<Option<u16>> {
    if text.is_empty() {
        return Some(None);
    }
    let digits = text.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(text).ok())??;
    // As terminals do, what is too large is as large as can be.
    Some(Some(digits.parse().unwrap_or(9999).min(9999)))
}

impl Filter {
    /// A whole sequence: what stands between `ESC [` and its last byte.
    pub(super) fn csi(&mut self, body: &[u8], last: u8, step: &mut dyn FnMut(Step<'_>)) {
        let (private, rest) = match body.split_first() {
            Some((first @ b'<'..=b'?', rest)) => (Some(*first), rest),
            _ => (None, body),
        };
        let cut = rest.iter().position(|b| (0x20..0x30).contains(b)).unwrap_or(rest.len());
        let (parameters, intermediates) = rest.split_at(cut);
        match (private, intermediates, last) {
            (None, b"", b'm') => graphics(parameters, step),
            (None, _, _) => {
                if let Some(numbers) = numbers(parameters) {
                    self.public(&numbers, intermediates, last, step);
                }
            }
            (Some(b'?'), _, _) => {
                if let Some(numbers) = numbers(parameters) {
                    self.private(&numbers, intermediates, last, step);
                }
            }
            // Keyboard protocols, versions, secondary attributes: neither set nor told.
            _ => {}
        }
    }

    fn public(
        &mut self,
        numbers: &[Option<u16>],
        intermediates: &[u8],
        last: u8,
        step: &mut dyn FnMut(Step<'_>),
    ) {
        let first = numbers.first().copied().flatten().unwrap_or(0);
        let one = first.max(1);
        match (intermediates, last) {
            (b"", b'@' | b'A'..=b'H' | b'L' | b'M' | b'P' | b'S' | b'X' | b'`' | b'd' | b'f') => {
                show(step, None, numbers, "", last);
            }
            // Forms that not every model knows, as those that it knows.
            (b"", b'a') => show(step, None, numbers, "", b'C'),
            (b"", b'e') => show(step, None, numbers, "", b'B'),
            (b"", b's') if numbers.is_empty() => step(Step::Show(b"\x1b7")),
            (b"", b'u') if numbers.is_empty() => step(Step::Back(b"\x1b8")),
            (b"", b'I') => step(Step::Show(&vec![b'\t'; usize::from(one.min(200))])),
            (b"", b'Z') => step(Step::BackTab(one)),
            // With five parameters it would be another thing.
            (b"", b'T') if numbers.len() <= 1 => show(step, None, numbers, "", last),
            // 3 would take away what the terminal keeps of earlier, of the person's own as well.
            (b"", b'J' | b'K') if first <= 2 => {
                show(step, None, numbers.get(..1).unwrap_or_default(), "", last)
            }
            (b"", b'b') => show(step, None, &[Some(one.min(MOST_REPEATED))], "", last),
            (b"", b'r') => {
                let bottom = numbers.get(1).copied().flatten();
                self.extras.region = match (one, bottom) {
                    (1, None | Some(0)) => None,
                    (top, bottom) => Some((top, bottom.filter(|b| *b > 0).unwrap_or(u16::MAX))),
                };
                show(step, None, numbers, "", last);
            }
            (b"", b'c') if first == 0 => step(Step::Ask(Query::Attributes)),
            (b"", b'n') if first == 5 => step(Step::Ask(Query::Status)),
            (b"", b'n') if first == 6 => step(Step::Ask(Query::Cursor)),
            (b" ", b'q') if first <= 6 => show(step, None, &[Some(first)], " ", last),
            (b"!", b'p') => {
                self.extras.region = None;
                step(Step::Show(b"\x1b7\x1b[r\x1b8\x1b[?1l\x1b>\x1b[0m\x1b[?25h"));
            }
            _ => {}
        }
    }

    fn private(
        &mut self,
        numbers: &[Option<u16>],
        intermediates: &[u8],
        last: u8,
        step: &mut dyn FnMut(Step<'_>),
    ) {
        let first = numbers.first().copied().flatten().unwrap_or(0);
        match (intermediates, last) {
            (b"", b'J' | b'K') if first <= 2 => show(step, Some(b'?'), &[Some(first)], "", last),
            (b"", b'h' | b'l') => {
                for mode in numbers.iter().copied().flatten() {
                    self.mode(mode, last, step);
                }
            }
            (b"", b'n') if first == 6 => step(Step::Ask(Query::PrivateCursor)),
            (b"$", b'p') => step(Step::Ask(Query::Mode(first))),
            _ => {}
        }
    }

    fn mode(&mut self, mode: u16, last: u8, step: &mut dyn FnMut(Step<'_>)) {
        let known = match mode {
            1 | 9 | 25 | 1000 | 1002 | 1003 | 1005 | 1006 | 2004 | 2026 => mode,
            1004 => {
                self.extras.focus = last == b'h';
                mode
            }
            // All three as the one that everybody uses. Whether a scroll region outlives the
            // change is not the same everywhere: it does not.
            47 | 1047 | 1049 => {
                if self.extras.region.take().is_some() {
                    step(Step::WholeScreen);
                }
                if last == b'h' {
                    return step(Step::Alternate);
                }
                return step(Step::Back(b"\x1b[?1049l"));
            }
            1048 if last == b'h' => return step(Step::Show(b"\x1b7")),
            1048 => return step(Step::Back(b"\x1b8")),
            _ => return,
        };
        show(step, Some(b'?'), &[Some(known)], "", last);
    }
}

/// Colours and their like: digits and separators only.
fn graphics(parameters: &[u8], step: &mut dyn FnMut(Step<'_>)) {
    if parameters.iter().all(|b| b.is_ascii_digit() || matches!(b, b';' | b':')) {
        step(Step::Show(&[b"\x1b[", parameters, b"m"].concat()));
    }
}

fn show(
    step: &mut dyn FnMut(Step<'_>),
    private: Option<u8>,
    numbers: &[Option<u16>],
    intermediates: &str,
    last: u8,
) {
    let mut out = b"\x1b[".to_vec();
    out.extend(private);
    for (index, number) in numbers.iter().enumerate() {
        if index > 0 {
            out.push(b';');
        }
        out.extend(number.map(|n| n.to_string().into_bytes()).unwrap_or_default());
    }
    out.extend(intermediates.as_bytes());
    out.push(last);
    step(Step::Show(&out));
}
