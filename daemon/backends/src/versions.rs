//! Which versions of the programs Cordon can drive. What is older lacks arguments that it gives.

use crate::driver::interrupted;
use crate::text::MAX_LINE;
use crate::{BackendError, Context, Driver, ExecPlan, Exit, Step, TurnOutcome};
use cordon_config::BackendKind;
use cordon_proto::v1::{ErrorEvent, Outcome, OutputStream, event::Kind};
use cordon_sandbox::WallKind;
use std::path::Path;

/// Each program with the oldest version that is accepted. These were run: a command, an edit, a denial,
/// a server, a second turn, a stop. Of the older ones that were tried, Codex 0.139, 0.145 and 0.150 give
/// their key to the shells that they start, whatever they are told, and Copilot CLI 1.0.92 does not
/// know all arguments.
const LEAST: [(BackendKind, &str, [u64; 3]); 4] = [
    (BackendKind::Codex, "codex", [0, 160, 0]),
    (BackendKind::ClaudeCode, "claude", [2, 1, 114]),
    (BackendKind::GeminiCli, "gemini", [0, 40, 1]),
    (BackendKind::Copilot, "copilot", [1, 0, 102]),
];

/// Refuses a program that is too old. One whose version is not known is taken.
pub(crate) fn check(program: &str, path: &Path, version: Option<&str>) -> Result<(), BackendError> {
    let Some(text) = version else { return Ok(()) };
    let place = path.display().to_string();
    too_old(program, &place, text).map_or(Ok(()), |(what, fix)| {
        Err(BackendError::Invalid(format!(
            "{what}. {fix}, or name a newer one with cli_path, or use the docker wall"
        )))
    })
}

/// What is wrong with a version, and what to do.
fn too_old(program: &str, place: &str, version: &str) -> Option<(String, String)> {
    let least = LEAST.iter().find(|(_, name, _)| *name == program).map(|(.., least)| *least)?;
    let least_text = least.map(|n| n.to_string()).join(".");
    numbers(version).filter(|found| *found < least)?;
    let what = format!("{program} at {place} is version {version}; Cordon needs {least_text} or newer");
    Some((what, "Update it".to_owned()))
}

/// Has a program of an image that the user names asked for its version, before it is given a task, a
/// session or a key. On this machine its package says that, and Cordon's own images have the versions
/// that Cordon is made for.
#[must_use]
pub fn checked(driver: Box<dyn Driver>, context: &Context, resumed: bool) -> Box<dyn Driver> {
    let agent = &context.agent;
    let program = LEAST.iter().find(|(kind, ..)| *kind == agent.backend).map(|(_, name, _)| *name);
    match (program, &agent.docker.image) {
        (Some(program), Some(image)) if context.wall == WallKind::Docker && !resumed => Box::new(Checked {
            program,
            place: format!("the image {image}"),
            plan: ExecPlan {
                argv: vec![program.as_bytes().to_vec(), b"--version".to_vec()],
                env: Vec::new(),
                cwd: context.workspace.clone(),
                stdin: None,
            },
            said: Vec::new(),
            stage: Stage::Ask,
            inner: driver,
        }),
        _ => driver,
    }
}

enum Stage {
    Ask,
    Asked,
    Go,
    Over(TurnOutcome),
}

struct Checked {
    program: &'static str,
    place: String,
    plan: ExecPlan,
    said: Vec<u8>,
    stage: Stage,
    inner: Box<dyn Driver>,
}

impl Driver for Checked {
    fn next(&mut self) -> (Vec<Kind>, Step) {
        match &self.stage {
            Stage::Ask => {
                self.stage = Stage::Asked;
                (Vec::new(), Step::Exec(self.plan.clone()))
            }
            Stage::Asked => (Vec::new(), Step::Done(crate::driver::not_told(self.program))),
            Stage::Go => self.inner.next(),
            Stage::Over(outcome) => (Vec::new(), Step::Done(outcome.clone())),
        }
    }

