//! What a snapshot is known by, who it is taken for, and whom its content is given to.
#![allow(missing_docs, clippy::unwrap_used)]

use cordon_snapshots::{
    Reader, RestoreOptions, SkipReason, Snapshot, SnapshotRequest, Store, StoreError, StoreOptions,
};
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink},
    path::Path,
};

const USER: Reader = Reader { uid: 4242, gid: 4343 };

fn store(home: &Path) -> Store {
    Store::open(&home.join("store"), "alice", StoreOptions::default()).unwrap()
}

fn is_root() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    let skip = std::env::var("CORDON_TEST_SKIP").unwrap_or_default();
    assert!(
        skip.split(',').any(|s| s == "root"),
        "this test makes files of other users: run it as root, or name root in CORDON_TEST_SKIP"
    );
    eprintln!("skipped: CORDON_TEST_SKIP names root");
    false
}

fn put(path: &Path, mode: u32, owner: (u32, u32)) {
    fs::write(path, path.as_os_str().as_encoded_bytes()).unwrap();
    chown(path, Some(owner.0), Some(owner.1)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn skipped(snapshot: &Snapshot) -> Vec<(String, SkipReason)> {
    snapshot.skipped.iter().map(|s| (String::from_utf8(s.path.clone()).unwrap(), s.reason)).collect()
}

fn names(tree: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(tree).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn only_what_the_reader_owns_or_may_read_is_recorded() {
    if !is_root() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let tree = home.path().join("tree");
    let dir = |name: &str, mode, owner: (u32, u32)| {
        let path = tree.join(name);
        fs::create_dir(&path).unwrap();
        put(&path.join("in"), 0o644, (0, 0));
        chown(&path, Some(owner.0), Some(owner.1)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    fs::create_dir(&tree).unwrap();
    let (uid, gid) = (USER.uid, USER.gid);
    put(&tree.join("own-none"), 0o000, (uid, 0));
    put(&tree.join("group"), 0o640, (0, gid));
    put(&tree.join("group-not"), 0o604, (0, gid));
    put(&tree.join("other"), 0o604, (0, 0));
    put(&tree.join("secret"), 0o600, (0, 0));
    put(&tree.join("secret-x"), 0o771, (0, 0));
    dir("d-open", 0o755, (0, 0));
    dir("d-listed", 0o754, (0, 0));
    dir("d-passed", 0o751, (0, 0));
    dir("d-own", 0o000, (uid, 0));
    symlink("secret", tree.join("link")).unwrap();
    let store = store(home.path());
    // The first one is of the whole tree: what it knows must open nothing to the second.
    let whole = store.snapshot(&tree, &SnapshotRequest::default()).unwrap();
    assert_eq!(whole.snapshot.statistics.skipped, 0);
    let request = SnapshotRequest { reader: Some(USER), ..SnapshotRequest::default() };
    let taken = store.snapshot(&tree, &request).unwrap();
    let none = SkipReason::Unreadable;
    let expected = ["d-listed", "d-passed", "group-not", "secret", "secret-x"];
    assert_eq!(skipped(&taken.snapshot), expected.map(|name| (name.to_owned(), none)));
    assert_eq!(taken.snapshot.statistics.read, 0, "nothing changed");
    let back = home.path().join("back");
    fs::create_dir(&back).unwrap();
    store.restore(&taken.id, &back).unwrap();
    assert_eq!(names(&back), ["d-open", "d-own", "group", "link", "other", "own-none"]);
    // A right that was taken back counts at once.
    fs::set_permissions(tree.join("other"), fs::Permissions::from_mode(0o600)).unwrap();
    let taken = store.snapshot(&tree, &request).unwrap();
    assert!(skipped(&taken.snapshot).contains(&("other".to_owned(), none)));
    let root = SnapshotRequest { reader: Some(Reader { uid: 0, gid: 0 }), ..SnapshotRequest::default() };
    assert_eq!(store.snapshot(&tree, &root).unwrap().snapshot.statistics.skipped, 0);
    fs::set_permissions(&tree, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(matches!(store.snapshot(&tree, &request), Err(StoreError::Unreadable { .. })));
}

#[test]
fn what_is_left_out_stays_out_with_all_below_it() {
    let home = tempfile::tempdir().unwrap();
    let tree = home.path().join("tree");
    fs::create_dir_all(tree.join("d/e/f")).unwrap();
    for name in [".env", "d/.env", "d/e/f/deep", "d/kept", "d/e.txt"] {
        fs::write(tree.join(name), name).unwrap();
    }
    let store = store(home.path());
    store.snapshot(&tree, &SnapshotRequest::default()).unwrap();
    let leave_out = vec![b".env".to_vec(), b"d/e".to_vec(), b"d/absent".to_vec(), b"d/e/f".to_vec()];
    let request = SnapshotRequest { leave_out, ..SnapshotRequest::default() };
    let taken = store.snapshot(&tree, &request).unwrap();
    let expected = [".env", "d/e"].map(|name| (name.to_owned(), SkipReason::Hidden));
    assert_eq!(skipped(&taken.snapshot), expected);
    let back = home.path().join("back");
    fs::create_dir(&back).unwrap();
    store.restore(&taken.id, &back).unwrap();
    assert_eq!(
        (names(&back), names(&back.join("d"))),
        (vec!["d".to_owned()], [".env", "e.txt", "kept"].map(str::to_owned).to_vec())
    );
    for wrong in ["", "/etc", "a//b", "../a", "a/.", "a/", "a\0"] {
        let leave_out = vec![wrong.as_bytes().to_vec()];
        let refused = store.snapshot(&tree, &SnapshotRequest { leave_out, ..SnapshotRequest::default() });
        assert!(matches!(refused, Err(StoreError::LeaveOut(_))), "{wrong:?}");
    }
}

#[test]
fn a_restore_gives_all_to_the_owner_and_nothing_else_away() {
    if !is_root() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let (tree, back) = (home.path().join("tree"), home.path().join("back"));
    fs::create_dir_all(tree.join("d/empty")).unwrap();
    fs::create_dir(&back).unwrap();
    let victim = home.path().join("victim");
    put(&victim, 0o600, (0, 0));
    put(&tree.join("d/run"), 0o4755, (0, 0));
    fs::hard_link(tree.join("d/run"), tree.join("again")).unwrap();
    symlink(&victim, tree.join("link")).unwrap();
    lchown(tree.join("link"), Some(1), Some(1)).unwrap();
    let store = store(home.path());
    let taken = store.snapshot(&tree, &SnapshotRequest::default()).unwrap();
    let options = RestoreOptions { owner: Some((USER.uid, USER.gid)) };
    store.restore_with(&taken.id, &back, &options).unwrap();
    for name in ["", "again", "d", "d/empty", "d/run", "link"] {
        let meta = fs::symlink_metadata(back.join(name)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (USER.uid, USER.gid), "{name:?}");
    }
    let run = fs::metadata(back.join("d/run")).unwrap();
    assert_eq!((run.mode() & 0o7777, run.nlink()), (0o755, 2));
    assert_eq!(fs::metadata(&victim).unwrap().uid(), 0);
}

#[test]
fn a_snapshot_is_found_by_the_beginning_of_its_name() {
    let home = tempfile::tempdir().unwrap();
    let tree = home.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let store = store(home.path());
    let ids: Vec<_> =
        (0..3).map(|_| store.snapshot(&tree, &SnapshotRequest::default()).unwrap().id).collect();
    for id in &ids {
        let name = id.to_string();
        assert_eq!(store.find(&name).unwrap(), *id);
        assert_eq!(store.find(&name[..20]).unwrap(), *id);
        let last = if name.ends_with('0') { "1" } else { "0" };
        assert!(matches!(store.find(&format!("{}{last}", &name[..63])), Err(StoreError::NotFound(_))));
    }
    for wrong in ["", "abc", "ABCD", "abcg", "../..", &"a".repeat(65)] {
        assert!(matches!(store.find(wrong), Err(StoreError::Name(_))), "{wrong:?}");
    }
    // Another record that begins the same: its bytes do not matter to a search by name.
    let name = ids[0].to_string();
    let twin = format!("{}{}", &name[..60], if name.ends_with("0000") { "1111" } else { "0000" });
    let owner = fs::read_dir(home.path().join("store/owners")).unwrap().next().unwrap().unwrap().path();
    fs::copy(owner.join("snapshots").join(&name), owner.join("snapshots").join(&twin)).unwrap();
    assert!(matches!(store.find(&name[..60]), Err(StoreError::Ambiguous { count: 2, .. })));
    assert_eq!(store.find(&name).unwrap(), ids[0]);
}

#[test]
fn labels_origins_and_kinds_are_kept() {
    let home = tempfile::tempdir().unwrap();
    let tree = home.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let store = store(home.path());
    let request = SnapshotRequest {
        kind: "base".into(),
        origin: b"/home/\xff".to_vec(),
        label: "first".into(),
        ..SnapshotRequest::default()
    };
    let id = store.snapshot(&tree, &request).unwrap().id;
    let other = store.snapshot(&tree, &request).unwrap().id;
    let known = store.get(&id).unwrap();
    assert_eq!(
        (known.kind.as_str(), known.origin, known.label.as_str()),
        ("base", b"/home/\xff".to_vec(), "first")
    );
    for label in ["second", "", &"l".repeat(4096)] {
        store.set_label(&id, label).unwrap();
        assert_eq!(store.get(&id).unwrap().label, label);
        assert_eq!(store.list().unwrap().iter().filter(|(_, s)| s.label == label).count(), 1);
    }
    assert!(matches!(store.set_label(&id, &"l".repeat(4097)), Err(StoreError::TooLong { .. })));
    let owner = fs::read_dir(home.path().join("store/owners")).unwrap().next().unwrap().unwrap().path();
    let file = owner.join("labels").join(id.to_string());
    store.set_label(&id, "third").unwrap();
    let bytes = fs::read(&file).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&file, flipped).unwrap();
        let faults = store.verify().unwrap().faults;
        assert_eq!((faults.len(), faults[0].touches[0].snapshot), (1, id), "bit {bit}");
        assert_eq!(store.get(&id).unwrap().label, "first", "bit {bit}");
    }
    // Another snapshot's label is not this one's.
    fs::write(owner.join("labels").join(other.to_string()), &bytes).unwrap();
    assert_eq!(store.verify().unwrap().faults.len(), 2);
    store.set_label(&id, "fourth").unwrap();
    store.set_label(&other, "other").unwrap();
    fs::write(owner.join("labels/new-1"), "torn").unwrap();
    fs::rename(owner.join("snapshots").join(other.to_string()), home.path().join("gone")).unwrap();
    assert!(matches!(store.set_label(&other, "no"), Err(StoreError::NotFound(_))));
    store.gc().unwrap();
    assert_eq!(names(&owner.join("labels")), [id.to_string()]);
    assert_eq!(store.get(&id).unwrap().label, "fourth");
    store.remove(&id).unwrap();
    assert!(names(&owner.join("labels")).is_empty());
    assert!(store.verify().unwrap().faults.is_empty());
}
