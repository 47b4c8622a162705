use super::{
    execute::{Seam, execute_with},
    plan::{Plan, Verdict, Why, plan},
    recover::recover_with,
    *,
};
use crate::{
    live::LiveTree,
    testing::{MemTree, Node, any_root, dir, file, link},
};
use proptest::prelude::*;
use std::{cell::Cell, fs, os::unix::fs::symlink};

mod crash;
mod drift;
mod hostile;
mod reference;
mod replace;
mod rights;

/// A user's tree on disk, a place for journals, and something outside that nobody may touch.
struct World {
    top: tempfile::TempDir,
}

impl World {
    /// In memory where there is such a place: each step is synced, and there are many.
    fn new(user: &Node) -> Self {
        Self::at(user, tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap())
    }

    fn at(user: &Node, top: tempfile::TempDir) -> Self {
        for name in ["user", "journals", "outside"] {
            fs::create_dir(top.path().join(name)).unwrap();
        }
        fs::write(top.path().join("outside/canary"), "canary").unwrap();
        MemTree::write(user, &top.path().join("user"));
        Self { top }
    }

    fn user(&self) -> std::path::PathBuf {
        self.top.path().join("user")
    }

    fn journals(&self) -> std::path::PathBuf {
        self.top.path().join("journals")
    }

    fn outside(&self) -> std::path::PathBuf {
        self.top.path().join("outside")
    }

    fn live(&self) -> LiveTree {
        LiveTree::open(&self.user()).unwrap()
    }

    fn now(&self) -> Node {
        MemTree::on_disk(&self.user())
    }

    fn plan(&self, base: &Node, agent: &Node, options: &Options) -> Plan {
        plan(&MemTree::new(base.clone()), &MemTree::new(agent.clone()), &self.live(), options).unwrap()
    }

    fn execute(&self, plan: &Plan, agent: &Node) -> Result<Outcome, ApplyError> {
        execute(plan, &MemTree::new(agent.clone()), &self.user(), &self.journals(), None)
    }

    fn stopped(&self, plan: &Plan, agent: &Node, seam: &dyn Seam) -> Result<Outcome, ApplyError> {
        execute_with(plan, &MemTree::new(agent.clone()), &self.user(), &self.journals(), None, seam)
    }

    fn assert_outside_untouched(&self) {
        let names: Vec<_> = fs::read_dir(self.outside()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["canary"]);
        assert_eq!(fs::read(self.outside().join("canary")).unwrap(), b"canary");
    }

    fn assert_no_journal(&self) {
        assert_eq!(fs::read_dir(self.journals()).unwrap().count(), 0);
    }
}

fn all_classes() -> Options {
    Options { allowed: crate::classify::Class::MARKED.into_iter().collect(), ..Options::default() }
}

fn on(on_drift: OnDrift) -> Options {
    Options { on_drift, ..all_classes() }
}

fn verdict(plan: &Plan, path: &str) -> Verdict {
    let found = plan.changes().iter().find(|c| c.path == path.as_bytes());
    found.unwrap_or_else(|| panic!("{path} is not in the plan {:?}", plan.changes())).verdict.clone()
}

/// Every kind of step at once.
fn before() -> Node {
    dir([
        ("edit", file("old\n")),
        ("gone", dir([("deep", dir([("x", file("x"))])), ("y", file("y"))])),
        ("kept", dir([("z", file("z"))])),
        ("link", link("edit")),
        ("to-dir", file("was a file")),
        ("to-file", dir([("in", dir([("it", file("1"))]))])),
        ("mode", Node::Dir(0o755, [(b"m".to_vec(), file("m"))].into())),
    ])
}

fn after() -> Node {
    dir([
        ("edit", Node::File(0o600, b"new\n".to_vec())),
        ("kept", dir([("z", file("z")), ("added", file("a"))])),
        ("link", link("kept/z")),
        ("new", dir([("deep", dir([("file", file("f")), ("empty", dir([]))])), ("up", link("../edit"))])),
        ("to-dir", dir([("child", file("c"))])),
        ("to-file", file("was a directory")),
        ("mode", Node::Dir(0o700, [(b"m".to_vec(), file("m"))].into())),
    ])
}

fn with_mode_of(root: &World, node: &Node) -> Node {
    match (root.now(), node) {
        (Node::Dir(mode, _), Node::Dir(_, children)) => Node::Dir(mode, children.clone()),
        _ => panic!("a root is a directory"),
    }
}

