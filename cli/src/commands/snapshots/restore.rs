use super::{diff, get};
use crate::{
    args::Output,
    ask,
    commands::again::{insist, new_key},
    commands::diff::Style,
    error::CliError,
    exit::Exit,
    json, neutral, progress,
    render::table::{self, age, count, short},
    session::Session,
};
use cordon_proto::v1::RestoreRequest;
use serde_json::json;

const SHORT: usize = 12;

pub(super) async fn restore(
    session: &Session,
    id: String,
    yes: bool,
    output: Output,
) -> Result<Exit, CliError> {
    let asking = ask::possible(output);
    if !yes && !asking {
        return Err(CliError::Input(
            "nobody can be asked whether to restore this; say --yes, or use a terminal without --output json"
                .to_owned(),
        ));
    }
    let snapshot = get(session, id).await?;
    let tree = neutral::path(&snapshot.tree);
    if !yes {
        let style = Style::stat();
        let mut client = session.snapshots();
        outln!("cordon: what changed in {tree} since then, and would be undone:");
        let answers = progress::during("comparing", client.diff(style.of_snapshot(&snapshot.id))).await?;
        diff::show(answers.into_inner(), style).await?;
        let question = format!(
            "make {tree} what it was {} ago? What is there now is kept as a snapshot first.",
            age(snapshot.time_unix_ms, table::now())
        );
        if !ask::yes(&question).await? {
            return Ok(Exit::Cancelled);
        }
    }
    let request = RestoreRequest { id: snapshot.id, idempotency_key: new_key() };
    let send = || {
        let (mut client, request) = (session.snapshots(), request.clone());
        async move { client.restore(request).await }
    };
    let done = progress::during("restoring", insist(session, send)).await?;
    let before = done.before.as_ref();
    if output == Output::Json {
        let mut document = json!({ "changed": done.changed, "before": before.map(json::snapshot) });
        json::insert_bytes(&mut document, "tree", &done.tree);
        outln!("{}", json::encode(&document));
        return Ok(Exit::Success);
    }
    outln!("cordon: restored {}: {}", neutral::path(&done.tree), count(done.changed, "change"));
    if let Some(before) = before {
        let id = short(&before.id, SHORT);
        outln!("cordon: what was there is snapshot {id}; `cordon snapshots restore {id}` brings it back");
    }
    Ok(Exit::Success)
}
