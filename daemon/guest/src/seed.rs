//! The files that are written into the private home before anything runs.

use cordon_proto::guest::SeedFile;
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, fchmod, mkdirat, openat, symlinkat, unlinkat},
    io::Errno,
};
use std::{fs::File, io, io::Write, os::fd::OwnedFd};

/// What the mode of a symbolic link has in it.
const LINK: u32 = 0o120_000;

/// Why one could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SeedError {
    #[error("seed file {0:?} is not a plain path below the home")]
    Path(String),
    #[error("write seed file {path:?}: {source}")]
    Io { path: String, source: io::Error },
}

/// Writes every file below `home`, following no link on the way.
pub(crate) fn write(home: &[u8], files: &[SeedFile]) -> Result<(), SeedError> {
    for file in files {
        let path = || String::from_utf8_lossy(&file.path).into_owned();
        let parts: Vec<&[u8]> = file.path.split(|byte| *byte == b'/').collect();
        if parts.iter().any(|part| part.is_empty() || *part == b"." || *part == b".." || part.contains(&0)) {
            return Err(SeedError::Path(path()));
        }
        write_one(home, &parts, file).map_err(|source| SeedError::Io { path: path(), source })?;
    }
    Ok(())
}

fn write_one(home: &[u8], parts: &[&[u8]], file: &SeedFile) -> io::Result<()> {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at: OwnedFd = openat(CWD, home, directory, Mode::empty())?;
    let Some((name, parents)) = parts.split_last() else { return Ok(()) };
    for parent in parents {
        match mkdirat(&at, *parent, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        at = openat(&at, *parent, directory, Mode::empty())?;
    }
    if file.mode & 0o170_000 == LINK {
        match unlinkat(&at, *name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        return Ok(symlinkat(&file.content[..], &at, *name)?);
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(file.mode & 0o777);
    let mut written = File::from(openat(&at, *name, flags | OFlags::NONBLOCK, Mode::RUSR | Mode::WUSR)?);
    written.write_all(&file.content)?;
    // After the content: a file that must not be writable can still be written here.
    Ok(fchmod(&written, mode)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::{ffi::OsStrExt, fs::PermissionsExt, fs::symlink};

    fn seed(path: &'static str, mode: u32) -> SeedFile {
        SeedFile { path: path.as_bytes().into(), content: b"text"[..].into(), mode }
    }

    #[test]
    fn parents_are_made_and_modes_kept() {
        let home = tempfile::tempdir().unwrap();
        write(home.path().as_os_str().as_bytes(), &[seed(".a/b/c.toml", 0o400)]).unwrap();
        let path = home.path().join(".a/b/c.toml");
        assert_eq!(std::fs::read(&path).unwrap(), b"text");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o400);
    }

    #[test]
    fn a_link_takes_the_place_of_what_was_there() {
        let home = tempfile::tempdir().unwrap();
        let link =
            SeedFile { path: b".c/login"[..].into(), content: b"/run/x/login"[..].into(), mode: 0o120_777 };
        for _ in 0..2 {
            write(home.path().as_os_str().as_bytes(), std::slice::from_ref(&link)).unwrap();
            assert_eq!(
                std::fs::read_link(home.path().join(".c/login")).unwrap().to_str(),
                Some("/run/x/login")
            );
        }
    }

    #[test]
    fn nothing_is_written_outside_the_home() {
        let home = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        symlink(outside.path(), home.path().join("link")).unwrap();
        symlink(outside.path().join("file"), home.path().join("file")).unwrap();
        for path in ["../x", "/etc/x", "a//b", "a/./b", "", "link/x", "file"] {
            assert!(write(home.path().as_os_str().as_bytes(), &[seed(path, 0o600)]).is_err(), "{path}");
        }
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
