//! What bytes are, by how they begin: what a server or a name says of them counts for nothing.

use cordon_providers::Making;

/// Type and usual ending.
pub(super) type Kind = (&'static str, &'static str);

/// A picture or a sound of a type that people's programs open; none: it is something else.
pub(super) fn kind(making: Making, bytes: &[u8]) -> Option<Kind> {
    let (image, audio) = (making == Making::Image, making == Making::Audio);
    let riff = |of: &[u8]| bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(of);
    Some(match bytes {
        _ if image && bytes.starts_with(b"\x89PNG\r\n\x1a\n") => ("image/png", "png"),
        [0xff, 0xd8, 0xff, ..] if image => ("image/jpeg", "jpg"),
        _ if image && riff(b"WEBP") => ("image/webp", "webp"),
        _ if image && (bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a")) => ("image/gif", "gif"),
        _ if audio && riff(b"WAVE") => ("audio/wav", "wav"),
        _ if audio && bytes.starts_with(b"fLaC") => ("audio/flac", "flac"),
        _ if audio && bytes.starts_with(b"OggS") => ("audio/ogg", "ogg"),
        _ if audio && bytes.starts_with(b"ID3") => ("audio/mpeg", "mp3"),
        [0xff, 0xf1 | 0xf9, ..] if audio => ("audio/aac", "aac"),
        // A frame of layer III whose rates are none of those that there are not.
        [0xff, b, rates, ..] if audio && b & 0xe6 == 0xe2 && rates & 0xf0 != 0xf0 && rates & 0x0c != 0x0c => {
            ("audio/mpeg", "mp3")
        }
        _ => return None,
    })
}

/// The rate of samples without a header: 16 bits, one channel. `audio/L16;codec=pcm;rate=24000`.
pub(super) fn samples(mime: &str) -> Option<u32> {
    let mut parts = mime.split(';').map(str::trim);
    let kind = parts.next()?;
    if !kind.eq_ignore_ascii_case("audio/L16") && !kind.eq_ignore_ascii_case("audio/pcm") {
        return None;
    }
    let rate = parts.find_map(|part| part.strip_prefix("rate=")).unwrap_or("24000");
    rate.parse().ok().filter(|rate| (8_000..=192_000).contains(rate))
}

/// Samples with the header that makes a sound file of them.
pub(super) fn wav(samples: &[u8], rate: u32) -> Option<Vec<u8>> {
    let size = u32::try_from(samples.len()).ok().filter(|size| size % 2 == 0)?;
    let mut out = Vec::with_capacity(samples.len() + 44);
    out.extend_from_slice(b"RIFF");
    out.extend_from_slice(&size.checked_add(36)?.to_le_bytes());
    out.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    out.extend_from_slice(&rate.to_le_bytes());
    out.extend_from_slice(&(rate * 2).to_le_bytes());
    out.extend_from_slice(b"\x02\0\x10\0data");
    out.extend_from_slice(&size.to_le_bytes());
    out.extend_from_slice(samples);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_say_what_they_are() {
        for (bytes, image, audio) in [
            (&b"\x89PNG\r\n\x1a\n\0"[..], Some("png"), None),
            (b"\xff\xd8\xff\xe0", Some("jpg"), None),
            (b"RIFF\0\0\0\0WEBPVP8 ", Some("webp"), None),
            (b"GIF89a", Some("gif"), None),
            (b"RIFF\0\0\0\0WAVEfmt ", None, Some("wav")),
            (b"RIFF\0\0\0\0AVI ", None, None),
            (b"fLaC", None, Some("flac")),
            (b"OggS", None, Some("ogg")),
            (b"ID3\x04", None, Some("mp3")),
            (b"\xff\xfb\x90\x64", None, Some("mp3")),
            (b"\xff\xf3\xf4\x64", None, None),
            (b"\xff\xf1\x50\x80", None, Some("aac")),
            (b"<svg xmlns=", None, None),
            (b"#!/bin/sh", None, None),
            (b"\x7fELF", None, None),
            (b"", None, None),
        ] {
            assert_eq!(kind(Making::Image, bytes).map(|k| k.1), image, "{bytes:?}");
            assert_eq!(kind(Making::Audio, bytes).map(|k| k.1), audio, "{bytes:?}");
        }
    }

    #[test]
    fn samples_become_a_sound_file() {
        assert_eq!(samples("audio/L16;codec=pcm;rate=24000"), Some(24_000));
        assert_eq!(samples("audio/l16; rate=16000"), Some(16_000));
        assert_eq!(samples("audio/pcm"), Some(24_000));
        for bad in
            ["audio/L16;rate=0", "audio/L16;rate=99999999999", "audio/mpeg", "text/html;rate=24000", ""]
        {
            assert_eq!(samples(bad), None, "{bad}");
        }
        let made = wav(&[1, 2, 3, 4], 24_000).unwrap();
        assert_eq!(kind(Making::Audio, &made), Some(("audio/wav", "wav")));
        assert_eq!((made.len(), &made[44..]), (48, &[1, 2, 3, 4][..]));
        assert_eq!(wav(&[1], 24_000), None, "half a sample");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..20), mime in "\\PC{0,30}") {
            let _ = (kind(Making::Image, &bytes), kind(Making::Audio, &bytes), samples(&mime));
        }
    }
}
