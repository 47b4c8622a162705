//! `cordon apply`: shows what would be done, asks, and has exactly that done.

mod at_end;
mod plan;

pub(crate) use at_end::at_end;

use super::{
    again::{insist, new_key},
    diff::bytes,
};
use crate::{
    args::{Apply, Drift, Output},
    ask,
    error::CliError,
    exit::Exit,
    json, neutral, progress,
    screen::Look,
    session::Session,
};
use cordon_proto::v1::{ApplyRequest, OnDrift, PlanApplyRequest, PlanApplyResponse};
use std::collections::BTreeSet;
use tonic::Status;
use tonic_types::StatusExt as _;

/// How often a plan that does not hold any more is made again without asking anybody.
const PLANS: u32 = 3;
/// The trees are not what the plan was made from.
const STALE: &str = "plan-changed";
/// What the daemon says when it refuses to apply, beyond what a plan foresees.
const NOT_APPLIED: [&str; 3] = [STALE, "apply-refused", "half-applied"];

pub(crate) async fn apply(session: &Session, args: Apply, output: Output) -> Result<Exit, CliError> {
    let asking = ask::possible(output);
    let on_drift = match args.on_drift {
        // As the agent file says.
        None => OnDrift::Unspecified,
        Some(Drift::Fail) => OnDrift::Fail,
        Some(Drift::Skip) => OnDrift::Skip,
        Some(Drift::Ours) => OnDrift::Ours,
        Some(Drift::Merge) => OnDrift::Merge,
    };
    let wishes = Wishes {
        asked: PlanApplyRequest {
            run: args.run,
            agent: args.agent,
            paths: bytes(args.paths),
            on_drift: on_drift.into(),
            classes: args.allow.iter().map(|c| c.word().to_owned()).collect(),
            leave_out: args.leave_out,
        },
        yes: args.yes,
        dry_run: args.dry_run,
        asking,
        show: output == Output::Table,
    };
    let done = match carry_out(session, &wishes).await {
        Err(CliError::Rpc(status)) if NOT_APPLIED.contains(&reason(&status).as_str()) => {
            eprint!("{}", CliError::Rpc(status).report());
            return Ok(Exit::Failed);
        }
        other => other?,
    };
    if output == Output::Json {
        let applied = done.ended == Ended::Applied;
        outln!("{}", json::encode(&json::apply(&done.plan, applied, done.changed)));
    }
    Ok(match done.ended {
        Ended::Nothing | Ended::Applied => Exit::Success,
        Ended::Planned if done.plan.refused => Exit::Failed,
        Ended::Planned => Exit::Success,
        Ended::Refused => Exit::Failed,
        Ended::Declined => Exit::Cancelled,
    })
}

/// What the person wants, before any answer.
pub(crate) struct Wishes {
    pub(crate) asked: PlanApplyRequest,
    /// To what is only data.
    pub(crate) yes: bool,
    pub(crate) dry_run: bool,
    /// Somebody can be asked.
    pub(crate) asking: bool,
    /// Plans are printed.
    pub(crate) show: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// There was nothing to do.
    Nothing,
    Applied,
    /// Only the plan was wanted.
    Planned,
    Refused,
    /// The person said no.
    Declined,
}

pub(crate) struct Done {
    pub(crate) ended: Ended,
    pub(crate) plan: PlanApplyResponse,
    pub(crate) changed: u64,
}

impl Done {
    fn without_change(ended: Ended, plan: PlanApplyResponse) -> Self {
        Self { ended, plan, changed: 0 }
    }
}

/// What the person said to the plans so far.
struct Answers {
    request: PlanApplyRequest,
    /// Classes allowed by word of mouth, and what was shown of them.
    allowed: BTreeSet<String>,
    seen: plan::Classed,
    declined: BTreeSet<String>,
}

impl Answers {
    fn none(wishes: &Wishes) -> Self {
        Self {
            request: wishes.asked.clone(),
            allowed: BTreeSet::new(),
            seen: plan::Classed::new(),
            declined: BTreeSet::new(),
        }
    }
}

