//! The editor of messages on a terminal.

use super::{History, MAX_MESSAGE, Typed, history, keys::Keys};
use crate::{
    error::CliError,
    screen::{Look, Tint},
};
use rustyline::{
    ColorMode, Config,
    error::ReadlineError,
    history::{History as _, MemHistory},
};
use std::io;

const PROMPT: &str = "you> ";
/// What comes later after Escape is a key of its own; in milliseconds.
const AFTER_ESCAPE: u16 = 500;

pub(crate) struct Editor {
    editor: rustyline::Editor<Keys, MemHistory>,
    keys: Keys,
    history: History,
    prompt: (String, String),
}

impl Editor {
    pub(crate) fn new(history: History, words: Vec<&'static str>, look: Look) -> Result<Self, CliError> {
        let config = Config::builder()
            // Without colours nothing would stand between what was pasted and the terminal.
            .color_mode(ColorMode::Forced)
            .keyseq_timeout(Some(AFTER_ESCAPE))
            .max_history_size(history::MOST)
            .map_err(failed)?
            .build();
        let mut past = MemHistory::with_config(&config);
        for message in history.messages() {
            past.add(message).map_err(failed)?;
        }
        let mut editor = rustyline::Editor::with_history(config, past).map_err(failed)?;
        let keys = Keys::new(words);
        editor.set_helper(Some(keys.clone()));
        keys.bind(&mut editor);
        let prompt = (PROMPT.to_owned(), format!("{} ", look.tint(Tint::Bold, PROMPT.trim_end())));
        Ok(Self { editor, keys, history, prompt })
    }

    /// Blocks until there is something.
    pub(crate) fn read(&mut self) -> Result<Typed, CliError> {
        loop {
            let read = self.editor.readline(&self.prompt);
            let message = self.keys.joined(read.as_deref().unwrap_or_default());
            match read {
                Ok(_) => {}
                Err(ReadlineError::Interrupted) => {
                    return Ok(Typed::Interrupt { empty: self.keys.interrupted_nothing() });
                }
                Err(ReadlineError::Eof) => return Ok(Typed::End),
                // The terminal went away.
                Err(ReadlineError::Io(e)) if e.raw_os_error() == Some(nix::libc::EIO) => {
                    return Ok(Typed::End);
                }
                Err(e) => return Err(failed(e)),
            }
            if message.trim().is_empty() {
                continue;
            }
            if message.len() as u64 > MAX_MESSAGE {
                return Err(CliError::TooLarge { what: "the message".to_owned(), limit: MAX_MESSAGE });
            }
            // As in a shell: what begins with a space is not kept.
            if !message.starts_with(' ') && self.editor.add_history_entry(&message).unwrap_or(false) {
                self.history.add(&message);
            }
            return Ok(Typed::Message(message));
        }
    }
}

fn failed(error: ReadlineError) -> CliError {
    CliError::Terminal(match error {
        ReadlineError::Io(e) => e,
        other => io::Error::other(other.to_string()),
    })
}
