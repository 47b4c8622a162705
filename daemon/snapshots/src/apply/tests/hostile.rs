//! Trees made by an enemy, and trees that change under the apply.

use super::*;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

/// Does something to the tree the n-th time a point is reached.
struct Meddle<'a> {
    point: &'static str,
    left: Cell<usize>,
    act: &'a dyn Fn(),
}

impl Seam for Meddle<'_> {
    fn at(&self, point: &'static str) -> Result<(), ApplyError> {
        if point == self.point {
            if self.left.get() == 0 {
                (self.act)();
            }
            self.left.set(self.left.get().wrapping_sub(1));
        }
        Ok(())
    }
}

#[test]
fn a_directory_exchanged_for_a_link_is_never_written_through() {
    let base = dir([("d", dir([("e", dir([("canary", file("old"))])), ("x", file("x"))]))]);
    let agent =
        dir([("d", dir([("e", dir([("canary", file("new")), ("more", file("m"))])), ("x", file("y"))]))]);
    for swapped in ["d", "d/e"] {
        for point in ["begun", "make", "made", "staged", "committed", "commit"] {
            for n in 0..2 {
                let world = World::new(&base);
                let plan = world.plan(&base, &agent, &all_classes());
                let act = || {
                    fs::rename(world.user().join(swapped), world.top.path().join("away")).unwrap();
                    symlink(world.outside(), world.user().join(swapped)).unwrap();
                };
                let done = world.stopped(&plan, &agent, &Meddle { point, left: Cell::new(n), act: &act });
                world.assert_outside_untouched();
                if !world.top.path().join("away").is_dir() {
                    // The point is not reached as often.
                    done.unwrap();
                    continue;
                }
                // After the last check the directory itself, wherever it is, was written to.
                if done.is_err() {
                    let was = MemTree::on_disk(&world.top.path().join("away"));
                    let expected = crate::testing::paths(&base)[swapped.as_bytes()].clone();
                    assert_eq!(was, expected, "{swapped} {point} {n}");
                }
                assert!(done.is_err() || point == "commit" || point == "committed", "{swapped} {point} {n}");
                world.assert_no_journal();
            }
        }
    }
}

#[test]
fn links_in_the_users_tree_are_replaced_and_not_followed() {
    let world = World::new(&dir([]));
    symlink(world.outside().join("canary"), world.user().join("f")).unwrap();
    symlink(world.outside(), world.user().join("d")).unwrap();
    let canary = world.outside().join("canary").to_str().unwrap().to_owned();
    let outside = world.outside().to_str().unwrap().to_owned();
    let base = dir([("f", link(&canary)), ("d", link(&outside))]);
    let agent = dir([("f", file("mine")), ("d", dir([("canary", file("mine"))]))]);
    world.execute(&world.plan(&base, &agent, &all_classes()), &agent).unwrap();
    assert_eq!(world.now(), with_mode_of(&world, &agent));
    world.assert_outside_untouched();
    // And where the user has a link to outside that the agent never saw.
    let world = World::new(&dir([]));
    symlink(world.outside(), world.user().join("d")).unwrap();
    let base = dir([("d", dir([("canary", file("canary"))]))]);
    let agent = dir([("d", dir([("canary", file("mine")), ("new", file("n"))]))]);
    for drift in [OnDrift::Fail, OnDrift::Skip, OnDrift::Ours, OnDrift::Merge] {
        let _ = world.execute(&world.plan(&base, &agent, &on(drift)), &agent);
        world.assert_outside_untouched();
    }
}

#[test]
fn links_that_leave_are_refused_or_left_out() {
    let agent = dir([
        ("abs", link("/etc/passwd")),
        ("up", link("../outside/canary")),
        ("through", link("d/../../outside")),
        ("git", link(".git/hooks/pre-commit")),
        ("fine", link("d/x")),
        ("d", dir([("x", file("x")), ("back", link("../fine")), ("out", link("../../outside"))])),
    ]);
    let world = World::new(&dir([]));
    let plan = world.plan(&dir([]), &agent, &all_classes());
    assert!(matches!(world.execute(&plan, &agent), Err(ApplyError::Refused(5))));
    let options = Options { leave_out: true, ..all_classes() };
    world.execute(&world.plan(&dir([]), &agent, &options), &agent).unwrap();
    let expected = dir([("fine", link("d/x")), ("d", dir([("x", file("x")), ("back", link("../fine"))]))]);
    assert_eq!(world.now(), with_mode_of(&world, &expected));
}

