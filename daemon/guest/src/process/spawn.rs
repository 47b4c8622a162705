//! Fork and exec. Between the two only what is async-signal-safe happens, because
//! other threads may hold any lock at that moment.
#![allow(unsafe_code)]

use super::plan::Plan;
use cordon_proto::guest::Stream;
use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    ptr,
};

/// What a started process is connected to.
pub(crate) struct Spawned {
    pub(crate) pid: i32,
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) outputs: Vec<(Stream, OwnedFd)>,
    pub(crate) terminal: Option<OwnedFd>,
    /// Eight bytes (step, errno) when the program could not be executed, else nothing.
    pub(crate) failure: OwnedFd,
}

/// What the child's three standard descriptors become.
struct Ends {
    stdin: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

/// The step of a failure, as the pipe carries it.
pub(crate) const STEP_CHDIR: u32 = 1;
pub(crate) const STEP_EXEC: u32 = 2;

/// Starts a process in a session of its own.
pub(crate) fn spawn(plan: &Plan, stdin: bool, pty: Option<Winsize>) -> io::Result<Spawned> {
    let (failure, report) = pipe_with(PipeFlags::CLOEXEC)?;
    let mut spawned = Spawned { pid: 0, stdin: None, outputs: Vec::new(), terminal: None, failure };
    let ends = match pty {
        Some(size) => terminal(&mut spawned, size)?,
        None => pipes(&mut spawned, stdin)?,
    };
    spawned.pid = fork(plan, &ends, &report, pty.is_some())?;
    Ok(spawned)
}

fn terminal(spawned: &mut Spawned, size: Winsize) -> io::Result<Ends> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    // By descriptor: needs no /dev/pts in the view.
    let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    tcsetwinsize(&master, size)?;
    let ends = Ends { stdin: slave.try_clone()?, stdout: slave.try_clone()?, stderr: slave };
    spawned.terminal = Some(master.try_clone()?);
    spawned.outputs.push((Stream::Stdout, master));
    Ok(ends)
}

/// Bytes that standard output holds while nobody reads: what an ordinary user may ask for.
const OUTPUT_PIPE: usize = 1 << 20;

fn pipes(spawned: &mut Spawned, stdin: bool) -> io::Result<Ends> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    let input = if stdin {
        spawned.stdin = Some(write);
        read
    } else {
        openat(CWD, "/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?
    };
    let (stdout, child_stdout) = pipe_with(PipeFlags::CLOEXEC)?;
    let (stderr, child_stderr) = pipe_with(PipeFlags::CLOEXEC)?;
    // Some programs drop, when they exit, what the pipe has not taken yet: their last and
    // most important event. A larger one is a courtesy; past the user's quota it stays small.
    let _ = rustix::pipe::fcntl_setpipe_size(&stdout, OUTPUT_PIPE);
    spawned.outputs.push((Stream::Stdout, stdout));
    spawned.outputs.push((Stream::Stderr, stderr));
    Ok(Ends { stdin: input, stdout: child_stdout, stderr: child_stderr })
}

/// Everything that the child needs, as plain numbers and pointers.
struct Child {
    argv: Vec<*const libc::c_char>,
    env: Vec<*const libc::c_char>,
    candidates: Vec<*const libc::c_char>,
    cwd: *const libc::c_char,
    standard: [RawFd; 3],
    report: RawFd,
    terminal: bool,
    highest: RawFd,
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

fn fork(plan: &Plan, ends: &Ends, report: &OwnedFd, terminal: bool) -> io::Result<i32> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let child = Child {
        argv: pointers(&plan.argv),
        env: pointers(&plan.env),
        candidates: pointers(&plan.candidates),
        cwd: plan.cwd.as_ptr(),
        standard: [ends.stdin.as_raw_fd(), ends.stdout.as_raw_fd(), ends.stderr.as_raw_fd()],
        report: report.as_raw_fd(),
        terminal,
        highest: limit.and_then(|n| RawFd::try_from(n).ok()).unwrap_or(65536).min(65536),
    };
    if child.standard.iter().chain([&child.report]).any(|fd| *fd <= 2) {
        return Err(io::Error::other("the guest's own standard descriptors are closed"));
    }
    // SAFETY: the sets are plain data that sigfillset and sigprocmask initialise. With
    // all signals blocked no handler of the guest runs in the child, where it would
    // write to descriptors shared with the guest. After fork the parent only restores
    // its mask, and the child only runs `run`, which is async-signal-safe.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        if libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before) != 0 {
            return Err(io::Error::last_os_error());
        }
        let pid = libc::fork();
        if pid == 0 {
            run(&child);
        }
        let error = io::Error::last_os_error();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
        if pid < 0 { Err(error) } else { Ok(pid) }
    }
}

/// The child, from fork to exec.
///
/// # Safety
/// Only for a freshly forked child with all signals blocked; the pointers of `child`
/// must lead to NUL-terminated strings and NULL-terminated lists.
unsafe fn run(child: &Child) -> ! {
    // SAFETY: plain system calls on numbers, and on pointers that the caller vouches
    // for. None allocates or locks.
    unsafe {
        libc::setsid();
        // All zero is the kernel's own form of "default, no flags, empty mask". The C library's
        // form refuses the two signals that it keeps for itself, which may be ignored too.
        let default = [0_u64; 4];
        for signal in 1..=64 {
            // Fails for KILL and STOP: nothing to reset there.
            libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, 0, 8);
        }
        for (to, from) in (0..).zip(child.standard) {
            if libc::dup2(from, to) < 0 {
                fail(child.report, STEP_EXEC);
            }
        }
        if child.terminal && libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
            fail(child.report, STEP_EXEC);
        }
        let flags = libc::CLOSE_RANGE_CLOEXEC as libc::c_int;
        if libc::close_range(3, libc::c_uint::MAX, flags) < 0 {
            for fd in 3..child.highest {
                libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
            }
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        if libc::chdir(child.cwd) < 0 {
            fail(child.report, STEP_CHDIR);
        }
        // As execvp: go on past what is not there, but remember what was forbidden.
        let mut forbidden = false;
        for candidate in &child.candidates {
            if candidate.is_null() {
                break;
            }
            libc::execve(*candidate, child.argv.as_ptr(), child.env.as_ptr());
            match *libc::__errno_location() {
                libc::EACCES => forbidden = true,
                libc::ENOENT | libc::ENOTDIR => {}
                _ => fail(child.report, STEP_EXEC),
            }
        }
        if forbidden {
            *libc::__errno_location() = libc::EACCES;
        }
        fail(child.report, STEP_EXEC)
    }
}

/// Reports errno and ends the child.
///
/// # Safety
/// Only in the freshly forked child; `report` must be open.
unsafe fn fail(report: RawFd, step: u32) -> ! {
    // SAFETY: writes eight bytes of this frame to a descriptor that the caller vouches
    // for; _exit runs none of the guest's exit handlers.
    unsafe {
        let words = [step, (*libc::__errno_location()).unsigned_abs()];
        libc::write(report, words.as_ptr().cast(), size_of_val(&words));
        libc::_exit(127)
    }
}

/// Makes sure that descriptors 0 to 2 are taken, so that no socket or pipe of the
/// guest's ever becomes one of them.
pub(crate) fn hold_standard_descriptors() -> io::Result<()> {
    loop {
        let null = openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let null = null.map_err(|errno: Errno| io::Error::from(errno))?;
        if null.as_raw_fd() > 2 {
            return Ok(());
        }
        // Held for the life of the process, on purpose.
        std::mem::forget(null);
    }
}
