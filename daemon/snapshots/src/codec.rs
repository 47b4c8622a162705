//! The index on disk: a magic line, a count, then one fixed-width record per entry with
//! its name; numbers are little-endian.

use crate::{Entry, EntryKind, Index};
use std::collections::BTreeMap;

const MAGIC: &[u8; 8] = b"CDNIDX1\n";
const FIXED: usize = 4 + 1 + 4 + 8 + 8 + 16 + 16;

/// Not an index, or a damaged one.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the stored index is damaged: {0}")]
pub struct DecodeError(&'static str);

impl Index {
    /// The index as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.entries.len() * (FIXED + 40));
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&(self.entries.len() as u64).to_le_bytes());
        for (path, entry) in &self.entries {
            let length = u32::try_from(path.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&length.to_le_bytes());
            out.push(entry.kind as u8);
            out.extend_from_slice(&entry.mode.to_le_bytes());
            out.extend_from_slice(&entry.size.to_le_bytes());
            out.extend_from_slice(&entry.inode.to_le_bytes());
            out.extend_from_slice(&entry.modified.to_le_bytes());
            out.extend_from_slice(&entry.changed.to_le_bytes());
            out.extend_from_slice(path);
        }
        for line in &self.incomplete {
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
        }
        out
    }

    /// Reads what [`Index::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut rest = bytes.strip_prefix(MAGIC).ok_or(DecodeError("it does not begin as one"))?;
        let count = u64::from_le_bytes(take(&mut rest)?);
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            let length = u32::from_le_bytes(take(&mut rest)?) as usize;
            let [kind] = take(&mut rest)?;
            let kind = match kind {
                0 => EntryKind::File,
                1 => EntryKind::Directory,
                2 => EntryKind::Link,
                3 => EntryKind::Special,
                _ => return Err(DecodeError("an unknown kind of entry")),
            };
            let entry = Entry {
                kind,
                mode: u32::from_le_bytes(take(&mut rest)?),
                size: u64::from_le_bytes(take(&mut rest)?),
                inode: u64::from_le_bytes(take(&mut rest)?),
                modified: i128::from_le_bytes(take(&mut rest)?),
                changed: i128::from_le_bytes(take(&mut rest)?),
            };
            let path = rest.get(..length).ok_or(DecodeError("a name is cut short"))?;
            entries.insert(path.to_vec(), entry);
            rest = &rest[length..];
        }
        let text = std::str::from_utf8(rest).map_err(|_| DecodeError("the notes are not text"))?;
        Ok(Self { entries, incomplete: text.lines().map(str::to_owned).collect() })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], DecodeError> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(DecodeError("it is cut short"))?;
    *rest = tail;
    Ok(*head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry() -> impl Strategy<Value = Entry> {
        let kind = prop_oneof![
            Just(EntryKind::File),
            Just(EntryKind::Directory),
            Just(EntryKind::Link),
            Just(EntryKind::Special)
        ];
        (kind, any::<u32>(), any::<u64>(), any::<u64>(), any::<i128>(), any::<i128>()).prop_map(
            |(kind, mode, size, inode, modified, changed)| Entry {
                kind,
                mode,
                size,
                inode,
                modified,
                changed,
            },
        )
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            entries in proptest::collection::btree_map(proptest::collection::vec(any::<u8>(), 1..40), entry(), 0..20),
            incomplete in proptest::collection::vec("[a-z: ]{1,20}", 0..3),
        ) {
            let index = Index { entries, incomplete };
            prop_assert_eq!(Index::decode(&index.encode()), Ok(index));
        }

        #[test]
        fn damaged_bytes_are_an_error_or_an_index(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), magic in any::<bool>()) {
            if magic {
                bytes.splice(..0, MAGIC.iter().copied());
            }
            let _ = Index::decode(&bytes);
        }
    }
}
