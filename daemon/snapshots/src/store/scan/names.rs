//! The names of a directory.

use crate::store::limits::TreeLimits;
use rustix::{
    fd::OwnedFd,
    fs::{FileType, RawDir},
};
use std::{ffi::CStr, mem::MaybeUninit};

/// How much of a directory is asked for at once.
pub(super) const BUFFER: usize = 32 << 10;

/// How long the names of one directory may be together: a million of 64 bytes.
pub(super) const MOST: u64 = 64 << 20;

/// Sorted names in one piece of memory, each with its NUL.
#[derive(Default)]
pub(super) struct Names {
    bytes: Vec<u8>,
    items: Vec<Item>,
}

#[derive(Clone, Copy)]
struct Item {
    at: usize,
    length: u16,
    kind: FileType,
}

/// Why a directory was not listed.
#[derive(Debug)]
pub(super) enum Fault {
    Io(rustix::io::Errno),
    Limit(&'static str, u64),
}

impl Names {
    pub(super) fn read(
        fd: &OwnedFd,
        limits: &TreeLimits,
        most: u64,
        buffer: &mut [MaybeUninit<u8>],
    ) -> Result<Self, Fault> {
        let mut names = Self::default();
        let mut dir = RawDir::new(fd, buffer);
        while let Some(found) = dir.next() {
            let found = found.map_err(Fault::Io)?;
            let name = found.file_name().to_bytes_with_nul();
            if matches!(name, b".\0" | b"..\0") {
                continue;
            }
            if names.items.len() as u64 >= limits.directory {
                return Err(Fault::Limit("entries in one directory", limits.directory));
            }
            if (names.bytes.len() + name.len()) as u64 > most {
                return Err(Fault::Limit("bytes of names in one directory", most));
            }
            let length = u16::try_from(name.len()).map_err(|_| Fault::Io(rustix::io::Errno::NAMETOOLONG))?;
            names.items.push(Item { at: names.bytes.len(), length, kind: found.file_type() });
            names.bytes.extend_from_slice(name);
        }
        let Self { bytes, items } = &mut names;
        let name = |item: &Item| &bytes[item.at..item.at + usize::from(item.length) - 1];
        items.sort_unstable_by(|a, b| name(a).cmp(name(b)));
        // A directory that changes while it is listed may give a name twice.
        items.dedup_by(|a, b| name(a) == name(b));
        Ok(names)
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// The names of a range, with what the directory says they are.
    pub(super) fn range(&self, from: usize, to: usize) -> impl Iterator<Item = (&CStr, FileType)> {
        let items = self.items.get(from..to.min(self.items.len())).unwrap_or_default();
        items.iter().map(|item| {
            let bytes = &self.bytes[item.at..item.at + usize::from(item.length)];
            (CStr::from_bytes_until_nul(bytes).unwrap_or_default(), item.kind)
        })
    }

    /// Takes out the names for which `out` says so.
    pub(super) fn remove(&mut self, mut out: impl FnMut(&[u8]) -> bool) {
        let Self { bytes, items } = self;
        items.retain(|item| !out(&bytes[item.at..item.at + usize::from(item.length) - 1]));
    }
}

#[cfg(test)]
mod tests {
    use super::{BUFFER, Fault, Names};
    use crate::store::{disk::open_dir, limits::TreeLimits};
    use std::mem::MaybeUninit;

    fn read(path: &std::path::Path, limits: &TreeLimits, most: u64) -> Result<Vec<String>, Fault> {
        let fd = open_dir(rustix::fs::CWD, path).unwrap();
        let mut names = Names::read(&fd, limits, most, &mut vec![MaybeUninit::uninit(); BUFFER])?;
        names.remove(|name| name == b"hidden");
        Ok(names.range(0, usize::MAX).map(|(name, _)| name.to_str().unwrap().to_owned()).collect())
    }

    #[test]
    fn names_are_sorted_and_bounded_by_number_and_bytes() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b", "a", "hidden", "a.b", "a-b"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let all = TreeLimits::default();
        assert_eq!(read(dir.path(), &all, 1000).unwrap(), ["a", "a-b", "a.b", "b"]);
        // Each with its NUL.
        assert!(read(dir.path(), &all, 19).is_ok());
        assert!(matches!(read(dir.path(), &all, 18), Err(Fault::Limit(_, 18))));
        let few = TreeLimits { directory: 4, ..all };
        assert!(matches!(read(dir.path(), &few, 1000), Err(Fault::Limit(_, 4))));
    }
}
