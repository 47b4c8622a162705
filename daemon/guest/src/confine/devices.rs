//! `/proc` and `/dev` of the local wall.

use super::{
    attach::{self, Attributes},
    error::{Error, at},
    view::View,
};
use rustix::{
    fs::{FileType, Mode},
    io::Errno,
};
use std::{os::fd::AsFd as _, path::Path};

/// Of the host and not of the sandbox: left readable, because programs look there.
const READ_ONLY: [&str; 4] = ["sys", "irq", "bus", "fs"];

/// Of the host, and of use to nobody but an attacker.
const HIDDEN: [&str; 12] = [
    "acpi",
    "asound",
    "kcore",
    "key-users",
    "keys",
    "kpagecount",
    "latency_stats",
    "sched_debug",
    "scsi",
    "sysrq-trigger",
    "timer_list",
    "timer_stats",
];

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// A new /proc: it shows the processes of the new PID namespace only.
pub(super) fn proc(view: &mut View, path: &Path) -> Result<(), Error> {
    let target = view.mount_point(path, FileType::Directory)?;
    let attributes = Attributes { writable: true, ..Attributes::INERT };
    attach::new_filesystem(c"proc", target.as_fd(), attributes, c"", path)?;
    for name in READ_ONLY {
        let below = path.join(name);
        if let Some(place) = present(view, &below)? {
            attach::bind(place.as_fd(), place.as_fd(), Attributes::INERT, &below)?;
        }
    }
    for name in HIDDEN {
        let below = path.join(name);
        let Some(place) = present(view, &below)? else { continue };
        let stat = rustix::fs::fstat(&place).map_err(at("look at", &below))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            view.tmpfs(&below, Attributes::INERT, 0, 0o555, false)?;
        } else {
            view.mask_file(&below)?;
        }
    }
    Ok(())
}

fn present(view: &View, path: &Path) -> Result<Option<std::os::fd::OwnedFd>, Error> {
    match view.open(path) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(at("open", path)(e)),
    }
}

/// A /dev of its own with the devices that every program expects, its own
/// terminals, and shared memory of a limited size.
pub(super) fn dev(view: &mut View, path: &Path, shm_bytes: u64) -> Result<(), Error> {
    let target = view.mount_point(path, FileType::Directory)?;
    let making = Attributes { writable: true, ..Attributes::INERT };
    attach::new_filesystem(c"tmpfs", target.as_fd(), making, c"mode=0755,size=64k,nr_inodes=64", path)?;
    let directory = view.open(path).map_err(at("open", path))?;
    for name in DEVICES {
        let place = path.join(name);
        let source = attach::open_source(&Path::new("/dev").join(name))?;
        rustix::fs::mknodat(&directory, name, FileType::RegularFile, Mode::from_raw_mode(0o666), 0)
            .map_err(at("make the mount point", &place))?;
        let target = view.open(&place).map_err(at("open", &place))?;
        let usable = Attributes { devices: true, ..Attributes::INERT };
        attach::bind(source.as_fd(), target.as_fd(), usable, &place)?;
    }
    for (name, text) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        rustix::fs::symlinkat(text, &directory, name).map_err(at("make the link", &path.join(name)))?;
    }
    for name in ["pts", "shm"] {
        rustix::fs::mkdirat(&directory, name, Mode::from_raw_mode(0o755))
            .map_err(at("make the directory", &path.join(name)))?;
    }
    let pts = path.join("pts");
    let target = view.open(&pts).map_err(at("open", &pts))?;
    let terminals = Attributes { writable: true, executable: false, devices: true };
    let options = c"newinstance,ptmxmode=0666,mode=0620";
    attach::new_filesystem(c"devpts", target.as_fd(), terminals, options, &pts)?;
    view.tmpfs(&path.join("shm"), making, shm_bytes.max(1 << 20), 0o1777, true)?;
    attach::set_attributes(directory.as_fd(), Attributes::INERT, false)
        .map_err(at("restrict the mount at", path))
}
