//! The latest bytes of a stream, found by their offset.

use std::collections::VecDeque;

/// Keeps the last bytes of a stream.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    kept: VecDeque<u8>,
    limit: usize,
    total: u64,
}

/// A part of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) bytes: Vec<u8>,
    /// Where it begins.
    pub(crate) from: u64,
    /// Where what comes after it begins.
    pub(crate) next: u64,
    /// Bytes that were asked for and are no longer kept.
    pub(crate) dropped: u64,
    /// Bytes that are kept after it.
    pub(crate) more: u64,
}

impl Ring {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.total = self.total.saturating_add(bytes.len() as u64);
        let last = &bytes[bytes.len().saturating_sub(self.limit)..];
        let over = (self.kept.len() + last.len()).saturating_sub(self.limit);
        self.kept.drain(..over.min(self.kept.len()));
        self.kept.extend(last);
    }

    /// Keeps less from now on.
    pub(crate) fn shrink(&mut self, limit: usize) {
        self.limit = self.limit.min(limit);
        self.kept.drain(..self.kept.len().saturating_sub(self.limit));
        self.kept.shrink_to_fit();
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// At most `limit` bytes from an offset; a negative one counts from the end. While more
    /// is to come, a character that has not come in full waits for its rest.
    pub(crate) fn part(&self, since: i64, limit: usize, growing: bool) -> Part {
        let asked = match u64::try_from(since) {
            Ok(since) => since.min(self.total),
            Err(_) => self.total.saturating_sub(since.unsigned_abs()),
        };
        let start = self.total - self.kept.len() as u64;
        // A negative offset asks for the latest, not for what is gone.
        let dropped = if since < 0 { 0 } else { start.saturating_sub(asked) };
        let from = asked.max(start);
        let skip = usize::try_from(from - start).unwrap_or(usize::MAX);
        let mut bytes: Vec<u8> = self.kept.iter().skip(skip).take(limit).copied().collect();
        let is_last = skip + bytes.len() == self.kept.len();
        let split = split_tail(&bytes);
        if split < bytes.len() && (split > 0 || is_last) && (growing || !is_last) {
            bytes.truncate(split);
        }
        let next = from + bytes.len() as u64;
        Part { from, next, dropped, more: self.total - next, bytes }
    }
}

/// Where a character begins that the end of the bytes cuts off, else their length.
fn split_tail(bytes: &[u8]) -> usize {
    let window = &bytes[bytes.len().saturating_sub(4)..];
    let before = bytes.len() - window.len();
    for (at, byte) in window.iter().enumerate().rev() {
        let length = match byte {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        return if window.len() - at < length { before + at } else { bytes.len() };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    #[test]
    fn a_character_waits_for_its_rest() {
        let mut ring = Ring::new(100);
        ring.push(b"a\xc3");
        assert_eq!(ring.part(0, 10, true).bytes, b"a");
        assert_eq!(ring.part(1, 10, true).bytes, b"");
        assert_eq!(ring.part(0, 10, false).bytes, b"a\xc3");
        ring.push(b"\xa9b");
        assert_eq!(ring.part(1, 10, true).bytes, "éb".as_bytes());
        // A limit smaller than a character must not stop for ever.
        assert_eq!(ring.part(1, 1, true).bytes.len(), 1);
    }

    #[test]
    fn negative_offsets_count_from_the_end() {
        let mut ring = Ring::new(4);
        ring.push(b"abcdefgh");
        let part = ring.part(-2, 10, true);
        assert_eq!((&part.bytes[..], part.from, part.next, part.dropped), (&b"gh"[..], 6, 8, 0));
        assert_eq!(ring.part(-100, 10, true).bytes, b"efgh");
        assert_eq!(ring.part(i64::MIN, 10, true).bytes, b"efgh");
        assert_eq!(ring.part(i64::MAX, 10, true).next, 8);
    }

    proptest! {
        #[test]
        fn pages_make_the_whole(chunks in vec(vec(any::<u8>(), 0..40), 0..30), limit in 1..200_usize, page in 1..50_usize) {
            let all = chunks.concat();
            let mut ring = Ring::new(limit);
            for chunk in &chunks {
                ring.push(chunk);
            }
            let (mut read, mut at) = (Vec::new(), 0_u64);
            loop {
                let part = ring.part(i64::try_from(at).unwrap(), page, false);
                prop_assert_eq!(part.from, at + part.dropped);
                prop_assert!(part.bytes.len() <= page);
                prop_assert_eq!(part.next + part.more, all.len() as u64);
                if part.bytes.is_empty() {
                    prop_assert_eq!(part.more, 0);
                    break;
                }
                at = part.next;
                read.extend(part.bytes);
            }
            prop_assert_eq!(&read[..], &all[all.len().saturating_sub(limit)..]);
        }
    }
}
