//! A live tree made what another is.

use super::*;
use crate::apply::{execute::ApplyError, recover::Recovered, replace::replace_at};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

impl World {
    fn replace(&self, now: &Node, then: &Node) -> Result<Outcome, ApplyError> {
        self.replace_stopped(now, then, &crate::apply::execute::Production)
    }

    fn replace_stopped(&self, now: &Node, then: &Node, seam: &dyn Seam) -> Result<Outcome, ApplyError> {
        let (now, then) = (MemTree::new(now.clone()), MemTree::new(then.clone()));
        replace_at(&now, &then, &self.user(), &self.journals(), None, &ReplaceOptions::default(), seam)
    }
}

fn repository(text: &str) -> Node {
    dir([
        (".git", dir([("HEAD", file("ref: refs/heads/main\n")), ("config", file(text)), ("hooks", dir([]))])),
        ("AGENTS.md", file(text)),
        ("link", link("/etc/passwd")),
        ("script", Node::File(0o755, text.as_bytes().to_vec())),
    ])
}

#[test]
fn everything_is_put_back_git_and_links_included() {
    for (now, then) in [
        (repository("planted"), repository("good")),
        (dir([]), repository("good")),
        (repository("planted"), dir([])),
        (dir([("x", file("was a file"))]), dir([("x", dir([("y", dir([]))]))])),
        (dir([("x", dir([("y", dir([]))]))]), dir([("x", link("nowhere"))])),
        (
            dir([("shut", Node::Dir(0o500, [(b"f".to_vec(), file("1"))].into()))]),
            dir([(
                "shut",
                Node::Dir(0o500, [(b"f".to_vec(), file("2")), (b"g".to_vec(), file("g"))].into()),
            )]),
        ),
    ] {
        let world = World::new(&now);
        world.replace(&now, &then).unwrap();
        assert_eq!(world.now(), with_mode_of(&world, &then));
        world.assert_no_journal();
        world.assert_outside_untouched();
    }
}

#[test]
fn where_something_else_stands_nothing_is_done() {
    let (now, then) = (before(), after());
    let meddle: [&dyn Fn(&World); 6] = [
        &|w| fs::write(w.user().join("kept/z"), "mine").unwrap(),
        &|w| fs::write(w.user().join("extra"), "mine").unwrap(),
        &|w| fs::write(w.user().join("gone/deep/extra"), "mine").unwrap(),
        &|w| fs::remove_file(w.user().join("edit")).unwrap(),
        &|w| fs::set_permissions(w.user().join("edit"), fs::Permissions::from_mode(0o777)).unwrap(),
        &|w| {
            fs::remove_file(w.user().join("kept/z")).unwrap();
            symlink(w.outside().join("canary"), w.user().join("kept/z")).unwrap();
        },
    ];
    for act in meddle {
        let world = World::new(&now);
        act(&world);
        let was = world.now();
        assert!(matches!(world.replace(&now, &then), Err(ApplyError::Drift { .. })));
        assert_eq!(world.now(), was);
        world.assert_no_journal();
        world.assert_outside_untouched();
    }
}

#[test]
fn what_is_changed_after_the_look_is_found_and_all_is_undone() {
    struct Meddle<'a>(&'static str, Cell<bool>, &'a dyn Fn());
    impl Seam for Meddle<'_> {
        fn at(&self, point: &'static str) -> Result<(), ApplyError> {
            if point == self.0 && !self.1.replace(true) {
                (self.2)();
            }
            Ok(())
        }
    }
    for point in ["begun", "made", "staged"] {
        let world = World::new(&before());
        let act = || fs::write(world.user().join("edit"), "mine!").unwrap();
        let done = world.replace_stopped(&before(), &after(), &Meddle(point, Cell::new(false), &act));
        assert!(matches!(done, Err(ApplyError::Drift { .. })), "{point}: {done:?}");
        assert_eq!(fs::read(world.user().join("edit")).unwrap(), b"mine!");
        fs::write(world.user().join("edit"), "old\n").unwrap();
        assert_eq!(world.now(), with_mode_of(&world, &before()), "{point}");
    }
}

#[test]
fn what_is_in_no_snapshot_stays() {
    let (now, then) = (dir([("d", dir([("f", file("f"))]))]), dir([]));
    let world = World::new(&now);
    let fifo = world.user().join("d/fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    fs::write(world.user().join(".env"), "TOKEN").unwrap();
    let options = ReplaceOptions { leave: vec![b".env".to_vec()], ..ReplaceOptions::default() };
    let (now, then) = (MemTree::new(now), MemTree::new(then));
    let outcome = replace_with(&now, &then, &world.user(), &world.journals(), None, &options).unwrap();
    assert_eq!(outcome.kept, [b"d".to_vec()]);
    assert!(fs::symlink_metadata(world.user().join("d/f")).is_err() && fs::symlink_metadata(fifo).is_ok());
    assert_eq!(fs::read(world.user().join(".env")).unwrap(), b"TOKEN");
}

#[test]
fn setuid_never_comes_back() {
    let then = dir([("f", Node::File(0o6755, b"x".to_vec()))]);
    let world = World::new(&dir([]));
    world.replace(&dir([]), &then).unwrap();
    assert_eq!(fs::metadata(world.user().join("f")).unwrap().mode() & 0o7777, 0o755);
}

struct Stop(Cell<usize>);

impl Seam for Stop {
    fn at(&self, _: &'static str) -> Result<(), ApplyError> {
        match self.0.get() {
            0 => Err(ApplyError::Stopped),
            n => {
                self.0.set(n - 1);
                Ok(())
            }
        }
    }
}

fn every_step(now: &Node, then: &Node) {
    for n in 0.. {
        let world = World::new(now);
        match world.replace_stopped(now, then, &Stop(Cell::new(n))) {
            Err(ApplyError::Stopped) => {}
            other => {
                other.unwrap();
                assert_eq!(world.now(), with_mode_of(&world, then));
                return;
            }
        }
        for recovered in recover(&world.journals()).unwrap() {
            assert!(!matches!(recovered, Recovered::Failed { .. }), "{n}: {recovered:?}");
        }
        let (is, was, to) = (world.now(), with_mode_of(&world, now), with_mode_of(&world, then));
        assert!(is == was || is == to, "stopped at {n}: {is:#?}");
        world.assert_no_journal();
    }
}

#[test]
fn killed_anywhere_it_is_as_before_or_as_it_was_to_be() {
    every_step(&before(), &after());
    every_step(&repository("planted"), &repository("good"));
    let shut = |text: &str| {
        let inner = Node::Dir(0o111, [(b"f".to_vec(), file(text))].into());
        dir([("shut", Node::Dir(0o500, [(b"in".to_vec(), inner)].into()))])
    };
    every_step(&shut("1"), &shut("2"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_becomes_any_other(now in any_root(), then in any_root()) {
        let world = World::new(&now);
        world.replace(&now, &then).unwrap();
        prop_assert_eq!(world.now(), with_mode_of(&world, &then));
        prop_assert_eq!(world.replace(&then, &then).unwrap(), Outcome::default());
        world.assert_no_journal();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]

    #[test]
    fn killed_anywhere_with_any_trees(now in any_root(), then in any_root()) {
        every_step(&now, &then);
    }
}
