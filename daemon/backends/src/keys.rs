//! API keys that a person has typed in for a backend, one file a backend in Cordon's own
//! directory of the owner.

use rustix::fs::{FileType, Mode, OFlags};
use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

/// Its name, beside the directories with login files.
pub const KEY_FILE: &str = "key";
/// More than any vendor's.
pub(crate) const LONGEST_KEY: usize = 16 << 10;

/// Where the key of a backend is, below the directory of its owner.
pub(crate) fn file(directory: &Path, backend: &str) -> PathBuf {
    directory.join(backend).join(KEY_FILE)
}

/// Why a text is no key.
///
/// # Errors
/// That, as the end of a sentence, without a word of the text.
pub fn check(key: &str) -> Result<(), String> {
    if key.is_empty() {
        return Err("is empty".to_owned());
    }
    if key.len() > LONGEST_KEY {
        return Err(format!("has more than {LONGEST_KEY} bytes: it is not a key"));
    }
    if key.chars().any(char::is_control) {
        return Err("holds a control character or a line break: it is not a key".to_owned());
    }
    Ok(())
}

/// The key that the owner of this directory has given for a backend.
///
/// # Errors
/// Why what is there cannot be used.
pub fn kept(directory: &Path, backend: &str) -> Result<Option<String>, String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = match rustix::fs::open(file(directory, backend), flags, Mode::empty()) {
        Ok(opened) => opened,
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(format!("it cannot be opened: {error}")),
    };
    let stat = rustix::fs::fstat(&opened).map_err(|e| format!("it cannot be looked at: {e}"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err("it is not a regular file".to_owned());
    }
    let mut key = Vec::new();
    let read = File::from(opened).take(LONGEST_KEY as u64 + 1).read_to_end(&mut key);
    read.map_err(|e| format!("it cannot be read: {e}"))?;
    let key = String::from_utf8(key).map_err(|_| "it is not text".to_owned())?;
    check(&key).map_err(|why| format!("it {why}"))?;
    Ok(Some(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_plain_line_in_a_plain_file() {
        let home = tempfile::tempdir().unwrap();
        let key = || kept(home.path(), "openai");
        assert_eq!(key(), Ok(None));
        std::fs::create_dir(home.path().join("openai")).unwrap();
        assert_eq!(key(), Ok(None));
        let file = file(home.path(), "openai");
        for (content, why) in [("", "is empty"), ("a\nb", "line break"), ("\u{1b}[0m", "control")] {
            std::fs::write(&file, content).unwrap();
            assert!(key().unwrap_err().contains(why), "{content:?}");
        }
        std::fs::write(&file, "x".repeat(LONGEST_KEY + 1)).unwrap();
        assert!(key().unwrap_err().contains("more than"));
        std::fs::write(&file, [0xff, 0xfe]).unwrap();
        assert_eq!(key().unwrap_err(), "it is not text");
        std::fs::write(&file, "sk-some-key").unwrap();
        assert_eq!(key(), Ok(Some("sk-some-key".to_owned())));
        std::fs::rename(&file, home.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(home.path().join("elsewhere"), &file).unwrap();
        assert!(key().is_err());
    }
}
