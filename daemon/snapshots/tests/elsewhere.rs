//! Trees on other filesystems, of an ordinary user, made to be too much, and looked at by other
//! programs: what comes back is compared by python3, which knows nothing of the store.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use cordon_snapshots::{SnapshotRequest, Store, StoreError, StoreOptions, TreeLimits, TreeSource};
use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileExt as _, PermissionsExt as _, symlink},
    },
    path::Path,
    process::{Command, Stdio},
};

/// Every fact of a tree but inode numbers and blocks, one line each: type, mode, time in
/// nanoseconds, size, where data and holes are, content, link target, first name of the inode.
const FACTS: &str = r#"
import os, stat, sys, hashlib
root = os.fsencode(sys.argv[1])
first, rows = {}, []
def holes(fd, size):
    out, at = [], 0
    while at < size:
        try: data = os.lseek(fd, at, os.SEEK_DATA)
        except OSError: out.append((at, size)); break
        if data > at: out.append((at, data))
        at = os.lseek(fd, data, os.SEEK_HOLE)
    return out
def look(path):
    s = os.lstat(path)
    kind, extra = stat.S_IFMT(s.st_mode), b''
    if stat.S_ISLNK(s.st_mode): extra = os.readlink(path)
    elif stat.S_ISREG(s.st_mode):
        with open(path, 'rb') as f:
            gaps = holes(f.fileno(), s.st_size)
            h, f2 = hashlib.sha256(), f
            f.seek(0)
            if s.st_size < 1 << 30:
                for block in iter(lambda: f.read(1 << 20), b''): h.update(block)
            extra = h.hexdigest().encode() + repr(gaps).encode()
    name = path[len(root):]
    key = first.setdefault((s.st_dev, s.st_ino), name) if stat.S_ISREG(s.st_mode) else b''
    mode = 0o777 if stat.S_ISLNK(s.st_mode) else stat.S_IMODE(s.st_mode)
    size = 0 if stat.S_ISDIR(s.st_mode) else s.st_size
    rows.append((name, kind, mode, s.st_mtime_ns, size, extra, key))
    if stat.S_ISDIR(s.st_mode):
        for entry in sorted(os.listdir(path)): look(path + b'/' + entry)
look(root)
for row in rows: print(row)
"#;

fn told(root: &Path) -> String {
    let out =
        Command::new("python3").args(["-c", FACTS]).arg(root).stderr(Stdio::inherit()).output().unwrap();
    assert!(out.status.success(), "python3 could not look at {root:?}");
    String::from_utf8(out.stdout).unwrap()
}

fn skipped(what: &str) -> bool {
    let skip = std::env::var("CORDON_TEST_SKIP").unwrap_or_default().split(',').any(|s| s == what);
    if skip {
        eprintln!("skipped: CORDON_TEST_SKIP names {what}");
    }
    skip
}

