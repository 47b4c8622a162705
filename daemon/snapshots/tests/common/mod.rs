//! An account of a tree by the standard library alone: nothing of the store's own walker.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    reason = "shared; each test binary uses its part"
)]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileTypeExt as _, MetadataExt as _},
    },
    path::Path,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub kind: char,
    pub mode: u32,
    pub mtime: (i64, i64),
    pub size: u64,
    pub bytes: Vec<u8>,
    /// The first name of the same inode.
    pub inode: Vec<u8>,
}

/// Everything below `root`, and the root itself as the empty name.
pub fn facts(root: &Path) -> BTreeMap<Vec<u8>, Facts> {
    let mut all = BTreeMap::new();
    let mut waiting = vec![root.to_path_buf()];
    let mut inodes: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    while let Some(path) = waiting.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let kind = meta.file_type();
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        let (kind, bytes) = if kind.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
            ('d', Vec::new())
        } else if kind.is_symlink() {
            ('l', fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec())
        } else if kind.is_file() {
            ('f', fs::read(&path).unwrap())
        } else {
            assert!(kind.is_fifo() || kind.is_socket() || kind.is_char_device() || kind.is_block_device());
            ('s', Vec::new())
        };
        let first = inodes.entry(meta.ino()).or_insert_with(|| name.clone());
        if name < *first {
            first.clone_from(&name);
        }
        let facts = Facts {
            kind,
            mode: meta.mode() & 0o7777,
            mtime: (meta.mtime(), meta.mtime_nsec()),
            size: if kind == 'd' { 0 } else { meta.size() },
            bytes,
            inode: meta.ino().to_le_bytes().to_vec(),
        };
        all.insert(name, facts);
    }
    for fact in all.values_mut() {
        let inode = u64::from_le_bytes(fact.inode.as_slice().try_into().unwrap());
        fact.inode = if fact.kind == 'f' { inodes[&inode].clone() } else { Vec::new() };
    }
    all
}

/// The differences, for a message.
pub fn differences(a: &BTreeMap<Vec<u8>, Facts>, b: &BTreeMap<Vec<u8>, Facts>) -> Vec<String> {
    let brief = |f: Option<&Facts>| {
        f.map(|f| Facts { bytes: f.bytes[..f.bytes.len().min(20)].to_vec(), ..f.clone() })
    };
    a.keys()
        .chain(b.keys().filter(|k| !a.contains_key(*k)))
        .filter(|k| a.get(*k) != b.get(*k))
        .map(|k| format!("{}: {:?} / {:?}", k.escape_ascii(), brief(a.get(k)), brief(b.get(k))))
        .collect()
}
