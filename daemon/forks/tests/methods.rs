//! Every way to fork gives the same tree, and what is done in it stays in it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{World, is_root, is_there, needs_root, picture};
use cordon_forks::{
    Fork, ForkError, ForkRequest, Method, detect, detect_unmounted, look, look_around, place,
};
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
        assert!(!is_there(&world.at()));
        assert_eq!(picture(&world.tree), before, "{method}");
    }
}

#[test]
fn what_is_done_in_a_fork_stays_in_it() {
    for method in methods() {
        let world = World::new();
        fill(&world);
        let before = picture(&world.tree);
        let fork = world.fork(method).unwrap();
        let at = |name: &str| fork.root().join(name);
        fs::write(at("a"), "changed").unwrap();
        fs::write(at("new"), "new").unwrap();
        fs::remove_file(at("d/e/f")).unwrap();
        fs::rename(at("d/run.sh"), at("moved.sh")).unwrap();
        fs::remove_dir(at("empty")).unwrap();
        fs::create_dir(at("empty")).unwrap();
        fs::write(at("empty/in"), "").unwrap();
        fs::set_permissions(at("d"), fs::Permissions::from_mode(0o711)).unwrap();
        fs::remove_file(at("link")).unwrap();
        symlink("/elsewhere", at("link")).unwrap();
        assert_eq!(picture(&world.tree), before, "{method}");
        assert_eq!(fs::read_to_string(Fork::open(&world.at()).unwrap().root().join("a")).unwrap(), "changed");
        Fork::remove(&world.at()).unwrap();
        assert_eq!(picture(&world.tree), before, "{method}");
    }
}

#[test]
fn of_what_is_left_out_there_is_nothing() {
    for method in methods() {
        let world = World::new();
        fill(&world);
        for name in [".env", "d/e/key.pem", ".ssh/id_rsa", "d/.aws/deep/credentials"] {
            world.write(name, "secret");
        }
        let before = picture(&world.tree);
        let leave_out: Vec<PathBuf> =
            [".env", "d/e/key.pem", ".ssh", "d/.aws", "d/.aws/deep", "gone/x", "a/below-a-file"]
                .map(PathBuf::from)
                .into();
        let at = world.at();
        let request = ForkRequest { leave_out: &leave_out, ..world.request(&at, method) };
        let fork = Fork::make(&request, &mut |_, _| ()).unwrap();
        let after = picture(fork.root());
        assert!(after.values().all(|told| !told.contains("secret")), "{method} {after:?}");
        for (name, is_directory) in
            [(".env", false), ("d/e/key.pem", false), (".ssh", true), ("d/.aws", true)]
        {
            let meta = fork.root().join(name).symlink_metadata().unwrap();
            assert_eq!((meta.is_dir(), meta.mode() & 0o777), (is_directory, 0), "{method} {name}");
        }
        // Everything else is as it was, the directories around them too.
        let hidden = |path: &Path| leave_out.iter().any(|out| path.starts_with(out));
        let rest = |all: &std::collections::BTreeMap<PathBuf, String>| {
            all.clone().into_iter().filter(|(path, _)| !hidden(path)).collect::<Vec<_>>()
        };
        assert_eq!(rest(&after), rest(&before), "{method}");
        assert_eq!(picture(&world.tree), before, "{method}");
        // Nor does it come back after a reboot.
        if method == Method::Overlay {
            rustix::mount::unmount(fork.root(), rustix::mount::UnmountFlags::empty()).unwrap();
            let again = Fork::open(&at).unwrap();
            assert!(picture(again.root()).values().all(|told| !told.contains("secret")));
        }
    }
}

#[test]
fn an_absent_name_is_held_and_nothing_else_is_touched() {
    for method in methods() {
        let world = World::new();
        fill(&world);
        fs::create_dir(world.root.join("elsewhere")).unwrap();
        symlink(world.root.join("elsewhere"), world.tree.join("out")).unwrap();
        let before = picture(&world.tree);
        let fork = world.fork(method).unwrap();
        let hold = |name: &str, is_directory| fork.hold(Path::new(name), is_directory, common::USER);
        assert!(hold(".git", true).unwrap());
        assert!(hold("d/e/.mcp.json", false).unwrap());
        assert!(!hold("a", false).unwrap() && !hold("link", true).unwrap());
        for bad in ["out/x", "absent/x", "../x", ""] {
            hold(bad, false).unwrap_err();
        }
        let mut after = picture(fork.root());
        after.remove(Path::new(".git")).unwrap();
        after.remove(Path::new("d/e/.mcp.json")).unwrap();
        assert_eq!(after, before, "{method}");
        assert_eq!(fs::read_dir(world.root.join("elsewhere")).unwrap().count(), 0);
    }
}

