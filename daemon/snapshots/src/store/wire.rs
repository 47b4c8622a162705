//! Numbers and byte strings of the store's formats: little-endian, lengths first. Nothing
//! that is read decides how much memory is taken before it was checked against the bytes
//! that are there.

/// Bytes that are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bad(pub(super) &'static str);

pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Bad> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(Bad("it is cut short"))?;
        self.0 = tail;
        Ok(*head)
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Bad> {
        let (head, tail) = self.0.split_at_checked(count).ok_or(Bad("it is cut short"))?;
        self.0 = tail;
        Ok(head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Bad> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, Bad> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Bad> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Bad> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Seconds and nanoseconds.
    pub(super) fn time(&mut self) -> Result<(i64, u32), Bad> {
        let time = (i64::from_le_bytes(self.array()?), self.u32()?);
        if time.1 < 1_000_000_000 { Ok(time) } else { Err(Bad("a time has too many nanoseconds")) }
    }

    /// A length of two bytes and that many bytes.
    pub(super) fn short(&mut self) -> Result<&'a [u8], Bad> {
        let count = self.u16()?;
        self.bytes(count.into())
    }

    pub(super) fn text(&mut self) -> Result<String, Bad> {
        let text = std::str::from_utf8(self.short()?).map_err(|_| Bad("a text is not UTF-8"))?;
        Ok(text.to_owned())
    }
}

/// Appends; what is too long for its length is the caller's to refuse before.
pub(super) trait Put {
    fn put(&mut self, bytes: &[u8]);

    fn time(&mut self, time: (i64, u32)) {
        self.put(&time.0.to_le_bytes());
        self.put(&time.1.to_le_bytes());
    }

    fn short(&mut self, bytes: &[u8]) {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        self.put(&length.to_le_bytes());
        self.put(&bytes[..usize::from(length)]);
    }
}

impl Put for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}
