//! What keys do beyond the editor's own, and how the message that is edited is shown.

use rustyline::{
    Cmd, ConditionalEventHandler, Context, Editor, Event, EventContext, EventHandler, Helper, KeyCode,
    KeyEvent, Modifiers, RepeatCount,
    completion::Completer,
    highlight::{CmdKind, Highlighter},
    hint::Hinter,
    history::History,
    validate::Validator,
};
use std::{
    borrow::Cow,
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Words that may stand alone behind a `/`, completed with Tab.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    words: Vec<&'static str>,
    /// Whether Ctrl-C was pressed where nothing had been typed.
    nothing: Arc<AtomicBool>,
    /// The message at each Enter that went on: it ends with a backslash that is not part of it.
    went_on: Arc<Mutex<Vec<String>>>,
}

impl Keys {
    pub(super) fn new(words: Vec<&'static str>) -> Self {
        Self { words, ..Self::default() }
    }

    pub(super) fn interrupted_nothing(&self) -> bool {
        self.nothing.swap(false, Ordering::Relaxed)
    }

    /// The message without what was typed only to go on. Begins anew.
    pub(super) fn joined(&self, typed: &str) -> String {
        let went_on = std::mem::take(&mut *self.went_on.lock().unwrap_or_else(PoisonError::into_inner));
        let ends =
            went_on.iter().filter(|begun| typed.strip_prefix(*begun).is_some_and(|r| r.starts_with('\n')));
        // Of another message that had the same beginning: once is enough.
        let ends: BTreeSet<usize> = ends.map(|begun| begun.len() - 1).collect();
        typed.char_indices().filter(|(at, _)| !ends.contains(at)).map(|(_, c)| c).collect()
    }

    pub(super) fn bind<I: History>(&self, editor: &mut Editor<Self, I>) {
        let enter = KeyEvent(KeyCode::Enter, Modifiers::NONE);
        let go_on = || GoOn(self.went_on.clone());
        let newline = KeyEvent(KeyCode::Enter, Modifiers::ALT);
        editor.bind_sequence(enter, EventHandler::Conditional(Box::new(go_on())));
        editor.bind_sequence(KeyEvent::ctrl('J'), EventHandler::Conditional(Box::new(go_on())));
        editor.bind_sequence(newline, Cmd::Newline);
        let interrupt = Interrupt(self.nothing.clone());
        editor.bind_sequence(KeyEvent::ctrl('C'), EventHandler::Conditional(Box::new(interrupt)));
    }
}

/// After a backslash at the end, Enter begins a new line. The editor cannot take the backslash away
/// there; that is left to [`Keys::joined`].
struct GoOn(Arc<Mutex<Vec<String>>>);

impl ConditionalEventHandler for GoOn {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, at: &EventContext<'_>) -> Option<Cmd> {
        goes_on(at.line(), at.pos()).then(|| {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(at.line().to_owned());
            Cmd::Newline
        })
    }
}

/// Two backslashes are one that is meant.
fn goes_on(line: &str, cursor: usize) -> bool {
    let backslashes = line.len() - line.trim_end_matches('\\').len();
    cursor == line.len() && backslashes % 2 == 1
}

struct Interrupt(Arc<AtomicBool>);

impl ConditionalEventHandler for Interrupt {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, at: &EventContext<'_>) -> Option<Cmd> {
        self.0.store(at.line().is_empty(), Ordering::Relaxed);
        Some(Cmd::Interrupt)
    }
}

impl Helper for Keys {}
impl Validator for Keys {}

impl Hinter for Keys {
    type Hint = String;
}

impl Completer for Keys {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        cursor: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let begun = line.get(..cursor).and_then(|l| l.strip_prefix('/'));
        let fits = |begun: &str| {
            let words = self.words.iter().filter(|w| w.starts_with(begun));
            words.map(|w| format!("/{w}")).collect()
        };
        Ok((0, begun.map(fits).unwrap_or_default()))
    }
}

impl Highlighter for Keys {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        harmless(line)
    }

    fn highlight_char(&self, line: &str, _: usize, _: CmdKind) -> bool {
        matches!(harmless(line), Cow::Owned(_))
    }
}

fn is_obeyed(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t')
}

/// What was pasted must not command the terminal. As wide as the editor takes it for: nothing for
/// an escape sequence, else one column.
fn harmless(line: &str) -> Cow<'_, str> {
    if !line.contains(is_obeyed) {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len());
    let mut sequence = Sequence::None;
    for c in line.chars() {
        sequence = match (sequence, c) {
            (Sequence::None, '\x1b') => Sequence::Escape,
            (Sequence::None, c) => {
                out.push(if is_obeyed(c) { '?' } else { c });
                Sequence::None
            }
            (Sequence::Escape, '[') => Sequence::Numbers,
            (Sequence::Numbers, ';' | '0'..='9') => Sequence::Numbers,
            // A line ends wherever it ends.
            (_, '\n') => {
                out.push('\n');
                Sequence::None
            }
            _ => Sequence::None,
        };
    }
    Cow::Owned(out)
}

/// As the editor measures text.
#[derive(Clone, Copy)]
enum Sequence {
    None,
    Escape,
    Numbers,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_backslash_at_the_end_goes_on() {
        for (line, expected) in [("a\\", true), ("a\\\\", false), ("\\\\\\", true), ("a", false), ("", false)]
        {
            assert_eq!(goes_on(line, line.len()), expected, "{line:?}");
        }
        assert!(!goes_on("a\\", 0));
        assert!(goes_on("first\nsecond \\", 14));
    }

    #[test]
    fn only_backslashes_that_went_on_go_away() {
        let keys = Keys::default();
        let press = |line: &str| keys.went_on.lock().unwrap().push(line.to_owned());
        press("first\\");
        press("first\\\nmake \\\n  all\\");
        // The second line was pasted.
        assert_eq!(keys.joined("first\\\nmake \\\n  all\\\nend\\"), "first\nmake \\\n  all\nend\\");
        assert_eq!(keys.joined("first\\\nnow as it is"), "first\\\nnow as it is");
        press("thrown away\\");
        assert_eq!(keys.joined("something else\\\n"), "something else\\\n");
    }

    #[test]
    fn what_is_pasted_is_shown_and_not_obeyed() {
        assert_eq!(harmless("Grüße\n\tx"), "Grüße\n\tx");
        assert_eq!(harmless("a\x1b[31mred\x1b[0m\x07\u{9b}2J\x08"), "ared??2J?");
        assert_eq!(harmless("\x1b]52;c;Zm9v\x07"), "52;c;Zm9v?");
    }

    proptest! {
        #[test]
        fn nothing_obeyed_gets_through(line in any::<String>()) {
            let shown = harmless(&line);
            prop_assert!(!shown.contains(is_obeyed));
            if !line.contains(is_obeyed) {
                prop_assert_eq!(shown.as_ref(), line.as_str());
            }
        }
    }
}
