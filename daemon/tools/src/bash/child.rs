//! One started shell: its main process, the pipes from it, and that nothing of it outlives
//! this value.

use super::{
    registry,
    tree::{self, Ended, Family},
};
use rustix::{
    fd::OwnedFd,
    process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions},
};
use std::{
    io,
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
};
use tokio::{io::unix::AsyncFd, net::unix::pipe};
use tokio_util::task::task_tracker::TaskTrackerToken;

/// How a main process ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) exit_code: Option<i32>,
    pub(crate) signal: Option<i32>,
}

#[derive(Debug)]
pub(crate) struct Child {
    family: Family,
    /// Absent where the kernel has none: a thread waits then.
    pidfd: Option<AsyncFd<OwnedFd>>,
    reaped: bool,
    /// Says that it runs; goes with it.
    alive: Option<TaskTrackerToken>,
}

/// The reading ends.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) stdout: pipe::Receiver,
    pub(crate) stderr: pipe::Receiver,
}

#[allow(
    deprecated,
    reason = "its flaw is types that change their descriptor: this one cannot; the other is unsafe"
)]
fn watched(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, tokio::io::Interest::READABLE)
}

fn new_mark() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Child {
    /// Starts a prepared command in a process group of its own.
    pub(crate) fn start(mut command: Command, alive: TaskTrackerToken) -> io::Result<(Self, Pipes)> {
        use std::os::unix::process::CommandExt as _;
        let mark = new_mark();
        command.env(tree::MARKER, &mark);
        command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut started = {
            // Nobody takes it for an adopted one before it is known.
            let mut known = registry::lock();
            let started = command.spawn()?;
            known.insert(started.id().cast_signed(), mark.clone());
            started
        };
        let leader = started.id().cast_signed();
        // From here on, dropping this ends it.
        let mut child =
            Self { family: Family { leader, mark }, pidfd: None, reaped: false, alive: Some(alive) };
        let (Some(stdout), Some(stderr)) = (started.stdout.take(), started.stderr.take()) else {
            return Err(io::Error::other("a started process has no pipes"));
        };
        if let Some(pid) = Pid::from_raw(leader)
            && let Ok(fd) = rustix::process::pidfd_open(pid, PidfdFlags::empty())
        {
            child.pidfd = Some(watched(fd)?);
        }
        let receiver = |fd: OwnedFd| pipe::Receiver::from_owned_fd(fd);
        Ok((child, Pipes { stdout: receiver(stdout.into())?, stderr: receiver(stderr.into())? }))
    }

    /// The main process's number.
    pub(crate) fn pid(&self) -> i32 {
        self.family.leader
    }

    /// Waits until the main process has ended. It stays a zombie: its number and its group
    /// are nobody else's until `reap`.
    pub(crate) async fn exited(&self) -> io::Result<()> {
        if let Some(pidfd) = &self.pidfd {
            pidfd.readable().await.map(|_| ())
        } else {
            let leader = self.family.leader;
            let wait = move || wait(leader, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
            tokio::task::spawn_blocking(wait).await.map_err(io::Error::other)?.map(|_| ())
        }
    }

    /// Ends everything that belongs to it.
    pub(crate) async fn end(&self) -> Ended {
        let family = self.family.clone();
        let ended = tokio::task::spawn_blocking(move || family.end()).await;
        ended.unwrap_or_default()
    }

    /// Takes its exit status, once it has ended, and with it lets go of its number.
    pub(crate) fn reap(&mut self) -> io::Result<Status> {
        let status = reap(self.family.leader)?;
        self.reaped = true;
        Ok(status)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        let (family, alive) = (self.family.clone(), self.alive.take());
        // Whoever drops this may be an executor's thread.
        std::thread::spawn(move || {
            let ended = family.end();
            // One that the kernel does not let die stays ours until the server ends.
            if ended.left == 0 {
                let _ = reap(family.leader);
            }
            drop(alive);
        });
    }
}

fn reap(leader: i32) -> io::Result<Status> {
    let mut known = registry::lock();
    let status = wait(leader, WaitIdOptions::EXITED | WaitIdOptions::NOHANG)?;
    known.remove(leader);
    Ok(status)
}

fn wait(leader: i32, options: WaitIdOptions) -> io::Result<Status> {
    let pid = Pid::from_raw(leader).ok_or(io::ErrorKind::InvalidInput)?;
    let status = rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::Pid(pid), options))?;
    let status = status.ok_or(io::ErrorKind::WouldBlock)?;
    Ok(Status { exit_code: status.exit_status(), signal: status.terminating_signal() })
}

/// Signals the group of a command, if it still runs.
pub(crate) fn signal(leader: i32, signal: Signal) -> bool {
    let known = registry::lock();
    let Some(pid) = Pid::from_raw(leader).filter(|_| known.contains(leader)) else { return false };
    rustix::process::kill_process_group(pid, signal).is_ok()
}
