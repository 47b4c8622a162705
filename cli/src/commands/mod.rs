//! What each command does.

mod exec;
mod explain;
mod images;
mod listing;
mod logs;
mod mcp;
mod run;
mod system;

use crate::{
    agent_file,
    args::{Cli, Command, Daemon, Global, Images, Output},
    error::CliError,
    exit::Exit,
    launch, progress,
    session::Session,
};
use clap::CommandFactory as _;
use cordon_proto::v1::{RemoveRunRequest, SchemaRequest, StopRunRequest};

pub(crate) async fn dispatch(cli: Cli) -> Result<Exit, CliError> {
    let Cli { global, command } = cli;
    match command {
        Command::Run(args) => run::run(&global, args).await,
        Command::Ps { all } => listing::ps(&Session::open(&global).await?, all, global.output).await,
        Command::Logs(args) => logs::logs(&Session::open(&global).await?, args, global.output).await,
        Command::Exec(args) => exec::exec(&Session::open(&global).await?, args).await,
        Command::Mcp(args) => mcp::mcp(&global, args).await,
        Command::Stop { run } => stop(&Session::open(&global).await?, run, global.output).await,
        Command::Rm { run, workspace } => remove(&Session::open(&global).await?, run, workspace).await,
        Command::Validate { file: None, .. } | Command::Validate { schema: true, .. } => {
            schema(&global).await
        }
        Command::Validate { file: Some(file), schema: false } => {
            let session = Session::open(&global).await?;
            let valid = agent_file::validate_command(&session, &file, global.output).await?;
            Ok(if valid { Exit::Success } else { Exit::Failed })
        }
        Command::Explain { file, paths, agent } => {
            explain::explain(&Session::open(&global).await?, &file, paths, agent, global.output).await
        }
        Command::Doctor { inside: None, .. } => {
            system::doctor(&Session::open(&global).await?, global.output).await
        }
        Command::Doctor { inside: Some(file), wall, agent } => {
            system::doctor_inside(&Session::open(&global).await?, &file, wall, agent, global.output).await
        }
        Command::Images(Images::Ls) => images::list(&Session::open(&global).await?, global.output).await,
        Command::Images(Images::Build { names, bootstrap, ca, proxy }) => {
            images::build(&Session::open(&global).await?, names, bootstrap, ca, proxy, global.output).await
        }
        Command::Version => system::version(&global).await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "cordon", &mut std::io::stdout());
            Ok(Exit::Success)
        }
        Command::Daemon(Daemon::Stop { stop_runs }) => system::stop_daemon(&global, stop_runs).await,
        Command::Daemon(Daemon::Launch { program, arguments }) => {
            Err(launch::become_daemon(&program, &arguments))
        }
    }
}

/// A key for one mutation: told twice, it is done once.
fn new_key() -> String {
    uuid::Uuid::now_v7().to_string()
}

async fn stop(session: &Session, run: String, output: Output) -> Result<Exit, CliError> {
    let request = StopRunRequest { id: run, idempotency_key: new_key() };
    let run = progress::during("stopping the run", session.runs().stop_run(request)).await?.into_inner().run;
    listing::show_run(&run.unwrap_or_default(), output)?;
    Ok(Exit::Success)
}

async fn remove(session: &Session, run: String, workspace: bool) -> Result<Exit, CliError> {
    let request = RemoveRunRequest { id: run, idempotency_key: new_key(), remove_workspace: workspace };
    progress::during("removing the run", session.runs().remove_run(request)).await?;
    Ok(Exit::Success)
}

async fn schema(global: &Global) -> Result<Exit, CliError> {
    let session = Session::open(global).await?;
    outln!("{}", session.agents().schema(SchemaRequest {}).await?.into_inner().json);
    Ok(Exit::Success)
}