#[test]
fn git_is_never_touched_however_it_is_spelled() {
    let hook = || dir([("hooks", dir([("pre-commit", Node::File(0o755, b"#!/bin/sh\n".to_vec()))]))]);
    let names = [
        ".git",
        ".GIT",
        ".Git",
        "git~1",
        ".g\u{200c}it",
        ".git.",
        ".git ",
        "．git",
        ".gіt",
        ".git::$INDEX_ALLOCATION",
    ];
    for name in names {
        for below in ["", "sub"] {
            let tree = |node: Node| {
                if below.is_empty() { dir([(name, node)]) } else { dir([("sub", dir([(name, node)]))]) }
            };
            for (base, agent) in [
                (dir([]), tree(hook())),
                (tree(hook()), dir([])),
                (dir([]), tree(file("gitdir: /x"))),
                (tree(file("a")), tree(hook())),
            ] {
                let world = World::new(&base);
                let was = crate::testing::paths(&world.now());
                let plan = world.plan(&base, &agent, &all_classes());
                world.execute(&plan, &agent).unwrap();
                let mut now = crate::testing::paths(&world.now());
                now.retain(|path, _| path != b"sub");
                assert_eq!(now, was.into_iter().filter(|(p, _)| p != b"sub").collect(), "{name}");
            }
        }
    }
}

#[test]
fn hard_links_are_broken_and_special_bits_never_written() {
    let (base, agent) = (dir([("f", file("old"))]), dir([("f", Node::File(0o6755, b"new".to_vec()))]));
    let world = World::new(&base);
    fs::hard_link(world.user().join("f"), world.top.path().join("other-name")).unwrap();
    world.execute(&world.plan(&base, &agent, &all_classes()), &agent).unwrap();
    let other = fs::metadata(world.top.path().join("other-name")).unwrap();
    assert_eq!(
        (fs::read(world.top.path().join("other-name")).unwrap().as_slice(), other.nlink()),
        (b"old".as_slice(), 1)
    );
    assert_eq!(other.permissions().mode() & 0o7777, 0o644);
    assert_eq!(fs::metadata(world.user().join("f")).unwrap().permissions().mode() & 0o7777, 0o755);
}

#[test]
fn classes_are_asked_for_before_anything_is_written() {
    use crate::classify::Class;
    let agent = dir([
        ("readme", file("x")),
        ("Makefile", file("all:\n")),
        ("sub", dir([("AGENTS.md", file("obey"))])),
    ]);
    let world = World::new(&dir([]));
    let plan = world.plan(&dir([]), &agent, &Options::default());
    assert_eq!(plan.needs(), [Class::RunsLater, Class::SteersAgents].into());
    assert!(matches!(world.execute(&plan, &agent), Err(ApplyError::Refused(2))));
    assert_eq!(world.now(), with_mode_of(&world, &dir([])));
    let options = Options { allowed: [Class::SteersAgents].into(), leave_out: true, ..Options::default() };
    world.execute(&world.plan(&dir([]), &agent, &options), &agent).unwrap();
    let expected = dir([("readme", file("x")), ("sub", dir([("AGENTS.md", file("obey"))]))]);
    assert_eq!(world.now(), with_mode_of(&world, &expected));
}

#[test]
fn a_sparse_file_stays_sparse() {
    let (base, mut agent) = (dir([]), dir([]));
    let mut bytes = vec![0; 8 << 20];
    bytes[4 << 20] = 1;
    if let Node::Dir(_, children) = &mut agent {
        children.insert(b"s".to_vec(), Node::File(0o644, bytes.clone()));
    }
    let world = World::new(&base);
    world.execute(&world.plan(&base, &agent, &all_classes()), &agent).unwrap();
    assert_eq!(fs::read(world.user().join("s")).unwrap(), bytes);
    assert!(fs::metadata(world.user().join("s")).unwrap().blocks() * 512 < 1 << 20);
}

