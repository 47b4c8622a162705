use super::{JournalError, JournalReader, frame, read};
use cordon_proto::v1::Event;
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// Kept free on the disk beyond the end, so that the last events of a run find room
/// on a full disk.
const RESERVE: u64 = 128 << 10;
/// How much is asked of the filesystem at once.
const RESERVE_STEP: u64 = 1 << 20;
/// A sparse index entry for so many bytes.
const INDEX_STEP: u64 = 1 << 20;
/// Larger encode buffers are given back.
const KEEP_BUFFER: usize = 4 << 20;

/// How far a journal is good to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    /// The sequence number of the next event.
    pub(crate) next_seq: u64,
    /// Where the last whole frame ends.
    pub(crate) end: u64,
    /// Nothing will follow.
    pub(crate) closed: bool,
}

/// What an append promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Survives the daemon; on the disk within about a second.
    Soon,
    /// On the disk when the append returns.
    Now,
    /// As `Now`, and may use the space kept for the end of a run.
    Closing,
}

/// The one writer of a run's journal. Its calls block: call them where that is allowed.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    limit: u64,
    file: Arc<File>,
    state: Mutex<State>,
    committed: watch::Sender<Committed>,
}

#[derive(Debug, Default)]
struct State {
    next_seq: u64,
    end: u64,
    reserved: u64,
    dirty: bool,
    index: Vec<(u64, u64)>,
    buffer: Vec<u8>,
}

