use super::Kind;
use cordon_attacks::{World, enforcer::wall};
use cordon_policy::Access;
use cordon_sandbox::{PathEntry, PathKind, PathSource};
use cordon_tests::harness::skipped;
use std::{fs, os::fd::AsRawFd as _, process::Command};

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

/// This very program and its guest, where every user may run them.
struct Copies {
    place: tempfile::TempDir,
}

impl Copies {
    fn new() -> Self {
        let place = tempfile::Builder::new().prefix("cordon-attacks-").tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(place.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        fs::copy(cordon_attacks::guest(), place.path().join("cordon-guest")).unwrap();
        fs::copy(std::env::current_exe().unwrap(), place.path().join("tests")).unwrap();
        Self { place }
    }

    /// Runs some of the tests of this program after these words, and what was said.
    fn run(&self, words: &[&str], tests: &[&str]) -> (bool, String) {
        let program = self.place.path().join("tests");
        let mut command = match words {
            [] => Command::new(&program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(&program);
                command
            }
        };
        command.args(tests).env("CORDON_GUEST", self.place.path().join("cordon-guest")).current_dir("/");
        let out = command.output().unwrap();
        let said =
            [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (out.status.success(), said)
    }

    /// What a host that was made poorer answers to the wish for a sandbox.
    fn is_refused(&self, words: &[&str]) -> Result<(), String> {
        let inner = ["--exact", "degraded::inside::a_sandbox_on_this_host", "--ignored", "--nocapture"];
        let (_, said) = self.run(words, &inner);
        if said.contains("REFUSED") && !said.contains("MADE") { Ok(()) } else { Err(said) }
    }
}

/// Somebody who is nobody else on this machine.
const ORDINARY: [&str; 4] = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"];

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
    if skipped("local") || skipped("root") {
        return;
    }
    let copies = Copies::new();
    let with = |setting: &str| {
        let less = format!("{setting} exec \"$0\" \"$@\"");
        let own = ["unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c", &less];
        copies.is_refused(&[&ORDINARY[..], &own[..]].concat())
    };
    // That it is the namespaces, and nothing else here, that are missed below.
    let as_it_is = with("").unwrap_err();
    assert!(as_it_is.contains("MADE"), "{as_it_is}");
    for kind in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let refused = with(&format!("echo 0 > /proc/sys/user/max_{kind}_namespaces;"));
        refused.unwrap_or_else(|said| panic!("without {kind} namespaces: {said}"));
    }
}

/// KX-11 and KX-12: a kernel that refuses one of the calls by which the wall confines. The filter stands in for a kernel
/// without it, or a container around the daemon that forbids it.
#[test]
fn kx_12_without_a_primitive_there_is_no_sandbox() {
    if skipped("local") {
        return;
    }
    let copies = Copies::new();
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
        // Its number must be there after an exec.
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
        let descriptor = file.as_raw_fd().to_string();
        let words = ["bwrap", "--dev-bind", "/", "/", "--cap-add", "ALL", "--seccomp", &descriptor, "--"];
        copies.is_refused(&words).unwrap_or_else(|said| panic!("without {name}: {said}"));
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
    let (held, said) = Copies::new().run(&ORDINARY, &["::local", "--test-threads", "2"]);
    assert!(held && said.contains("test result: ok."), "{said}");
}
