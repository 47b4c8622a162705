//! Standard input and output without a thread between: pipes and sockets wait in the
//! reactor, anything else takes the ordinary way.

use rustix::fs::{FileType, Mode, OFlags, fstat};
use std::{
    io,
    os::{
        fd::{AsFd, AsRawFd as _, OwnedFd},
        unix::net::UnixStream as Socket,
    },
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, Stdin, Stdout},
    net::{
        UnixStream,
        unix::pipe::{Receiver, Sender},
    },
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
    Socket(UnixStream),
    Other(Stdin),
}

#[derive(Debug)]
enum Out {
    Pipe(Sender),
    Socket(UnixStream),
    Other(Stdout),
}

/// Standard input and output, for as long as the process runs.
///
/// # Errors
/// When a descriptor is closed, or the reactor does not take it.
pub fn standard() -> io::Result<(StandardInput, StandardOutput)> {
    let input = match opened(io::stdin().as_fd(), OFlags::RDONLY)? {
        Opened::Pipe(fd) => In::Pipe(Receiver::from_owned_fd(fd)?),
        Opened::Socket(socket) => In::Socket(UnixStream::from_std(socket)?),
        Opened::Other => In::Other(tokio::io::stdin()),
    };
    let output = match opened(io::stdout().as_fd(), OFlags::WRONLY)? {
        Opened::Pipe(fd) => Out::Pipe(Sender::from_owned_fd(fd)?),
        Opened::Socket(socket) => Out::Socket(UnixStream::from_std(socket)?),
        Opened::Other => Out::Other(tokio::io::stdout()),
    };
    Ok((StandardInput(input), StandardOutput(output)))
}

enum Opened {
    Pipe(OwnedFd),
    Socket(Socket),
    Other,
}

fn opened(fd: impl AsFd, direction: OFlags) -> io::Result<Opened> {
    let fd = fd.as_fd();
    Ok(match FileType::from_raw_mode(fstat(fd)?.st_mode) {
        // A description of our own of the same pipe: whoever else holds it still waits in it.
        FileType::Fifo => {
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            let flags = direction | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty()).map_or(Opened::Other, Opened::Pipe)
        }
        // There is no second description of a socket; each end of a pair is one process's own.
        FileType::Socket => {
            let socket = Socket::from(fd.try_clone_to_owned()?);
            socket.set_nonblocking(true)?;
            Opened::Socket(socket)
        }
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
            In::Socket(socket) => Pin::new(socket).poll_read(cx, buffer),
            In::Other(other) => Pin::new(other).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for StandardOutput {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Out::Pipe(pipe) => Pin::new(pipe).poll_write(cx, bytes),
            Out::Socket(socket) => Pin::new(socket).poll_write(cx, bytes),
            Out::Other(other) => Pin::new(other).poll_write(cx, bytes),
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
