//! `execute_command`: one command, waited for.

use super::{
    capture::Capture,
    child::Child,
    denials, filter,
    report::{self, Report},
    run::{self, Sink},
    shell,
};
use crate::{
    Answer, ToolError,
    registry::{Call, Tool},
    resolve::{Opened, Resolver},
};
use cordon_policy::Operation;
use schemars::JsonSchema;
use serde::Deserialize;
use std::{collections::BTreeMap, time::Duration};

/// Seconds.
const DEFAULT: f64 = 60.0;
const LONGEST: f64 = 600.0;
/// What of stderr, at both ends, is looked through for refusals.
const LOOKED_AT: usize = 16 << 10;

const DESCRIPTION: &str = "Run a command with bash in the workspace and wait for it. Standard input is \
    empty. Answers stdout and stderr apart, the exit code, and how long it took; of long output the \
    beginning and the end. All processes of the command are killed when it ends, and on timeout: use \
    start_background_command for what shall go on running.";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Arguments {
    /// The command, as `bash -c` takes it.
    command: String,
    /// Seconds until it is killed; at most 600, which null and 0 mean as well.
    #[serde(default = "default_timeout")]
    timeout: Option<f64>,
    /// Where to run it: a directory, relative to the workspace. Default: the workspace.
    #[serde(default)]
    work_dir: Option<String>,
    /// Environment variables to set for it.
    #[serde(default)]
    env: Option<BTreeMap<String, String>>,
}

#[allow(clippy::unnecessary_wraps, reason = "null is something else than nothing")]
fn default_timeout() -> Option<f64> {
    Some(DEFAULT)
}

pub(crate) fn tool() -> Tool {
    Tool::new("execute_command", DESCRIPTION, execute)
}

/// How long it may run, and what is to be said of that.
fn limit(timeout: Option<f64>) -> Result<(Duration, Option<String>), ToolError> {
    let seconds = timeout.unwrap_or(0.0);
    if !seconds.is_finite() || seconds < 0.0 {
        return Err(ToolError::Arguments("timeout: give seconds from 0 to 600".to_owned()));
    }
    if seconds > 0.0 && seconds <= LONGEST {
        return Ok((Duration::from_secs_f64(seconds), None));
    }
    let note = format!("no command is waited for longer than {LONGEST} s: that is its timeout");
    Ok((Duration::from_secs_f64(LONGEST), Some(note)))
}

/// The directory to run in: one that the policy lets list.
pub(crate) fn directory(call: &Call, work_dir: Option<&str>) -> Result<Opened, ToolError> {
    let asked = work_dir.unwrap_or(".");
    let opened = Resolver::new(&call.state.table).open(asked, Operation::List)?;
    if opened.is_directory() {
        return Ok(opened);
    }
    Err(ToolError::Unsuitable(ToolError::shown(asked.as_ref()), "work_dir has to be a directory".to_owned()))
}

struct Both {
    stdout: Capture,
    stderr: Capture,
}

impl Sink for Both {
    fn stdout(&mut self, bytes: &[u8]) {
        self.stdout.push(bytes);
    }

    fn stderr(&mut self, bytes: &[u8]) {
        self.stderr.push(bytes);
    }
}

async fn execute(call: Call, arguments: Arguments) -> Result<Answer, ToolError> {
    shell::check(&arguments.command)?;
    let variables = arguments.env.unwrap_or_default();
    shell::variables(&variables)?;
    let (limit, note) = limit(arguments.timeout)?;
    if let Some(refusal) = filter::refusal(&call.state.table, &arguments.command) {
        return Ok(refusal);
    }
    let shells = &call.state.bash;
    let cancel = shells.cancel(&call.cancel);
    let login = shells.login(&cancel).await?;
    let directory = directory(&call, arguments.work_dir.as_deref())?;
    let started = {
        let command = shell::prepare(login, &arguments.command, &directory, &variables)?;
        Child::start(command, shells.running.token())
    }
    .map_err(|error| report::not_started(&directory, &error))?;
    let room = report::room(&call.state.table);
    let keep = || Capture::new(room / 2 + 1, room / 2 + 1);
    let mut both = Both { stdout: keep(), stderr: keep() };
    let outcome = run::run(started, &mut both, Some(limit), &cancel)
        .await
        .map_err(|error| ToolError::Failed(format!("the command could not be waited for: {error}")))?;
    let denials =
        denials::find(&call.state.table, &directory.path, outcome.status, &both.stderr.glimpse(LOOKED_AT));
    let notes = note.into_iter().chain(login.problem.clone()).collect();
    let report = Report { command: &arguments.command, directory: &directory.path, limit, notes, denials };
    Ok(report.answer(&call.state.table, &outcome, both.stdout, both.stderr))
}
