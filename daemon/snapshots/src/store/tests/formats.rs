//! What hostile bytes on disk can do: nothing but be refused.

use crate::{
    store::{
        object::{Piece, decode_list, decode_tree, encode_list, encode_tree},
        record::{SkipReason, Skipped, Snapshot, SnapshotId, Statistics},
    },
    tree::{Content, ContentId, NodeKind, TreeEntry},
};
use proptest::{collection::vec, prelude::*};

fn name() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>().prop_map(|b| if matches!(b, 0 | b'/') { b'x' } else { b }), 1..30)
        .prop_filter("not a name", |n| n != b"." && n != b"..")
}

fn node() -> impl Strategy<Value = TreeEntry> {
    let target = vec(1u8.., 1..60);
    let time = (any::<i64>(), 0u32..1_000_000_000);
    (name(), 0..3u8, 0..0o1000u32, time, 0..=i64::MAX as u64, any::<[u8; 32]>(), target, any::<Option<u32>>())
        .prop_map(|(name, kind, mode, mtime, size, id, target, group)| {
            let (kind, size, content, link_group) = match kind {
                0 => (NodeKind::Directory, 0, Content::Address(ContentId(id)), None),
                1 => (NodeKind::File, size, Content::Address(ContentId(id)), group),
                _ => (NodeKind::Symlink, target.len() as u64, Content::Target(target), None),
            };
            TreeEntry { name, kind, mode, mtime, size, content, link_group }
        })
}

proptest! {
    #[test]
    fn trees_come_back(mut entries in vec(node(), 0..20)) {
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries.dedup_by(|a, b| a.name == b.name);
        prop_assert_eq!(decode_tree(&encode_tree(&entries)), Ok(entries));
    }

    #[test]
    fn a_changed_tree_is_refused_or_another_one(entries in vec(node(), 1..4), at in any::<prop::sample::Index>(), bit in 0..8u32) {
        let mut entries = entries;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries.dedup_by(|a, b| a.name == b.name);
        let mut bytes = encode_tree(&entries);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert_ne!(decode_tree(&bytes), Ok(entries));
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in vec(any::<u8>(), 0..300)) {
        let _ = (decode_tree(&bytes), decode_list(&bytes), Snapshot::decode(&bytes));
        let _ = Snapshot::decode(&[b"CDNSNAP1".as_slice(), &bytes].concat());
    }

    #[test]
    fn lists_come_back(pieces in vec(prop_oneof![(1..1u64 << 40).prop_map(Piece::Hole), (any::<[u8; 32]>(), 1..1u32 << 22).prop_map(|(id, n)| Piece::Chunk(ContentId(id), n))], 0..20)) {
        let total = pieces.iter().map(|p| match p { Piece::Hole(n) => *n, Piece::Chunk(_, n) => u64::from(*n) }).sum::<u64>();
        prop_assert_eq!(decode_list(&encode_list(&pieces)), Ok((pieces, total)));
    }

    #[test]
    fn records_come_back(root in any::<[u8; 32]>(), texts in any::<[String; 5]>(), origin in vec(any::<u8>(), 0..50), turn in any::<Option<u64>>(), parents in vec(any::<[u8; 32]>(), 0..5), paths in vec(vec(any::<u8>(), 0..50), 0..5), files in any::<u64>()) {
        let [owner, run, agent, kind, label] = texts;
        let snapshot = Snapshot {
            root: ContentId(root), root_mode: 0o755, root_mtime: (-1, 5), time: (7, 8),
            parents: parents.into_iter().map(|p| SnapshotId::of(&p)).collect(), owner, run, agent, turn, kind, origin, label,
            statistics: Statistics { files, ..Statistics::default() },
            skipped: paths.into_iter().map(|path| Skipped { path, reason: SkipReason::Socket }).collect(),
        };
        prop_assert_eq!(Snapshot::decode(&snapshot.encode().unwrap()), Ok(snapshot));
    }
}
