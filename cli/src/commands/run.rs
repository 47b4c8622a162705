use super::{
    again::{insist, new_key},
    apply::{at_end, later},
    logs::{Interrupts, Show},
    snapshots,
};
use crate::{
    agent_file,
    args::{self, ApplyAtEnd, Fork, Global, Output, WallName, Watching},
    ask,
    error::CliError,
    exit::Exit,
    json, neutral, progress,
    render::Renderer,
    session::Session,
    signals::interruptible,
};
use cordon_proto::v1::{Run, StartRunRequest, StopRunRequest};
use std::{
    io::{IsTerminal as _, Read as _},
    path::PathBuf,
};

const MAX_TASK: u64 = 1 << 20;

pub(crate) async fn run(global: &Global, args: args::Run) -> Result<Exit, CliError> {
    let apply = check_apply(&args.watching, global.output)?;
    let (file, given) = file_and_task(args.file, args.task, args.resume.is_some())?;
    let task = task(given)?;
    // Read before a daemon is looked for: a wrong name needs no daemon.
    file.as_deref().map(agent_file::read).transpose()?;
    let session = Session::open(global).await?;
    let file = match (&file, &args.resume) {
        (Some(file), _) => agent_file::check(&session, file).await?.0,
        (None, Some(run)) => agent_file::check_kept(&session, run).await?,
        (None, None) => return Err(CliError::Input("there is no agent file".to_owned())),
    };
    let request = StartRunRequest {
        agent_file: Some(file),
        prompt: task,
        agents: args.agents,
        resume: args.resume.unwrap_or_default(),
        ..StartRunRequest::default()
    };
    begin(&session, request, &args.watching, apply, global.output).await
}

/// Where a run is gone on with, a single argument is the task.
fn file_and_task(
    file: Option<PathBuf>,
    task: Option<String>,
    resumes: bool,
) -> Result<(Option<PathBuf>, Option<String>), CliError> {
    match (file, task) {
        (Some(only), None) if resumes => {
            let task = only.into_os_string().into_string();
            let task = task.map_err(|_| CliError::Input("the task is not UTF-8".to_owned()))?;
            Ok((None, Some(task)))
        }
        given => Ok(given),
    }
}

/// A run whose only agent begins with what a snapshot holds.
pub(crate) async fn fork(global: &Global, args: Fork) -> Result<Exit, CliError> {
    let apply = check_apply(&args.watching, global.output)?;
    let task = task(args.task)?;
    agent_file::read(&args.file)?;
    let session = Session::open(global).await?;
    let (file, agents) = agent_file::check(&session, &args.file).await?;
    let agent = match (args.agent, agents.as_slice()) {
        (Some(agent), _) => agent,
        (None, [only]) => only.clone(),
        (None, several) => {
            return Err(CliError::Input(format!(
                "{} has several agents; choose one with -a: {}",
                file.name,
                several.join(", ")
            )));
        }
    };
    let snapshot = snapshots::get(&session, args.id).await?;
    let request = StartRunRequest {
        agent_file: Some(file),
        prompt: task,
        agents: vec![agent.clone()],
        from_snapshots: [(agent, snapshot.id)].into(),
        ..StartRunRequest::default()
    };
    begin(&session, request, &args.watching, apply, global.output).await
}

/// What to do at the end. Said before a run has cost anything: whether it can be done at all.
fn check_apply(watching: &Watching, output: Output) -> Result<ApplyAtEnd, CliError> {
    match watching.apply {
        Some(ApplyAtEnd::Ask) if !ask::possible(output) => Err(CliError::Input(
            "nobody can be asked at the end of the run; choose --apply never or --apply data".to_owned(),
        )),
        Some(apply) => Ok(apply),
        None if ask::possible(output) => Ok(ApplyAtEnd::Ask),
        None => Ok(ApplyAtEnd::Never),
    }
}

