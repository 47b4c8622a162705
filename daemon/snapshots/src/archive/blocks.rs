//! The archive as a stream of blocks, with where it is.

use super::error::ArchiveError;
use std::io::{self, BufReader, Read};

pub(super) const BLOCK: usize = 512;

pub(super) struct Blocks<'a> {
    from: BufReader<&'a mut dyn Read>,
    at: u64,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(from: &'a mut dyn Read) -> Self {
        Self { from: BufReader::with_capacity(1 << 17, from), at: 0 }
    }

    /// How many bytes were read.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn malformed(&self, why: &'static str) -> ArchiveError {
        ArchiveError::Malformed { at: self.at, why }
    }

    pub(super) fn truncated(&self) -> ArchiveError {
        ArchiveError::Truncated { at: self.at }
    }

    /// As much of a block as is there: less only at the end of the stream.
    pub(super) fn block(&mut self, out: &mut [u8; BLOCK]) -> Result<usize, ArchiveError> {
        let mut had = 0;
        while had < BLOCK {
            match self.from.read(&mut out[had..]) {
                Ok(0) => break,
                Ok(more) => had += more,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(ArchiveError::Read(e)),
            }
        }
        self.at += had as u64;
        Ok(had)
    }

    /// A whole block.
    pub(super) fn whole(&mut self) -> Result<[u8; BLOCK], ArchiveError> {
        let mut out = [0; BLOCK];
        if self.block(&mut out)? == BLOCK { Ok(out) } else { Err(self.truncated()) }
    }

    /// The `size` bytes of an entry.
    pub(super) fn data(&mut self, size: u64) -> Data<'_, 'a> {
        Data { blocks: self, left: size, padding: size.next_multiple_of(BLOCK as u64) - size }
    }

    /// The `size` bytes of an entry in memory, which the caller has bounded.
    pub(super) fn bytes(&mut self, size: u64) -> Result<Vec<u8>, ArchiveError> {
        let mut data = self.data(size);
        let mut out = Vec::new();
        if let Err(e) = data.read_to_end(&mut out) {
            return Err(data.failed(e));
        }
        data.end()?;
        Ok(out)
    }

    /// Reads on for a while after the end mark, so that who writes the rest is not cut off.
    pub(super) fn drain(&mut self) {
        const REST: u64 = 1 << 20;
        let _ = io::copy(&mut (&mut self.from).take(REST), &mut io::sink());
    }
}

/// The bytes of one entry. It ends early with an error only.
pub(super) struct Data<'b, 'a> {
    blocks: &'b mut Blocks<'a>,
    left: u64,
    padding: u64,
}

impl Data<'_, '_> {
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Leaves the stream at the next header.
    pub(super) fn end(mut self) -> Result<(), ArchiveError> {
        self.left += self.padding;
        match io::copy(&mut self, &mut io::sink()) {
            Ok(_) => Ok(()),
            Err(e) => Err(self.failed(e)),
        }
    }

    /// Why reading did not go on.
    pub(super) fn failed(&self, error: io::Error) -> ArchiveError {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            self.blocks.truncated()
        } else {
            ArchiveError::Read(error)
        }
    }
}

impl Read for Data<'_, '_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = out.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let had = self.blocks.from.read(&mut out[..most])?;
        if had == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= had as u64;
        self.blocks.at += had as u64;
        Ok(had)
    }
}