    fn output(&mut self, stream: OutputStream, data: &[u8]) -> Vec<Kind> {
        if matches!(self.stage, Stage::Go) {
            return self.inner.output(stream, data);
        }
        if stream == OutputStream::Stdout {
            let room = MAX_LINE.saturating_sub(self.said.len());
            self.said.extend_from_slice(&data[..room.min(data.len())]);
        }
        Vec::new()
    }

    fn exited(&mut self, exit: &Exit) -> Vec<Kind> {
        if matches!(self.stage, Stage::Go) {
            return self.inner.exited(exit);
        }
        if let Some(outcome) = interrupted(self.program, exit) {
            self.stage = Stage::Over(outcome);
            return Vec::new();
        }
        let said = String::from_utf8_lossy(&self.said);
        let version = said.split_whitespace().map(|w| w.trim_end_matches('.')).find(|w| is_version(w));
        let Some((what, fix)) = version.and_then(|v| too_old(self.program, &self.place, v)) else {
            // An image may say what it likes, or nothing: the turn will show.
            self.stage = Stage::Go;
            return Vec::new();
        };
        let fix = format!("{fix} in the image, or leave `command_line_docker_image` out");
        let message = format!("{what}. {fix}");
        self.stage = Stage::Over(TurnOutcome { outcome: Outcome::AgentFailed, message });
        vec![Kind::Error(ErrorEvent { reason: "program-too-old".to_owned(), message: what, fix })]
    }
}

/// Whether a word is three numbers, with or without a rest.
fn is_version(word: &str) -> bool {
    word.len() <= 64
        && word.starts_with(|c: char| c.is_ascii_digit())
        && word.matches('.').count() >= 2
        && numbers(word).is_some()
}

