//! Killed at every step: afterwards the tree is as before or as it was to be, never between.

use super::*;
use crate::apply::recover::Recovered;

/// Stops at the n-th point.
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

fn whole(world: &World, base: &Node, agent: &Node, what: &str) -> bool {
    let now = world.now();
    let (was, is) = (with_mode_of(world, base), with_mode_of(world, agent));
    assert!(now == was || now == is, "{what}: neither before nor after: {now:#?}");
    world.assert_no_journal();
    now == is
}

fn every_step(base: &Node, agent: &Node) {
    let (mut before, mut after) = (0, 0);
    for n in 0.. {
        let world = World::new(base);
        let plan = world.plan(base, agent, &all_classes());
        match world.stopped(&plan, agent, &Stop(Cell::new(n))) {
            Err(ApplyError::Stopped) => {}
            other => {
                other.unwrap();
                assert!(whole(&world, base, agent, "not stopped"));
                assert!(n == 0 || (before > 0 && after > 0), "stopped {before} and {after} times");
                return;
            }
        }
        for recovered in recover(&world.journals()).unwrap() {
            match recovered {
                Recovered::Undone { left, .. } => assert!(left.is_empty()),
                Recovered::Finished { outcome, .. } => {
                    assert!(outcome.left.is_empty() && outcome.kept.is_empty())
                }
                other => panic!("{other:?}"),
            }
        }
        if whole(&world, base, agent, &format!("stopped at {n}")) {
            after += 1
        } else {
            before += 1
        }
        // What was undone can be done again.
        world.execute(&world.plan(base, agent, &all_classes()), agent).unwrap();
        assert!(whole(&world, base, agent, "again"));
    }
}

#[test]
fn an_apply_that_is_killed_anywhere_is_undone_or_finished() {
    every_step(&before(), &after());
}

#[test]
fn a_recovery_that_is_killed_anywhere_is_taken_up_again() {
    for n in (0..).step_by(3) {
        let mut stopped = false;
        for m in 0.. {
            let world = World::new(&before());
            let plan = world.plan(&before(), &after(), &all_classes());
            stopped = matches!(world.stopped(&plan, &after(), &Stop(Cell::new(n))), Err(ApplyError::Stopped));
            if !stopped {
                break;
            }
            let first = recover_with(&world.journals(), &Stop(Cell::new(m))).unwrap();
            let again =
                first.iter().any(|r| matches!(r, Recovered::Failed { error: ApplyError::Stopped, .. }));
            recover(&world.journals()).unwrap();
            whole(&world, &before(), &after(), &format!("stopped at {n} and {m}"));
            if !again {
                break;
            }
        }
        if !stopped {
            assert!(n > 30);
            return;
        }
    }
}

