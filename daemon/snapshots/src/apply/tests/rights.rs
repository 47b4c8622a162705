//! A daemon that is root changes a user's tree with that user's rights.

use super::*;
use crate::rights::as_owner;
use std::{
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown},
    path::Path,
};

const USER: u32 = 4321;
const GROUP: u32 = 1234;

fn owner() -> Owner {
    Owner::new(USER, GROUP)
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn give(path: &Path) {
    if path.is_dir() && !path.is_symlink() {
        fs::read_dir(path).unwrap().for_each(|e| give(&e.unwrap().path()));
    }
    lchown(path, Some(USER), Some(GROUP)).unwrap();
}

/// A world whose tree is the user's; all around it is root's.
fn world(user: &Node) -> World {
    assert!(rustix::process::getuid().is_root(), "acting for others is tested as root");
    let world = World::new(user);
    give(&world.user());
    mode(world.top.path(), 0o755);
    mode(&world.journals(), 0o700);
    world
}

impl World {
    fn as_user(&self, base: &Node, agent: &Node) -> Result<Outcome, String> {
        let live = LiveTree::open_as(&self.user(), &owner()).map_err(|e| e.to_string())?;
        let (base, tree) = (MemTree::new(base.clone()), MemTree::new(agent.clone()));
        let plan = plan(&base, &tree, &live, &all_classes()).map_err(|e| e.to_string())?;
        execute(&plan, &tree, &self.user(), &self.journals(), Some(&owner())).map_err(|e| e.to_string())
    }
}

#[test]
fn what_is_put_there_is_the_users() {
    let agent = dir([
        ("d", dir([("f", file("x")), ("l", link("f"))])),
        ("s", dir([("in", dir([("g", file("g"))]))])),
    ]);
    let base = dir([("s", dir([]))]);
    let world = world(&base);
    // A directory that gives its group on goes on doing so.
    chown(world.user().join("s"), None, Some(77)).unwrap();
    mode(&world.user().join("s"), 0o2755);
    world.as_user(&base, &agent).unwrap();
    for (name, group) in [("d", GROUP), ("d/f", GROUP), ("d/l", GROUP), ("s/in", 77), ("s/in/g", 77)] {
        let meta = fs::symlink_metadata(world.user().join(name)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (USER, group), "{name}");
    }
    assert_eq!(fs::metadata(world.user().join("s")).unwrap().mode() & 0o7777, 0o2755);
    world.assert_no_journal();
}

#[test]
fn what_the_user_may_not_read_is_not_read() {
    let base = dir([("f", file("one\n")), ("d", dir([("x", file("x"))]))]);
    let agent = dir([("f", file("two\n")), ("d", dir([("x", file("y"))]))]);
    for closed in ["f", "d"] {
        let world = world(&base);
        let path = world.user().join(closed);
        chown(&path, Some(0), Some(0)).unwrap();
        mode(&path, if closed == "d" { 0o700 } else { 0o600 });
        // The mode is the snapshot's, so that nothing but reading tells.
        let told = |tree: &Node| match tree {
            Node::Dir(m, c) => {
                let mut c = c.clone();
                if let Some(Node::File(m, _)) = c.get_mut(closed.as_bytes()) {
                    *m = 0o600;
                }
                Node::Dir(*m, c)
            }
            other => other.clone(),
        };
        let error = world.as_user(&told(&base), &told(&agent)).unwrap_err();
        assert!(error.contains("Permission denied"), "{closed}: {error}");
        assert_eq!(fs::read(world.user().join("f")).unwrap(), b"one\n");
        assert_eq!(fs::read(world.user().join("d/x")).unwrap(), b"x");
        world.assert_no_journal();
    }
}

#[test]
fn a_directory_that_the_user_may_not_write_to_stays_as_it_is() {
    let base = dir([("d", dir([("f", file("one\n")), ("gone", file("g"))]))]);
    for agent in [
        dir([("d", dir([("f", file("two\n")), ("gone", file("g"))]))]),
        dir([("d", dir([("f", file("one\n"))]))]),
        dir([("d", dir([("f", file("one\n")), ("gone", file("g")), ("new", file("n"))]))]),
        dir([(
            "d",
            Node::Dir(0o700, [("f", "one\n"), ("gone", "g")].map(|(n, t)| (n.into(), file(t))).into()),
        )]),
        dir([("other", file("first")), ("d", dir([]))]),
    ] {
        let world = world(&base);
        chown(world.user().join("d"), Some(0), Some(0)).unwrap();
        let was = world.now();
        let error = world.as_user(&base, &agent).unwrap_err();
        assert!(error.contains("ermi") || error.contains("denied"), "{error}");
        assert_eq!(world.now(), was);
        world.assert_no_journal();
    }
}

#[test]
fn a_sticky_directory_keeps_what_others_put_there() {
    let base = dir([("tmp", Node::Dir(0o777, [(b"theirs".to_vec(), file("t"))].into()))]);
    let agent = dir([("tmp", Node::Dir(0o777, [(b"theirs".to_vec(), file("mine"))].into()))]);
    let world = world(&base);
    for path in ["tmp", "tmp/theirs"] {
        chown(world.user().join(path), Some(9999), Some(9999)).unwrap();
    }
    mode(&world.user().join("tmp"), 0o1777);
    let error = world.as_user(&base, &agent).unwrap_err();
    assert!(error.contains("not permitted"), "{error}");
    assert_eq!(fs::read(world.user().join("tmp/theirs")).unwrap(), b"t");
    assert_eq!(fs::metadata(world.user().join("tmp/theirs")).unwrap().uid(), 9999);
    world.assert_no_journal();
    // What is the user's own there is changed.
    chown(world.user().join("tmp/theirs"), Some(USER), Some(GROUP)).unwrap();
    world.as_user(&base, &agent).unwrap();
    assert_eq!(fs::read(world.user().join("tmp/theirs")).unwrap(), b"mine");
}

#[test]
fn a_tree_that_the_user_cannot_reach_is_none() {
    let world = world(&dir([]));
    mode(world.top.path(), 0o700);
    let error = world.as_user(&dir([]), &dir([("f", file("x"))])).unwrap_err();
    assert!(error.contains("Permission denied"), "{error}");
    mode(world.top.path(), 0o755);
    // A link of the user's to where only root can go leads nowhere.
    let closed = world.top.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::create_dir(closed.join("tree")).unwrap();
    mode(&closed, 0o700);
    assert!(LiveTree::open_as(&closed.join("tree"), &owner()).is_err());
    let agent = dir([("f", file("x"))]);
    let plan = world.plan(&dir([]), &agent, &all_classes());
    let done = execute(&plan, &MemTree::new(agent), &closed.join("tree"), &world.journals(), Some(&owner()));
    assert!(matches!(done, Err(ApplyError::Root { .. })), "{done:?}");
}

#[test]
fn a_kill_is_recovered_from_with_the_users_rights() {
    struct Stop;
    impl Seam for Stop {
        fn at(&self, point: &'static str) -> Result<(), ApplyError> {
            if point == "committed" { Err(ApplyError::Stopped) } else { Ok(()) }
        }
    }
    let (base, agent) = (dir([("d", dir([("f", file("old"))]))]), dir([("d", dir([("f", file("new"))]))]));
    let world = world(&base);
    let tree = MemTree::new(agent.clone());
    let plan = world.plan(&base, &agent, &all_classes());
    let done = execute_with(&plan, &tree, &world.user(), &world.journals(), Some(&owner()), &Stop);
    assert!(matches!(done, Err(ApplyError::Stopped)));
    // Meanwhile the directory became root's: the user cannot put it back, and nor does root.
    chown(world.user().join("d"), Some(0), Some(0)).unwrap();
    let recovered = recover(&world.journals()).unwrap();
    assert!(matches!(recovered.as_slice(), [recover::Recovered::Failed { .. }]), "{recovered:?}");
    assert_eq!(fs::read(world.user().join("d/f")).unwrap(), b"new");
    chown(world.user().join("d"), Some(USER), Some(GROUP)).unwrap();
    assert!(matches!(recover(&world.journals()).unwrap().as_slice(), [recover::Recovered::Undone { .. }]));
    assert_eq!(fs::read(world.user().join("d/f")).unwrap(), b"old");
    assert_eq!(fs::metadata(world.user().join("d/f")).unwrap().uid(), USER);
    world.assert_no_journal();
}

#[test]
fn the_whole_of_it_is_done_for_somebody_else() {
    let world = world(&before());
    world.as_user(&before(), &after()).unwrap();
    assert_eq!(world.now(), with_mode_of(&world, &after()));
    assert!(as_owner(&owner(), || fs::read_dir(world.journals())).unwrap().is_err());
    world.assert_no_journal();
}

#[test]
fn a_tree_is_replaced_with_the_users_rights() {
    let shut = |text: &str| {
        let inner = Node::Dir(0o500, [(b"f".to_vec(), file(text)), (text.into(), file(text))].into());
        dir([("shut", Node::Dir(0o500, [(b"in".to_vec(), inner)].into()))])
    };
    for (now, then) in
        [(before(), after()), (shut("1"), shut("2")), (shut("1"), dir([])), (dir([]), shut("1"))]
    {
        let world = world(&now);
        let tree = MemTree::new(then.clone());
        let (live, journals) = (LiveTree::open_as(&world.user(), &owner()).unwrap(), world.journals());
        replace(&live, &tree, &world.user(), &journals, Some(&owner())).unwrap();
        assert_eq!(world.now(), with_mode_of(&world, &then));
        world.assert_no_journal();
    }
    // What is root's own stays, readable or not, and so does what it stands in.
    let world = world(&before());
    let kept = world.user().join("gone/deep/roots");
    fs::write(&kept, "roots").unwrap();
    mode(&kept, 0o600);
    let (now, then) = (MemTree::new(before()), MemTree::new(dir([])));
    let outcome = replace(&now, &then, &world.user(), &world.journals(), Some(&owner())).unwrap();
    assert_eq!(outcome.kept, [b"gone/deep".to_vec(), b"gone".to_vec()]);
    assert_eq!(fs::read(&kept).unwrap(), b"roots");
    assert!(["gone/y", "edit"].iter().all(|p| fs::symlink_metadata(world.user().join(p)).is_err()));
}

#[test]
fn what_the_user_has_closed_to_itself_is_still_the_users() {
    let closed = |text: &str| dir([("f", Node::File(0o000, text.as_bytes().to_vec())), ("g", file("g"))]);
    let world = world(&closed("1"));
    world.as_user(&closed("1"), &closed("2")).unwrap();
    assert_eq!(world.now(), with_mode_of(&world, &closed("2")));
    let live = LiveTree::open_as(&world.user(), &owner()).unwrap();
    let then = MemTree::new(closed("1"));
    replace(&live, &then, &world.user(), &world.journals(), Some(&owner())).unwrap();
    assert_eq!(world.now(), with_mode_of(&world, &closed("1")));
}
