//! One file's bytes into the store. What comes back is the content the file had at one
//! moment, or the word that it would not hold still.

use super::{
    error::StoreError,
    object::{CHUNK, Kind, Piece, SMALL, encode_list},
    session::Session,
    stats::Stamp,
};
use crate::tree::ContentId;
use fastcdc::v2020::FastCDC;
use rustix::{
    fd::AsFd as _,
    fs::{SeekFrom, Stat, fstat, seek},
    io::Errno,
    time::{ClockId, clock_gettime},
};
use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Why a file's bytes were not had.
pub(super) enum Fault {
    /// It changed while it was read.
    Changed,
    /// The system would not give them.
    Io(std::io::Error),
    /// The tree holds more bytes than a snapshot may.
    TooMuch,
    /// The store would not take them.
    Store(StoreError),
}

impl From<Errno> for Fault {
    fn from(e: Errno) -> Self {
        Self::Io(e.into())
    }
}

impl From<std::io::Error> for Fault {
    fn from(e: std::io::Error) -> Self {
        if e.kind() == std::io::ErrorKind::UnexpectedEof { Self::Changed } else { Self::Io(e) }
    }
}

impl From<StoreError> for Fault {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

/// Reads files into a session, within a number of bytes.
pub(super) struct Intake<'a> {
    pub(super) session: &'a Session<'a>,
    pub(super) budget: &'a AtomicU64,
}

/// What was read: the address, and whether its stamp tells any later write.
pub(super) struct Got {
    pub(super) id: ContentId,
    pub(super) stat: Stat,
    pub(super) settled: bool,
}

impl Intake<'_> {
    /// Reads an open regular file.
    ///
    /// A write stamps the file when it begins, not when it ends: one may be under way
    /// although the stamp holds still. So a file written a moment ago is read twice.
    pub(super) fn read(&self, file: &File) -> Result<Got, Fault> {
        let before = fstat(file.as_fd())?;
        let calm = settle(&before);
        let first = self.once(file, &before)?;
        if calm != Calm::Long && self.once(file, &before)? != first {
            return Err(Fault::Changed);
        }
        let stat = fstat(file.as_fd())?;
        if Stamp::of(&before) != Stamp::of(&stat) {
            return Err(Fault::Changed);
        }
        Ok(Got { id: first, stat, settled: calm != Calm::Never })
    }

    fn once(&self, file: &File, stat: &Stat) -> Result<ContentId, Fault> {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let sparse = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512) < size;
        let runs = if sparse { runs(file, size)? } else { vec![(0, size)] };
        let dense = runs == [(0, size)] || size == 0;
        if dense && size <= SMALL {
            self.take(size)?;
            let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
            file.read_exact_at(&mut bytes, 0)?;
            return Ok(self.session.put(Kind::Blob, &bytes)?);
        }
        let (mut pieces, mut at) = (Vec::new(), 0);
        for (start, length) in runs {
            if start > at {
                pieces.push(Piece::Hole(start - at));
            }
            self.chunks(file, start, length, &mut pieces)?;
            at = start + length;
        }
        if at < size {
            pieces.push(Piece::Hole(size - at));
        }
        Ok(self.session.put(Kind::List, &encode_list(&pieces))?)
    }

    fn chunks(&self, file: &File, start: u64, length: u64, pieces: &mut Vec<Piece>) -> Result<(), Fault> {
        let (least, about, most) = CHUNK;
        let (mut at, end) = (start, start + length);
        let room = usize::try_from(length).unwrap_or(usize::MAX).min(2 * most);
        let (mut window, mut have) = (vec![0; room], 0);
        while at < end || have > 0 {
            if have < most && at < end {
                let more = usize::try_from(end - at).unwrap_or(usize::MAX).min(room - have);
                self.take(more as u64)?;
                file.read_exact_at(&mut window[have..have + more], at)?;
                have += more;
                at += more as u64;
            }
            let mut used = 0;
            for chunk in FastCDC::new(&window[..have], least, about, most) {
                // A cut near the window's end may lie elsewhere once more is seen.
                if at < end && have - chunk.offset < most {
                    break;
                }
                let bytes = &window[chunk.offset..chunk.offset + chunk.length];
                let id = self.session.put(Kind::Blob, bytes)?;
                pieces.push(Piece::Chunk(id, u32::try_from(chunk.length).unwrap_or(u32::MAX)));
                used = chunk.offset + chunk.length;
            }
            window.copy_within(used..have, 0);
            have -= used;
        }
        Ok(())
    }

    fn take(&self, bytes: u64) -> Result<(), Fault> {
        let fits = |left: u64| left.checked_sub(bytes);
        let taken = self.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        taken.map(|_| ()).map_err(|_| Fault::TooMuch)
    }
}

/// Where a file has data, as starts and lengths. Everything else are holes.
fn runs(file: &File, size: u64) -> Result<Vec<(u64, u64)>, Fault> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < size {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) if start < size => start,
            Ok(_) | Err(Errno::NXIO) => break,
            // A filesystem that knows no holes has none.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(vec![(0, size)]),
            Err(e) => return Err(e.into()),
        };
        let end = seek(file, SeekFrom::Hole(start))
            .or_else(|e| if e == Errno::NXIO { Ok(start) } else { Err(e) })?;
        let end = end.min(size);
        if end <= start {
            return Err(Fault::Changed);
        }
        found.push((start, end - start));
        at = end;
    }
    Ok(found)
}

/// How long a file has held still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Calm {
    /// For a second and more.
    Long,
    /// For as long as a write takes.
    Short,
    /// Its stamp lies in the future, where the next write may leave it.
    Never,
}

/// Waits until the clock that stamps files has left this file's stamp behind, so that a
/// write from now on moves it.
fn settle(stat: &Stat) -> Calm {
    const WRITE: i128 = 10_000_000;
    const SECOND: i128 = 1_000_000_000;
    let stamp = i128::from(stat.st_ctime) * SECOND + i128::from(stat.st_ctime_nsec);
    loop {
        let now = clock_gettime(ClockId::RealtimeCoarse);
        let age = i128::from(now.tv_sec) * SECOND + i128::from(now.tv_nsec) - stamp;
        match age {
            SECOND.. => return Calm::Long,
            WRITE.. => return Calm::Short,
            _ if age <= -SECOND => return Calm::Never,
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}
