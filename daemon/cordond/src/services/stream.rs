//! Answers that are made on a thread of their own and sent as a stream. The threads that runs
//! share are few, and a client that does not read on would keep one for as long as it likes.

use crate::status::{of_run, status};
use cordon_runs::RunError;
use std::{
    io::{self, Write},
    thread,
};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

/// Answers that wait for a slow client; then the work waits.
const WAITING: usize = 8;
/// Streams at once, in either direction.
const MOST: usize = 128;

static PLACES: Semaphore = Semaphore::const_new(MOST);

/// Bytes of one answer.
const PIECE: usize = 64 << 10;

pub(crate) type Answers<T> = ReceiverStream<Result<T, Status>>;

/// A place among the streams, until it is dropped.
pub(crate) fn place() -> Result<SemaphorePermit<'static>, Status> {
    PLACES.try_acquire().map_err(|_| {
        let why = format!("{MOST} streams wait for their clients");
        status(Code::ResourceExhausted, "too-many-streams", &why, "end some of them, then try again")
    })
}

/// Does work on a thread of its own; what it fails with ends the stream.
pub(crate) fn answer<T: Send + 'static>(
    work: impl FnOnce(&mpsc::Sender<Result<T, Status>>) -> Result<(), RunError> + Send + 'static,
) -> Answers<T> {
    let (to, receiver) = mpsc::channel(WAITING);
    let refusal = to.clone();
    let refuse = move |status| {
        // The channel is empty: nothing waits.
        let _ = refusal.try_send(Err(status));
    };
    let place = match place() {
        Ok(place) => place,
        Err(status) => {
            refuse(status);
            return ReceiverStream::new(receiver);
        }
    };
    let work = move || {
        let _place = place;
        if let Err(error) = work(&to) {
            // A client that hung up is told nothing.
            let _ = to.blocking_send(Err(of_run(&error)));
        }
    };
    if let Err(error) = thread::Builder::new().name("answer".to_owned()).spawn(work) {
        refuse(Status::resource_exhausted(format!("no thread can be started: {error}")));
    }
    ReceiverStream::new(receiver)
}

/// Bytes as pieces of a stream.
pub(crate) struct Pieces<'a, T, F: Fn(Vec<u8>) -> T> {
    to: &'a mpsc::Sender<Result<T, Status>>,
    piece: F,
    held: Vec<u8>,
}

impl<'a, T, F: Fn(Vec<u8>) -> T> Pieces<'a, T, F> {
    pub(crate) fn new(to: &'a mpsc::Sender<Result<T, Status>>, piece: F) -> Self {
        Self { to, piece, held: Vec::new() }
    }
}

impl<T, F: Fn(Vec<u8>) -> T> Write for Pieces<'_, T, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.held.len());
        self.held.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        if self.held.len() == PIECE {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let piece = (self.piece)(std::mem::take(&mut self.held));
        self.to.blocking_send(Ok(piece)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_stream::StreamExt as _;

    #[test]
    fn who_does_not_read_on_keeps_nobody_waiting() {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let endless = || {
                answer(|to| {
                    while to.blocking_send(Ok(())).is_ok() {}
                    Ok(())
                })
            };
            let stalled: Vec<_> = (0..MOST / 2).map(|_| endless()).collect();
            assert_eq!(tokio::task::spawn_blocking(|| 7).await.unwrap(), 7);
            let mut next = answer(|to| to.blocking_send(Ok(())).map_err(|_| RunError::PlanChanged));
            assert!(next.next().await.unwrap().is_ok());
            drop(stalled);
        });
    }

    #[tokio::test]
    async fn bytes_arrive_in_order_and_an_error_ends_them() {
        let mut answers = answer(|to| {
            let mut out = Pieces::new(to, |bytes| bytes);
            for n in 0..3 * PIECE {
                out.write_all(&[u8::try_from(n % 251).unwrap()]).map_err(RunError::Told)?;
            }
            out.write_all(b"end").map_err(RunError::Told)?;
            out.flush().map_err(RunError::Told)?;
            Err(RunError::PlanChanged)
        });
        let mut all = Vec::new();
        let error = loop {
            match answers.next().await.unwrap() {
                Ok(piece) => all.extend(piece),
                Err(error) => break error,
            }
        };
        assert_eq!(all.len(), 3 * PIECE + 3);
        assert!(all.iter().take(3 * PIECE).enumerate().all(|(n, b)| usize::from(*b) == n % 251));
        assert_eq!(error.code(), tonic::Code::FailedPrecondition);
        assert!(answers.next().await.is_none());
    }
}