fn run(program: &str, args: &[&OsStr]) {
    let out = Command::new(program).args(args).output();
    let out = out
        .unwrap_or_else(|e| panic!("{program} cannot be started: {e}; install it, or see CORDON_TEST_SKIP"));
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

fn noise(words: u32) -> Vec<u8> {
    (0..words).flat_map(|n| n.wrapping_mul(2_654_435_761).rotate_left(n % 31).to_le_bytes()).collect()
}

/// Some of everything, as far as this user can make it.
fn plant(tree: &Path) {
    let at = |name: &[u8]| tree.join(OsStr::from_bytes(name));
    for dir in [&b"a/b/c"[..], b"empty", b"\xff\xfe", b"closed/in"] {
        fs::create_dir_all(at(dir)).unwrap();
    }
    for n in 0..600u32 {
        fs::write(at(format!("a/b/file {n}").as_bytes()), noise(n * 3)).unwrap();
    }
    fs::write(at(b"large"), noise(2_500_000)).unwrap();
    fs::write(at(b"zero"), "").unwrap();
    fs::write(at(b"\xff\xfe/\n\x01"), "odd").unwrap();
    fs::write(at(&[b'n'; 255]), "long name").unwrap();
    let sparse = fs::File::create(at(b"sparse")).unwrap();
    sparse.set_len(300 << 20).unwrap();
    sparse.write_all_at(&noise(300_000), 100 << 20).unwrap();
    sparse.write_all_at(b"end", (300 << 20) - 3).unwrap();
    fs::hard_link(at(b"a/b/file 599"), at(b"zz-again")).unwrap();
    fs::hard_link(at(b"a/b/file 599"), at(b"\xff\xfe/again")).unwrap();
    fs::hard_link(at(b"large"), at(b"a/large")).unwrap();
    symlink("/etc/passwd", at(b"out")).unwrap();
    symlink(OsStr::from_bytes(&[b't'; 4000]), at(b"a/far")).unwrap();
    for (name, mode) in [(&b"zero"[..], 0o604), (b"closed", 0o500), (b"large", 0o755), (b"empty", 0o711)] {
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    run(
        "touch",
        &["-h", "-d", "1969-01-02 03:04:05.123456789"]
            .map(OsStr::new)
            .iter()
            .copied()
            .chain([at(b"out").as_os_str(), at(b"zero").as_os_str(), at(b"empty").as_os_str()])
            .collect::<Vec<_>>(),
    );
}

/// The tree of `plant`, snapshotted and put back below `place`.
fn there_and_back(place: &Path) {
    let home = tempfile::tempdir_in(place).unwrap();
    let (tree, back) = (home.path().join("tree"), home.path().join("back"));
    fs::create_dir(&tree).unwrap();
    fs::create_dir(&back).unwrap();
    plant(&tree);
    let store = Store::open(&home.path().join("store"), "", StoreOptions::default()).unwrap();
    let taken = store.snapshot(&tree, &SnapshotRequest::default()).unwrap();
    assert_eq!(taken.snapshot.statistics.skipped, 0);
    store.restore(&taken.id, &back).unwrap();
    let (was, is) = (told(&tree), told(&back));
    for (a, b) in was.lines().zip(is.lines()) {
        assert_eq!(a, b);
    }
    assert_eq!(was.len(), is.len());
    assert!(was.lines().count() > 600);
    let again = store.snapshot(&tree, &SnapshotRequest::default()).unwrap().snapshot;
    assert_eq!(again.root, taken.snapshot.root);
    let restored = store.snapshot(&back, &SnapshotRequest::default()).unwrap().snapshot;
    assert_eq!(restored.root, taken.snapshot.root);
    assert!(store.verify().unwrap().faults.is_empty());
    // For the temporary directory to be removed by an ordinary user.
    for dir in [&tree, &back] {
        fs::set_permissions(dir.join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    }
}

#[test]
fn a_tree_comes_back_on_this_filesystem() {
    there_and_back(&std::env::temp_dir());
    if Path::new("/dev/shm").is_dir() {
        there_and_back(Path::new("/dev/shm"));
    }
}

struct Mounted(tempfile::TempDir);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path().join("mount")).status();
    }
}

#[test]
fn a_tree_comes_back_on_overlay() {
    if skipped("root") {
        return;
    }
    let home = Mounted(tempfile::tempdir().unwrap());
    let at = |name: &str| home.0.path().join(name);
    for name in ["lower", "upper", "work", "mount"] {
        fs::create_dir(at(name)).unwrap();
    }
    fs::write(at("lower/below"), "from the lower layer").unwrap();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        at("lower").display(),
        at("upper").display(),
        at("work").display()
    );
    let mount = at("mount");
    run(
        "mount",
        &[
            "-t".as_ref(),
            "overlay".as_ref(),
            "-o".as_ref(),
            options.as_ref(),
            "cordon".as_ref(),
            mount.as_ref(),
        ],
    );
    there_and_back(&mount);
    // A file of the lower layer, known and then copied up: what is known counts no more.
    let store = Store::open(&at("store"), "", StoreOptions::default()).unwrap();
    let taken = |store: &Store| store.snapshot(&mount, &SnapshotRequest::default()).unwrap().snapshot;
    let first = taken(&store);
    assert_eq!(taken(&store).root, first.root);
    fs::write(mount.join("below"), "from the upper layer").unwrap();
    let second = taken(&store);
    assert_ne!(second.root, first.root);
    fs::remove_file(mount.join("below")).unwrap();
    assert_eq!(taken(&store).statistics.files, first.statistics.files - 1);
}

#[test]
fn a_tree_comes_back_on_btrfs() {
    if skipped("btrfs") || skipped("root") {
        return;
    }
    let home = Mounted(tempfile::tempdir().unwrap());
    let (image, mount) = (home.0.path().join("image"), home.0.path().join("mount"));
    fs::File::create(&image).unwrap().set_len(1 << 30).unwrap();
    fs::create_dir(&mount).unwrap();
    run("mkfs.btrfs", &["-q".as_ref(), image.as_ref()]);
    run("mount", &["-o".as_ref(), "loop".as_ref(), image.as_ref(), mount.as_ref()]);
    there_and_back(&mount);
}

