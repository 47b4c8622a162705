use cordon_proto::guest::{ProbeRequest, ProbeResponse, probe_response::PathResult};
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir},
    io::Errno,
};
use std::{ffi::OsStr, mem::MaybeUninit, os::unix::ffi::OsStrExt as _, path::Path};

/// Tries each path that the daemon asks about. The errors come back as they are.
pub(super) fn look(request: &ProbeRequest, response: &mut ProbeResponse) {
    for path in request.must_not_read.iter().chain(&request.must_read) {
        response.paths.push(result(path, "read", read));
    }
    for path in request.must_not_write.iter().chain(&request.must_write) {
        response.paths.push(result(path, "write", write));
    }
}

fn result(path: &bytes::Bytes, operation: &str, attempt: fn(&Path) -> Result<(), Errno>) -> PathResult {
    let errno = match attempt(Path::new(OsStr::from_bytes(path))) {
        Ok(()) => 0,
        Err(e) => u32::try_from(e.raw_os_error()).unwrap_or(u32::MAX),
    };
    PathResult { path: path.clone(), operation: operation.to_owned(), errno }
}

/// Reads one byte of a file, or one entry of a directory.
fn read(path: &Path) -> Result<(), Errno> {
    // A FIFO must not hold the probe up.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) == FileType::Directory {
        let mut buffer = [MaybeUninit::uninit(); 1024];
        return match RawDir::new(&file, &mut buffer).next() {
            Some(Err(e)) => Err(e),
            Some(Ok(_)) | None => Ok(()),
        };
    }
    match rustix::io::read(&file, &mut [0u8; 1]) {
        Ok(_) | Err(Errno::AGAIN) => Ok(()),
        Err(e) => Err(e),
    }
}

/// Creates a file in a directory and removes it, or opens a file for writing and
/// leaves it as it is.
fn write(path: &Path) -> Result<(), Errno> {
    let place = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode) != FileType::Directory {
        return rustix::fs::openat(CWD, path, flags, Mode::empty()).map(drop);
    }
    let name = format!(".cordon-probe-{}", std::process::id());
    rustix::fs::openat(&place, &name, flags | OFlags::CREATE | OFlags::EXCL, Mode::RUSR)?;
    // A tree in which things can be made but not removed is not what was promised either.
    rustix::fs::unlinkat(&place, &name, AtFlags::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_leaves_nothing_behind_and_reading_finds_what_is_there() {
        let directory = std::env::temp_dir().join(format!("cordon-probe-test-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        assert_eq!(write(&directory), Ok(()));
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
        assert_eq!(read(&directory), Ok(()));
        assert_eq!(read(&directory.join("missing")), Err(Errno::NOENT));
        let file = directory.join("file");
        std::fs::write(&file, b"kept").unwrap();
        assert_eq!(write(&file), Ok(()));
        assert_eq!(std::fs::read(&file).unwrap(), b"kept");
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
