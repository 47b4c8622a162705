//! An archive into the store.

use super::{
    blocks::{BLOCK, Blocks},
    error::{ArchiveError, Refusal},
    header::{Bad, Head, OldSparse},
    pax::{Extended, RUNS_MOST},
    sparse::{LIES, map, settle},
    tree::Tree,
};
use crate::store::{
    Builder, Built, SkipReason, Skipped, SnapshotRequest, Statistics, Store, StreamFault as Fault, Taken,
    TreeLimits,
};
use std::io::Read;

/// The most that the extended headers or the long name of one entry take: two paths of the
/// greatest depth.
const EXTENSION_MOST: u64 = 8 << 20;
/// The longest file that the filesystems here hold.
const FILE_MOST: u64 = 16 << 40;
/// How many left-out paths are named; the rest is counted.
const NAMED_MOST: usize = 1000;

/// What an imported snapshot is to be known by, and how much it may hold.
#[derive(Clone, Debug, Default)]
pub struct ImportRequest {
    /// A name for it.
    pub label: String,
    /// How much it may hold. `bytes` counts what the archive has of files, without holes.
    pub limits: TreeLimits,
}

/// Makes a snapshot of kind `import` of the tar archive in `from`. Nothing is written but the
/// store, and nothing is announced before the archive's end mark.
///
/// # Errors
/// When the archive is none, is compressed, cut short or contradicts itself, holds a name that
/// must not be followed, or is larger than the limits; when the store cannot take it.
pub fn import(store: &Store, from: &mut dyn Read, request: &ImportRequest) -> Result<Taken, ArchiveError> {
    let mut import = Import {
        blocks: Blocks::new(from),
        builder: store.build()?,
        tree: Tree::new(request.limits),
        limit: request.limits.bytes,
        left: request.limits.bytes,
        global: Extended::default(),
        skipped: Vec::new(),
        statistics: Statistics::default(),
    };
    import.run()?;
    let Import { mut builder, tree, skipped, mut statistics, .. } = import;
    let (root_mode, root_mtime) = tree.root();
    let (root, counted) = tree.store(&mut builder)?;
    statistics.files = counted.files;
    statistics.directories = counted.directories;
    statistics.symlinks = counted.symlinks;
    statistics.bytes = counted.bytes;
    let built = Built { root, root_mode, root_mtime, statistics, skipped };
    let kind = "import".to_owned();
    let known = SnapshotRequest { kind, label: request.label.clone(), ..SnapshotRequest::default() };
    Ok(builder.finish(built, &known)?)
}

struct Import<'s, 'a> {
    blocks: Blocks<'a>,
    builder: Builder<'s>,
    tree: Tree,
    limit: u64,
    left: u64,
    global: Extended,
    skipped: Vec<Skipped>,
    statistics: Statistics,
}

/// What long names and extended headers say of the entry that follows them.
#[derive(Default)]
struct Ahead {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    extended: Extended,
    /// How much of it was read; bounded, whatever it says.
    bytes: u64,
    any: bool,
}

impl Import<'_, '_> {
    fn run(&mut self) -> Result<(), ArchiveError> {
        let mut block = [0; BLOCK];
        let mut ahead = Ahead::default();
        let mut first = true;
        loop {
            let had = self.blocks.block(&mut block)?;
            if first {
                recognise(&block[..had])?;
            }
            if had < BLOCK {
                return Err(self.blocks.truncated());
            }
            if block.iter().all(|b| *b == 0) {
                if ahead.any {
                    return Err(self.blocks.malformed("a long name or extended header belongs to nothing"));
                }
                self.blocks.drain();
                return Ok(());
            }
            let head = Head::read(&block).map_err(|bad| match bad {
                Bad::Sum if first => ArchiveError::NotTar { why: "its first block is no header" },
                Bad::Sum => self.blocks.malformed("a header has another checksum than its own"),
                Bad::Field(why) => self.blocks.malformed(why),
            })?;
            first = false;
            match head.kind {
                b'x' | b'g' | b'L' | b'K' => self.ahead(&head, &mut ahead)?,
                _ => self.entry(head, std::mem::take(&mut ahead))?,
            }
        }
    }

    fn ahead(&mut self, head: &Head, ahead: &mut Ahead) -> Result<(), ArchiveError> {
        ahead.bytes = ahead.bytes.saturating_add(head.size);
        if ahead.bytes > EXTENSION_MOST {
            let what = "bytes of extended headers for one entry";
            return Err(ArchiveError::limit(what, EXTENSION_MOST, &head.name));
        }
        let bytes = self.blocks.bytes(head.size)?;
        let twice = "an entry is named twice, in two ways";
        if head.kind == b'g' {
            let mut global = self.global.clone();
            global.read(&bytes).map_err(|why| self.blocks.malformed(why))?;
            if !global.is_global() {
                return Err(self.blocks.malformed("a global header names or measures every file alike"));
            }
            self.global = global;
            return Ok(());
        }
        ahead.any = true;
        if head.kind == b'x' {
            ahead.extended.read(&bytes).map_err(|why| self.blocks.malformed(why))?;
        } else {
            let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
            let into = if head.kind == b'L' { &mut ahead.name } else { &mut ahead.link };
            if into.replace(bytes[..end].to_vec()).is_some() {
                return Err(self.blocks.malformed(twice));
            }
        }
        let Ahead { name, link, extended, .. } = ahead;
        let both = (name.is_some() && (extended.path.is_some() || extended.sparse.name.is_some()))
            || (link.is_some() && extended.link.is_some());
        if both { Err(self.blocks.malformed(twice)) } else { Ok(()) }
    }

