//! Snapshots in the bucket that the daemon was given.

use super::listing;
use crate::{
    args::Output,
    commands::again::{insist, new_key},
    error::CliError,
    exit::Exit,
    json, neutral, progress,
    render::table::{bytes, count},
    session::Session,
};
use cordon_proto::v1::{FetchSnapshotRequest, ListBucketRequest, PushSnapshotsRequest};
use serde_json::json;

pub(super) async fn list(session: &Session, output: Output) -> Result<Exit, CliError> {
    let mut client = session.snapshots();
    let found = progress::during("listing", client.list_bucket(ListBucketRequest {})).await?.into_inner();
    listing::tell(&found.snapshots, output);
    if found.snapshots.is_empty() && output == Output::Table {
        eprintln!("cordon: the bucket has no snapshots of yours; `cordon snapshots push ID` puts one there");
    }
    Ok(Exit::Success)
}

pub(super) async fn push(session: &Session, ids: Vec<String>, output: Output) -> Result<Exit, CliError> {
    let request = PushSnapshotsRequest { ids, idempotency_key: new_key() };
    let send = || {
        let (mut client, request) = (session.snapshots(), request.clone());
        async move { client.push_snapshots(request).await }
    };
    let done = progress::during("pushing", insist(session, send)).await?;
    match output {
        Output::Json => outln!("{}", json::encode(&json!({ "pushed": done.pushed, "bytes": done.bytes }))),
        Output::Table if done.pushed == 0 => eprintln!("cordon: the bucket has all of it already"),
        Output::Table => {
            eprintln!("cordon: pushed {}, {}", count(done.pushed, "snapshot"), bytes(done.bytes));
        }
    }
    Ok(Exit::Success)
}

pub(super) async fn fetch(session: &Session, id: String, output: Output) -> Result<Exit, CliError> {
    let mut client = session.snapshots();
    let call = client.fetch_snapshot(FetchSnapshotRequest { id });
    let snapshot = progress::during("fetching", call).await?.into_inner();
    match output {
        Output::Json => outln!("{}", json::encode(&json::snapshot(&snapshot))),
        Output::Table => {
            outln!("{}", neutral::word(&snapshot.id));
            eprintln!("cordon: fetched {}, {}", count(snapshot.files, "file"), bytes(snapshot.bytes));
        }
    }
    Ok(Exit::Success)
}
