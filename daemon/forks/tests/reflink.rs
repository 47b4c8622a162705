//! On a filesystem that shares blocks a fork costs none.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{World, is_root, picture};
use cordon_forks::{Fork, Method, detect, detect_unmounted};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A btrfs of its own in a file.
struct Disk {
    dir: tempfile::TempDir,
    at: PathBuf,
}

impl Disk {
    /// None: the test was left out by name. Whoever has not what it takes fails.
    fn new() -> Option<Self> {
        let skipped = std::env::var("CORDON_TEST_SKIP").unwrap_or_default();
        if skipped.split(',').any(|s| s.trim() == "btrfs") {
            return None;
        }
        assert!(is_root(), "needs root, or CORDON_TEST_SKIP=btrfs");
        let dir = tempfile::tempdir().unwrap();
        let (image, at) = (dir.path().join("image"), dir.path().join("disk"));
        fs::File::create(&image).unwrap().set_len(300 << 20).unwrap();
        fs::create_dir(&at).unwrap();
        let run = |program: &str, arguments: &[&Path]| {
            let done = Command::new(program).args(arguments).output();
            let done = done.unwrap_or_else(|e| panic!("{program}: {e}; or set CORDON_TEST_SKIP=btrfs"));
            assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
        };
        run("mkfs.btrfs", &[Path::new("-q"), &image]);
        run("mount", &[Path::new("-o"), Path::new("loop"), &image, &at]);
        Some(Self { dir, at })
    }

    fn free(&self) -> u64 {
        Command::new("sync").status().unwrap();
        let stat = rustix::fs::statvfs(&self.at).unwrap();
        stat.f_bavail * stat.f_frsize
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.at, rustix::mount::UnmountFlags::DETACH);
        let _ = &self.dir;
    }
}

#[test]
fn a_reflink_shares_blocks_until_something_changes() {
    let Some(disk) = Disk::new() else { return };
    let world = World::in_directory(&disk.at);
    let mut content = vec![0u8; 40 << 20];
    let mut state = 1u64;
    for word in content.chunks_mut(8) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        word.copy_from_slice(&state.to_le_bytes());
    }
    fs::write(world.tree.join("large"), &content).unwrap();
    world.write("d/small", "small");
    let before = picture(&world.tree);
    assert_eq!(detect(&world.forks(), &world.tree), Method::Overlay);
    assert_eq!(detect_unmounted(&world.forks(), &world.tree), Method::Reflink);
    let free = disk.free();
    let fork = world.fork(Method::Reflink).unwrap();
    assert!(free.saturating_sub(disk.free()) < 10 << 20, "it was copied");
    assert_eq!(picture(fork.root()), before);
    fs::write(fork.root().join("large"), "gone").unwrap();
    assert_eq!(picture(&world.tree), before);
    Fork::remove(&world.at()).unwrap();
    assert_eq!(picture(&world.tree), before);
    // Another filesystem shares nothing with it.
    let elsewhere = World::new();
    elsewhere.write("x", "x");
    assert_eq!(detect_unmounted(&world.forks(), &elsewhere.tree), Method::Copy);
    // And what was to be shared is copied where it cannot be.
    let at = world.at();
    let request = cordon_forks::ForkRequest { tree: &elsewhere.tree, ..world.request(&at, Method::Reflink) };
    let fork = Fork::make(&request, &mut |_, _| ()).unwrap();
    assert_eq!(fs::read_to_string(fork.root().join("x")).unwrap(), "x");
}
