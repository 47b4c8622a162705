//! What the drivers of event-printing programs share: one process, JSON lines on its
//! standard output, and an end that is a success only when the program itself said
//! so, exited with 0, and nobody stopped it.

use crate::lines::{Line, Lines};
use crate::text::{Excerpt, MAX_LINE, MAX_OUTPUT};
use crate::{Driver, ExecPlan, Exit, Step, TurnOutcome, json};
use cordon_proto::v1::event::Kind;
use cordon_proto::v1::{Outcome, OutputStream, UnknownEvent, WarningEvent};
use rustix::io::Errno;
use serde_json::Value;

/// What the program has said of the turn so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No final event.
    Open,
    /// Its success event.
    Success,
    /// It reported failure.
    Failed(String),
}

/// Understands the events of one program.
pub(crate) trait Parser: Send {
    /// Turns one event into ours. False: it is of no known type.
    fn event(&mut self, event: &Value, out: &mut Vec<Kind>) -> bool;
    /// A line of its log on standard error, which nothing is decided by.
    fn log(&mut self, _line: &[u8], _out: &mut Vec<Kind>) {}
    /// The program has ended: what was held back comes out.
    fn end(&mut self, _exit: &Exit, _out: &mut Vec<Kind>) {}
    /// What the events so far say of the turn.
    fn verdict(&self) -> Verdict;
}

/// Drives one process of an event-printing program.
pub(crate) struct CliDriver<P> {
    program: String,
    plan: Option<ExecPlan>,
    parser: P,
    lines: Lines,
    log: Lines,
    stderr: Excerpt,
    /// Whether an event was too long to be understood.
    unread: bool,
    outcome: Option<TurnOutcome>,
}

impl<P: Parser> CliDriver<P> {
    pub(crate) fn new(program: &str, plan: ExecPlan, parser: P) -> Self {
        Self {
            program: program.to_owned(),
            plan: Some(plan),
            parser,
            lines: Lines::new(),
            log: Lines::new(),
            stderr: Excerpt::new(MAX_OUTPUT),
            unread: false,
            outcome: None,
        }
    }

