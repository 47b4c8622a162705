//! What an agent leaves in a fork, and what a daemon that died leaves around one: it means nothing,
//! and the user's tree never pays for it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{USER, World, is_root, is_there, needs_root, picture};
use cordon_forks::{Fork, ForkError, Method};
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, XattrFlags},
    io::Errno,
    mount::{MountPropagationFlags, UnmountFlags},
};
use std::{
    fs,
    io::{self, ErrorKind},
    os::fd::AsRawFd as _,
    os::unix::{
        fs::{PermissionsExt as _, chown, symlink},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

/// Does something as the agent: another user, without any right of root's.
fn as_agent<T: Send>(what: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let agent = scope.spawn(|| {
            let (user, group) =
                (rustix::process::Uid::from_raw(USER.uid), rustix::process::Gid::from_raw(USER.gid));
            rustix::thread::set_thread_groups(&[]).unwrap();
            rustix::thread::set_thread_res_gid(group, group, group).unwrap();
            rustix::thread::set_thread_res_uid(user, user, user).unwrap();
            what()
        });
        agent.join().unwrap()
    })
}

fn give(tree: &Path) {
    for path in picture(tree).into_keys() {
        rustix::fs::chownat(
            CWD,
            tree.join(path),
            Some(rustix::fs::Uid::from_raw(USER.uid)),
            Some(rustix::fs::Gid::from_raw(USER.gid)),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .unwrap();
    }
}

fn set(path: &Path, name: &str, value: &[u8]) -> Result<(), Errno> {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())
}

#[test]
fn what_an_agent_writes_into_its_layer_means_nothing() {
    if !needs_root() {
        return;
    }
    let world = World::new();
    for name in ["d/one", "d/sub/two", "e/three", "four"] {
        world.write(name, name);
    }
    fs::create_dir(world.root.join("outside")).unwrap();
    fs::write(world.root.join("outside/canary"), "canary").unwrap();
    give(&world.tree);
    let before = picture(&world.tree);
    let fork = world.fork(Method::Overlay).unwrap();
    let outside = world.root.join("outside");
    // As a sandbox has it: the tree, and nothing of what holds it.
    let held = rustix::fs::open(fork.root(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let root = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()));
    as_agent(|| {
        // A whiteout of one's own.
        let whiteout = rustix::fs::mknodat(CWD, root.join("w"), FileType::CharacterDevice, Mode::RUSR, 0);
        assert_eq!(whiteout, Err(Errno::PERM));
        for (path, name, value) in [
            ("d", "opaque", "y"),
            ("d", "redirect", "/../../outside"),
            ("d", "origin", "x"),
            ("e/three", "whiteout", "y"),
            ("e", "whiteouts", "y"),
            ("four", "metacopy", ""),
            ("four", "redirect", "/etc/shadow"),
        ] {
            let path = root.join(path);
            let trusted = set(&path, &format!("trusted.overlay.{name}"), value.as_bytes());
            assert_eq!(trusted, Err(Errno::PERM), "{name}");
            // This one is the agent's to write, and nobody's to read.
            let _ = set(&path, &format!("user.overlay.{name}"), value.as_bytes());
        }
        // Directories are not moved, or moved whole.
        let moved = fs::rename(root.join("d"), root.join("moved"));
        assert!(moved.is_err_and(|e| e.kind() == ErrorKind::CrossesDevices));
        fs::hard_link(root.join("four"), root.join("five")).unwrap();
        fs::write(root.join("five"), "five").unwrap();
        fs::create_dir(root.join("new")).unwrap();
        fs::rename(root.join("new"), root.join("e/new")).unwrap();
        symlink(&outside, root.join("out")).unwrap();
    });
    let seen = |root: &Path| {
        for name in ["d/one", "d/sub/two", "e/three"] {
            assert_eq!(fs::read_to_string(root.join(name)).unwrap(), name);
        }
        assert_eq!(fs::read_to_string(root.join("four")).unwrap(), "five");
        assert_eq!(fs::read_dir(root.join("d")).unwrap().count(), 2);
        assert_eq!(fs::read_link(root.join("out")).unwrap(), outside);
    };
    seen(&root);
    drop(held);
    // What the kernel reads of the layer when it is mounted anew says the same.
    rustix::mount::unmount(fork.root(), UnmountFlags::empty()).unwrap();
    seen(Fork::open(&world.at()).unwrap().root());
    Fork::remove(&world.at()).unwrap();
    assert_eq!(picture(&world.tree), before);
    assert_eq!(fs::read_to_string(outside.join("canary")).unwrap(), "canary");
}

