//! Every process that the daemon asked for, running or lately ended.

use super::{
    lock,
    plan::{Plan, PlanError},
    pump::{Pump, Source},
    reaper::{End, is_first},
    record::{Process, State, signal_group},
    spawn::{Spawned, spawn},
    stdin::feed,
    tree::{self, Family},
};
use crate::settings::Settings;
use cordon_proto::guest as pb;
use rustix::{io::ioctl_fionbio, process::Signal, termios::Winsize};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, atomic::AtomicUsize},
    time::Duration,
};
use tokio::{
    io::unix::AsyncFd,
    sync::{Notify, mpsc},
};

/// How many ended processes are remembered.
const REMEMBERED: usize = 64;
/// How many may run at once.
const RUNNING: usize = 512;
/// Pieces of standard input under way for one process.
const INPUTS: usize = 2;

/// Why a process was not started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("{RUNNING} processes are running already")]
    TooMany,
    #[error("the process could not be started: {0}")]
    System(#[from] io::Error),
}

#[derive(Default)]
pub(crate) struct Inner {
    processes: HashMap<String, Arc<Process>>,
    running: HashMap<i32, Arc<Process>>,
    ended: VecDeque<String>,
    /// Descendants seen so far, each with the process it belongs to.
    seen: HashMap<(i32, u64), String>,
}

impl Inner {
    pub(crate) fn running_pids(&self) -> Vec<i32> {
        self.running.keys().copied().collect()
    }
}

pub(crate) struct Table {
    pub(crate) inner: Mutex<Inner>,
    /// Children that belong to someone else right now; see [`super::reaper::Foreign`].
    pub(crate) foreign: Arc<AtomicUsize>,
    wake: Notify,
    settings: Settings,
}