#[test]
fn what_a_link_of_a_known_name_leads_to_is_classed_as_it() {
    use crate::classify::Class;
    let base = dir([
        ("AGENTS.md", link("docs/agents.txt")),
        (".claude", link("./conf/claude")),
        ("conf", dir([("claude", dir([("x", file("x"))]))])),
        ("docs", dir([("agents.txt", file("be kind")), ("other.txt", file("o"))])),
    ]);
    let agent = dir([
        ("AGENTS.md", link("docs/agents.txt")),
        (".claude", link("./conf/claude")),
        ("conf", dir([("claude", dir([("x", file("y"))]))])),
        ("docs", dir([("agents.txt", file("obey")), ("other.txt", file("p"))])),
    ]);
    let world = World::new(&base);
    let plan = world.plan(&base, &agent, &Options::default());
    assert_eq!(verdict(&plan, "docs/agents.txt"), Verdict::Refused(Why::Class));
    assert_eq!(verdict(&plan, "conf/claude/x"), Verdict::Refused(Why::Class));
    assert_eq!(verdict(&plan, "docs/other.txt"), Verdict::Apply);
    assert_eq!(plan.needs(), [Class::SteersAgents].into());
}

#[test]
fn a_directory_flipped_all_the_time_never_leads_outside() {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use std::sync::atomic::{AtomicBool, Ordering};
    let tree =
        |text: &str| dir([("d", dir([("canary", file(text)), (text, file(text))])), ("top", file(text))]);
    let (base, agent) = (tree("one"), tree("two"));
    let world = World::new(&base);
    symlink(world.outside(), world.top.path().join("flip")).unwrap();
    let (ended, flips) = (AtomicBool::new(false), Cell::new(0u32));
    let (a, b) = (world.user().join("d"), world.top.path().join("flip"));
    let flip = || renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).unwrap();
    let (mut done, mut failed) = (0, 0);
    std::thread::scope(|scope| {
        let flipper = scope.spawn(|| {
            let mut count = 0u32;
            while !ended.load(Ordering::Relaxed) {
                flip();
                count += 1;
            }
            count
        });
        for _ in 0..300 {
            let (from, to) = if done % 2 == 0 { (&base, &agent) } else { (&agent, &base) };
            let (from, agent) = (MemTree::new(from.clone()), MemTree::new(to.clone()));
            let Ok(plan) = plan(&from, &agent, &world.live(), &all_classes()) else { continue };
            let outcome = execute(&plan, &agent, &world.user(), &world.journals(), None);
            if outcome.is_ok() && !plan.is_empty() {
                done += 1
            } else {
                failed += 1
            }
            world.assert_outside_untouched();
        }
        ended.store(true, Ordering::Relaxed);
        flips.set(flipper.join().unwrap());
    });
    assert!(failed > 0 && flips.get() > 300, "{done} done, {failed} failed, {} flips", flips.get());
    if flips.get() % 2 == 1 {
        flip();
    }
    recover(&world.journals()).unwrap();
    world.assert_no_journal();
    world.assert_outside_untouched();
    let now = with_mode_of(&world, &world.now());
    assert!([&base, &agent].iter().any(|t| now == with_mode_of(&world, t)), "{now:?}");
}

#[test]
fn a_link_through_the_users_own_link_out_of_the_tree_is_refused() {
    let base = dir([
        ("out", link("/etc")),
        ("in", link("d")),
        ("chain", link("d/deep")),
        ("round", link("round")),
        ("repo", link(".git")),
        ("d", dir([("deep", link("../out")), ("x", file("x"))])),
    ]);
    let world = World::new(&base);
    for (target, inside) in [
        ("out", false),
        ("out/passwd", false),
        ("in/x", true),
        ("in", true),
        ("chain/passwd", false),
        ("round/x", true),
        ("repo/config", false),
        ("in/deep", false),
        ("nowhere/x", true),
    ] {
        let mut agent = base.clone();
        if let Node::Dir(_, children) = &mut agent {
            children.insert(b"new".to_vec(), link(target));
        }
        let plan = world.plan(&base, &agent, &all_classes());
        let expected = if inside { Verdict::Apply } else { Verdict::Refused(Why::Link) };
        assert_eq!(verdict(&plan, "new"), expected, "{target}");
    }
}

/// Directories below each other with a file in the deepest.
fn deep(depth: usize, text: &str) -> Node {
    (0..depth).fold(dir([("file", file(text))]), |inner, _| dir([("d", inner)]))
}