#[test]
fn a_failure_in_the_middle_is_undone_at_once() {
    /// Fails, as a full disk would, and is not killed.
    struct Fail(Cell<usize>, &'static str);
    impl Seam for Fail {
        fn at(&self, point: &'static str) -> Result<(), ApplyError> {
            if point == self.1 {
                if self.0.get() == 0 {
                    self.0.set(usize::MAX);
                    return Err(ApplyError::io(b"x", rustix::io::Errno::NOSPC));
                }
                self.0.set(self.0.get() - 1);
            }
            Ok(())
        }
    }
    for point in ["make", "commit", "committed", "made", "staged", "synced"] {
        for n in 0..4 {
            let world = World::new(&before());
            let plan = world.plan(&before(), &after(), &all_classes());
            let done = world.stopped(&plan, &after(), &Fail(Cell::new(n), point));
            assert_eq!(whole(&world, &before(), &after(), point), done.is_ok(), "{point} {n}");
            assert!(n > 0 || done.is_err(), "{point}");
        }
    }
}

#[test]
fn what_somebody_put_there_after_the_kill_is_kept() {
    let (base, agent) = (dir([("f", file("old"))]), dir([("f", file("new"))]));
    let world = World::new(&base);
    let plan = world.plan(&base, &agent, &all_classes());
    struct At(&'static str);
    impl Seam for At {
        fn at(&self, point: &'static str) -> Result<(), ApplyError> {
            if point == self.0 { Err(ApplyError::Stopped) } else { Ok(()) }
        }
    }
    assert!(matches!(world.stopped(&plan, &agent, &At("committed")), Err(ApplyError::Stopped)));
    fs::remove_file(world.user().join("f")).unwrap();
    fs::write(world.user().join("f"), "mine").unwrap();
    let recovered = recover(&world.journals()).unwrap();
    let [Recovered::Undone { left, .. }] = recovered.as_slice() else { panic!("{recovered:?}") };
    assert_eq!(fs::read(world.user().join("f")).unwrap(), b"mine");
    use std::os::unix::ffi::OsStrExt as _;
    let kept = world.user().join(std::ffi::OsStr::from_bytes(&left[0]));
    assert_eq!(fs::read(kept).unwrap(), b"old");
}

#[test]
fn what_somebody_wrote_into_it_after_the_kill_is_kept() {
    struct Staged(Cell<usize>);
    impl Seam for Staged {
        fn at(&self, point: &'static str) -> Result<(), ApplyError> {
            self.0.set(self.0.get() + usize::from(point == "committed"));
            if self.0.get() == 2 { Err(ApplyError::Stopped) } else { Ok(()) }
        }
    }
    let (base, agent) = (dir([("f", file("old"))]), dir([("d", dir([("e", dir([]))])), ("f", file("new"))]));
    let world = World::new(&base);
    let plan = world.plan(&base, &agent, &all_classes());
    assert!(matches!(world.stopped(&plan, &agent, &Staged(Cell::new(0))), Err(ApplyError::Stopped)));
    fs::write(world.user().join("d/e/mine"), "mine").unwrap();
    fs::write(world.user().join("f"), "mine, and longer").unwrap();
    let recovered = recover(&world.journals()).unwrap();
    let [Recovered::Undone { left, .. }] = recovered.as_slice() else { panic!("{recovered:?}") };
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(fs::read(world.user().join("d/e/mine")).unwrap(), b"mine");
    assert_eq!(fs::read(world.user().join("f")).unwrap(), b"mine, and longer");
}

#[test]
fn a_damaged_journal_is_kept_and_nothing_is_touched() {
    let (base, agent) = (dir([("f", file("old"))]), dir([("f", file("new"))]));
    let world = World::new(&base);
    let plan = world.plan(&base, &agent, &all_classes());
    assert!(world.stopped(&plan, &agent, &Stop(Cell::new(4))).is_err());
    let journal = fs::read_dir(world.journals()).unwrap().next().unwrap().unwrap().path();
    let was = world.now();
    let text = fs::read_to_string(journal.join("plan")).unwrap();
    for broken in [text.replace("apply 2", "apply 1"), text.replacen("items", "itemz", 1), String::new()] {
        fs::write(journal.join("plan"), broken).unwrap();
        let recovered = recover(&world.journals()).unwrap();
        assert!(
            matches!(
                &recovered[0],
                Recovered::Failed { error: ApplyError::Journal(JournalError::Damaged { .. }), .. }
            ),
            "{recovered:?}"
        );
        assert_eq!(world.now(), was);
    }
    fs::write(journal.join("plan"), text).unwrap();
    fs::rename(world.user(), world.top.path().join("moved")).unwrap();
    fs::create_dir(world.user()).unwrap();
    let recovered = recover(&world.journals()).unwrap();
    assert!(
        matches!(&recovered[0], Recovered::Failed { error: ApplyError::Root { .. }, .. }),
        "{recovered:?}"
    );
}

#[test]
fn two_applies_do_not_meet() {
    let (base, agent) = (dir([("f", file("old"))]), dir([("f", file("new"))]));
    let world = World::new(&base);
    let plan = world.plan(&base, &agent, &all_classes());
    let held = crate::apply::execute::open(&world.user()).map_err(|e| e.to_string());
    assert!(held.is_ok());
    assert!(matches!(world.execute(&plan, &agent), Err(ApplyError::Busy(_))));
    drop(held);
    world.execute(&plan, &agent).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn killed_anywhere_with_any_trees(base in any_root(), agent in any_root()) {
        every_step(&base, &agent);
    }
}