#[test]
fn a_single_file_stands_alone_in_its_fork() {
    for method in methods() {
        let world = World::new();
        let file = world.write("notes, old:\n.txt", "text");
        world.write("other", "other");
        let at = world.at();
        let request = ForkRequest { tree: &file, is_directory: false, ..world.request(&at, method) };
        let fork = Fork::make(&request, &mut |_, _| ()).unwrap();
        assert_ne!(fork.method(), Method::Overlay);
        assert_eq!(fork.root(), place(&at, &file, false));
        assert_eq!(fork.root(), fork.tree().join("notes, old:\n.txt"));
        assert_eq!(fs::read_dir(fork.tree()).unwrap().count(), 1);
        fs::write(fork.root(), "changed").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "text");
        if is_root() {
            assert_eq!(fork.tree().metadata().unwrap().uid(), common::USER.uid);
        }
        assert_eq!(Fork::open(&at).unwrap().root(), fork.root());
        // The other kind than was promised.
        let other = world.at().with_file_name("1");
        let wrong = ForkRequest { at: &other, is_directory: true, ..request };
        assert!(matches!(Fork::make(&wrong, &mut |_, _| ()), Err(ForkError::Kind { .. })));
        assert!(!is_there(&other));
    }
}

#[test]
fn a_path_may_have_any_bytes() {
    for method in methods() {
        let mut world = World::new();
        let odd = world.root.join(OsStr::from_bytes(b"a:b,c\\d=\"e\nf\xff lowerdir=/"));
        fs::rename(&world.tree, &odd).unwrap();
        world.tree = odd;
        world.write("x", "x");
        let fork = world.fork(method).unwrap();
        assert_eq!(fs::read_to_string(fork.root().join("x")).unwrap(), "x");
        assert_eq!(Fork::open(&world.at()).unwrap().root(), fork.root());
    }
}

#[test]
fn the_way_to_fork_is_found_by_trying_and_said() {
    let world = World::new();
    world.write("x", "x");
    let expected = if is_root() { Method::Overlay } else { Method::Copy };
    assert_eq!(detect(&world.forks(), &world.tree), expected);
    assert_eq!(look_around(&world.forks()).unwrap().method, expected);
    assert_eq!(fs::read_dir(world.forks()).unwrap().count(), 0, "a trial was left");
    if !is_root() {
        return;
    }
    // An overlay is no place for the changes of another one, and shares no blocks with anything.
    let fork = world.fork(Method::Overlay).unwrap();
    let found = look(&fork.root().join("forks"), &world.tree);
    assert_eq!(found.method, Method::Copy);
    assert!(found.why.contains("overlay") && found.why.contains("share blocks"), "{}", found.why);
    assert_eq!(detect_unmounted(&fork.root().join("forks"), &world.tree), Method::Copy);
    // What a file is forked by, and what is not there.
    assert_eq!(detect(&world.forks(), &world.tree.join("x")), Method::Copy);
    assert_eq!(detect(&world.forks(), &world.tree.join("absent")), Method::Copy);
}

#[test]
fn a_reboot_takes_a_mount_and_not_the_fork() {
    if !needs_root() {
        return;
    }
    let world = World::new();
    fill(&world);
    let fork = world.fork(Method::Overlay).unwrap();
    fs::write(fork.root().join("a"), "changed").unwrap();
    fs::remove_dir_all(fork.root().join("d")).unwrap();
    let before = picture(fork.root());
    rustix::mount::unmount(fork.root(), rustix::mount::UnmountFlags::empty()).unwrap();
    assert_eq!(fs::read_dir(fork.root()).unwrap().count(), 0);
    assert_eq!(picture(Fork::open(&world.at()).unwrap().root()), before);
    rustix::mount::unmount(fork.root(), rustix::mount::UnmountFlags::empty()).unwrap();
    fs::rename(&world.tree, world.root.join("away")).unwrap();
    assert!(matches!(Fork::open(&world.at()), Err(ForkError::Io { .. })));
    fs::create_dir(&world.tree).unwrap();
    let error = Fork::open(&world.at()).unwrap_err();
    assert!(matches!(error, ForkError::Replaced { .. }), "{error}");
    Fork::remove(&world.at()).unwrap();
}

