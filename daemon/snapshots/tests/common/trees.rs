//! Trees that can be made.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    reason = "shared; each test binary uses its part"
)]

use proptest::{collection::vec, prelude::*, sample::Index};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileExt as _, PermissionsExt as _, symlink},
    },
    path::{Path, PathBuf},
};

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 0..40)
}

#[derive(Clone, Debug)]
pub enum Step {
    Directory(Index, Vec<u8>),
    File(Index, Vec<u8>, Vec<u8>),
    Large(Index, Vec<u8>, u32),
    Sparse(Index, Vec<u8>, Vec<(u32, u8)>, u32),
    Symlink(Index, Vec<u8>, Vec<u8>),
    Hardlink(Index, Index, Vec<u8>),
    Mode(Index, u32),
    Time(Index, i32, u32),
    Remove(Index),
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_map(|b| if matches!(b, 0 | b'/') { b'x' } else { b });
    prop_oneof![Just(b"a".to_vec()), Just(vec![b'n'; 255]), vec(byte, 1..12)]
}

fn step() -> impl Strategy<Value = Step> {
    let at = any::<Index>;
    prop_oneof![
        3 => (at(), name()).prop_map(|(a, n)| Step::Directory(a, n)),
        4 => (at(), name(), vec(any::<u8>(), 0..5000)).prop_map(|(a, n, b)| Step::File(a, n, b)),
        1 => (at(), name(), 1_000_000..3_000_000u32).prop_map(|(a, n, s)| Step::Large(a, n, s)),
        1 => (at(), name(), vec((0..20_000_000u32, any::<u8>()), 0..4), 0..20_000_000u32)
            .prop_map(|(a, n, w, s)| Step::Sparse(a, n, w, s)),
        2 => (at(), name(), vec(1u8.., 1..100)).prop_map(|(a, n, t)| Step::Symlink(a, n, t)),
        2 => (at(), at(), name()).prop_map(|(a, b, n)| Step::Hardlink(a, b, n)),
        2 => (at(), 0..0o1000u32).prop_map(|(a, m)| Step::Mode(a, m)),
        2 => (at(), any::<i32>(), 0..1_000_000_000u32).prop_map(|(a, s, n)| Step::Time(a, s, n)),
        1 => at().prop_map(Step::Remove),
    ]
}

/// What cannot be done, as a name that is taken or a link to a directory, is not done.
pub fn make(root: &Path, steps: Vec<Step>) {
    let mut dirs = vec![root.to_path_buf()];
    let mut all: Vec<PathBuf> = Vec::new();
    for step in steps {
        let under = |at: &Index, name: &[u8]| dirs[at.index(dirs.len())].join(OsStr::from_bytes(name));
        let fresh = |path: &Path| fs::File::options().write(true).create_new(true).open(path);
        match step {
            Step::Directory(at, name) => {
                let path = under(&at, &name);
                if fs::create_dir(&path).is_ok() {
                    dirs.push(path);
                }
            }
            Step::File(at, name, bytes) => {
                let path = under(&at, &name);
                if let Ok(file) = fresh(&path) {
                    file.write_all_at(&bytes, 0).unwrap();
                    all.push(path);
                }
            }
            Step::Large(at, name, size) => {
                let path = under(&at, &name);
                if let Ok(file) = fresh(&path) {
                    let bytes: Vec<u8> = (0..size).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
                    file.write_all_at(&bytes, 0).unwrap();
                    all.push(path);
                }
            }
            Step::Sparse(at, name, writes, size) => {
                let path = under(&at, &name);
                if let Ok(file) = fresh(&path) {
                    file.set_len(size.into()).unwrap();
                    for (offset, byte) in writes {
                        file.write_all_at(&[byte], offset.into()).unwrap();
                    }
                    all.push(path);
                }
            }
            Step::Symlink(at, name, target) => {
                let path = under(&at, &name);
                if symlink(OsStr::from_bytes(&target), &path).is_ok() {
                    all.push(path);
                }
            }
            Step::Hardlink(from, at, name) if !all.is_empty() => {
                let from = &all[from.index(all.len())];
                let path = under(&at, &name);
                if fs::symlink_metadata(from).is_ok_and(|m| m.is_file()) && fs::hard_link(from, &path).is_ok()
                {
                    all.push(path);
                }
            }
            Step::Remove(at) if !all.is_empty() => {
                fs::remove_file(all.swap_remove(at.index(all.len()))).unwrap();
            }
            Step::Mode(at, mode) => {
                let every: Vec<_> = dirs.iter().chain(&all).collect();
                let path = every[at.index(every.len())];
                if !fs::symlink_metadata(path).unwrap().is_symlink() {
                    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
                }
            }
            Step::Time(at, seconds, nanos) => {
                let every: Vec<_> = dirs.iter().chain(&all).collect();
                let time = Timespec { tv_sec: seconds.into(), tv_nsec: nanos.into() };
                let times = Timestamps { last_access: time, last_modification: time };
                utimensat(CWD, every[at.index(every.len())], &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
            }
            Step::Hardlink(..) | Step::Remove(_) => {}
        }
    }
}
