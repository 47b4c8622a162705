//! Standard input and output without a thread between: pipes and sockets wait in the
//! reactor, anything else takes the ordinary way. The descriptors' own flags stay as they
//! are, because whoever else holds them would feel it.

use rustix::{
    fs::{FileType, Mode, OFlags, fstat},
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
};
use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Stdin, Stdout, unix::AsyncFd},
    net::unix::pipe::{Receiver, Sender},
};

/// This process's standard input.
#[derive(Debug)]
pub struct StandardInput(In);

/// This process's standard output.
#[derive(Debug)]
pub struct StandardOutput(Out);

#[derive(Debug)]
enum In {
    Pipe(Receiver),
    Socket(AsyncFd<OwnedFd>),
    Other(Stdin),
}

#[derive(Debug)]
enum Out {
    Pipe(Sender),
    Socket(AsyncFd<OwnedFd>),
    Other(Stdout),
}

/// Standard input and output, for as long as the process runs.
///
/// # Errors
/// When a descriptor is closed, or the reactor does not take it.
pub fn standard() -> io::Result<(StandardInput, StandardOutput)> {
    let input = match opened(io::stdin().as_fd(), OFlags::RDONLY)? {
        Opened::Pipe(fd) => In::Pipe(Receiver::from_owned_fd(fd)?),
        Opened::Socket(fd) => In::Socket(AsyncFd::with_interest(fd, Interest::READABLE)?),
        Opened::Other => In::Other(tokio::io::stdin()),
    };
    let output = match opened(io::stdout().as_fd(), OFlags::WRONLY)? {
        Opened::Pipe(fd) => Out::Pipe(Sender::from_owned_fd(fd)?),
        Opened::Socket(fd) => Out::Socket(AsyncFd::with_interest(fd, Interest::WRITABLE)?),
        Opened::Other => Out::Other(tokio::io::stdout()),
    };
    Ok((StandardInput(input), StandardOutput(output)))
}

enum Opened {
    Pipe(OwnedFd),
    Socket(OwnedFd),
    Other,
}

fn opened(fd: impl AsFd, direction: OFlags) -> io::Result<Opened> {
    let fd = fd.as_fd();
    Ok(match FileType::from_raw_mode(fstat(fd)?.st_mode) {
        // A description of our own of the same pipe: not to wait is then nobody else's business.
        FileType::Fifo => {
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            let flags = direction | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty()).map_or(Opened::Other, Opened::Pipe)
        }
        FileType::Socket => Opened::Socket(fd.try_clone_to_owned()?),
        _ => Opened::Other,
    })
}

impl AsyncRead for StandardInput {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            In::Pipe(pipe) => Pin::new(pipe).poll_read(cx, buffer),
            In::Other(other) => Pin::new(other).poll_read(cx, buffer),
            In::Socket(socket) => loop {
                let mut ready = ready!(socket.poll_read_ready(cx))?;
                let room = buffer.initialize_unfilled();
                let read = ready.try_io(|fd| match recv(fd, room, RecvFlags::DONTWAIT) {
                    Ok((_, count)) => Ok(count),
                    // The other end is gone: nothing more will come.
                    Err(Errno::CONNRESET) => Ok(0),
                    Err(errno) => Err(errno.into()),
                });
                match read {
                    Ok(Ok(count)) => {
                        buffer.advance(count);
                        return Poll::Ready(Ok(()));
                    }
                    Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(Err(error)) => return Poll::Ready(Err(error)),
                    Err(_) => {}
                }
            },
        }
    }
}

impl AsyncWrite for StandardOutput {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Out::Pipe(pipe) => Pin::new(pipe).poll_write(cx, bytes),
            Out::Other(other) => Pin::new(other).poll_write(cx, bytes),
            Out::Socket(socket) => loop {
                let mut ready = ready!(socket.poll_write_ready(cx))?;
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                match ready.try_io(|fd| Ok(send(fd, bytes, flags)?)) {
                    Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(sent) => return Poll::Ready(sent),
                    Err(_) => {}
                }
            },
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Out::Other(other) => Pin::new(other).poll_flush(cx),
            Out::Pipe(_) | Out::Socket(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
