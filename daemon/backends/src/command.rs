//! Any program: the prompt on its standard input, success by exit code 0.

use crate::driver::{ending, interrupted, not_told};
use crate::text::{Excerpt, MAX_LINE, MAX_OUTPUT};
use crate::{Backend, BackendError, Context, Driver, ExecPlan, Exit, Needs, Step, Turn, TurnOutcome};
use crate::{denial, process, program};
use cordon_policy::{Operation, Policy};
use cordon_proto::v1::event::Kind;
use cordon_proto::v1::{Outcome, OutputStream};
use cordon_sandbox::WallKind;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) const BASE_IMAGE: &str = "cordon/base:latest";

pub(crate) struct Command;

/// The program outside the system's directories that the local wall has to show. Not
/// one inside the workspace or a context path: those are visible by their own rules.
fn shown(context: &Context) -> Option<PathBuf> {
    let program = Path::new(context.agent.command.first()?);
    let path = program::outside(program, &context.program_path)?;
    let visible = std::iter::once(context.workspace.as_path())
        .chain(context.agent.context_paths.iter().map(|c| c.path.as_path()))
        .any(|tree| path.starts_with(tree) || program.starts_with(tree));
    (context.wall == WallKind::Local && !visible).then_some(path)
}

fn argv(context: &Context) -> Vec<Vec<u8>> {
    let mut argv: Vec<Vec<u8>> = context.agent.command.iter().map(|a| a.as_bytes().to_vec()).collect();
    if let (Some(first), Some(path)) = (argv.first_mut(), shown(context)) {
        *first = path.as_os_str().as_bytes().to_vec();
    }
    argv
}

fn plan(context: &Context, turn: &Turn, env: Vec<(String, Vec<u8>)>) -> ExecPlan {
    process::plan(context, argv(context), env, Some(turn.prompt.clone().into_bytes()))
}

impl Backend for Command {
    fn needs(&self, context: &Context) -> Result<Needs, BackendError> {
        let Some(program) = context.agent.command.first().filter(|p| !p.is_empty()) else {
            return Err(BackendError::Invalid("backend.command is empty; name a program".to_owned()));
        };
        if context.agent.command.iter().any(|a| a.contains('\0')) {
            return Err(BackendError::Invalid("backend.command holds a NUL character".to_owned()));
        }
        process::environment(context, &[], &[])?;
        if context.wall == WallKind::Local
            && Path::new(program).is_absolute()
            && let Err(error) = std::fs::metadata(program)
        {
            return Err(BackendError::NoProgram {
                program: program.clone(),
                looked_at: vec![format!("{program} ({error})")],
                fix: "Check backend.command in the agent file".to_owned(),
            });
        }
        Ok(Needs {
            programs: shown(context).into_iter().collect(),
            image: Some(BASE_IMAGE.to_owned()),
            ..Needs::default()
        })
    }

    fn turn(&self, context: &Context, turn: Turn) -> Result<Box<dyn Driver>, BackendError> {
        let env = process::environment(context, &[], &[])?;
        Ok(Box::new(CommandDriver::new(plan(context, &turn, env), turn.policy)))
    }

    fn recover(&self, context: &Context, turn: Turn) -> Box<dyn Driver> {
        Box::new(CommandDriver::new(plan(context, &turn, Vec::new()), turn.policy))
    }

    fn attach(&self, context: &Context, _turn: Turn) -> Result<ExecPlan, BackendError> {
        let env = process::environment(context, &[], &[])?;
        Ok(process::plan(context, argv(context), env, None))
    }

    fn variables(&self) -> &'static [&'static str] {
        &[]
    }
}

struct CommandDriver {
    program: String,
    path: PathBuf,
    policy: Arc<Policy>,
    plan: Option<ExecPlan>,
    stderr: Excerpt,
    outcome: Option<TurnOutcome>,
}

impl CommandDriver {
    fn new(plan: ExecPlan, policy: Arc<Policy>) -> Self {
        let first = plan.argv.first().map(|a| String::from_utf8_lossy(a).into_owned()).unwrap_or_default();
        Self {
            path: plan.cwd.join(&first),
            program: first,
            policy,
            plan: Some(plan),
            stderr: Excerpt::new(MAX_OUTPUT),
            outcome: None,
        }
    }
}

impl Driver for CommandDriver {
    fn next(&mut self) -> (Vec<Kind>, Step) {
        let step = match self.plan.take() {
            Some(plan) => Step::Exec(plan),
            None => Step::Done(self.outcome.clone().unwrap_or_else(|| not_told(&self.program))),
        };
        (Vec::new(), step)
    }

    /// The raw output is in the journal already; of its errors the end is kept for the outcome.
    fn output(&mut self, stream: OutputStream, data: &[u8]) -> Vec<Kind> {
        if stream == OutputStream::Stderr {
            self.stderr.push(data);
        }
        Vec::new()
    }

    fn exited(&mut self, exit: &Exit) -> Vec<Kind> {
        self.outcome = Some(interrupted(&self.program, exit).unwrap_or_else(|| {
            if exit.code == Some(0) {
                return TurnOutcome { outcome: Outcome::Success, message: String::new() };
            }
            let words = self.stderr.last_words(MAX_LINE / 4);
            let words = if words.is_empty() { words } else { format!("; its last words: {words}") };
            let message = format!("{}: {}{words}", self.program, ending(exit));
            TurnOutcome { outcome: Outcome::AgentFailed, message }
        }));
        start_denial(&self.policy, &self.program, &self.path, exit).into_iter().collect()
    }
}

/// The denial behind a program that could not be started, where the policy is why. A
/// name without a slash is looked for inside and says nothing of a path.
pub(crate) fn start_denial(policy: &Policy, program: &str, path: &Path, exit: &Exit) -> Option<Kind> {
    let refused = match (&exit.failed_to_start, exit.code) {
        (Some((_, step)), _) => step == "exec",
        (None, code) => matches!(code, Some(126 | 127)),
    };
    if !refused || !program.contains('/') {
        return None;
    }
    denial::explain(policy, path, Operation::Execute).map(Kind::Denial)
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
