//! Feeding a process's standard input, at the speed at which it reads.

use super::reaper::End;
use bytes::{Buf, Bytes};
use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};
use tokio::{
    io::unix::AsyncFd,
    sync::{mpsc, watch},
};

/// What goes in.
pub(crate) enum Input {
    Data(Bytes),
    Eof,
}

/// What a terminal's line discipline takes for the end of input.
const END_OF_TRANSMISSION: &[u8] = &[4];

/// Writes what comes until the end of input or of the process.
pub(crate) async fn feed<F: AsFd + AsRawFd>(
    target: AsyncFd<F>,
    mut inputs: mpsc::Receiver<Input>,
    mut end: watch::Receiver<Option<End>>,
    terminal: bool,
) {
    let feeding = async {
        while let Some(input) = inputs.recv().await {
            let data = match input {
                Input::Data(data) => data,
                Input::Eof if terminal => Bytes::from_static(END_OF_TRANSMISSION),
                Input::Eof => break,
            };
            if write(&target, data).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = feeding => {}
        _ = end.wait_for(Option::is_some) => return,
    }
    drop(target);
    // Nobody reads it any more, but whoever sends it must not wait for ever either.
    let discarding = async { while inputs.recv().await.is_some() {} };
    tokio::select! {
        () = discarding => {}
        _ = end.wait_for(Option::is_some) => {}
    }
}

async fn write<F: AsFd + AsRawFd>(target: &AsyncFd<F>, mut data: Bytes) -> io::Result<()> {
    while data.has_remaining() {
        let mut ready = target.writable().await?;
        match ready.try_io(|target| Ok(rustix::io::write(target, &data)?)) {
            Ok(Ok(count)) => data.advance(count),
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(Err(error)) => return Err(error),
            Err(_would_block) => {}
        }
    }
    Ok(())
}
