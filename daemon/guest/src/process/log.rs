//! The byte log that a process's two output streams share. It keeps what was not yet
//! acknowledged: little of it in memory, more in an anonymous file used as a ring.

use bytes::Bytes;
use cordon_proto::guest::Stream;
use rustix::fs::{MemfdFlags, memfd_create};
use std::{collections::VecDeque, fs::File, io, os::unix::fs::FileExt};

/// Above this the log moves to a file.
const MEMORY: u64 = 256 << 10;
/// What a change between the streams costs, so that alternating single bytes stay
/// within the bound too.
const RUN_COST: u64 = 32;

enum Store {
    Memory(VecDeque<u8>),
    File(File),
}

/// Bytes from `base` to `end`, in arrival order.
pub(crate) struct Log {
    base: u64,
    end: u64,
    /// Where each run of one stream starts; the first is never after `base`.
    runs: VecDeque<(u64, Stream)>,
    store: Store,
    capacity: u64,
    /// No file could be had: the log is as large as fits in memory.
    memory_only: bool,
}

impl Log {
    pub(crate) fn new(capacity: u64) -> Self {
        Self {
            base: 0,
            end: 0,
            runs: VecDeque::new(),
            store: Store::Memory(VecDeque::new()),
            capacity: capacity.max(1),
            memory_only: false,
        }
    }

    /// The first offset that is still there.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// What it occupies.
    pub(crate) fn used(&self) -> u64 {
        (self.end - self.base) + RUN_COST * self.runs.len() as u64
    }

    /// How many bytes may be appended.
    pub(crate) fn room(&self) -> u64 {
        let capacity = if self.memory_only { self.capacity.min(MEMORY) } else { self.capacity };
        capacity.saturating_sub(self.used())
    }

    /// Appends at most [`room`](Self::room) bytes.
    pub(crate) fn append(&mut self, stream: Stream, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        if let Err(_refused) = self.store(data) {
            // The file cannot grow (no memory, a limit): what was kept is dropped, and
            // said to be, rather than what is new.
            self.memory_only = true;
            self.store = Store::Memory(data.iter().copied().collect());
            self.runs.clear();
            self.base = self.end;
        }
        if self.runs.back().is_none_or(|(_, last)| *last != stream) {
            self.runs.push_back((self.end, stream));
        }
        self.end += data.len() as u64;
    }

    fn store(&mut self, data: &[u8]) -> io::Result<()> {
        let kept = self.end - self.base;
        if let Store::Memory(memory) = &mut self.store {
            if self.memory_only || kept + data.len() as u64 <= MEMORY {
                memory.extend(data);
                return Ok(());
            }
            let file = File::from(memfd_create("cordon-output", MemfdFlags::CLOEXEC)?);
            write_ring(&file, self.capacity, self.base, memory.make_contiguous())?;
            self.store = Store::File(file);
        }
        match &self.store {
            Store::File(file) => write_ring(file, self.capacity, self.end, data),
            Store::Memory(_) => Ok(()),
        }
    }

    /// At most `limit` bytes of one stream from `offset`, which must not be before
    /// [`base`](Self::base); none when nothing was written there yet.
    pub(crate) fn read(&self, offset: u64, limit: usize) -> io::Result<Option<(Stream, Bytes)>> {
        if offset < self.base || offset >= self.end {
            return Ok(None);
        }
        let after = self.runs.partition_point(|(start, _)| *start <= offset);
        let Some(stream) = after.checked_sub(1).and_then(|i| self.runs.get(i)).map(|run| run.1) else {
            return Ok(None);
        };
        let run_end = self.runs.get(after).map_or(self.end, |run| run.0);
        let length = usize::try_from(run_end - offset).map_or(limit, |n| n.min(limit));
        let mut data = vec![0; length];
        match &self.store {
            Store::Memory(memory) => {
                let skip = usize::try_from(offset - self.base).unwrap_or(usize::MAX);
                let (head, tail) = memory.as_slices();
                let rest = tail.get(skip.saturating_sub(head.len())..).unwrap_or_default();
                let head = head.get(skip..).unwrap_or_default();
                let count = head.len().min(length);
                data[..count].copy_from_slice(&head[..count]);
                data[count..].copy_from_slice(&rest[..length - count]);
            }
            Store::File(file) => read_ring(file, self.capacity, offset, &mut data)?,
        }
        Ok(Some((stream, data.into())))
    }