impl Journal {
    /// Makes a new journal; the file must not be there.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub(crate) fn create(path: &Path, limit: u64) -> Result<Self, JournalError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(io_error("created", path))?;
        file.write_all_at(frame::FILE_HEADER, 0).map_err(io_error("written", path))?;
        let journal = Self::new(path, limit, file, frame::FILE_HEADER.len() as u64, 0, Vec::new());
        journal.state().dirty = true;
        Ok(journal)
    }

    /// Opens a journal that an earlier daemon wrote. A torn end is cut off; how many
    /// bytes that were is answered too. Every good event is shown to `each`.
    ///
    /// # Errors
    /// When it cannot be read, or is none.
    pub(crate) fn open(
        path: &Path,
        limit: u64,
        mut each: impl FnMut(Event),
    ) -> Result<(Self, u64), JournalError> {
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(io_error("opened", path))?;
        let length = file.metadata().map_err(io_error("read", path))?.len();
        let file = Arc::new(file);
        let mut index = Vec::new();
        let mut reader = JournalReader::at(path, file.clone(), read::start(), 0, None);
        let good = loop {
            let (seq, at) = (reader.position().0, reader.position().1);
            match reader.frame(length) {
                Ok(Some(events)) => {
                    remember(&mut index, seq, at);
                    events.into_iter().for_each(&mut each);
                }
                Ok(None) | Err(JournalError::Damaged { .. }) => break at,
                Err(e) => return Err(e),
            }
        };
        let next_seq = reader.position().0;
        drop(reader);
        let cut = length.saturating_sub(good);
        if cut > 0 {
            file.set_len(good).map_err(io_error("cut", path))?;
        }
        let file = Arc::into_inner(file).ok_or_else(|| JournalError::Foreign { path: path.to_path_buf() })?;
        Ok((Self::new(path, limit, file, good, next_seq, index), cut))
    }

    fn new(path: &Path, limit: u64, file: File, end: u64, next_seq: u64, index: Vec<(u64, u64)>) -> Self {
        let state = State { next_seq, end, index, ..State::default() };
        let (committed, _) = watch::channel(Committed { next_seq, end, closed: false });
        Self { path: path.to_path_buf(), limit, file: Arc::new(file), state: Mutex::new(state), committed }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic between two fields leaves nothing that a later append would not overwrite.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a batch, numbers its events, and shows it to the readers.
    ///
    /// # Errors
    /// When it cannot be written. Then nothing of the batch is in the journal, and
    /// everything before it still is.
    pub(crate) fn append(&self, mut events: Vec<Event>, durability: Durability) -> Result<(), JournalError> {
        if events.is_empty() {
            return Ok(());
        }
        let mut guard = self.state();
        let state = &mut *guard;
        for (event, seq) in events.iter_mut().zip(state.next_seq..) {
            event.seq = seq;
        }
        if !frame::encode(&mut state.buffer, state.next_seq, &events) {
            return Err(JournalError::TooLarge { path: self.path.clone(), events: events.len() });
        }
        let end = state.end + state.buffer.len() as u64;
        if durability != Durability::Closing {
            if end > self.limit {
                return Err(JournalError::Limit { path: self.path.clone(), limit: self.limit });
            }
            self.reserve(state, end)?;
        }
        if let Err(e) = self.file.write_all_at(&state.buffer, state.end) {
            // Best effort: what is left of it fails its checksum anyway.
            let _ = self.file.set_len(state.end);
            state.reserved = state.end;
            return Err(self.write_error("written", e));
        }
        remember(&mut state.index, state.next_seq, state.end);
        state.end = end;
        state.next_seq += events.len() as u64;
        state.dirty = true;
        if state.buffer.capacity() > KEEP_BUFFER {
            state.buffer = Vec::new();
        }
        let (next_seq, end) = (state.next_seq, state.end);
        let synced = if durability == Durability::Soon { Ok(()) } else { self.sync_locked(state) };
        self.committed.send_modify(|c| {
            c.next_seq = next_seq;
            c.end = end;
        });
        synced
    }

    /// Keeps room beyond `end` where the filesystem can.
    fn reserve(&self, state: &mut State, end: u64) -> Result<(), JournalError> {
        use rustix::{fs, io::Errno};
        if end + RESERVE <= state.reserved {
            return Ok(());
        }
        // Little runs keep little: the step grows with the journal.
        let step = (end / 4).clamp(RESERVE, RESERVE_STEP);
        let until = end + RESERVE + step;
        match fs::fallocate(&*self.file, fs::FallocateFlags::KEEP_SIZE, state.end, until - state.end) {
            Ok(()) => state.reserved = until,
            Err(Errno::NOSPC | Errno::DQUOT) => {
                return Err(JournalError::Full { path: self.path.clone() });
            }
            // No such call on this filesystem: then there is no reserve either.
            Err(_) => state.reserved = until,
        }
        Ok(())
    }

    fn write_error(&self, step: &'static str, source: io::Error) -> JournalError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                JournalError::Full { path: self.path.clone() }
            }
            _ => JournalError::Io { step, path: self.path.clone(), source },
        }
    }

    fn sync_locked(&self, state: &mut State) -> Result<(), JournalError> {
        if state.dirty {
            self.file.sync_data().map_err(|e| self.write_error("synced", e))?;
            state.dirty = false;
        }
        Ok(())
    }

    /// Puts everything appended so far on the disk.
    ///
    /// # Errors
    /// When the system cannot.
    pub(crate) fn sync(&self) -> Result<(), JournalError> {
        {
            let mut state = self.state();
            if !state.dirty {
                return Ok(());
            }
            state.dirty = false;
        }
        // Not under the lock: appends go on meanwhile.
        self.file.sync_data().map_err(|e| {
            self.state().dirty = true;
            self.write_error("synced", e)
        })
    }

    /// Says that nothing will follow and gives reserved space back.
    pub(crate) fn close(&self) {
        {
            let mut state = self.state();
            if state.reserved > state.end {
                // Only space is at stake.
                let _ = self.file.set_len(state.end);
                state.reserved = state.end;
            }
        }
        self.committed.send_modify(|c| c.closed = true);
    }

    /// How far it is good to read.
    #[must_use]
    pub(crate) fn committed(&self) -> Committed {
        *self.committed.borrow()
    }

    /// Changes of [`Journal::committed`].
    #[must_use]
    pub(crate) fn watch(&self) -> watch::Receiver<Committed> {
        self.committed.subscribe()
    }

    /// Reads from a sequence number on.
    #[must_use]
    pub(crate) fn reader(&self, from_seq: u64) -> JournalReader {
        let start = {
            let state = self.state();
            let after = state.index.partition_point(|(seq, _)| *seq <= from_seq);
            after.checked_sub(1).and_then(|i| state.index.get(i)).copied().unwrap_or(read::start())
        };
        JournalReader::at(&self.path, self.file.clone(), start, from_seq, Some(self.watch()))
    }
}

fn remember(index: &mut Vec<(u64, u64)>, seq: u64, at: u64) {
    if index.last().is_none_or(|(_, last)| at - last >= INDEX_STEP) {
        index.push((seq, at));
    }
}

pub(super) fn io_error<'a>(
    step: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> JournalError + 'a {
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            JournalError::Full { path: path.to_path_buf() }
        }
        _ => JournalError::Io { step, path: path.to_path_buf(), source },
    }
}
