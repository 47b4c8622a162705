use super::*;
use std::os::unix::{ffi::OsStrExt as _, fs::symlink};

fn names(tree: &LiveTree, path: &[u8]) -> Vec<Vec<u8>> {
    tree.children(path).unwrap().into_iter().map(|e| e.name).collect()
}

fn text(tree: &LiveTree, path: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    tree.read(path).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn specials_are_skipped_and_named_and_nothing_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let at = |n: &str| dir.path().join(n);
    fs::mknodat(fs::CWD, at("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    std::fs::write(at("file"), "x").unwrap();
    let odd = std::ffi::OsStr::from_bytes(b"\xff\n");
    std::fs::write(dir.path().join(odd), "y").unwrap();
    let tree = LiveTree::open(dir.path()).unwrap();
    assert_eq!(names(&tree, b""), [b"file".to_vec(), b"\xff\n".to_vec()]);
    let skipped: Vec<_> = tree.skipped().into_iter().map(|s| (s.path, s.why)).collect();
    assert_eq!(skipped, [(b"fifo".to_vec(), "a FIFO"), (b"socket".to_vec(), "a socket")]);
    assert!(tree.read(b"fifo").err().unwrap().absent);
    assert_eq!(text(&tree, b"\xff\n"), b"y");
}

#[test]
fn links_are_not_crossed() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("canary"), "secret").unwrap();
    let dir = tempfile::tempdir().unwrap();
    symlink(outside.path(), dir.path().join("d")).unwrap();
    symlink(outside.path().join("canary"), dir.path().join("f")).unwrap();
    let tree = LiveTree::open(dir.path()).unwrap();
    assert!(tree.children(b"d").unwrap_err().absent);
    assert!(tree.read(b"f").is_err());
    assert!(tree.read(b"d/canary").is_err());
    assert!(tree.read(b"../x").is_err());
    let entries = tree.children(b"").unwrap();
    assert_eq!(entries[0].content, Content::Target(outside.path().as_os_str().as_bytes().to_vec()));
    symlink(dir.path(), outside.path().join("root")).unwrap();
    assert!(LiveTree::open(&outside.path().join("root")).is_err());
}

#[test]
fn a_file_that_changes_while_it_is_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), "before").unwrap();
    let tree = LiveTree::open(dir.path()).unwrap();
    let mut reader = tree.read(b"f").unwrap();
    let mut one = [0; 1];
    reader.read_exact(&mut one).unwrap();
    std::fs::write(dir.path().join("f"), "afterwards").unwrap();
    assert!(reader.read_to_end(&mut Vec::new()).is_err());
}

#[test]
fn setuid_is_not_part_of_a_mode_and_links_share_a_group() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let at = |n: &str| dir.path().join(n);
    for name in ["a", "b"] {
        std::fs::write(at(name), "x").unwrap();
    }
    std::fs::set_permissions(at("a"), std::fs::Permissions::from_mode(0o6755)).unwrap();
    std::fs::hard_link(at("b"), at("c")).unwrap();
    let entries = LiveTree::open(dir.path()).unwrap().children(b"").unwrap();
    assert_eq!(entries[0].mode, 0o755);
    assert_eq!(entries[0].link_group, None);
    assert!(entries[1].link_group.is_some());
    assert_eq!(entries[1].link_group, entries[2].link_group);
}

#[test]
fn paths_longer_than_the_kernel_takes_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let (mut fd, mut path) = (fs::open(dir.path(), DIRECTORY, Mode::empty()).unwrap(), Vec::new());
    let name = [b'n'; 200];
    for _ in 0..40 {
        fs::mkdirat(&fd, name.as_slice(), Mode::RWXU).unwrap();
        fd = fs::openat(&fd, name.as_slice(), DIRECTORY, Mode::empty()).unwrap();
        path = join(&path, &name);
    }
    let made = fs::openat(&fd, "leaf", OFlags::CREATE | OFlags::WRONLY, Mode::RWXU).unwrap();
    rustix::io::write(&made, b"deep").unwrap();
    let tree = LiveTree::open(dir.path()).unwrap();
    assert_eq!(text(&tree, &join(&path, b"leaf")), b"deep");
    let shallow = Limits { entries: 10, depth: 5 };
    let root = fs::open(dir.path(), DIRECTORY, Mode::empty()).unwrap();
    assert!(LiveTree::from_fd(root, shallow).unwrap().children(&path).is_err());
}

#[test]
fn a_directory_that_is_too_large_is_refused_and_not_cut() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..5 {
        std::fs::write(dir.path().join(n.to_string()), "").unwrap();
    }
    let root = fs::open(dir.path(), DIRECTORY, Mode::empty()).unwrap();
    let tree = LiveTree::from_fd(root, Limits { entries: 4, depth: 5 }).unwrap();
    let error = tree.children(b"").unwrap_err();
    assert!(!error.absent && error.to_string().contains("more than 4"), "{error}");
}
