use super::{Limits, same_address};
use crate::{Content, TreeEntry, TreeError, TreeSource};
use std::io::Read;

const BLOCK: usize = 64 << 10;

/// How many bytes may still be read.
#[derive(Debug)]
pub(crate) struct Budget {
    total: u64,
    file: u64,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { total: limits.compared, file: limits.compared_file }
    }

    /// Takes what reading a file of this size costs; false: it is too much.
    pub(crate) fn take(&mut self, size: u64) -> bool {
        if size > self.file || size > self.total {
            return false;
        }
        self.total -= size;
        true
    }
}

/// Whether two files or links of one kind hold the same; none: too large to be told.
pub(crate) fn same(
    old: &dyn TreeSource,
    new: &dyn TreeSource,
    path: &[u8],
    a: &TreeEntry,
    b: &TreeEntry,
    budget: &mut Budget,
) -> Result<Option<bool>, TreeError> {
    match (&a.content, &b.content) {
        (Content::Target(x), Content::Target(y)) => return Ok(Some(x == y)),
        _ if same_address(a, b) => return Ok(Some(true)),
        _ if a.size != b.size => return Ok(Some(false)),
        _ => {}
    }
    // Two addresses of equal size may differ in where their holes lie alone: the bytes decide.
    if !budget.take(a.size) {
        return Ok(None);
    }
    let (mut x, mut y) = (vec![0; BLOCK], vec![0; BLOCK]);
    let (mut old, mut new) = (old.read(path)?, new.read(path)?);
    let mut left = a.size;
    loop {
        let n = fill(&mut *old, &mut x, path)?;
        let m = fill(&mut *new, &mut y, path)?;
        if n != m || x[..n] != y[..m] {
            return Ok(Some(false));
        }
        if n == 0 {
            return Ok(Some(true));
        }
        // A file that grows for ever is not read for ever.
        left = match left.checked_sub(n as u64) {
            Some(left) => left,
            None => return Ok(Some(false)),
        };
    }
}

fn fill(reader: &mut dyn Read, buffer: &mut [u8], path: &[u8]) -> Result<usize, TreeError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(broken(path, &e)),
        }
    }
    Ok(filled)
}

fn broken(path: &[u8], error: &std::io::Error) -> TreeError {
    TreeError { path: path.to_vec(), reason: error.to_string(), absent: false }
}

/// A digest of a file's bytes, alike for every kind of tree; none: too large.
pub(crate) fn digest(
    tree: &dyn TreeSource,
    path: &[u8],
    size: u64,
    budget: &mut Budget,
) -> Result<Option<blake3::Hash>, TreeError> {
    if !budget.take(size) {
        return Ok(None);
    }
    let mut reader = tree.read(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut block = vec![0; BLOCK];
    let mut read = 0;
    loop {
        let count = fill(&mut *reader, &mut block, path)?;
        if count == 0 {
            break;
        }
        read += count as u64;
        if read > size {
            break;
        }
        hasher.update(&block[..count]);
    }
    if read == size {
        return Ok(Some(hasher.finalize()));
    }
    let reason = "its size changed while it was read".to_owned();
    Err(TreeError { path: path.to_vec(), reason, absent: false })
}

/// The bytes of a file that has at most `limit` of them; none: it has more.
pub(crate) fn read_bounded(
    tree: &dyn TreeSource,
    path: &[u8],
    size: u64,
    limit: u64,
) -> Result<Option<Vec<u8>>, TreeError> {
    if size > limit {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    tree.read(path)?.take(limit + 1).read_to_end(&mut bytes).map_err(|e| broken(path, &e))?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}
