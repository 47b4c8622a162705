//! A process of another tree, held so that a reused number is never mistaken for it.

use crate::SandboxError;
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fd::{AsFd as _, OwnedFd},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions},
};
use std::{fs, io, path::Path, time::Duration};

/// A killed process is gone at once, unless the kernel is stuck in it.
const GONE_WITHIN: Duration = Duration::from_secs(20);

/// How the guest of a sandbox is called in the host's list of processes.
pub(super) fn name(id: &str) -> String {
    format!("cordon-guest/{id}")
}

/// A process that was found and will not be another one.
#[derive(Debug)]
pub(super) struct Held {
    pidfd: OwnedFd,
}

impl Held {
    /// Holds a process; none when it is gone, or is another one that got its number.
    pub(super) fn new(pid: i32, started: Option<u64>) -> io::Result<Option<Self>> {
        let Some(number) = Pid::from_raw(pid).filter(|_| pid > 0) else { return Ok(None) };
        let pidfd = match rustix::process::pidfd_open(number, PidfdFlags::NONBLOCK) {
            Ok(pidfd) => pidfd,
            Err(Errno::SRCH | Errno::INVAL) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        // Looked at after the descriptor was opened: from then on the number stays its own.
        let same = match started {
            Some(started) => start_time(pid)? == Some(started),
            None => true,
        };
        Ok(same.then_some(Self { pidfd }))
    }

    /// Whether it still runs: one that ended stays in the list until its parent has looked.
    pub(super) fn is_running(&self) -> io::Result<bool> {
        let mut ended = [PollFd::new(&self.pidfd, PollFlags::IN)];
        Ok(rustix::event::poll(&mut ended, Some(&Timespec::default()))? == 0)
    }

    /// Kills it and waits until it is gone. Killing the first process of a PID namespace kills
    /// every process in it, and it is gone only after all of them are.
    pub(super) async fn end(self) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(e) => return Err(e.into()),
        }
        tokio::task::spawn_blocking(move || self.wait()).await.map_err(io::Error::other)?
    }

    fn wait(&self) -> io::Result<()> {
        let timeout = Timespec::try_from(GONE_WITHIN).map_err(io::Error::other)?;
        let mut ended = [PollFd::new(&self.pidfd, PollFlags::IN)];
        if rustix::io::retry_on_intr(|| rustix::event::poll(&mut ended, Some(&timeout)))? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // When this daemon is the first process of a container, orphans are its children.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        match rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
            Ok(_) | Err(Errno::CHILD) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}

/// When a process started, in clock ticks since boot; none when it is gone.
pub(super) fn start_time(pid: i32) -> io::Result<Option<u64>> {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => parse_start_time(&stat)
            .map(Some)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no start time in /proc/PID/stat")),
        Err(e) if e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(3) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The name in the second field may hold anything, parentheses and spaces too.
fn parse_start_time(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// The guests of a sandbox by name, for when a daemon died before it remembered the number.
/// Anyone can take a name, so only the first process of a PID namespace below ours counts.
pub(super) fn find(id: &str) -> Result<Vec<i32>, SandboxError> {
    let wanted = name(id);
    let entries = fs::read_dir("/proc").map_err(SandboxError::io("list", "/proc"))?;
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    Ok(pids.filter(|pid| is_guest(*pid, &wanted)).collect())
}

fn is_guest(pid: i32, wanted: &str) -> bool {
    let directory = Path::new("/proc").join(pid.to_string());
    let Ok(arguments) = fs::read(directory.join("cmdline")) else { return false };
    if arguments.split(|b| *b == 0).next() != Some(wanted.as_bytes()) {
        return false;
    }
    let status = fs::read_to_string(directory.join("status")).unwrap_or_default();
    is_first_of_its_namespace(&status)
}

fn is_first_of_its_namespace(status: &str) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let numbers: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
    numbers.len() >= 2 && numbers.last() == Some(&"1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let rest = (0..30).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(parse_start_time(&format!("7 (a) b) (c) {rest}")), Some(19));
        assert_eq!(parse_start_time("7 (a"), None);
    }

    #[test]
    fn only_the_first_process_of_another_namespace_is_a_guest() {
        assert!(is_first_of_its_namespace("Name:\tx\nNSpid:\t400\t1\n"));
        assert!(!is_first_of_its_namespace("NSpid:\t400\t7\n"));
        assert!(!is_first_of_its_namespace("NSpid:\t1\n"));
        assert!(!is_first_of_its_namespace(""));
    }

    #[tokio::test]
    async fn a_reused_number_is_not_the_same_process() {
        let mut child = std::process::Command::new("/bin/sleep").arg("600").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let started = start_time(pid).unwrap().unwrap();
        assert!(Held::new(pid, Some(started + 1)).unwrap().is_none());
        Held::new(pid, Some(started)).unwrap().unwrap().end().await.unwrap();
        assert!(Held::new(pid, Some(started)).unwrap().is_none());
        let _ = child.wait();
    }
}
