//! Reads the server name out of a TLS ClientHello, as it arrives in pieces. Every
//! byte is an agent's choice: lengths are checked, work and memory are bounded.

/// A hello is about 2 KiB with post-quantum keys; more than this is none.
const LIMIT: usize = 32 * 1024;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;

/// What the bytes so far are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Too few to tell.
    More,
    /// No TLS.
    Other,
    /// A whole hello, and the server name in it.
    Hello(Option<String>),
    /// Begins like TLS and is no hello.
    Broken,
}

/// The beginning of a connection.
#[derive(Debug, Default)]
pub(crate) struct Hello {
    raw: Vec<u8>,
    /// Where the next record starts in `raw`.
    next: usize,
    /// The handshake message, put together from its records.
    message: Vec<u8>,
}

impl Hello {
    /// Takes more bytes. After any answer but `More` it must not be called again.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Seen {
        self.raw.extend_from_slice(bytes);
        match *self.raw.as_slice() {
            [] => return Seen::More,
            [HANDSHAKE] | [HANDSHAKE, 3, ..] => {}
            _ => return Seen::Other,
        }
        loop {
            match self.record() {
                Some(Seen::More) if self.raw.len() > LIMIT => return Seen::Broken,
                Some(seen) => return seen,
                None => {}
            }
        }
    }

    /// Everything that was pushed.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.raw
    }

    /// Moves one whole record into the message; none: there may be another.
    fn record(&mut self) -> Option<Seen> {
        let rest = self.raw.get(self.next..).unwrap_or_default();
        let Some((&[kind, major, _, high, low], rest)) = rest.split_first_chunk::<5>() else {
            return Some(Seen::More);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if kind != HANDSHAKE || major != 3 || length == 0 || length > (1 << 14) {
            return Some(Seen::Broken);
        }
        let Some(fragment) = rest.get(..length) else { return Some(Seen::More) };
        self.message.extend_from_slice(fragment);
        self.next += 5 + length;
        let (&[kind, a, b, c], body) = self.message.split_first_chunk::<4>()?;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        if kind != CLIENT_HELLO || length > LIMIT {
            return Some(Seen::Broken);
        }
        let body = body.get(..length)?;
        Some(server_name(body).map_or(Seen::Broken, Seen::Hello))
    }
}

/// The server name of a hello's body; the outer none means that it is malformed.
fn server_name(body: &[u8]) -> Option<Option<String>> {
    let mut rest = Reader(body);
    rest.take(2 + 32)?;
    rest.block8()?;
    rest.block16()?;
    rest.block8()?;
    if rest.0.is_empty() {
        return Some(None);
    }
    let mut extensions = Reader(rest.block16()?);
    if !rest.0.is_empty() {
        return None;
    }
    let mut found = None;
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let data = extensions.block16()?;
        if kind == SERVER_NAME {
            // Two names could be read differently here and at the server.
            if found.is_some() {
                return None;
            }
            found = Some(one_name(data)?);
        }
    }
    Some(found)
}

fn one_name(data: &[u8]) -> Option<String> {
    let mut data = Reader(data);
    let mut list = Reader(data.block16()?);
    let kind = list.u8()?;
    let name = list.block16()?;
    let whole = kind == 0 && data.0.is_empty() && list.0.is_empty() && !name.is_empty();
    whole.then(|| String::from_utf8(name.to_vec()).ok()).flatten()
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(*self.take(2)?.first_chunk()?))
    }

    fn block8(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(length.into())
    }

    fn block16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(width: usize, data: &[u8]) -> Vec<u8> {
        let length = data.len().to_be_bytes();
        [&length[length.len() - width..], data].concat()
    }

    fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
        [kind.to_be_bytes().to_vec(), block(2, data)].concat()
    }

    fn sni(name: &str) -> Vec<u8> {
        extension(0, &block(2, &[vec![0], block(2, name.as_bytes())].concat()))
    }

    fn message(extensions: &[u8]) -> Vec<u8> {
        let body = [
            vec![3, 3],
            vec![7; 32],
            block(1, &[9; 32]),
            block(2, &[0x13, 0x01]),
            block(1, &[0]),
            block(2, extensions),
        ]
        .concat();
        [vec![1], block(3, &body)].concat()
    }

    fn records(message: &[u8], size: usize) -> Vec<u8> {
        message.chunks(size).flat_map(|c| [vec![22, 3, 1], block(2, c)].concat()).collect()
    }

    fn seen(bytes: &[u8]) -> Seen {
        Hello::default().push(bytes)
    }

    #[test]
    fn the_name_is_found_among_other_extensions() {
        let extensions =
            [extension(16, b"\0\x03\x02h2"), sni("allowed.test"), extension(0xff01, b"\0")].concat();
        assert_eq!(seen(&records(&message(&extensions), 16384)), Seen::Hello(Some("allowed.test".into())));
        assert_eq!(seen(&records(&message(&extension(10, b"xx")), 16384)), Seen::Hello(None));
    }

    #[test]
    fn what_is_no_hello_is_told_apart() {
        for (bytes, expected) in [
            (b"".as_slice(), Seen::More),
            (b"\x16", Seen::More),
            (b"\x16\x03\x01\x00", Seen::More),
            (b"GET / HTTP/1.1\r\n", Seen::Other),
            (b"SSH-2.0-x\r\n", Seen::Other),
            (b"\x16\x02", Seen::Other),
            (b"\x16\x03\x01\x00\x00", Seen::Broken),
            (b"\x16\x03\x01\xff\xff", Seen::Broken),
            (b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", Seen::Broken),
            (b"\x16\x03\x01\x00\x04\x01\xff\xff\xff", Seen::Broken),
        ] {
            assert_eq!(seen(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn two_names_are_broken() {
        let twice = [sni("a.test"), sni("b.test")].concat();
        assert_eq!(seen(&records(&message(&twice), 16384)), Seen::Broken);
        let list = [vec![0], block(2, b"a.test"), vec![0], block(2, b"b.test")].concat();
        assert_eq!(seen(&records(&message(&extension(0, &block(2, &list))), 16384)), Seen::Broken);
    }

    #[test]
    fn an_endless_hello_is_given_up() {
        let mut hello = Hello::default();
        let mut pushed = 0;
        // One byte a record, and a length that never comes.
        let endless = records(&[vec![1, 0, 0x7f, 0xff], vec![0; 40_000]].concat(), 1);
        let end = endless.chunks(1000).find_map(|c| {
            pushed += c.len();
            Some(hello.push(c)).filter(|s| *s != Seen::More)
        });
        assert_eq!(end, Some(Seen::Broken));
        assert!(pushed <= LIMIT + 1000);
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(name in "[a-z]{1,20}\\.test", size in 1usize..600, cut in 1usize..50) {
            let bytes = records(&message(&sni(&name)), size);
            let mut hello = Hello::default();
            let mut answers: Vec<Seen> = bytes.chunks(cut).map(|c| hello.push(c)).collect();
            prop_assert_eq!(answers.pop(), Some(Seen::Hello(Some(name))));
            prop_assert!(answers.iter().all(|a| *a == Seen::More));
            prop_assert_eq!(hello.into_bytes(), bytes);
        }

        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            seen(&bytes);
            seen(&[&[22, 3, 1], bytes.as_slice()].concat());
            seen(&records(&[vec![1], block(3, &bytes)].concat(), 16384));
            seen(&records(&message(&bytes), 16384));
        }
    }
}
