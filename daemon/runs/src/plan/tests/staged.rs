//! Writable context paths as forks, among trees of every other kind.

use super::*;
use cordon_forks::Fork;
use cordon_sandbox::PathKind;

/// Where an entry's content is, relative to the forks of this world; none: at its own path.
fn source(world: &World, planned: &Planned, path: &Path) -> Option<PathBuf> {
    match &entry(planned, path).unwrap_or_else(|| panic!("nothing at {path:?}")).source {
        PathSource::Host(host) if host == path => None,
        PathSource::Host(host) => {
            Some(host.strip_prefix(world.at("state/forks/run/0")).unwrap().to_path_buf())
        }
        other => panic!("{path:?} is {other:?}"),
    }
}

fn context(path: &str, mode: &str) -> String {
    let mode = if mode.is_empty() { String::new() } else { format!("      write_mode: {mode}\n") };
    format!("    - path: '@/{path}'\n      permission: write\n{mode}")
}

#[test]
fn what_the_agent_sees_at_the_users_path_is_the_fork() {
    let world = World::new();
    let c = world.tree("c");
    world.file("c/.env");
    world.file("c/sub/.git/config");
    world.file("c/keep/x");
    let planned = world.plan("w", &format!("{WRITE}      protected_paths: [keep, absent/deep]\n")).unwrap();
    let [staged] = planned.staged.as_slice() else { panic!("{:?}", planned.staged) };
    assert_eq!((staged.path.as_path(), staged.is_directory), (c.as_path(), true));
    assert_eq!(staged.fork, world.at("state/forks/run/0/0"));
    for path in ["c", "c/keep", "c/sub/.git", "c/sub", "c/.git", "c/.mcp.json", "c/absent"] {
        let below = Path::new("c").components().count();
        let relative: PathBuf = Path::new(path).components().skip(below).collect();
        let expected = if relative.as_os_str().is_empty() {
            PathBuf::from("0/tree")
        } else {
            Path::new("0/tree").join(relative)
        };
        assert_eq!(source(&world, &planned, &world.at(path)), Some(expected), "{path}");
    }
    assert_eq!(entry(&planned, &c.join(".env")).unwrap().source, PathSource::Empty);
    assert_eq!(staged.leave_out, [Path::new(".env")]);
    // Held in the fork, and the user's own tree is as it was.
    assert!(planned.placeholders.is_empty(), "{:?}", planned.placeholders);
    let held = |name: &str| staged.hold.iter().find(|h| h.path == Path::new(name)).map(|h| h.kind);
    assert_eq!(held(".git"), Some(PathKind::Directory));
    assert_eq!(held(".mcp.json"), Some(PathKind::File));
    assert_eq!(held("absent"), Some(PathKind::Directory));
    assert_eq!((held("absent/deep"), held(".git/hooks"), held("keep")), (None, None, None));
    assert!(!c.join(".git").try_exists().unwrap() && !c.join("absent").try_exists().unwrap());
    // The rules are about the user's path.
    assert_eq!(access(&planned, &c.join(".git/hooks")), Access::Read);
    assert!(fix(&planned, &c.join(".mcp.json"), Operation::Create).contains("add `.mcp.json`"));
    assert!(planned.is_staged(&c.join("x")) && !planned.is_staged(&c.join(".env")));
    assert!(!planned.is_staged(&planned.workspace.path));
    assert_eq!(planned.watched, std::slice::from_ref(&planned.workspace.path));
}

#[test]
fn everything_that_is_mounted_stands_in_the_fork() {
    let world = World::new();
    let c = world.tree("c");
    for name in ["c/.env", "c/a/.ssh/id_rsa", "c/sub/.claude/x", "c/keep/x", "c/r/x", "c/one"] {
        world.file(name);
    }
    world.tree("c/ws");
    let contexts = format!(
        "{WRITE}      protected_paths: [keep, gone]\n    - path: '@/c/r'\n{}",
        context("c/one", "legacy")
    );
    let planned = world.plan("'@/c/ws'", &contexts).unwrap();
    let [staged] = planned.staged.as_slice() else { panic!("{:?}", planned.staged) };
    let method = cordon_forks::detect(&world.at("state/forks"), &c);
    let fork = staged.make(method, planned.workspace.identity, None, &mut |_, _| ()).unwrap();
    assert_eq!(fork.root(), staged.root());
    for entry in &planned.sandbox.paths {
        let Ok(below) = entry.path.strip_prefix(&c) else { continue };
        let point = fork.root().join(below).symlink_metadata().unwrap();
        assert_eq!(point.is_dir(), entry.kind == PathKind::Directory, "{entry:?}");
        if let PathSource::Host(source) = &entry.source {
            assert!(source.symlink_metadata().is_ok(), "{entry:?}");
        }
    }
    // Neither what is hidden nor what is mounted from elsewhere is in it.
    assert_eq!(staged.leave_out, [".env", "a/.ssh", "one", "r", "ws"].map(PathBuf::from));
    for name in [".env", "one"] {
        assert_eq!(fork.root().join(name).symlink_metadata().unwrap().len(), 0, "{name}");
    }
    assert_eq!(fs::read_dir(fork.root().join("r")).unwrap().count(), 0);
    assert_eq!(fs::read_to_string(fork.root().join("keep/x")).unwrap(), "c/keep/x");
    Fork::remove(&staged.fork).unwrap();
    assert_eq!(fs::read_to_string(world.at("c/.env")).unwrap(), "c/.env");
}

