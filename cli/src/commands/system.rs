use super::listing::print;
use crate::{
    agent_file,
    args::{Global, Output, WallName},
    error::CliError,
    exit::Exit,
    json, neutral, progress,
    session::Session,
};
use cordon_proto::v1::{DoctorInsideRequest, DoctorRequest, ShutdownRequest, VersionRequest};
use serde_json::{Value, json};
use std::path::Path;

pub(crate) async fn doctor(session: &Session, output: Output) -> Result<Exit, CliError> {
    let checks = progress::during("looking at this machine", session.system().doctor(DoctorRequest {}))
        .await?
        .into_inner()
        .checks;
    let rows: Vec<_> = checks
        .iter()
        .map(|c| [&c.name, &c.state, &c.found, &c.fix].map(|cell| neutral::word(cell)).to_vec())
        .collect();
    let document = checks
        .iter()
        .map(|c| json!({ "name": c.name, "state": c.state, "found": c.found, "fix": c.fix }))
        .collect();
    print(output, &["CHECK", "STATE", "FOUND", "WHAT TO DO"], &rows, &document);
    let missing = checks.iter().any(|c| c.state == "missing");
    Ok(if missing { Exit::Failed } else { Exit::Success })
}

pub(crate) async fn doctor_inside(
    session: &Session,
    file: &Path,
    wall: Option<WallName>,
    agent: String,
    output: Output,
) -> Result<Exit, CliError> {
    let agent_file = agent_file::check(session, file).await?.0;
    let request = DoctorInsideRequest { agent_file: Some(agent_file), agent, wall: WallName::word(wall) };
    let answer =
        progress::during("probing a sandbox", session.system().doctor_inside(request)).await?.into_inner();
    let rows: Vec<_> = answer
        .findings
        .iter()
        .map(|f| {
            let verdict = if f.ok { "ok" } else { "WRONG" };
            vec![
                neutral::word(&f.check),
                verdict.to_owned(),
                neutral::word(&f.expected),
                neutral::word(&f.found),
            ]
        })
        .collect();
    let probe: Value = serde_json::from_str(&answer.probe_json).unwrap_or(Value::Null);
    let document = json!({
        "agent": answer.agent, "wall": answer.wall, "findings": json::findings(&answer.findings),
        "probe": probe,
    });
    if output == Output::Table {
        outln!(
            "a fresh sandbox for {} behind the {} wall:",
            neutral::word(&answer.agent),
            neutral::word(&answer.wall)
        );
    }
    print(output, &["CHECK", "VERDICT", "EXPECTED", "FOUND"], &rows, &document);
    let wrong = answer.findings.iter().any(|f| !f.ok);
    Ok(if wrong { Exit::Refused } else { Exit::Success })
}

pub(crate) async fn version(global: &Global) -> Result<Exit, CliError> {
    let client = env!("CARGO_PKG_VERSION");
    let daemon = match Session::open(global).await {
        Ok(session) => Some(session.system().version(VersionRequest {}).await?.into_inner()),
        Err(CliError::NoDaemon { .. }) => None,
        Err(other) => return Err(other),
    };
    if global.output == Output::Json {
        let daemon = daemon.map(|d| {
            json!({
                "version": d.version, "guest_version": d.guest_version, "pid": d.pid,
                "state_directory": d.state_directory, "socket": d.socket,
            })
        });
        outln!("{}", json::encode(&json!({ "client": client, "daemon": daemon })));
        return Ok(Exit::Success);
    }
    outln!("cordon   {client}");
    match daemon {
        Some(d) => outln!(
            "cordond  {} (guest {}, pid {}, state {}, socket {})",
            neutral::word(&d.version),
            neutral::word(&d.guest_version),
            d.pid,
            neutral::word(&d.state_directory),
            neutral::word(&d.socket)
        ),
        None => outln!("cordond  is not running"),
    }
    Ok(Exit::Success)
}

pub(crate) async fn stop_daemon(global: &Global, stop_runs: bool) -> Result<Exit, CliError> {
    let session = match without_start(global).await {
        Err(CliError::NoDaemon { .. }) => {
            eprintln!("cordon: no daemon is running");
            return Ok(Exit::Success);
        }
        other => other?,
    };
    let request = ShutdownRequest { stop_runs };
    progress::during("stopping the daemon", session.system().shutdown(request)).await?;
    progress::during("waiting for the daemon's end", session.gone()).await;
    Ok(Exit::Success)
}

async fn without_start(global: &Global) -> Result<Session, CliError> {
    let global = Global {
        socket: global.socket.clone(),
        state_dir: global.state_dir.clone(),
        no_start: true,
        output: global.output,
    };
    Session::open(&global).await
}