    /// Forgets everything before `to`.
    pub(crate) fn forget(&mut self, to: u64) {
        let to = to.clamp(self.base, self.end);
        if let Store::Memory(memory) = &mut self.store {
            let count = usize::try_from(to - self.base).unwrap_or(usize::MAX);
            memory.drain(..count.min(memory.len()));
        }
        self.base = to;
        if self.base == self.end {
            // The file's memory goes back at once.
            self.store = Store::Memory(VecDeque::new());
            self.runs.clear();
            self.memory_only = false;
            return;
        }
        while self.runs.get(1).is_some_and(|next| next.0 <= to) {
            self.runs.pop_front();
        }
    }

    /// Makes room by dropping what is oldest.
    pub(crate) fn drop_oldest(&mut self, count: u64) {
        self.forget(self.base.saturating_add(count));
    }
}

/// The place of `offset` in a file of `capacity` bytes. The log never keeps more than
/// that, so nothing that is kept is overwritten.
fn parts(capacity: u64, offset: u64, length: usize) -> (u64, usize) {
    let place = offset % capacity;
    (place, usize::try_from(capacity - place).map_or(length, |n| n.min(length)))
}

fn write_ring(file: &File, capacity: u64, offset: u64, data: &[u8]) -> io::Result<()> {
    let (place, first) = parts(capacity, offset, data.len());
    let (head, tail) = data.split_at(first);
    file.write_all_at(head, place)?;
    file.write_all_at(tail, 0)
}

fn read_ring(file: &File, capacity: u64, offset: u64, data: &mut [u8]) -> io::Result<()> {
    let (place, first) = parts(capacity, offset, data.len());
    let (head, tail) = data.split_at_mut(first);
    file.read_exact_at(head, place)?;
    file.read_exact_at(tail, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn everything(log: &Log) -> Vec<(Stream, u8)> {
        let (mut found, mut offset) = (Vec::new(), log.base());
        while let Some((stream, data)) = log.read(offset, 1000).unwrap() {
            found.extend(data.iter().map(|byte| (stream, *byte)));
            offset += data.len() as u64;
        }
        found
    }

    #[test]
    fn a_large_log_moves_to_a_file_and_back() {
        let mut log = Log::new(1 << 20);
        let data: Vec<u8> = (0..(900 << 10)).map(|i| (i % 251) as u8).collect();
        for piece in data.chunks(60_000) {
            log.append(Stream::Stdout, piece);
        }
        assert!(matches!(log.store, Store::File(_)));
        assert_eq!(everything(&log).iter().map(|pair| pair.1).collect::<Vec<_>>(), data);
        log.forget(log.end());
        assert!(matches!(log.store, Store::Memory(_)));
        assert_eq!(log.used(), 0);
    }

    #[test]
    fn alternating_streams_are_paid_for() {
        let mut log = Log::new(4096);
        let mut count = 0;
        while log.room() > 0 {
            log.append(if count % 2 == 0 { Stream::Stdout } else { Stream::Stderr }, b"x");
            count += 1;
        }
        assert!(count < 200, "{count} runs in 4096 bytes");
    }

    proptest! {
        /// Against a plain vector: whatever is appended, forgotten and dropped, what is
        /// left is the right bytes of the right stream.
        #[test]
        fn behaves_like_a_vector(
            capacity in (MEMORY + 1)..(MEMORY * 2),
            steps in prop::collection::vec((any::<bool>(), 1usize..70_000, 0u64..90_000), 1..40),
        ) {
            let mut log = Log::new(capacity);
            let mut model: Vec<(Stream, u8)> = Vec::new();
            let mut seed = 0u8;
            for (to_stderr, length, forget) in steps {
                let stream = if to_stderr { Stream::Stderr } else { Stream::Stdout };
                let length = length.min(usize::try_from(log.room()).unwrap());
                seed = seed.wrapping_add(17);
                let data: Vec<u8> = (0..length).map(|i| seed.wrapping_add((i % 253) as u8)).collect();
                log.append(stream, &data);
                model.extend(data.iter().map(|byte| (stream, *byte)));
                prop_assert!(log.end() - log.base() <= capacity);
                log.drop_oldest(forget);
                let base = usize::try_from(log.base()).unwrap();
                prop_assert_eq!(log.end(), model.len() as u64);
                prop_assert!(everything(&log) == model[base..]);
            }
        }
    }
}
