use super::Kind;
use cordon_attacks::{World, enforcer::wall};
use cordon_policy::Access;
use cordon_sandbox::{PathEntry, PathKind, PathSource};
use cordon_tests::harness::skipped;
use std::{
    fs,
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    process::Command,
};

/// KX-11: what a policy names and the host does not have is an error, and never one rule less.
fn a_path_that_is_not_there_is_refused(kind: Kind) {
    if !kind.wanted() {
        return;
    }
    let world = World::new();
    for (name, access) in [("gone", Access::Read), ("gone/deeper", Access::Write)] {
        let mut spec = wall::spec(&world);
        spec.paths.push(PathEntry {
            path: world.path(name),
            source: PathSource::Host(world.path(name)),
            kind: PathKind::Directory,
            access,
            execute: false,
        });
        let refused = super::Cell::of_spec(kind.wall(&world), spec);
        let Err(why) = refused else { panic!("a sandbox without {name} was made") };
        assert!(why.contains("gone"), "{why}");
    }
    // A name that changed its kind between the look at it and the mount.
    let mut spec = wall::spec(&world);
    fs::write(world.path("was-a-directory"), "").unwrap();
    spec.paths.push(PathEntry {
        path: world.path("was-a-directory"),
        source: PathSource::Host(world.path("was-a-directory")),
        kind: PathKind::Directory,
        access: Access::Read,
        execute: false,
    });
    // The local wall mounts what is there: a file, by the same rule; no wall may make more of it than the rule says.
    if let Ok(cell) = super::Cell::of_spec(kind.wall(&world), spec) {
        assert!(cell.sandbox().findings.iter().all(|finding| finding.ok));
    }
}

mod kx_11_missing_path {
    #[test]
    fn local() {
        super::a_path_that_is_not_there_is_refused(super::Kind::Local);
    }

    #[test]
    fn docker() {
        super::a_path_that_is_not_there_is_refused(super::Kind::Docker);
    }
}

/// This very program again, for one test that is only meant for there.
fn inner(mut command: Command) -> String {
    let program = std::env::current_exe().unwrap();
    command.arg(program).args(["--exact", "degraded::inside::a_sandbox_on_this_host", "--ignored", "--nocapture"]);
    let out = command.output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

mod inside {
    use super::*;

    /// Says what a host that was made poorer answers to the wish for a sandbox.
    #[test]
    #[ignore = "run by the tests that take something away first"]
    fn a_sandbox_on_this_host() {
        let world = World::new();
        match super::super::Cell::of_spec(Kind::Local.wall(&world), wall::spec(&world)) {
            Ok(_) => println!("MADE"),
            Err(why) => println!("REFUSED {why}"),
        }
    }
}

/// KX-12: no namespaces to be had, no sandbox, one kind after the other.
#[test]
fn kx_12_without_namespaces_there_is_no_sandbox() {
    if skipped("local") {
        return;
    }
    for kind in ["mnt", "pid", "net", "ipc", "uts"] {
        let mut command = Command::new("unshare");
        let less = format!("echo 0 > /proc/sys/user/max_{kind}_namespaces && exec \"$0\" \"$@\"");
        command.args(["--user", "--map-root-user", "sh", "-c", &less]);
        let said = inner(command);
        assert!(said.contains("REFUSED") && !said.contains("MADE"), "without {kind} namespaces: {said}");
    }
}

/// KX-11 and KX-12: a kernel that refuses one of the calls by which the wall confines. The filter stands in for a kernel
/// without it, or a container around the daemon that forbids it.
#[test]
fn kx_12_without_a_primitive_there_is_no_sandbox() {
    if skipped("local") {
        return;
    }
    let calls = [
        ("landlock_create_ruleset", libc::SYS_landlock_create_ruleset),
        ("landlock_restrict_self", libc::SYS_landlock_restrict_self),
        ("seccomp", libc::SYS_seccomp),
        ("unshare", libc::SYS_unshare),
        ("pivot_root", libc::SYS_pivot_root),
        ("open_tree", libc::SYS_open_tree),
        ("mount_setattr", libc::SYS_mount_setattr),
        ("capset", libc::SYS_capset),
    ];
    for (name, number) in calls {
        let errno = if number == libc::SYS_landlock_create_ruleset { libc::ENOSYS } else { libc::EPERM };
        let program = filter(number, errno);
        let file = tempfile::tempfile().unwrap();
        rustix::io::write(&file, &program).unwrap();
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).unwrap();
        // It needs the number after an exec.
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
        let mut command = Command::new("bwrap");
        command.args(["--dev-bind", "/", "/", "--cap-add", "ALL", "--seccomp", &file.as_raw_fd().to_string(), "--"]);
        let said = inner(command);
        assert!(said.contains("REFUSED") && !said.contains("MADE"), "without {name}: {said}");
    }
}

/// A classic BPF program: one call answers with an error, all others go on.
fn filter(number: i64, errno: i32) -> Vec<u8> {
    let op = |code: u16, jt: u8, jf: u8, k: u32| {
        let mut bytes = code.to_ne_bytes().to_vec();
        bytes.extend([jt, jf]);
        bytes.extend(k.to_ne_bytes());
        bytes
    };
    let number = u32::try_from(number).unwrap();
    let errno = u32::try_from(errno).unwrap();
    [
        op(0x20, 0, 0, 0),
        op(0x15, 0, 1, number),
        op(0x06, 0, 0, libc::SECCOMP_RET_ERRNO | errno),
        op(0x06, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
    .concat()
}

/// Root's run starts every attack on the local wall again as an ordinary user, whose walls are made with user namespaces.
#[test]
fn everything_holds_for_an_ordinary_user_too() {
    if !rustix::process::geteuid().is_root() || skipped("ordinary-user") || skipped("local") {
        return;
    }
    let place = tempfile::Builder::new().prefix("cordon-attacks-").tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(place.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let copy = place.path().join("cordon-guest");
    let guest = std::env::var_os("CORDON_GUEST").map(std::path::PathBuf::from);
    fs::copy(guest.unwrap_or_else(|| cordon_tests::harness::bin().join("cordon-guest")), &copy).unwrap();
    let kernel = fs::read_dir(std::env::current_exe().unwrap().parent().unwrap()).unwrap().flatten();
    let newest = kernel
        .filter(|e| e.file_name().to_string_lossy().starts_with("kernel-") && e.path().extension().is_none())
        .max_by_key(|e| e.metadata().unwrap().modified().unwrap());
    let tests = place.path().join("tests");
    fs::copy(newest.expect("the tests of tests/kernel.rs are built with these").path(), &tests).unwrap();
    let done = Command::new(&tests)
        .args(["::local", "--test-threads", "2"])
        .env("CORDON_GUEST", &copy)
        .current_dir("/")
        .uid(65_534)
        .gid(65_534)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success() && said.contains("test result: ok."),
        "{said}\n{}",
        String::from_utf8_lossy(&done.stderr)
    );
}
