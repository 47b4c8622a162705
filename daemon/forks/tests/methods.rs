//! Every way to fork gives the same tree, and what is done in it stays in it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{World, is_root, needs_root, picture};
use cordon_forks::{Fork, ForkError, ForkRequest, Method, detect, detect_unmounted, look, place};
use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink},
    },
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

fn methods() -> Vec<Method> {
    if is_root() { vec![Method::Overlay, Method::Copy, Method::Reflink] } else { vec![Method::Copy] }
}

/// A tree with one of everything.
fn fill(world: &World) {
    world.write("a", "a");
    world.write("d/e/f", "deep");
    world.write("d/run.sh", "#!/bin/sh\n");
    fs::set_permissions(world.tree.join("d/run.sh"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::set_permissions(world.tree.join("d/e"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::hard_link(world.tree.join("a"), world.tree.join("z")).unwrap();
    fs::create_dir(world.tree.join("empty")).unwrap();
    symlink("/etc/shadow", world.tree.join("link")).unwrap();
    symlink("nowhere", world.tree.join("d/dangling")).unwrap();
    fs::write(world.tree.join(OsStr::from_bytes(b"odd:\\,=\n\xff")), "odd").unwrap();
    let sparse = fs::File::create(world.tree.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    sparse.write_all_at(b"middle", 20 << 20).unwrap();
}

#[test]
fn a_fork_is_the_tree_again() {
    for method in methods() {
        let world = World::new();
        fill(&world);
        let before = picture(&world.tree);
        let fork = world.fork(method).unwrap();
        assert_eq!(fork.method(), method);
        assert_eq!(picture(fork.root()), before, "{method}");
        let sparse = fork.root().join("sparse").metadata().unwrap();
        assert!(sparse.blocks() * 512 < 1 << 20, "{method}: {} blocks", sparse.blocks());
        // And again after the daemon has been away.
        let again = Fork::open(&world.at()).unwrap();
        assert_eq!(again.root(), fork.root());
        Fork::remove(&world.at()).unwrap();
        assert!(!world.at().exists());
        assert_eq!(picture(&world.tree), before, "{method}");
    }
}
