//! Ctrl-C and its like.

use crate::{error::CliError, exit::Exit};
use std::future::Future;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, CliError> {
        let listen = |kind| signal(kind).map_err(CliError::Terminal);
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    pub(crate) async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.hangup.recv() => SignalKind::hangup(),
        }
    }
}

/// Does the work until it is done or somebody interrupts it: what it holds is then dropped in order.
pub(crate) async fn interruptible(
    work: impl Future<Output = Result<Exit, CliError>>,
) -> Result<Exit, CliError> {
    let mut signals = Signals::new()?;
    tokio::select! {
        done = work => done,
        _ = signals.next() => {
            // Behind the terminal's own ^C.
            eprintln!("\ncordon: interrupted");
            Ok(Exit::Cancelled)
        }
    }
}
