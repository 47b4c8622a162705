//! One process: what is known of it, what it printed, and who listens.

use super::{lock, log::Log, reaper::End, stdin::Input};
use cordon_proto::guest as pb;
use pb::exec_response::Failed;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::{
    os::fd::OwnedFd,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

/// Where a process is in its life.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// Forked, not yet executed.
    Starting,
    Running,
    Failed(Failed),
    Exited(pb::Exited),
}

/// What changes.
pub(crate) struct Inner {
    pub(crate) log: Log,
    pub(crate) state: State,
    pub(crate) timed_out: bool,
    /// The daemon asked for its end: what is left of it afterwards is ended too.
    pub(crate) cancelled: bool,
    /// When the reader last took something; before that, when the log became full.
    progress: Instant,
    full: bool,
    attachments: u64,
    replaced: Option<oneshot::Sender<()>>,
    pub(crate) terminal: Option<Arc<OwnedFd>>,
}

/// A process that the daemon asked for.
pub(crate) struct Process {
    pub(crate) id: String,
    pub(crate) pid: i32,
    pub(crate) started: Instant,
    pub(crate) kill_on_detach: bool,
    pub(crate) stdin: Option<mpsc::Sender<Input>>,
    pub(crate) inner: Mutex<Inner>,
    /// Output, or a new state.
    pub(crate) news: watch::Sender<()>,
    /// Room in the log.
    pub(crate) room: watch::Sender<()>,
    /// The end of the process itself; its output may still be on the way.
    pub(crate) end: watch::Sender<Option<End>>,
}

/// The right to be told what happens; a later attachment takes it away.
pub(crate) struct Attachment {
    pub(crate) number: u64,
    pub(crate) replaced: oneshot::Receiver<()>,
}

impl Process {
    pub(crate) fn new(
        start: &pb::Start,
        pid: i32,
        capacity: u64,
        stdin: Option<mpsc::Sender<Input>>,
        terminal: Option<Arc<OwnedFd>>,
    ) -> Self {
        let now = Instant::now();
        Self {
            id: start.process_id.clone(),
            pid,
            started: now,
            kill_on_detach: start.kill_on_detach,
            stdin,
            inner: Mutex::new(Inner {
                log: Log::new(capacity),
                state: State::Starting,
                timed_out: false,
                cancelled: false,
                progress: now,
                full: false,
                attachments: 0,
                replaced: None,
                terminal,
            }),
            news: watch::Sender::new(()),
            room: watch::Sender::new(()),
            end: watch::Sender::new(None),
        }
    }

    /// Takes the place of whoever listened before.
    pub(crate) fn attach(&self) -> Attachment {
        let (sender, replaced) = oneshot::channel();
        let mut inner = lock(&self.inner);
        inner.attachments += 1;
        // Dropping the previous sender tells the previous listener.
        inner.replaced = Some(sender);
        Attachment { number: inner.attachments, replaced }
    }

    /// Whether no later one took its place.
    pub(crate) fn is_current(&self, attachment: u64) -> bool {
        lock(&self.inner).attachments == attachment
    }

    pub(crate) fn acknowledge(&self, offset: u64) {
        let mut inner = lock(&self.inner);
        if offset <= inner.log.base() {
            return;
        }
        inner.log.forget(offset);
        inner.progress = Instant::now();
        inner.full = false;
        drop(inner);
        self.room.send_replace(());
    }

    pub(crate) fn append(&self, stream: pb::Stream, data: &[u8]) {
        lock(&self.inner).log.append(stream, data);
        self.news.send_replace(());
    }

    /// How much may be read from the process now; when nothing, how long to wait for
    /// the reader before the oldest output is dropped.
    pub(crate) fn allowance(&self, stall: Duration) -> Result<u64, Instant> {
        let mut inner = lock(&self.inner);
        let room = inner.log.room();
        if room > 0 {
            return Ok(room);
        }
        if !inner.full {
            inner.full = true;
            inner.progress = Instant::now();
        }
        Err(inner.progress + stall)
    }

    pub(crate) fn drop_oldest(&self, count: u64) {
        lock(&self.inner).log.drop_oldest(count);
        self.news.send_replace(());
    }

    /// Signals its group, while it is certain that the number is still its own.
    pub(crate) fn signal(&self, signal: Signal) {
        if matches!(signal, Signal::KILL | Signal::TERM) {
            lock(&self.inner).cancelled = true;
        }
        if self.end.borrow().is_none() {
            signal_group(self.pid, signal);
        }
    }

    pub(crate) fn become_state(&self, state: State) {
        let mut inner = lock(&self.inner);
        if !matches!(state, State::Running) {
            inner.terminal = None;
        }
        inner.state = state;
        drop(inner);
        self.news.send_replace(());
    }

    /// Its last state, once its output is complete.
    pub(crate) fn finish(&self, end: End) {
        let inner = lock(&self.inner);
        let (code, signal) = match end {
            End::Code(code) => (Some(code), None),
            End::Signal(signal) => (None, Some(signal)),
        };
        let exited = pb::Exited {
            code,
            signal,
            timed_out: inner.timed_out,
            end_offset: inner.log.end(),
            wall_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        drop(inner);
        self.become_state(State::Exited(exited));
    }
}

pub(super) fn signal_group(pid: i32, signal: Signal) {
    let Some(pid) = Pid::from_raw(pid) else { return };
    // The group is made right after the fork; before that there is only the process.
    // Failing at both means that it is gone.
    if kill_process_group(pid, signal).is_err() {
        let _ = kill_process(pid, signal);
    }
}
