use crate::{
    args::Output, error::CliError, exit::Exit, json, neutral, render::table, screen::Look, session::Session,
};
use cordon_proto::v1::{ListRunsRequest, Run, RunState};
use serde_json::Value;

/// Prints rows for people or one document for programs.
pub(crate) fn print(output: Output, heading: &[&str], rows: &[Vec<String>], document: &Value) {
    match output {
        Output::Json => outln!("{}", json::encode(document)),
        Output::Table => {
            crate::out::write(format_args!("{}", table::render(heading, rows, Look::of(&std::io::stdout()))))
        }
    }
}

pub(crate) async fn ps(session: &Session, all: bool, output: Output) -> Result<Exit, CliError> {
    let runs = session.runs().list_runs(ListRunsRequest {}).await?.into_inner().runs;
    let shown: Vec<_> = runs.iter().filter(|r| all || r.state() != RunState::Ended).collect();
    print_runs(&shown, output, &shown.iter().map(|r| json::run(r)).collect());
    let hidden = runs.len() - shown.len();
    if shown.is_empty() && hidden > 0 && output == Output::Table {
        eprintln!("cordon: nothing is running; {hidden} ended: `cordon ps -a`");
    }
    Ok(Exit::Success)
}

pub(crate) fn show_run(run: &Run, output: Output) -> Result<(), CliError> {
    print_runs(&[run], output, &json::run(run));
    Ok(())
}

fn print_runs(runs: &[&Run], output: Output, document: &Value) {
    let now = table::now();
    let rows: Vec<_> = runs.iter().map(|r| row(r, now)).collect();
    print(output, &["RUN", "STATE", "STARTED", "TOOK", "AGENTS", "TASK"], &rows, document);
}

fn row(run: &Run, now: i64) -> Vec<String> {
    let since = |from: i64, to: i64| u64::try_from(to.saturating_sub(from)).unwrap_or(0);
    let ended = run.state() == RunState::Ended;
    let state = if ended { json::outcome(run.outcome()) } else { json::state(run.state()) };
    let end = if ended { run.ended_unix_ms } else { now };
    let agents: Vec<_> = run.agents.iter().map(|a| neutral::word(&a.id)).collect();
    vec![
        neutral::word(&run.id),
        state.to_owned(),
        format!("{} ago", table::duration(since(run.started_unix_ms, now) / 1000 * 1000)),
        table::duration(since(run.started_unix_ms, end)),
        agents.join(","),
        neutral::word(&run.title),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_proto::v1::{Outcome, RunAgent};

    #[test]
    fn a_run_is_one_harmless_row() {
        let mut run = Run {
            id: "0199".into(),
            state: RunState::Running.into(),
            started_unix_ms: 1_000,
            title: "fix\u{1b}[2J".into(),
            agents: vec![RunAgent { id: "a".into(), ..Default::default() }; 2],
            ..Default::default()
        };
        assert_eq!(
            row(&run, 62_500),
            ["0199", "running", "1 min 1 s ago", "1 min 1 s", "a,a", "fix\\x1b[2J"]
        );
        run.state = RunState::Ended.into();
        run.outcome = Outcome::TimedOut.into();
        run.ended_unix_ms = 2_500;
        assert_eq!(row(&run, 62_500)[1..4], ["timed-out", "1 min 1 s ago", "1.5 s"]);
    }
}
