//! Finding and ending everything that a command started. This process adopts what loses its
//! parent, so that every descendant stays below it; process groups, parents and a mark in the
//! environment tell whose it is. What shed all three is ended as soon as only one command
//! could have started it, and with the server at the latest.

use super::registry;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::OwnedFd,
    io::Errno,
    process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions},
};
use std::{
    collections::{HashMap, HashSet},
    fs,
    io::Read as _,
    time::{Duration, Instant},
};

/// In the environment of every command: whose processes these are.
pub(crate) const MARKER: &str = "CORDON_COMMAND";

/// How long killed processes may take to die; one in the middle of a device's work may.
const PATIENCE: Duration = Duration::from_secs(5);

/// One line of /proc/PID/stat, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    pid: i32,
    zombie: bool,
    parent: i32,
    group: i32,
    /// With the pid, who it is: numbers are used again.
    start: u64,
}

impl Stat {
    fn parse(line: &str) -> Option<Self> {
        // The name may contain anything, parentheses and spaces too.
        let (head, tail) = line.rsplit_once(')')?;
        let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<i32>().ok();
        Some(Self {
            pid: head.split_once(' ')?.0.parse().ok()?,
            zombie: matches!(*fields.first()?, "Z" | "X"),
            parent: number(1)?,
            group: number(2)?,
            start: fields.get(19)?.parse().ok()?,
        })
    }

    fn read(pid: i32) -> Option<Self> {
        Self::parse(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))
    }

    fn key(&self) -> (i32, u64) {
        (self.pid, self.start)
    }
}

fn own() -> i32 {
    rustix::process::getpid().as_raw_pid()
}

/// Every process below this one.
fn descendants() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let all: Vec<Stat> =
        entries.filter_map(|entry| Stat::read(entry.ok()?.file_name().to_str()?.parse().ok()?)).collect();
    below(own(), &by_parent(&all))
}

fn by_parent(all: &[Stat]) -> HashMap<i32, Vec<Stat>> {
    let mut children: HashMap<i32, Vec<Stat>> = HashMap::new();
    for stat in all {
        children.entry(stat.parent).or_default().push(*stat);
    }
    children
}

fn below(root: i32, children: &HashMap<i32, Vec<Stat>>) -> Vec<Stat> {
    let (mut found, mut next) = (Vec::new(), vec![root]);
    let mut seen = HashSet::from([root]);
    while let Some(parent) = next.pop() {
        for child in children.get(&parent).into_iter().flatten() {
            if seen.insert(child.pid) {
                found.push(*child);
                next.push(child.pid);
            }
        }
    }
    found
}

/// The mark in the environment that a process was started with.
fn mark(pid: i32) -> Option<String> {
    let mut environment = Vec::new();
    fs::File::open(format!("/proc/{pid}/environ")).ok()?.take(2 << 20).read_to_end(&mut environment).ok()?;
    let prefix = format!("{MARKER}=");
    environment
        .split(|byte| *byte == 0)
        .find_map(|variable| variable.strip_prefix(prefix.as_bytes()))
        .map(|value| String::from_utf8_lossy(value).into_owned())
}

/// What was adopted and not reaped yet; none when the kernel does not list children. What is
/// dead among it is reaped on the way.
fn adopted() -> Option<Vec<i32>> {
    let own = own();
    let known = registry::lock();
    // The kernel hands what it re-parents to the first thread.
    let listed = fs::read_to_string(format!("/proc/self/task/{own}/children")).ok()?;
    let listed = listed.split_ascii_whitespace().filter_map(|pid| pid.parse().ok());
    Some(listed.filter(|pid| !known.contains(*pid)).filter(|pid| !reaped(*pid)).collect())
}

/// Takes notice of one dead child that is no command's main process.
fn reaped(pid: i32) -> bool {
    let Some(pid) = Pid::from_raw(pid) else { return true };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    matches!(rustix::process::waitid(WaitId::Pid(pid), options), Ok(Some(_)) | Err(Errno::CHILD))
}

/// Reaps what was adopted and has ended.
pub(crate) fn sweep() {
    if adopted().is_none() {
        let known = registry::lock();
        let own = own();
        for stat in descendants().iter().filter(|s| s.zombie && s.parent == own && !known.contains(s.pid)) {
            reaped(stat.pid);
        }
    }
}

/// Whether a command whose main process has ended may have left something running: all it
/// left has been adopted by then.
pub(crate) fn may_have_left_something() -> bool {
    adopted().is_none_or(|pids| !pids.is_empty())
}

/// A command's processes.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    /// Its main process and group, which must not be reaped yet: so the number stays its own.
    pub(crate) leader: i32,
    pub(crate) mark: String,
}

/// What became of processes that had to be ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    /// How many were killed, the main process not counted.
    pub(crate) killed: usize,
    /// How many live on, killed, because the kernel does not let them die.
    pub(crate) left: usize,
}

impl Family {
    /// Its living members: the main process, its group, the descendants of both.
    fn members(&self, stopped: &HashSet<(i32, u64)>) -> Vec<Stat> {
        let (commands, others) = {
            let known = registry::lock();
            (known.pids(), known.marks_but(self.leader))
        };
        let (own, own_group) = (own(), rustix::process::getpgrp().as_raw_pid());
        let all = descendants();
        let is_ours = |stat: &Stat| {
            if stat.pid == self.leader || stat.group == self.leader || stopped.contains(&stat.key()) {
                return true;
            }
            if stat.parent != own || commands.contains(&stat.pid) || stat.zombie {
                return false;
            }
            match mark(stat.pid) {
                Some(mark) if mark == self.mark => true,
                Some(mark) if others.contains(&mark) => false,
                // It shed its mark, or outlived its command: nobody else can have started it.
                _ => others.is_empty() && stat.group != own_group,
            }
        };
        let children = by_parent(&all);
        let roots: Vec<Stat> = all.iter().filter(|stat| is_ours(stat)).copied().collect();
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        for root in roots {
            for stat in std::iter::once(root).chain(below(root.pid, &children)) {
                if !stat.zombie && seen.insert(stat.pid) {
                    found.push(stat);
                }
            }
        }
        found
    }

