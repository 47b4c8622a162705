use cordon_proto::v1;
use cordon_snapshots::{SkipReason, Snapshot, SnapshotId};
use std::path::Path;

/// Left-out paths that are named.
const SKIPPED_TOLD: usize = 100;

pub(super) fn to_proto(id: &SnapshotId, snapshot: &Snapshot, place: Option<&Path>) -> v1::Snapshot {
    let counted = &snapshot.statistics;
    let skipped = snapshot.skipped.iter().take(SKIPPED_TOLD);
    v1::Snapshot {
        id: id.to_string(),
        run: snapshot.run.clone(),
        agent: snapshot.agent.clone(),
        turn: snapshot.turn,
        tree: snapshot.origin.clone().into(),
        kind: snapshot.kind.clone(),
        label: snapshot.label.clone(),
        time_unix_ms: snapshot.time.0.saturating_mul(1000) + i64::from(snapshot.time.1 / 1_000_000),
        parents: snapshot.parents.iter().map(ToString::to_string).collect(),
        files: counted.files,
        directories: counted.directories,
        symlinks: counted.symlinks,
        bytes: counted.bytes,
        read_files: counted.read,
        added_objects: counted.added_objects,
        added_bytes: counted.added_bytes,
        skipped_total: counted.skipped,
        skipped: skipped
            .map(|s| v1::SkippedPath { path: s.path.clone().into(), reason: reason(s.reason).to_owned() })
            .collect(),
        storage: place.map(|p| p.to_string_lossy().into_owned()).unwrap_or_default(),
    }
}

fn reason(reason: SkipReason) -> &'static str {
    match reason {
        SkipReason::Fifo => "fifo",
        SkipReason::Socket => "socket",
        SkipReason::Device => "device",
        SkipReason::OtherFilesystem => "other-filesystem",
        SkipReason::Changing => "changing",
        SkipReason::Unreadable => "unreadable",
        SkipReason::Hidden => "hidden",
    }
}