const AS_USER: &str = "CORDON_TEST_SNAPSHOTS_AS_USER";

#[test]
fn a_tree_comes_back_for_an_ordinary_user() {
    if let Some(place) = std::env::var_os(AS_USER) {
        assert!(!rustix::process::geteuid().is_root());
        there_and_back(Path::new(&place));
        return;
    }
    if !rustix::process::geteuid().is_root() {
        // The test of this filesystem was one.
        return;
    }
    let home = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(home.path(), Some(65_534), Some(65_534)).unwrap();
    // The test itself lies where the other user may not come.
    let test = home.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &test).unwrap();
    fs::set_permissions(&test, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let out = {
        use std::os::unix::process::CommandExt as _;
        Command::new(test)
            .args(["a_tree_comes_back_for_an_ordinary_user", "--exact", "--nocapture"])
            .env(AS_USER, home.path())
            .current_dir("/")
            .uid(65_534)
            .gid(65_534)
            .output()
            .unwrap()
    };
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn bombs_are_refused_or_borne() {
    let home = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let (tree, back) = (home.path().join("tree"), home.path().join("back"));
    fs::create_dir_all(tree.join("wide")).unwrap();
    fs::create_dir(&back).unwrap();
    // Very wide, with names as long as they can be, and all of them one file.
    fs::write(tree.join("wide/first"), "one").unwrap();
    for n in 0..20_000 {
        fs::hard_link(tree.join("wide/first"), tree.join(format!("wide/{n:0>255}"))).unwrap();
    }
    fs::create_dir(tree.join("dirs")).unwrap();
    for n in 0..5000 {
        fs::create_dir(tree.join(format!("dirs/{n}"))).unwrap();
    }
    let store = Store::open(&home.path().join("store"), "", StoreOptions::default()).unwrap();
    let taken = store.snapshot(&tree, &SnapshotRequest::default()).unwrap();
    let statistics = taken.snapshot.statistics;
    assert_eq!((statistics.files, statistics.directories, statistics.read > 0), (20_001, 5002, true));
    store.restore(&taken.id, &back).unwrap();
    assert_eq!(told(&tree).lines().count(), told(&back).lines().count());
    let meta = |path: &Path| fs::metadata(path).unwrap();
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!(meta(&back.join("wide/first")).nlink(), 20_001);
    assert_eq!(
        store.snapshot(&back, &SnapshotRequest::default()).unwrap().snapshot.root,
        taken.snapshot.root
    );
    fs::create_dir(tree.join("dirs/0/1")).unwrap();
    let all = TreeLimits::default();
    for limits in [
        TreeLimits { directory: 20_000, ..all },
        TreeLimits { entries: 25_000, ..all },
        TreeLimits { depth: 2, ..all },
    ] {
        let request = SnapshotRequest { limits, ..SnapshotRequest::default() };
        let refused = store.snapshot(&tree, &request);
        assert!(matches!(refused, Err(StoreError::Limit { .. })), "{limits:?}");
    }
}

#[test]
fn a_stored_tree_is_read_at_any_depth() {
    const LEVELS: usize = 3000;
    let home = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let tree = home.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let name = "d".repeat(100);
    let script = format!(
        "import os,sys\nos.chdir(sys.argv[1])\nfor n in range({LEVELS}):\n os.mkdir('{name}'); os.chdir('{name}')\nopen('f','w').write('deep')"
    );
    run("python3", &["-c".as_ref(), script.as_ref(), tree.as_ref()]);
    let store = Store::open(&home.path().join("store"), "", StoreOptions::default()).unwrap();
    let taken = store.snapshot(&tree, &SnapshotRequest::default()).unwrap();
    let stored = store.tree(&taken.id).unwrap();
    let mut path = Vec::new();
    for _ in 0..LEVELS {
        let children = stored.children(&path).unwrap();
        assert_eq!(children.len(), 1);
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(&children[0].name);
    }
    path.extend_from_slice(b"/f");
    let mut text = String::new();
    stored.read(&path).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "deep");
    // Looked for from the root at once, too.
    let mut text = String::new();
    store.tree(&taken.id).unwrap().read(&path).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "deep");
    run("rm", &["-rf".as_ref(), tree.as_ref()]);
}
