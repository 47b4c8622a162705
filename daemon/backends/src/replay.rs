//! A recorded list of tool calls, done again for real: programs as they are, reads and
//! writes through the guest's own file tools.
//!
//! The turn is a success when every step was performed and the last `exec` step exited
//! with 0. A step that was denied counts as performed: showing denials is what replays
//! are for.

use crate::command::{BASE_IMAGE, start_denial};
use crate::driver::{ending, failed_to_start, interrupted};
use crate::text::{Excerpt, MAX_LINE, MAX_OUTPUT, clip};
use crate::{Backend, BackendError, Context, Driver, ExecPlan, Exit, Needs, Step, Turn, TurnOutcome};
use crate::{denial, events, json, process};
use cordon_config::ReplayStep;
use cordon_policy::{Operation, Policy};
use cordon_proto::v1::event::Kind;
use cordon_proto::v1::{Denial, Outcome, OutputStream};
use cordon_sandbox::SandboxSpec;
use rustix::io::Errno;
use serde_json::json;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The guest's file tools exit with this when the system refused.
const REFUSED: i32 = 100;

pub(crate) struct Replay;

impl Backend for Replay {
    fn needs(&self, context: &Context) -> Result<Needs, BackendError> {
        let holds_nul = |step: &ReplayStep| match step {
            ReplayStep::Exec { argv } => argv.iter().any(|a| a.contains('\0')),
            ReplayStep::Read { path } | ReplayStep::Write { path, .. } => {
                path.as_os_str().as_bytes().contains(&0)
            }
            ReplayStep::Say { .. } => false,
        };
        for (n, step) in context.agent.steps.iter().enumerate() {
            if matches!(step, ReplayStep::Exec { argv } if argv.is_empty()) || holds_nul(step) {
                return Err(BackendError::Invalid(format!(
                    "backend.steps[{n}] is an empty command or holds a NUL character"
                )));
            }
        }
        process::environment(context, &[], &[])?;
        Ok(Needs { image: Some(BASE_IMAGE.to_owned()), ..Needs::default() })
    }

    fn turn(&self, context: &Context, turn: Turn) -> Result<Box<dyn Driver>, BackendError> {
        let env = process::environment(context, &[], &[])?;
        Ok(Box::new(ReplayDriver::new(context, turn.policy, env)))
    }

    fn recover(&self, context: &Context, turn: Turn) -> Box<dyn Driver> {
        Box::new(ReplayDriver::new(context, turn.policy, Vec::new()))
    }

    fn variables(&self) -> &'static [&'static str] {
        &[]
    }
}

struct ReplayDriver {
    steps: Vec<ReplayStep>,
    workspace: PathBuf,
    env: Vec<(String, Vec<u8>)>,
    policy: Arc<Policy>,
    /// The next step.
    at: usize,
    running: Option<Running>,
    /// How the last `exec` step failed.
    failure: Option<String>,
    /// Set when the turn was ended from outside.
    ended: Option<TurnOutcome>,
}

/// The step whose process runs.
struct Running {
    id: String,
    action: Action,
    stdout: Excerpt,
    stderr: Excerpt,
    /// Both streams as they came.
    both: Excerpt,
}

enum Action {
    Exec { argv: Vec<String> },
    File { operation: Operation, path: PathBuf },
}

impl ReplayDriver {
    fn new(context: &Context, policy: Arc<Policy>, env: Vec<(String, Vec<u8>)>) -> Self {
        Self {
            steps: context.agent.steps.clone(),
            workspace: context.workspace.clone(),
            env,
            policy,
            at: 0,
            running: None,
            failure: None,
            ended: None,
        }
    }

    fn outcome(&self) -> TurnOutcome {
        match (&self.ended, &self.failure) {
            (Some(ended), _) => ended.clone(),
            (None, Some(why)) => TurnOutcome { outcome: Outcome::AgentFailed, message: why.clone() },
            (None, None) => TurnOutcome { outcome: Outcome::Success, message: String::new() },
        }
    }

    /// The process of a step, and the event of its start.
    fn start(&mut self, step: ReplayStep) -> (Kind, ExecPlan) {
        let id = format!("step-{}", self.at);
        let (action, argv, stdin) = match step {
            ReplayStep::Exec { argv } => {
                let bytes = argv.iter().map(|a| a.as_bytes().to_vec()).collect();
                (Action::Exec { argv }, bytes, None)
            }
            ReplayStep::Read { path } => self.file_tool("read", Operation::Read, &path, None),
            ReplayStep::Write { path, content } => {
                self.file_tool("write", Operation::Write, &path, Some(content.into_bytes()))
            }
            // `next` says these itself.
            ReplayStep::Say { text } => (Action::Exec { argv: vec![text] }, Vec::new(), None),
        };
        let event = match &action {
            Action::Exec { argv } => events::command(&id, &shown(argv), "started", None, ""),
            Action::File { operation, path } => {
                events::tool_call(&id, &operation.to_string(), &arguments(path), "started", "")
            }
        };
        let excerpt = || Excerpt::new(MAX_OUTPUT);
        self.running = Some(Running { id, action, stdout: excerpt(), stderr: excerpt(), both: excerpt() });
        (event, ExecPlan { argv, env: self.env.clone(), cwd: self.workspace.clone(), stdin })
    }