#[test]
fn every_kind_of_change_is_brought_in() {
    let world = World::at(&before(), tempfile::tempdir().unwrap());
    let plan = world.plan(&before(), &after(), &all_classes());
    let outcome = world.execute(&plan, &after()).unwrap();
    assert_eq!(world.now(), with_mode_of(&world, &after()));
    assert!(outcome.left.is_empty() && outcome.kept.is_empty(), "{outcome:?}");
    world.assert_no_journal();
    world.assert_outside_untouched();
    // The same trees give the same plan, whatever it is, and others another.
    let again = World::new(&before());
    assert_eq!(again.plan(&before(), &after(), &all_classes()).digest(), plan.digest());
    let part = Options { paths: vec![b"edit".to_vec()], ..all_classes() };
    assert_ne!(again.plan(&before(), &after(), &part).digest(), plan.digest());
    let mut other = after();
    if let Node::Dir(_, children) = &mut other {
        children.insert(b"edit".to_vec(), Node::File(0o600, b"nEw\n".to_vec()));
    }
    assert_ne!(again.plan(&before(), &other, &all_classes()).digest(), plan.digest());
    // And a second time there is nothing to do.
    assert!(world.plan(&before(), &after(), &all_classes()).is_empty());
}

#[test]
fn many_files_are_brought_in_and_taken_out_again() {
    let children = (0..600).map(|n| (format!("f{n}").into_bytes(), file(&n.to_string()))).collect();
    let (none, many) = (dir([("d", dir([]))]), dir([("d", Node::Dir(0o755, children))]));
    let world = World::at(&none, tempfile::tempdir().unwrap());
    for (base, agent) in [(&none, &many), (&many, &none)] {
        let outcome = world.execute(&world.plan(base, agent, &all_classes()), agent).unwrap();
        assert_eq!(outcome.steps, 600);
        assert_eq!(world.now(), with_mode_of(&world, agent));
    }
    world.assert_no_journal();
}

#[test]
fn a_plan_is_shown_and_told() {
    let world = World::new(&before());
    let agent = dir([("Makefile", file("all:\n")), ("\x1b[2J", file("x"))]);
    let plan = world.plan(&dir([]), &agent, &Options::default());
    let mut out = Vec::new();
    write_plan(&mut out, &plan).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.contains("refused Makefile: its class was not allowed\n  runs-later: a build runs it\n"),
        "{text}"
    );
    assert!(!text.contains('\x1b'));
    let json = serde_json::to_value(plan.report()).unwrap();
    assert_eq!(json["refused"], true);
    assert_eq!(json["changes"][1]["findings"][0]["class"], "runs-later");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn what_nobody_else_changed_becomes_the_agents(base in any_root(), agent in any_root()) {
        let world = World::new(&base);
        let plan = world.plan(&base, &agent, &all_classes());
        prop_assert_eq!(plan.refused().count(), 0);
        world.execute(&plan, &agent).unwrap();
        prop_assert_eq!(world.now(), with_mode_of(&world, &agent));
        world.assert_no_journal();
    }

    #[test]
    fn only_what_was_asked_for_is_changed(base in any_root(), agent in any_root()) {
        let world = World::new(&base);
        let options = Options { paths: vec![b"a".to_vec()], ..all_classes() };
        world.execute(&world.plan(&base, &agent, &options), &agent).unwrap();
        let part = |node: &Node, of: bool| match node {
            Node::Dir(_, c) => c.iter().filter(|(n, _)| (n.as_slice() == b"a") == of)
                .map(|(n, v)| (n.clone(), v.clone())).collect::<Vec<_>>(),
            _ => Vec::new(),
        };
        prop_assert_eq!(part(&world.now(), true), part(&agent, true));
        prop_assert_eq!(part(&world.now(), false), part(&base, false));
    }

    #[test]
    fn the_users_own_changes_are_never_lost(base in any_root(), agent in any_root(), user in any_root()) {
        let world = World::new(&user);
        // Fail: nothing at all where anything drifted.
        let plan = world.plan(&base, &agent, &on(OnDrift::Fail));
        let done = world.execute(&plan, &agent);
        prop_assert_eq!(done.is_err(), plan.refused().count() > 0);
        if done.is_err() {
            prop_assert_eq!(world.now(), with_mode_of(&world, &user));
        }
        // Skip: what the user changed is as the user has it, but for directories around it.
        let world = World::new(&user);
        let plan = world.plan(&base, &agent, &on(OnDrift::Skip));
        prop_assert_eq!(plan.refused().count(), 0);
        world.execute(&plan, &agent).unwrap();
        // Ours: the same, but for lines that nobody else changed; and nothing is refused.
        prop_assert_eq!(World::new(&user).plan(&base, &agent, &on(OnDrift::Ours)).refused().count(), 0);
        let (was, mine, now) = (crate::testing::paths(&base), crate::testing::paths(&user), crate::testing::paths(&world.now()));
        for (path, node) in &mine {
            if !matches!(node, Node::Dir(..)) && was.get(path) != Some(node) {
                prop_assert_eq!(now.get(path), Some(node), "{:?}", path.escape_ascii().to_string());
            }
        }
        world.assert_no_journal();
    }
}