    fn read(&mut self, step: impl FnOnce(&mut Lines, &mut dyn FnMut(Line<'_>))) -> Vec<Kind> {
        let mut out = Vec::new();
        let Self { lines, parser, unread, .. } = self;
        step(lines, &mut |line| match line {
            Line::Whole(line) if line.iter().all(u8::is_ascii_whitespace) => {}
            Line::Whole(line) => {
                let known = json::object(line).is_some_and(|event| parser.event(&event, &mut out));
                if !known {
                    out.push(unknown(line));
                }
            }
            Line::TooLong { head, length } => {
                *unread = true;
                out.push(unknown(head));
                out.push(Kind::Warning(WarningEvent {
                    reason: "event-too-long".into(),
                    message: format!(
                        "an event of {length} bytes was too long to interpret; the raw output has it whole"
                    ),
                }));
            }
        });
        out
    }

    fn judge(&self, exit: &Exit) -> TurnOutcome {
        if let Some(outcome) = interrupted(&self.program, exit) {
            return outcome;
        }
        let message = match (self.parser.verdict(), exit.code) {
            (Verdict::Success, Some(0)) => {
                return TurnOutcome { outcome: Outcome::Success, message: String::new() };
            }
            (Verdict::Failed(why), _) => why,
            (Verdict::Success, _) => format!("{} reported success, but {}", self.program, ending(exit)),
            (Verdict::Open, _) => {
                let missed = if self.unread { ", and an event was too long to interpret" } else { "" };
                let words = self.stderr.last_words(MAX_LINE / 4);
                let words = if words.is_empty() { words } else { format!("; its last words: {words}") };
                format!("{} ended without its success event: {}{missed}{words}", self.program, ending(exit))
            }
        };
        TurnOutcome { outcome: Outcome::AgentFailed, message }
    }
}

impl<P: Parser> Driver for CliDriver<P> {
    fn next(&mut self) -> (Vec<Kind>, Step) {
        let step = match self.plan.take() {
            Some(plan) => Step::Exec(plan),
            None => Step::Done(self.outcome.clone().unwrap_or_else(|| not_told(&self.program))),
        };
        (Vec::new(), step)
    }

    fn output(&mut self, stream: OutputStream, data: &[u8]) -> Vec<Kind> {
        if stream == OutputStream::Stderr {
            self.stderr.push(data);
            let mut out = Vec::new();
            let Self { log, parser, .. } = self;
            log.push(data, &mut |line: Line<'_>| {
                if let Line::Whole(line) = line {
                    parser.log(line, &mut out);
                }
            });
            return out;
        }
        self.read(|lines, each| lines.push(data, each))
    }

    fn exited(&mut self, exit: &Exit) -> Vec<Kind> {
        let mut events = self.read(|lines, each| lines.finish(each));
        self.parser.end(exit, &mut events);
        self.outcome = Some(self.judge(exit));
        events
    }
}

fn unknown(raw: &[u8]) -> Kind {
    Kind::Unknown(UnknownEvent { raw: raw[..raw.len().min(MAX_OUTPUT)].to_vec().into() })
}

/// The outcome of a driver that is asked what is next while its process runs.
pub(crate) fn not_told(program: &str) -> TurnOutcome {
    TurnOutcome { outcome: Outcome::Broken, message: format!("the end of {program} was never seen") }
}

/// An end that is not the program's own doing.
pub(crate) fn interrupted(program: &str, exit: &Exit) -> Option<TurnOutcome> {
    let (outcome, message) = if exit.cancelled {
        (Outcome::Cancelled, "stopped on request".to_owned())
    } else if exit.timed_out {
        (Outcome::TimedOut, format!("{program} was stopped: its time limit or idle limit passed"))
    } else if let Some((errno, step)) = &exit.failed_to_start {
        // A program that is not where it was looked for is nothing that Cordon could mend.
        let absent = *errno == Errno::NOENT.raw_os_error() && step == "exec";
        let outcome = if absent { Outcome::AgentFailed } else { Outcome::Broken };
        (outcome, failed_to_start(program, *errno, step))
    } else if exit.code.is_none() && exit.signal.is_none() {
        (Outcome::Broken, format!("how {program} ended is not known: its sandbox was lost"))
    } else {
        return None;
    };
    Some(TurnOutcome { outcome, message })
}

pub(crate) fn failed_to_start(program: &str, errno: i32, step: &str) -> String {
    let error = std::io::Error::from_raw_os_error(errno);
    let hint = match step {
        "chdir" => "the working directory is not there inside the sandbox, or not allowed",
        _ => {
            "the program must be in the image of a docker sandbox, so name one that has it in \
             `command_line_docker_image` or leave that out, and below a readable path of a local one"
        }
    };
    format!("{program} could not be started ({step}): {error}. Hint: {hint}")
}

/// In words, after "but" or a colon.
pub(crate) fn ending(exit: &Exit) -> String {
    match (exit.code, exit.signal) {
        (Some(code), _) => format!("it exited with code {code}"),
        (None, Some(9)) => "it was killed (signal 9), perhaps at the memory limit".to_owned(),
        (None, Some(signal)) => format!("signal {signal} ended it"),
        (None, None) => "its end is not known".to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    pub(crate) const CLEAN: Exit =
        Exit { code: Some(0), signal: None, timed_out: false, cancelled: false, failed_to_start: None };

    pub(crate) fn plan() -> ExecPlan {
        ExecPlan { argv: vec![b"agent".to_vec()], env: Vec::new(), cwd: "/w".into(), stdin: None }
    }

    /// Runs one process to its end: what came out, and how the turn ended.
    pub(crate) fn run<P: Parser>(parser: P, pieces: &[&[u8]], exit: &Exit) -> (Vec<Kind>, TurnOutcome) {
        let mut driver = CliDriver::new("agent", plan(), parser);
        let (mut events, Step::Exec(_)) = driver.next() else { panic!("nothing to run") };
        for piece in pieces {
            events.extend(driver.output(OutputStream::Stdout, piece));
        }
        events.extend(driver.exited(exit));
        let (last, Step::Done(outcome)) = driver.next() else { panic!("not over") };
        events.extend(last);
        (events, outcome)
    }
}