    /// Ends all of it, until nothing is left. Blocks while it dies.
    pub(crate) fn end(&self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        let mut killed = HashSet::new();
        loop {
            let stopped = self.stop(deadline);
            let handles: Vec<Handle> = stopped.iter().filter_map(|key| Handle::open(*key)).collect();
            for handle in &handles {
                handle.send(Signal::KILL);
            }
            killed.extend(stopped);
            Handle::wait(&handles, deadline);
            sweep();
            let left = self.members(&HashSet::new());
            if left.is_empty() || Instant::now() >= deadline {
                killed.retain(|(pid, _)| *pid != self.leader);
                return Ended { killed: killed.len(), left: left.len() };
            }
        }
    }

    /// Stops every member until no new one appears, so that none can start another unseen
    /// while they are killed, or lose its parent before it is seen.
    fn stop(&self, deadline: Instant) -> HashSet<(i32, u64)> {
        let mut stopped = HashSet::new();
        loop {
            let members = self.members(&stopped);
            let new: Vec<_> = members.iter().map(Stat::key).filter(|key| !stopped.contains(key)).collect();
            if new.is_empty() || Instant::now() >= deadline {
                stopped.extend(new);
                return stopped;
            }
            for key in new {
                if let Some(handle) = Handle::open(key) {
                    handle.send(Signal::STOP);
                }
                stopped.insert(key);
            }
        }
    }
}

/// Exactly one process, whatever becomes of its number.
struct Handle {
    pid: Pid,
    start: u64,
    fd: Option<OwnedFd>,
}

impl Handle {
    fn open((raw, start): (i32, u64)) -> Option<Self> {
        let pid = Pid::from_raw(raw)?;
        let fd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => Some(fd),
            Err(Errno::SRCH) => return None,
            // A kernel without it, or no descriptor left: the number has to do.
            Err(_) => None,
        };
        // Asked after opening: the number was its own then, or is another's by now.
        (Stat::read(raw)?.start == start).then_some(Self { pid, start, fd })
    }

    fn send(&self, signal: Signal) {
        // Failing means that it is gone, which is what is wanted.
        let _ = match &self.fd {
            Some(fd) => rustix::process::pidfd_send_signal(fd, signal),
            None if Stat::read(self.pid.as_raw_pid()).is_some_and(|s| s.start == self.start) => {
                rustix::process::kill_process(self.pid, signal)
            }
            None => Ok(()),
        };
    }

    /// Waits until all have ended.
    fn wait(handles: &[Self], deadline: Instant) {
        for handle in handles {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(fd) = &handle.fd else {
                std::thread::sleep(left.min(Duration::from_millis(1)));
                continue;
            };
            let limit =
                Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
            // Interrupted: whoever calls looks again.
            let _ = poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&limit));
        }
    }
}

/// Ends what was adopted and belongs to no command any more, with everything below it.
pub(crate) fn end_strays() {
    let deadline = Instant::now() + PATIENCE;
    let own_group = rustix::process::getpgrp().as_raw_pid();
    loop {
        let (commands, marks) = {
            let known = registry::lock();
            (known.pids(), known.marks_but(0))
        };
        let children = by_parent(&descendants());
        let is_stray = |stat: &&Stat| {
            !commands.contains(&stat.pid)
                && stat.group != own_group
                && mark(stat.pid).is_none_or(|mark| !marks.contains(&mark))
        };
        let roots = children.get(&own()).into_iter().flatten().filter(is_stray);
        let handles: Vec<Handle> = roots
            .flat_map(|root| std::iter::once(*root).chain(below(root.pid, &children)))
            .filter(|stat| !stat.zombie)
            .filter_map(|stat| Handle::open(stat.key()))
            .collect();
        if handles.is_empty() || Instant::now() >= deadline {
            return sweep();
        }
        for signal in [Signal::STOP, Signal::KILL] {
            handles.iter().for_each(|handle| handle.send(signal));
        }
        Handle::wait(&handles, deadline);
        sweep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_hostile_name_does_not_confuse() {
        let line = "12 (a) R 1 1 1) S 7 12 9 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 555 1000 77 1";
        let found = Stat::parse(line).unwrap();
        assert_eq!(found, Stat { pid: 12, zombie: false, parent: 7, group: 12, start: 555 });
    }

    #[test]
    fn this_process_parses() {
        let found = Stat::read(own()).unwrap();
        assert!(found.pid == own() && found.start > 0 && !found.zombie);
    }

    #[test]
    fn a_circle_of_parents_ends() {
        let stat = |pid, parent| Stat { pid, zombie: false, parent, group: pid, start: 1 };
        let children = HashMap::from([(1, vec![stat(2, 1)]), (2, vec![stat(1, 2), stat(3, 2)])]);
        assert_eq!(below(1, &children).len(), 2);
    }

    proptest! {
        #[test]
        fn no_line_panics(line in ".{0,200}") {
            let _ = Stat::parse(&line);
        }
    }
}
