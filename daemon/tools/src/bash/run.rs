//! From a started shell to its end: read all it prints, wait, and leave nothing behind.

use super::{
    child::{Child, Pipes, Status},
    tree::{self, Ended},
};
use std::{
    io,
    time::{Duration, Instant},
};
use tokio::{net::unix::pipe, time};
use tokio_util::sync::CancellationToken;

/// How often the dead that were adopted are reaped while a command runs.
const SWEEP: Duration = Duration::from_millis(500);
/// How long what a command left behind may still print, such as the other end of `>(tee log)`.
const GRACE: Duration = Duration::from_millis(200);
const BUFFER: usize = 64 << 10;
/// Bytes of one stream that are taken before anything else gets its turn.
const TURN: usize = 1 << 20;

/// Who may end a command early: the call that waits for it, and the server.
#[derive(Clone, Debug)]
pub(crate) struct Cancel {
    pub(crate) call: CancellationToken,
    pub(crate) server: CancellationToken,
}

impl Cancel {
    pub(crate) async fn cancelled(&self) {
        tokio::select! {
            () = self.call.cancelled() => {}
            () = self.server.cancelled() => {}
        }
    }
}

/// Takes what is printed.
pub(crate) trait Sink: Send {
    fn stdout(&mut self, bytes: &[u8]);
    fn stderr(&mut self, bytes: &[u8]);
}

/// Why a command came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It ended itself.
    Own,
    /// It ran for too long.
    TimedOut,
    /// Nobody wants it any more.
    Cancelled,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) status: Status,
    pub(crate) ending: Ending,
    /// What had to be killed besides the main process.
    pub(crate) stragglers: Ended,
    pub(crate) duration: Duration,
}

/// One stream: the reading end until there is nothing more.
struct Stream {
    pipe: Option<pipe::Receiver>,
    grown: bool,
}

impl Stream {
    fn new(pipe: pipe::Receiver) -> Self {
        Self { pipe: Some(pipe), grown: false }
    }

    /// Waits until there is something to take; for ever when there will be nothing.
    async fn ready(&self) {
        match &self.pipe {
            // A failure shows again when it is read.
            Some(pipe) => drop(pipe.readable().await),
            None => std::future::pending().await,
        }
    }

    /// Takes what is there, but no more than a turn's worth.
    fn take(&mut self, buffer: &mut [u8], mut to: impl FnMut(&[u8])) {
        let mut taken = 0;
        while let Some(pipe) = &self.pipe
            && taken < TURN
        {
            match pipe.try_read(buffer) {
                Ok(0) => self.pipe = None,
                Ok(n) => {
                    if n == buffer.len() && !self.grown {
                        // Much is coming: fewer, larger hand-overs. A courtesy, past the user's
                        // quota it stays as it is.
                        let _ = rustix::pipe::fcntl_setpipe_size(pipe, TURN);
                        self.grown = true;
                    }
                    to(&buffer[..n]);
                    taken += n;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.pipe = None,
            }
        }
    }
}

struct Streams<'a, S> {
    stdout: Stream,
    stderr: Stream,
    buffer: Vec<u8>,
    sink: &'a mut S,
}

impl<S: Sink> Streams<'_, S> {
    fn take_stdout(&mut self) {
        self.stdout.take(&mut self.buffer, |bytes| self.sink.stdout(bytes));
    }

    fn take_stderr(&mut self) {
        self.stderr.take(&mut self.buffer, |bytes| self.sink.stderr(bytes));
    }

    fn are_open(&self) -> bool {
        self.stdout.pipe.is_some() || self.stderr.pipe.is_some()
    }

    /// Reads until both are at their end, or for so long.
    async fn drain(&mut self, limit: Duration) {
        let end = time::sleep(limit);
        tokio::pin!(end);
        while self.are_open() {
            tokio::select! {
                () = self.stdout.ready() => self.take_stdout(),
                () = self.stderr.ready() => self.take_stderr(),
                () = &mut end => return,
            }
        }
    }
}

/// Waits for a command.
pub(crate) async fn run(
    (mut child, pipes): (Child, Pipes),
    sink: &mut impl Sink,
    limit: Option<Duration>,
    cancel: &Cancel,
) -> io::Result<Outcome> {
    let started = Instant::now();
    let mut streams = Streams {
        stdout: Stream::new(pipes.stdout),
        stderr: Stream::new(pipes.stderr),
        buffer: vec![0; BUFFER],
        sink,
    };
    let mut ending = {
        let timeout = async {
            match limit {
                Some(limit) => time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        let exited = child.exited();
        tokio::pin!(timeout, exited);
        let mut sweep = time::interval_at(time::Instant::now() + SWEEP, SWEEP);
        loop {
            tokio::select! {
                ended = &mut exited => break ended.map(|()| Ending::Own),
                () = streams.stdout.ready() => streams.take_stdout(),
                () = streams.stderr.ready() => streams.take_stderr(),
                () = &mut timeout => break Ok(Ending::TimedOut),
                () = cancel.cancelled() => break Ok(Ending::Cancelled),
                _ = sweep.tick() => tree::sweep(),
            }
        }
    }?;
    let ran = started.elapsed();
    if ending == Ending::Own {
        streams.take_stdout();
        streams.take_stderr();
        if streams.are_open() {
            tokio::select! {
                () = streams.drain(GRACE) => {}
                () = cancel.cancelled() => ending = Ending::Cancelled,
            }
        }
    }
    let mut stragglers = Ended::default();
    if ending != Ending::Own || streams.are_open() || tree::may_have_left_something() {
        stragglers = child.end().await;
        // Nothing that is dead holds a pipe; what cannot die must not make this wait.
        streams.drain(GRACE).await;
    }
    let status =
        if ending == Ending::Own || stragglers.left == 0 { child.reap()? } else { Status::default() };
    Ok(Outcome { status, ending, stragglers, duration: ran })
}
