//! What is said of a command that ran: its output first, then how it ended.

use super::{
    capture::{self, Capture, Shown, encoded},
    child::Status,
    run::{Ending, Outcome},
};
use crate::{Answer, Piece, Table, ToolError, answer::denial_value, error::shown, resolve::Opened};
use cordon_policy::Denial;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::{fmt::Write as _, io, path::Path, time::Duration};

/// What everything but the output may cost.
const OVERHEAD: usize = 6 << 10;
/// The most that names of commands and directories cost.
const SHORT: usize = 600;

/// What the output of one command may cost, in the text; it stands in the value for programs
/// once more.
pub(crate) fn room(table: &Table) -> usize {
    (table.result_bytes.saturating_sub(OVERHEAD) / 2).max(256)
}

/// A text in a line, and not a long one.
pub(crate) fn short(text: &str) -> String {
    capture::beginning(shown(text).as_bytes(), SHORT).0
}

/// Two streams in one room: what is said of failures has a quarter for certain.
pub(crate) fn share(room: usize, stdout: usize, stderr: usize) -> (usize, usize) {
    let for_stderr = stderr.min((room / 4).max(room.saturating_sub(stdout)));
    (room - for_stderr, for_stderr)
}

pub(crate) fn not_started(directory: &Opened, error: &io::Error) -> ToolError {
    ToolError::Failed(format!(
        "the shell could not be started in {}: {error}",
        ToolError::shown(&directory.path)
    ))
}

/// The signals that have a use, by name.
pub(crate) const SIGNALS: [(&str, Signal); 19] = [
    ("HUP", Signal::HUP),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("ILL", Signal::ILL),
    ("TRAP", Signal::TRAP),
    ("ABRT", Signal::ABORT),
    ("BUS", Signal::BUS),
    ("FPE", Signal::FPE),
    ("KILL", Signal::KILL),
    ("USR1", Signal::USR1),
    ("SEGV", Signal::SEGV),
    ("USR2", Signal::USR2),
    ("PIPE", Signal::PIPE),
    ("ALRM", Signal::ALARM),
    ("TERM", Signal::TERM),
    ("CONT", Signal::CONT),
    ("STOP", Signal::STOP),
    ("WINCH", Signal::WINCH),
    ("SYS", Signal::SYS),
];

pub(crate) fn signal_name(number: i32) -> String {
    let known = SIGNALS.iter().find(|(_, signal)| signal.as_raw() == number);
    known.map_or_else(|| format!("signal {number}"), |(name, _)| format!("SIG{name}"))
}

/// How a main process ended, in words.
pub(crate) fn ended(status: Status) -> String {
    match (status.exit_code, status.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by {}", signal_name(signal)),
        (None, None) => "no exit status: the kernel did not let it end".to_owned(),
    }
}

/// What to know of a command besides what it did.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) command: &'a str,
    pub(crate) directory: &'a Path,
    pub(crate) limit: Duration,
    pub(crate) notes: Vec<String>,
    pub(crate) denials: Vec<Denial>,
}

