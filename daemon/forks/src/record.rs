//! How a fork was made: written last, so that what has one is whole.

use crate::{ForkError, Method};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{self, Mode, OFlags},
};
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

const NAME: &str = "record";
/// More is no record of ours.
const LONGEST: u64 = 64 << 20;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) method: Method,
    /// The user's path.
    pub(crate) tree: PathBytes,
    pub(crate) is_directory: bool,
    /// Of the user's tree: a device number does not outlive a reboot, this does.
    pub(crate) inode: u64,
    /// The mount point is shielded from other mount namespaces.
    pub(crate) shielded: bool,
    /// What is not in the fork: relative path and why.
    pub(crate) skipped: Vec<(PathBytes, String)>,
}

/// A path, whatever bytes it has.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PathBytes(Vec<u8>);

impl From<&Path> for PathBytes {
    fn from(path: &Path) -> Self {
        use std::os::unix::ffi::OsStrExt as _;
        Self(path.as_os_str().as_bytes().to_vec())
    }
}

impl PathBytes {
    pub(crate) fn path(&self) -> PathBuf {
        use std::os::unix::ffi::OsStringExt as _;
        std::ffi::OsString::from_vec(self.0.clone()).into()
    }
}

impl Record {
    pub(crate) fn write(&self, directory: impl AsFd, at: &Path) -> Result<(), ForkError> {
        let fail = || ForkError::io("write the record of", at);
        let bytes = serde_json::to_vec(self).map_err(|e| fail()(std::io::Error::from(e)))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let part = fs::openat(&directory, "record.part", flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| fail()(e.into()))?;
        let mut file = File::from(part);
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(fail())?;
        fs::renameat(&directory, "record.part", &directory, NAME).map_err(|e| fail()(e.into()))
    }

    pub(crate) fn read(directory: &OwnedFd, at: &Path) -> Result<Self, ForkError> {
        let fail = || ForkError::io("read the record of", at);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match fs::openat(directory, NAME, flags, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) => return Err(ForkError::HalfMade(at.to_path_buf())),
            other => other.map_err(|e| fail()(std::io::Error::from(e)))?,
        };
        let mut bytes = Vec::new();
        File::from(file).take(LONGEST).read_to_end(&mut bytes).map_err(fail())?;
        serde_json::from_slice(&bytes).map_err(|e| fail()(e.into()))
    }
}
