mod comparing;
mod copies;
mod deletes;
mod mounts;
mod races;

use std::{ffi::CString, path::Path};

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};

/// A directory in a directory in a directory, deeper than any path can say.
fn deep(at: &Path, levels: usize) {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut fd = openat(CWD, at, flags, Mode::empty()).unwrap();
    let name = CString::new("deeper").unwrap();
    for _ in 0..levels {
        mkdirat(&fd, &name, Mode::RWXU).unwrap();
        fd = openat(&fd, &name, flags, Mode::empty()).unwrap();
    }
    let file = openat(&fd, "file", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR | Mode::WUSR).unwrap();
    rustix::io::write(&file, b"deep").unwrap();
}
