//! The bytes of one file: shared where that is asked for and can be had, holes kept as holes.

use rustix::{
    fd::OwnedFd,
    fs::{self, SeekFrom},
    io::Errno,
};

/// Bytes that are copied between two looks at whether to go on.
const STEP: usize = 8 << 20;

/// Makes `to` hold what `from` holds. `step` is told of bytes and says when to stop.
pub(super) fn copy(
    from: &OwnedFd,
    to: &OwnedFd,
    size: u64,
    reflink: bool,
    step: &mut dyn FnMut(u64) -> Result<(), Errno>,
) -> Result<(), Errno> {
    if reflink && size > 0 {
        match fs::ioctl_ficlone(to, from) {
            Ok(()) => return step(size),
            Err(Errno::NOTSUP | Errno::XDEV | Errno::INVAL | Errno::NOTTY | Errno::NOSYS) => {}
            Err(errno) => return Err(errno),
        }
    }
    let mut at = 0;
    while at < size {
        let (start, end) = match data_after(from, at, size)? {
            Some(range) => range,
            None => break,
        };
        range(from, to, start, end, step)?;
        at = end;
    }
    fs::ftruncate(to, size)
}

/// The next run of data.
fn data_after(file: &OwnedFd, at: u64, size: u64) -> Result<Option<(u64, u64)>, Errno> {
    let start = match fs::seek(file, SeekFrom::Data(at)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        // A filesystem without holes.
        Err(Errno::INVAL) => return Ok(Some((at, size))),
        Err(errno) => return Err(errno),
    };
    let end = fs::seek(file, SeekFrom::Hole(start))?.min(size);
    Ok((start < end).then_some((start, end)))
}

fn range(
    from: &OwnedFd,
    to: &OwnedFd,
    start: u64,
    end: u64,
    step: &mut dyn FnMut(u64) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let (mut read_at, mut write_at) = (start, start);
    let mut by_hand = false;
    let mut buffer = Vec::new();
    while read_at < end {
        let length = usize::try_from(end - read_at).unwrap_or(STEP).min(STEP);
        let copied = if by_hand {
            buffer.resize(length.min(1 << 20), 0);
            let read = rustix::io::retry_on_intr(|| rustix::io::pread(from, &mut buffer[..], read_at))?;
            let mut rest = buffer.get(..read).unwrap_or_default();
            while !rest.is_empty() {
                let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(to, rest, write_at))?;
                write_at += written as u64;
                rest = rest.get(written..).unwrap_or_default();
            }
            read_at += read as u64;
            read
        } else {
            match fs::copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), length) {
                Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::NOTSUP | Errno::PERM) => {
                    by_hand = true;
                    continue;
                }
                Err(Errno::INTR) => continue,
                other => other?,
            }
        };
        if copied == 0 {
            // Shorter than it was: whoever asked looks at that.
            return Ok(());
        }
        step(copied as u64)?;
    }
    Ok(())
}