#[test]
fn trees_of_different_kinds_lie_in_each_other() {
    let world = World::new();
    for tree in ["o/in", "o/in/deep", "ws/c"] {
        world.tree(tree);
    }
    world.file("o/file");
    let o = world.at("o");
    let plan = |cwd: &str, contexts: &[String]| world.plan(cwd, &contexts.concat()).unwrap();
    let at = |planned: &Planned, path: &str| source(&world, planned, &world.at(path));

    // Staged in staged is one fork.
    let planned = plan("w", &[context("o", ""), context("o/in", "isolated")]);
    assert_eq!(planned.staged.len(), 1);
    assert_eq!(at(&planned, "o/in"), Some("0/tree/in".into()));
    // A file in it too.
    let planned = plan("w", &[context("o/file", ""), context("o", "")]);
    assert_eq!((planned.staged.len(), at(&planned, "o/file")), (1, Some("0/tree/file".into())));
    // Staged in one that is mounted directly.
    let planned = plan("w", &[context("o", "legacy"), context("o/in", "")]);
    assert_eq!(planned.staged.len(), 1);
    assert_eq!((at(&planned, "o"), at(&planned, "o/in")), (None, Some("0/tree".into())));
    assert!(!planned.is_staged(&o.join("x")) && planned.is_staged(&o.join("in/x")));
    assert_eq!(planned.watched, [planned.workspace.path.clone(), o.clone()]);
    // Mounted directly in a staged one: it is not in the fork.
    let planned = plan("w", &[context("o", ""), context("o/in", "legacy")]);
    assert_eq!((at(&planned, "o"), at(&planned, "o/in")), (Some("0/tree".into()), None));
    assert_eq!(planned.staged[0].leave_out, [Path::new("in")]);
    assert!(planned.is_staged(&o.join("x")) && !planned.is_staged(&o.join("in/x")));
    // And what is held is held where it is: in the fork, and in the user's tree.
    assert!(planned.staged[0].hold.iter().all(|held| !held.path.starts_with("in")));
    assert!(planned.placeholders.contains(&o.join("in/.git")));
    assert!(planned.placeholders.iter().all(|path| path.starts_with(o.join("in"))));
    // Read-only in staged is the live tree, and a writable one in that a fork of its own.
    let read = "    - path: '@/o/in'\n".to_owned();
    let planned = plan("w", &[context("o", ""), read, context("o/in/deep", "")]);
    assert_eq!((at(&planned, "o/in"), at(&planned, "o/in/deep")), (None, Some("1/tree".into())));
    assert_eq!(planned.staged[0].leave_out, [Path::new("in")]);
    // In the workspace, and around it.
    let planned = plan("'@/ws'", &[context("ws/c", "")]);
    assert_eq!((at(&planned, "ws"), at(&planned, "ws/c")), (None, Some("0/tree".into())));
    let planned = plan("'@/o/in'", &[context("o", "")]);
    assert_eq!((at(&planned, "o/in"), at(&planned, "o")), (None, Some("0/tree".into())));
    // The workspace named again is the workspace.
    let planned = plan("'@/ws'", &[context("ws", "")]);
    assert!(planned.staged.is_empty() && at(&planned, "ws").is_none());
    // A single file.
    let planned = plan("w", &[context("o/file", "")]);
    assert_eq!(at(&planned, "o/file"), Some("0/tree/file".into()));
    assert!(!planned.staged[0].is_directory);
    // One path, two words.
    let told = world.error("w", &[context("o", ""), context("o/in/..", "legacy")].concat());
    assert!(told.contains("contradicts") && told.contains("the same write_mode"), "{told}");
}

