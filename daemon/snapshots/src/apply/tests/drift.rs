//! The user's tree is no longer what the agent started from.

use super::*;

fn three(
    base: &str,
    agent: &str,
    user: &str,
    options: &Options,
) -> (World, Plan, Result<Outcome, ApplyError>) {
    let world = World::new(&dir([("f", file(user)), ("other", file("o"))]));
    let agent = dir([("f", file(agent)), ("other", file("o")), ("new", file("n"))]);
    let plan = world.plan(&dir([("f", file(base)), ("other", file("o"))]), &agent, options);
    let done = world.execute(&plan, &agent);
    world.assert_no_journal();
    (world, plan, done)
}

fn text(world: &World, name: &str) -> Option<String> {
    fs::read_to_string(world.user().join(name)).ok()
}

#[test]
fn fail_changes_nothing_at_all() {
    let (world, plan, done) = three("1\n2\n3\n", "1\n2\n4\n", "0\n2\n3\n", &on(OnDrift::Fail));
    assert!(matches!(done, Err(ApplyError::Refused(1))));
    assert!(matches!(verdict(&plan, "f"), Verdict::Refused(Why::Drift(_))));
    assert_eq!((text(&world, "f").unwrap().as_str(), text(&world, "new")), ("0\n2\n3\n", None));
}

#[test]
fn skip_leaves_that_path_out() {
    let (world, _, done) = three("1\n2\n3\n", "1\n2\n4\n", "0\n2\n3\n", &on(OnDrift::Skip));
    done.unwrap();
    assert_eq!(
        (text(&world, "f").unwrap().as_str(), text(&world, "new").as_deref()),
        ("0\n2\n3\n", Some("n"))
    );
}

#[test]
fn merge_takes_both_and_refuses_conflicts_whole() {
    let (world, plan, done) = three("1\n2\n3\n", "1\n2\n4\n", "0\n2\n3\n", &on(OnDrift::Merge));
    done.unwrap();
    assert_eq!(verdict(&plan, "f"), Verdict::Merge);
    assert_eq!(text(&world, "f").unwrap(), "0\n2\n4\n");
    let (world, plan, done) = three("1\n2\n3\n", "1\nx\n3\n", "1\ny\n3\n", &on(OnDrift::Merge));
    assert!(matches!(done, Err(ApplyError::Refused(1))));
    assert!(matches!(verdict(&plan, "f"), Verdict::Refused(Why::Conflict(_))));
    assert_eq!((text(&world, "f").unwrap().as_str(), text(&world, "new")), ("1\ny\n3\n", None));
    let mut out = Vec::new();
    write_plan(&mut out, &plan).unwrap();
    assert!(String::from_utf8(out).unwrap().contains("refused f: both changed lines 2\n"));
    // What is no text is not merged.
    let (_, _, done) = three("\0\n2\n3\n", "\0\n2\n4\n", "\0\0\n2\n3\n", &on(OnDrift::Merge));
    assert!(matches!(done, Err(ApplyError::Refused(1))));
}

#[test]
fn ours_keeps_the_users_lines_where_both_changed_them() {
    let (world, _, done) = three("1\n2\n3\n4\n", "1\nx\n3\nz\n", "1\ny\n3\n4\n", &on(OnDrift::Ours));
    done.unwrap();
    assert_eq!(text(&world, "f").unwrap(), "1\ny\n3\nz\n");
}

#[test]
fn a_directory_goes_only_with_all_that_was_known_in_it() {
    let base = dir([("d", dir([("x", file("x"))]))]);
    let user = dir([("d", dir([("x", file("x")), ("mine", file("mine"))]))]);
    for agent in [dir([]), dir([("d", file("a file"))])] {
        let world = World::new(&user);
        let plan = world.plan(&base, &agent, &on(OnDrift::Fail));
        assert!(matches!(world.execute(&plan, &agent), Err(ApplyError::Refused(_))));
        let plan = world.plan(&base, &agent, &on(OnDrift::Skip));
        world.execute(&plan, &agent).unwrap();
        assert_eq!(text(&world, "d/mine").as_deref(), Some("mine"));
        assert_eq!(text(&world, "d/x"), None);
    }
}

#[test]
fn a_fifo_in_a_directory_keeps_it() {
    let base = dir([("d", dir([("x", file("x"))]))]);
    let fifo = |world: &World| {
        let path = world.user().join("d/fifo");
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
        rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
    };
    let world = World::new(&base);
    fifo(&world);
    let outcome = world.execute(&world.plan(&base, &dir([]), &all_classes()), &dir([])).unwrap();
    assert_eq!(outcome.kept, [b"d".to_vec()]);
    assert!(fs::symlink_metadata(world.user().join("d/fifo")).is_ok());
    let (world, agent) = (World::new(&base), dir([("d", file("f"))]));
    fifo(&world);
    let done = world.execute(&world.plan(&base, &agent, &all_classes()), &agent);
    assert!(matches!(done, Err(ApplyError::Drift { .. })), "{done:?}");
    assert!(fs::symlink_metadata(world.user().join("d/fifo")).is_ok());
    world.assert_no_journal();
}

#[test]
fn a_change_after_the_plan_undoes_everything() {
    for (name, change) in [
        ("edit", "in the way\n"),
        ("gone/y", "changed"),
        ("to-file/in/it", "2"),
        ("to-file/in/more", "3"),
        ("new", "in the way"),
    ] {
        let world = World::new(&before());
        let plan = world.plan(&before(), &after(), &all_classes());
        fs::write(world.user().join(name), change).unwrap();
        let was = world.now();
        let done = world.execute(&plan, &after());
        assert!(matches!(done, Err(ApplyError::Drift { .. })), "{name}: {done:?}");
        assert_eq!(world.now(), was, "{name}");
        world.assert_no_journal();
    }
}

#[test]
fn an_agents_file_that_changes_after_the_plan_is_not_brought_in() {
    let world = World::new(&before());
    let plan = world.plan(&before(), &after(), &all_classes());
    let mut other = after();
    if let Node::Dir(_, children) = &mut other {
        children.insert(b"edit".to_vec(), Node::File(0o600, b"NEW\n".to_vec()));
    }
    assert!(matches!(world.execute(&plan, &other), Err(ApplyError::Changed { .. })));
    assert_eq!(world.now(), with_mode_of(&world, &before()));
    world.assert_no_journal();
}

#[test]
fn what_a_path_stands_in_comes_with_it() {
    let agent = dir([("a", dir([("b", dir([("c", file("c")), ("d", file("d"))]))]))]);
    let world = World::new(&dir([]));
    let options = Options { paths: vec![b"a/b/c".to_vec()], ..all_classes() };
    world.execute(&world.plan(&dir([]), &agent, &options), &agent).unwrap();
    let expected = dir([("a", dir([("b", dir([("c", file("c"))]))]))]);
    assert_eq!(world.now(), with_mode_of(&world, &expected));
}