    fn entry(&mut self, head: Head, ahead: Ahead) -> Result<(), ArchiveError> {
        let Head { kind, mode, .. } = head;
        let Extended { path, link, size: told, mtime, mut sparse } = ahead.extended;
        let mtime = mtime.or(self.global.mtime).unwrap_or((head.mtime, 0));
        let size = told.unwrap_or(head.size);
        let name = sparse.name.take().or(path).or(ahead.name).unwrap_or(head.name);
        let link = link.or(ahead.link).unwrap_or(head.link);
        let regular = matches!(kind, b'0' | 0 | b'7');
        // What is before pax says a directory so.
        let directory = kind == b'5' || (regular && name.ends_with(b"/"));
        if (directory || !(regular || kind == b'S')) && size > 0 {
            return Err(self.blocks.malformed("something that is no file has bytes"));
        }
        if sparse.is_told() && (directory || !regular) {
            return Err(self.blocks.malformed("something that is no file is sparse"));
        }
        match kind {
            _ if directory => self.tree.directory(&name, mode, mtime),
            b'0' | 0 | b'7' if sparse.is_told() => {
                let version = (sparse.major.unwrap_or(0), sparse.minor.unwrap_or(0));
                let real = sparse.size.ok_or_else(|| self.blocks.malformed(LIES))?;
                let runs = match (version, sparse.runs) {
                    ((1, 0), None) => None,
                    ((0, 0 | 1), Some(runs)) => Some(runs),
                    _ => return Err(self.blocks.malformed("a sparse file is of an unknown format")),
                };
                self.file(&name, (size, real), runs.as_deref(), mode, mtime)
            }
            b'0' | 0 | b'7' => self.file(&name, (size, size), Some(&[(0, size)]), mode, mtime),
            b'S' => {
                let old = head.sparse.ok_or_else(|| self.blocks.malformed(LIES))?;
                let (runs, real) = self.old_runs(old)?;
                self.file(&name, (size, real), Some(&runs), mode, mtime)
            }
            b'1' => self.tree.link(&name, &link),
            b'2' => self.tree.symlink(&name, &link, mtime),
            b'3' | b'4' => self.skip(&name, SkipReason::Device),
            b'6' => self.skip(&name, SkipReason::Fifo),
            // The archive's own label.
            b'V' => Ok(()),
            _ => Err(ArchiveError::refused(&name, Refusal::Kind)),
        }
    }

    /// The whole map of an old GNU sparse file, which goes on in blocks of its own.
    fn old_runs(&mut self, old: OldSparse) -> Result<(Vec<(u64, u64)>, u64), ArchiveError> {
        let OldSparse { mut runs, mut more, size } = old;
        while more {
            let block = self.blocks.whole()?;
            let (next, again) = Head::more(&block).map_err(|_| self.blocks.malformed(LIES))?;
            if next.is_empty() || runs.len() > RUNS_MOST {
                return Err(self.blocks.malformed(LIES));
            }
            runs.extend(next);
            more = again;
        }
        Ok((runs, size))
    }

    /// A file of `stored` bytes in the archive and `real` bytes in the tree. Without `runs`, the
    /// map stands before the bytes.
    fn file(
        &mut self,
        name: &[u8],
        (stored, real): (u64, u64),
        runs: Option<&[(u64, u64)]>,
        mode: u32,
        mtime: (i64, u32),
    ) -> Result<(), ArchiveError> {
        if real > FILE_MOST {
            return Err(ArchiveError::limit("bytes in one file", FILE_MOST, name));
        }
        let over = || ArchiveError::limit("bytes", self.limit, name);
        self.left = self.left.checked_sub(stored).ok_or_else(over)?;
        self.tree.check(name)?;
        let at = self.blocks.at();
        let mut data = self.blocks.data(stored);
        let lies = ArchiveError::Malformed { at, why: LIES };
        let told = match runs {
            Some(runs) => Some(runs.to_vec()),
            None => match map(&mut data) {
                Ok(runs) => runs,
                Err(e) => return Err(data.failed(e)),
            },
        };
        let Some(runs) = told.and_then(|runs| settle(&runs, real, data.left())) else { return Err(lies) };
        let id = match self.builder.file(real, &runs, &mut data) {
            Ok(id) => id,
            Err(Fault::Store(e)) => return Err(e.into()),
            Err(Fault::Read(e)) => return Err(data.failed(e)),
        };
        data.end()?;
        self.statistics.read += 1;
        self.tree.file(name, (id, real), mode, mtime)
    }

    fn skip(&mut self, name: &[u8], reason: SkipReason) -> Result<(), ArchiveError> {
        let path = self.tree.skip(name)?;
        self.statistics.skipped += 1;
        if self.skipped.len() < NAMED_MOST && path.len() <= usize::from(u16::MAX) {
            self.skipped.push(Skipped { path, reason });
        }
        Ok(())
    }
}

/// What is compressed is told by its first bytes.
fn recognise(first: &[u8]) -> Result<(), ArchiveError> {
    const KNOWN: [(&[u8], &str); 6] = [
        (b"\x1f\x8b", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"BZh", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x04\x22\x4d\x18", "lz4"),
        (b"\x1f\x9d", "compress"),
    ];
    if let Some((_, how)) = KNOWN.iter().find(|(magic, _)| first.starts_with(magic)) {
        return Err(ArchiveError::Compressed { how });
    }
    if first.is_empty() {
        return Err(ArchiveError::NotTar { why: "it is empty" });
    }
    if first.starts_with(b"PK\x03\x04") {
        return Err(ArchiveError::NotTar { why: "it is a zip file" });
    }
    Ok(())
}
