use super::{Committed, JournalError, frame, write::io_error};
use bytes::Bytes;
use cordon_proto::v1::Event;
use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::watch;

/// Sequence number and offset of the first frame.
pub(super) fn start() -> (u64, u64) {
    (0, frame::FILE_HEADER.len() as u64)
}

/// Reads a journal frame by frame. Many may read while one writes.
#[derive(Debug)]
pub struct JournalReader {
    path: PathBuf,
    file: Arc<File>,
    next_seq: u64,
    at: u64,
    from_seq: u64,
    committed: Option<watch::Receiver<Committed>>,
}

impl JournalReader {
    /// Opens the journal of an ended run.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path, from_seq: u64) -> Result<Self, JournalError> {
        let file = File::open(path).map_err(io_error("opened", path))?;
        Ok(Self::at(path, Arc::new(file), start(), from_seq, None))
    }

    pub(super) fn at(
        path: &Path,
        file: Arc<File>,
        (next_seq, at): (u64, u64),
        from_seq: u64,
        committed: Option<watch::Receiver<Committed>>,
    ) -> Self {
        Self { path: path.to_path_buf(), file, next_seq, at, from_seq, committed }
    }

    /// Sequence number and offset of the next frame.
    pub(super) fn position(&self) -> (u64, u64) {
        (self.next_seq, self.at)
    }

    /// The next batch of wanted events, or none at the end of what is there. With
    /// `follow` it waits for more until the journal is closed.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub async fn next(&mut self, follow: bool) -> Result<Option<Vec<Event>>, JournalError> {
        loop {
            let (end, closed) = match &mut self.committed {
                Some(watch) => {
                    let now = *watch.borrow_and_update();
                    (now.end, now.closed)
                }
                None => (self.file.metadata().map_err(io_error("read", &self.path))?.len(), true),
            };
            if self.at < end
                && let Some(events) = self.frame_off_thread(end).await?
            {
                return Ok(Some(events));
            }
            let gone = match &mut self.committed {
                // The run was dropped: what is there is all there is.
                Some(watch) if follow && !closed => watch.changed().await.is_err(),
                _ => true,
            };
            if gone {
                return Ok(None);
            }
        }
    }

    async fn frame_off_thread(&mut self, end: u64) -> Result<Option<Vec<Event>>, JournalError> {
        let mut copy = Self {
            path: self.path.clone(),
            file: self.file.clone(),
            next_seq: self.next_seq,
            at: self.at,
            from_seq: self.from_seq,
            committed: None,
        };
        let (copy, result) = tokio::task::spawn_blocking(move || {
            let result = copy.frame(end);
            (copy, result)
        })
        .await
        .map_err(|e| JournalError::Io {
            step: "read",
            path: self.path.clone(),
            source: std::io::Error::other(e),
        })?;
        (self.next_seq, self.at) = copy.position();
        result
    }

    /// The next frame with wanted events before the offset `end`. Blocks.
    pub(crate) fn frame(&mut self, end: u64) -> Result<Option<Vec<Event>>, JournalError> {
        let (_, first) = start();
        if self.at == first {
            let mut header = [0; frame::FILE_HEADER.len()];
            let read = self.file.read_exact_at(&mut header, 0);
            if read.is_err() || header != *frame::FILE_HEADER {
                return Err(JournalError::Foreign { path: self.path.clone() });
            }
        }
        loop {
            if self.at >= end {
                return Ok(None);
            }
            let damaged = JournalError::Damaged { path: self.path.clone(), offset: self.at };
            let mut head = [0; frame::FRAME_HEADER];
            if end - self.at < head.len() as u64 {
                return Err(damaged);
            }
            self.file.read_exact_at(&mut head, self.at).map_err(io_error("read", &self.path))?;
            let body = self.at + head.len() as u64;
            let head = match frame::Head::parse(&head) {
                Some(h) if h.first_seq == self.next_seq && h.length as u64 <= end - body => h,
                _ => return Err(damaged),
            };
            let next = body + head.length as u64;
            if head.next_seq() > self.from_seq {
                let mut payload = vec![0; head.length];
                self.file.read_exact_at(&mut payload, body).map_err(io_error("read", &self.path))?;
                let mut events = frame::decode(&head, Bytes::from(payload)).ok_or(damaged)?;
                (self.next_seq, self.at) = (head.next_seq(), next);
                let unwanted = self.from_seq.saturating_sub(head.first_seq);
                events.drain(..usize::try_from(unwanted).unwrap_or(events.len()).min(events.len()));
                return Ok(Some(events));
            }
            (self.next_seq, self.at) = (head.next_seq(), next);
        }
    }
}