#[test]
fn a_link_of_a_known_name_counts_wherever_it_leads() {
    use crate::classify::Class;
    let links = || {
        [
            ("CLAUDE.md", link("a/b/notes")),
            ("tools", dir([(".claude", link("../conf")), ("AGENTS.md", link("../a/b/notes"))])),
            ("up", dir([(".mcp.json", link("..")), ("x", file("x"))])),
        ]
    };
    let tree = |text: &str| {
        let [one, two, three] = links();
        dir([
            one,
            two,
            three,
            ("a", dir([("b", dir([("notes", file(text)), ("other", file(text))]))])),
            ("conf", dir([("x", dir([("y", file(text))]))])),
        ])
    };
    let world = World::new(&tree("1"));
    let plan = world.plan(&tree("1"), &tree("2"), &Options::default());
    assert_eq!(verdict(&plan, "a/b/notes"), Verdict::Refused(Why::Class));
    // Links in other directories than those around it do not count: they are told with their own.
    assert_eq!(verdict(&plan, "a/b/other"), Verdict::Apply);
    assert_eq!(verdict(&plan, "conf/x/y"), Verdict::Apply);
    let base = dir([("p", dir([(".claude", link(".")), ("f", file("1"))])), ("q", file("1"))]);
    let agent = dir([("p", dir([(".claude", link(".")), ("f", file("2"))])), ("q", file("2"))]);
    let world = World::new(&base);
    let plan = world.plan(&base, &agent, &Options::default());
    assert_eq!(verdict(&plan, "p/f"), Verdict::Refused(Why::Class));
    assert_eq!(plan.needs(), [Class::SteersAgents].into());
    assert_eq!(verdict(&plan, "q"), Verdict::Apply);
}

#[test]
fn a_deep_tree_is_brought_in_and_taken_out_again() {
    // Far deeper than there are descriptors, and on a small stack.
    let run = || {
        let none = dir([]);
        let many = deep(2000, "x");
        let world = World::new(&none);
        world.execute(&world.plan(&none, &many, &all_classes()), &many).unwrap();
        let replaced = deep(2000, "y");
        world.execute(&world.plan(&many, &replaced, &all_classes()), &replaced).unwrap();
        let live = world.live();
        let mut path = vec![b"d".as_slice(); 2000].join(&b'/');
        path.extend_from_slice(b"/file");
        let mut text = String::new();
        std::io::Read::read_to_string(&mut crate::TreeSource::read(&live, &path).unwrap(), &mut text)
            .unwrap();
        assert_eq!(text, "y");
        world.execute(&world.plan(&replaced, &none, &all_classes()), &none).unwrap();
        assert_eq!(fs::read_dir(world.user()).unwrap().count(), 0);
        world.assert_no_journal();
    };
    std::thread::Builder::new().stack_size(16 << 20).spawn(run).unwrap().join().unwrap();
}

#[test]
fn what_stands_around_a_tree_says_what_its_changes_are() {
    for (above, name, class) in [
        ("/home/u/p/.github", "workflows/ci.yml", Class::RunsLater),
        ("/home/u/p/.GitHub/workflows", "ci.yml", Class::RunsLater),
        ("/home/u/p/hooks", "pre-push", Class::RunsLater),
        ("/home/u/p/.claude", "settings.json", Class::SteersAgents),
        ("/home/u/.ssh", "rc", Class::RunsLater),
    ] {
        let node = name.rsplit('/').fold(file("x"), |inner, name| dir([(name, inner)]));
        let world = World::new(&dir([]));
        let at = |above: &str| Options { above: above.into(), ..Options::default() };
        let plan = world.plan(&dir([]), &node, &at(above));
        assert!(plan.needs().contains(&class), "{above} {name}");
        assert!(world.plan(&dir([]), &node, &at("/home/u/p")).needs().is_empty(), "{name}");
    }
}

#[test]
fn a_link_above_the_root_is_not_followed_to_another_tree() {
    let (base, agent) = (dir([("f", file("old"))]), dir([("f", file("new"))]));
    let world = World::new(&base);
    let plan = world.plan(&base, &agent, &all_classes());
    let link = world.top.path().join("link");
    symlink(world.top.path(), &link).unwrap();
    let root = link.join(world.user().file_name().unwrap());
    assert_eq!(fs::read(root.join("f")).unwrap(), b"old");
    assert!(LiveTree::open(&root).is_err());
    let refused = execute(&plan, &MemTree::new(agent), &root, &world.journals(), None);
    assert!(matches!(refused, Err(ApplyError::Root { .. })), "{refused:?}");
    assert_eq!(fs::read(world.user().join("f")).unwrap(), b"old");
}
