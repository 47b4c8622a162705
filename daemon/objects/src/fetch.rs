//! A snapshot out of the bucket into a store. The tree is walked level by level before anything
//! of it counts; what it would grow to is known before it is announced.

use super::{Remote, error::RemoteError, gather::gather};
use cordon_snapshots::{
    Content, ContentId, NodeKind, Snapshot, SnapshotId, SnapshotRequest, Statistics, Store, Taken,
    TreeLimits,
    transfer::{Intake, ObjectKind, Reference, chunks, entries},
};
use std::collections::{HashMap, HashSet};

const TRIES: usize = 5;

/// How a fetched snapshot is to be known, and how much it may hold.
#[derive(Clone, Debug, Default)]
pub struct FetchRequest {
    /// A name for it; none for the one it has in the bucket.
    pub label: Option<String>,
    /// How much the tree may hold when it is put back. `bytes` counts what is no hole, for each name.
    pub limits: TreeLimits,
}

#[derive(Clone, Copy, Default)]
struct Grown {
    files: u64,
    directories: u64,
    symlinks: u64,
    bytes: u64,
    dense: u64,
    depth: u64,
}

#[derive(Default)]
struct Directory {
    own: Grown,
    below: Vec<ContentId>,
    files: Vec<ContentId>,
}

#[derive(Default)]
struct Walk {
    directories: HashMap<ContentId, Directory>,
    /// The files, with their size, and how many bytes of it are stored.
    files: HashMap<ContentId, (u64, u64)>,
    chunks: HashMap<ContentId, u32>,
    groups: HashMap<u32, ContentId>,
    waiting: Vec<ContentId>,
}

impl Remote {
    /// Brings a snapshot into `store`: what it lacks, each object checked against its address. It
    /// becomes a snapshot of this store, of kind `fetch`, with the one of the bucket as
    /// its parent and without the run and the agent that the bucket's record claims: nothing
    /// here mistakes it for a snapshot that was taken here. Fetched again, it is the same one.
    ///
    /// # Errors
    /// When the bucket does not have all of it, whole; when the tree is beyond the limits, or the
    /// store cannot take it. Nothing is announced then.
    pub fn fetch(
        &self,
        store: &Store,
        id: &SnapshotId,
        request: &FetchRequest,
    ) -> Result<Taken, RemoteError> {
        let (record, _) = self.wire.block(self.record(id))?;
        let known = SnapshotRequest {
            parents: vec![*id],
            kind: "fetch".to_owned(),
            label: request.label.clone().unwrap_or_else(|| record.label.clone()),
            ..SnapshotRequest::default()
        };
        for (had, snapshot) in store.list()? {
            if snapshot.kind == known.kind
                && snapshot.parents == known.parents
                && snapshot.root == record.root
            {
                return Ok(Taken { id: had, snapshot });
            }
        }
        for _ in 0..TRIES {
            let intake = store.intake()?;
            let from = self.take(&intake, &record, request)?;
            if let Some(taken) = intake.finish(&from, &known)? {
                return Ok(taken);
            }
        }
        Err(RemoteError::Contended("fetch the snapshot"))
    }