    fn file_tool(
        &self,
        tool: &str,
        operation: Operation,
        path: &Path,
        stdin: Option<Vec<u8>>,
    ) -> (Action, Vec<Vec<u8>>, Option<Vec<u8>>) {
        let path = self.workspace.join(path);
        let argv = vec![
            SandboxSpec::GUEST_INSIDE.as_bytes().to_vec(),
            b"tool".to_vec(),
            tool.as_bytes().to_vec(),
            path.as_os_str().as_bytes().to_vec(),
        ];
        (Action::File { operation, path }, argv, stdin)
    }

    fn exec_ended(&mut self, running: &Running, argv: &[String], exit: &Exit) -> Vec<Kind> {
        let program = argv.first().map(String::as_str).unwrap_or_default();
        let (output, failure) = match &exit.failed_to_start {
            Some((errno, step)) => {
                let why = failed_to_start(program, *errno, step);
                (why.clone(), Some(why))
            }
            None => {
                let failed = exit.code != Some(0);
                let why = failed.then(|| format!("{} of the replay: {}", running.id, ending(exit)));
                (running.both.text(), why)
            }
        };
        let status = if failure.is_some() { "failed" } else { "completed" };
        self.failure = failure;
        let done = events::command(&running.id, &shown(argv), status, exit.code, &output);
        let path = self.workspace.join(program);
        std::iter::once(done).chain(start_denial(&self.policy, program, &path, exit)).collect()
    }

    fn file_ended(&self, running: &Running, operation: Operation, path: &Path, exit: &Exit) -> Vec<Kind> {
        let (status, result, denial) = match exit.code {
            Some(0) => ("completed", running.stdout.text(), None),
            Some(REFUSED) => match refusal(&running.stderr.text()) {
                Some(errno) => self.refused(operation, path, errno),
                None => ("failed", running.stderr.last_words(MAX_LINE), None),
            },
            _ => {
                let words = running.stderr.last_words(MAX_LINE);
                ("failed", format!("the guest's tool: {}; {words}", ending(exit)), None)
            }
        };
        let name = operation.to_string();
        let done = events::tool_call(&running.id, &name, &arguments(path), status, &result);
        std::iter::once(done).chain(denial.map(Kind::Denial)).collect()
    }

    /// What an error number means for this operation: a denial when the policy says so,
    /// or when the system refuses for want of permission.
    fn refused(
        &self,
        operation: Operation,
        path: &Path,
        errno: i32,
    ) -> (&'static str, String, Option<Denial>) {
        let error = std::io::Error::from_raw_os_error(errno).to_string();
        let permission = [Errno::ACCESS, Errno::PERM, Errno::ROFS].iter().any(|e| e.raw_os_error() == errno);
        let explained = denial::explain(&self.policy, path, operation);
        let denial = match explained {
            // A hidden path looks absent, or is reached by a link that is not followed.
            Some(denial) => Some(denial),
            None if permission => Some(Denial {
                operation: operation.to_string(),
                target: path.to_string_lossy().escape_debug().to_string(),
                rule: format!("the policy allows it, the file's own permissions or links do not: {error}"),
                origin: "file system".to_owned(),
                layer: "guest".to_owned(),
                would_allow: String::new(),
            }),
            None => None,
        };
        let status = if denial.is_some() { "denied" } else { "failed" };
        (status, error, denial)
    }
}

impl Driver for ReplayDriver {
    fn next(&mut self) -> (Vec<Kind>, Step) {
        let mut events = Vec::new();
        if self.ended.is_none() {
            while let Some(step) = self.steps.get(self.at).cloned() {
                self.at += 1;
                if let ReplayStep::Say { text } = &step {
                    events.extend(events::message(text));
                    continue;
                }
                let (event, plan) = self.start(step);
                events.push(event);
                return (events, Step::Exec(plan));
            }
        }
        (events, Step::Done(self.outcome()))
    }

    fn output(&mut self, stream: OutputStream, data: &[u8]) -> Vec<Kind> {
        if let Some(running) = &mut self.running {
            running.both.push(data);
            match stream {
                OutputStream::Stderr => running.stderr.push(data),
                _ => running.stdout.push(data),
            }
        }
        Vec::new()
    }

    fn exited(&mut self, exit: &Exit) -> Vec<Kind> {
        let Some(running) = self.running.take() else { return Vec::new() };
        let starts_guest = matches!(running.action, Action::File { .. });
        // A program that cannot be started is one failed step; the guest's own tool that
        // cannot is Cordon's trouble.
        if exit.failed_to_start.is_none() || exit.cancelled || exit.timed_out || starts_guest {
            self.ended = interrupted("the replay", exit);
        }
        match &running.action {
            Action::Exec { argv } => self.exec_ended(&running, argv, exit),
            Action::File { operation, path } => self.file_ended(&running, *operation, path, exit),
        }
    }
}

/// The error number that the guest's tool reports on its standard error.
fn refusal(stderr: &str) -> Option<i32> {
    stderr.lines().rev().find_map(|line| {
        let errno = json::object(line.as_bytes())?["errno"].as_i64()?;
        i32::try_from(errno).ok().filter(|e| *e > 0)
    })
}

fn arguments(path: &Path) -> serde_json::Value {
    json!({ "path": path.to_string_lossy() })
}

/// A command line for people: arguments with anything but plain characters are quoted.
fn shown(argv: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    let words = argv.iter().map(|a| {
        if !a.is_empty() && a.chars().all(plain) {
            a.clone()
        } else {
            format!("'{}'", a.replace('\'', "'\\''"))
        }
    });
    clip(&words.collect::<Vec<_>>().join(" "), MAX_OUTPUT)
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