/// `0.169.0-linux-x64` without what follows the numbers.
fn numbers(version: &str) -> Option<[u64; 3]> {
    let plain = version.split(['-', '+']).next()?;
    let mut parts = plain.split('.').map(|part| part.parse().ok());
    let mut next = || parts.next().unwrap_or(Some(0));
    Some([next()?, next()?, next()?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::testing;
    use crate::testing::{context, exit, not_started};

    #[test]
    fn what_is_too_old_is_refused_with_what_to_do() {
        let at = Path::new("/opt/codex");
        for fine in ["0.160.0", "0.169.0-linux-x64", "1.0", "nightly", "0.160.0+x"] {
            assert!(check("codex", at, Some(fine)).is_ok(), "{fine}");
        }
        assert!(check("codex", at, None).is_ok() && check("other", at, Some("0.1")).is_ok());
        let told = check("codex", at, Some("0.42.9-linux-x64")).unwrap_err().to_string();
        for words in ["/opt/codex", "0.42.9", "or newer", "cli_path"] {
            assert!(told.contains(words), "{told}");
        }
    }

    /// Runs one process and is content.
    struct Content(bool);

    impl Driver for Content {
        fn next(&mut self) -> (Vec<Kind>, Step) {
            let first = std::mem::replace(&mut self.0, false);
            let done = TurnOutcome { outcome: Outcome::Success, message: String::new() };
            (Vec::new(), if first { Step::Exec(testing::plan()) } else { Step::Done(done) })
        }

        fn output(&mut self, _stream: OutputStream, _data: &[u8]) -> Vec<Kind> {
            Vec::new()
        }

        fn exited(&mut self, _exit: &Exit) -> Vec<Kind> {
            Vec::new()
        }
    }

    /// What an image that somebody named says of its version, and whether the task was begun.
    fn asked(kind: BackendKind, said: &[u8], end: &Exit) -> (bool, Vec<Kind>, TurnOutcome) {
        let mut context = context(kind, Path::new("/nowhere"));
        context.agent.docker.image = Some("somebody/tools:1".to_owned());
        let mut driver = checked(Box::new(Content(true)), &context, false);
        let Step::Exec(plan) = driver.next().1 else { panic!("nothing is asked") };
        assert_eq!((plan.argv[1].as_slice(), plan.env.len(), plan.stdin), (&b"--version"[..], 0, None));
        driver.output(OutputStream::Stderr, b"0.0.1");
        let mut events: Vec<Kind> =
            said.chunks(3).flat_map(|s| driver.output(OutputStream::Stdout, s)).collect();
        events.extend(driver.exited(end));
        match driver.next().1 {
            Step::Done(outcome) => (false, events, outcome),
            Step::Exec(plan) => {
                assert_eq!(plan, testing::plan());
                driver.exited(&testing::CLEAN);
                let Step::Done(outcome) = driver.next().1 else { panic!("more is asked") };
                (true, events, outcome)
            }
        }
    }

    #[test]
    fn a_program_of_somebodys_image_is_asked_and_an_old_one_gets_no_task() {
        let all = [
            (BackendKind::Codex, "codex-cli 0.169.0\n", "codex-cli 0.20.0\n"),
            (BackendKind::ClaudeCode, "2.1.197 (Claude Code)\n", "1.0.84 (Claude Code)\n"),
            (BackendKind::GeminiCli, "0.61.0\n", "0.1.9\n"),
            (
                BackendKind::Copilot,
                "GitHub Copilot CLI 1.0.102.\nRun 'copilot update'.\n",
                "0.0.340\nCommit: 12\n",
            ),
        ];
        for (kind, new, old) in all {
            assert_eq!(asked(kind, new.as_bytes(), &testing::CLEAN).2.outcome, Outcome::Success, "{new}");
            let (begun, events, outcome) = asked(kind, old.as_bytes(), &testing::CLEAN);
            assert!(!begun, "{old}");
            assert_eq!(outcome.outcome, Outcome::AgentFailed);
            for words in ["the image somebody/tools:1", "or newer", "command_line_docker_image"] {
                assert!(outcome.message.contains(words), "{outcome:?}");
            }
            assert!(matches!(&events[..], [Kind::Error(e)] if e.reason == "program-too-old"), "{events:?}");
        }
    }

    #[test]
    fn what_says_no_version_is_taken_and_what_does_not_start_is_not() {
        let kind = BackendKind::Codex;
        let long = [b"x ".repeat(1 << 20), b"0.1.0".to_vec()].concat();
        for said in [&b""[..], b"no idea", b"\xff\xfe 1.2", b"1.x.y", &b"9".repeat(5000), &long] {
            assert!(asked(kind, said, &testing::CLEAN).0);
        }
        assert!(asked(kind, b"error: 7", &exit(2)).0);
        for (end, expected) in [
            (not_started(2), Outcome::AgentFailed),
            (Exit { cancelled: true, ..exit(0) }, Outcome::Cancelled),
            (Exit { timed_out: true, ..exit(0) }, Outcome::TimedOut),
        ] {
            let (begun, _, outcome) = asked(kind, b"codex-cli 0.169.0", &end);
            assert_eq!((begun, outcome.outcome), (false, expected));
        }
    }

    #[test]
    fn what_cordon_knows_is_not_asked() {
        let mut context = context(BackendKind::Codex, Path::new("/nowhere"));
        let first =
            |context: &Context, resumed| match checked(Box::new(Content(true)), context, resumed).next().1 {
                Step::Exec(plan) => plan,
                Step::Done(_) => panic!("nothing to run"),
            };
        assert_eq!(first(&context, false), testing::plan());
        context.agent.docker.image = Some("somebody/tools:1".to_owned());
        assert_ne!(first(&context, false), testing::plan());
        assert_eq!(first(&context, true), testing::plan());
        context.wall = WallKind::Local;
        assert_eq!(first(&context, false), testing::plan());
        context.wall = WallKind::Docker;
        context.agent.backend = BackendKind::Command;
        assert_eq!(first(&context, false), testing::plan());
    }
}
