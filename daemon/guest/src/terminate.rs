//! Being told to end. Only the daemon's side may: a signal that an agent's process
//! sends has a sender's number in here, one from outside has none.
#![allow(unsafe_code)]

use std::{
    io, mem,
    os::fd::{FromRawFd, OwnedFd},
    ptr,
};
use tokio::io::unix::AsyncFd;

/// Holds the signal back from its default action, in this thread and all it starts.
pub(crate) fn block() -> io::Result<()> {
    let signals = terminate();
    // SAFETY: `signals` is initialised; the previous mask is not asked for.
    let error = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, ptr::null_mut()) };
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// Where blocked signals arrive.
pub(crate) struct Terminations(AsyncFd<OwnedFd>);

impl Terminations {
    pub(crate) fn new() -> io::Result<Self> {
        let signals = terminate();
        // SAFETY: `signals` is initialised; the descriptor is new and nobody else's, and
        // an OwnedFd stays open, and the same, until it is dropped.
        unsafe {
            let fd = libc::signalfd(-1, &raw const signals, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Self(AsyncFd::register(OwnedFd::from_raw_fd(fd))?))
        }
    }

    /// Returns when a process outside of this namespace asks for the end.
    pub(crate) async fn outside(&self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            let sender = match ready.try_io(|fd| sender(fd.get_ref())) {
                Ok(sender) => sender?,
                Err(_would_block) => continue,
            };
            if sender == Some(0) {
                return Ok(());
            }
        }
    }
}

fn terminate() -> libc::sigset_t {
    // SAFETY: the set is plain data that sigemptyset initialises.
    unsafe {
        let mut signals: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut signals);
        libc::sigaddset(&raw mut signals, libc::SIGTERM);
        signals
    }
}

/// Who sent it; none when the kernel does not vouch for the number: with any other code a
/// process inside could write there whatever it likes.
fn sender(fd: &OwnedFd) -> io::Result<Option<u32>> {
    const PID: usize = mem::offset_of!(libc::signalfd_siginfo, ssi_pid);
    const CODE: usize = mem::offset_of!(libc::signalfd_siginfo, ssi_code);
    let mut information = [0; size_of::<libc::signalfd_siginfo>()];
    if rustix::io::read(fd, &mut information)? != information.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let word = |at: usize| information[at..].first_chunk().copied().map(u32::from_ne_bytes);
    Ok(word(PID).filter(|_| word(CODE) == Some(libc::SI_USER.cast_unsigned())))
}
