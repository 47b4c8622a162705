//! What `cordon run` does with the changes of its agents, once it has ended.

use super::{Done, Ended, Wishes, carry_out, later, plan_of};
use crate::{
    args::{ApplyAtEnd, Output},
    commands::diff::{self, Style},
    error::CliError,
    exit::Exit,
    json, neutral, progress,
    session::Session,
};
use cordon_proto::v1::{Outcome, PlanApplyRequest, Run};
use serde_json::Value;

/// Gives back what the whole command means: the run's outcome first, then what became of its changes.
pub(crate) async fn at_end(
    session: &Session,
    run: &Run,
    outcome: Outcome,
    mode: ApplyAtEnd,
    output: Output,
) -> Result<Exit, CliError> {
    let mut exit = Exit::of(outcome);
    let wanted = match (mode, outcome) {
        (ApplyAtEnd::Never, _) => false,
        (ApplyAtEnd::Ask, Outcome::Success | Outcome::AgentFailed | Outcome::TimedOut) => true,
        (ApplyAtEnd::Data, Outcome::Success) => true,
        _ => {
            if matches!(outcome, Outcome::AgentFailed | Outcome::TimedOut | Outcome::Cancelled) {
                eprintln!("cordon: nothing is applied after this outcome; {}", later(&run.id, None));
            }
            false
        }
    };
    if !wanted {
        return Ok(exit);
    }
    for agent in &run.agents {
        let one = Some(agent.id.as_str()).filter(|_| run.agents.len() > 1);
        let request = PlanApplyRequest {
            run: run.id.clone(),
            agent: agent.id.clone(),
            leave_out: mode == ApplyAtEnd::Data,
            ..PlanApplyRequest::default()
        };
        let done = match of_agent(session, request, mode, output).await {
            Ok(Some(done)) => done,
            Ok(None) => continue,
            Err(e) => {
                eprint!("{}", e.report());
                eprintln!("cordon: {}", later(&run.id, one));
                exit = worse(exit, e.exit());
                continue;
            }
        };
        if output == Output::Json {
            let mut line = json::apply(&done.plan, done.ended == Ended::Applied, done.changed);
            if let Value::Object(object) = &mut line {
                object.insert("kind".to_owned(), Value::from("apply"));
            }
            outln!("{}", json::encode(&line));
        }
        match done.ended {
            Ended::Refused => {
                eprintln!("cordon: {}", later(&run.id, one));
                exit = worse(exit, Exit::Failed);
            }
            Ended::Declined => eprintln!("cordon: {}", later(&run.id, one)),
            Ended::Applied | Ended::Nothing | Ended::Planned => {}
        }
    }
    Ok(exit)
}

/// None: this agent changed nothing that could be applied.
async fn of_agent(
    session: &Session,
    request: PlanApplyRequest,
    mode: ApplyAtEnd,
    output: Output,
) -> Result<Option<Done>, CliError> {
    let first = plan_of(session, &request).await?;
    if first.trees.iter().all(|t| t.changes.is_empty()) {
        return Ok(None);
    }
    if mode == ApplyAtEnd::Ask {
        let (run, agent) = (&request.run, &request.agent);
        outln!("cordon: what {} changed and could be applied:", neutral::word(agent));
        let style = Style::stat();
        // Not its workspace, which is no tree of the user's that waits for anything.
        let asked = style.of_run(run, agent, &first.trees);
        let mut client = session.changes();
        let answers = progress::during("comparing", client.diff_run(asked)).await?;
        diff::show(answers.into_inner(), style).await?;
    }
    let wishes = Wishes {
        asked: request,
        yes: mode == ApplyAtEnd::Data,
        dry_run: false,
        asking: mode == ApplyAtEnd::Ask,
        show: output == Output::Table,
    };
    carry_out(session, &wishes).await.map(Some)
}

/// The run's own outcome counts first.
fn worse(exit: Exit, other: Exit) -> Exit {
    if exit == Exit::Success { other } else { exit }
}
