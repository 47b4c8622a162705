//! The keys that leave a terminal.

/// As typed on the command line: `ctrl-]`, `ctrl-p,ctrl-q`, or `none`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DetachKeys(Vec<u8>);

impl std::str::FromStr for DetachKeys {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(Vec::new()));
        }
        let keys: Option<Vec<u8>> = text.split(',').map(key).collect();
        let keys = keys.filter(|keys| keys.len() <= 8);
        keys.map(Self).ok_or_else(|| {
            format!("{text:?} is no list of keys: for instance `ctrl-]`, `ctrl-p,ctrl-q`, or `none`")
        })
    }
}

fn key(text: &str) -> Option<u8> {
    let lower = text.to_ascii_lowercase();
    let (control, name) = match lower.strip_prefix("ctrl-") {
        Some(name) => (true, name),
        None => (false, text),
    };
    let [key] = name.as_bytes() else { return None };
    match (control, *key) {
        (true, letter @ (b'a'..=b'z' | b'@' | b'['..=b'_')) => Some(letter & 0x1f),
        (false, letter @ 0x21..=0x7e) => Some(letter),
        _ => None,
    }
}

/// Looks for the keys in what is typed.
#[derive(Debug)]
pub(crate) struct Detach {
    keys: Vec<u8>,
    matched: usize,
}

impl Detach {
    pub(crate) fn new(keys: DetachKeys) -> Self {
        Self { keys: keys.0, matched: 0 }
    }

    /// What goes to the program of what was typed; and whether the person wants to leave.
    pub(crate) fn look(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut through = Vec::with_capacity(typed.len());
        for byte in typed {
            if self.keys.get(self.matched) != Some(byte) {
                // What looked like the keys was meant for the program.
                through.extend(self.keys.get(..self.matched).unwrap_or_default());
                self.matched = 0;
            }
            if self.keys.get(self.matched) != Some(byte) {
                through.push(*byte);
                continue;
            }
            self.matched += 1;
            if self.matched == self.keys.len() {
                return (through, true);
            }
        }
        (through, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(keys: &str, typed: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut detach = Detach::new(keys.parse().unwrap());
        let mut all = Vec::new();
        for piece in typed {
            let (through, left) = detach.look(piece);
            all.extend(through);
            if left {
                return (all, true);
            }
        }
        (all, false)
    }

    #[test]
    fn keys_are_read() {
        assert_eq!("ctrl-]".parse(), Ok(DetachKeys(vec![0x1d])));
        assert_eq!("Ctrl-p,ctrl-Q".parse(), Ok(DetachKeys(vec![0x10, 0x11])));
        assert_eq!("ctrl-\\,q".parse(), Ok(DetachKeys(vec![0x1c, b'q'])));
        for wrong in ["", "ctrl-", "ctrl-1", "ab", "ctrl-a,,b", "a,b,c,d,e,f,g,h,i", "ctrl-ä"] {
            assert!(wrong.parse::<DetachKeys>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_not_the_keys_goes_through() {
        assert_eq!(look("ctrl-]", &[b"abc\x1ddef"]), (b"abc".to_vec(), true));
        assert_eq!(look("ctrl-p,ctrl-q", &[b"a\x10", b"\x11b"]), (b"a".to_vec(), true));
        assert_eq!(look("ctrl-p,ctrl-q", &[b"a\x10", b"b\x10\x10\x11"]), (b"a\x10b\x10".to_vec(), true));
        assert_eq!(look("none", &[b"a\x1d\x10"]), (b"a\x1d\x10".to_vec(), false));
    }
}
