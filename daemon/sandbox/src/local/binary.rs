use crate::SandboxError;
use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

const PT_INTERP: u32 = 3;
/// The program headers of any real executable are within its first bytes.
const LOOKED_AT: u64 = 64 << 10;

/// The guest must run in any view, also one without libraries.
pub(super) fn check(path: &Path) -> Result<(), SandboxError> {
    let unavailable = |why: String| SandboxError::Unavailable {
        what: format!("the guest {}", path.display()),
        why,
        fix: "Build it static (RUSTFLAGS=\"-C target-feature=+crt-static\") and name it with --guest."
            .to_owned(),
    };
    let mut start = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LOOKED_AT).read_to_end(&mut start))
        .map_err(|e| unavailable(e.to_string()))?;
    match is_static(&start) {
        Ok(true) => Ok(()),
        Ok(false) => Err(unavailable("it needs a dynamic loader".to_owned())),
        Err(e) => Err(unavailable(e.to_string())),
    }
}

fn is_static(elf: &[u8]) -> io::Result<bool> {
    let wrong = |why| io::Error::new(io::ErrorKind::InvalidData, why);
    if elf.get(..6) != Some(b"\x7fELF\x02\x01") {
        return Err(wrong("it is no 64-bit little-endian ELF executable"));
    }
    let half = |at: usize| Some(u16::from_le_bytes(elf.get(at..at + 2)?.try_into().ok()?));
    let table = elf.get(32..40).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
    let (Some(table), Some(size), Some(count)) = (table, half(54), half(56)) else {
        return Err(wrong("its header is cut off"));
    };
    for index in 0..u64::from(count) {
        let at = index.checked_mul(u64::from(size)).and_then(|offset| offset.checked_add(table));
        let kind = at
            .and_then(|at| usize::try_from(at).ok())
            .and_then(|at| elf.get(at..at.checked_add(4)?)?.try_into().ok())
            .map(u32::from_le_bytes)
            .ok_or_else(|| wrong("its program headers are not at its start"))?;
        if kind == PT_INTERP {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_program_with_a_loader_is_not_static() {
        let start = std::fs::read("/bin/sh").unwrap();
        assert!(!is_static(&start).unwrap());
        assert!(is_static(b"#!/bin/sh\n").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = is_static(&bytes);
            bytes.splice(0..0, *b"\x7fELF\x02\x01");
            let _ = is_static(&bytes);
        }
    }
}
