//! Finding everything that a process started. Sessions and parents lead to most of
//! it; what cut both ties is found by the marker in its environment and by having
//! been seen as a descendant earlier. A program that hides from all of these lives
//! until the sandbox ends, and no longer.

use super::plan::MARKER;
use rustix::process::{Pid, Signal, kill_process};
use std::{collections::HashSet, fs, io::Read};

/// One line of /proc/PID/stat, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: i32,
    pub(crate) zombie: bool,
    pub(crate) parent: i32,
    pub(crate) session: i32,
    /// Clock ticks of it and of its dead children.
    pub(crate) cpu_ticks: u64,
    /// With the pid, who it is: numbers are used again.
    pub(crate) start: u64,
    pub(crate) resident_pages: u64,
}

impl Stat {
    pub(crate) fn parse(line: &str) -> Option<Self> {
        // The name may contain anything, parentheses and spaces too.
        let (head, tail) = line.rsplit_once(')')?;
        let pid = head.split_once(' ')?.0.parse().ok()?;
        let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<i64>().ok();
        let count = |index: usize| number(index).map(|value| value.max(0).unsigned_abs());
        Some(Self {
            pid,
            zombie: matches!(*fields.first()?, "Z" | "X"),
            parent: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            cpu_ticks: (11..=14).filter_map(count).fold(0, u64::saturating_add),
            start: fields.get(19)?.parse().ok()?,
            resident_pages: count(21)?,
        })
    }

    fn read(pid: i32) -> Option<Self> {
        Self::parse(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))
    }

    pub(crate) fn key(&self) -> (i32, u64) {
        (self.pid, self.start)
    }
}

/// Every process but this one and, should that not be this one, the first.
pub(crate) fn scan() -> Vec<Stat> {
    let own = std::process::id();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| pid.unsigned_abs() != own && *pid > 1)
        .filter_map(Stat::read)
        .collect()
}

/// Clock ticks of this process and of every child that it reaped.
pub(crate) fn own_ticks() -> u64 {
    i32::try_from(std::process::id()).ok().and_then(Stat::read).map_or(0, |stat| stat.cpu_ticks)
}

/// A process and what it started.
pub(crate) struct Family<'a> {
    pub(crate) id: &'a str,
    /// Its number, also its session's; none when it ended and the number may have gone
    /// to another.
    pub(crate) leader: Option<i32>,
    /// Seen earlier as descendants.
    pub(crate) seen: &'a HashSet<(i32, u64)>,
}

impl Family<'_> {
    /// Its members among `all`.
    pub(crate) fn members<'s>(&self, all: &'s [Stat]) -> Vec<&'s Stat> {
        let mut found: HashSet<i32> = HashSet::new();
        let certain = |stat: &Stat| {
            self.leader.is_some_and(|leader| stat.pid == leader || stat.session == leader)
                || self.seen.contains(&stat.key())
        };
        found.extend(all.iter().filter(|stat| certain(stat) || is_marked(stat.pid, self.id)).map(|s| s.pid));
        loop {
            let before = found.len();
            for stat in all {
                if found.contains(&stat.parent) {
                    found.insert(stat.pid);
                }
            }
            if found.len() == before {
                break;
            }
        }
        all.iter().filter(|stat| found.contains(&stat.pid)).collect()
    }

    /// Signals every member. They are stopped first, until no new one appears, so that
    /// none can start another unseen meanwhile.
    pub(crate) fn signal(&self, signal: Signal) {
        let mut stopped: HashSet<(i32, u64)> = HashSet::new();
        // A fork bomb may outrun the walk; it then meets the limit on processes.
        for _ in 0..64 {
            let all = scan();
            let members = self.members(&all);
            let new: Vec<_> = members.iter().filter(|s| !s.zombie && !stopped.contains(&s.key())).collect();
            if new.is_empty() {
                break;
            }
            for stat in new {
                send(stat.key(), Signal::STOP);
                stopped.insert(stat.key());
            }
        }
        for key in &stopped {
            send(*key, signal);
        }
        if signal != Signal::KILL && signal != Signal::STOP {
            for key in &stopped {
                send(*key, Signal::CONT);
            }
        }
    }
}

/// Sends to exactly this process, if it still is the same.
fn send((pid, start): (i32, u64), signal: Signal) {
    if Stat::read(pid).is_some_and(|stat| stat.start == start)
        && let Some(pid) = Pid::from_raw(pid)
    {
        // Failing means that it is gone, which is what is wanted.
        let _ = kill_process(pid, signal);
    }
}

/// Whether the environment that a process was started with carries our mark.
pub(crate) fn is_marked(pid: i32, id: &str) -> bool {
    marker(pid).is_some_and(|found| found == id)
}

/// The mark in the environment that a process was started with.
pub(crate) fn marker(pid: i32) -> Option<String> {
    let mut environment = Vec::new();
    let file = fs::File::open(format!("/proc/{pid}/environ")).ok()?;
    file.take(2 << 20).read_to_end(&mut environment).ok()?;
    let prefix = format!("{MARKER}=");
    environment
        .split(|byte| *byte == 0)
        .find_map(|variable| variable.strip_prefix(prefix.as_bytes()))
        .map(|value| String::from_utf8_lossy(value).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stat(pid: i32, parent: i32, session: i32) -> Stat {
        Stat { pid, zombie: false, parent, session, cpu_ticks: 0, start: 1, resident_pages: 0 }
    }

    #[test]
    fn a_hostile_name_does_not_confuse() {
        let line = "12 (a) R 1 1 1) S 7 12 9 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 555 1000 77 1";
        let found = Stat::parse(line).unwrap();
        assert_eq!((found.pid, found.parent, found.session), (12, 7, 9));
        assert_eq!((found.cpu_ticks, found.start, found.resident_pages), (100, 555, 77));
    }

    #[test]
    fn this_process_parses() {
        let own = i32::try_from(std::process::id()).unwrap();
        let found = Stat::read(own).unwrap();
        assert_eq!(found.pid, own);
        assert!(found.resident_pages > 0 && found.start > 0);
    }

    #[test]
    fn sessions_parents_and_the_seen_are_family() {
        // Numbers above the largest pid, so that no real environment is read.
        let base = 1 << 23;
        let seen = HashSet::from([(base + 5, 1)]);
        let family = Family { id: "x", leader: Some(base), seen: &seen };
        let all = [
            stat(base, 1, base),
            stat(base + 1, 1, base),
            stat(base + 2, base + 1, base + 2),
            stat(base + 3, base + 2, base + 3),
            stat(base + 5, 1, base + 5),
            stat(base + 6, 1, base + 6),
        ];
        let found: Vec<i32> = family.members(&all).iter().map(|s| s.pid - base).collect();
        assert_eq!(found, [0, 1, 2, 3, 5]);
    }

    proptest! {
        #[test]
        fn no_line_panics(line in ".{0,200}") {
            let _ = Stat::parse(&line);
        }
    }
}
