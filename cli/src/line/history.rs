//! What was typed before, in a file that only this user can read. Where there can be none, there
//! is no history beyond this chat, and that is said.

use crate::{neutral, socket::make_private};
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Uid;
use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

/// Messages that are offered.
pub(super) const MOST: usize = 1000;
/// A longer message is not kept.
const LONGEST: usize = 64 << 10;
/// A longer file loses its beginning.
const LARGEST: u64 = 1 << 20;

/// One message a line, as JSON texts.
#[derive(Debug, Default)]
pub(crate) struct History {
    file: Option<File>,
    messages: Vec<String>,
}

impl History {
    /// Neither offers nor keeps anything.
    pub(crate) fn off() -> Self {
        Self::default()
    }

    /// That of this user; says when there can be none.
    pub(crate) fn open() -> Self {
        let opened = place().and_then(|path| Self::at(&path).map_err(|why| (path, why)));
        opened.unwrap_or_else(|(path, why)| {
            let path = neutral::path(path.as_os_str().as_bytes());
            eprintln!("cordon: no history is kept: {path}: {}", neutral::word(&why.to_string()));
            Self::off()
        })
    }

    fn at(path: &Path) -> io::Result<Self> {
        let directory = path.parent().ok_or_else(|| io::Error::other("it has no directory"))?;
        make_private(directory).map_err(|e| io::Error::other(e.to_string()))?;
        let found = fs::symlink_metadata(directory)?;
        if !found.is_dir() || found.uid() != Uid::effective().as_raw() || found.mode() & 0o022 != 0 {
            return Err(io::Error::other("its directory is not yours alone to write to"));
        }
        let file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .mode(0o600)
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC | nix::libc::O_NONBLOCK)
            .open(path)?;
        let found = file.metadata()?;
        if !found.is_file() || found.uid() != Uid::effective().as_raw() || found.nlink() != 1 {
            return Err(io::Error::other("it is not a file of yours"));
        }
        if found.mode() & 0o7777 != 0o600 {
            file.set_permissions(Permissions::from_mode(0o600))?;
            if file.metadata()?.mode() & 0o077 != 0 {
                return Err(io::Error::other("others could read it"));
            }
        }
        let mut history = Self { file: None, messages: Vec::new() };
        let mut locked = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| e)?;
        history.read(&mut locked)?;
        history.file = Some(locked.unlock().map_err(|(_, e)| e)?);
        Ok(history)
    }

    fn read(&mut self, file: &mut File) -> io::Result<()> {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(2 * LARGEST)))?;
        let mut bytes = Vec::new();
        file.take(2 * LARGEST).read_to_end(&mut bytes)?;
        // What is no message, such as the rest of one, is nobody's.
        let messages =
            bytes.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice::<String>(line).ok());
        self.messages = messages.filter(|m| m.len() <= LONGEST).collect();
        self.messages.drain(..self.messages.len().saturating_sub(MOST));
        if length > LARGEST {
            let mut kept = Vec::new();
            for line in self.messages.iter().rev().map(|m| line(m)) {
                if (kept.len() + line.len()) as u64 > LARGEST / 2 {
                    break;
                }
                kept.splice(0..0, line);
            }
            file.set_len(0)?;
            file.write_all(&kept)?;
        }
        Ok(())
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = &str> {
        self.messages.iter().map(String::as_str)
    }

    /// Another chat may write at the same time: each message is one write.
    pub(super) fn add(&mut self, message: &str) {
        let Some(file) = self.file.as_mut().filter(|_| message.len() <= LONGEST) else { return };
        if let Err(e) = file.write_all(&line(message)) {
            eprintln!("cordon: the history is not kept any more: {e}");
            self.file = None;
        }
    }
}

fn line(message: &str) -> Vec<u8> {
    let mut line = serde_json::Value::from(message).to_string().into_bytes();
    line.push(b'\n');
    line
}

fn place() -> Result<PathBuf, (PathBuf, io::Error)> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p: &PathBuf| p.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|dir| dir.join("cordon/chat-history"))
        .ok_or_else(|| (PathBuf::from("$HOME"), io::Error::other("there is no such variable")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(history: &History) -> Vec<&str> {
        history.messages().collect()
    }

    #[test]
    fn messages_come_back_whole_and_only_to_their_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/history");
        let mut history = History::at(&path).unwrap();
        assert!(said(&history).is_empty());
        history.add("one\nin two lines");
        history.add("\x1b]52;c;x\x07 \"quoted\"");
        history.add(&"x".repeat(LONGEST + 1));
        let again = History::at(&path).unwrap();
        assert_eq!(said(&again), ["one\nin two lines", "\x1b]52;c;x\x07 \"quoted\""]);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::metadata(dir.path().join("a/b")).unwrap().mode() & 0o7777, 0o700);
        assert!(!fs::read(&path).unwrap().contains(&0x1b));
        // One that others could read is made private before anything is written.
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(said(&History::at(&path).unwrap()).len(), 2);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    }

    #[test]
    fn what_is_not_a_private_file_is_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        let at = |name: &str| History::at(&dir.path().join(name)).map(|_| ());
        std::os::unix::fs::symlink("elsewhere", dir.path().join("link")).unwrap();
        assert!(at("link").is_err() && !dir.path().join("elsewhere").try_exists().unwrap());
        nix::unistd::mkfifo(&dir.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(at("fifo").is_err());
        fs::write(dir.path().join("first"), "").unwrap();
        fs::hard_link(dir.path().join("first"), dir.path().join("second")).unwrap();
        assert!(at("second").is_err());
        assert!(at("third").is_ok());
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(at("third").is_err());
    }

    #[test]
    fn a_long_file_loses_its_beginning() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        let path = dir.path().join("history");
        let mut history = History::at(&path).unwrap();
        let long = "y".repeat(LONGEST - 1);
        for _ in 0..40 {
            history.add(&long);
        }
        history.add("last");
        assert!(fs::metadata(&path).unwrap().len() > 2 * LARGEST);
        let again = History::at(&path).unwrap();
        assert_eq!(said(&again).last(), Some(&"last"));
        let kept = fs::metadata(&path).unwrap().len();
        assert!(kept <= LARGEST / 2 && kept > LARGEST / 4, "{kept}");
        assert_eq!(said(&History::at(&path).unwrap()).last(), Some(&"last"));
    }
}
