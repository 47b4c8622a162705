//! The only place where children are waited for, so that no status goes to the wrong
//! reader. As the first process of its namespace the guest inherits every orphan.
#![allow(unsafe_code)]

use super::{lock, table::Table};
use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::signal::unix::Signal;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Code(u32),
    Signal(u32),
}

/// How often descendants are looked at while anything runs.
const TRACKING: Duration = Duration::from_millis(500);

/// Whether orphans come to this process and everything it sees is the sandbox's.
pub(crate) fn is_first() -> bool {
    std::process::id() == 1
}

/// While one of these lives, only children that the table knows are reaped: others
/// belong to whoever made this.
pub(crate) struct Foreign(Arc<AtomicUsize>);

impl Foreign {
    pub(crate) fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Reaps for ever, and notes who descends from whom.
pub(crate) async fn run(table: Arc<Table>, mut children: Signal) {
    let mut tracking = tokio::time::interval(TRACKING);
    tracking.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = children.recv() => sweep(&table),
            _ = tracking.tick(), if table.any_running() => table.track(),
            // Started meanwhile: the branch above must be looked at again.
            () = table.woken(), if !table.any_running() => {}
        }
    }
}

/// Reaps what has ended.
pub(crate) fn sweep(table: &Table) {
    if is_first() && table.foreign.load(Ordering::SeqCst) == 0 {
        while let Some((pid, end)) = peek(libc::P_ALL, 0) {
            table.ended(pid, end);
            reap(pid);
        }
        return;
    }
    // Not in the loop's head: the lock would be held through it.
    let running = lock(&table.inner).running_pids();
    for pid in running {
        if let Some((pid, end)) = peek(libc::P_PID, pid) {
            table.ended(pid, end);
            reap(pid);
        }
    }
}

/// An ended child that stays as it is: until it is reaped its number, its group's and
/// its session's cannot be given to anyone else.
fn peek(kind: libc::idtype_t, pid: i32) -> Option<(i32, End)> {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is plain data that waitid fills; its fields are read only after
    // success, and si_pid is 0 when nothing has ended.
    unsafe {
        let mut info: libc::siginfo_t = mem::zeroed();
        if libc::waitid(kind, pid.unsigned_abs(), &raw mut info, flags) != 0 || info.si_pid() == 0 {
            return None;
        }
        let status = info.si_status().unsigned_abs();
        let end =
            if info.si_code == libc::CLD_EXITED { End::Code(status & 255) } else { End::Signal(status) };
        Some((info.si_pid(), end))
    }
}

fn reap(pid: i32) {
    // SAFETY: waitid with a null info only removes the child that `peek` found.
    unsafe {
        libc::waitid(libc::P_PID, pid.unsigned_abs(), std::ptr::null_mut(), libc::WEXITED | libc::WNOHANG);
    }
}