#[test]
fn in_a_fork_only_the_names_of_the_fork_matter() {
    let world = World::new();
    let c = world.tree("c");
    world.tree("c/keep");
    let outside = world.file("outside");
    fs::hard_link(&outside, c.join("two")).unwrap();
    world.file("c/part");
    fs::hard_link(c.join("part"), c.join("keep/part")).unwrap();
    let ws = world.tree("ws");
    fs::hard_link(c.join("two"), ws.join("two")).unwrap();
    let planned = world.plan("'@/ws'", &format!("{WRITE}      protected_paths: [keep]\n")).unwrap();
    // Written in the fork it is not written outside; in the workspace it is.
    assert_eq!(access(&planned, &c.join("two")), Access::Write);
    assert_eq!(access(&planned, &ws.join("two")), Access::Read);
    // The names of a copy are the names of one file.
    assert_eq!(access(&planned, &c.join("part")), Access::Read);
}

#[test]
fn the_peers_view_is_read_only_and_stands_where_it_is_asked_for() {
    let world = World::new();
    let planned = world.plan("w", "").unwrap();
    let own = world.at("state/views/run/0");
    assert_eq!(planned.peers, Peers { outside: own.clone(), inside: own.clone() });
    let view = entry(&planned, &own).unwrap();
    assert_eq!((&view.source, view.access), (&PathSource::Host(own.clone()), Access::Read));
    assert!(planned.policy.decide(&own.join("agent1/x"), Operation::Read).is_allowed());
    let denied = fix(&planned, &own.join("agent1/x"), Operation::Write);
    assert!(denied.is_empty(), "{denied}");
    // Nothing else of the state is mounted.
    let state = world.at("state");
    for entry in &planned.sandbox.paths {
        let PathSource::Host(host) = &entry.source else { continue };
        let granted = host == &own || host.starts_with(state.join("workspaces"));
        assert!(granted || !(host.starts_with(&state) || state.starts_with(host)), "{entry:?}");
    }
}

#[test]
fn where_the_peers_view_may_not_stand() {
    let world = World::new();
    world.tree("c");
    let plan = |value: &str| world.plan_with("w", WRITE, &format!("  agent_temporary_workspace: {value}\n"));
    let planned = plan("temp/others").unwrap();
    let own = world.at("state/views/run/0/temp/others");
    assert_eq!(planned.peers, Peers { outside: own.clone(), inside: own });
    let planned = plan("'@/peers'").unwrap();
    assert_eq!(planned.peers.inside, world.at("peers"));
    let entry = entry(&planned, &world.at("peers")).unwrap();
    assert_eq!(entry.source, PathSource::Host(world.at("state/views/run/0")));
    for bad in ["'@/c/peers'", "'@/c'", "'@'", "/etc/peers", "/", "/tmp", "/home", "'@/state/forks'"] {
        let told = plan(bad).map(|p| p.peers).unwrap_err().to_string();
        assert!(told.contains("agent_temporary_workspace"), "{bad}: {told}");
    }
    // Snapshots are in no tree of an agent's.
    world.tree("c/store");
    for bad in ["'@/c/store'", "'@/c'", "'@'"] {
        let told = world.plan_with("w", WRITE, &format!("  snapshot_storage: {bad}\n"));
        let told = told.map(|p| p.peers).unwrap_err().to_string();
        assert!(told.contains("snapshot_storage") && told.contains("an agent's"), "{bad}: {told}");
    }
}

#[test]
fn what_steers_agents_beside_workflows_is_held_where_there_are_any() {
    let world = World::new();
    let c = world.tree("c");
    let planned = world.plan("w", WRITE).unwrap();
    assert_eq!(access(&planned, &c.join(".github/hooks")), Access::Write, "the agent may make workflows");
    assert_eq!(access(&planned, &c.join(".copilot")), Access::Read);
    world.file("c/.github/workflows/ci.yml");
    world.file("c/.github/copilot/settings.json");
    let planned = world.plan("w", WRITE).unwrap();
    for (name, is) in [
        (".github/hooks", Access::Read),
        (".github/mcp.json", Access::Read),
        (".github/copilot/settings.json", Access::Read),
        (".github/workflows/ci.yml", Access::Write),
    ] {
        assert_eq!(access(&planned, &c.join(name)), is, "{name}");
    }
}
