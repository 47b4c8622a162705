use cordon_proto::v1;
use cordon_snapshots::{SkipReason, Snapshot, SnapshotId};
use std::path::Path;

/// Left-out paths that are named.
const SKIPPED_TOLD: usize = 100;
/// Bytes of them: an agent makes names as long as it likes.
const SKIPPED_BYTES: usize = 16 << 10;
/// The same in a list of snapshots.
const LISTED_BYTES: usize = 4 << 20;

/// Takes away the names for which a list has no room; how many there are stays.
pub(super) fn shorten(listed: &mut [v1::Snapshot]) {
    let mut left = LISTED_BYTES;
    for path in listed.iter_mut().map(|snapshot| &mut snapshot.skipped) {
        let bytes: usize = path.iter().map(|skipped| skipped.path.len()).sum();
        match left.checked_sub(bytes) {
            Some(rest) => left = rest,
            None => path.clear(),
        }
    }
}

pub(super) fn to_proto(id: &SnapshotId, snapshot: &Snapshot, place: Option<&Path>) -> v1::Snapshot {
    let counted = &snapshot.statistics;
    let skipped = snapshot.skipped.iter().take(SKIPPED_TOLD).scan(SKIPPED_BYTES, |left, skipped| {
        *left = left.checked_sub(skipped.path.len())?;
        Some(skipped)
    });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_room_for_every_snapshot_whatever_names_were_left_out() {
        let path = vec![b'x'; SKIPPED_BYTES];
        let one = v1::Snapshot {
            skipped: vec![v1::SkippedPath { path: path.into(), reason: "fifo".into() }],
            skipped_total: 1,
            ..v1::Snapshot::default()
        };
        let mut all = vec![one; 1000];
        shorten(&mut all);
        let named = all.iter().filter(|s| !s.skipped.is_empty()).count();
        assert_eq!(named, LISTED_BYTES / SKIPPED_BYTES);
        assert!(all.iter().all(|s| s.skipped_total == 1));
    }
}
