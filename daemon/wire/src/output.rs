//! What is said to the client. Whatever piles up while one write is under way goes out
//! with the next one.

use serde::Serialize;
use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

/// A client that leaves this much unread is not read any more either.
const FULL: usize = 16 << 20;

#[derive(Debug)]
pub(crate) struct Output<W> {
    queue: Mutex<Queue>,
    sink: tokio::sync::Mutex<W>,
    emptied: Notify,
    broken: CancellationToken,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Taken, not yet written.
    writing: usize,
    failure: Option<io::Error>,
}

impl<W: AsyncWrite + Unpin> Output<W> {
    pub(crate) fn new(sink: W) -> Self {
        Self {
            queue: Mutex::default(),
            sink: tokio::sync::Mutex::new(sink),
            emptied: Notify::new(),
            broken: CancellationToken::new(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message into the queue; `flush` sends it.
    pub(crate) fn push(&self, message: &impl Serialize) -> io::Result<()> {
        let mut encoded = serde_json::to_vec(message)?;
        encoded.push(b'\n');
        let mut queue = self.queue();
        if queue.bytes.is_empty() {
            queue.bytes = encoded
        } else {
            queue.bytes.append(&mut encoded)
        }
        Ok(())
    }

    /// Sends what is in the queue, whoever put it there. Returns when it is on its way.
    pub(crate) async fn flush(&self) -> io::Result<()> {
        let mut sink = self.sink.lock().await;
        let bytes = {
            let mut queue = self.queue();
            let bytes = std::mem::take(&mut queue.bytes);
            queue.writing = bytes.len();
            bytes
        };
        if self.broken.is_cancelled() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let written = match sink.write_all(&bytes).await {
            Ok(()) => sink.flush().await,
            failed => failed,
        };
        self.queue().writing = 0;
        self.emptied.notify_waiters();
        written.inspect_err(|error| {
            self.queue().failure = Some(io::Error::new(error.kind(), format!("answer the client: {error}")));
            self.broken.cancel();
        })
    }

    /// Waits until the client has taken enough of what it was told.
    pub(crate) async fn room(&self) {
        loop {
            let emptied = self.emptied.notified();
            {
                let queue = self.queue();
                if queue.bytes.len() + queue.writing < FULL {
                    return;
                }
            }
            emptied.await;
        }
    }

    /// Cancelled when the client takes nothing any more.
    pub(crate) fn broken(&self) -> &CancellationToken {
        &self.broken
    }

    pub(crate) fn failure(&self) -> Option<io::Error> {
        self.queue().failure.take()
    }
}