#[test]
fn a_fork_gives_the_agent_nothing_that_the_tree_did_not() {
    if !needs_root() {
        return;
    }
    for method in [Method::Overlay, Method::Copy] {
        let world = World::new();
        world.write("theirs", "theirs");
        world.write("closed/in", "in");
        give(&world.tree);
        for (name, mode) in [("secret", 0o600), ("shared", 0o644), ("setuid", 0o4755)] {
            let path = world.write(name, name);
            chown(&path, Some(0), Some(0)).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        chown(world.tree.join("closed"), Some(0), Some(0)).unwrap();
        fs::set_permissions(world.tree.join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
        let fork = world.fork(method).unwrap();
        // What holds forks is nobody else's to look into: a sandbox is handed the tree itself.
        let root = rustix::fs::open(fork.root(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        as_agent(|| {
            let open = |name: &str, flags: OFlags| {
                rustix::fs::openat(&root, name, flags | OFlags::CLOEXEC, Mode::empty()).map(drop)
            };
            assert_eq!(
                rustix::fs::open(world.forks(), OFlags::RDONLY, Mode::empty()).err(),
                Some(Errno::ACCESS)
            );
            assert_eq!(open("theirs", OFlags::RDWR), Ok(()), "{method}");
            assert_eq!(open("secret", OFlags::RDONLY), Err(Errno::ACCESS), "{method}");
            assert_eq!(open("shared", OFlags::RDONLY), Ok(()), "{method}");
            assert_eq!(open("shared", OFlags::WRONLY), Err(Errno::ACCESS), "{method}");
            assert_eq!(open("closed/in", OFlags::RDONLY), Err(Errno::ACCESS), "{method}");
        });
        let setuid = fork.root().join("setuid");
        let inert = match method {
            Method::Overlay => rustix::fs::statvfs(&setuid)
                .unwrap()
                .f_flag
                .contains(rustix::fs::StatVfsMountFlags::NOSUID | rustix::fs::StatVfsMountFlags::NODEV),
            _ => setuid.metadata().unwrap().permissions().mode() & 0o7777 == 0o755,
        };
        assert!(inert, "{method}");
        Fork::remove(&world.at()).unwrap();
    }
}

#[test]
fn nobody_of_the_host_is_reached_through_a_fork() {
    if !needs_root() {
        return;
    }
    let world = World::new();
    let _listener = UnixListener::bind(world.tree.join("socket")).unwrap();
    rustix::fs::mknodat(CWD, world.tree.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
    let reader = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let _reader = rustix::fs::open(world.tree.join("fifo"), reader, Mode::empty()).unwrap();
    let fork = world.fork(Method::Overlay).unwrap();
    let connected = UnixStream::connect(fork.root().join("socket"));
    assert!(connected.is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused));
    UnixStream::connect(world.tree.join("socket")).unwrap();
    let writer = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    assert_eq!(rustix::fs::open(fork.root().join("fifo"), writer, Mode::empty()).err(), Some(Errno::NXIO));
}

#[test]
fn an_ordinary_user_forks_by_copy() {
    if !needs_root() {
        return;
    }
    let world = World::new();
    world.write("d/x", "x");
    fs::hard_link(world.tree.join("d/x"), world.tree.join("y")).unwrap();
    symlink("d/x", world.tree.join("l")).unwrap();
    give(&world.tree);
    let secret = world.write("secret", "secret");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    fs::create_dir_all(world.forks()).unwrap();
    give(&world.root.join("state"));
    as_agent(|| {
        assert_eq!(cordon_forks::detect(&world.forks(), &world.tree), Method::Copy);
        let fork = world.fork(Method::Copy).unwrap();
        let skipped: Vec<_> =
            fork.skipped().iter().map(|s| (s.path.to_str().unwrap(), s.why.as_str())).collect();
        assert_eq!(skipped, [("secret", "unreadable")]);
        let mut expected = picture(&world.tree.join("d"));
        expected.remove(Path::new("secret"));
        assert_eq!(picture(&fork.root().join("d")), expected);
        // Closed by the agent to its own user.
        let closed = fork.root().join("closed/deep");
        fs::create_dir_all(&closed).unwrap();
        fs::write(closed.join("x"), "").unwrap();
        for path in [&closed, &fork.root().join("closed"), &fork.root().join("d")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o0)).unwrap();
        }
        Fork::remove(&world.at()).unwrap();
    });
    assert_eq!(fs::read_to_string(world.tree.join("d/x")).unwrap(), "x");
}

#[test]
fn a_tree_of_any_depth_is_removed() {
    let world = World::new();
    world.write("x", "x");
    for method in if is_root() { vec![Method::Overlay, Method::Copy] } else { vec![Method::Copy] } {
        let fork = world.fork(method).unwrap();
        let mut at = rustix::fs::open(fork.root(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        for _ in 0..3_000 {
            rustix::fs::mkdirat(&at, "directory", Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, "directory", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        }
        drop(at);
        Fork::remove(&world.at()).unwrap();
        assert!(!is_there(&world.at()), "{method}");
    }
    assert_eq!(fs::read_to_string(world.tree.join("x")).unwrap(), "x");
}

fn bind(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    rustix::mount::mount_bind(from, to).unwrap();
}

/// The worst that could happen here.
#[test]
fn no_removal_reaches_the_users_tree() {
    if !needs_root() {
        return;
    }
    let world = World::new();
    for name in ["d/one", "two"] {
        world.write(name, name);
    }
    let before = picture(&world.tree);
    let at = world.at();
    type Enemy<'a> = &'a dyn Fn(&World);
    let enemies: [(&str, Enemy<'_>); 9] = [
        ("mounted", &|w| drop(w.fork(Method::Overlay).unwrap())),
        ("mounted twice", &|w| {
            let fork = w.fork(Method::Overlay).unwrap();
            bind(&w.tree, fork.root());
        }),
        ("the tree itself mounted in a copy", &|w| {
            let fork = w.fork(Method::Copy).unwrap();
            bind(&w.tree, &fork.root().join("d/in"));
            bind(&w.tree, &fork.root().join("d/in/d"));
        }),
        ("mounted in the layer", &|w| {
            w.fork(Method::Overlay).unwrap();
            bind(&w.tree, &w.at().join("upper/x"));
        }),
        ("mounted over the fork", &|w| {
            w.fork(Method::Overlay).unwrap();
            bind(&w.tree, &w.at());
        }),
        ("mounted over what holds it", &|w| {
            w.fork(Method::Copy).unwrap();
            bind(&w.tree, &w.at().join("tree"));
            bind(&w.tree, &w.at().join("tree/d"));
        }),
        ("a link for the tree", &|w| {
            fs::create_dir_all(w.at()).unwrap();
            symlink(&w.tree, w.at().join("tree")).unwrap();
        }),
        ("a link for the fork", &|w| {
            fs::create_dir_all(w.at().parent().unwrap()).unwrap();
            symlink(&w.tree, w.at()).unwrap();
        }),
        ("links in it", &|w| {
            let fork = w.fork(Method::Copy).unwrap();
            for (n, target) in
                [w.tree.as_path(), Path::new("/"), Path::new("../../../../../tree")].iter().enumerate()
            {
                symlink(target, fork.root().join(format!("l{n}"))).unwrap();
            }
            fs::hard_link(w.tree.join("two"), fork.root().join("hard")).unwrap();
        }),
    ];
    for (what, enemy) in enemies {
        enemy(&world);
        Fork::remove(&at).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(at.symlink_metadata().is_err(), "{what}");
        assert_eq!(picture(&world.tree), before, "{what}");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(world.root.to_str().unwrap()), "{what}: a mount was left");
    }
    // A link above the fork is not gone through either.
    let aside = world.root.join("aside");
    fs::create_dir_all(world.tree.join("run/0/0/tree")).unwrap();
    let before = picture(&world.tree);
    symlink(&world.tree, &aside).unwrap();
    assert!(matches!(Fork::remove(&aside.join("run/0/0")), Err(ForkError::Io { .. })));
    assert_eq!(picture(&world.tree), before);
}

/// Who may not unmount does not remove what is mounted.
#[test]
fn what_cannot_be_unmounted_is_not_removed() {
    if !needs_root() {
        return;
    }
    let world = World::new();
    world.write("d/x", "x");
    give(&world.tree);
    fs::create_dir_all(world.forks()).unwrap();
    give(&world.root.join("state"));
    let fork = as_agent(|| world.fork(Method::Copy).unwrap());
    bind(&world.tree, &fork.root().join("d"));
    let before = picture(&world.tree);
    let error = as_agent(|| Fork::remove(&world.at()).unwrap_err());
    assert!(error.to_string().contains("unmount"), "{error}");
    assert_eq!(picture(&world.tree), before);
    Fork::remove(&world.at()).unwrap();
    assert_eq!(picture(&world.tree), before);
}

#[test]
fn the_user_goes_on_working_below_a_mounted_fork() {
    if !needs_root() {
        return;
    }
    let world = World::new();
    for n in 0..200 {
        world.write(&format!("d{}/f{n}", n % 7), "before");
    }
    let fork = world.fork(Method::Overlay).unwrap();
    for n in (0..200).step_by(3) {
        fs::write(fork.root().join(format!("d{}/f{n}", n % 7)), "agent").unwrap();
    }
    // Every kind of edit, while the merged view is read again and again.
    std::thread::scope(|scope| {
        let user = scope.spawn(|| -> io::Result<()> {
            for n in 0..200 {
                let path = world.tree.join(format!("d{}/f{n}", n % 7));
                match n % 5 {
                    0 => fs::write(&path, "user")?,
                    1 => fs::remove_file(&path)?,
                    2 => fs::rename(&path, path.with_extension("moved"))?,
                    3 => {
                        fs::write(path.with_extension("part"), "user")?;
                        fs::rename(path.with_extension("part"), &path)?;
                    }
                    _ => fs::create_dir(path.with_extension("new"))?,
                }
            }
            fs::remove_dir_all(world.tree.join("d6"))
        });
        while !user.is_finished() {
            for directory in fs::read_dir(fork.root()).unwrap().flatten() {
                for file in fs::read_dir(directory.path()).into_iter().flatten().flatten() {
                    // Whatever it is by now, it is something or an error.
                    let _ = fs::read(file.path());
                }
            }
        }
        user.join().unwrap().unwrap();
    });
    for n in (0..200).step_by(3).filter(|n| n % 7 != 6) {
        let path = fork.root().join(format!("d{}/f{n}", n % 7));
        assert_eq!(fs::read_to_string(&path).unwrap(), "agent", "{path:?}");
    }
    let kept = world.tree.join("d5/f5");
    assert_eq!(fs::read_to_string(kept).unwrap(), "user");
    Fork::remove(&world.at()).unwrap();
}

#[test]
fn a_fork_does_not_appear_in_other_mount_namespaces() {
    if !needs_root() {
        return;
    }
    let world = World::new();
    world.write("x", "x");
    let state = world.root.join("state");
    fs::create_dir(&state).unwrap();
    rustix::mount::mount_bind(&state, &state).unwrap();
    rustix::mount::mount_change(&state, MountPropagationFlags::SHARED).unwrap();
    let shared = |path: &Path| {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let path = path.to_str().unwrap().to_owned();
        let line = mounts.lines().rfind(|line| line.split(' ').nth(4) == Some(&path)).unwrap();
        line.contains(" shared:")
    };
    assert!(shared(&state));
    let fork = world.fork(Method::Overlay).unwrap();
    assert!(!shared(fork.root()));
    assert_eq!(fs::read_to_string(fork.root().join("x")).unwrap(), "x");
    // A start that died between the shield and the mount.
    rustix::mount::unmount(fork.root(), UnmountFlags::empty()).unwrap();
    let again = Fork::open(&world.at()).unwrap();
    assert_eq!(fs::read_to_string(again.root().join("x")).unwrap(), "x");
    Fork::remove(&world.at()).unwrap();
    assert!(!is_there(&world.at()));
    rustix::mount::unmount(&state, UnmountFlags::DETACH).unwrap();
    assert_eq!(fs::read_to_string(world.tree.join("x")).unwrap(), "x");
}
