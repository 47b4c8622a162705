use crate::status::{invalid, of_run};
use bytes::Bytes;
use cordon_proto::v1;
use cordon_runs::{ImportTar, Runs};
use std::io::{self, Read};
use tokio::sync::mpsc;
use tonic::{Response, Status, Streaming};

/// Pieces that wait to be unpacked; then the client waits.
const WAITING: usize = 8;

/// A tar that a client sends, read by what unpacks it on a thread of its own.
struct Pieces {
    from: mpsc::Receiver<Result<Bytes, String>>,
    now: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.now.is_empty() {
            match self.from.blocking_recv() {
                Some(Ok(piece)) => self.now = piece,
                // A stream that breaks off is no archive that ends.
                Some(Err(why)) => return Err(io::Error::new(io::ErrorKind::ConnectionAborted, why)),
                None => return Ok(0),
            }
        }
        let taken = self.now.split_to(self.now.len().min(out.len()));
        out.get_mut(..taken.len()).unwrap_or_default().copy_from_slice(&taken);
        Ok(taken.len())
    }
}

pub(crate) async fn import(
    runs: &Runs,
    owner: u32,
    mut requests: Streaming<v1::ImportRequest>,
) -> Result<Response<v1::Snapshot>, Status> {
    let Some(first) = requests.message().await? else {
        return Err(invalid("no-archive", "the stream ended before it began"));
    };
    let _place = super::stream::place()?;
    let (pieces, from) = mpsc::channel(WAITING);
    let wanted = ImportTar { label: first.label, key: first.idempotency_key };
    let reader = Box::new(Pieces { from, now: first.data });
    let feeding = tokio::spawn(async move {
        loop {
            let piece = match requests.message().await {
                Ok(Some(request)) => Ok(request.data),
                Ok(None) => return,
                Err(status) => Err(status.message().to_owned()),
            };
            let broken = piece.is_err();
            if pieces.send(piece).await.is_err() || broken {
                return;
            }
        }
    });
    let imported = runs.import(owner, wanted, reader).await;
    feeding.abort();
    Ok(Response::new(imported.map_err(|e| of_run(&e))?))
}