#[test]
fn wherever_a_making_died_it_is_found_and_removed() {
    let world = World::new();
    fill(&world);
    let before = picture(&world.tree);
    let at = world.at();
    assert!(matches!(Fork::open(&at), Err(ForkError::Io { .. })));
    Fork::remove(&at).unwrap();
    for made in [&[][..], &["tree"], &["tree", "upper", "work", "record.part"], &["tree/d"]] {
        for name in made {
            fs::create_dir_all(at.join(name)).unwrap();
        }
        fs::create_dir_all(&at).unwrap();
        assert!(matches!(Fork::open(&at), Err(ForkError::HalfMade(_))), "{made:?}");
        assert!(matches!(world.fork(Method::Copy), Err(ForkError::Exists(_))), "{made:?}");
        Fork::remove(&at).unwrap();
        assert!(!is_there(&at));
    }
    if is_root() {
        // Whole, and not mounted yet.
        let fork = world.fork(Method::Overlay).unwrap();
        rustix::mount::unmount(fork.root(), rustix::mount::UnmountFlags::empty()).unwrap();
        Fork::remove(&at).unwrap();
    }
    Fork::remove(&at).unwrap();
    assert_eq!(picture(&world.tree), before);
}

#[test]
fn a_copy_says_how_far_it_is_and_can_be_stopped() {
    let world = World::new();
    let before = picture(&world.tree);
    fill(&world);
    let (mut last, mut whole) = (0, 0);
    Fork::make(&world.request(&world.at(), Method::Copy), &mut |done, total| {
        assert!(done >= last && total >= done, "{done} of {total} after {last}");
        (last, whole) = (done, total);
    })
    .unwrap();
    assert!(last == whole && last > 0);
    Fork::remove(&world.at()).unwrap();
    let cancel = AtomicBool::new(true);
    let at = world.at();
    let request = ForkRequest { cancel: Some(&cancel), ..world.request(&at, Method::Copy) };
    assert!(matches!(Fork::make(&request, &mut |_, _| ()), Err(ForkError::Cancelled)));
    assert!(!is_there(&at) && picture(&world.tree) != before);
}

#[test]
fn what_is_no_file_is_named_and_left_where_it_is() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let world = World::new();
    world.write("x", "x");
    mknodat(CWD, world.tree.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(world.tree.join("socket")).unwrap();
    if is_root() {
        let device = rustix::fs::makedev(1, 3);
        mknodat(CWD, world.tree.join("device"), FileType::CharacterDevice, Mode::RUSR, device).unwrap();
    }
    let fork = world.fork(Method::Copy).unwrap();
    let mut skipped: Vec<_> =
        fork.skipped().iter().map(|s| (s.path.to_str().unwrap(), s.why.as_str())).collect();
    skipped.sort_unstable();
    let expected = [("device", "device"), ("fifo", "fifo"), ("socket", "socket")];
    assert_eq!(skipped, expected[usize::from(!is_root())..]);
    assert_eq!(fs::read_dir(fork.root()).unwrap().count(), 1);
    assert_eq!(Fork::open(&world.at()).unwrap().skipped(), fork.skipped());
}

#[test]
fn a_tree_that_is_too_deep_is_refused_by_name() {
    let world = World::new();
    let mut path = world.tree.clone();
    for _ in 0..250 {
        path.push("d");
        fs::create_dir(&path).unwrap();
    }
    let error = world.fork(Method::Copy).unwrap_err();
    assert!(matches!(&error, ForkError::TooDeep { path, most: 200 } if path.ends_with("d/d")), "{error}");
    assert!(!is_there(&world.at()));
}

/// Whoever walks the fork takes what has another device number for something that is mounted in it.
#[test]
fn a_fork_of_a_tree_on_another_filesystem_looks_like_one() {
    if !needs_root() {
        return;
    }
    let (world, far) = (World::new(), tempfile::tempdir_in("/dev/shm").unwrap());
    let tree = far.path().canonicalize().unwrap();
    assert_ne!(tree.metadata().unwrap().dev(), world.root.metadata().unwrap().dev());
    fs::create_dir(tree.join("d")).unwrap();
    fs::write(tree.join("d/old"), "old").unwrap();
    let (at, method) = (world.at(), detect(&world.forks(), &tree));
    let request = ForkRequest { tree: &tree, ..world.request(&at, method) };
    let fork = Fork::make(&request, &mut |_, _| ()).unwrap();
    fs::write(fork.root().join("new"), "new").unwrap();
    let device = fork.root().metadata().unwrap().dev();
    for name in ["d", "d/old", "new"] {
        assert_eq!(fork.root().join(name).symlink_metadata().unwrap().dev(), device, "{method} {name}");
    }
}
