//! One header block. The layouts are those of the `tar` crate; what the fields say is read
//! here, strictly: programs that read the same archive differently are how archives deceive.

use super::blocks::BLOCK;
use tar::Header;

/// What a header block says, before long names and extended headers count.
pub(super) struct Head {
    pub(super) kind: u8,
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) size: u64,
    pub(super) mode: u32,
    pub(super) mtime: i64,
    /// Of an old GNU sparse file.
    pub(super) sparse: Option<OldSparse>,
}

/// The sparse part of an old GNU header.
pub(super) struct OldSparse {
    pub(super) runs: Vec<(u64, u64)>,
    pub(super) more: bool,
    pub(super) size: u64,
}

/// What is wrong with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// The checksum is not that of a header.
    Sum,
    /// A field is no number that it can be.
    Field(&'static str),
}

impl Head {
    pub(super) fn read(block: &[u8; BLOCK]) -> Result<Self, Bad> {
        let header = Header::from_byte_slice(block);
        let old = header.as_old();
        let sum = number(&old.cksum).ok_or(Bad::Sum)?;
        // The field counts as blanks. Some summed signed bytes.
        let (mut plain, mut signed) = (0i64, 0i64);
        for (at, byte) in block.iter().enumerate() {
            let byte = if (148..156).contains(&at) { b' ' } else { *byte };
            plain += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        if sum != plain && sum != signed {
            return Err(Bad::Sum);
        }
        let field = |bytes: &[u8], what| number(bytes).ok_or(Bad::Field(what));
        let size = field(&old.size, "a size is no number")?;
        let mut name = text(&old.name).to_vec();
        if let Some(ustar) = header.as_ustar()
            && ustar.prefix[0] != 0
        {
            name = [text(&ustar.prefix), &name].join(&b'/');
        }
        let kind = old.linkflag[0];
        let sparse = match (kind, header.as_gnu()) {
            (b'S', Some(gnu)) => {
                let mut runs = Vec::new();
                for run in &gnu.sparse {
                    runs.extend(old_run(&run.offset, &run.numbytes)?);
                }
                let real = field(&gnu.realsize, "a size is no number")?;
                let size = u64::try_from(real).map_err(|_| Bad::Field("a size is negative"))?;
                Some(OldSparse { runs, more: gnu.isextended[0] != 0, size })
            }
            _ => None,
        };
        Ok(Self {
            kind,
            name,
            link: text(&old.linkname).to_vec(),
            size: u64::try_from(size).map_err(|_| Bad::Field("a size is negative"))?,
            // Whoever writes no mode means no bits; setuid, setgid and sticky stay behind.
            mode: u32::try_from(number(&old.mode).unwrap_or(0) & 0o777).unwrap_or(0),
            mtime: field(&old.mtime, "a time is no number")?,
            sparse,
        })
    }

    /// A further block of an old sparse header: its runs, and whether another one follows.
    pub(super) fn more(block: &[u8; BLOCK]) -> Result<(Vec<(u64, u64)>, bool), Bad> {
        const RUNS: usize = 21;
        let mut runs = Vec::new();
        for run in block.chunks_exact(24).take(RUNS) {
            runs.extend(old_run(&run[..12], &run[12..])?);
        }
        Ok((runs, block[RUNS * 24] != 0))
    }
}

fn old_run(offset: &[u8], length: &[u8]) -> Result<Option<(u64, u64)>, Bad> {
    if offset[0] == 0 && length[0] == 0 {
        return Ok(None);
    }
    let get = |bytes| number(bytes).and_then(|n| u64::try_from(n).ok());
    match (get(offset), get(length)) {
        (Some(offset), Some(length)) => Ok(Some((offset, length))),
        _ => Err(Bad::Field("a sparse map has something else than numbers")),
    }
}

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|b| *b == 0).next().unwrap_or_default()
}

/// Octal digits with blanks around them, or base 256 with the first bit set. Nothing at all is 0.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        let negative = first & 0x40 != 0;
        let head = i128::from(first & 0x7f) - if negative { 0x80 } else { 0 };
        // Twelve bytes fit; a longer field there is not.
        let value = rest
            .iter()
            .try_fold(head, |sum, byte| sum.checked_mul(256).map(|sum| sum + i128::from(*byte)))?;
        return i64::try_from(value).ok();
    }
    let blank = |b: &u8| matches!(b, b' ' | 0);
    let digits = field.iter().skip_while(|b| **b == b' ').copied().take_while(|b| !blank(b));
    let (mut value, mut count) = (0i64, 0);
    for digit in digits {
        if !matches!(digit, b'0'..=b'7') {
            return None;
        }
        value = value.checked_mul(8)?.checked_add(i64::from(digit - b'0'))?;
        count += 1;
    }
    let lead = field.iter().take_while(|b| **b == b' ').count();
    field[lead + count..].iter().all(blank).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256_and_nothing_else() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   644 \0"), Some(0o644));
        assert_eq!(number(b"77777777777\0"), Some(0o77_777_777_777));
        assert_eq!(number(b"777777777777"), Some(0o777_777_777_777));
        assert_eq!(number(b"\0\0\0\0"), Some(0));
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1]), Some((2 << 32) | 1));
        assert_eq!(number(&[0xff; 12]), Some(-1));
        assert_eq!(number(&[0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0]), None);
        for bad in [&b"0000648\0"[..], b"-1\0", b"12\0 34 x", b"1 2     ", b"0x10\0", b"+7\0"] {
            assert_eq!(number(bad), None, "{}", bad.escape_ascii());
        }
    }
}
