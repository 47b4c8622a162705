//! Questions to the person at the terminal.

use crate::{args::Output, error::CliError};
use rustix::termios::{QueueSelector, tcflush};
use std::io::{self, BufRead as _, IsTerminal as _, Read as _};
use tokio::sync::oneshot;

/// An answer longer than this is none.
const LONGEST: u64 = 1000;

/// Whether somebody sees a question and can answer it.
pub(crate) fn possible(output: Output) -> bool {
    output == Output::Table && io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// A yes; anything else is a no.
pub(crate) async fn yes(question: &str) -> Result<bool, CliError> {
    let answer = line(&format!("{question} [y/N] ")).await?;
    Ok(matches!(answer.as_str(), "y" | "Y" | "yes" | "Yes" | "YES"))
}

/// This very word; anything else is a no. An empty word is never typed.
pub(crate) async fn typed(word: &str, question: &str) -> Result<bool, CliError> {
    Ok(!word.is_empty() && line(question).await? == word)
}

/// What the person types, without spaces around it. `question` is neutral already.
async fn line(question: &str) -> Result<String, CliError> {
    // What was typed before the question was there answers something else.
    tcflush(io::stdin(), QueueSelector::IFlush).map_err(|e| CliError::Terminal(e.into()))?;
    crate::out::write(format_args!("cordon: {question}"));
    let (send, answer) = oneshot::channel();
    // A blocking read cannot be cancelled: the thread ends with the process.
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = io::stdin().lock().take(LONGEST).read_until(b'\n', &mut bytes);
        let _ = send.send(read.map(|_| bytes));
    });
    let bytes = match answer.await {
        Ok(read) => read.map_err(CliError::Terminal)?,
        Err(_) => Vec::new(),
    };
    if !bytes.ends_with(b"\n") {
        // The end of input instead of an answer: what follows begins a line.
        outln!("");
    }
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}
