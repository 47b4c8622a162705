//! Base64 as it comes, in pieces of any length.

/// Decodes the standard alphabet. Padding may be missing, and nothing follows it; bits that no byte
/// has are zero.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    bits: u32,
    /// Letters of the group that is being read.
    letters: u8,
    padding: u8,
}

/// It is not base64.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotBase64;

impl Decoder {
    /// The next letter; a whole byte goes into `out`.
    pub(super) fn push(&mut self, letter: u8, out: &mut Vec<u8>) -> Result<(), NotBase64> {
        if letter == b'=' {
            self.padding += 1;
            let fits = matches!((self.letters, self.padding), (2, 1 | 2) | (3, 1));
            return if fits { Ok(()) } else { Err(NotBase64) };
        }
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err(NotBase64),
        };
        if self.padding > 0 {
            return Err(NotBase64);
        }
        self.bits = self.bits << 6 | u32::from(value);
        self.letters += 1;
        if self.letters == 4 {
            out.extend_from_slice(&self.bits.to_be_bytes()[1..]);
            *self = Self::default();
        }
        Ok(())
    }

    /// There are no more letters.
    pub(super) fn finish(&self, out: &mut Vec<u8>) -> Result<(), NotBase64> {
        if self.padding > 0 && self.letters + self.padding != 4 {
            return Err(NotBase64);
        }
        let (spare, bytes) = match self.letters {
            0 => return Ok(()),
            2 => (4, 1),
            3 => (2, 2),
            _ => return Err(NotBase64),
        };
        if self.bits & ((1 << spare) - 1) != 0 {
            return Err(NotBase64);
        }
        let all = (self.bits >> spare).to_be_bytes();
        out.extend_from_slice(&all[4 - bytes..]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::base64::{
        Engine as _, alphabet,
        engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
    };
    use proptest::prelude::*;

    const ORACLE: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );

    fn decode(text: &[u8]) -> Result<Vec<u8>, NotBase64> {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        text.iter().try_for_each(|letter| decoder.push(*letter, &mut out))?;
        decoder.finish(&mut out)?;
        Ok(out)
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decode(ORACLE.encode(&bytes).as_bytes()), Ok(bytes));
        }

        #[test]
        fn it_takes_what_the_library_takes(text in "[A-Da-d/+=_\\n -]{0,12}") {
            prop_assert_eq!(decode(text.as_bytes()).ok(), ORACLE.decode(&text).ok(), "{}", text);
        }
    }
}