pub(crate) async fn carry_out(session: &Session, wishes: &Wishes) -> Result<Done, CliError> {
    let mut answers = Answers::none(wishes);
    let mut shown: Option<PlanApplyResponse> = None;
    let mut plans = 0;
    loop {
        let found = plan_of(session, &answers.request).await?;
        if found.trees.iter().all(|t| t.changes.is_empty()) {
            if wishes.show {
                eprintln!(
                    "cordon: there is nothing to apply: the agent changed nothing in a tree that waits for it"
                );
            }
            return Ok(Done::without_change(Ended::Nothing, found));
        }
        // A yes holds for what was on the screen.
        if plan::classed(&found, &answers.allowed).difference(&answers.seen).next().is_some() {
            answers = Answers::none(wishes);
            continue;
        }
        let open: Vec<String> =
            found.needs.iter().filter(|c| !answers.declined.contains(*c)).cloned().collect();
        // Who wants the rest left out is not asked about it.
        let ask = wishes.asking && !wishes.dry_run && !wishes.asked.leave_out && !open.is_empty();
        if wishes.show {
            let look = Look::of(&std::io::stdout());
            let open = if ask { open.as_slice() } else { &[] };
            crate::out::write(format_args!("{}", plan::render(&found, shown.as_ref(), open, look)));
        }
        shown = Some(found.clone());
        if wishes.dry_run {
            if wishes.show && found.refused {
                eprint!("{}", plan::advice(&found));
            }
            return Ok(Done::without_change(Ended::Planned, found));
        }
        if ask {
            ask_classes(&mut answers, &found, &open).await?;
            continue;
        }
        if found.refused {
            if wishes.show {
                eprint!("{}", plan::advice(&found));
            }
            return Ok(Done::without_change(Ended::Refused, found));
        }
        if found.empty {
            let ended = if answers.declined.is_empty() { Ended::Nothing } else { Ended::Declined };
            return Ok(Done::without_change(ended, found));
        }
        if !agreed(wishes, &found).await? {
            return Ok(Done::without_change(Ended::Declined, found));
        }
        match execute(session, &answers.request, &found).await {
            Err(CliError::Rpc(status)) if reason(&status) == STALE && (wishes.asking || plans < PLANS) => {
                plans += 1;
                eprintln!("cordon: your tree changed since this was planned; planning again");
                answers = Answers::none(wishes);
                shown = None;
            }
            other => {
                let done = other?;
                if wishes.show {
                    outln!("cordon: applied {}", plan::changes(done.changed));
                }
                return Ok(done);
            }
        }
    }
}

async fn plan_of(session: &Session, request: &PlanApplyRequest) -> Result<PlanApplyResponse, CliError> {
    let mut client = session.changes();
    let answer = progress::during("planning", client.plan_apply(request.clone())).await?;
    Ok(answer.into_inner())
}

/// One question a class: its name is the yes, everything else leaves its changes out.
async fn ask_classes(
    answers: &mut Answers,
    found: &PlanApplyResponse,
    open: &[String],
) -> Result<(), CliError> {
    for class in open {
        let of_class = plan::classed(found, &BTreeSet::from([class.clone()]));
        let question = plan::question(class, of_class.len());
        // A name that could be typed by accident is no name of a class.
        let is_name = class.len() > 3 && class.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        if is_name && ask::typed(class, &question).await? {
            answers.request.classes.push(class.clone());
            answers.allowed.insert(class.clone());
            answers.seen.extend(of_class);
        } else {
            answers.request.leave_out = true;
            answers.declined.insert(class.clone());
        }
    }
    Ok(())
}

/// The yes to what is only data. Other classes have theirs already.
async fn agreed(wishes: &Wishes, found: &PlanApplyResponse) -> Result<bool, CliError> {
    if wishes.yes || !plan::has_data(found) {
        return Ok(true);
    }
    if !wishes.asking {
        return Err(CliError::Input(
            "nobody can be asked whether to apply this; say --yes, or use a terminal without --output json"
                .to_owned(),
        ));
    }
    ask::yes(&plan::last_question(found)).await
}

async fn execute(
    session: &Session,
    request: &PlanApplyRequest,
    found: &PlanApplyResponse,
) -> Result<Done, CliError> {
    let request = ApplyRequest {
        // The names as the plan found them: what was a beginning of an id is exact now.
        plan: Some(PlanApplyRequest {
            run: if found.run.is_empty() { request.run.clone() } else { found.run.clone() },
            agent: if found.agent.is_empty() { request.agent.clone() } else { found.agent.clone() },
            ..request.clone()
        }),
        fingerprint: found.fingerprint.clone(),
        idempotency_key: new_key(),
    };
    let send = || {
        let (mut client, request) = (session.changes(), request.clone());
        async move { client.apply(request).await }
    };
    let answer = progress::during("applying", insist(session, send)).await?;
    let plan = answer.done.unwrap_or_else(|| found.clone());
    Ok(Done { ended: Ended::Applied, plan, changed: answer.changed })
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// What the person can do later; `agent` where the run has several.
pub(crate) fn later(run: &str, agent: Option<&str>) -> String {
    let mut name = neutral::word(run);
    if let Some(agent) = agent {
        name += &format!(" {}", neutral::word(agent));
    }
    format!("`cordon diff {name}` shows the changes, `cordon apply {name}` applies them")
}