impl Table {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { inner: Mutex::default(), foreign: Arc::default(), wake: Notify::new(), settings }
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Process>> {
        lock(&self.inner).processes.get(id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Process>> {
        lock(&self.inner).processes.values().cloned().collect()
    }

    pub(crate) fn any_running(&self) -> bool {
        !lock(&self.inner).running.is_empty()
    }

    /// Returns when something was started.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Starts a process, or finds the one of this id.
    pub(crate) fn start(self: &Arc<Self>, start: &pb::Start) -> Result<(Arc<Process>, bool), StartError> {
        if let Some(process) = self.get(&start.process_id) {
            return Ok((process, true));
        }
        if lock(&self.inner).running.len() >= RUNNING {
            return Err(StartError::TooMany);
        }
        let plan = Plan::new(start, &self.settings.env, &self.settings.home)?;
        let spawned = spawn(&plan, start.stdin, start.pty.as_ref().map(window))?;
        let process = self.adopt(start, &plan, spawned)?;
        self.wake.notify_one();
        Ok((process, false))
    }

    fn adopt(self: &Arc<Self>, start: &pb::Start, plan: &Plan, spawned: Spawned) -> io::Result<Arc<Process>> {
        let pid = spawned.pid;
        let wired = self.wire(start, plan, spawned);
        if wired.is_err() {
            // Nobody would ever learn of it.
            signal_group(pid, Signal::KILL);
        }
        wired
    }

    fn wire(self: &Arc<Self>, start: &pb::Start, plan: &Plan, spawned: Spawned) -> io::Result<Arc<Process>> {
        let Spawned { pid, stdin, outputs, terminal, failure } = spawned;
        let terminal = terminal.map(Arc::new);
        let input = match (stdin, &terminal) {
            (Some(pipe), _) => Some((nonblocking(pipe)?, false)),
            (None, Some(terminal)) => Some((nonblocking(terminal.try_clone()?)?, true)),
            (None, None) => None,
        };
        let sources: io::Result<Vec<_>> =
            outputs.into_iter().map(|(stream, fd)| Ok(Source { stream, fd: nonblocking(fd)? })).collect();
        let (sources, failure) = (sources?, nonblocking(failure)?);
        let (sender, inputs) = mpsc::channel(INPUTS);
        let sender = input.is_some().then_some(sender);
        let process = Arc::new(Process::new(start, pid, self.settings.output_bytes, sender, terminal));
        {
            let mut inner = lock(&self.inner);
            inner.processes.insert(process.id.clone(), Arc::clone(&process));
            inner.running.insert(pid, Arc::clone(&process));
        }
        if let Some((target, terminal)) = input {
            tokio::spawn(feed(target, inputs, process.end.subscribe(), terminal));
        }
        let limit = (start.timeout_ms > 0).then(|| Duration::from_millis(start.timeout_ms));
        let pump = Pump {
            table: Arc::clone(self),
            process: Arc::clone(&process),
            sources,
            failure,
            program: plan.argv.first().map(|program| program.to_bytes().to_vec()).unwrap_or_default(),
            cwd: plan.cwd.to_bytes().to_vec(),
            // Beyond what a clock can hold there is no limit.
            timeout: limit.and_then(|limit| process.started.checked_add(limit)),
            stall: self.settings.stall,
        };
        tokio::spawn(pump.run());
        Ok(process)
    }

    /// Called for a child that ended and is not reaped yet: while it stays, nobody else
    /// can have its number.
    pub(crate) fn ended(&self, pid: i32, end: End) {
        let Some(process) = lock(&self.inner).running.get(&pid).cloned() else { return };
        let unwanted = {
            let inner = lock(&process.inner);
            inner.timed_out || inner.cancelled
        };
        if unwanted {
            self.signal_family(&process, Signal::KILL);
        }
        lock(&self.inner).running.remove(&pid);
        process.end.send_replace(Some(end));
    }

    /// Called when everything that a process printed is in its log.
    pub(crate) fn finished(&self, process: &Process) {
        let mut inner = lock(&self.inner);
        inner.ended.push_back(process.id.clone());
        loop {
            let kept: u64 =
                inner.ended.iter().filter_map(|id| inner.processes.get(id)).map(|p| used(p)).sum();
            let crowded = inner.ended.len() > REMEMBERED;
            if inner.ended.len() <= 1 || (!crowded && kept <= self.settings.output_bytes) {
                return;
            }
            // Those whose output was taken have nothing to lose but their status.
            let taken = |id: &String| inner.processes.get(id).is_none_or(|process| used(process) == 0);
            let victim = if crowded { inner.ended.iter().position(taken) } else { None };
            let Some(id) = inner.ended.remove(victim.unwrap_or(0)) else { return };
            inner.processes.remove(&id);
        }
    }

    /// Forgets an ended process that nobody can ask for again.
    pub(crate) fn remove(&self, process: &Process) {
        let mut inner = lock(&self.inner);
        inner.ended.retain(|id| *id != process.id);
        inner.processes.remove(&process.id);
    }

    /// Signals a process and everything that descends from it.
    pub(crate) fn signal_family(&self, process: &Process, signal: Signal) {
        let seen: HashSet<_> = {
            let inner = lock(&self.inner);
            inner.seen.iter().filter(|(_, id)| **id == process.id).map(|(key, _)| *key).collect()
        };
        if matches!(signal, Signal::KILL | Signal::TERM) {
            lock(&process.inner).cancelled = true;
        }
        let leader = process.end.borrow().is_none().then_some(process.pid);
        Family { id: &process.id, leader, seen: &seen }.signal(signal);
    }

    pub(crate) fn time_out(&self, process: &Process) {
        lock(&process.inner).timed_out = true;
        self.signal_family(process, Signal::KILL);
    }

    /// Signals every process in the sandbox but the guest.
    pub(crate) fn signal_everyone(&self, signal: Signal) {
        if is_first() {
            // In its own namespace this reaches exactly the sandbox.
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(-1),
                nix::sys::signal::Signal::try_from(signal.as_raw()).ok(),
            );
            return;
        }
        for process in self.all() {
            self.signal_family(&process, signal);
        }
    }

    /// Every process in the sandbox but the guest.
    pub(crate) fn population(&self) -> Vec<tree::Stat> {
        let all = tree::scan();
        if is_first() {
            return all;
        }
        let none = HashSet::new();
        let mut found = HashSet::new();
        for process in self.all() {
            let leader = process.end.borrow().is_none().then_some(process.pid);
            let family = Family { id: &process.id, leader, seen: &none };
            found.extend(family.members(&all).iter().map(|stat| stat.pid));
        }
        all.into_iter().filter(|stat| found.contains(&stat.pid)).collect()
    }

    /// Notes whose descendant each process is, before it cuts its ties.
    pub(crate) fn track(&self) {
        let all = tree::scan();
        let mut inner = lock(&self.inner);
        let Inner { running, seen, .. } = &mut *inner;
        let present: HashSet<_> = all.iter().map(tree::Stat::key).collect();
        seen.retain(|key, _| present.contains(key));
        let by_pid: HashMap<i32, &tree::Stat> = all.iter().map(|stat| (stat.pid, stat)).collect();
        for stat in &all {
            if seen.contains_key(&stat.key()) {
                continue;
            }
            let direct = running.get(&stat.session).or_else(|| running.get(&stat.pid));
            let inherited = || by_pid.get(&stat.parent).and_then(|parent| seen.get(&parent.key())).cloned();
            let marked = || tree::marker(stat.pid).filter(|id| running.values().any(|p| p.id == *id));
            if let Some(id) = direct.map(|p| p.id.clone()).or_else(inherited).or_else(marked) {
                seen.insert(stat.key(), id);
            }
        }
    }
}

fn used(process: &Process) -> u64 {
    lock(&process.inner).log.used()
}

/// A window size in the kernel's terms.
pub(crate) fn window(size: &pb::WindowSize) -> Winsize {
    let clamp = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
    Winsize { ws_row: clamp(size.rows), ws_col: clamp(size.columns), ws_xpixel: 0, ws_ypixel: 0 }
}

#[allow(unsafe_code)]
fn nonblocking(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    ioctl_fionbio(&fd, true)?;
    // SAFETY: an OwnedFd stays open, and the same, until it is dropped.
    Ok(unsafe { AsyncFd::register(fd) }?)
}

/// Whether a process can still change.
pub(crate) fn is_over(state: &State) -> bool {
    matches!(state, State::Failed(_) | State::Exited(_))
}
