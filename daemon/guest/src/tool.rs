//! `cordon-guest tool`: one file operation, done for real by the process that asks,
//! with the rights that it has inside.

use rustix::{
    fs::{FileType, Mode, OFlags, fstat, ftruncate, open},
    io::Errno,
};
use std::{ffi::OsStr, fs::File, io, process::ExitCode};

/// The operation was refused; one line of JSON on standard error says why.
const REFUSED: u8 = 100;

/// Copies a file to standard output.
pub(crate) fn read(path: &OsStr) -> ExitCode {
    let result = open_regular(path, OFlags::RDONLY).and_then(|mut file| {
        io::copy(&mut file, &mut io::stdout().lock()).map(drop).map_err(|error| errno(&error))
    });
    report(result, "read", path)
}

/// Writes standard input to a file, which is made if its directory is there.
pub(crate) fn write(path: &OsStr) -> ExitCode {
    let result = open_regular(path, OFlags::WRONLY | OFlags::CREATE).and_then(|mut file| {
        ftruncate(&file, 0)?;
        io::copy(&mut io::stdin().lock(), &mut file).map(drop).map_err(|error| errno(&error))
    });
    report(result, "write", path)
}

/// Opens a regular file. What would block (a FIFO) or act (a device) is refused.
fn open_regular(path: &OsStr, flags: OFlags) -> Result<File, Errno> {
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::from_raw_mode(0o666))?;
    match FileType::from_raw_mode(fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(File::from(file)),
        FileType::Directory => Err(Errno::ISDIR),
        _ => Err(Errno::NXIO),
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn report(result: Result<(), Errno>, operation: &str, path: &OsStr) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(errno) => {
            eprintln!("{}", refusal(errno, operation, &path.to_string_lossy()));
            ExitCode::from(REFUSED)
        }
    }
}

fn refusal(errno: Errno, operation: &str, path: &str) -> String {
    let errno = errno.raw_os_error();
    format!(r#"{{"errno":{errno},"operation":"{operation}","path":"{}"}}"#, escaped(path))
}

fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            // C1 controls steer terminals as well.
            control if control.is_control() => {
                let _ = write!(escaped, "\\u{:04x}", u32::from(control));
            }
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifo_and_a_device_are_refused_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::RWXU).unwrap();
        let refused = |path: &OsStr, flags| open_regular(path, flags).unwrap_err();
        assert_eq!(refused(fifo.as_os_str(), OFlags::RDONLY), Errno::NXIO);
        assert_eq!(refused(fifo.as_os_str(), OFlags::WRONLY), Errno::NXIO);
        assert_eq!(refused(OsStr::new("/dev/null"), OFlags::RDONLY), Errno::NXIO);
        assert_eq!(refused(directory.path().as_os_str(), OFlags::RDONLY), Errno::ISDIR);
    }

    #[test]
    fn refusals_are_one_line_of_json() {
        let line = refusal(Errno::ACCESS, "read", "/a\"b\\\n\u{1b}");
        assert_eq!(line, r#"{"errno":13,"operation":"read","path":"/a\"b\\\u000a\u001b"}"#);
    }
}
