//! The system calls that the filter refuses, as the kernel tells them. A filter can only
//! answer with an error number, which says neither that it was the filter nor why; so the
//! kernel asks here instead, is given the same number at once, and what was refused is kept
//! for the daemon. Nothing is ever let through: the one answer that this module knows is the
//! error. Should it end, the kernel answers "not implemented" in its place.

#![allow(unsafe_code)]

use cordon_proto::guest::RefusedCall;
use std::{
    collections::HashSet,
    io, mem,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};
use tokio::sync::Notify;

/// Different refusals that are told; an agent that finds more learns nothing by it.
const MOST: usize = 128;
/// Of one call with different arguments: one that has many must not hide the others.
const MOST_OF_ONE: usize = 8;
/// The thread does next to nothing.
const STACK: usize = 64 << 10;
/// What a program calls itself is read in this many bytes.
const NAME: usize = 64;

/// What was refused so far, each kind of call once.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    kept: Mutex<Kept>,
    changed: Notify,
    /// The process whose calls are not told: the probe tries all of them.
    quiet: AtomicU32,
}

#[derive(Debug, Default)]
struct Kept {
    known: HashSet<(i32, u64)>,
    calls: Vec<RefusedCall>,
    told: usize,
}

impl Refusals {
    /// From now on the calls of this process are refused without a word; of none, with 0.
    pub(crate) fn keep_quiet_about(&self, pid: u32) {
        self.quiet.store(pid, Ordering::SeqCst);
    }

    /// The next call that nobody was told of.
    pub(crate) async fn next(&self) -> (usize, RefusedCall) {
        loop {
            let changed = self.changed.notified();
            {
                let kept = self.kept();
                if let Some(call) = kept.calls.get(kept.told) {
                    return (kept.told, call.clone());
                }
            }
            changed.await;
        }
    }

    /// This one was told.
    pub(crate) fn told(&self, number: usize) {
        let mut kept = self.kept();
        kept.told = kept.told.max(number + 1);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Every change is one step.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, pid: u32, data: &libc::seccomp_data) {
        if pid != 0 && pid == self.quiet.load(Ordering::SeqCst) {
            return;
        }
        if libc::c_long::from(data.nr) == libc::SYS_io_uring_setup && is_runtime(&program(pid)) {
            return;
        }
        let detail = detail(data);
        let key = (data.nr, detail.as_ref().map_or(0, |(_, value)| *value));
        let mut kept = self.kept();
        let of_one = kept.known.iter().filter(|(number, _)| *number == data.nr).count();
        if kept.calls.len() >= MOST || of_one >= MOST_OF_ONE || !kept.known.insert(key) {
            return;
        }
        let name = crate::confine::name_of(i64::from(data.nr));
        let call = match detail {
            Some((what, value)) => format!("{name} ({what} {value:#x})"),
            None => name,
        };
        kept.calls.push(RefusedCall { call, program: program(pid).into() });
        drop(kept);
        self.changed.notify_one();
    }
}

/// Whether a program calls itself as a runtime does that tries at every start whether there is an
/// io_uring, and does without: Node does, on its own thread or the one that Copilot CLI runs it on.
/// That is no act of an agent. Whoever borrows the name keeps no more than this one call from being
/// told, and it is refused all the same.
fn is_runtime(name: &[u8]) -> bool {
    [b"node".as_slice(), b"MainThread", b"node-MainThread"].contains(&name)
}

/// The argument by which a call is refused, where it is not refused altogether.
fn detail(data: &libc::seccomp_data) -> Option<(&'static str, u64)> {
    let argument = |n: usize| data.args.get(n).copied().unwrap_or_default() & u64::from(u32::MAX);
    match libc::c_long::from(data.nr) {
        libc::SYS_socket | libc::SYS_socketpair => Some(("family", argument(0))),
        libc::SYS_ioctl => Some(("request", argument(1))),
        libc::SYS_clone | libc::SYS_unshare => Some(("namespaces", argument(0) & NAMESPACES)),
        _ => None,
    }
}

/// `CLONE_NEW*` but for the time namespace, whose bit `clone` uses for something else.
const NAMESPACES: u64 = 0x7e02_0000;

/// The name of the program that called, as it calls itself.
fn program(pid: u32) -> Vec<u8> {
    use std::io::Read as _;
    let mut name = [0u8; NAME];
    let read = std::fs::File::open(format!("/proc/{pid}/comm")).and_then(|mut f| f.read(&mut name));
    let name = name.get(..read.unwrap_or(0)).unwrap_or_default();
    name.strip_suffix(b"\n").unwrap_or(name).to_vec()
}

/// Whether this kernel speaks of notifications in the same sizes as this program.
pub(crate) fn is_understood() -> bool {
    let mut sizes = libc::seccomp_notif_sizes { seccomp_notif: 0, seccomp_notif_resp: 0, seccomp_data: 0 };
    // SAFETY: the structure is writable and outlives the call, which writes no more than it.
    let asked = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_NOTIF_SIZES, 0, &raw mut sizes) };
    asked == 0
        && usize::from(sizes.seccomp_notif) == mem::size_of::<libc::seccomp_notif>()
        && usize::from(sizes.seccomp_notif_resp) == mem::size_of::<libc::seccomp_notif_resp>()
}