    fn take(
        &self,
        intake: &Intake<'_>,
        record: &Snapshot,
        request: &FetchRequest,
    ) -> Result<Snapshot, RemoteError> {
        let mut walk = Walk { waiting: vec![record.root], ..Walk::default() };
        let mut known = self.known();
        self.wire.block(known.refresh(&self.wire))?;
        while !walk.waiting.is_empty() {
            let mut lacking = HashSet::new();
            for id in std::mem::take(&mut walk.waiting) {
                if walk.directories.contains_key(&id) {
                    continue;
                }
                match intake.load(ObjectKind::Tree, &id) {
                    Some(raw) => walk.directory(id, &raw, request)?,
                    None => {
                        lacking.insert(id);
                    }
                }
            }
            let lacking: Vec<_> = lacking.into_iter().collect();
            self.wire.block(gather(&self.wire, &mut known, &lacking, &mut |object, raw| {
                expect(object.kind(), ObjectKind::Tree, object.id())?;
                walk.directory(object.id(), &raw, request)?;
                Ok(intake.put(&object)?)
            }))?;
        }
        // Files that are here or there one blob, and those that are lists of chunks.
        let (mut content, mut lists) = (Vec::new(), Vec::new());
        for (id, (size, _)) in &walk.files {
            if let Some(length) = intake.size(ObjectKind::Blob, id) {
                same(*size, length.into(), *id)?;
                continue;
            }
            if let Some(raw) = intake.load(ObjectKind::List, id) {
                lists.push((*id, raw));
                continue;
            }
            content.push(*id);
        }
        let kind = |id: &ContentId| known.find(id).next().map(|(_, place)| place.kind());
        let (meta, content): (Vec<_>, Vec<_>) =
            content.into_iter().partition(|id| kind(id) == Some(ObjectKind::List));
        for (id, raw) in &lists {
            walk.list(*id, raw)?;
        }
        self.wire.block(gather(&self.wire, &mut known, &meta, &mut |object, raw| {
            expect(object.kind(), ObjectKind::List, object.id())?;
            walk.list(object.id(), &raw)?;
            Ok(intake.put(&object)?)
        }))?;
        let mut data: HashMap<ContentId, u64> =
            content.iter().map(|id| (*id, walk.files.get(id).map_or(0, |f| f.0))).collect();
        for (id, length) in &walk.chunks {
            match intake.size(ObjectKind::Blob, id) {
                Some(had) => same((*length).into(), had.into(), *id)?,
                None if data.insert(*id, (*length).into()).is_some_and(|had| had != u64::from(*length)) => {
                    return Err(wrong(*id, "it has two sizes"));
                }
                None => {}
            }
        }
        let grown = walk.grown(record.root, request)?;
        let ids: Vec<_> = data.keys().copied().collect();
        self.wire.block(gather(&self.wire, &mut known, &ids, &mut |object, raw| {
            expect(object.kind(), ObjectKind::Blob, object.id())?;
            same(data.get(&object.id()).copied().unwrap_or(0), raw.len() as u64, object.id())?;
            Ok(intake.put(&object)?)
        }))?;
        let Grown { files, directories, symlinks, bytes, .. } = grown;
        let (read, skipped) = (data.len() as u64, record.skipped.len() as u64);
        let statistics =
            Statistics { files, directories, symlinks, bytes, read, skipped, ..Statistics::default() };
        Ok(Snapshot { statistics, ..record.clone() })
    }
}

fn wrong(id: ContentId, why: &str) -> RemoteError {
    RemoteError::damaged(format!("object {id}"), why)
}

fn expect(is: ObjectKind, wanted: ObjectKind, id: ContentId) -> Result<(), RemoteError> {
    if is == wanted { Ok(()) } else { Err(wrong(id, "it is of another kind than its tree says")) }
}

fn same(said: u64, is: u64, id: ContentId) -> Result<(), RemoteError> {
    if said == is { Ok(()) } else { Err(wrong(id, "it has another size than its tree says")) }
}

impl Walk {
    fn directory(&mut self, id: ContentId, raw: &[u8], request: &FetchRequest) -> Result<(), RemoteError> {
        let listed = entries(&id, raw).map_err(RemoteError::theirs)?;
        let most = request.limits.directory;
        if listed.len() as u64 > most {
            return Err(RemoteError::Limit { what: "entries in one directory", limit: most });
        }
        let mut directory = Directory::default();
        for entry in listed {
            match (entry.kind, entry.content) {
                (NodeKind::Directory, Content::Address(id)) => {
                    directory.below.push(id);
                    self.waiting.push(id);
                }
                (NodeKind::File, Content::Address(id)) => {
                    let size = entry.size;
                    if self.files.insert(id, (size, size)).is_some_and(|(had, _)| had != size) {
                        return Err(wrong(id, "it has two sizes"));
                    }
                    if let Some(group) = entry.link_group
                        && self.groups.insert(group, id).is_some_and(|had| had != id)
                    {
                        return Err(wrong(id, "names of one file have different contents"));
                    }
                    directory.own.files += 1;
                    directory.own.bytes = directory.own.bytes.saturating_add(size);
                    directory.files.push(id);
                }
                _ => directory.own.symlinks += 1,
            }
        }
        // Hashes cannot lead in a circle, so this ends; but before it is too much.
        if self.directories.len() as u64 > request.limits.entries {
            return Err(RemoteError::Limit { what: "entries", limit: request.limits.entries });
        }
        self.directories.insert(id, directory);
        Ok(())
    }

    fn list(&mut self, id: ContentId, raw: &[u8]) -> Result<(), RemoteError> {
        let (pieces, total) = chunks(&id, raw).map_err(RemoteError::theirs)?;
        let mut dense = 0u64;
        for piece in pieces {
            let Reference::Chunk(chunk, length) = piece else { continue };
            dense = dense.saturating_add(length.into());
            if self.chunks.insert(chunk, length).is_some_and(|had| had != length) {
                return Err(wrong(chunk, "it has two sizes"));
            }
        }
        if let Some((size, stored)) = self.files.get_mut(&id) {
            same(*size, total, id)?;
            *stored = dense;
        }
        Ok(())
    }