async fn begin(
    session: &Session,
    request: StartRunRequest,
    watching: &Watching,
    apply: ApplyAtEnd,
    output: Output,
) -> Result<Exit, CliError> {
    let request = StartRunRequest { wall: WallName::word(watching.wall), ..request };
    let run = start(session, request).await?;
    if watching.detach {
        match output {
            Output::Json => outln!("{}", json::encode(&json::run(&run))),
            Output::Table => outln!("{}", neutral::word(&run.id)),
        }
        return Ok(Exit::Success);
    }
    eprintln!("cordon: run {}", neutral::word(&run.id));
    let show = Show { from: 0, follow: true, output };
    let mut renderer = Renderer::new(watching.raw, run.agents.len() > 1).with_reasoning(watching.reasoning);
    let seen = super::logs::show(session, &run, &mut renderer, show, stopping(session, &run)).await?;
    if seen.waiting && apply == ApplyAtEnd::Never {
        eprintln!("cordon: your trees are as they were; {}", later(&run.id, None));
    }
    match seen.outcome {
        Some(outcome) => interruptible(at_end(session, &run, outcome, apply, output)).await,
        None => Ok(seen.exit),
    }
}

/// Starts a run once, however often it has to be asked for.
pub(super) async fn start(session: &Session, request: StartRunRequest) -> Result<Run, CliError> {
    let request = StartRunRequest { idempotency_key: new_key(), ..request };
    let send = || {
        let (mut client, request) = (session.runs(), request.clone());
        async move { client.start_run(request).await }
    };
    let started = progress::during("starting the run", insist(session, send)).await?;
    Ok(started.run.unwrap_or_default())
}

/// Ctrl-C stops this run.
pub(super) fn stopping(session: &Session, run: &Run) -> Interrupts {
    let (session, id) = (session.clone(), run.id.clone());
    Interrupts::stopping(move || {
        let (session, id) = (session.clone(), id.clone());
        async move { stop(&session, id).await }
    })
}

pub(super) async fn stop(session: &Session, id: String) -> Result<(), CliError> {
    let request = StopRunRequest { id, idempotency_key: new_key() };
    session.runs().stop_run(request).await?;
    Ok(())
}

fn task(given: Option<String>) -> Result<String, CliError> {
    let task = match given {
        Some(task) if task != "-" => task,
        None if std::io::stdin().is_terminal() => {
            return Err(CliError::Input(
                "there is no task; give it after the file, or `-` and type it".to_owned(),
            ));
        }
        _ => {
            let mut bytes = Vec::new();
            std::io::stdin().take(MAX_TASK + 1).read_to_end(&mut bytes)?;
            String::from_utf8(bytes)
                .map_err(|_| CliError::Input("the task on standard input is not UTF-8".to_owned()))?
        }
    };
    if task.len() as u64 > MAX_TASK {
        return Err(CliError::TooLarge { what: "the task".to_owned(), limit: MAX_TASK });
    }
    if task.trim().is_empty() {
        return Err(CliError::Input("the task is empty".to_owned()));
    }
    Ok(task)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_argument_beside_a_run_is_the_task() {
        let both = |file: Option<&str>, task: Option<&str>, resumes| {
            file_and_task(file.map(PathBuf::from), task.map(str::to_owned), resumes).unwrap()
        };
        assert_eq!(both(Some("go on"), None, true), (None, Some("go on".to_owned())));
        assert_eq!(both(Some("-"), None, true), (None, Some("-".to_owned())));
        assert_eq!(both(None, None, true), (None, None));
        assert_eq!(both(Some("a.yaml"), None, false), (Some("a.yaml".into()), None));
        let file_too = (Some(PathBuf::from("a.yaml")), Some("x".to_owned()));
        assert_eq!(both(Some("a.yaml"), Some("x"), true), file_too);
    }

    #[test]
    fn a_task_is_some_words_and_not_too_many() {
        assert_eq!(task(Some("fix it".to_owned())).unwrap(), "fix it");
        assert!(matches!(task(Some(" \n".to_owned())), Err(CliError::Input(_))));
        let long = "x".repeat(usize::try_from(MAX_TASK).unwrap() + 1);
        assert!(matches!(task(Some(long)), Err(CliError::TooLarge { .. })));
    }
}