/// Starts to answer. Until then whoever calls what is refused waits: this comes right after the
/// filter, before any other thread or process. The thread itself makes no such call.
pub(crate) fn answer(listener: OwnedFd, refusals: std::sync::Arc<Refusals>) -> io::Result<()> {
    let body = move || {
        while let Ok(()) | Err(Lost::Caller) = one(&listener, &refusals) {}
        // The kernel answers for a listener that is closed.
    };
    thread::Builder::new().name("refusals".to_owned()).stack_size(STACK).spawn(body).map(drop)
}

enum Lost {
    /// Whoever called is gone, or was interrupted and calls again.
    Caller,
    /// There is nothing more to hear.
    Listener,
}

/// Takes one call, notes it, and refuses it.
fn one(listener: &OwnedFd, refusals: &Refusals) -> Result<(), Lost> {
    // SAFETY: plain numbers, for which zero is a value; the kernel wants it zeroed.
    let mut call: libc::seccomp_notif = unsafe { mem::zeroed() };
    ask(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, (&raw mut call).cast())?;
    // The number of the process must still mean the one that called when its name was read.
    refusals.note(call.pid, &call.data);
    let mut answer = libc::seccomp_notif_resp { id: call.id, val: 0, error: -libc::EPERM, flags: 0 };
    ask(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, (&raw mut answer).cast())
}

fn ask(listener: &OwnedFd, request: libc::Ioctl, argument: *mut libc::c_void) -> Result<(), Lost> {
    // SAFETY: the request is one of the two above with a pointer to the structure of the size
    // that `is_understood` compared; it outlives the call.
    if unsafe { libc::ioctl(listener.as_raw_fd(), request, argument) } >= 0 {
        return Ok(());
    }
    match io::Error::last_os_error().raw_os_error() {
        Some(libc::ENOENT | libc::EINTR) => Err(Lost::Caller),
        _ => Err(Lost::Listener),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: libc::c_long, first: u64) -> libc::seccomp_data {
        libc::seccomp_data {
            nr: i32::try_from(number).unwrap(),
            arch: 0,
            instruction_pointer: 0,
            args: [first, first, 0, 0, 0, 0],
        }
    }

    #[tokio::test]
    async fn each_kind_of_call_is_told_once_and_what_was_not_told_again() {
        let refusals = Refusals::default();
        for _ in 0..3 {
            refusals.note(0, &call(libc::SYS_ptrace, 16));
            refusals.note(0, &call(libc::SYS_socket, 17));
            refusals.note(0, &call(libc::SYS_unshare, 0x1000_0000 | 0x100));
        }
        let mut found = Vec::new();
        for _ in 0..3 {
            let (number, call) = refusals.next().await;
            assert_eq!(refusals.next().await.0, number, "not told yet");
            refusals.told(number);
            found.push(call.call);
        }
        assert_eq!(found, ["ptrace", "socket (family 0x11)", "unshare (namespaces 0x10000000)"]);
        assert!(tokio::time::timeout(std::time::Duration::ZERO, refusals.next()).await.is_err());
    }

    #[test]
    fn what_a_runtime_tries_at_every_start_is_no_act_of_an_agent() {
        assert!(is_runtime(b"node") && is_runtime(b"MainThread"));
        assert!(!is_runtime(b"perl") && !is_runtime(b"nodex") && !is_runtime(b""));
        // Of anybody else it is told, and so is any other call of theirs.
        let refusals = Refusals::default();
        refusals.note(std::process::id(), &call(libc::SYS_io_uring_setup, 1));
        assert_eq!(refusals.kept().calls.len(), 1);
    }

    #[test]
    fn an_agent_cannot_make_it_remember_without_end() {
        let refusals = Refusals::default();
        (0..10_000).for_each(|n| refusals.note(0, &call(n, 0)));
        let kept = refusals.kept();
        assert_eq!((kept.calls.len(), kept.known.len()), (MOST, MOST));
    }

    #[test]
    fn many_arguments_of_one_call_hide_no_other() {
        let refusals = Refusals::default();
        (0..10_000).for_each(|n| refusals.note(0, &call(libc::SYS_socket, n)));
        refusals.note(0, &call(libc::SYS_ptrace, 0));
        let kept = refusals.kept();
        assert_eq!(kept.calls.len(), MOST_OF_ONE + 1);
        assert_eq!(kept.calls.last().unwrap().call, "ptrace");
    }

    #[test]
    fn the_probes_own_calls_are_not_told() {
        let refusals = Refusals::default();
        refusals.keep_quiet_about(7);
        refusals.note(7, &call(libc::SYS_ptrace, 0));
        assert!(refusals.kept().calls.is_empty());
        refusals.keep_quiet_about(0);
        refusals.note(7, &call(libc::SYS_ptrace, 0));
        assert_eq!(refusals.kept().calls.len(), 1);
    }
}
