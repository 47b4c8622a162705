//! What stays in the store, and whether it is whole.

use crate::{
    args::Output,
    commands::again::{insist, new_key},
    error::CliError,
    exit::Exit,
    json, neutral, progress,
    render::table::{bytes, count},
    session::Session,
};
use cordon_proto::v1::{CollectGarbageRequest, LabelSnapshotRequest, RemoveSnapshotsRequest, VerifyRequest};
use serde_json::json;

const DAY: u64 = 24 * 60 * 60;

pub(super) async fn label(
    session: &Session,
    id: String,
    label: String,
    output: Output,
) -> Result<Exit, CliError> {
    let request = LabelSnapshotRequest { id, label, idempotency_key: new_key() };
    let send = || {
        let (mut client, request) = (session.snapshots(), request.clone());
        async move { client.label_snapshot(request).await }
    };
    let snapshot = progress::during("labelling", insist(session, send)).await?;
    let id = neutral::word(&snapshot.id);
    match output {
        Output::Json => outln!("{}", json::encode(&json::snapshot(&snapshot))),
        Output::Table if snapshot.label.is_empty() => outln!("{id} has no label"),
        Output::Table => outln!("{id} is labelled {}", neutral::word(&snapshot.label)),
    }
    Ok(Exit::Success)
}

pub(super) async fn remove(session: &Session, ids: Vec<String>, output: Output) -> Result<Exit, CliError> {
    let request = RemoveSnapshotsRequest { ids, idempotency_key: new_key() };
    let send = || {
        let (mut client, request) = (session.snapshots(), request.clone());
        async move { client.remove_snapshots(request).await }
    };
    progress::during("removing", insist(session, send)).await?;
    match output {
        Output::Json => outln!("{}", json::encode(&json!({ "removed": request.ids }))),
        Output::Table => eprintln!(
            "cordon: removed {}; `cordon snapshots gc` frees the room",
            count(request.ids.len() as u64, "snapshot")
        ),
    }
    Ok(Exit::Success)
}

/// What is kept of each tree; none: no limit.
pub(super) struct Keep {
    pub(super) count: Option<u64>,
    pub(super) days: Option<u64>,
    pub(super) bytes: Option<u64>,
}

pub(super) async fn collect(
    session: &Session,
    keep: &Keep,
    dry_run: bool,
    output: Output,
) -> Result<Exit, CliError> {
    let request = CollectGarbageRequest {
        keep_count: keep.count.unwrap_or(0),
        keep_seconds: keep.days.unwrap_or(0).saturating_mul(DAY),
        keep_bytes: keep.bytes.unwrap_or(0),
        dry_run,
    };
    let mut client = session.snapshots();
    let done = progress::during("collecting", client.collect_garbage(request)).await?.into_inner();
    if output == Output::Json {
        let document = json!({
            "removed": done.removed, "freed_bytes": done.freed_bytes, "stored_bytes": done.stored_bytes,
            "dry_run": dry_run,
        });
        outln!("{}", json::encode(&document));
        return Ok(Exit::Success);
    }
    for id in &done.removed {
        outln!("{} {}", if dry_run { "would remove" } else { "removed" }, neutral::word(id));
    }
    outln!(
        "cordon: {} {}, {} {}; the store holds {}",
        count(done.removed.len() as u64, "snapshot"),
        if dry_run { "would be removed" } else { "removed" },
        bytes(done.freed_bytes),
        if dry_run { "would be freed" } else { "freed" },
        bytes(done.stored_bytes)
    );
    Ok(Exit::Success)
}

pub(super) async fn verify(session: &Session, output: Output) -> Result<Exit, CliError> {
    let mut client = session.snapshots();
    let found = progress::during("verifying", client.verify(VerifyRequest {})).await?.into_inner();
    if output == Output::Json {
        let faults: Vec<_> =
            found.faults.iter().map(|f| json!({ "what": f.what, "touched": f.touched })).collect();
        let document = json!({
            "snapshots": found.snapshots, "objects": found.objects, "bytes": found.bytes, "faults": faults,
        });
        outln!("{}", json::encode(&document));
    } else {
        for fault in &found.faults {
            outln!("fault: {}", neutral::word(&fault.what));
            for touched in &fault.touched {
                outln!("  touches {}", neutral::word(touched));
            }
        }
        let verdict = match found.faults.len() {
            0 => "all of it is whole".to_owned(),
            faults => count(faults as u64, "fault"),
        };
        outln!(
            "cordon: {}, {}, {}: {verdict}",
            count(found.snapshots, "snapshot"),
            count(found.objects, "object"),
            bytes(found.bytes)
        );
    }
    Ok(if found.faults.is_empty() { Exit::Success } else { Exit::Failed })
}