    /// What the tree is when every name in it is made: a few directories can refer to each
    /// other so often that no disk holds them.
    fn grown(&self, root: ContentId, request: &FetchRequest) -> Result<Grown, RemoteError> {
        let limits = request.limits;
        let mut done: HashMap<ContentId, Grown> = HashMap::new();
        let mut stack = vec![(root, false)];
        while let Some((id, below_done)) = stack.pop() {
            if done.contains_key(&id) {
                continue;
            }
            let Some(directory) = self.directories.get(&id) else {
                return Err(wrong(id, "it is no directory"));
            };
            if !below_done {
                stack.push((id, true));
                stack.extend(directory.below.iter().map(|id| (*id, false)));
                continue;
            }
            let mut sum = directory.own;
            for file in &directory.files {
                sum.dense = sum.dense.saturating_add(self.files.get(file).map_or(0, |f| f.1));
            }
            for below in &directory.below {
                let Some(more) = done.get(below) else { return Err(wrong(*below, "it is no directory")) };
                sum.files = sum.files.saturating_add(more.files);
                sum.symlinks = sum.symlinks.saturating_add(more.symlinks);
                sum.directories = sum.directories.saturating_add(more.directories).saturating_add(1);
                sum.bytes = sum.bytes.saturating_add(more.bytes);
                sum.dense = sum.dense.saturating_add(more.dense);
                sum.depth = sum.depth.max(more.depth + 1);
            }
            let all = sum.files.saturating_add(sum.directories).saturating_add(sum.symlinks);
            for (is, limit, what) in [
                (all, limits.entries, "entries"),
                (sum.depth, limits.depth, "directories below each other"),
                (sum.dense, limits.bytes, "bytes"),
            ] {
                if is > limit {
                    return Err(RemoteError::Limit { what, limit });
                }
            }
            done.insert(id, sum);
        }
        Ok(done.get(&root).copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file in the form of a directory's entry.
    fn file(name: &str, group: Option<u32>, size: u64, id: u8) -> Vec<u8> {
        let mut out = vec![if group.is_some() { 0x81 } else { 1 }];
        out.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        out.extend(name.as_bytes());
        out.extend(0o644u16.to_le_bytes());
        out.extend([0; 12]);
        out.extend(group.iter().flat_map(|g| g.to_le_bytes()));
        out.extend(size.to_le_bytes());
        out.extend([id; 32]);
        out
    }

    fn walked(directories: &[Vec<Vec<u8>>]) -> Result<Walk, RemoteError> {
        let mut walk = Walk::default();
        for (n, entries) in directories.iter().enumerate() {
            let id = ContentId([u8::try_from(n).unwrap(); 32]);
            walk.directory(id, &entries.concat(), &FetchRequest::default())?;
        }
        Ok(walk)
    }

    #[test]
    fn trees_that_contradict_themselves_are_refused() {
        let good = [vec![file("a", Some(1), 5, 9), file("b", Some(1), 5, 9)], vec![file("c", Some(2), 5, 9)]];
        assert!(walked(&good).is_ok());
        for bad in [
            vec![vec![file("a", None, 5, 9), file("b", None, 6, 9)]],
            vec![vec![file("a", Some(1), 5, 9)], vec![file("b", Some(1), 5, 8)]],
            vec![vec![file("b", None, 5, 9), file("a", None, 5, 9)]],
            vec![vec![file("a", None, 5, 9), file("a", None, 5, 9)]],
            vec![vec![file("..", None, 5, 9)]],
            vec![vec![file("a/b", None, 5, 9)]],
            vec![vec![file("a", None, u64::MAX, 9)]],
        ] {
            assert!(matches!(walked(&bad), Err(RemoteError::Damaged { .. })), "{bad:?}");
        }
    }

    #[test]
    fn lists_are_as_long_as_their_files() {
        let list = |hole: u64, chunk: u32| {
            let mut out = vec![0];
            out.extend(hole.to_le_bytes());
            out.push(1);
            out.extend(chunk.to_le_bytes());
            out.extend([7; 32]);
            out
        };
        let id = ContentId([9; 32]);
        let walk = || walked(&[vec![file("a", None, 1 << 30, 9)]]).unwrap();
        let mut right = walk();
        right.list(id, &list((1 << 30) - 10, 10)).unwrap();
        // A hole takes no room when it is put back.
        assert_eq!(right.files.get(&id), Some(&(1 << 30, 10)));
        assert!(walk().list(id, &list(1 << 30, 10)).is_err());
        assert!(walk().list(id, &list(0, 10)).is_err());
        assert!(walk().list(id, b"\x07").is_err());
        right.chunks.insert(ContentId([7; 32]), 11);
        assert!(right.list(id, &list((1 << 30) - 10, 10)).is_err(), "a chunk of two sizes");
    }
}
