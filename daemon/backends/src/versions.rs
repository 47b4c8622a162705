//! Which versions of the programs Cordon can drive. What is older lacks arguments that it gives.

use crate::BackendError;
use std::path::Path;

/// Each program with the oldest version that is accepted.
const LEAST: [(&str, [u64; 3]); 4] =
    [("codex", [0, 150, 0]), ("claude", [2, 1, 0]), ("gemini", [0, 50, 0]), ("copilot", [1, 0, 0])];

/// Refuses a program that is too old. One whose version is not known is taken.
pub(crate) fn check(program: &str, path: &Path, version: Option<&str>) -> Result<(), BackendError> {
    let least = LEAST.iter().find(|(name, _)| *name == program).map(|(_, least)| *least);
    let (Some(least), Some(text)) = (least, version) else { return Ok(()) };
    match numbers(text) {
        Some(found) if found < least => Err(BackendError::Invalid(format!(
            "{program} at {} is version {text}; Cordon needs {} or newer. Update it, or name a newer one with \
             cli_path, or use the docker wall",
            path.display(),
            least.map(|n| n.to_string()).join(".")
        ))),
        _ => Ok(()),
    }
}

/// `0.169.0-linux-x64` without what follows the numbers.
fn numbers(version: &str) -> Option<[u64; 3]> {
    let plain = version.split(['-', '+']).next()?;
    let mut parts = plain.split('.').map(|part| part.parse().ok());
    let mut next = || parts.next().unwrap_or(Some(0));
    Some([next()?, next()?, next()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_old_is_refused_with_what_to_do() {
        let at = Path::new("/opt/codex");
        for fine in ["0.150.0", "0.169.0-linux-x64", "1.0", "nightly", "0.150.0+x"] {
            assert!(check("codex", at, Some(fine)).is_ok(), "{fine}");
        }
        assert!(check("codex", at, None).is_ok() && check("other", at, Some("0.1")).is_ok());
        let told = check("codex", at, Some("0.42.9-linux-x64")).unwrap_err().to_string();
        for words in ["/opt/codex", "0.42.9", "0.150.0", "cli_path"] {
            assert!(told.contains(words), "{told}");
        }
    }
}
