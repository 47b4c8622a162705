//! What the person says: on a terminal a message at a time, with an editor; else a line at a time.

mod editor;
mod history;
mod keys;

pub(crate) use history::History;

use crate::{error::CliError, screen::Look};
use std::{
    io::{self, BufRead as _, Read as _},
    sync::mpsc as std_mpsc,
};
use tokio::sync::mpsc;

/// A message is not longer.
pub(crate) const MAX_MESSAGE: u64 = 1 << 20;

#[derive(Debug)]
pub(crate) enum Typed {
    Message(String),
    /// Ctrl-C, and whether there was nothing that it threw away.
    Interrupt {
        empty: bool,
    },
    /// Ctrl-D, the end of the input, or of the terminal.
    End,
}

/// Reads on a thread of its own, and only when asked to: between two messages the terminal is not
/// the editor's. A blocking read cannot be cancelled: the thread ends with the process.
pub(crate) struct Input {
    ask: std_mpsc::Sender<()>,
    typed: mpsc::Receiver<Result<Typed, CliError>>,
    asked: bool,
}

impl Input {
    /// With an editor, on standard input and output; `words` are completed behind a `/`.
    pub(crate) fn terminal(history: History, words: Vec<&'static str>, look: Look) -> Self {
        Self::start(move |asked, send| match editor::Editor::new(history, words, look) {
            Ok(mut editor) => while asked.recv().is_ok() && send.blocking_send(editor.read()).is_ok() {},
            Err(e) => drop(send.blocking_send(Err(e))),
        })
    }

    /// Each line of standard input is a message; empty ones are none.
    pub(crate) fn lines() -> Self {
        Self::start(|asked, send| {
            let mut stdin = io::stdin().lock();
            while asked.recv().is_ok() && send.blocking_send(line(&mut stdin)).is_ok() {}
        })
    }

    fn start(
        work: impl FnOnce(std_mpsc::Receiver<()>, mpsc::Sender<Result<Typed, CliError>>) + Send + 'static,
    ) -> Self {
        let (ask, asked) = std_mpsc::channel();
        let (send, typed) = mpsc::channel(1);
        std::thread::spawn(move || work(asked, send));
        Self { ask, typed, asked: false }
    }

    /// The next thing; cancelled, it is there the next time.
    pub(crate) async fn next(&mut self) -> Result<Typed, CliError> {
        if !self.asked {
            // Where nobody reads any more the channel below says why.
            let _ = self.ask.send(());
            self.asked = true;
        }
        let typed = self.typed.recv().await.unwrap_or(Ok(Typed::End));
        self.asked = false;
        typed
    }
}

fn line(input: &mut impl io::BufRead) -> Result<Typed, CliError> {
    loop {
        let mut bytes = Vec::new();
        // The newline of the longest one has room too.
        input.take(MAX_MESSAGE + 2).read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            return Ok(Typed::End);
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        let line = String::from_utf8(bytes)
            .map_err(|_| CliError::Input("a line of standard input is not UTF-8".to_owned()))?;
        if line.len() as u64 > MAX_MESSAGE {
            return Err(CliError::TooLarge { what: "the message".to_owned(), limit: MAX_MESSAGE });
        }
        if !line.trim().is_empty() {
            return Ok(Typed::Message(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut input: &[u8]) -> Vec<String> {
        let mut said = Vec::new();
        while let Typed::Message(message) = line(&mut input).unwrap() {
            said.push(message);
        }
        said
    }

    #[test]
    fn each_line_is_a_message() {
        assert_eq!(all(b"one\n\n  \ntwo\r\nthree"), ["one", "two\r", "three"]);
        assert!(all(b"").is_empty() && all(b"\n \n").is_empty());
    }

    #[test]
    fn what_is_no_text_or_too_long_is_an_error() {
        assert!(matches!(line(&mut &b"\xff\n"[..]), Err(CliError::Input(_))));
        let mut long = vec![b'x'; usize::try_from(MAX_MESSAGE).unwrap()];
        long.push(b'\n');
        assert!(matches!(line(&mut &long[..]), Ok(Typed::Message(_))));
        long.insert(0, b'x');
        assert!(matches!(line(&mut &long[..]), Err(CliError::TooLarge { .. })));
    }
}
