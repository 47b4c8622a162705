use super::{
    logs::{Interrupts, Show},
    new_key,
};
use crate::{
    agent_file,
    args::{Global, Output, Run, WallName},
    error::CliError,
    exit::Exit,
    json, neutral, progress,
    session::Session,
};
use cordon_proto::v1::{self, StartRunRequest, StopRunRequest};
use std::{
    io::{IsTerminal as _, Read as _},
    time::Duration,
};
use tonic::Code;

const MAX_TASK: u64 = 1 << 20;
/// How often a request with the same key is sent again after the connection broke.
const ATTEMPTS: u32 = 5;

pub(crate) async fn run(global: &Global, args: Run) -> Result<Exit, CliError> {
    let task = task(args.task)?;
    // Read before a daemon is looked for: a wrong name needs no daemon.
    agent_file::read(&args.file)?;
    let session = Session::open(global).await?;
    let file = agent_file::check(&session, &args.file).await?;
    let request = StartRunRequest {
        agent_file: Some(file),
        prompt: task,
        agents: args.agents,
        idempotency_key: new_key(),
        wall: WallName::word(args.wall),
        ..StartRunRequest::default()
    };
    let run = progress::during("starting the run", start(&session, request)).await?;
    if args.detach {
        match global.output {
            Output::Json => outln!("{}", json::encode(&json::run(&run))),
            Output::Table => outln!("{}", neutral::word(&run.id)),
        }
        return Ok(Exit::Success);
    }
    eprintln!("cordon: run {}", neutral::word(&run.id));
    let show = Show { from: 0, follow: true, raw: args.raw, output: global.output };
    let stopper = session.clone();
    let id = run.id.clone();
    let interrupts = Interrupts::stopping(move || {
        let (session, id) = (stopper.clone(), id.clone());
        async move { stop(&session, id).await }
    });
    super::logs::show(&session, &run, show, interrupts).await
}

async fn start(session: &Session, request: StartRunRequest) -> Result<v1::Run, CliError> {
    for attempt in 1.. {
        match session.runs().start_run(request.clone()).await {
            Ok(response) => return Ok(response.into_inner().run.unwrap_or_default()),
            Err(status) if status.code() == Code::Unavailable && attempt < ATTEMPTS => {
                tokio::time::sleep(Duration::from_millis(200)).await;
                session.again().await?;
            }
            Err(status) => return Err(status.into()),
        }
    }
    Err(CliError::Input("no attempt was made to start the run".to_owned()))
}

async fn stop(session: &Session, id: String) -> Result<(), CliError> {
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
    fn a_task_is_some_words_and_not_too_many() {
        assert_eq!(task(Some("fix it".to_owned())).unwrap(), "fix it");
        assert!(matches!(task(Some(" \n".to_owned())), Err(CliError::Input(_))));
        let long = "x".repeat(usize::try_from(MAX_TASK).unwrap() + 1);
        assert!(matches!(task(Some(long)), Err(CliError::TooLarge { .. })));
    }
}
