//! From a process's descriptors into its log, until both are done.

use super::{
    reaper::End,
    record::{Process, State},
    spawn::STEP_CHDIR,
    table::Table,
};
use cordon_proto::guest as pb;
use std::{future::pending, io, os::fd::OwnedFd, sync::Arc, time::Duration};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::Instant,
};

const PIECE: usize = 64 << 10;
/// How long output may pause after the process ended, while a descendant holds the
/// other side, before it counts as over.
const PAUSE: Duration = Duration::from_millis(200);
/// How long it may go on after that in all, pause or not.
const AFTERLIFE: Duration = Duration::from_secs(2);

/// One output of a process.
pub(crate) struct Source {
    pub(crate) stream: pb::Stream,
    pub(crate) fd: AsyncFd<OwnedFd>,
}

/// What moves one process's output.
pub(crate) struct Pump {
    pub(crate) table: Arc<Table>,
    pub(crate) process: Arc<Process>,
    pub(crate) sources: Vec<Source>,
    pub(crate) failure: AsyncFd<OwnedFd>,
    /// The program as it was asked for, to name it when it cannot be executed.
    pub(crate) program: Vec<u8>,
    pub(crate) cwd: Vec<u8>,
    pub(crate) timeout: Option<Instant>,
    pub(crate) stall: Duration,
}

enum Step {
    Ended,
    TimedOut,
    Stalled,
    Room,
    Ready(usize),
}

impl Pump {
    pub(crate) async fn run(mut self) {
        let failed = self.starting().await;
        let mut ends = self.process.end.subscribe();
        if let Some(failed) = failed {
            let _ = ends.wait_for(Option::is_some).await;
            self.process.become_state(State::Failed(failed));
        } else {
            self.process.become_state(State::Running);
            let mut buffer = vec![0; PIECE];
            let end = self.running(&mut buffer).await;
            self.draining(&mut buffer).await;
            // Closed before it is told, so that what is told is the whole of it.
            self.sources.clear();
            self.process.finish(end);
        }
        self.table.finished(&self.process);
    }

    /// Waits for exec to succeed, which closes the pipe, or to say why not.
    async fn starting(&mut self) -> Option<pb::exec_response::Failed> {
        let mut report = [0; 8];
        let count = loop {
            tokio::select! {
                ready = self.failure.readable() => {
                    let Ok(mut ready) = ready else { return None };
                    match ready.try_io(|fd| Ok(rustix::io::read(fd, &mut report)?)) {
                        Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                        Ok(result) => break result.unwrap_or(0),
                        Err(_would_block) => {}
                    }
                }
                () = until(self.timeout) => self.time_out(),
            }
        };
        let (step, errno) = report.split_at(4);
        let word = |bytes: &[u8]| bytes.try_into().map_or(0, u32::from_ne_bytes);
        (count == report.len()).then(|| {
            let chdir = word(step) == STEP_CHDIR;
            let path = if chdir { &self.cwd } else { &self.program };
            pb::exec_response::Failed {
                errno: word(errno),
                step: if chdir { "chdir" } else { "exec" }.to_owned(),
                path: path.clone().into(),
            }
        })
    }

    async fn running(&mut self, buffer: &mut [u8]) -> End {
        let mut ends = self.process.end.subscribe();
        loop {
            if let Some(end) = *ends.borrow_and_update() {
                return end;
            }
            let timeout = self.timeout;
            let step = tokio::select! {
                _ = ends.changed() => Step::Ended,
                () = until(timeout) => Step::TimedOut,
                step = self.next() => step,
            };
            if matches!(step, Step::TimedOut) {
                self.time_out();
            }
            self.take(step, buffer);
        }
    }

    /// What the process itself wrote is all in the pipes when it ends; what a
    /// descendant still writes is taken for a while, and then no more.
    async fn draining(&mut self, buffer: &mut [u8]) {
        let mut owed: u64 = self.sources.iter().map(|s| rustix::io::ioctl_fionread(&s.fd).unwrap_or(0)).sum();
        let last = Instant::now() + AFTERLIFE;
        while !self.sources.is_empty() && (owed > 0 || Instant::now() < last) {
            let step = tokio::select! {
                step = self.next() => step,
                () = tokio::time::sleep(PAUSE), if self.has_room() => return,
            };
            owed = owed.saturating_sub(self.take(step, buffer));
        }
    }

    fn has_room(&self) -> bool {
        self.process.allowance(self.stall).is_ok()
    }

    /// Waits for output while there is room for it, and for room while there is none.
    async fn next(&self) -> Step {
        let mut room = self.process.room.subscribe();
        match self.process.allowance(self.stall) {
            Ok(_) => Step::Ready(readable(&self.sources).await),
            Err(deadline) => tokio::select! {
                _ = room.changed() => Step::Room,
                () = tokio::time::sleep_until(deadline) => Step::Stalled,
            },
        }
    }

    /// Acts on it; says how many bytes were read.
    fn take(&mut self, step: Step, buffer: &mut [u8]) -> u64 {
        match step {
            Step::Ended | Step::TimedOut | Step::Room => 0,
            Step::Stalled => {
                self.process.drop_oldest(PIECE as u64);
                0
            }
            Step::Ready(index) => self.read(index, buffer),
        }
    }

    fn read(&mut self, index: usize, buffer: &mut [u8]) -> u64 {
        let Some(source) = self.sources.get(index) else { return 0 };
        let room = self.process.allowance(self.stall).unwrap_or(0);
        let length = usize::try_from(room).map_or(buffer.len(), |room| room.min(buffer.len()));
        if length == 0 {
            return 0;
        }
        let target = &mut buffer[..length];
        // Clears the readiness when there is nothing after all.
        let result = source.fd.try_io(Interest::READABLE, |fd| Ok(rustix::io::read(fd, &mut *target)?));
        match result {
            Ok(count) if count > 0 => {
                self.process.append(source.stream, &buffer[..count]);
                count as u64
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => 0,
            // The end; for a terminal, whose other side is closed, an error (EIO).
            _ => {
                self.sources.remove(index);
                0
            }
        }
    }

    fn time_out(&mut self) {
        self.timeout = None;
        self.table.time_out(&self.process);
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => pending().await,
    }
}

/// The index of a source that can be read.
async fn readable(sources: &[Source]) -> usize {
    let one = async |index: usize| match sources.get(index) {
        // An error is found again, and dealt with, by the read.
        Some(source) => drop(source.fd.readable().await),
        None => pending().await,
    };
    tokio::select! {
        () = one(0) => 0,
        () = one(1) => 1,
    }
}
