//! Extended headers: `LENGTH KEY=VALUE\n` after each other.

/// What extended headers say that counts here. Owners, other times and attributes do not.
#[derive(Clone, Debug, Default)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) sparse: Sparse,
}

/// The three forms in which GNU tar tells where a file's bytes lie.
#[derive(Clone, Debug, Default)]
pub(super) struct Sparse {
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) runs: Option<Vec<(u64, u64)>>,
    offset: Option<u64>,
}

/// How many runs a file may have: sixteen bytes of memory each.
pub(super) const RUNS_MOST: usize = 1 << 20;

impl Extended {
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        while !bytes.is_empty() {
            let blank =
                bytes.iter().take(20).position(|b| *b == b' ').ok_or("an extended header has no length")?;
            let length = digits(&bytes[..blank]).and_then(|n| usize::try_from(n).ok());
            let length = length.ok_or("an extended header's length is no number")?;
            let (record, rest) = bytes
                .split_at_checked(length)
                .filter(|_| length > blank)
                .ok_or("an extended header is cut short")?;
            let record =
                record[blank + 1..].strip_suffix(b"\n").ok_or("an extended header does not end its line")?;
            let equals = record.iter().position(|b| *b == b'=').ok_or("an extended header has no value")?;
            self.record(&record[..equals], &record[equals + 1..])?;
            bytes = rest;
        }
        Ok(())
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let number = || digits(value).ok_or("an extended header has a number that is none");
        let sparse = &mut self.sparse;
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(number()?),
            b"mtime" => self.mtime = Some(time(value).ok_or("an extended header has a time that is none")?),
            b"GNU.sparse.major" => sparse.major = Some(number()?),
            b"GNU.sparse.minor" => sparse.minor = Some(number()?),
            b"GNU.sparse.name" => sparse.name = Some(value.to_vec()),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => sparse.size = Some(number()?),
            b"GNU.sparse.numblocks" => sparse.runs = Some(Vec::new()),
            b"GNU.sparse.offset" => sparse.offset = Some(number()?),
            b"GNU.sparse.numbytes" => {
                let length = number()?;
                let offset = sparse.offset.take().ok_or("a sparse map has a length without its place")?;
                sparse.push(offset, length)?;
            }
            b"GNU.sparse.map" => {
                sparse.runs = Some(Vec::new());
                let mut numbers = value.split(|b| *b == b',').filter(|n| !n.is_empty()).map(digits);
                while let Some(offset) = numbers.next() {
                    let (Some(offset), Some(Some(length))) = (offset, numbers.next()) else {
                        return Err("a sparse map has something else than pairs of numbers");
                    };
                    sparse.push(offset, length)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What a global header may say for the entries after it.
    pub(super) fn is_global(&self) -> bool {
        let Self { path, link, size, sparse, .. } = self;
        path.is_none() && link.is_none() && size.is_none() && !sparse.is_told()
    }
}

impl Sparse {
    fn push(&mut self, offset: u64, length: u64) -> Result<(), &'static str> {
        let runs = self.runs.get_or_insert_default();
        if runs.len() >= RUNS_MOST {
            return Err("a sparse map is too long");
        }
        runs.push((offset, length));
        Ok(())
    }

    pub(super) fn is_told(&self) -> bool {
        self.major.is_some()
            || self.minor.is_some()
            || self.name.is_some()
            || self.size.is_some()
            || self.runs.is_some()
    }
}

/// Decimal digits and nothing else.
pub(super) fn digits(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if digits { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

/// Seconds with a fraction; below zero, both count downwards.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match text.iter().position(|b| *b == b'.') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &b""[..]),
    };
    let seconds = i64::try_from(digits(whole)?).ok()?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut nanos = 0;
    for at in 0..9 {
        nanos = nanos * 10 + u32::from(fraction.get(at).map_or(0, |b| b - b'0'));
    }
    match (negative, nanos) {
        (false, _) => Some((seconds, nanos)),
        (true, 0) => Some((-seconds, 0)),
        (true, _) => Some((-seconds - 1, 1_000_000_000 - nanos)),
    }
}

/// Appends a record.
pub(super) fn put(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    // The length counts its own digits.
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(format!("{length} {key}=").as_bytes());
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// A time as a record has it.
pub(super) fn shown(time: (i64, u32)) -> String {
    let (sign, seconds, nanos) = match time {
        (s, n) if s >= 0 => ("", s.unsigned_abs(), n),
        (s, 0) => ("-", s.unsigned_abs(), 0),
        (s, n) => ("-", (s + 1).unsigned_abs(), 1_000_000_000 - n),
    };
    if nanos == 0 {
        return format!("{sign}{seconds}");
    }
    format!("{sign}{seconds}.{nanos:09}").trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_put_is_read(path in proptest::collection::vec(any::<u8>(), 1..300), seconds in -(1i64 << 60)..1 << 60, nanos in 0..1_000_000_000u32) {
            let mut out = Vec::new();
            put(&mut out, "path", &path);
            put(&mut out, "mtime", shown((seconds, nanos)).as_bytes());
            let mut read = Extended::default();
            prop_assert_eq!(read.read(&out), Ok(()));
            prop_assert_eq!(read.path, Some(path));
            prop_assert_eq!(read.mtime, Some((seconds, nanos)));
        }

        #[test]
        fn anything_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Extended::default().read(&bytes);
        }
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for bad in [
            "5 a=b",
            "7 a=b\n",
            "5 a=b\n",
            "3 a\n",
            "99999999999999999999 a=b\n",
            "6 a=b\nx",
            "-6 a=b\n",
            "1 ",
            " 6 a=b\n",
            "2 a=b\n",
        ] {
            assert!(Extended::default().read(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert_eq!(Extended::default().read(b"6 a=b\n"), Ok(()));
    }
}
