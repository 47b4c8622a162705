//! What each command does.

mod again;
mod apply;
mod attach;
mod backends;
mod chat;
mod diff;
mod exec;
mod explain;
mod images;
mod listing;
mod lmstudio;
mod login;
mod login_key;
mod logs;
mod mcp;
mod run;
mod snapshots;
mod system;
mod waiting;
mod workspaces;

use crate::{
    agent_file,
    args::{Cli, Command, Daemon, Global, Images, Output},
    error::CliError,
    exit::Exit,
    launch, progress,
    session::Session,
    signals::interruptible,
};
use again::new_key;
pub(crate) use backends::dollars;
use clap::CommandFactory as _;
use cordon_proto::v1::{RemoveRunRequest, SchemaRequest, StopRunRequest};

pub(crate) async fn dispatch(cli: Cli) -> Result<Exit, CliError> {
    let Cli { global, command } = cli;
    let global = &global;
    let output = global.output;
    match command {
        Command::Run(args) => run::run(global, args).await,
        Command::Chat(args) => chat::chat(global, args).await,
        Command::Ps { all } => listing::ps(&Session::open(global).await?, all, output).await,
        Command::Logs(args) => logs::logs(&Session::open(global).await?, args, output).await,
        Command::Exec(args) => exec::exec(&Session::open(global).await?, args).await,
        Command::Mcp(args) => mcp::mcp(global, args).await,
        Command::Attach(args) => attach::attach(global, args).await,
        Command::Login(args) if args.api_key => login_key::login(global, args.backend).await,
        Command::Login(args) => login::login(global, args).await,
        Command::Logins => login::list(&Session::open(global).await?, output).await,
        Command::Logout { backend, api_key } => {
            login::logout(&Session::open(global).await?, backend, api_key, output).await
        }
        Command::Stop { run } => stop(&Session::open(global).await?, run, output).await,
        Command::Rm { run, workspace } => remove(&Session::open(global).await?, run, workspace).await,
        Command::Diff(args) => {
            interruptible(async { diff::of_run(&Session::open(global).await?, args, output).await }).await
        }
        Command::Apply(args) => {
            interruptible(async { apply::apply(&Session::open(global).await?, args, output).await }).await
        }
        Command::Snapshots(command) => snapshots::dispatch(global, command).await,
        Command::Workspaces(command) => interruptible(workspaces::dispatch(global, command)).await,
        Command::Validate { file: None, .. } | Command::Validate { schema: true, .. } => schema(global).await,
        Command::Validate { file: Some(file), schema: false } => {
            let session = Session::open(global).await?;
            let valid = agent_file::validate_command(&session, &file, output).await?;
            Ok(if valid { Exit::Success } else { Exit::Failed })
        }
        Command::Explain { file, paths, agent } => {
            explain::explain(&Session::open(global).await?, &file, paths, agent, output).await
        }
        Command::Backends { backend } => {
            backends::backends(&Session::open(global).await?, backend, output).await
        }
        Command::LmStudio(command) => interruptible(lmstudio::dispatch(command, output)).await,
        Command::Doctor { inside: None, .. } => system::doctor(&Session::open(global).await?, output).await,
        Command::Doctor { inside: Some(file), wall, agent } => {
            system::doctor_inside(&Session::open(global).await?, &file, wall, agent, output).await
        }
        Command::Images(Images::Ls) => images::list(&Session::open(global).await?, output).await,
        Command::Images(Images::Gc) => images::gc(&Session::open(global).await?, output).await,
        Command::Images(Images::Build { names, versions, bootstrap, ca, proxy }) => {
            let wanted = images::Wanted { names, versions, bootstrap, ca, proxy };
            images::build(&Session::open(global).await?, wanted, output).await
        }
        Command::Version => system::version(global).await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "cordon", &mut std::io::stdout());
            Ok(Exit::Success)
        }
        Command::Daemon(Daemon::Stop { stop_runs }) => system::stop_daemon(global, stop_runs).await,
        Command::Daemon(Daemon::Launch { program, arguments }) => {
            Err(launch::become_daemon(&program, &arguments))
        }
    }
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
