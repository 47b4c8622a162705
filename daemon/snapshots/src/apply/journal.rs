//! What an apply is about to do, kept until it is done. One directory for each apply:
//! `plan` says which names it may make and touch, `staged` what they are once all is made, and
//! `done` that the tree is as it is to be. Without `done` all is undone, with it the rest is
//! cleaned up. Each file is one line of format and version, one of checksum, and JSON; each
//! appears whole or not at all.

use super::{fsops::Identity, parts::Time};
use crate::rights::Owner;
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{self, AtFlags, Mode, OFlags},
    io::Errno,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    fs::File,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

/// Of the format: one that is not known is left alone.
const HEAD: &str = "cordon-apply 2";
/// A journal is ours, and still never read without a bound.
const LARGEST: u64 = 4 << 30;

/// A journal could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The directory or a file in it.
    #[error("cannot use the journal {path:?}: {source}; the directory has to be writable and to have room")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not what was written, or written by another version.
    #[error(
        "the journal {path:?} is damaged or of another version; it is kept, and the tree is left as it is"
    )]
    Damaged {
        /// Which.
        path: PathBuf,
    },
}

/// Bytes as hexadecimal text.
mod spelled {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&crate::diff::hex(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        let pair = |n: usize| text.get(n..n + 2).and_then(|t| u8::from_str_radix(t, 16).ok());
        let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(pair).collect();
        bytes.ok_or_else(|| D::Error::custom("not hexadecimal"))
    }
}

/// What a step does, and the name it works with beside the path's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Action {
    /// Something new stands at the name and goes where nothing is.
    Add,
    /// Something new stands at the name and changes places with the old.
    Replace,
    /// The old goes to the name.
    Remove,
    /// The directory goes once all is done.
    RemoveDirectory,
    /// A directory's mode.
    Mode { from: u32, to: u32 },
    /// A directory is opened to its owner before anything is done in it, and gets its mode at the
    /// end.
    Open { from: u32, to: u32 },
    /// A directory gets its time at the end.
    Time { time: Time },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Item {
    #[serde(with = "spelled")]
    pub(super) path: Vec<u8>,
    #[serde(with = "spelled")]
    pub(super) name: Vec<u8>,
    pub(super) action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    #[serde(with = "spelled")]
    pub(super) root: Vec<u8>,
    pub(super) identity: Identity,
    /// Whose rights count, at a recovery too.
    pub(super) owner: Option<Owner>,
    pub(super) items: Vec<Item>,
}

/// For each item: what is to be at its path afterwards, or was there before it was removed, and
/// the directory both stand in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Made {
    pub(super) subject: Identity,
    pub(super) parent: Identity,
    /// Of what is put there and all in it, names, sizes and times.
    pub(super) print: String,
}

impl Made {
    pub(super) fn is(&self, found: Option<Identity>) -> bool {
        found == Some(self.subject)
    }
}

/// The directory of one apply.
pub(super) struct Journal {
    dir: OwnedFd,
    parent: OwnedFd,
    name: String,
    path: PathBuf,
}

fn io(path: &Path, source: impl Into<std::io::Error>) -> JournalError {
    JournalError::Io { path: path.to_path_buf(), source: source.into() }
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Journal {
    /// Begins one in the directory of all.
    pub(super) fn begin(all: &Path, record: &Record) -> Result<Self, JournalError> {
        let parent = fs::open(all, DIRECTORY, Mode::empty()).map_err(|e| io(all, e))?;
        let name = uuid::Uuid::now_v7().simple().to_string();
        fs::mkdirat(&parent, name.as_str(), Mode::RWXU).map_err(|e| io(all, e))?;
        let journal = Self::at(all, parent, name)?;
        journal.write("plan", record)?;
        fs::fsync(&journal.parent).map_err(|e| io(all, e))?;
        Ok(journal)
    }

    fn at(all: &Path, parent: OwnedFd, name: String) -> Result<Self, JournalError> {
        let path = all.join(&name);
        let dir = fs::openat(&parent, name.as_str(), DIRECTORY, Mode::empty()).map_err(|e| io(&path, e))?;
        Ok(Self { dir, parent, name, path })
    }

    /// All that were begun and not removed.
    pub(super) fn all(all: &Path) -> Result<Vec<Self>, JournalError> {
        let parent = fs::open(all, DIRECTORY, Mode::empty()).map_err(|e| io(all, e))?;
        let mut names = Vec::new();
        for listed in fs::Dir::read_from(&parent).map_err(|e| io(all, e))? {
            let listed = listed.map_err(|e| io(all, e))?;
            let name = listed.file_name().to_string_lossy().into_owned();
            // Nothing else is ours to touch.
            if uuid::Uuid::try_parse(&name).is_ok() {
                names.push(name);
            }
        }
        names.sort();
        let open = |name: String| Self::at(all, parent.try_clone().map_err(|e| io(all, e))?, name);
        names.into_iter().map(open).collect()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), JournalError> {
        let fail = |e: std::io::Error| io(&self.path.join(name), e);
        let body = serde_json::to_vec(value).map_err(|e| fail(e.into()))?;
        let part = format!("{name}.part");
        let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = fs::openat(&self.dir, part.as_str(), flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| fail(e.into()))?;
        let mut file = File::from(fd);
        let head = format!("{HEAD}\n{}\n", blake3::hash(&body));
        file.write_all(head.as_bytes()).and_then(|()| file.write_all(&body)).map_err(fail)?;
        file.sync_all().map_err(fail)?;
        fs::renameat(&self.dir, part.as_str(), &self.dir, name).map_err(|e| fail(e.into()))?;
        fs::fsync(&self.dir).map_err(|e| fail(e.into()))
    }

    /// None: it was never written.
    pub(super) fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, JournalError> {
        let path = self.path.join(name);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match fs::openat(&self.dir, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            other => other.map_err(|e| io(&path, e))?,
        };
        let mut bytes = Vec::new();
        File::from(fd).take(LARGEST).read_to_end(&mut bytes).map_err(|e| io(&path, e))?;
        let damaged = || JournalError::Damaged { path: path.clone() };
        let mut parts = bytes.splitn(3, |b| *b == b'\n');
        let (head, sum, body) = (parts.next(), parts.next(), parts.next());
        let body = body.filter(|_| head == Some(HEAD.as_bytes())).ok_or_else(damaged)?;
        if sum != Some(blake3::hash(body).to_string().as_bytes()) {
            return Err(damaged());
        }
        serde_json::from_slice(body).map(Some).map_err(|_| damaged())
    }

    /// Ends it: nothing of it is needed any more.
    pub(super) fn remove(self) -> Result<(), JournalError> {
        // `done` last: without the others it asks for nothing, and they without it would ask for
        // what was done to be undone.
        for name in ["done.part", "staged.part", "plan.part", "staged", "plan", "done"] {
            match fs::unlinkat(&self.dir, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(e) => return Err(io(&self.path.join(name), e)),
            }
        }
        fs::unlinkat(&self.parent, self.name.as_str(), AtFlags::REMOVEDIR).map_err(|e| io(&self.path, e))?;
        fs::fsync(self.parent.as_fd()).map_err(|e| io(&self.path, e))
    }
}