impl Report<'_> {
    pub(crate) fn answer(
        mut self,
        table: &Table,
        outcome: &Outcome,
        stdout: Capture,
        stderr: Capture,
    ) -> Answer {
        let room = room(table);
        // Bytes cost at least what they are; what control characters cost on top is met below.
        let needs =
            |capture: &Capture| usize::try_from(capture.total()).unwrap_or(usize::MAX).saturating_mul(3);
        let (for_stdout, for_stderr) = share(room, needs(&stdout), needs(&stderr));
        let stderr = Shown::of(stderr, for_stderr);
        let stdout = Shown::of(stdout, for_stdout.max(room.saturating_sub(encoded(&stderr.text))));
        self.notes.extend(straggler_note(outcome));
        let text = self.text(outcome, &stdout, &stderr);
        let value = self.value(outcome, stdout, stderr);
        let is_error = outcome.ending != Ending::Own;
        Answer { pieces: vec![Piece::Text(text)], structured: Some(value), is_error }
    }

    fn text(&self, outcome: &Outcome, stdout: &Shown, stderr: &Shown) -> String {
        let mut text = stdout.text.clone();
        let line = |text: &mut String| {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
        };
        if !stderr.text.is_empty() {
            line(&mut text);
            text.push_str("[stderr]\n");
            text.push_str(&stderr.text);
        }
        line(&mut text);
        let seconds = outcome.duration.as_secs_f64();
        let how = match outcome.ending {
            Ending::Own => ended(outcome.status),
            Ending::TimedOut => format!("timed out after {} s and killed", self.limit.as_secs_f64()),
            Ending::Cancelled => "cancelled and killed".to_owned(),
        };
        // Writing to a string does not fail.
        let _ = write!(text, "[{how}, {seconds:.3} s]");
        for (name, stream) in [("stdout", stdout), ("stderr", stderr)] {
            if stream.cut > 0 {
                let _ = write!(
                    text,
                    "\n[{name}: {} of {} bytes cut; to see them, redirect it to a file and read that with head, \
                     tail or sed -n]",
                    stream.cut, stream.bytes
                );
            }
            if stream.lossy {
                let _ = write!(text, "\n[{name}: not all of it is UTF-8, such bytes are shown as \u{fffd}]");
            }
        }
        for note in &self.notes {
            let _ = write!(text, "\n[{note}]");
        }
        for denial in &self.denials {
            let _ = write!(text, "\npolicy: {denial}");
        }
        text
    }

    fn value(self, outcome: &Outcome, stdout: Shown, stderr: Shown) -> Value {
        let mut value = json!({
            "exit_code": outcome.status.exit_code,
            "signal": outcome.status.signal.map(signal_name),
            "timed_out": outcome.ending == Ending::TimedOut,
            "cancelled": outcome.ending == Ending::Cancelled,
            "stdout_bytes": stdout.bytes,
            "stderr_bytes": stderr.bytes,
            "stdout_cut_bytes": stdout.cut,
            "stderr_cut_bytes": stderr.cut,
            "truncated": stdout.cut > 0 || stderr.cut > 0,
            "lossy": stdout.lossy || stderr.lossy,
            "stdout": stdout.text,
            "stderr": stderr.text,
            "duration_ms": u64::try_from(outcome.duration.as_millis()).unwrap_or(u64::MAX),
            "killed_processes": outcome.stragglers.killed,
            "command": short(self.command),
            "work_dir": short(&self.directory.to_string_lossy()),
        });
        if !self.notes.is_empty() {
            value["notes"] = json!(self.notes);
        }
        if !self.denials.is_empty() {
            value["denials"] = self.denials.iter().map(denial_value).collect();
        }
        value
    }
}

/// What is said when more than the main process had to be ended.
pub(crate) fn straggler_note(outcome: &Outcome) -> Option<String> {
    let ended = outcome.stragglers;
    let count = |n: usize| if n == 1 { "1 process".to_owned() } else { format!("{n} processes") };
    if ended.left > 0 {
        return Some(format!("{} that was killed does not end: the kernel keeps it", count(ended.left)));
    }
    (outcome.ending == Ending::Own && ended.killed > 0).then(|| {
        format!(
            "it left {} running, killed now: what shall go on belongs to start_background_command",
            count(ended.killed)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn signals_have_their_names() {
        assert_eq!(signal_name(9), "SIGKILL");
        assert_eq!(signal_name(15), "SIGTERM");
        assert_eq!(signal_name(40), "signal 40");
    }

    proptest! {
        #[test]
        fn a_room_is_shared_in_full_and_never_twice(room in 4..10_000_usize, a in 0..20_000_usize, b in 0..20_000_usize) {
            let (one, other) = share(room, a, b);
            prop_assert_eq!(one + other, room);
            prop_assert!(other >= b.min(room / 4));
        }
    }
}
