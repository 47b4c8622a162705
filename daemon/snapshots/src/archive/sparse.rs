//! Where a sparse file's bytes lie, as an archive claims.

use super::{
    blocks::{BLOCK, Data},
    pax::{RUNS_MOST, digits},
};
use std::io::{self, Read as _};

/// What a file's map may be wrong in.
pub(super) const LIES: &str = "a sparse map does not fit its file";

/// Runs in order, apart from each other, inside the file, and as long as what is stored.
pub(super) fn settle(runs: &[(u64, u64)], size: u64, stored: u64) -> Option<Vec<(u64, u64)>> {
    let (mut settled, mut at, mut sum): (Vec<(u64, u64)>, u64, u64) = (Vec::new(), 0, 0);
    for (offset, length) in runs {
        let end = offset.checked_add(*length).filter(|end| *offset >= at && *end <= size)?;
        sum = sum.checked_add(*length)?;
        if *length > 0 {
            match settled.last_mut() {
                Some(last) if last.0 + last.1 == *offset => last.1 += length,
                _ => settled.push((*offset, *length)),
            }
        }
        at = end;
    }
    (sum == stored).then_some(settled)
}

/// The map of format 1.0: decimal lines before the data, filled up to a block.
pub(super) fn map(data: &mut Data<'_, '_>) -> Result<Option<Vec<(u64, u64)>>, io::Error> {
    let mut lines = Lines { data, block: [0; BLOCK], at: BLOCK };
    let Some(count) = lines.number()?.and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= RUNS_MOST)
    else {
        return Ok(None);
    };
    let mut runs = Vec::new();
    for _ in 0..count {
        let (Some(offset), Some(length)) = (lines.number()?, lines.number()?) else { return Ok(None) };
        runs.push((offset, length));
    }
    Ok(Some(runs))
}

struct Lines<'d, 'b, 'a> {
    data: &'d mut Data<'b, 'a>,
    block: [u8; BLOCK],
    at: usize,
}

impl Lines<'_, '_, '_> {
    fn number(&mut self) -> Result<Option<u64>, io::Error> {
        let mut text = Vec::new();
        loop {
            if self.at == BLOCK {
                if self.data.left() < BLOCK as u64 {
                    return Ok(None);
                }
                self.data.read_exact(&mut self.block)?;
                self.at = 0;
            }
            let byte = self.block[self.at];
            self.at += 1;
            match byte {
                b'\n' => return Ok(digits(&text)),
                _ if text.len() > 20 => return Ok(None),
                _ => text.push(byte),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::settle;

    #[test]
    fn maps_that_lie_are_refused() {
        assert_eq!(settle(&[(0, 5), (5, 0), (5, 5), (20, 1), (30, 0)], 30, 11), Some(vec![(0, 10), (20, 1)]));
        assert_eq!(settle(&[], 30, 0), Some(Vec::new()));
        for (runs, size, stored) in [
            (vec![(5, 5), (0, 5)], 30, 10),
            (vec![(0, 6), (5, 5)], 30, 11),
            (vec![(0, 31)], 30, 31),
            (vec![(31, 0)], 30, 0),
            (vec![(u64::MAX, 2)], 30, 2),
            (vec![(0, 5)], 30, 6),
            (vec![(0, 5)], 30, 4),
        ] {
            assert_eq!(settle(&runs, size, stored), None, "{runs:?} {size} {stored}");
        }
    }
}
