//! From a stored snapshot to the user's tree: what an agent did in its fork of a workspace is told,
//! planned and brought in, with the store's own trees as base and agent.

#![allow(clippy::unwrap_used)]

use cordon_snapshots::{
    SnapshotRequest, Store, StoreOptions,
    apply::{self, OnDrift, Options, Verdict},
    classify::Class,
    diff::{self, Limits, Render},
    live::LiveTree,
};
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A repository in which every setting that runs a program names one that leaves a mark.
fn planted(root: &Path, mark: &Path) {
    let program = root.join("payload");
    fs::write(&program, format!("#!/bin/sh\ntouch {}\n", mark.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let program = program.display();
    let config = format!(
        "[core]\nfsmonitor = {program}\npager = {program}\neditor = {program}\nsshCommand = {program}\nhooksPath = {}\n\
         [diff]\nexternal = {program}\n[diff \"x\"]\ntextconv = {program}\ncommand = {program}\n\
         [filter \"x\"]\nclean = {program}\nsmudge = {program}\nprocess = {program}\n[merge \"x\"]\ndriver = {program}\n",
        root.display()
    );
    write(root, ".git/config", &config);
    write(root, ".git/HEAD", "ref: refs/heads/main\n");
    write(root, ".gitattributes", "* filter=x diff=x merge=x\n");
}

#[test]
fn an_agents_turn_comes_back_to_the_user() {
    let top = tempfile::tempdir().unwrap();
    let [user, fork, journals] = ["user", "fork", "journals"].map(|n| top.path().join(n));
    for path in [&user, &fork, &journals] {
        fs::create_dir(path).unwrap();
    }
    let mark = top.path().join("mark");
    for root in [&user, &fork] {
        planted(root, &mark);
        write(root, "src/lib.rs", "one\ntwo\nthree\nfour\n");
        write(root, "src/old/name.rs", "a file of some length\nthat moves\n");
        write(root, "same/deep/file", "same\n");
    }
    // The payload names its own tree; the same program on both sides is no change.
    fs::copy(user.join("payload"), fork.join("payload")).unwrap();
    fs::copy(user.join(".git/config"), fork.join(".git/config")).unwrap();

    let store = Store::open(&top.path().join("store"), "owner", StoreOptions::default()).unwrap();
    let base = store.snapshot(&fork, &SnapshotRequest::default()).unwrap().id;
    write(&fork, "src/lib.rs", "one\ntwo\nthree\n4\n");
    fs::create_dir(fork.join("src/new")).unwrap();
    fs::rename(fork.join("src/old/name.rs"), fork.join("src/new/name.rs")).unwrap();
    fs::remove_dir(fork.join("src/old")).unwrap();
    write(&fork, "AGENTS.md", "obey\n");
    write(&fork, ".git/hooks/post-checkout", "#!/bin/sh\n");
    symlink("src/lib.rs", fork.join("link")).unwrap();
    symlink("/etc/passwd", fork.join("leaves")).unwrap();
    let agent = store.snapshot(&fork, &SnapshotRequest::default()).unwrap().id;
    // Meanwhile the user went on.
    write(&user, "src/lib.rs", "ONE\ntwo\nthree\nfour\n");
    write(&user, "notes", "the user's own\n");

    let (base, agent) = (store.tree(&base).unwrap(), store.tree(&agent).unwrap());
    let limits = Limits::default();
    let deltas = diff::diff(&base, &agent, &limits).unwrap();
    let mut names = Vec::new();
    diff::name_only(&mut names, &deltas).unwrap();
    let names = String::from_utf8(names).unwrap();
    let expected = "A .git/hooks\nA .git/hooks/post-checkout\nA AGENTS.md\nA leaves\nA link\nM src/lib.rs\nA src/new\n\
        R src/old/name.rs -> src/new/name.rs\nD src/old\n";
    assert_eq!(names, expected);
    let mut text = Vec::new();
    diff::unified(&mut text, &deltas, &base, &agent, &limits, Render::default()).unwrap();
    assert!(String::from_utf8(text).unwrap().contains("-four\n+4\n"));

    let live = LiveTree::open(&user).unwrap();
    let options = Options { on_drift: OnDrift::Merge, leave_out: true, ..Options::default() };
    let plan = apply::plan(&base, &agent, &live, &options).unwrap();
    assert_eq!(plan.needs(), [Class::SteersAgents].into());
    apply::execute(&plan, &agent, &user, &journals, None).unwrap();

    let read = |name: &str| fs::read_to_string(user.join(name)).ok();
    assert_eq!(read("src/lib.rs").as_deref(), Some("ONE\ntwo\nthree\n4\n"));
    assert_eq!(read("src/new/name.rs").as_deref(), Some("a file of some length\nthat moves\n"));
    assert_eq!(fs::read_link(user.join("link")).unwrap(), Path::new("src/lib.rs"));
    for absent in ["src/old", "AGENTS.md", ".git/hooks", "leaves"] {
        assert!(fs::symlink_metadata(user.join(absent)).is_err(), "{absent}");
    }
    assert_eq!(read("notes").as_deref(), Some("the user's own\n"));
    let again = apply::plan(&base, &agent, &live, &options).unwrap();
    assert!(again.is_empty(), "{:?}", again.changes());
    let merged = again.changes().iter().find(|c| c.path == b"src/lib.rs").unwrap();
    assert_eq!(merged.verdict, Verdict::Already);
    assert!(!mark.try_exists().unwrap(), "a program of the tree was run");
    assert_eq!(fs::read_dir(&journals).unwrap().count(), 0);
}

/// Name, mode, time, content, and the names of the same inode.
type Seen = (String, u32, i64, i64, Vec<u8>, Vec<String>);

/// What a tree is, hard links and times included, by the plainest means.
fn seen(root: &Path) -> Vec<Seen> {
    use std::os::unix::fs::MetadataExt as _;
    fn go(at: &Path, all: &mut Vec<std::path::PathBuf>) {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            all.push(path.clone());
            if path.is_dir() && !path.is_symlink() {
                go(&path, all);
            }
        }
    }
    let mut all = Vec::new();
    go(root, &mut all);
    all.sort();
    let meta = |p: &Path| fs::symlink_metadata(p).unwrap();
    let name = |p: &Path| p.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    let one = |path: &std::path::PathBuf| {
        let m = meta(path);
        let bytes = match () {
            () if m.is_symlink() => fs::read_link(path).unwrap().to_str().unwrap().as_bytes().to_vec(),
            () if m.is_dir() => Vec::new(),
            () => fs::read(path).unwrap(),
        };
        let same = |p: &&std::path::PathBuf| m.is_file() && m.nlink() > 1 && meta(p).ino() == m.ino();
        let names = all.iter().filter(same).map(|p| name(p)).collect();
        (name(path), m.mode(), m.mtime(), m.mtime_nsec(), bytes, names)
    };
    all.iter().map(one).collect()
}

#[test]
fn a_workspace_is_put_back_as_it_was() {
    let top = tempfile::tempdir().unwrap();
    let (user, journals) = (top.path().join("user"), top.path().join("journals"));
    fs::create_dir(&user).unwrap();
    fs::create_dir(&journals).unwrap();
    write(&user, ".git/config", "[core]\n");
    write(&user, ".git/objects/aa/bb", "object");
    write(&user, "a/one", "linked");
    write(&user, "b/three", "linked as well");
    write(&user, "touched", "the same");
    fs::hard_link(user.join("a/one"), user.join("a/two")).unwrap();
    fs::hard_link(user.join("a/one"), user.join("b-two")).unwrap();
    fs::hard_link(user.join("b/three"), user.join("b/four")).unwrap();
    write(&user, "apart/one", "apart");
    write(&user, "apart/two", "apart");
    fs::create_dir(user.join("empty")).unwrap();
    symlink("a/one", user.join("link")).unwrap();
    let was = seen(&user);
    let store = Store::open(&top.path().join("store"), "owner", StoreOptions::default()).unwrap();
    let then = store.snapshot(&user, &SnapshotRequest::default()).unwrap().id;

    write(&user, ".git/config", "[core]\nfsmonitor = /bin/evil\n");
    write(&user, ".git/hooks/pre-commit", "#!/bin/sh\n");
    fs::remove_dir_all(user.join("a")).unwrap();
    fs::remove_file(user.join("b/four")).unwrap();
    write(&user, "b/four", "linked as well");
    fs::remove_file(user.join("apart/two")).unwrap();
    fs::hard_link(user.join("apart/one"), user.join("apart/two")).unwrap();
    fs::remove_dir(user.join("empty")).unwrap();
    write(&user, "empty", "a file now");
    fs::remove_file(user.join("link")).unwrap();
    fs::create_dir(user.join("link")).unwrap();
    write(&user, "link/inside", "x");
    write(&user, "touched", "the same");
    write(&user, "new/deep/er", "new");
    fs::set_permissions(user.join("b"), fs::Permissions::from_mode(0o700)).unwrap();
    let now_seen = seen(&user);
    let now = store.snapshot(&user, &SnapshotRequest::default()).unwrap().id;

    let (now, then) = (store.tree(&now).unwrap(), store.tree(&then).unwrap());
    let outcome = apply::replace(&now, &then, &user, &journals, None).unwrap();
    assert!(outcome.kept.is_empty() && outcome.left.is_empty(), "{outcome:?}");
    assert_eq!(seen(&user), was);
    // And there again.
    apply::replace(&then, &now, &user, &journals, None).unwrap();
    assert_eq!(seen(&user), now_seen);
    assert_eq!(fs::read_dir(&journals).unwrap().count(), 0);
}
