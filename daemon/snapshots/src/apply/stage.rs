//! What is to be put somewhere, made beside its place under a name that nobody can guess.

use super::{
    build::{Bytes, Node},
    execute::{ApplyError, Seam},
};
use crate::TreeSource;
use rustix::{
    fd::{AsFd, BorrowedFd},
    fs::{self, Mode, OFlags},
    io::Errno,
};
use std::{
    fs::File,
    io::{Read, Seek as _, SeekFrom, Write as _},
};

const BLOCK: usize = 64 << 10;

pub(super) struct Stager<'a> {
    pub(super) agent: &'a dyn TreeSource,
    pub(super) seam: &'a dyn Seam,
    /// The whole filesystem is synced later, instead of each file now.
    pub(super) many: bool,
}

impl Stager<'_> {
    /// Makes a node. `path` is for messages.
    pub(super) fn make(
        &self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        node: &Node,
        path: &[u8],
    ) -> Result<(), ApplyError> {
        let fail = |e: Errno| ApplyError::io(path, e);
        self.seam.at("make")?;
        match node {
            Node::Link(target) => {
                fs::symlinkat(target.as_slice(), dir, name).map_err(fail)?;
            }
            Node::File { mode, bytes } => {
                let flags =
                    OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR).map_err(fail)?;
                let mut file = File::from(fd);
                self.fill(&mut file, bytes, path)?;
                self.settle(file.as_fd(), *mode, path)?;
            }
            Node::Directory { mode, inside } => {
                fs::mkdirat(dir, name, Mode::RWXU).map_err(fail)?;
                let made = crate::live::open_directory(dir, name).map_err(fail)?;
                for (name, node) in inside {
                    self.make(made.as_fd(), name, node, &crate::live::join(path, name))?;
                }
                self.settle(made.as_fd(), *mode, path)?;
            }
        }
        Ok(())
    }

    fn settle(&self, fd: BorrowedFd<'_>, mode: u32, path: &[u8]) -> Result<(), ApplyError> {
        let fail = |e: Errno| ApplyError::io(path, e);
        fs::fchmod(fd, Mode::from_raw_mode(mode & 0o777)).map_err(fail)?;
        if self.many { Ok(()) } else { fs::fsync(fd).map_err(fail) }
    }

    fn fill(&self, file: &mut File, bytes: &Bytes, path: &[u8]) -> Result<(), ApplyError> {
        let fail = |e: std::io::Error| ApplyError::Io { path: path.to_vec(), source: e };
        let (from, size, expected) = match bytes {
            Bytes::Merged(text) => return file.write_all(text).map_err(fail),
            Bytes::Agent { path, size, digest } => (path, *size, *digest),
        };
        // One byte more than there may be, so that more are noticed.
        let mut reader = self.agent.read(from)?.take(size.saturating_add(1));
        let (mut hasher, mut block) = (blake3::Hasher::new(), vec![0; BLOCK]);
        loop {
            let count = match reader.read(&mut block) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(fail(e)),
            };
            hasher.update(&block[..count]);
            if block[..count].iter().all(|b| *b == 0) {
                file.seek(SeekFrom::Current(count as i64)).map_err(fail)?;
            } else {
                file.write_all(&block[..count]).map_err(fail)?;
            }
        }
        let end = file.stream_position().map_err(fail)?;
        // A hole at the end has no byte to end it.
        file.set_len(end).map_err(fail)?;
        if end != size || hasher.finalize() != expected {
            return Err(ApplyError::Changed { path: path.to_vec() });
        }
        Ok(())
    }
}
