//! Answers that are made on a blocking thread and sent as a stream.

use crate::status::of_run;
use cordon_runs::RunError;
use std::io::{self, Write};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Answers that wait for a slow client; then the work waits.
const WAITING: usize = 8;
/// Bytes of one answer.
const PIECE: usize = 64 << 10;

pub(crate) type Answers<T> = ReceiverStream<Result<T, Status>>;

/// Does work on a blocking thread; what it fails with ends the stream.
pub(crate) fn answer<T: Send + 'static>(
    work: impl FnOnce(&mpsc::Sender<Result<T, Status>>) -> Result<(), RunError> + Send + 'static,
) -> Answers<T> {
    let (to, receiver) = mpsc::channel(WAITING);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = work(&to) {
            // A client that hung up is told nothing.
            let _ = to.blocking_send(Err(of_run(&error)));
        }
    });
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
