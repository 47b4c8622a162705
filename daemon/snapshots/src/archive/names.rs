//! What a name in an archive may be.

use super::error::Refusal;

/// What Linux follows at most, without the NUL.
const TARGET_MOST: usize = 4095;
const PART_MOST: usize = 255;

/// The parts of a name; none for the tree itself. Empty parts and `.` say nothing.
pub(super) fn parts(name: &[u8]) -> Result<Vec<&[u8]>, Refusal> {
    if name.is_empty() {
        return Err(Refusal::Empty);
    }
    if name.contains(&0) {
        return Err(Refusal::Nul);
    }
    if name.starts_with(b"/") {
        return Err(Refusal::Absolute);
    }
    let parts: Vec<_> = name.split(|b| *b == b'/').filter(|p| !matches!(*p, b"" | b".")).collect();
    if parts.contains(&&b".."[..]) {
        return Err(Refusal::Parent);
    }
    if parts.iter().any(|p| p.len() > PART_MOST) {
        return Err(Refusal::Long);
    }
    Ok(parts)
}

/// Where a symbolic link leads is bytes and no more, as long as a system could have it.
pub(super) fn target(link: &[u8]) -> Result<(), Refusal> {
    let possible = !link.is_empty() && link.len() <= TARGET_MOST && !link.contains(&0);
    if possible { Ok(()) } else { Err(Refusal::Target) }
}
