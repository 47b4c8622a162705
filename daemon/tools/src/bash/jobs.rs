//! The tools for commands in the background.

use super::{
    background::{End, Job},
    capture,
    child::Child,
    execute, filter, report,
    ring::Part,
    run::Ending,
    shell,
};
use crate::{
    Answer, Piece, ToolError,
    answer::denial_value,
    error::shown,
    registry::{Call, Tool},
};
use rustix::process::Signal;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write as _};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Start {
    /// The command, as `bash -c` takes it.
    command: String,
    /// Where to run it: a directory, relative to the workspace. Default: the workspace.
    #[serde(default)]
    work_dir: Option<String>,
    /// Environment variables to set for it.
    #[serde(default)]
    env: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Id {
    /// As `start_background_command` answered it.
    id: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Output {
    /// As `start_background_command` answered it.
    id: String,
    /// Where to begin: the `next` of an earlier answer. Default: what is kept from the beginning on.
    #[serde(default)]
    since: Since,
    /// The most bytes to answer.
    #[serde(default)]
    max_bytes: Option<u64>,
}

/// Offsets in bytes; negative ones count from the end.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Since {
    #[serde(default)]
    stdout: i64,
    #[serde(default)]
    stderr: i64,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kill {
    /// As `start_background_command` answered it.
    id: String,
    /// A signal to send to its process group, such as INT, TERM or HUP, and nothing more.
    /// Default: it is asked to end (TERM), and after two seconds everything of it is killed.
    #[serde(default)]
    signal: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

pub(crate) fn tools() -> Vec<Tool> {
    vec![
        Tool::new(
            "start_background_command",
            "Start a command with bash and do not wait for it. Answers an id for the other background tools. \
             At most 32 run at a time; when its main process ends, and when the session does, all of its \
             processes are killed.",
            start,
        ),
        Tool::new(
            "get_background_command_status",
            "Whether a background command still runs, how it ended, and how much it printed.",
            |call: Call, arguments: Id| async move { Ok(status(&*call.state.bash.jobs.get(&arguments.id)?)) },
        )
        .reads(),
        Tool::new(
            "get_background_command_output",
            "What a background command printed since an offset, stdout and stderr apart, with the offsets to go \
             on from. The last 4 MiB of each are kept (1 MiB after its end).",
            |call: Call, arguments: Output| async move { output(&call, &arguments) },
        )
        .reads(),
        Tool::new(
            "kill_background_command",
            "End a background command with all of its processes, or send its process group a signal.",
            kill,
        ),
        Tool::new(
            "list_background_commands",
            "All background commands that run, and those that ended last.",
            |call: Call, _: Nothing| async move { Ok(list(&call)) },
        )
        .reads(),
    ]
}

async fn start(call: Call, arguments: Start) -> Result<Answer, ToolError> {
    shell::check(&arguments.command)?;
    let variables = arguments.env.unwrap_or_default();
    shell::variables(&variables)?;
    let table = &call.state.table;
    if let Some(refusal) = filter::refusal(table, &arguments.command) {
        return Ok(refusal);
    }
    let shells = &call.state.bash;
    let login = shells.login(&shells.cancel(&call.cancel)).await?;
    let directory = execute::directory(&call, arguments.work_dir.as_deref())?;
    let command = shell::prepare(login, &arguments.command, &directory, &variables)?;
    let job = shells.jobs.start(
        table,
        report::short(&arguments.command),
        directory.path.clone(),
        shells.ending.clone(),
        || Child::start(command, shells.running.token()),
    )?;
    Ok(Answer::text(format!("started as {}", job.id)).with(describe(&job, None)))
}

/// How it goes, for programs.
fn describe(job: &Job, end: Option<&End>) -> Value {
    let (stdout, stderr) = job.totals();
    let outcome = end.and_then(|end| end.outcome.as_ref().ok());
    let ran = outcome.map_or_else(|| job.started.elapsed(), |outcome| outcome.duration);
    let mut value = json!({
        "id": job.id,
        "state": if end.is_some() { "ended" } else { "running" },
        "pid": job.pid,
        "command": job.command,
        "work_dir": report::short(&job.directory.to_string_lossy()),
        "duration_ms": u64::try_from(ran.as_millis()).unwrap_or(u64::MAX),
        "stdout_bytes": stdout,
        "stderr_bytes": stderr,
    });
    if let Some(end) = end {
        value["exit_code"] = json!(outcome.and_then(|outcome| outcome.status.exit_code));
        value["signal"] = json!(outcome.and_then(|outcome| outcome.status.signal).map(report::signal_name));
        value["killed"] = json!(outcome.is_some_and(|outcome| outcome.ending != Ending::Own));
        if let Some(note) = outcome.and_then(report::straggler_note) {
            value["notes"] = json!([note]);
        }
        if !end.denials.is_empty() {
            value["denials"] = end.denials.iter().map(denial_value).collect();
        }
    }
    value
}

fn in_words(job: &Job, end: Option<&End>) -> String {
    let how = match end.map(|end| &end.outcome) {
        None => format!("runs for {:.1} s", job.started.elapsed().as_secs_f64()),
        Some(Ok(outcome)) => {
            format!("ended, {}, after {:.1} s", report::ended(outcome.status), outcome.duration.as_secs_f64())
        }
        Some(Err(why)) => format!("lost: {why}"),
    };
    format!("{} {how}", job.id)
}

fn status(job: &Job) -> Answer {
    let end = job.end();
    let (stdout, stderr) = job.totals();
    let mut text = format!(
        "{}; it printed {stdout} bytes to stdout, {stderr} to stderr: {}",
        in_words(job, end.as_ref()),
        job.command
    );
    if let Some(end) = &end {
        let note = end.outcome.as_ref().ok().and_then(report::straggler_note);
        // Writing to a string does not fail.
        if let Some(note) = note {
            let _ = write!(text, "\n[{note}]");
        }
        for denial in &end.denials {
            let _ = write!(text, "\npolicy: {denial}");
        }
    }
    Answer::text(text).with(describe(job, end.as_ref()))
}

/// A part as text that costs at most `room`, and where the next begins.
fn show(part: &Part, room: usize) -> (String, u64, bool) {
    let (text, used, lossy) = capture::beginning(&part.bytes, room);
    (text, part.from + used as u64, lossy)
}

fn output(call: &Call, arguments: &Output) -> Result<Answer, ToolError> {
    let job = call.state.bash.jobs.get(&arguments.id)?;
    // Asked first: what is read after it is all there was, if it has ended by then.
    let end = job.end();
    let room = report::room(&call.state.table);
    let limit = arguments.max_bytes.map_or(room, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    if limit < 4 {
        return Err(ToolError::Arguments("max_bytes: give 4 or more".to_owned()));
    }
    let (stdout, stderr) = job.output((arguments.since.stdout, arguments.since.stderr), limit.min(room));
    // Stderr first: the rest of the room is stdout's.
    let (stderr_text, stderr_next, stderr_lossy) = show(&stderr, room / 2);
    let left = room.saturating_sub(capture::encoded(&stderr_text));
    let (stdout_text, stdout_next, stdout_lossy) = show(&stdout, left);
    let (stdout_total, stderr_total) = job.totals();
    let mut text = stdout_text.clone();
    if !stderr_text.is_empty() {
        let _ = write!(text, "\n[stderr]\n{stderr_text}");
    }
    let _ = write!(
        text,
        "\n[{}; go on with since: {{\"stdout\": {stdout_next}, \"stderr\": {stderr_next}}}]",
        in_words(&job, end.as_ref())
    );
    for (name, part, next, total) in
        [("stdout", &stdout, stdout_next, stdout_total), ("stderr", &stderr, stderr_next, stderr_total)]
    {
        if part.dropped > 0 {
            let _ = write!(text, "\n[{name}: {} bytes before it are no longer kept]", part.dropped);
        }
        if total > next {
            let _ = write!(text, "\n[{name}: {} bytes more are there]", total - next);
        }
    }
    if stdout_lossy || stderr_lossy {
        text.push_str("\n[not all of it is UTF-8, such bytes are shown as \u{fffd}]");
    }
    let mut value = describe(&job, end.as_ref());
    value["stdout"] = json!(stdout_text);
    value["stderr"] = json!(stderr_text);
    value["from"] = json!({ "stdout": stdout.from, "stderr": stderr.from });
    value["next"] = json!({ "stdout": stdout_next, "stderr": stderr_next });
    value["dropped_bytes"] = json!({ "stdout": stdout.dropped, "stderr": stderr.dropped });
    value["lossy"] = json!(stdout_lossy || stderr_lossy);
    Ok(Answer { pieces: vec![Piece::Text(text)], structured: Some(value), is_error: false })
}

fn signal(name: &str) -> Result<Signal, ToolError> {
    let upper = name.trim().to_ascii_uppercase();
    let plain = upper.strip_prefix("SIG").unwrap_or(&upper);
    let found = report::SIGNALS
        .iter()
        .find(|(known, signal)| *known == plain || signal.as_raw().to_string() == plain);
    found.map(|(_, signal)| *signal).ok_or_else(|| {
        let known = report::SIGNALS.map(|(name, _)| name).join(", ");
        ToolError::Arguments(format!("signal {}: give one of {known}", shown(name)))
    })
}

async fn kill(call: Call, arguments: Kill) -> Result<Answer, ToolError> {
    let job = call.state.bash.jobs.get(&arguments.id)?;
    if job.end().is_some() {
        return Ok(status(&job));
    }
    match arguments.signal {
        Some(name) => {
            let signal = signal(&name)?;
            if !job.signal(signal) {
                return Err(ToolError::Failed(format!("{} is just ending", job.id)));
            }
            Ok(Answer::text(format!("sent {} to {}", shown(&name), job.id)).with(describe(&job, None)))
        }
        None => {
            job.kill().await;
            Ok(status(&job))
        }
    }
}

fn list(call: &Call) -> Answer {
    let jobs = call.state.bash.jobs.all();
    let room = report::room(&call.state.table);
    let (mut spent, mut lines, mut values) = (0, Vec::new(), Vec::new());
    // The latest matter most, should there be too many.
    for job in jobs.iter().rev() {
        let mut end = job.end();
        if let Some(end) = &mut end {
            // One is asked for them by its own status.
            end.denials.clear();
        }
        let value = describe(job, end.as_ref());
        spent += value.to_string().len();
        if spent > room {
            lines.push(format!("[{} more]", jobs.len() - lines.len()));
            break;
        }
        lines.push(format!("{}: {}", in_words(job, end.as_ref()), job.command));
        values.push(value);
    }
    let text = if lines.is_empty() { "no background commands".to_owned() } else { lines.join("\n") };
    Answer::text(text).with(json!({ "commands": values }))
}
