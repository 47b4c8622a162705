//! The conversation on a terminal.

use super::{
    Talk, Turn,
    slash::{self, Slash},
};
use crate::{
    error::CliError,
    exit::Exit,
    line::{History, Input, Typed},
    neutral,
    render::table::count,
    screen::Look,
    signals::Signals,
};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{self, Write as _};
use tokio::signal::unix::SignalKind;

/// What an editor may have left a terminal in.
const LEAVE: &[u8] = b"\x1b[?2004l\r\n";

pub(super) async fn converse(talk: &mut Talk, no_history: bool) -> Result<Exit, CliError> {
    let ordinary = Ordinary::new()?;
    let history = if no_history { History::off() } else { History::open() };
    let mut input = Input::terminal(history, slash::words(), Look::of(&io::stdout()));
    greet(talk);
    let mut leaving = false;
    let mut signals = Signals::new()?;
    let exit = loop {
        let typed = tokio::select! {
            typed = input.next() => typed,
            // Ctrl-C where the editor does not have the terminal yet, or not any more.
            signal = signals.next() => match signal == SignalKind::interrupt() {
                true => Ok(Typed::Interrupt { empty: true }),
                false => {
                    ordinary.again();
                    let _ = io::stdout().write_all(LEAVE);
                    break Exit::Cancelled;
                }
            },
        };
        let was_leaving = std::mem::take(&mut leaving);
        let message = match typed {
            Ok(Typed::Message(message)) => message,
            Ok(Typed::Interrupt { empty }) => {
                if empty && was_leaving {
                    break Exit::Success;
                }
                leaving = empty;
                if empty {
                    outln!("cordon: press Ctrl-C again, or Ctrl-D, to leave");
                }
                continue;
            }
            Ok(Typed::End) => break Exit::Success,
            Err(e @ CliError::TooLarge { .. }) => {
                eprint!("{}", e.report());
                continue;
            }
            Err(e) => return Err(e),
        };
        match slash::of(&message) {
            Some(Ok(Slash::Quit)) => break Exit::Success,
            Some(Ok(command)) => {
                talk.obey(command).await;
                signals = Signals::new()?;
            }
            Some(Err(unknown)) => outln!("cordon: {unknown}"),
            None => {
                tell_hidden(&message);
                let quiet = ordinary.without_echo()?;
                let turn = talk.turn(message).await;
                drop(quiet);
                // Those of the turn were the turn's.
                signals = Signals::new()?;
                match turn {
                    Ok(Turn::Ended(_)) => {}
                    Ok(Turn::Left(exit)) => break exit,
                    // What went wrong with one message may go well with the next.
                    Err(e) => eprint!("{}", e.report()),
                }
            }
        }
    };
    farewell(talk);
    Ok(exit)
}

fn greet(talk: &Talk) {
    let names = neutral::word(&talk.names.join(", "));
    let goes_on = talk.last.as_ref().map(|run| format!(", going on with run {}", neutral::word(&run.id)));
    outln!("cordon: chat with {names}{}", goes_on.unwrap_or_default());
    outln!(
        "cordon: Alt-Enter, or a backslash at the end, begins a new line; Ctrl-C interrupts; /help says more"
    );
}

fn farewell(talk: &Talk) {
    let Some(run) = &talk.last else { return };
    let file = if talk.named { format!("{} ", neutral::word(&talk.file.name)) } else { String::new() };
    eprintln!("cordon: `cordon chat {file}--resume {}` goes on with this chat", neutral::word(&run.id));
}

/// What was pasted may hold what nobody has read.
fn tell_hidden(message: &str) {
    // Joined emoji hold the one that is left out here.
    let hidden = |c: &char| neutral::is_hidden(*c) && !matches!(c, '\n' | '\t' | '\u{200d}');
    match message.chars().filter(hidden).count() as u64 {
        0 => {}
        some => outln!("cordon: the message holds {} that do not show", count(some, "character")),
    }
}

/// The terminal as the person had it.
struct Ordinary(Termios);

impl Ordinary {
    fn new() -> Result<Self, CliError> {
        tcgetattr(io::stdin()).map(Self).map_err(|e| CliError::Terminal(e.into()))
    }

    fn again(&self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }

    /// What is typed during a turn waits for the next prompt, and is shown there.
    fn without_echo(&self) -> Result<Quiet<'_>, CliError> {
        let mut quiet = self.0.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Now, &quiet).map_err(|e| CliError::Terminal(e.into()))?;
        Ok(Quiet(self))
    }
}

struct Quiet<'a>(&'a Ordinary);

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        self.0.again();
    }
}
